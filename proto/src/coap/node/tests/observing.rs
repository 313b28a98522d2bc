//! Observation (RFC 7641), and with block-wise transfers (RFC 7959 §2.6).

use super::*;
use crate::coap::CallError;

const RESOURCE: ResourceId = ResourceId(1);

fn get() -> Request {
    Request::new(Method::Get).path("temperature")
}

fn observe(value: u32) -> Request {
    with(get(), OptionNumber::OBSERVE, value)
}

fn number(sent: &Sent) -> Option<u32> {
    sent.options.first_uint(OptionNumber::OBSERVE)
}

impl Bench {
    /// Registers an observer at the node.
    fn observer(&mut self, token: &[u8], payload: &[u8]) -> Sent {
        let (ask, _) = self.asked(token, &observe(0));
        assert!(ask.observes());
        self.node.respond_observed(self.now, ask, RESOURCE, content(payload));
        only(self.drain().0)
    }

    fn notify(&mut self, payload: impl Into<Vec<u8>>) -> Vec<Sent> {
        self.node.notify(self.now, RESOURCE, content(payload));
        self.drain().0
    }

    fn acknowledge(&mut self, sent: &Sent) -> (Vec<Sent>, Vec<NodeEvent<u16>>) {
        self.receive(&encode::empty(ACK, sent.message_id))
    }
}

fn bench() -> Bench {
    Bench::with_transfer(TransferConfig::default())
}

#[test]
fn an_observer_is_told_every_change() {
    // RFC 7641 §1.2, figure 2: 2.05 with Observe in the response, and in each notification with
    // the same token.
    let mut bench = bench();
    let first = bench.observer(b"\x4a", b"22.9 Cel");
    let notification = only(bench.notify("22.8 Cel"));
    assert_eq!((notification.kind, notification.code), (CON, Code::CONTENT));
    assert_eq!((&*notification.token, &*notification.payload), (&b"\x4a"[..], &b"22.8 Cel"[..]));
    assert!(number(&notification) > number(&first));
    assert_eq!(bench.acknowledge(&notification), (Vec::new(), Vec::new()));
}

#[test]
fn a_get_with_the_same_token_and_observe_1_or_none_deregisters() {
    // RFC 7641 §4.1
    for request in [observe(1), get()] {
        let mut bench = bench();
        bench.observer(b"a", b"1");
        let (sent, mut events) = bench.ask(b"a", &request);
        assert_eq!(sent, []);
        let Some(NodeEvent::Unobserved { resource: RESOURCE }) = events.pop() else {
            panic!("still observed");
        };
        let Some(NodeEvent::Request { ask, .. }) = events.pop() else { panic!("not asked") };
        let answer = bench.respond(ask, content("2"));
        assert_eq!(number(&answer), None);
        assert_eq!(bench.notify("3"), []);
    }
}

#[test]
fn a_reset_ends_the_observation() {
    // RFC 7641 §3.6
    let mut bench = bench();
    bench.observer(b"a", b"1");
    let notification = only(bench.notify("2"));
    let reset = encode::empty(MessageType::Reset, notification.message_id);
    let (_, events) = bench.receive(&reset);
    assert_eq!(events, [NodeEvent::Unobserved { resource: RESOURCE }]);
    assert_eq!((bench.notify("3"), bench.node.server_stats().observers_lost), (Vec::new(), 1));
}

#[test]
fn a_notification_that_times_out_ends_the_observation() {
    // RFC 7641 §4.5
    let mut bench = bench();
    bench.observer(b"a", b"1");
    bench.notify("2");
    let (sent, events) = bench.sleep(100 * SECOND);
    assert_eq!(
        (sent.len(), events),
        (4, Vec::from([NodeEvent::Unobserved { resource: RESOURCE }]))
    );
}

#[test]
fn a_change_while_a_notification_is_under_way_waits_for_it() {
    // RFC 7641 §4.5.2
    let mut bench = bench();
    bench.observer(b"a", b"1");
    let sent = only(bench.notify("2"));
    assert_eq!((bench.notify("3"), bench.notify("4")), (Vec::new(), Vec::new()));
    assert_eq!(only(bench.acknowledge(&sent).0).payload, b"4");
}

