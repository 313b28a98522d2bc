//! Publishing, subscribing and delivering with MQTT 5.

use std::num::NonZero;
use std::sync::Arc;

use super::*;
use crate::broker::Properties;

const SECOND: Duration = Duration::from_secs(1);

fn with_properties(properties: Properties, message: Message) -> Message {
    Message { properties: Some(Arc::new(properties)), ..message }
}

fn expiring(seconds: u32, message: Message) -> Message {
    let properties = Properties { message_expiry: Some(seconds), ..Properties::default() };
    with_properties(properties, message)
}

/// A SUBSCRIBE with options of MQTT 5.
fn options(filter: &str, qos: QoS, change: impl FnOnce(&mut Request)) -> Request {
    let mut request = request(filter, qos);
    change(&mut request);
    request
}

#[test]
fn properties_are_recorded_and_passed_on_as_they_are() {
    // MQTT 5 §3.3.2.3 [MQTT-3.3.2-4, -15, -16, -17, -18, -20]
    let properties = Properties {
        payload_format: Some(1),
        message_expiry: None,
        content_type: Some("text/plain".to_owned()),
        response_topic: Some("answer".to_owned()),
        correlation_data: Some("7".into()),
        user: vec![("b".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())],
    };
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    rig.join(B, "b");
    for id in [A, B] {
        rig.subscribe(id, "t", QoS::AtMostOnce);
    }
    let message = with_properties(properties.clone(), message("t", "x", QoS::AtMostOnce));
    let outputs = rig.publish(A, message);
    let received = deliveries(&outputs, A);
    assert_eq!(received[0].0.message.properties.as_deref(), Some(&properties));
    assert_eq!(payloads(&outputs, B), ["x"]);
    let recorded = rig.recorded[0].properties.clone().unwrap();
    assert_eq!(*recorded, properties);
    assert_eq!(recorded.user("a").collect::<Vec<_>>(), ["2"]);
}

#[test]
fn publish_without_subscribers_is_told_so() {
    // MQTT 5 §3.4.2.1, §3.5.2.1
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    let answers = [
        rig.publish(A, message("t", "x", QoS::AtLeastOnce)),
        rig.publish(A, message("t", "x", QoS::ExactlyOnce)),
    ];
    let nobody = Reason::NoMatchingSubscribers;
    assert_eq!(answers, [[puback(A, 7, nobody)], [pubrec(A, 7, nobody)]]);
    rig.join(B, "b");
    rig.subscribe(B, "t", QoS::AtMostOnce);
    let outputs = rig.publish(A, message("t", "x", QoS::AtLeastOnce));
    assert_eq!(outputs[1], puback(A, 7, Reason::Success));
}

#[test]
fn no_local_subscription_skips_what_its_client_publishes() {
    // MQTT 5 §3.8.3.1 [MQTT-3.8.3-3]
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    rig.join_5(B, "b");
    for id in [A, B] {
        rig.request(id, options("t", QoS::AtMostOnce, |all| all.subscription.no_local = true));
    }
    let outputs = rig.publish(A, message("t", "x", QoS::AtMostOnce));
    assert_eq!((payloads(&outputs, A).len(), payloads(&outputs, B).len()), (0, 1));
}

#[test]
fn retain_flag_is_kept_where_it_was_asked_for() {
    // MQTT 5 §3.3.1.3 [MQTT-3.3.1-12, -13]
    for (as_published, published, expected) in
        [(false, true, false), (true, true, true), (true, false, false)]
    {
        let mut rig = Rig::new();
        rig.join_5(A, "a");
        rig.request(
            A,
            options("t", QoS::AtMostOnce, |all| {
                all.subscription.retain_as_published = as_published;
            }),
        );
        let message = Message { retain: published, ..message("t", "x", QoS::AtMostOnce) };
        let outputs = rig.publish(A, message);
        assert_eq!(deliveries(&outputs, A)[0].0.message.retain, expected);
    }
}

#[test]
fn retained_messages_come_as_retain_handling_says() {
    // MQTT 5 §3.3.1.3 [MQTT-3.3.1-9, -10, -11], §3.8.4 [MQTT-3.8.4-3]
    for (handling, first, again) in [
        (RetainHandling::Always, 1, 1),
        (RetainHandling::IfNew, 1, 0),
        (RetainHandling::Never, 0, 0),
    ] {
        let mut rig = Rig::new();
        rig.join_5(A, "a");
        rig.publish(A, retained("t", "x", QoS::AtMostOnce));
        for expected in [first, again] {
            let request = options("t", QoS::AtMostOnce, |all| all.retain_handling = handling);
            let outputs = rig.request(A, request);
            assert_eq!(payloads(&outputs, A).len(), expected, "{handling:?}");
        }
    }
}

