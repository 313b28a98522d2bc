//! The client's role (RFC 7252 §4.7, §5.2, §5.3).

use super::*;
use crate::coap::{FailReason, RequestError};

fn get() -> Request {
    Request::new(Method::Get).path("temperature")
}

/// The message id and token of a request that was sent.
#[track_caller]
fn identity(outputs: Vec<Output<u16>>) -> (u16, Token) {
    let datagram = only_datagram(outputs);
    let message = Message::parse(&datagram).unwrap();
    (message.message_id(), message.token())
}

#[track_caller]
fn failure(outputs: Vec<Output<u16>>) -> (RequestId, FailReason) {
    let event = only_event(outputs);
    let Event::Failed { id, reason } = event else { panic!("expected a failure: {event:?}") };
    (id, reason)
}

fn response(kind: MessageType, message_id: u16, token: Token) -> Vec<u8> {
    message(kind, Code::CONTENT, message_id, &token, &[], b"22.3 C")
}

fn done(id: RequestId) -> Output<u16> {
    Output::Event(Event::Response { id, from: PEER, response: content("22.3 C") })
}

const CON: MessageType = MessageType::Confirmable;
const NON: MessageType = MessageType::NonConfirmable;
const ACK: MessageType = MessageType::Acknowledgement;

#[test]
fn a_request_is_sent_as_the_rfc_draws_it() {
    // RFC 7252 appendix A, figure 16, plus a token
    let mut bench = Bench::new();
    let (_, outputs) = bench.request(get());
    let datagram = only_datagram(outputs);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!((message.kind(), message.code()), (CON, Method::Get.code()));
    assert_eq!(message.token().len(), 4, "32 bits, RFC 7252 §5.3.1");
    assert!(datagram.ends_with(b"\xbbtemperature"));
}

#[test]
fn a_piggybacked_response_ends_the_request() {
    // RFC 7252 §5.2.1
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get());
    let (message_id, token) = identity(outputs);
    assert_eq!(bench.receive(&response(ACK, message_id, token)), [done(id)]);
    assert_eq!(bench.wait, None);
    assert_eq!(bench.receive(&response(ACK, message_id, token)), []);
    assert_eq!((bench.stats().responses, bench.stats().unmatched), (1, 1));
}

#[test]
fn a_piggybacked_response_matches_by_peer_message_id_and_token() {
    // RFC 7252 §5.3.2
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get());
    let (message_id, token) = identity(outputs);
    let right = response(ACK, message_id, token);
    assert_eq!(bench.receive_from(PEER + 1, &right), []);
    assert_eq!(bench.receive(&response(ACK, message_id.wrapping_add(1), token)), []);
    assert_eq!(bench.receive(&response(ACK, message_id, Token::new(b"?").unwrap())), []);
    assert_eq!(bench.receive(&right), [done(id)]);
    assert_eq!(bench.stats().unmatched, 3);
}

#[test]
fn a_request_is_retransmitted_and_times_out() {
    // RFC 7252 §4.2
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get());
    let datagram = only_datagram(outputs);
    let start = bench.now;
    let mut outputs = bench.sleep(100 * SECOND);
    let (at, failed) = outputs.pop().unwrap();
    assert_eq!(failure(alloc::vec![failed]), (id, FailReason::Timeout));
    assert!((62 * SECOND..=93 * SECOND).contains(&(at - start)));
    assert_eq!(outputs.len(), 4);
    for (_, output) in outputs {
        assert_eq!(only_datagram(alloc::vec![output]), datagram);
    }
    assert_eq!((bench.stats().own_requests_failed, bench.stats().retransmissions), (1, 4));
    assert_eq!(bench.sleep(500 * SECOND), []);
}

#[test]
fn a_reset_ends_a_request() {
    // RFC 7252 §4.2, §4.3
    for request in [get(), get().non_confirmable()] {
        let mut bench = Bench::new();
        let (id, outputs) = bench.request(request);
        let (message_id, _) = identity(outputs);
        let reset = encode::empty(MessageType::Reset, message_id);
        assert_eq!(bench.receive_from(PEER + 1, &reset), []);
        assert_eq!(failure(bench.receive(&reset)), (id, FailReason::Reset));
        assert_eq!(bench.receive(&reset), []);
        assert_eq!(bench.sleep(200 * SECOND), []);
    }
}