#[test]
fn a_refused_registration_is_answered_without_observe() {
    // RFC 7641 §4.1
    let observe = crate::coap::ObserveConfig { max_observers: 1, ..Default::default() };
    let echo = EchoConfig { amplification: None, ..Default::default() };
    let server = ServerConfig { observe, echo, ..Default::default() };
    let mut bench = Bench::new(NodeConfig { server, ..Default::default() });
    assert!(number(&bench.observer(b"a", b"1")).is_some());
    let refused = bench.observer(b"b", b"1");
    assert_eq!((number(&refused), refused.code), (None, Code::CONTENT));
    assert_eq!(bench.node.server_stats().observers_refused, 1);
}

#[test]
fn an_error_and_an_unobservable_resource_are_answered_without_observe() {
    // RFC 7641 §4.1
    let mut bench = bench();
    let (ask, _) = bench.asked(b"a", &observe(0));
    bench.node.respond_observed(bench.now, ask, RESOURCE, Response::new(Code::NOT_FOUND));
    assert_eq!(number(&only(bench.drain().0)), None);
    let (ask, _) = bench.asked(b"a", &observe(0));
    assert_eq!(number(&bench.respond(ask, content("1"))), None);
    assert_eq!(bench.notify("2"), []);
}

#[test]
fn a_fetch_can_observe_and_a_post_cannot() {
    // RFC 8132 §2.4
    for (method, observes) in [(Method::Fetch, true), (Method::Post, false)] {
        let mut bench = bench();
        let request = with(Request::new(method), OptionNumber::OBSERVE, 0).payload("filter");
        assert_eq!(bench.asked(b"a", &request).0.observes(), observes);
    }
}

#[test]
fn the_first_block_of_a_large_state_is_pushed_and_the_rest_fetched() {
    // RFC 7959 §2.6, §3.4: the GET for the rest is without Observe and has another token.
    let mut bench = Bench::with_transfer(TransferConfig {
        block_size: BlockSize::fitting(64).unwrap(),
        ..Default::default()
    });
    bench.observer(b"a", &body(100));
    let mut state = body(100);
    state.reverse();
    let first = only(bench.notify(state.clone()));
    assert_eq!(first.block(OptionNumber::BLOCK2), Some((0, true, 64)));
    assert!(number(&first).is_some());
    let next = with(get(), OptionNumber::BLOCK2, block(1, false, 64));
    let rest = bench.answered(b"b", &next);
    assert_eq!((rest.options.etag(), number(&rest)), (first.options.etag(), None));
    assert_eq!([first.payload, rest.payload].concat(), state);
    // The request for the rest did not end the observation.
    let acknowledged = encode::empty(ACK, first.message_id);
    bench.receive(&acknowledged);
    assert_eq!(bench.notify("small").len(), 1);
}

/// A client that observes: its call and its request.
fn observing(bench: &mut Bench) -> (CallId, Sent) {
    let call = bench.node.observe(bench.now, PEER, get()).unwrap();
    let request = only(bench.drain().0);
    assert_eq!(number(&request), Some(0));
    (call, request)
}

fn state(observe: u32, payload: &[u8]) -> Response {
    let mut response = content(payload);
    response.options.push_uint(OptionNumber::OBSERVE, observe);
    response
}

/// A notification in a Non-confirmable message.
fn push(bench: &mut Bench, to: &Sent, response: &Response) -> (Vec<Sent>, Vec<NodeEvent<u16>>) {
    bench.next_id += 1;
    let Response { code, options, payload } = response;
    let (id, token) = (bench.next_id, to.token);
    let datagram = encode::message(NON, *code, id, token, options, payload, 65_507).unwrap();
    bench.receive(&datagram)
}

#[track_caller]
fn notified(events: Vec<NodeEvent<u16>>) -> Vec<u8> {
    let NodeEvent::Call(CallEvent::Notification { response, .. }) = only(events) else {
        panic!("no notification");
    };
    response.payload
}

#[test]
fn a_client_is_told_newer_states_only() {
    // RFC 7641 §3.4
    let mut bench = bench();
    let (_, request) = observing(&mut bench);
    assert_eq!(notified(bench.reply(&request, &state(5, b"1")).1), b"1");
    assert_eq!(notified(push(&mut bench, &request, &state(7, b"2")).1), b"2");
    assert_eq!(push(&mut bench, &request, &state(6, b"old")).1, []);
    bench.now = bench.now + 10 * SECOND;
    assert_eq!(notified(push(&mut bench, &request, &state(8, b"3")).1), b"3");
}

