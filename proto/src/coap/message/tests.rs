mod differential;

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::super::{Options, encode, golden};
use super::*;

fn listed(message: &Message<'_>) -> Vec<(u16, Vec<u8>)> {
    message.options().map(|(number, value)| (number.0, value.to_vec())).collect()
}

fn fault(datagram: &[u8]) -> Fault {
    Message::parse(datagram).unwrap_err().fault
}

#[test]
fn messages_of_the_rfc_read_as_their_figures_say() {
    // RFC 7252 appendix A, figures 17 and 20.
    let request = Message::parse(golden::TOKEN_GET).unwrap();
    assert_eq!(request.kind(), MessageType::Confirmable);
    assert_eq!(request.code().to_string(), "0.01");
    assert_eq!((request.message_id(), &*request.token()), (0x7d35, &[0x20][..]));
    assert_eq!(listed(&request), [(11, b"temperature".to_vec())]);
    assert_eq!(request.payload(), b"");

    let response = Message::parse(golden::TOKEN_GET_RESPONSE).unwrap();
    assert_eq!(response.kind(), MessageType::Acknowledgement);
    assert_eq!((response.code(), response.message_id()), (Code::CONTENT, 0x7d35));
    assert_eq!((listed(&response), response.payload()), (vec![], &b"22.3 C"[..]));

    let reset = Message::parse(golden::UNEXPECTED_RESPONSE_RESET).unwrap();
    assert_eq!((reset.kind(), reset.code()), (MessageType::Reset, Code::EMPTY));
    let non = Message::parse(golden::NON_GET).unwrap();
    assert_eq!(non.kind(), MessageType::NonConfirmable);
}

#[test]
fn all_forms_of_option_delta_and_length_are_read() {
    // RFC 7252 §3.1
    let message = Message::parse(golden::EXTENDED).unwrap();
    let expected = [
        (11, b"twenty-bytes-segment".to_vec()),
        (12, vec![50]),
        (60, vec![2]),
        (2048, vec![0xff, 0xff]),
    ];
    assert_eq!(listed(&message), expected);
    assert_eq!(message.payload(), b"{}");

    let mut longest = b"\x40\x03\x00\x00\xde\x00\x00\x00".to_vec();
    longest.extend([7; 269]);
    assert_eq!(listed(&Message::parse(&longest).unwrap()), [(13, vec![7; 269])]);
    let last_number = b"\x40\x01\x00\x00\xe0\xfe\xf2";
    assert_eq!(listed(&Message::parse(last_number).unwrap()), [(65_535, vec![])]);
}

#[test]
fn every_format_error_is_named() {
    // RFC 7252 §3
    assert_eq!(fault(b""), Fault::HeaderTruncated { len: 0 });
    assert_eq!(fault(b"\x40\x01\x00"), Fault::HeaderTruncated { len: 3 });
    for version in [0, 2, 3] {
        assert_eq!(fault(&[version << 6, 1, 0, 0]), Fault::UnknownVersion(version));
    }
    for length in 9..=15 {
        let mut datagram = vec![0x40 | length, 1, 0, 0];
        datagram.extend([0; 15]);
        assert_eq!(fault(&datagram), Fault::TokenLength(length));
    }
    assert_eq!(fault(b"\x48\x01\x00\x001234567"), Fault::TokenTruncated);
    assert_eq!(fault(b"\x40\x01\x00\x00\xff"), Fault::EmptyPayload);
    assert_eq!(fault(b"\x40\x01\x00\x00\xb1a\xff"), Fault::EmptyPayload);
    // RFC 7252 §3.1
    assert_eq!(fault(b"\x40\x01\x00\x00\xf0"), Fault::ReservedDelta);
    assert_eq!(fault(b"\x40\x01\x00\x00\xbf"), Fault::ReservedLength);
    for truncated in [
        &b"\xb1"[..],
        b"\xd0",
        b"\xe0",
        b"\xe0\x00",
        b"\x0d",
        b"\x0e\x00",
        b"\xbd\x00twelve-bytes",
        b"\xdd\x00",
    ] {
        assert_eq!(fault(&[b"\x40\x01\x00\x00", truncated].concat()), Fault::OptionTruncated);
    }
    assert_eq!(fault(b"\x40\x01\x00\x00\xe0\xfe\xf3"), Fault::OptionNumber);
    assert_eq!(fault(b"\x40\x01\x00\x00\xe0\xff\xff"), Fault::OptionNumber);
    assert_eq!(fault(b"\x40\x01\x00\x00\xe0\xfe\xf2\x10"), Fault::OptionNumber);
    // RFC 7252 §4.1
    for empty in [&b"\x40\x00\x00\x00\xff!"[..], b"\x41\x00\x00\x00\x01", b"\x60\x00\x00\x00\x00"] {
        assert_eq!(fault(empty), Fault::EmptyWithContent);
    }
    assert_eq!(fault(b"\x41\x00\x00\x00"), Fault::EmptyWithContent);
    assert_eq!(fault(b"\x49\x00\x00\x00"), Fault::TokenLength(9));
    // RFC 7252 §4.2
    for class in [1, 6, 7] {
        let code = Code::new(class, 1);
        assert_eq!(fault(&[0x40, code.as_byte(), 0, 0]), Fault::ReservedCode(code));
    }
}