#[test]
fn a_separate_response_is_acknowledged_once_for_every_copy() {
    // RFC 7252 §5.2.2, §4.5, appendix A figure 20
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get());
    let (message_id, token) = identity(outputs);
    let arrived = Output::Event(Event::Acknowledged { id });
    assert_eq!(bench.receive(&encode::empty(ACK, message_id)), [arrived]);
    assert_eq!(bench.receive(&encode::empty(ACK, message_id)), [], "that is no news");
    assert_eq!(bench.sleep(60 * SECOND), [], "acknowledged: nothing to retransmit");
    let mut separate = response(CON, 0xad7b, token);
    let acknowledgement =
        Output::Transmit { to: PEER, datagram: golden::SEPARATE_RESPONSE_ACK.to_vec() };
    assert_eq!(bench.receive(&separate), [acknowledgement.clone(), done(id)]);
    assert_eq!(bench.wait, None);
    bench.sleep(200 * SECOND);
    assert_eq!(bench.receive(&separate), [acknowledgement]);
    // Under another message id it is not a copy, and matches nothing any more.
    encode::set_message_id(&mut separate, 0xad7c);
    let reset = only_datagram(bench.receive(&separate));
    assert_eq!(reset, golden::UNEXPECTED_RESPONSE_RESET);
}

#[test]
fn a_separate_response_matches_by_peer_and_token() {
    // RFC 7252 §5.3.2
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get());
    let (_, token) = identity(outputs);
    for (from, token) in [(PEER + 1, token), (PEER, Token::EMPTY)] {
        bench.receive_from(from, &response(CON, 1, token));
    }
    assert_eq!((bench.stats().unmatched, bench.stats().resets_sent), (2, 2));
    assert_eq!(bench.receive(&response(NON, 2, token)), [done(id)]);
}

#[test]
fn a_response_before_the_acknowledgement_ends_the_retransmissions() {
    // RFC 7252 §5.2.2, implementation note
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get());
    let (message_id, token) = identity(outputs);
    assert_eq!(bench.receive(&response(CON, 1, token)).last(), Some(&done(id)));
    assert_eq!(bench.receive(&encode::empty(ACK, message_id)), []);
    assert_eq!(bench.sleep(200 * SECOND), []);
    assert_eq!(bench.stats().retransmissions, 0);
}

#[test]
fn any_type_of_message_may_carry_the_response() {
    // RFC 7252 §5.2.3
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get());
    assert_eq!(bench.receive(&response(NON, 1, identity(outputs).1)), [done(id)]);
    let (id, outputs) = bench.request(get().non_confirmable());
    assert_eq!(bench.receive(&response(NON, 2, identity(outputs).1)), [done(id)]);
    let (id, outputs) = bench.request(get().non_confirmable());
    let outputs = bench.receive(&response(CON, 3, identity(outputs).1));
    assert_eq!(outputs.last(), Some(&done(id)));
    // A piggybacked one cannot be, where there was nothing to acknowledge.
    let (_, outputs) = bench.request(get().non_confirmable());
    let (message_id, token) = identity(outputs);
    assert_eq!(bench.receive(&response(ACK, message_id, token)), []);
    assert_eq!(bench.receive(&encode::empty(ACK, message_id)), []);
    assert_eq!(bench.stats().unmatched, 2);
}

#[test]
fn a_response_to_a_request_that_was_not_sent_yet_matches_nothing() {
    // RFC 7252 §5.3.2. The other bench sends the second request at once and so shows its token.
    let mut open = Bench::with(EndpointConfig { nstart: 2, ..Default::default() });
    open.request(get());
    let (_, outputs) = open.request(get());
    let (_, token) = identity(outputs);
    let mut bench = Bench::new();
    let (first, outputs) = bench.request(get());
    let (first_id, first_token) = identity(outputs);
    bench.request(get());
    assert_eq!(bench.receive(&response(NON, 1, token)), []);
    assert_eq!(bench.stats().unmatched, 1);
    let mut outputs = bench.receive(&response(ACK, first_id, first_token));
    assert_eq!(identity(alloc::vec![outputs.pop().unwrap()]).1, token);
    assert_eq!(outputs, [done(first)]);
}

#[test]
fn a_piggybacked_response_is_taken_after_an_empty_acknowledgement() {
    // A server that restarted does not know that it acknowledged the request before.
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get());
    let (message_id, token) = identity(outputs);
    let arrived = Output::Event(Event::Acknowledged { id });
    assert_eq!(bench.receive(&encode::empty(ACK, message_id)), [arrived]);
    assert_eq!(bench.receive(&response(ACK, message_id, token)), [done(id)]);
}

