use alloc::vec;

use proptest::prelude::*;

use super::super::super::OptionNumber;
use super::super::golden;
use super::*;

const LIMIT: u32 = 1 << 20;

fn token(bytes: &[u8]) -> Token {
    Token::new(bytes).unwrap()
}

fn built(code: Code, token: Token, options: &Options, payload: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    append(&mut stream, code, token, options, payload, usize::MAX).unwrap();
    stream
}

#[test]
fn messages_of_the_rfc_read_and_are_built_as_its_figures_say() {
    // RFC 8323 §3.2, §5.7
    for (bytes, code, token_bytes) in [
        (golden::VALID, Code::VALID, &[0x7f][..]),
        (golden::PING, Code::PING, &[0x42]),
        (golden::PONG, Code::PONG, &[0x42]),
        (golden::CSM, Code::CSM, &[]),
    ] {
        let frame = Frame { code, token: token(token_bytes), body: &[] };
        assert_eq!(split(bytes, LIMIT), Ok(Some((frame, &[][..]))));
        assert_eq!(built(code, frame.token, &Options::new(), &[]), bytes);
    }
    let mut options = Options::new();
    options.push(OptionNumber::URI_PATH, b"temperature");
    assert_eq!(built(Code::new(0, 1), token(&[0x20]), &options, &[]), golden::GET);
    assert_eq!(
        built(Code::CONTENT, token(&[0x20]), &Options::new(), b"22.3 C"),
        golden::GET_RESPONSE
    );
}

#[test]
fn every_form_of_the_length_is_written_and_read() {
    // RFC 8323 §3.2: the first and last length of each form, payload marker included.
    for (length, header) in [
        (12, &b"\xc0\x45"[..]),
        (13, b"\xd0\x00\x45"),
        (268, b"\xd0\xff\x45"),
        (269, b"\xe0\x00\x00\x45"),
        (65_804, b"\xe0\xff\xff\x45"),
        (65_805, b"\xf0\x00\x00\x00\x00\x45"),
        (66_061, b"\xf0\x00\x00\x01\x00\x45"),
    ] {
        let payload = vec![7; length - 1];
        let stream = built(Code::CONTENT, Token::EMPTY, &Options::new(), &payload);
        assert!(stream.starts_with(header) && stream.len() == header.len() + length, "{length}");
        let (frame, rest) = split(&stream, LIMIT).unwrap().unwrap();
        assert_eq!((frame.body.len(), rest.len()), (length, 0));
    }
}

#[test]
fn a_message_is_refused_as_soon_as_its_length_is_known() {
    // RFC 8323 §5.3.1: the size counts from the first byte of the header.
    let too_large = Err(StreamFault::TooLarge { limit: 100 });
    assert_eq!(split(b"\xd0\x54", 100), Ok(None), "1 + 1 + 1 + 97 bytes");
    assert_eq!(split(b"\xd0\x55", 100), too_large);
    assert_eq!(split(b"\xd8\x4d", 100), too_large, "with the token");
    assert_eq!(split(b"\xf0\xff\xff\xff", 100), Ok(None));
    assert_eq!(split(b"\xf0\xff\xff\xff\xff", 100), too_large);
    assert_eq!(split(b"\xff", 100), Err(StreamFault::Format(Fault::TokenLength(15))));
    // RFC 7252 §3: 9–15 are reserved.
    for length in 9..=15 {
        let fault = StreamFault::Format(Fault::TokenLength(length));
        assert_eq!(split(&[length], 100), Err(fault));
    }
}

#[test]
fn nothing_larger_than_the_limit_is_built() {
    let build = |payload: &[u8], limit| {
        let mut stream = b"before".to_vec();
        let token = token(&[1, 2]);
        let is_built =
            append(&mut stream, Code::CONTENT, token, &Options::new(), payload, limit).is_ok();
        assert_eq!(is_built, stream.len() > 6);
        is_built
    };
    assert!(build(&[0; 11], 16) && !build(&[0; 11], 15));
    assert!(build(&[0; 12], 18) && !build(&[0; 12], 17));
}

#[test]
fn no_beginning_of_a_message_is_taken_for_one() {
    for (name, message) in golden::ALL {
        for end in 0..message.len() {
            assert_eq!(split(&message[..end], LIMIT), Ok(None), "{name} up to {end}");
        }
        let (frame, rest) = split(message, LIMIT).unwrap().unwrap();
        assert_eq!((rest, frame.code.as_byte() == 0), (&[][..], *name == "EMPTY"), "{name}");
    }
}

proptest! {
    #[test]
    fn what_is_built_is_read(
        code in any::<u8>(),
        token_bytes in prop::collection::vec(any::<u8>(), 0..=8),
        options in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)), 0..4),
        payload in prop::collection::vec(any::<u8>(), 0..400),
        behind in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut sent = Options::new();
        options.iter().for_each(|(number, value)| sent.push(OptionNumber(*number), value));
        let (code, token) = (Code::from_byte(code), token(&token_bytes));
        let mut stream = built(code, token, &sent, &payload);
        stream.extend_from_slice(&behind);
        let (frame, rest) = split(&stream, LIMIT).unwrap().unwrap();
        prop_assert_eq!((frame.code, frame.token, rest), (code, token, behind.as_slice()));
        let (received, read) = super::super::super::MessageOptions::parse(frame.body).unwrap();
        let received: Vec<_> = received.map(|(number, value)| (number, value.to_vec())).collect();
        let sent: Vec<_> = sent.iter().map(|(number, value)| (number, value.to_vec())).collect();
        prop_assert_eq!((received, read), (sent, payload.as_slice()));
    }

    #[test]
    fn any_bytes_split_without_panic_into_parts_of_themselves(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        limit in 0..400_u32,
    ) {
        if let Ok(Some((frame, rest))) = split(&bytes, limit) {
            prop_assert!(bytes.len() - rest.len() <= limit as usize);
            prop_assert!(frame.body.len() + 2 <= bytes.len() - rest.len());
        }
    }
}