#[test]
fn delivery_names_every_subscription_that_selected_it() {
    // MQTT 5 §3.3.4 [MQTT-3.3.4-2, -3, -4]
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    rig.publish(A, retained("r", "kept", QoS::AtMostOnce));
    for (filter, qos, id) in [
        ("a/#", QoS::AtMostOnce, NonZero::new(1)),
        ("a/+", QoS::ExactlyOnce, None),
        ("a/b", QoS::AtLeastOnce, NonZero::new(268_435_455)),
        ("r", QoS::AtMostOnce, NonZero::new(3)),
    ] {
        let outputs = rig.request(A, options(filter, qos, |all| all.subscription.id = id));
        if filter == "r" {
            assert_eq!(deliveries(&outputs, A)[0].0.subscriptions, [3], "a retained one as well");
        }
    }
    let outputs = rig.publish(A, message("a/b", "x", QoS::ExactlyOnce));
    let received = deliveries(&outputs, A);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].0.subscriptions, [1, 268_435_455]);
    assert_eq!(received[0].0.message.qos, QoS::ExactlyOnce);
}

#[test]
fn members_of_a_shared_subscription_take_turns() {
    // MQTT 5 §4.8.2; the others get everything
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    rig.open(B, kept("b"));
    rig.join_5(C, "c");
    for topic in ["t", "$share/g/t"] {
        rig.publish(C, retained(topic, "old", QoS::AtMostOnce));
    }
    for id in [A, B] {
        let outputs = rig.subscribe(id, "$share/g/t", QoS::AtLeastOnce);
        assert_eq!(outputs.len(), 1, "no retained messages");
    }
    rig.subscribe(C, "t", QoS::AtMostOnce);
    let publish = |rig: &mut Rig, text| {
        let outputs = rig.publish(C, message("t", text, QoS::AtLeastOnce));
        [A, B, C].map(|id| payloads(&outputs, id).len())
    };
    assert_eq!(publish(&mut rig, "1"), [1, 0, 1]);
    assert_eq!(publish(&mut rig, "2"), [0, 1, 1]);
    assert_eq!(publish(&mut rig, "3"), [1, 0, 1]);
    rig.closed(B);
    assert_eq!(publish(&mut rig, "4"), [1, 0, 1], "who is away is passed over");
    rig.closed(A);
    assert_eq!(publish(&mut rig, "5"), [0, 0, 1], "it waits for the one that comes back");
    let outputs = rig.open(B, kept("b"));
    assert_eq!(payloads(&outputs, B), ["2", "5"]);
    let filters = vec!["$share/g/t".to_owned()];
    rig.packet(B, Incoming::Unsubscribe { packet_id: 1, filters });
    assert_eq!(publish(&mut rig, "6"), [0, 0, 1]);
}

#[test]
fn message_expires_in_the_queue_and_among_the_retained() {
    // MQTT 5 §3.3.2.3.3 [MQTT-3.3.2-5, -6]
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    rig.open(B, kept_5("b", 1000));
    rig.subscribe(B, "t", QoS::AtLeastOnce);
    rig.closed(B);
    for (text, seconds) in [("short", 10), ("long", 60)] {
        let message = Message { retain: true, ..message("t", text, QoS::AtLeastOnce) };
        rig.publish(A, expiring(seconds, message));
    }
    rig.pass(SECOND * 20);
    let outputs = rig.open(B, kept_5("b", 1000));
    assert_eq!(payloads(&outputs, B), ["long"]);
    assert_eq!(deliveries(&outputs, B)[0].1, Some(40));
    assert_eq!(rig.core.counts_mut().dropped_expired, 1);
    rig.join_5(C, "c");
    let outputs = rig.subscribe(C, "t", QoS::AtMostOnce);
    assert_eq!(deliveries(&outputs, C)[0].1, Some(40));
    rig.pass(SECOND * 40);
    assert!(payloads(&rig.subscribe(C, "t", QoS::AtMostOnce), C).is_empty());
}

#[test]
fn message_that_is_not_delayed_keeps_its_expiry() {
    // MQTT 5 §3.3.2.3.3 [MQTT-3.3.2-6]
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    rig.subscribe(A, "t", QoS::AtMostOnce);
    let outputs = rig.publish(A, expiring(60, message("t", "x", QoS::AtMostOnce)));
    assert_eq!(deliveries(&outputs, A)[0].1, Some(60));
    assert_eq!(rig.recorded[0].properties.as_ref().unwrap().message_expiry, Some(60));
}