#[test]
fn a_silent_observation_is_registered_anew_with_the_same_token() {
    // RFC 7641 §3.3.1
    let mut bench = bench();
    let (_, request) = observing(&mut bench);
    bench.reply(&request, &state(5, b"1"));
    assert_eq!(bench.sleep(64 * SECOND).0, []);
    let again = bench.sleep(11 * SECOND).0.swap_remove(0);
    assert_eq!((again.token, number(&again)), (request.token, Some(0)));
    assert_ne!(again.message_id, request.message_id);
    assert_eq!(notified(bench.reply(&again, &state(9, b"2")).1), b"2");
    assert_eq!(bench.sleep(64 * SECOND).0, []);
    assert!(!bench.sleep(11 * SECOND).0.is_empty());
}

#[test]
fn deregistering_ends_the_call_in_the_response() {
    // RFC 7641 §3.6
    let mut bench = bench();
    let (call, request) = observing(&mut bench);
    bench.reply(&request, &state(5, b"1"));
    bench.node.deregister(bench.now, call);
    let last = only(bench.drain().0);
    assert_eq!((last.token, number(&last)), (request.token, Some(1)));
    assert_eq!(push(&mut bench, &request, &state(6, b"late")).1, []);
    let (_, events) = bench.reply(&last, &content("2"));
    let NodeEvent::Call(CallEvent::Response { response, .. }) = only(events) else {
        panic!("no end");
    };
    assert_eq!((response.payload, bench.node.client.usage()), (b"2".to_vec(), (0, 0, 0)));
}

#[test]
fn cancelling_ends_the_call_and_rejects_the_next_notification() {
    // RFC 7641 §3.6
    let mut bench = bench();
    let (call, request) = observing(&mut bench);
    bench.reply(&request, &state(5, b"1"));
    bench.node.cancel(bench.now, call);
    let (_, events) = bench.drain();
    let error = CallError::Exchange(crate::coap::FailReason::Cancelled);
    assert_eq!(events, [NodeEvent::Call(CallEvent::Failed { call, error })]);
    let (sent, events) = push(&mut bench, &request, &state(6, b"2"));
    assert_eq!((only(sent).kind, events), (MessageType::Reset, Vec::new()));
    assert_eq!(bench.node.client.usage(), (0, 0, 0));
}

fn first_block(observe: u32, etag: u8) -> Response {
    let mut response = state(observe, &[etag; 64]).option(OptionNumber::ETAG, &[etag]);
    response.options.push_uint(OptionNumber::BLOCK2, block(0, true, 64));
    response
}

#[test]
fn a_client_fetches_the_rest_of_a_state_and_drops_it_for_a_newer_one() {
    // RFC 7959 §2.6
    let mut bench = bench();
    let (_, request) = observing(&mut bench);
    let fetch = only(bench.reply(&request, &first_block(5, 1)).0);
    assert_eq!((number(&fetch), fetch.block(OptionNumber::BLOCK2)), (None, Some((1, false, 64))));
    assert_ne!(fetch.token, request.token);
    let newer = only(push(&mut bench, &request, &first_block(6, 2)).0);
    let mut rest = content("end").option(OptionNumber::ETAG, &[2]);
    rest.options.push_uint(OptionNumber::BLOCK2, block(1, false, 64));
    assert_eq!(bench.reply(&fetch, &rest).1, [], "of the state before");
    let payload = notified(bench.reply(&newer, &rest).1);
    assert_eq!(payload, [&[2; 64][..], b"end"].concat());
}

#[test]
fn a_state_that_cannot_be_fetched_is_asked_for_again() {
    let mut bench = bench();
    let (_, request) = observing(&mut bench);
    let fetch = only(bench.reply(&request, &first_block(5, 1)).0);
    assert_eq!(bench.reply(&fetch, &Response::new(Code::SERVICE_UNAVAILABLE)).1, []);
    let again = bench.sleep(16 * SECOND).0.swap_remove(0);
    assert_eq!((again.token, number(&again)), (request.token, Some(0)));
}

#[test]
fn an_error_ends_the_clients_observation() {
    // RFC 7641 §4.2
    let mut bench = bench();
    let (_, request) = observing(&mut bench);
    bench.reply(&request, &state(5, b"1"));
    let (_, events) = push(&mut bench, &request, &Response::new(Code::NOT_FOUND));
    let NodeEvent::Call(CallEvent::Response { response, .. }) = only(events) else {
        panic!("no end");
    };
    assert_eq!((response.code, bench.node.client.usage()), (Code::NOT_FOUND, (0, 0, 0)));
}
