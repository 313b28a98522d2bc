//! Every table has a limit, and meeting it has a stated outcome (see `EndpointConfig`).

use super::*;

/// A Confirmable POST of a peer, answered at once if it is handed over.
fn answered(bench: &mut Bench, from: u16, message_id: u16, payload: &str) {
    let outputs = bench.receive_from(from, &post(message_id, &[]));
    for output in outputs {
        if let Output::Event(Event::Request { exchange, .. }) = output {
            bench.respond(exchange, content(payload));
        }
    }
}

/// Sends the same POST again: whether it was executed a second time.
fn is_executed_again(bench: &mut Bench, from: u16, message_id: u16) -> bool {
    let requests = bench.stats().requests;
    answered(bench, from, message_id, "again");
    bench.stats().requests > requests
}

#[test]
fn the_oldest_answered_message_of_a_peer_gives_way_to_its_next() {
    let mut bench = Bench::with(EndpointConfig { max_received_per_peer: 3, ..Default::default() });
    answered(&mut bench, PEER + 1, 9, "other");
    let (pending, _) = only_request(bench.receive(&post(0, &[])));
    for message_id in 1..=4 {
        answered(&mut bench, PEER, message_id, "x");
    }
    assert_eq!((bench.stats().evicted, bench.endpoint.dedup.usage().0), (2, 4));
    assert!(!is_executed_again(&mut bench, PEER, 0), "unanswered ones stay");
    for message_id in [3, 4] {
        assert!(!is_executed_again(&mut bench, PEER, message_id));
    }
    assert!(!is_executed_again(&mut bench, PEER + 1, 9), "other peers are not touched");
    assert!(is_executed_again(&mut bench, PEER, 2));
    assert_eq!(bench.respond(pending, content("late")).len(), 1);
}

#[test]
fn the_oldest_answered_message_of_all_gives_way_when_the_table_is_full() {
    let mut bench = Bench::with(EndpointConfig { max_received: 3, ..Default::default() });
    let (pending, _) = only_request(bench.receive(&post(0, &[])));
    for peer in 11..=13 {
        answered(&mut bench, peer, 1, "x");
    }
    assert_eq!((bench.stats().evicted, bench.endpoint.dedup.usage().0), (1, 3));
    for peer in [12, 13] {
        assert!(!is_executed_again(&mut bench, peer, 1));
    }
    assert!(is_executed_again(&mut bench, 11, 1));
    assert_eq!(bench.respond(pending, content("late")).len(), 1);
}

#[test]
fn the_oldest_answers_give_way_when_they_take_too_many_bytes() {
    let mut bench = Bench::with(EndpointConfig { max_answer_bytes: 300, ..Default::default() });
    let payload = "x".repeat(100);
    for message_id in 0..5 {
        answered(&mut bench, PEER, message_id, &payload);
        let (entries, bytes) = bench.endpoint.dedup.usage();
        assert!(entries <= 2 && bytes <= 300);
    }
    assert!(!is_executed_again(&mut bench, PEER, 4));
    assert!(!is_executed_again(&mut bench, PEER, 3));
    assert!(is_executed_again(&mut bench, PEER, 2));
    // The newest one stays, whatever it takes.
    answered(&mut bench, PEER, 9, &"x".repeat(1000));
    assert!(!is_executed_again(&mut bench, PEER, 9));
}

#[test]
fn unanswered_messages_never_give_way_and_the_next_is_refused() {
    // RFC 7252 §5.9.3.4: 5.03 with Max-Age as the time to wait.
    for config in [
        EndpointConfig { max_received: 3, ..Default::default() },
        EndpointConfig { max_received_per_peer: 3, ..Default::default() },
    ] {
        let mut bench = Bench::with(config);
        let pending: Vec<_> =
            (0..3).map(|id| only_request(bench.receive(&post(id, &[]))).0).collect();
        let datagram = only_datagram(bench.receive(&post(3, &[])));
        let answer = Message::parse(&datagram).unwrap();
        assert_eq!((answer.kind(), answer.message_id()), (MessageType::Acknowledgement, 3));
        assert_eq!(answer.code(), Code::SERVICE_UNAVAILABLE);
        let max_age = answer.options().find(|&(number, _)| number == OptionNumber::MAX_AGE);
        assert_eq!(max_age, Some((OptionNumber::MAX_AGE, &[5][..])));
        assert_eq!(bench.receive(&non_post(4, &[])), []);
        assert_eq!(bench.stats().refused_busy, 2);
        for exchange in pending {
            assert_eq!(bench.respond(exchange, content("x")).len(), 1);
        }
        only_request(bench.receive(&post(3, &[])));
    }
}

