//! What a broker that speaks MQTT 5 says in CONNACK holds (MQTT 5 §3.2.2.3).

use super::*;
use crate::pipeline::{PublishProperties, UserProperties};

fn v5() -> SessionOptions {
    options(Protocol::V5)
}

fn route(topic: &str, payload: usize) -> Publish {
    Publish {
        topic: topic.to_owned(),
        payload: vec![b'x'; payload].into(),
        ..message(0, QoS::AtLeastOnce)
    }
}

/// Publishes, and acknowledges what was sent.
fn send_route(session: &mut Session, publish: Publish) -> Option<Published> {
    session.publish(START, ticket(0), publish, false).unwrap();
    let sent = sent(session).pop()?;
    let Sent::Publish(publish) = sent else { panic!("{sent:?}") };
    session.handle_bytes(START, &ack(PUBACK, publish.id)).unwrap();
    events(session);
    Some(publish)
}

#[test]
fn the_window_is_the_smaller_of_ours_and_receive_maximum() {
    for (receive_maximum, room) in [(1, 1), (4, 4), (200, 10)] {
        let mut session = connected_with(v5(), &[0x21, 0, receive_maximum]);
        for n in 0..room {
            send(&mut session, n, QoS::AtLeastOnce);
        }
        assert!(!session.has_room(QoS::AtLeastOnce), "Receive Maximum {receive_maximum}");
    }
}

#[test]
fn a_receive_maximum_that_shrinks_holds_for_what_is_sent_again() {
    // MQTT 5 §4.9
    let mut session = connected_with(kept_options(Protocol::V5), &[]);
    let ids: Vec<u16> = (0..5).map(|n| send(&mut session, n, QoS::ExactlyOnce).id).collect();
    session.handle_connected(START).unwrap();
    sent(&mut session);
    let connack = connack(Protocol::V5, true, 0, &[0x21, 0, 2]);
    session.handle_bytes(START, &connack).unwrap();
    let status = match &sent(&mut session)[..] {
        [Sent::Publish(status), Sent::Publish(first)] if first.id == ids[0] => status.id,
        other => panic!("{other:?}"),
    };
    assert!(!ids.contains(&status), "the status has an identifier of its own");
    session.handle_bytes(START, &ack(PUBACK, status)).unwrap();
    assert_eq!(sent_publish(&mut session).id, ids[1]);
    session.handle_bytes(START, &ack(PUBREC, ids[0])).unwrap();
    assert_eq!(sent(&mut session), [Sent::PubRel(ids[0])], "PUBREC makes no room");
    session.handle_bytes(START, &ack(PUBCOMP, ids[0])).unwrap();
    assert_eq!(sent_publish(&mut session).id, ids[2]);
    assert!(!session.has_room(QoS::AtLeastOnce));
}