#[test]
fn an_acknowledged_request_without_response_fails() {
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get());
    bench.sleep(SECOND);
    bench.receive(&encode::empty(ACK, identity(outputs).0));
    let start = bench.now;
    let (at, failed) = bench.sleep(200 * SECOND).pop().unwrap();
    assert_eq!(failure(alloc::vec![failed]), (id, FailReason::NoResponse));
    assert_eq!(at - start, EndpointConfig::default().response_timeout);
}

#[test]
fn a_critical_option_in_a_response_rejects_it() {
    // RFC 7252 §5.4.1
    for kind in [ACK, CON, NON] {
        let mut bench = Bench::new();
        let (id, outputs) = bench.request(get());
        let (message_id, token) = identity(outputs);
        let options: &[(OptionNumber, &[u8])] = &[(OptionNumber::BLOCK2, b"\x08")];
        let datagram = message(kind, Code::CONTENT, message_id, &token, options, b"1");
        let mut outputs = bench.receive(&datagram);
        let event = outputs.pop().unwrap();
        assert_eq!(failure(alloc::vec![event]), (id, FailReason::UnrecognisedOption));
        let expected: &[&[u8]] =
            if kind == CON { &[&encode::empty(MessageType::Reset, message_id)] } else { &[] };
        assert_eq!(transmitted(&outputs).collect::<Vec<_>>(), expected);
        assert_eq!(bench.sleep(200 * SECOND), []);
    }
}

#[test]
fn requests_to_one_peer_wait_for_each_other() {
    // RFC 7252 §4.7: NSTART 1; an Acknowledgement is sign of life enough.
    let mut bench = Bench::new();
    let (first, outputs) = bench.request(get());
    let (first_id, first_token) = identity(outputs);
    let (second, outputs) = bench.request(get());
    assert_eq!(outputs, []);
    let (third, outputs) = bench.request(get());
    assert_eq!(outputs, []);
    let other = bench.endpoint.request(bench.now, PEER + 1, get());
    assert!(other.is_ok() && bench.drain().len() == 1, "another peer does not wait");

    let mut outputs = bench.receive(&encode::empty(ACK, first_id));
    assert_eq!(outputs.remove(0), Output::Event(Event::Acknowledged { id: first }));
    let (second_id, second_token) = identity(outputs);
    let mut outputs = bench.receive(&response(ACK, second_id, second_token));
    let (third_id, _) = identity(alloc::vec![outputs.pop().unwrap()]);
    assert_eq!(outputs, [done(second)]);
    let outputs = bench.receive(&encode::empty(MessageType::Reset, third_id));
    assert_eq!(failure(outputs), (third, FailReason::Reset));
    let outputs = bench.receive(&response(NON, 1, first_token));
    assert_eq!(outputs, [done(first)]);
}

#[test]
fn a_timed_out_request_makes_room_for_the_next() {
    // RFC 7252 §4.7
    let mut bench = Bench::new();
    let (first, _) = bench.request(get());
    let (_, outputs) = bench.request(get());
    assert_eq!(outputs, []);
    let outputs = bench.sleep(93 * SECOND);
    let failed = Output::Event(Event::Failed { id: first, reason: FailReason::Timeout });
    let at = outputs.iter().position(|(_, output)| *output == failed).unwrap();
    assert!(matches!(outputs[at + 1].1, Output::Transmit { .. }));
}

#[test]
fn unanswered_non_confirmable_requests_keep_to_the_probing_rate() {
    // RFC 7252 §4.7: 1 byte per second to a peer that does not answer.
    let mut bench = Bench::new();
    let (_, outputs) = bench.request(get().non_confirmable());
    let length = only_datagram(outputs).len() as u64;
    let (_, outputs) = bench.request(get().non_confirmable());
    assert_eq!(outputs, []);
    let start = bench.now;
    let (at, output) = bench.sleep(60 * SECOND).remove(0);
    assert!(matches!(output, Output::Transmit { .. }));
    assert_eq!((at - start).as_secs(), length);
}

#[test]
fn a_non_confirmable_request_without_response_fails() {
    let mut bench = Bench::new();
    let (id, _) = bench.request(get().non_confirmable());
    let outputs = bench.sleep(EndpointConfig::default().response_timeout);
    let [(_, output)] = <[_; 1]>::try_from(outputs).unwrap();
    assert_eq!(failure(alloc::vec![output]), (id, FailReason::NoResponse));
    assert_eq!(bench.sleep(200 * SECOND), []);
}

