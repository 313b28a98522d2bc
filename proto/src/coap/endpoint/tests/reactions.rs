//! What the message layer does on its own (RFC 7252 §3, §4, §5.4, §5.8, §8.1).

use super::*;
use crate::coap::Fault;

/// Whether the answer is piggybacked, its code and its text.
#[track_caller]
fn refusal(outputs: Vec<Output<u16>>, message_id: u16) -> (Code, alloc::string::String) {
    let datagram = only_datagram(outputs);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.kind(), MessageType::Acknowledgement);
    assert_eq!((message.message_id(), &*message.token()), (message_id, &b"tk"[..]));
    // RFC 7252 §5.5.2: a diagnostic has no Content-Format.
    assert_eq!(message.options().count(), 0);
    (message.code(), str::from_utf8(message.payload()).unwrap().into())
}

#[test]
fn an_unknown_version_is_ignored_in_silence() {
    // RFC 7252 §3
    let mut bench = Bench::new();
    for version in [0, 2, 3_u8] {
        let outputs = bench.receive(&[version << 6, 0x01, 0x12, 0x34, 0xff]);
        let fault = Fault::UnknownVersion(version);
        assert_eq!(outputs, [Output::Event(Event::Malformed { from: PEER, fault })]);
    }
    assert_eq!(bench.stats().malformed, 3);
}

#[test]
fn a_malformed_confirmable_message_is_reset_and_any_other_dropped() {
    // RFC 7252 §4.2, §4.3
    for (kind, reset) in [(0x40, true), (0x50, false), (0x60, false), (0x70, false)] {
        for (rest, fault) in [
            (&b"\x01\x12\x34\xff"[..], Fault::EmptyPayload),
            (b"\x01\x12\x34\xf0", Fault::ReservedDelta),
            (b"\x00\x12\x34\x00", Fault::EmptyWithContent),
            (b"\xe1\x12\x34", Fault::ReservedCode(Code::new(7, 1))),
        ] {
            let mut bench = Bench::new();
            let mut outputs = bench.receive(&[&[kind], rest].concat());
            let event = outputs.pop();
            assert_eq!(event, Some(Output::Event(Event::Malformed { from: PEER, fault })));
            let sent: Vec<_> = transmitted(&outputs).collect();
            let expected: &[&[u8]] = if reset { &[b"\x70\x00\x12\x34"] } else { &[] };
            assert_eq!(sent, expected, "{kind:#x} {fault}");
            assert_eq!(bench.stats().resets_sent, u64::from(reset));
        }
    }
}

#[test]
fn what_breaks_other_parsers_is_reset_and_leaves_nothing_behind() {
    let mut bench = Bench::new();
    for (what, broken) in golden::BROKEN {
        for header in [&b"\x40\x01\x12\x34"[..], b"\x42\x01\x12\x34tk"] {
            let outputs = bench.receive(&[header, broken].concat());
            let sent: Vec<_> = transmitted(&outputs).collect();
            assert_eq!(sent, [b"\x70\x00\x12\x34"], "{what}");
        }
    }
    // A token that is longer than what is there, or than there is (RFC 7252 §3).
    for length in 1..=15 {
        for there in 0..length.min(9) {
            let mut datagram = alloc::vec![0x40 | length, 1, 0x12, 0x34];
            datagram.extend(alloc::vec![0; there.into()]);
            if length <= 8 || there == 8 {
                let sent = only_reset(&mut bench, &datagram);
                assert_eq!(sent, b"\x70\x00\x12\x34", "{length} {there}");
            }
        }
    }
    // Very many options of no length are many, and no more.
    let request = [&b"\x40\x01\x12\x35"[..], &[0x10], &[0; 60_000]].concat();
    assert!(matches!(bench.receive(&request)[..], [Output::Event(Event::Request { .. })]));
}

/// The Reset that a malformed message gets.
#[track_caller]
fn only_reset(bench: &mut Bench, datagram: &[u8]) -> Vec<u8> {
    let outputs = bench.receive(datagram);
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    transmitted(&outputs).next().unwrap().to_vec()
}