#[test]
fn a_packet_over_the_smaller_limit_is_rejected_to_the_byte() {
    for (options, properties) in [
        (SessionOptions { max_packet: 200, ..options(Protocol::V4) }, &[][..]),
        (SessionOptions { max_packet: 200, ..v5() }, &[]),
        (v5(), &[0x27, 0, 0, 0, 200]),
        (v5(), &[0x27, 0, 0, 0, 200, 0x22, 0, 9]),
    ] {
        let mut session = connected_with(options, properties);
        let (mut fits, mut limit) = (0, 0);
        for payload in 150..220 {
            // A topic of its own each, so that an alias would have to be introduced.
            let topic = format!("site/{payload}");
            session.publish(START, ticket(7), route(&topic, payload), false).unwrap();
            let size = session.outgoing().split().len();
            match session.poll_event() {
                Some(Event::Rejected(ticket, rejection)) => {
                    assert_eq!((ticket.n, rejection.reason), (7, "packet_too_large"));
                    assert_eq!((rejection.detail, size), (topic, 0));
                    limit += 1;
                }
                None => {
                    assert_eq!(limit, 0, "only larger ones are rejected");
                    assert!(size <= 200);
                    fits = fits.max(size);
                    session.handle_bytes(START, &ack(PUBACK, 1)).unwrap();
                    session.poll_event();
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(limit > 0 && fits >= 196, "the limit is used up: {fits}");
    }
}

#[test]
fn a_topic_that_mqtt_cannot_carry_is_rejected() {
    let mut session =
        connected_with(SessionOptions { max_packet: usize::MAX, ..options(Protocol::V4) }, &[]);
    session.publish(START, ticket(1), route(&"x".repeat(65_536), 1), false).unwrap();
    let Some(Event::Rejected(_, rejection)) = session.poll_event() else { panic!("rejected") };
    assert_eq!(rejection.reason, "topic_too_long");
    assert!(sent(&mut session).is_empty() && session.is_idle());
}

#[test]
fn quality_of_service_is_lowered_to_one_but_not_to_none() {
    // Maximum QoS 1
    let exactly = SessionOptions { qos: QoS::ExactlyOnce, ..v5() };
    let mut session = connected_with(exactly.clone(), &[0x24, 1]);
    assert_eq!(session.terms().max_qos, QoS::AtLeastOnce);
    assert_eq!(send(&mut session, 1, QoS::ExactlyOnce).qos, 1);
    session.handle_bytes(START, &ack(PUBACK, 1)).unwrap();
    assert_eq!(events(&mut session), [Event::Acknowledged(ticket(1))]);
    // Maximum QoS 0
    for options in [v5(), exactly] {
        let mut session = connected_with(options, &[]);
        session.handle_connected(START).unwrap();
        let connack = connack(Protocol::V5, false, 0, &[0x24, 0]);
        let error = session.handle_bytes(START, &connack).unwrap_err();
        assert!(matches!(error, SessionError::QosTooLow) && error.to_string().contains("qos = 0"));
        assert!(!session.is_connected());
    }
    // Nothing is promised for routes of quality of service 0.
    let mut session = connected_with(SessionOptions { qos: QoS::AtMostOnce, ..v5() }, &[0x24, 0]);
    assert_eq!(send(&mut session, 1, QoS::AtMostOnce).qos, 0);
}

#[test]
fn a_broker_that_cannot_keep_the_will_gets_one_that_it_can() {
    // MQTT 5 §3.2.2.3.4, §3.2.2.3.5
    let mut session = Session::new(SessionOptions { qos: QoS::AtMostOnce, ..v5() });
    let will = |session: &mut Session, refusal: Option<u8>| {
        session.handle_connected(START).unwrap();
        let (_, _, qos, retain) = sent_connect(session).will.unwrap();
        if let Some(code) = refusal {
            let refused = connack(Protocol::V5, false, code, &[]);
            let error = session.handle_bytes(START, &refused).unwrap_err();
            assert_eq!(error.reason(), "refused");
        }
        (qos, retain)
    };
    assert_eq!(will(&mut session, Some(0x9a)), (1, true));
    assert_eq!(will(&mut session, Some(0x9b)), (1, false));
    assert_eq!(will(&mut session, None), (0, false));
    session.handle_bytes(START, &connack(Protocol::V5, false, 0, &[0x25, 0, 0x24, 0])).unwrap();
    let status = sent_publish(&mut session);
    assert_eq!((status.qos, status.retain), (0, false));
    assert!(session.is_idle() && !session.terms().retain);
}

#[test]
fn retain_is_left_off_where_the_broker_has_none() {
    let mut session = connected_with(v5(), &[0x25, 0]);
    let retained = Publish { retain: true, ..message(1, QoS::AtLeastOnce) };
    assert!(!send_route(&mut session, retained.clone()).unwrap().retain);
    let mut session = connected_with(v5(), &[0x25, 1]);
    assert!(send_route(&mut session, retained).unwrap().retain);
}

#[test]
fn a_topic_that_repeats_is_sent_as_a_number() {
    // MQTT 5 §3.3.2.3.4
    let mut session = connected_with(v5(), &[0x22, 0, 2]);
    let mut name = |topic: &str| {
        let publish = send_route(&mut session, route(topic, 1)).unwrap();
        (publish.topic, publish.properties.and_then(|p| p.topic_alias))
    };
    // The status took the first one.
    assert_eq!(name("site/a"), ("site/a".to_owned(), Some(2)));
    assert_eq!(name("site/a"), (String::new(), Some(2)));
    assert_eq!(name("site/b"), ("site/b".to_owned(), Some(1)), "the oldest is given away");
    assert_eq!(name("site/a"), (String::new(), Some(2)));
    // A new connection knows none.
    session.handle_connected(START).unwrap();
    sent(&mut session);
    session.handle_bytes(START, &connack(Protocol::V5, false, 0, &[0x22, 0, 1])).unwrap();
    assert_eq!(sent_publish(&mut session).topic, "gateway/g/status");
    session.publish(START, ticket(0), route("site/a", 1), false).unwrap();
    let first = sent_publish(&mut session);
    assert_eq!((&*first.topic, first.properties.unwrap().topic_alias), ("site/a", Some(1)));
}

#[test]
fn the_brokers_keep_alive_and_client_identifier_replace_ours() {
    let assigned = [&[0x13, 0, 7, 0x12, 0, 2][..], b"g9"].concat();
    let mut session = connected_with(v5(), &assigned);
    assert_eq!(session.deadline(), START + Duration::from_secs(7));
    assert_eq!(session.terms().client_id.as_deref(), Some("g9"));
    session.handle_connected(START).unwrap();
    assert_eq!(sent_connect(&mut session).client_id, "g9");
}

#[test]
fn a_publish_has_the_properties_of_its_reading() {
    // MQTT 5 §3.3.2.3
    let properties = PublishProperties {
        correlation: Some(vec![0, 255].into()),
        content_type: Some("application/json".into()),
        is_text: true,
        expiry_seconds: Some(90),
        response_topic: Some("answers/th-1".to_owned()),
        user: Some(UserProperties {
            n: 4711,
            device: "th-1".to_owned(),
            epoch: Some(0),
            sequence: Some(u64::MAX),
        }),
    };
    let publish =
        Publish { properties: Some(Box::new(properties)), ..message(1, QoS::ExactlyOnce) };
    let mut session = connected_with(SessionOptions { qos: QoS::ExactlyOnce, ..v5() }, &[]);
    session.publish(START, ticket(1), publish, false).unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = v5::PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(90),
        topic_alias: None,
        response_topic: Some("answers/th-1".to_owned()),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: vec![
            pair("n", "4711"),
            pair("device", "th-1"),
            pair("epoch", "0"),
            pair("seq", "18446744073709551615"),
        ],
        subscription_identifiers: Vec::new(),
        content_type: Some("application/json".to_owned()),
    };
    assert_eq!(sent_publish(&mut session).properties, Some(expected));
    // What is sent again has less time left, but some.
    for (later, left) in [(30, 60), (89, 1), (1000, 1)] {
        let now = START + Duration::from_secs(later);
        session.handle_connected(now).unwrap();
        sent(&mut session);
        session.handle_bytes(now, &connack(Protocol::V5, true, 0, &[])).unwrap();
        let Some(Sent::Publish(again)) = sent(&mut session).pop() else { panic!("PUBLISH") };
        assert!(again.dup);
        assert_eq!(again.properties.unwrap().message_expiry_interval, Some(left));
    }
}