#[test]
fn extended_tokens_are_read_up_to_the_limit() {
    // RFC 8974 §2.1: 0-12 directly, 13 with one byte more, 14 with two, 15 reserved.
    let message = |head: &[u8], token: usize| {
        [&[0x40 | head[0], 1, 0, 0], &head[1..], &vec![7; token], b"\xb1a\xffx"].concat()
    };
    for (head, token) in [(&[8][..], 8), (&[9], 9), (&[12], 12), (&[13, 0], 13), (&[13, 27], 40)] {
        let datagram = message(head, token);
        let read = Message::parse_extended(&datagram, 40).unwrap();
        assert_eq!(*read.token(), *vec![7; token]);
        assert_eq!((listed(&read), read.payload()), (vec![(11, b"a".to_vec())], &b"x"[..]));
        let limited = Message::parse_extended(&datagram, token.max(9) - 1).map_err(|m| m.fault);
        assert_eq!(limited.is_ok(), token < 9, "{token}");
    }
    let fault = |datagram: &[u8]| Message::parse_extended(datagram, 40).unwrap_err().fault;
    assert_eq!(fault(&message(&[13, 28], 41)), Fault::TokenTooLong(41));
    assert_eq!(fault(&message(&[14, 0, 0], 269)), Fault::TokenTooLong(269));
    assert_eq!(fault(&message(&[14, 0xff, 0xff], 300)), Fault::TokenTooLong(65_804));
    assert_eq!(fault(&message(&[15], 15)), Fault::TokenLength(15));
    for truncated in [&b"\x4d\x01\x00\x00"[..], b"\x4e\x01\x00\x00\x00", b"\x4d\x01\x00\x00\x00x"] {
        assert_eq!(fault(truncated), Fault::TokenTruncated);
    }
}

#[test]
fn a_malformed_message_says_what_its_receiver_needs_to_reject_it() {
    // RFC 7252 §4.2: a Confirmable message with a format error is rejected by its message id.
    let header = |datagram| Message::parse(datagram).unwrap_err().header;
    assert_eq!(header(b"\x40\x01\x12\x34\xff"), Some((MessageType::Confirmable, 0x1234)));
    assert_eq!(header(b"\x5f\x01\x12\x34"), Some((MessageType::NonConfirmable, 0x1234)));
    // RFC 7252 §3: messages with an unknown version are ignored, there is nothing to react to.
    assert_eq!(header(b"\x80\x01\x12\x34\xff"), None);
    assert_eq!(header(b"\x40\x01\x12"), None);
}

fn options() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let number = prop_oneof![0..70_u16, any::<u16>()];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::collection::vec(any::<u8>(), 250..300),
    ];
    prop::collection::vec((number, value), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn what_is_built_reads_back(
        message_id: u16,
        detail in 0..32_u8,
        token in prop::collection::vec(any::<u8>(), 0..=Token::MAX_LEN),
        given in options(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (kind, code) = (MessageType::NonConfirmable, Code::new(4, detail));
        let token = Token::new(&token).unwrap();
        let mut options = Options::new();
        for (number, value) in &given {
            options.push(OptionNumber(*number), value);
        }
        let datagram =
            encode::message(kind, code, message_id, token, &options, &payload, 65_507).unwrap();
        let message = Message::parse_extended(&datagram, Token::MAX_LEN).unwrap();
        prop_assert_eq!(
            (message.kind(), message.code(), message.message_id(), message.token()),
            (kind, code, message_id, token)
        );
        prop_assert_eq!(message.payload(), payload);
        let mut sorted = given;
        sorted.sort_by_key(|&(number, _)| number);
        prop_assert_eq!(listed(&message), sorted.clone());
        let read = options.iter().map(|(number, value)| (number.0, value.to_vec()));
        prop_assert_eq!(read.collect::<Vec<_>>(), sorted);
    }
}

#[test]
fn a_message_larger_than_the_limit_is_not_built() {
    let build = |limit| {
        let (kind, code) = (MessageType::Confirmable, Code::CONTENT);
        encode::message(kind, code, 1, Token::EMPTY, &Options::new(), &[0; 10], limit)
    };
    assert_eq!(build(15).unwrap().len(), 15);
    assert_eq!(build(14), Err(encode::TooLarge));
}

/// Not a check: prints what parsing costs. Run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs the real clock")]
fn parsing_cost() {
    extern crate std;
    for (name, golden) in golden::ALL {
        let rounds = 20_000_000_u32;
        let start = std::time::Instant::now();
        for _ in 0..rounds {
            let message = Message::parse(core::hint::black_box(golden));
            let _ = core::hint::black_box(message);
        }
        std::println!("{name}: {:.1} ns", start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
    }
}