#[test]
fn a_ping_is_answered_with_a_reset() {
    // RFC 7252 §4.3
    let mut bench = Bench::new();
    assert_eq!(only_datagram(bench.receive(golden::PING)), b"\x70\x00\x12\x34");
    assert_eq!(bench.stats().pings, 1);
}

#[test]
fn acknowledgements_and_resets_never_get_an_answer() {
    // RFC 7252 §4.2: including those that carry a request, and a Reset that is not Empty.
    let mut bench = Bench::new();
    for kind in [MessageType::Acknowledgement, MessageType::Reset] {
        for code in [Method::Post.code(), Code::CONTENT, Code::new(3, 1), Code::new(0, 31)] {
            assert_eq!(bench.receive(&message(kind, code, 1, b"tk", &[], b"1")), []);
        }
        assert_eq!(bench.receive(&encode::empty(kind, 1)), []);
    }
    assert_eq!((bench.stats().ignored, bench.stats().unmatched), (6, 4));
}

#[test]
fn an_empty_non_confirmable_message_is_ignored() {
    // RFC 7252 §4.3
    let mut bench = Bench::new();
    assert_eq!(bench.receive(b"\x50\x00\x12\x34"), []);
    assert_eq!(bench.stats().ignored, 1);
}

#[test]
fn a_response_that_matches_nothing_is_reset_if_confirmable() {
    // RFC 7252 §4.2, appendix A figure 21: the client has lost its state.
    let mut bench = Bench::new();
    assert_eq!(bench.receive(b"\x60\x00\x7d\x39"), []);
    let reset = only_datagram(bench.receive(golden::UNEXPECTED_RESPONSE));
    assert_eq!(reset, golden::UNEXPECTED_RESPONSE_RESET);
    // RFC 7252 §4.3
    assert_eq!(bench.receive(golden::NON_GET_RESPONSE), []);
    assert_eq!(bench.receive(golden::GET_RESPONSE), []);
    assert_eq!(bench.stats().unmatched, 4);
}

#[test]
fn an_unrecognised_critical_option_is_a_bad_option_of_a_confirmable_request() {
    // RFC 7252 §5.4.1; block-wise transfer and OSCORE count as unrecognised.
    let mut bench = Bench::new();
    let unknown = OptionNumber(65_001);
    for number in [OptionNumber::BLOCK1, OptionNumber::BLOCK2, OptionNumber(9), unknown] {
        let outputs = bench.receive(&post(number.0, &[(number, b"\x01")]));
        let (code, text) = refusal(outputs, number.0);
        assert_eq!(code, Code::BAD_OPTION);
        assert_eq!(text, alloc::format!("unrecognised critical option {number}"));
    }
    let both = post(1, &[(OptionNumber::BLOCK1, b""), (unknown, b"")]);
    assert_eq!(refusal(bench.receive(&both), 1).1, "unrecognised critical option 27,65001");
    assert_eq!(bench.stats().refused, 5);
}

#[test]
fn an_unrecognised_critical_option_rejects_a_non_confirmable_request_in_silence() {
    // RFC 7252 §5.4.1
    let mut bench = Bench::new();
    assert_eq!(bench.receive(&non_post(1, &[(OptionNumber::BLOCK1, b"")])), []);
    assert_eq!((bench.stats().rejected, bench.stats().refused), (1, 0));
}

#[test]
fn elective_options_are_never_in_the_way() {
    // RFC 7252 §5.4.1; what is not known is handed over for whoever knows it.
    let mut bench = Bench::new();
    let options: &[(OptionNumber, &[u8])] =
        &[(OptionNumber::OBSERVE, b""), (OptionNumber(65_000), b"x"), (OptionNumber::SIZE2, b"")];
    let (_, request) = only_request(bench.receive(&post(1, options)));
    assert_eq!(request.options.first(OptionNumber(65_000)), Some(&b"x"[..]));
    assert_eq!(request.options.first_uint(OptionNumber::OBSERVE), Some(0));
    assert_eq!(request.options.len(), 3);
}

