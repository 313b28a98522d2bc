//! The server's role.

use super::*;

#[test]
fn requests_are_answered_in_any_order_with_their_tokens() {
    // RFC 8323 §3.3
    let mut bench = Bench::open();
    let outcome = bench.receive(&[golden::GET, golden::POST].concat());
    let [StreamEvent::Request { exchange: get, token, request }, post] = &outcome.events[..] else {
        panic!("{outcome:?}");
    };
    assert_eq!((&token[..], request.method), (&[0x20][..], Method::Get));
    assert_eq!(request.segments().collect::<Vec<_>>(), ["temperature"]);
    let StreamEvent::Request { exchange: post, request, .. } = post else { panic!("{post:?}") };
    assert_eq!(request.options.content_format(), Some(50));
    assert_eq!(
        (request.method, request.payload.as_slice()),
        (Method::Post, &b"{\"temp\":21.5}"[..])
    );

    let answer = only(bench.respond(*post, "second").sent);
    assert_eq!((answer.token, answer.payload.as_str()), ([0xca, 0xfe].into(), "second"));
    let response = Response::new(Code::CONTENT).payload("22.3 C");
    bench.endpoint.respond(bench.now, *get, &response);
    assert_eq!(bench.endpoint.poll_output(), StreamOutput::Transmit(golden::GET_RESPONSE.to_vec()));
}

#[test]
fn what_the_protocol_has_an_answer_for_does_not_reach_the_caller() {
    // RFC 7252 §5.4.1, §5.8, §5.10.2
    let mut bench = Bench::open();
    for (code, option, answer) in [
        (Code::new(0, 31), (11, &b"r"[..]), Code::METHOD_NOT_ALLOWED),
        (Code::new(0, 1), (9, b"x"), Code::BAD_OPTION),
        (Code::new(0, 1), (35, b"coap://x"), Code::PROXYING_NOT_SUPPORTED),
        (Code::new(0, 1), (11, b"a/b"), Code::BAD_REQUEST),
    ] {
        let outcome = bench.receive(&message(code, b"t", &[option], b""));
        assert!(outcome.events.is_empty());
        let sent = only(outcome.sent);
        assert_eq!((sent.code, sent.token), (answer, b"t".to_vec()));
    }
    assert_eq!(bench.stats().refused, 4);
}

#[test]
fn a_response_that_does_not_fit_the_peer_becomes_an_error() {
    // RFC 8323 §5.3.1
    let mut bench = Bench::open();
    bench.receive(&message(Code::CSM, b"", &[(2, &[64])], b""));
    for (payload, code) in
        [("x".repeat(55), Code::CONTENT), ("x".repeat(60), Code::INTERNAL_SERVER_ERROR)]
    {
        let exchange = bench.receive_request(&message(Code::new(0, 1), b"eight by", &[], b""));
        assert_eq!(only(bench.respond(exchange, &payload[8..]).sent).code, Code::CONTENT);
        let exchange = bench.receive_request(golden::GET);
        assert_eq!(only(bench.respond(exchange, &payload).sent).code, code);
    }
    let exchange = bench.receive_request(golden::GET);
    bench.endpoint.respond(bench.now, exchange, &Response::new(Code::new(0, 1)));
    assert_eq!(only(bench.drain().sent).code, Code::INTERNAL_SERVER_ERROR);
    assert_eq!(bench.stats().unsendable_responses, 2);
}

#[test]
fn a_second_answer_is_counted_and_dropped() {
    let mut bench = Bench::open();
    let exchange = bench.receive_request(golden::GET);
    bench.respond(exchange, "x");
    assert!(bench.respond(exchange, "y").sent.is_empty());
    assert_eq!(bench.stats().late_responses, 1);
}

#[test]
fn what_was_asked_before_the_stream_ended_is_answered() {
    let mut bench = Bench::open();
    let exchange = bench.receive_request(&[golden::GET, b"\x21"].concat());
    assert!(bench.end().events.is_empty());
    assert!(!bench.endpoint.wants_bytes());
    let outcome = bench.respond(exchange, "x");
    assert_eq!(outcome.sent.len(), 1);
    assert_eq!(outcome.events, [StreamEvent::Closed(CloseReason::Ended)]);
    assert_eq!(bench.stats().truncated, 1);
}
