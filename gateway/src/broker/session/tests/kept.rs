//! A session that outlives its connections (MQTT 5 §3.1.2.4, §3.1.2.11.2, §4.4).

use super::super::opening::SESSION_EXPIRY;
use super::*;

/// Makes a new connection; what the session sends on it before and after CONNACK.
fn reconnect(session: &mut Session, present: bool) -> (Introduction, Vec<Sent>) {
    let protocol = session.options.protocol;
    session.handle_connected(START).unwrap();
    let connect = sent_connect(session);
    session.handle_bytes(START, &connack(protocol, present, 0, &[])).unwrap();
    (connect, sent(session))
}

#[test]
fn the_first_connection_discards_what_the_broker_holds() {
    for (protocol, expiry) in [(Protocol::V4, 0), (Protocol::V5, SESSION_EXPIRY)] {
        // It ends with its connection (MQTT 3.1.1 §3.1.2.4, MQTT 5 §3.1.2.11.2).
        let mut session = Session::new(kept_options(protocol));
        let (connect, rest) = reconnect(&mut session, false);
        assert!(connect.clean && connect.session_expiry == 0 && connect.will.is_none());
        assert_eq!(rest, [Sent::Disconnect { forget: false }]);
        assert!(session.is_closing() && events(&mut session).is_empty());
        let (connect, rest) = reconnect(&mut session, false);
        assert!(!connect.clean && connect.session_expiry == expiry && connect.will.is_some());
        assert!(session.is_connected());
        assert!(matches!(&rest[..], [Sent::Publish(status)] if status.payload == "online"));
    }
}

#[test]
fn a_session_whose_connack_was_lost_is_taken_for_new() {
    for protocol in BOTH {
        let mut session = Session::new(kept_options(protocol));
        reconnect(&mut session, false);
        session.handle_connected(START).unwrap();
        sent(&mut session);
        let (connect, rest) = reconnect(&mut session, true);
        assert!(!connect.clean && rest.len() == 1);
        assert_eq!(events(&mut session), [Event::Connected { resumed: false }]);
    }
}

#[test]
fn a_resumed_session_goes_on_where_each_exchange_was() {
    for protocol in BOTH {
        let mut session = connected_with(kept_options(protocol), &[]);
        let publishes: Vec<Published> =
            (0..3).map(|n| send(&mut session, n, QoS::ExactlyOnce)).collect();
        let once = send(&mut session, 3, QoS::AtLeastOnce);
        session.handle_bytes(START, &ack(PUBREC, publishes[1].id)).unwrap();
        sent(&mut session);
        let (connect, rest) = reconnect(&mut session, true);
        assert!(!connect.clean);
        assert_eq!(events(&mut session), [Event::Connected { resumed: true }]);
        let again = |publish: &Published| Sent::Publish(Published { dup: true, ..publish.clone() });
        let expected = [
            again(&publishes[0]),
            Sent::PubRel(publishes[1].id),
            again(&publishes[2]),
            again(&once),
        ];
        assert_eq!(rest[1..], expected, "{protocol:?}, after the status");
        // Mosquitto sends a PUBREC again by itself; PUBREL is on its way already.
        session.handle_bytes(START, &ack(PUBREC, publishes[1].id)).unwrap();
        assert_eq!(sent(&mut session), []);
        session.handle_bytes(START, &ack(PUBCOMP, publishes[1].id)).unwrap();
        assert_eq!(events(&mut session), [Event::Acknowledged(ticket(1))]);
    }
}

#[test]
fn a_session_that_the_broker_forgot_is_begun_anew() {
    for protocol in BOTH {
        let mut session = connected_with(kept_options(protocol), &[]);
        send(&mut session, 0, QoS::ExactlyOnce);
        let (connect, rest) = reconnect(&mut session, false);
        assert!(!connect.clean && rest.len() == 1, "only the status: {rest:?}");
        assert_eq!(events(&mut session), [Event::Connected { resumed: false }]);
        // What the caller makes again can be resumed again.
        send(&mut session, 0, QoS::ExactlyOnce);
        let (_, rest) = reconnect(&mut session, true);
        assert_eq!(rest.len(), 2);
    }
}

#[test]
fn a_session_in_doubt_is_discarded() {
    for protocol in BOTH {
        let mut session = connected_with(kept_options(protocol), &[]);
        send(&mut session, 0, QoS::ExactlyOnce);
        session.handle_bytes(START, &ack(PUBCOMP, 9)).unwrap_err();
        let (connect, _) = reconnect(&mut session, false);
        assert!(connect.clean);
    }
    // MQTT 5 §4.3.3: the broker holds the identifier for something else.
    let mut session = connected_with(kept_options(Protocol::V5), &[]);
    let id = send(&mut session, 0, QoS::ExactlyOnce).id;
    let [high, low] = id.to_be_bytes();
    session.handle_bytes(START, &[PUBREC, 3, high, low, 0x91]).unwrap_err();
    assert!(reconnect(&mut session, false).0.clean);
}

#[test]
fn a_session_after_clean_start_is_a_fault() {
    // MQTT 5 §3.2.2.1.1
    let mut session = Session::new(kept_options(Protocol::V5));
    session.handle_connected(START).unwrap();
    let connack = connack(Protocol::V5, true, 0, &[]);
    assert_eq!(session.handle_bytes(START, &connack).unwrap_err().reason(), "protocol");
}

#[test]
fn what_new_limits_do_not_allow_is_sent_anew_and_not_resumed() {
    for limit in [&[0x27, 0, 0, 0, 30][..], &[0x24, 1]] {
        let mut session = connected_with(kept_options(Protocol::V5), &[]);
        let publish = Publish { payload: vec![b'x'; 50].into(), ..message(0, QoS::ExactlyOnce) };
        session.publish(START, ticket(0), publish, false).unwrap();
        session.handle_connected(START).unwrap();
        sent(&mut session);
        let connack = connack(Protocol::V5, true, 0, limit);
        let error = session.handle_bytes(START, &connack).unwrap_err();
        assert!(matches!(error, SessionError::NotResumable), "{error}");
        assert!(reconnect(&mut session, false).0.clean);
    }
}

#[test]
fn sessions_below_quality_of_service_2_are_clean() {
    for protocol in BOTH {
        let mut session = connected(protocol);
        send(&mut session, 0, QoS::AtLeastOnce);
        let (connect, rest) = reconnect(&mut session, false);
        assert!(connect.clean && connect.session_expiry == 0);
        assert_eq!(rest.len(), 1, "only the status");
        assert_eq!(events(&mut session), [Event::Connected { resumed: false }]);
    }
}

#[test]
fn an_orderly_end_takes_the_session_along() {
    // MQTT 5 §3.14.2.2.2
    let mut session = connected_with(kept_options(Protocol::V5), &[]);
    session.disconnect(START).unwrap();
    assert_eq!(sent(&mut session), [Sent::Disconnect { forget: true }]);
    reconnect(&mut session, false);
    assert_eq!(events(&mut session), [Event::Connected { resumed: false }]);
}