#[test]
fn a_repeated_option_that_must_not_be_counts_as_unrecognised() {
    // RFC 7252 §5.4.5
    let mut bench = Bench::new();
    let repeated = |number, value: &'static [u8]| [(number, value), (number, value)];
    for (number, value) in [
        (OptionNumber::ACCEPT, &b"\x32"[..]),
        (OptionNumber::URI_HOST, b"h"),
        (OptionNumber::URI_PORT, b""),
        (OptionNumber::IF_NONE_MATCH, b""),
    ] {
        let outputs = bench.receive(&post(number.0, &repeated(number, value)));
        assert_eq!(refusal(outputs, number.0).0, Code::BAD_OPTION, "{number}");
    }
    // An elective one is as if only the first were there.
    let options =
        [(OptionNumber::CONTENT_FORMAT, &b"\x32"[..]), (OptionNumber::CONTENT_FORMAT, b"")];
    let (_, request) = only_request(bench.receive(&post(100, &options)));
    assert_eq!(request.options.content_format(), Some(50));
    assert_eq!(request.options.len(), 1);
    // Repeatable ones are all there.
    let options = repeated(OptionNumber::IF_MATCH, b"tag");
    let (_, request) = only_request(bench.receive(&post(101, &options)));
    assert_eq!(request.options.all(OptionNumber::IF_MATCH).count(), 2);
}

#[test]
fn an_option_of_a_wrong_length_counts_as_unrecognised() {
    // RFC 7252 §5.4.3, §5.10 table 4
    let mut bench = Bench::new();
    for (number, too_long) in [
        (OptionNumber::IF_MATCH, 9),
        (OptionNumber::URI_HOST, 256),
        (OptionNumber::IF_NONE_MATCH, 1),
        (OptionNumber::URI_PORT, 3),
        (OptionNumber::URI_PATH, 256),
        (OptionNumber::URI_QUERY, 256),
        (OptionNumber::ACCEPT, 3),
        (OptionNumber::PROXY_URI, 1035),
        (OptionNumber::PROXY_SCHEME, 256),
    ] {
        let value = alloc::vec![b'a'; too_long];
        let outputs = bench.receive(&post(number.0, &[(number, &value)]));
        assert_eq!(refusal(outputs, number.0).0, Code::BAD_OPTION, "{number}");
        let longest = value.get(1..).unwrap();
        let outputs = bench.receive(&post(1000 + number.0, &[(number, longest)]));
        let is_proxy = [OptionNumber::PROXY_URI, OptionNumber::PROXY_SCHEME].contains(&number);
        if !is_proxy {
            only_request(outputs);
        }
    }
    let outputs = bench.receive(&post(2000, &[(OptionNumber::URI_HOST, b"")]));
    assert_eq!(refusal(outputs, 2000).0, Code::BAD_OPTION);
    let elective = [
        (OptionNumber::CONTENT_FORMAT, &b"\0\0\x32"[..]),
        (OptionNumber::MAX_AGE, b"12345"),
        (OptionNumber::ETAG, b""),
        (OptionNumber::ETAG, b"123456789"),
        (OptionNumber::OBSERVE, b"1234"),
        (OptionNumber::SIZE1, b"12345"),
        (OptionNumber::NO_RESPONSE, b"12"),
    ];
    for (message_id, (number, value)) in (3000..).zip(elective) {
        let (_, request) = only_request(bench.receive(&post(message_id, &[(number, value)])));
        assert!(request.options.is_empty(), "{number}");
    }
}

#[test]
fn a_request_for_a_proxy_is_refused() {
    // RFC 7252 §5.10.2
    let mut bench = Bench::new();
    let outputs = bench.receive(&post(1, &[(OptionNumber::PROXY_URI, b"coap://a/b")]));
    assert_eq!(refusal(outputs, 1).0, Code::PROXYING_NOT_SUPPORTED);
    let outputs = bench.receive(&post(2, &[(OptionNumber::PROXY_SCHEME, b"http")]));
    assert_eq!(refusal(outputs, 2).0, Code::PROXYING_NOT_SUPPORTED);
}

