//! A broker that says no, and how (MQTT 5 §2.4, §3.2.2.2, §4.13).

use super::*;

fn refused(protocol: Protocol, connack: &[u8]) -> String {
    let mut session = Session::new(options(protocol));
    session.handle_connected(START).unwrap();
    let error = session.handle_bytes(START, connack).unwrap_err();
    assert_eq!(error.reason(), "refused");
    error.to_string()
}

/// The same acknowledgement with a reason code of MQTT 5.
fn ack_with(kind: u8, id: u16, reason: u8) -> [u8; 5] {
    let [high, low] = id.to_be_bytes();
    [kind, 3, high, low, reason]
}

/// A session with one publish under way that is answered with a reason code.
fn answered(qos: QoS, kind: u8, reason: u8) -> (Session, Result<(), SessionError>) {
    let mut session = connected_with(kept_options(Protocol::V5), &[]);
    let id = send(&mut session, 1, qos).id;
    let taken = session.handle_bytes(START, &ack_with(kind, id, reason));
    (session, taken)
}

#[test]
fn a_refusal_says_what_to_do() {
    for (code, remedy) in [
        (1, "protocol = \"5\""),
        (2, "client_id"),
        (3, "server unavailable"),
        (4, "password_file"),
        (5, "not authorized"),
    ] {
        let text = refused(Protocol::V4, &[0x20, 2, 0, code]);
        assert!(text.contains(remedy), "{text}");
    }
    for (code, remedy) in [
        (0x84, "protocol = \"3.1.1\""),
        (0x85, "client_id"),
        (0x86, "password_file"),
        (0x87, "password_file"),
        (0x8a, "banned (0x8a)"),
        (0x9c, "use another server (0x9c)"),
        (0xee, "unknown reason (0xee)"),
    ] {
        let text = refused(Protocol::V5, &connack(Protocol::V5, false, code, &[]));
        assert!(text.contains(remedy), "{text}");
    }
}

#[test]
fn what_the_broker_says_to_a_refusal_is_shown() {
    let properties = [&[0x1f, 0, 5][..], b"later", &[0x1c, 0, 3], b"b:1"].concat();
    let text = refused(Protocol::V5, &connack(Protocol::V5, false, 0x9d, &properties));
    assert!(
        text.contains("server moved (0x9d): \"later\"; the broker says to use \"b:1\""),
        "{text}"
    );
}

#[test]
fn a_broker_that_does_not_know_mqtt_5_is_told_apart() {
    // MQTT 5 §3.1.2.2: it answers in the form of 3.1.1, or closes.
    let text = refused(Protocol::V5, &[0x20, 2, 0, 1]);
    assert!(text.contains("protocol = \"3.1.1\""), "{text}");
    let mut session = Session::new(options(Protocol::V5));
    session.handle_connected(START).unwrap();
    let text = session.closed().to_string();
    assert!(text.contains("protocol = \"3.1.1\""), "{text}");
    let text = connected(Protocol::V5).closed().to_string();
    assert!(!text.contains("protocol"), "{text}");
}

#[test]
fn a_disconnect_of_the_broker_is_the_end_with_its_reason() {
    for (bytes, expected) in [
        (&[0xe0, 0][..], "success (0x00)"),
        (&[0xe0, 1, 0x8b], "server shutting down (0x8b)"),
        (&[0xe0, 2, 0x8e, 0], "session taken over (0x8e)"),
        (&[0xe0, 7, 0x97, 5, 0x1f, 0, 2, b'n', b'o'], "quota exceeded (0x97): \"no\""),
    ] {
        let error = connected(Protocol::V5).handle_bytes(START, bytes).unwrap_err();
        assert_eq!(error.reason(), "disconnected");
        assert!(error.to_string().contains(expected), "{error}");
    }
    // MQTT 3.1.1 §3.14: only a client sends it.
    let error = connected(Protocol::V4).handle_bytes(START, &[0xe0, 0]).unwrap_err();
    assert_eq!(error.reason(), "protocol");
}

/// Every code there can be, in each of the three answers.
#[test]
fn each_reason_code_of_an_acknowledgement_has_its_outcome() {
    for reason in 0..=u8::MAX {
        for (qos, kind) in [(QoS::AtLeastOnce, PUBACK), (QoS::ExactlyOnce, PUBREC)] {
            let (mut session, taken) = answered(qos, kind, reason);
            match reason {
                // MQTT 5 §3.4.2.1: 0x10 says that nobody subscribes, which is success too.
                0..0x80 => {
                    taken.unwrap();
                    let is_first_step = kind == PUBREC;
                    let outcome =
                        if is_first_step { vec![] } else { vec![Event::Acknowledged(ticket(1))] };
                    assert_eq!(events(&mut session), outcome, "{reason:#x}");
                    assert_eq!(sent(&mut session).len(), usize::from(is_first_step));
                }
                0x89 | 0x91 | 0x97 => {
                    assert_eq!(taken.unwrap_err().reason(), "busy", "{reason:#x}");
                    assert_eq!(events(&mut session), [], "it is not settled");
                }
                _ => {
                    taken.unwrap();
                    let [Event::Rejected(given, rejection)] = &events(&mut session)[..] else {
                        panic!("{reason:#x} is a rejection")
                    };
                    assert_eq!(*given, ticket(1));
                    assert_eq!(rejection.reason, Reason::of(reason).name());
                    assert!(session.is_idle(), "the exchange has ended (MQTT 5 §4.3.3)");
                    assert!(sent(&mut session).is_empty(), "no PUBREL after a refusal");
                }
            }
        }
        // PUBCOMP comes after the message was taken: also 0x92 ends the exchange (§3.7.2.1).
        let (mut session, taken) = answered(QoS::ExactlyOnce, PUBREC, 0);
        taken.unwrap();
        session.handle_bytes(START, &ack_with(PUBCOMP, 1, reason)).unwrap();
        assert_eq!(events(&mut session), [Event::Acknowledged(ticket(1))], "{reason:#x}");
    }
}

#[test]
fn a_reason_has_its_standard_name() {
    for (code, name) in [
        (0x10, "no_matching_subscribers"),
        (0x80, "unspecified_error"),
        (0x83, "implementation_specific_error"),
        (0x87, "not_authorized"),
        (0x90, "topic_name_invalid"),
        (0x97, "quota_exceeded"),
        (0x99, "payload_format_invalid"),
        (0x7f, "unknown_reason"),
    ] {
        assert_eq!(Reason::of(code).name(), name);
    }
}

#[test]
fn a_status_that_is_not_taken_is_told_and_nothing_more() {
    let mut session = Session::new(options(Protocol::V5));
    accept(&mut session, false, &[]);
    let status = sent_publish(&mut session);
    session.handle_bytes(START, &ack_with(PUBACK, status.id, 0x87)).unwrap();
    let [Event::Connected { .. }, Event::StatusRejected(rejection)] = &events(&mut session)[..]
    else {
        panic!("told")
    };
    assert_eq!(rejection.reason, "not_authorized");
    assert!(session.has_room(QoS::AtLeastOnce));
}
