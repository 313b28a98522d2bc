//! Notifications, as a client gets and a server sends them (RFC 7641).

use super::*;
use crate::coap::encode::Prepared;
use crate::coap::{FailReason, NotificationId, RequestError};

const CON: MessageType = MessageType::Confirmable;
const NON: MessageType = MessageType::NonConfirmable;
const ACK: MessageType = MessageType::Acknowledgement;

fn get(observe: &[u8]) -> Request {
    Request::new(Method::Get).path("temperature").option(OptionNumber::OBSERVE, observe)
}

/// A response with Observe.
fn notification(kind: MessageType, message_id: u16, token: Token, observe: u8) -> Vec<u8> {
    let options: [(_, &[u8]); 1] = [(OptionNumber::OBSERVE, &[observe])];
    message(kind, Code::CONTENT, message_id, &token, &options, b"22.3 C")
}

fn plain(kind: MessageType, code: Code, message_id: u16, token: Token) -> Vec<u8> {
    message(kind, code, message_id, &token, &[], b"22.3 C")
}

fn identity(datagram: &[u8]) -> (u16, Token) {
    let message = Message::parse(datagram).unwrap();
    (message.message_id(), message.token())
}

/// The number of the one notification among the outputs.
#[track_caller]
fn notified(outputs: &[Output<u16>]) -> u32 {
    let mut numbers = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::Notification { response, .. }) => {
            response.options.first_uint(OptionNumber::OBSERVE)
        }
        Output::Event(_) | Output::Transmit { .. } | Output::Wait(_) => None,
    });
    let number = numbers.next().unwrap();
    assert_eq!(numbers.next(), None);
    number
}

/// A client that observes: the request and its token.
fn observing() -> (Bench, RequestId, Token) {
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get(b""));
    let (message_id, token) = identity(&only_datagram(outputs));
    assert_eq!(notified(&bench.receive(&notification(ACK, message_id, token, 9))), 9);
    assert_eq!(bench.wait, None);
    (bench, id, token)
}

#[test]
fn a_client_observes_as_the_rfc_draws_it() {
    // RFC 7641 §1.2, figure 2: 0x4a, Observe 12, 44 and 60; the requests and responses differ in
    // the token only.
    let (mut bench, id, token) = observing();
    for (message_id, observe) in [(0x4321, 44), (0x4322, 60)] {
        let outputs = bench.receive(&notification(CON, message_id, token, observe));
        assert_eq!(notified(&outputs), u32::from(observe));
        let acknowledgement = encode::empty(ACK, message_id);
        assert_eq!(transmitted(&outputs).collect::<Vec<_>>(), [&acknowledgement]);
    }
    assert_eq!(notified(&bench.receive(&notification(NON, 0x4323, token, 61))), 61);
    bench.endpoint.cancel(bench.now, id);
    let Event::Failed { reason: FailReason::Cancelled, .. } = only_event(bench.drain()) else {
        panic!("not cancelled");
    };
}

#[test]
fn a_notification_that_nobody_expects_is_rejected() {
    // RFC 7641 §3.6: Confirmable or not, so that no more come.
    let (mut bench, id, token) = observing();
    bench.endpoint.cancel(bench.now, id);
    bench.drain();
    for kind in [CON, NON] {
        let reset = only_datagram(bench.receive(&notification(kind, 77, token, 10)));
        assert_eq!(reset, encode::empty(MessageType::Reset, 77));
    }
    assert_eq!(bench.receive(&plain(NON, Code::CONTENT, 78, token)), [], "not a notification");
}

#[test]
fn an_error_or_a_response_without_observe_ends_an_observation() {
    // RFC 7641 §3.2, §4.2
    for code in [Code::NOT_FOUND, Code::CONTENT] {
        let (mut bench, id, token) = observing();
        let event = only_event(bench.receive(&plain(NON, code, 5, token)));
        assert!(matches!(event, Event::Response { id: ended, .. } if ended == id));
        assert_eq!(bench.wait, None);
    }
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get(b""));
    let (message_id, token) = identity(&only_datagram(outputs));
    let event = only_event(bench.receive(&plain(ACK, Code::CONTENT, message_id, token)));
    assert!(matches!(event, Event::Response { id: ended, .. } if ended == id), "not observable");
}

#[test]
fn a_client_registers_anew_with_the_same_token() {
    // RFC 7641 §3.3.1
    let (mut bench, id, token) = observing();
    bench.endpoint.renew(bench.now, id, &get(b"")).unwrap();
    let (message_id, again) = identity(&only_datagram(bench.drain()));
    assert_eq!(again, token);
    let twice = bench.endpoint.renew(bench.now, id, &get(b""));
    assert_eq!(twice, Err(RequestError::NotObserving));
    // A notification in between is not the answer: the request is still retransmitted.
    assert_eq!(notified(&bench.receive(&notification(NON, 80, token, 10))), 10);
    assert_eq!(bench.sleep(3 * SECOND).len(), 1);
    assert_eq!(notified(&bench.receive(&notification(ACK, message_id, token, 11))), 11);
    assert_eq!(bench.sleep(100 * SECOND), []);
    bench.endpoint.renew(bench.now, id, &get(b"")).unwrap();
    bench.drain();
    let outputs = bench.sleep(100 * SECOND);
    let (_, last) = outputs.last().unwrap();
    assert_eq!(*last, Output::Event(Event::Failed { id, reason: FailReason::Timeout }));
}