#[test]
fn an_unknown_method_is_not_allowed() {
    // RFC 7252 §5.8
    let mut bench = Bench::new();
    for detail in 1..=31 {
        let code = Code::new(0, detail);
        let request = message(MessageType::Confirmable, code, detail.into(), b"tk", &[], b"");
        let outputs = bench.receive(&request);
        if detail <= 7 {
            assert_eq!(only_request(outputs).1.method.code(), code);
        } else {
            assert_eq!(refusal(outputs, detail.into()).0, Code::METHOD_NOT_ALLOWED);
        }
    }
}

#[test]
fn a_path_that_is_no_topic_is_a_bad_request() {
    let mut bench = Bench::new();
    let segments: &[(&[u8], &str)] = &[
        (b"a/b", "path segment contains '/'"),
        (b"+", "path segment contains '+'"),
        (b"#", "path segment contains '#'"),
        (b"a\0", "path segment contains '\\0'"),
        (b"\xc3\x28", "path segment is not UTF-8"),
        (b"..", "path segment is . or .."),
    ];
    for (message_id, &(segment, text)) in (1_u16..).zip(segments) {
        let path = [(OptionNumber::URI_PATH, &b"ok"[..]), (OptionNumber::URI_PATH, segment)];
        let outputs = bench.receive(&post(message_id, &path));
        assert_eq!(refusal(outputs, message_id), (Code::BAD_REQUEST, text.into()));
    }
    let outputs = bench.receive(&post(100, &[(OptionNumber::URI_QUERY, b"\xff")]));
    assert_eq!(refusal(outputs, 100), (Code::BAD_REQUEST, "query is not UTF-8".into()));
    // RFC 7252 appendix B: a path that percent-encodes to %E3%81%93…
    let hiragana = "こんにちは";
    let outputs = bench.receive(&post(101, &[(OptionNumber::URI_PATH, hiragana.as_bytes())]));
    assert_eq!(only_request(outputs).1.segments().collect::<Vec<_>>(), [hiragana]);
}

#[test]
fn errors_of_the_protocol_reach_non_confirmable_requests_non_confirmable() {
    // RFC 7252 §5.2.3
    let mut bench = Bench::new();
    let datagram = only_datagram(bench.receive(&non_post(1, &[(OptionNumber::URI_PATH, b"+")])));
    let answer = Message::parse(&datagram).unwrap();
    assert_eq!((answer.kind(), answer.code()), (MessageType::NonConfirmable, Code::BAD_REQUEST));
    assert_eq!(&*answer.token(), b"tk");
}

#[test]
fn what_the_protocol_refuses_leaves_nothing_behind() {
    let mut bench = Bench::new();
    for message_id in 0..1000 {
        let request = post(message_id, &[(OptionNumber::BLOCK1, b"")]);
        let first = bench.receive(&request);
        assert_eq!(first, bench.receive(&request), "the same answer, without a memory of it");
    }
    assert_eq!(bench.endpoint.dedup.usage(), (0, 0));
    assert_eq!(bench.endpoint.peers.len(), 0);
}

#[test]
fn a_group_gets_no_reset_no_error_and_no_acknowledgement() {
    // RFC 7252 §8.1
    let mut bench = Bench::new();
    let silent = |bench: &mut Bench, datagram: &[u8]| {
        let outputs = bench.receive_for_group(datagram);
        assert_eq!(transmitted(&outputs).count(), 0, "{datagram:02x?}");
    };
    for (_, datagram) in golden::ALL {
        silent(&mut bench, datagram);
        silent(&mut bench, &datagram[..datagram.len() - 1]);
    }
    silent(&mut bench, b"\x40\x01\x12\x34\xff");
    silent(&mut bench, &non_post(1, &[(OptionNumber::BLOCK1, b"")]));
    silent(&mut bench, &non_post(2, &[(OptionNumber::PROXY_URI, b"a")]));
    silent(&mut bench, &non_post(3, &[(OptionNumber::URI_PATH, b"+")]));
    silent(&mut bench, b"\x50\x1f\x12\x34");
    assert_eq!(bench.stats().rejected, 4);
}