#[test]
fn the_peer_that_was_silent_longest_gives_way_to_a_new_one() {
    let mut bench = Bench::with(EndpointConfig { max_peers: 3, ..Default::default() });
    for peer in [1, 2, 3] {
        answered(&mut bench, peer, 1, "x");
    }
    assert!(!is_executed_again(&mut bench, 1, 1), "now 2 is silent longest");
    answered(&mut bench, 4, 1, "x");
    assert_eq!((bench.stats().evicted, bench.endpoint.peers.len()), (1, 3));
    for peer in [1, 3, 4] {
        assert!(!is_executed_again(&mut bench, peer, 1));
    }
    assert!(is_executed_again(&mut bench, 2, 1));
}

#[test]
fn a_new_peer_is_refused_while_all_have_something_in_progress() {
    let mut bench = Bench::with(EndpointConfig { max_peers: 2, ..Default::default() });
    let pending = [1, 2].map(|peer| only_request(bench.receive_from(peer, &post(1, &[]))).0);
    let datagram = only_datagram(bench.receive(&post(1, &[])));
    assert_eq!(Message::parse(&datagram).unwrap().code(), Code::SERVICE_UNAVAILABLE);
    assert_eq!(bench.receive(&non_post(2, &[(OptionNumber::URI_PATH, b"+")])), []);
    assert_eq!(bench.stats().refused_busy, 2);
    bench.respond(pending[0], content("x"));
    only_request(bench.receive(&post(1, &[])));
}

#[test]
fn delayed_responses_to_groups_are_limited() {
    let mut bench = Bench::with(EndpointConfig { max_delayed: 3, ..Default::default() });
    for message_id in 0..5 {
        let (exchange, _) = only_request(bench.receive_for_group(&non_post(message_id, &[])));
        assert_eq!(bench.respond(exchange, content("x")), []);
    }
    assert_eq!(bench.sleep(10 * SECOND).len(), 3);
    assert_eq!(bench.stats().suppressed_responses, 2);
}

#[test]
fn responses_are_dropped_when_the_message_ids_are_used_up() {
    // RFC 7252 §4.4: the same id not within EXCHANGE_LIFETIME.
    let mut bench = Bench::new();
    for message_id in 0..=32_768 {
        let (exchange, _) = only_request(bench.receive(&non_post(message_id, &[])));
        let sent = bench.respond(exchange, content("x")).len();
        assert_eq!(sent, usize::from(message_id < 32_768));
    }
    assert_eq!(bench.stats().out_of_message_ids, 1);
}

#[test]
fn datagrams_are_dropped_while_the_caller_does_not_drain() {
    let mut bench = Bench::new();
    for _ in 0..MAX_OUTPUTS + 10 {
        bench.endpoint.handle_datagram(bench.now, PEER, golden::PING, Delivery::Unicast);
    }
    assert_eq!(bench.stats().undrained, 10);
    assert_eq!(bench.drain().len(), MAX_OUTPUTS);
    assert_eq!(bench.receive(golden::PING).len(), 1);
}

/// What an endpoint holds, for comparison with its limits.
#[derive(Debug, PartialEq)]
struct Usage {
    peers: usize,
    received: usize,
    answer_bytes: usize,
    transmissions: usize,
    timers: usize,
    requests: usize,
    delayed: usize,
}