#[test]
fn a_client_deregisters_with_the_same_token() {
    // RFC 7641 §3.6
    let (mut bench, id, token) = observing();
    bench.endpoint.renew(bench.now, id, &get(b"\x01")).unwrap();
    let (message_id, again) = identity(&only_datagram(bench.drain()));
    assert_eq!(again, token);
    let late = bench.receive(&notification(CON, 90, token, 10));
    assert_eq!(only_datagram(late), encode::empty(ACK, 90), "acknowledged and dropped");
    let event = only_event(bench.receive(&plain(ACK, Code::CONTENT, message_id, token)));
    assert!(matches!(event, Event::Response { id: ended, .. } if ended == id));
    assert_eq!((bench.wait, bench.endpoint.requests.len()), (None, 0));
}

#[test]
fn a_notification_can_come_before_the_acknowledgement() {
    // RFC 7252 §5.3.2: what carries the token is the response, in whatever message.
    let mut bench = Bench::new();
    let (id, outputs) = bench.request(get(b""));
    let (message_id, token) = identity(&only_datagram(outputs));
    assert_eq!(notified(&bench.receive(&notification(CON, 5, token, 1))), 1);
    assert_eq!(bench.wait, None, "not retransmitted any more");
    assert_eq!(bench.receive(&encode::empty(ACK, message_id)), []);
    bench.endpoint.cancel(bench.now, id);
    assert_eq!(bench.drain().len(), 1);
}

fn prepared(bench: &Bench) -> Prepared {
    bench.endpoint.prepare(&content("23 C").option(OptionNumber::OBSERVE, &[44])).unwrap()
}

fn notify(bench: &mut Bench, confirmable: bool) -> (NotificationId, Vec<u8>) {
    let prepared = prepared(bench);
    let token = Token::new(&[0x4a]).unwrap();
    let id = bench.endpoint.notify(bench.now, PEER, token, &prepared, confirmable).unwrap();
    (id, only_datagram(bench.drain()))
}

#[test]
fn a_notification_is_a_response_with_the_token_of_the_request() {
    // RFC 7641 §4.2
    let mut bench = Bench::new();
    for (confirmable, kind) in [(true, CON), (false, NON)] {
        let (_, datagram) = notify(&mut bench, confirmable);
        let (message_id, token) = identity(&datagram);
        assert_eq!(datagram, {
            let options: [(_, &[u8]); 1] = [(OptionNumber::OBSERVE, &[44])];
            message(kind, Code::CONTENT, message_id, &token, &options, b"23 C")
        });
        assert_eq!(*token, [0x4a]);
    }
}

#[test]
fn a_confirmable_notification_is_delivered_rejected_or_times_out() {
    // RFC 7641 §4.5
    let mut bench = Bench::new();
    let (notification, datagram) = notify(&mut bench, true);
    assert_eq!(bench.sleep(10 * SECOND).len(), 2, "retransmitted");
    let acknowledgement = encode::empty(ACK, identity(&datagram).0);
    assert_eq!(only_event(bench.receive(&acknowledgement)), Event::Delivered { notification });

    let (notification, datagram) = notify(&mut bench, true);
    let reset = encode::empty(MessageType::Reset, identity(&datagram).0);
    let reason = FailReason::Reset;
    let rejected = Event::Undelivered { notification, reason };
    assert_eq!(only_event(bench.receive(&reset)), rejected);

    let (notification, _) = notify(&mut bench, true);
    let outputs = bench.sleep(100 * SECOND);
    let reason = FailReason::Timeout;
    let lost = Output::Event(Event::Undelivered { notification, reason });
    assert_eq!((outputs.len(), &outputs[4].1), (5, &lost));
    assert_eq!((bench.wait, bench.endpoint.notifying), (None, 0));
}

#[test]
fn a_non_confirmable_notification_can_be_rejected_for_its_lifetime() {
    // RFC 7641 §3.6, RFC 7252 §4.8.2
    let mut bench = Bench::new();
    let (notification, datagram) = notify(&mut bench, false);
    let reset = encode::empty(MessageType::Reset, identity(&datagram).0);
    bench.sleep(144 * SECOND);
    let reason = FailReason::Reset;
    let rejected = Event::Undelivered { notification, reason };
    assert_eq!(only_event(bench.receive(&reset)), rejected);

    let (_, datagram) = notify(&mut bench, false);
    assert_eq!(bench.sleep(146 * SECOND), []);
    assert_eq!(bench.receive(&encode::empty(MessageType::Reset, identity(&datagram).0)), []);

    let (id, datagram) = notify(&mut bench, false);
    bench.endpoint.forget_notification(bench.now, id);
    assert_eq!(bench.receive(&encode::empty(MessageType::Reset, identity(&datagram).0)), []);
    assert_eq!((bench.wait, bench.endpoint.notifying), (None, 0));
}

#[test]
fn a_forgotten_confirmable_notification_is_not_retransmitted() {
    let mut bench = Bench::new();
    let (id, _) = notify(&mut bench, true);
    bench.endpoint.forget_notification(bench.now, id);
    assert_eq!((bench.sleep(100 * SECOND), bench.endpoint.notifying), (Vec::new(), 0));
}

#[test]
fn notifications_over_the_limit_are_not_sent() {
    let mut bench = Bench::with(EndpointConfig { max_notifications: 1, ..Default::default() });
    notify(&mut bench, true);
    let prepared = prepared(&bench);
    let sent = bench.endpoint.notify(bench.now, PEER, Token::EMPTY, &prepared, true);
    assert_eq!((sent, bench.stats().notifications_refused), (None, 1));
    assert_eq!(bench.drain(), []);
}
