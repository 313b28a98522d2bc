//! What a peer can make the endpoint hold.

use super::*;

#[test]
fn a_hostile_length_is_refused_with_its_header() {
    for start in [&b"\xf0\xff\xff\xff\xff"[..], b"\xf0\x00\x00\x00\x00", b"\xe0\xff\xff"] {
        let config = StreamConfig { max_message: 60_000, ..Default::default() };
        let mut bench = Bench::open_with(config);
        let outcome = bench.receive(start);
        aborted(&bench, outcome, StreamFault::TooLarge { limit: 60_000 });
        bench.receive(&[0; 10_000]);
        assert_eq!(bench.endpoint.inbox.capacity(), 0, "nothing is kept");
    }
}

#[test]
fn what_breaks_other_parsers_ends_the_connection() {
    // RFC 8323 §5.6
    for (what, broken) in crate::coap::golden::BROKEN {
        let mut bench = Bench::open();
        let length = u8::try_from(broken.len()).unwrap();
        let outcome = bench.receive(&[&[length << 4 | 2, 1][..], b"tk", broken].concat());
        let reason = bench.closed.clone();
        let Some(CloseReason::Aborted(fault @ StreamFault::Format(_))) = reason else {
            panic!("{what}: {outcome:?}")
        };
        aborted(&bench, outcome, fault);
    }
}

#[test]
fn an_incomplete_message_takes_no_more_than_it_says() {
    let mut bench = Bench::open();
    let whole = message(Code::new(0, 2), b"", &[], &[b'x'; 60_000]);
    for byte in &whole[..whole.len() - 1] {
        assert!(bench.endpoint.wants_bytes() && bench.receive(&[*byte]).events.is_empty());
    }
    assert!(bench.endpoint.inbox.capacity() <= 2 * whole.len());
    bench.receive_request(&whole[whole.len() - 1..]);
    assert!(bench.endpoint.inbox.is_empty());
}

#[test]
fn no_more_is_taken_than_can_be_answered() {
    let config = StreamConfig { max_exchanges: 3, ..Default::default() };
    let mut bench = Bench::open_with(config);
    let outcome = bench.receive(&golden::GET.repeat(10));
    assert_eq!((outcome.events.len(), bench.endpoint.wants_bytes()), (3, false));
    let mut open: VecDeque<_> = outcome.events.iter().map(exchange).collect();
    for answered in 1..=10 {
        let outcome = bench.respond(open.pop_front().unwrap(), "x");
        assert_eq!(outcome.sent.len(), 1);
        open.extend(outcome.events.iter().map(exchange));
        assert_eq!(open.len(), 3.min(10 - answered));
    }
    assert!(bench.endpoint.wants_bytes());
    assert_eq!(bench.stats().requests, 10);
}

#[test]
fn a_peer_that_does_not_read_is_not_read_and_then_given_up() {
    let config = StreamConfig { max_outgoing: 1000, ..Default::default() };
    let mut bench = Bench::open_with(config);
    bench.writes = false;
    let mut kept = 0;
    for _ in 0..10_000 {
        if bench.endpoint.wants_bytes() {
            bench.receive(golden::PING);
        } else {
            kept += golden::PING.len();
        }
        assert!(bench.endpoint.unsent() < 1000 + golden::PONG.len());
    }
    assert!(kept > 0);
    assert_eq!(
        bench.endpoint.request(bench.now, &Request::new(Method::Get)),
        Err(RequestError::QueueFull)
    );
    assert_eq!(bench.closed, None);
    bench.sleep(29 * SECOND);
    assert_eq!(bench.closed, None);
    assert_eq!(bench.sleep(SECOND).events, [StreamEvent::Closed(CloseReason::Stalled)]);
}

#[test]
fn a_peer_that_reads_again_is_read_again() {
    let config = StreamConfig { max_outgoing: 100, ..Default::default() };
    let mut bench = Bench::open_with(config);
    bench.writes = false;
    let pings = golden::PING.repeat(1000);
    let mut pongs = bench.receive(&pings).sent.len();
    assert!(pongs < 40 && !bench.endpoint.wants_bytes());
    while pongs < 1000 {
        bench.endpoint.handle_transmitted(bench.now);
        let more = bench.drain().sent.len();
        assert!(0 < more && more < 40);
        pongs += more;
    }
    assert_eq!(pongs, 1000);
}

#[test]
fn own_requests_are_limited() {
    let config = StreamConfig { max_requests: 2, ..Default::default() };
    let mut bench = Bench::open_with(config);
    let (_, sent) = bench.request(&Request::new(Method::Get));
    bench.request(&Request::new(Method::Get));
    let third = bench.endpoint.request(bench.now, &Request::new(Method::Get));
    assert_eq!(third, Err(RequestError::TooManyRequests));
    bench.receive(&message(Code::CONTENT, &sent.token, &[], b""));
    bench.request(&Request::new(Method::Get));
}