#[test]
fn client_with_a_receive_maximum_gets_no_more_at_a_time() {
    // MQTT 5 §3.1.2.11.3, §3.3.4 [MQTT-3.3.4-9], §4.9 [MQTT-4.9.0-2, -3]
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    rig.open(B, Connect { receive_maximum: NonZero::new(2), ..kept_5("b", 60) });
    rig.subscribe(B, "t", QoS::ExactlyOnce);
    let mut received = Vec::new();
    for n in ["1", "2", "3"] {
        received.extend(payloads(&rig.publish(A, message("t", n, QoS::AtLeastOnce)), B));
    }
    assert_eq!(received, ["1", "2"]);
    let others = rig.publish(A, message("t", "0", QoS::AtMostOnce));
    assert_eq!(payloads(&others, B), ["0"], "QoS 0 does not count");
    let outputs = rig.packet(B, Incoming::PubAck(Ack::success(1)));
    assert_eq!(payloads(&outputs, B), ["3"]);
    rig.closed(B);
    let back = Connect { receive_maximum: NonZero::new(1), ..kept_5("b", 60) };
    assert_eq!(payloads(&rig.open(B, back), B), ["2"], "it may shrink");
}

#[test]
fn publisher_over_the_announced_receive_maximum_is_disconnected() {
    // MQTT 5 §3.2.2.3.3, §3.3.4
    let mut rig = Rig::new();
    rig.announced.receive_maximum = NonZero::new(2);
    rig.open(A, connect_5("a"));
    let one = |packet_id| publish(message("t", "x", QoS::AtLeastOnce), false, packet_id);
    let two = |packet_id| publish(message("t", "x", QoS::ExactlyOnce), false, packet_id);
    rig.packet(A, one(1));
    rig.packet(A, two(2));
    rig.core.handle_acknowledged(A, 1);
    rig.packet(A, one(3));
    rig.packet(A, publish(message("t", "x", QoS::ExactlyOnce), true, 2));
    assert_eq!(rig.core.counts_mut().violations, 0, "a repetition is not one more");
    assert_eq!(rig.packet(A, one(4)), disconnected(A, Reason::ReceiveMaximumExceeded));
}

#[test]
fn oversize_delivery_is_dropped_and_the_next_follows() {
    // MQTT 5 §3.1.2.11.4 [MQTT-3.1.2-25]
    let mut rig = Rig::new();
    rig.open(A, Connect { receive_maximum: NonZero::new(1), ..connect_5("a") });
    rig.subscribe(A, "t", QoS::AtLeastOnce);
    rig.publish(A, message("t", "large", QoS::AtLeastOnce));
    rig.publish(A, message("t", "next", QoS::AtLeastOnce));
    rig.core.handle_undeliverable(A, 1);
    assert_eq!(payloads(&rig.drain(), A), ["next"]);
    assert_eq!(rig.core.counts_mut().dropped_oversize, 1);
}

#[test]
fn refused_delivery_is_not_repeated() {
    // MQTT 5 §4.4 [MQTT-4.4.0-2]
    let mut rig = Rig::new();
    rig.open(A, kept_5("a", 60));
    rig.subscribe(A, "t", QoS::ExactlyOnce);
    rig.publish(A, message("t", "x", QoS::AtLeastOnce));
    rig.publish(A, message("t", "x", QoS::ExactlyOnce));
    let refusal = |packet_id| Ack { packet_id, reason: Reason::QuotaExceeded };
    assert!(rig.packet(A, Incoming::PubAck(refusal(1))).is_empty());
    assert!(rig.packet(A, Incoming::PubRec(refusal(2))).is_empty());
    rig.closed(A);
    assert_eq!(rig.open(A, kept_5("a", 60)), [accepted(A, true)]);
}

#[test]
fn will_has_its_properties_and_its_expiry_begins_with_its_publication() {
    // MQTT 5 §3.1.3.2.4
    let mut rig = Rig::new();
    rig.join_5(B, "b");
    rig.subscribe(B, "status", QoS::AtMostOnce);
    let message = expiring(60, message("status", "gone", QoS::AtMostOnce));
    let will = Some(Will { message, delay: 30 });
    rig.open(A, Connect { will, ..kept_5("a", 1000) });
    rig.closed(A);
    let outputs = rig.pass(SECOND * 30);
    assert_eq!(deliveries(&outputs, B)[0].1, Some(60));
    assert!(rig.recorded[0].will);
}
