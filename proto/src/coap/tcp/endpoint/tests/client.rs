//! The client's role: exactly one outcome for each request.

use super::*;

fn get(path: &str) -> Request {
    Request::new(Method::Get).path(path)
}

#[test]
fn responses_find_their_requests_by_token() {
    let mut bench = Bench::open();
    let (first, sent_first) = bench.request(&get("a"));
    let (second, sent_second) = bench.request(&get("b"));
    assert_eq!(sent_first.options, [(11, b"a".to_vec())]);
    assert_ne!(sent_first.token, sent_second.token);
    for (id, token) in [(second, &sent_second.token), (first, &sent_first.token)] {
        let outcome = bench.receive(&message(Code::CONTENT, token, &[(12, b"")], b"1"));
        let response = Response::new(Code::CONTENT).content_format(0).payload("1");
        assert_eq!(outcome.events, [StreamEvent::Response { id, response }]);
        assert!(bench.receive(&message(Code::CONTENT, token, &[], b"")).events.is_empty());
    }
    assert!(bench.receive(golden::VALID).events.is_empty());
    assert_eq!(bench.stats().unmatched, 3);
}

#[test]
fn a_request_may_go_before_the_csm_of_the_peer_and_is_then_small() {
    // RFC 8323 §3.3, §5.3.1: the base value is 1152.
    let mut bench = Bench::new(StreamConfig::default());
    let (_, sent) = bench.request(&get("early"));
    assert_eq!(sent.code, Code::new(0, 1));
    let large = Request::new(Method::Post).payload([0; 1152]);
    let refused = |bench: &mut Bench| bench.endpoint.request(bench.now, &large);
    assert_eq!(refused(&mut bench), Err(RequestError::TooLarge { limit: 1152 }));
    bench.receive(golden::AIOCOAP_CSM);
    assert!(refused(&mut bench).is_ok());
}

#[test]
fn a_response_that_is_not_understood_ends_its_request() {
    // RFC 7252 §5.4.1
    let mut bench = Bench::open();
    let (id, sent) = bench.request(&get("a"));
    let outcome = bench.receive(&message(Code::CONTENT, &sent.token, &[(9, b"")], b""));
    let reason = FailReason::UnrecognisedOption;
    assert_eq!(outcome.events, [StreamEvent::Failed { id, reason }]);
}

#[test]
fn every_request_ends_once_whatever_happens() {
    type Happening = fn(&mut Bench, RequestId) -> Outcome;
    let cases: [(FailReason, Happening); 7] = [
        (FailReason::NoResponse, |bench, _| bench.sleep(93 * SECOND)),
        (FailReason::Cancelled, |bench, id| {
            bench.endpoint.cancel(bench.now, id);
            bench.drain()
        }),
        (FailReason::ConnectionLost, |bench, _| {
            bench.endpoint.handle_lost(bench.now);
            bench.drain()
        }),
        (FailReason::ConnectionLost, |bench, _| bench.end()),
        (FailReason::ConnectionLost, |bench, _| bench.receive(b"\x0f")),
        (FailReason::Aborted, |bench, _| bench.receive(golden::ABORT)),
        (FailReason::NoResponse, |bench, _| {
            bench.receive(golden::RELEASE);
            bench.sleep(93 * SECOND)
        }),
    ];
    for (index, (reason, happen)) in cases.into_iter().enumerate() {
        let mut bench = Bench::open();
        let (id, _) = bench.request(&get("a"));
        let outcome = happen(&mut bench, id);
        let failed = StreamEvent::Failed { id, reason };
        let count = outcome.events.iter().filter(|event| **event == failed).count();
        assert_eq!(count, 1, "{index}: {outcome:?}");
        bench.endpoint.cancel(bench.now, id);
        bench.endpoint.handle_lost(bench.now);
        let again = bench.drain().events;
        assert!(!again.contains(&failed), "{index}: {again:?}");
        assert_eq!(bench.stats().own_requests_failed, 1);
    }
}

#[test]
fn a_broken_connection_takes_no_requests() {
    let mut bench = Bench::open();
    bench.endpoint.handle_lost(bench.now);
    let outcome = bench.drain();
    assert_eq!(outcome.events, [StreamEvent::Closed(CloseReason::Lost)]);
    assert_eq!(bench.endpoint.request(bench.now, &get("a")), Err(RequestError::Closing));
}