pub(in crate::coap) fn assert_is_empty<P: Copy + Ord + Debug>(endpoint: &Endpoint<P>) {
    let (received, answer_bytes) = endpoint.dedup.usage();
    let usage = Usage {
        peers: endpoint.peers.len(),
        received,
        answer_bytes,
        transmissions: endpoint.transmissions.len(),
        timers: endpoint.timers.len(),
        requests: endpoint.requests.len(),
        delayed: endpoint.delayed.len(),
    };
    let empty = Usage {
        peers: 0,
        received: 0,
        answer_bytes: 0,
        transmissions: 0,
        timers: 0,
        requests: 0,
        delayed: 0,
    };
    assert_eq!(usage, empty);
}

#[test]
fn a_flood_of_100_000_peers_stays_within_the_limits() {
    let config = EndpointConfig { max_peers: 10_000, max_received: 20_000, ..Default::default() };
    let mut endpoint = Endpoint::new(config.clone(), 1);
    let mut now = Instant::ZERO;
    let mut unanswered = Vec::new();
    for peer in 0..100_000_u32 {
        now = now + Duration::from_micros(10);
        let message_id = u16::try_from(peer % 65_536).unwrap();
        let datagram =
            if peer % 3 == 0 { non_post(message_id, &[]) } else { post(message_id, &[]) };
        endpoint.handle_datagram(now, peer, &datagram, Delivery::Unicast);
        while let Output::Event(event) = endpoint.poll_output() {
            let Event::Request { exchange, .. } = event else { panic!("{event:?}") };
            if peer % 100 == 0 {
                unanswered.push(exchange);
            } else {
                endpoint.respond(now, exchange, content("x"));
                while endpoint.poll_output() != Output::Wait(endpoint.next_wait()) {}
            }
        }
        let (received, bytes) = endpoint.dedup.usage();
        assert!(endpoint.peers.len() <= config.max_peers);
        assert!(received <= config.max_received && bytes <= config.max_answer_bytes);
    }
    assert_eq!(endpoint.stats().requests, 100_000);
    assert!(endpoint.stats().evicted >= 89_000, "{:?}", endpoint.stats());
    // Nothing that was being executed was forgotten, and all of it goes in the end.
    assert_eq!(unanswered.len(), 1000);
    for exchange in unanswered {
        endpoint.respond(now, exchange, content("x"));
    }
    assert_eq!(endpoint.stats().late_responses, 0);
    now = now + 300 * SECOND;
    endpoint.handle_timeout(now);
    for _ in 0..100 {
        now = now + 300 * SECOND;
        endpoint.handle_timeout(now);
    }
    for _ in 0..5_000 {
        endpoint.handle_timeout(now);
    }
    assert_is_empty(&endpoint);
}

#[test]
fn a_flood_of_message_ids_of_one_peer_stays_within_the_limits() {
    let mut bench = Bench::new();
    let limit = EndpointConfig::default().max_received_per_peer;
    for round in 0..2_u8 {
        for message_id in 0..20_000 {
            let code = Method::Post.code();
            let request = message(MessageType::Confirmable, code, message_id, &[round], &[], b"");
            let (exchange, _) = only_request(bench.receive(&request));
            bench.respond(exchange, content("x"));
            assert!(bench.endpoint.dedup.usage().0 <= limit);
        }
    }
    assert_eq!(bench.stats().evicted, 2 * 20_000 - limit as u64);
}

#[test]
fn ten_thousand_peers_at_once_are_served() {
    let mut bench = Bench::new();
    let mut pending = Vec::new();
    for peer in 0..10_000 {
        pending.push(only_request(bench.receive_from(peer, &post(peer, &[]))).0);
    }
    let acknowledgements = bench.sleep(2 * SECOND);
    assert_eq!(acknowledgements.len(), 10_000);
    for exchange in pending {
        bench.respond(exchange, content("x"));
    }
    let retransmissions = bench.sleep(100 * SECOND);
    assert_eq!(retransmissions.len(), 4 * 10_000);
    assert_eq!(bench.stats().separate_responses_lost, 10_000);
}