#[test]
fn a_cancelled_request_fails_once_and_makes_room() {
    let mut bench = Bench::new();
    let (first, outputs) = bench.request(get());
    let (message_id, token) = identity(outputs);
    let (second, _) = bench.request(get());
    let (third, _) = bench.request(get());
    for (id, sent) in [(second, 0), (first, 1)] {
        bench.endpoint.cancel(bench.now, id);
        let outputs = bench.drain();
        let failed = Output::Event(Event::Failed { id, reason: FailReason::Cancelled });
        assert_eq!((outputs.first(), transmitted(&outputs).count()), (Some(&failed), sent));
    }
    bench.endpoint.cancel(bench.now, first);
    assert_eq!(bench.drain(), []);
    assert_eq!(bench.receive(&response(ACK, message_id, token)), []);
    bench.endpoint.cancel(bench.now, third);
    assert_eq!(bench.drain().len(), 1);
    assert_eq!(bench.sleep(200 * SECOND), []);
}

#[test]
fn tokens_and_first_message_ids_are_random() {
    // RFC 7252 §4.4, §5.3.1
    let mut seen = alloc::collections::BTreeSet::new();
    for seed in 0..100 {
        let mut endpoint = Endpoint::new(EndpointConfig::default(), seed);
        for peer in [1_u16, 2] {
            endpoint.request(Instant::ZERO, peer, get()).unwrap();
            let Output::Transmit { datagram, .. } = endpoint.poll_output() else { panic!() };
            let message = Message::parse(&datagram).unwrap();
            assert!(seen.insert((message.message_id(), message.token())));
        }
    }
    let ids: alloc::collections::BTreeSet<_> = seen.iter().map(|&(id, _)| id).collect();
    assert!(ids.len() > 190);
    // And consecutive after that, so that none comes again soon.
    let mut bench = Bench::new();
    let mut previous = None;
    for _ in 0..10 {
        let (_, outputs) = bench.request(get());
        let (message_id, token) = identity(outputs);
        assert!(previous.is_none_or(|id: u16| id.wrapping_add(1) == message_id));
        previous = Some(message_id);
        bench.receive(&response(ACK, message_id, token));
    }
}

#[test]
fn requests_beyond_a_limit_are_refused() {
    let config =
        EndpointConfig { max_requests: 5, max_queue: 3, max_peers: 3, ..Default::default() };
    let mut bench = Bench::with(config);
    let large = get().payload([0; 1152]);
    let refused = bench.endpoint.request(bench.now, PEER, large);
    assert_eq!(refused, Err(RequestError::TooLarge { limit: 1152 }));
    for _ in 0..4 {
        bench.request(get());
    }
    assert_eq!(bench.endpoint.request(bench.now, PEER, get()), Err(RequestError::QueueFull));
    let last = bench.endpoint.request(bench.now, PEER + 1, get()).unwrap();
    bench.drain();
    let refused = bench.endpoint.request(bench.now, PEER + 2, get());
    assert_eq!(refused, Err(RequestError::TooManyRequests));
    bench.endpoint.cancel(bench.now, last);
    bench.drain();
    assert!(bench.endpoint.request(bench.now, PEER + 2, get()).is_ok());
    bench.drain();
}

#[test]
fn a_request_to_one_peer_too_many_is_refused() {
    let mut bench = Bench::with(EndpointConfig { max_peers: 2, ..Default::default() });
    for peer in [1, 2] {
        bench.endpoint.request(bench.now, peer, get()).unwrap();
    }
    bench.drain();
    let refused = bench.endpoint.request(bench.now, 3, get());
    assert_eq!(refused, Err(RequestError::TooManyPeers));
    assert_eq!(bench.sleep(93 * SECOND).len(), 2 * 5);
    assert!(bench.endpoint.request(bench.now, 3, get()).is_ok(), "idle peers give way");
    bench.drain();
}

#[test]
fn requests_wait_when_the_message_ids_are_used_up() {
    // RFC 7252 §4.4: the same id not within EXCHANGE_LIFETIME.
    let mut bench = Bench::new();
    let start = bench.now;
    for _ in 0..32_768 {
        let (_, outputs) = bench.request(get());
        let (message_id, token) = identity(outputs);
        bench.receive(&response(ACK, message_id, token));
    }
    let (_, outputs) = bench.request(get());
    assert_eq!(outputs, []);
    let outputs = bench.sleep(250 * SECOND);
    assert_eq!(outputs[0].0 - start, 247 * SECOND);
    assert!(matches!(outputs[0].1, Output::Transmit { .. }));
}
