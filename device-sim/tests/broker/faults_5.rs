//! The switches whose effect MQTT 5 shows, or that came with it.

use std::num::NonZero;
use std::time::Duration;

use device_sim::broker::{Broker, CutAfter, Matching, QoS, Reason, Which};
use device_sim::clock::Clock;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, LastWill, Packet, PubAckReason, PubComp, PubRec,
    PubRecReason, PubRel, Publish,
};

use super::client::{Raw, broker, payloads};
use super::client_5::{Raw5, clean, kept, publish, with_alias};
use super::{A_WHILE, SOON};

const NOBODY: PubAckReason = PubAckReason::NoMatchingSubscribers;

async fn pubacks(client: &mut Raw5, count: usize) -> Vec<(u16, PubAckReason)> {
    let mut acks = Vec::new();
    for _ in 0..count {
        acks.push(client.receive_puback().await);
    }
    acks
}

#[tokio::test]
async fn refusal_has_the_reason_that_was_chosen() {
    // MQTT 5 §3.2.2.2, Table 3-1
    let broker = broker().await;
    for (reason, code) in [
        (Reason::ServerBusy, ConnectReturnCode::ServerBusy),
        (Reason::QuotaExceeded, ConnectReturnCode::QuotaExceeded),
        (Reason::NotAuthorized, ConnectReturnCode::NotAuthorized),
    ] {
        broker.faults().refuse(Some(reason));
        let (client, ack) = Raw5::connect(broker.address(), clean("a")).await;
        assert_eq!(ack.code, code);
        client.assert_closed().await;
    }
    broker.faults().refuse(Some(Reason::Success));
    Raw5::join(broker.address(), "a").await;
}

#[tokio::test]
async fn limits_are_told_to_new_clients_only() {
    // MQTT 5 §3.2.2.3
    let broker = broker().await;
    let (_old, first) = Raw5::connect(broker.address(), clean("old")).await;
    let defaults = first.properties.unwrap();
    assert_eq!(defaults.max_packet_size, Some(16 << 20));
    assert_eq!((defaults.receive_max, defaults.topic_alias_max), (None, Some(100)));
    broker.faults().announce(|limits| {
        limits.receive_maximum = NonZero::new(5);
        limits.maximum_packet_size = NonZero::new(1000);
        limits.maximum_qos = QoS::AtLeastOnce;
        limits.retain_available = false;
        limits.topic_alias_maximum = Some(3);
        limits.server_keep_alive = Some(60);
    });
    let (_client, ack) = Raw5::connect(broker.address(), clean("")).await;
    let told = ack.properties.unwrap();
    assert_eq!((told.receive_max, told.max_packet_size), (Some(5), Some(1000)));
    assert_eq!((told.max_qos, told.retain_available), (Some(1), Some(0)));
    assert_eq!((told.topic_alias_max, told.server_keep_alive), (Some(3), Some(60)));
    assert!(told.assigned_client_identifier.is_some_and(|name| name.starts_with("auto-")));
    broker.faults().clear();
    let (_client, ack) = Raw5::connect(broker.address(), clean("new")).await;
    assert_eq!(ack.properties.unwrap().receive_max, None);
}

#[tokio::test]
async fn client_that_goes_beyond_a_limit_is_told_which() {
    // MQTT 5 §3.2.2.3, §3.14.2.1
    let broker = broker().await;
    broker.faults().announce(|limits| {
        limits.maximum_packet_size = NonZero::new(100);
        limits.maximum_qos = QoS::AtMostOnce;
        limits.retain_available = false;
        limits.topic_alias_maximum = Some(1);
    });
    let plain = publish("t", QoS::AtMostOnce, 0, "x");
    for (bad, reason) in [
        (publish("t", QoS::AtLeastOnce, 1, "x"), DisconnectReasonCode::QoSNotSupported),
        (Publish { retain: true, ..plain.clone() }, DisconnectReasonCode::RetainNotSupported),
        (with_alias(plain.clone(), 2), DisconnectReasonCode::TopicAliasInvalid),
        (publish("t", QoS::AtMostOnce, 0, &"x".repeat(100)), DisconnectReasonCode::PacketTooLarge),
    ] {
        let mut client = Raw5::join(broker.address(), "a").await;
        client.send(Packet::Publish(with_alias(plain.clone(), 1))).await;
        client.send(Packet::Publish(bad)).await;
        assert_eq!(client.receive_end().await, reason);
    }
    assert_eq!(payloads(&broker).len(), 4, "only the plain ones");
    let will = LastWill::new("t", "x", rumqttc::v5::mqttbytes::QoS::AtMostOnce, true, None);
    let mut client = Raw5::open(broker.address(), clean("a"), Some(will)).await;
    let answer = client.receive().await;
    assert!(
        matches!(&answer, Packet::ConnAck(ack) if ack.code == ConnectReturnCode::RetainNotSupported),
        "{answer:?}"
    );
    let mut old = Raw::join(broker.address(), "old").await;
    old.publish("t", QoS::AtLeastOnce, 1, &"x".repeat(200)).await;
    assert_eq!(old.receive_puback().await, 1, "MQTT 3.1.1 was not told");
}

#[tokio::test]
async fn receive_maximum_can_shrink_after_a_reconnect() {
    // MQTT 5 §3.2.2.3.3, §3.3.4
    let broker = broker().await;
    let faults = broker.faults();
    faults.drop_pubacks(Which::All);
    faults.announce(|limits| limits.receive_maximum = NonZero::new(3));
    let (mut client, _) = Raw5::connect(broker.address(), kept("a", 60)).await;
    faults.announce(|limits| limits.receive_maximum = NonZero::new(1));
    for id in 1..=3 {
        client.publish("t", QoS::AtLeastOnce, id, "x").await;
    }
    client.assert_silent().await;
    let (mut client, ack) = Raw5::connect(broker.address(), kept("a", 60)).await;
    assert_eq!(ack.properties.unwrap().receive_max, Some(1));
    client.publish("t", QoS::AtLeastOnce, 1, "x").await;
    client.assert_silent().await;
    client.publish("t", QoS::AtLeastOnce, 2, "x").await;
    assert_eq!(client.receive_end().await, DisconnectReasonCode::ReceiveMaximumExceeded);
    faults.drop_pubacks(Which::None);
    let mut client = Raw5::join(broker.address(), "a").await;
    for id in 1..=9 {
        client.publish("t", QoS::AtLeastOnce, id, "x").await;
        assert_eq!(client.receive_puback().await, (id, NOBODY), "an acknowledged one is done");
        client.publish("t", QoS::ExactlyOnce, id, "x").await;
        client.receive().await;
        client.send(Packet::PubRel(PubRel::new(id, None))).await;
        client.receive().await;
    }
}

#[tokio::test]
async fn messages_are_rejected_by_rule() {
    let broker = broker().await;
    let mut client = Raw5::join(broker.address(), "a").await;
    let matching = Matching::all().topic("bad/#".parse().unwrap()).every(2);
    broker.faults().reject(Some((Reason::QuotaExceeded, matching)));
    for (id, topic) in [(1, "bad/1"), (2, "good"), (3, "bad/2"), (4, "bad/3"), (5, "bad")] {
        client.publish(topic, QoS::AtLeastOnce, id, "x").await;
    }
    let refused = PubAckReason::QuotaExceeded;
    let expected = [(1, NOBODY), (2, NOBODY), (3, refused), (4, NOBODY), (5, refused)];
    assert_eq!(pubacks(&mut client, 5).await, expected);
    assert_eq!((broker.counts().publishes, broker.counts().rejected), (3, 2));
    let once = Matching::all().once();
    broker.faults().reject(Some((Reason::NotAuthorized, once)));
    client.publish("t", QoS::ExactlyOnce, 6, "x").await;
    let answer = client.receive().await;
    assert!(
        matches!(&answer, Packet::PubRec(rec) if rec.reason == PubRecReason::NotAuthorized),
        "{answer:?}"
    );
    client.publish("t", QoS::AtLeastOnce, 6, "x").await;
    assert_eq!(client.receive_puback().await, (6, NOBODY));
}

#[tokio::test]
async fn poison_ends_each_connection_after_the_answers_before_it() {
    let broker = broker().await;
    broker.faults().poison(Some(Matching::all().payload("\"n\":3,")));
    for _ in 0..2 {
        let mut client = Raw5::join(broker.address(), "a").await;
        for id in 1..=4 {
            client.publish("t", QoS::AtLeastOnce, id, &format!("{{\"n\":{id},")).await;
        }
        assert_eq!(pubacks(&mut client, 2).await, [(1, NOBODY), (2, NOBODY)]);
        client.assert_closed().await;
    }
    assert_eq!((broker.counts().poisoned, broker.counts().publishes), (2, 4));
    let mut old = Raw::join(broker.address(), "old").await;
    old.publish("t", QoS::AtMostOnce, 0, "{\"n\":3,").await;
    old.assert_closed().await;
}

#[tokio::test]
async fn broker_says_goodbye_after_packets() {
    let broker = broker().await;
    broker.faults().disconnect_once(Reason::ServerBusy, 3);
    let mut client = Raw5::join(broker.address(), "a").await;
    for id in 1..=4 {
        client.publish("t", QoS::AtLeastOnce, id, "x").await;
    }
    assert_eq!(pubacks(&mut client, 2).await, [(1, NOBODY), (2, NOBODY)], "CONNECT is the first");
    assert_eq!(client.receive_end().await, DisconnectReasonCode::ServerBusy);
    Raw5::join(broker.address(), "a").await.assert_silent().await;
    broker.faults().disconnect_each(Reason::AdministrativeAction, 2);
    for _ in 0..2 {
        let mut client = Raw5::join(broker.address(), "a").await;
        client.publish("t", QoS::AtMostOnce, 0, "x").await;
        assert_eq!(client.receive_end().await, DisconnectReasonCode::AdministrativeAction);
    }
    let mut old = Raw::join(broker.address(), "old").await;
    old.publish("t", QoS::AtMostOnce, 0, "x").await;
    old.assert_closed().await;
    assert_eq!((broker.counts().disconnects, broker.counts().cuts), (4, 0));
    broker.faults().cut_each(CutAfter::Packets(1));
    Raw5::open(broker.address(), clean("a"), None).await.assert_closed().await;
}

#[tokio::test]
async fn silent_broker_keeps_the_connection_and_says_nothing() {
    let broker = broker().await;
    broker.faults().silence(true);
    let mut old = Raw::open(broker.address()).await;
    old.send(v4::Packet::Connect(super::client::clean("old"))).await;
    let mut client = Raw5::open(broker.address(), clean("a"), None).await;
    broker.wait_for(SOON, |counts| counts.unanswered == 2).await.unwrap();
    tokio::time::timeout(A_WHILE, client.receive()).await.expect_err("it must not answer");
    tokio::time::timeout(A_WHILE, old.receive()).await.expect_err("it must not answer");
    broker.faults().silence(false);
    Raw5::join(broker.address(), "b").await;
}

#[tokio::test]
async fn session_is_lost_or_denied() {
    let broker = broker().await;
    let connect = || Raw5::connect(broker.address(), kept("a", 60));
    connect().await;
    let (_client, ack) = connect().await;
    assert!(ack.session_present);
    broker.faults().wrong_session_present(true);
    let (_client, ack) = connect().await;
    assert!(!ack.session_present, "it is there");
    broker.faults().lose_sessions(true);
    let (_client, ack) = connect().await;
    assert!(ack.session_present, "it is not");
    broker.faults().wrong_session_present(false);
    let (_client, ack) = connect().await;
    assert!(!ack.session_present);
    broker.faults().clear();
    let (_client, ack) = connect().await;
    assert!(ack.session_present);
}

#[tokio::test]
async fn pubacks_are_doubled_and_made_up() {
    let broker = broker().await;
    let mut client = Raw5::join(broker.address(), "a").await;
    broker.faults().duplicate_pubacks(Which::EveryNth(2));
    broker.faults().stray_pubacks(Which::EveryNth(3));
    for id in 1..=4 {
        client.publish("t", QoS::AtLeastOnce, id, "x").await;
    }
    let ids: Vec<u16> = pubacks(&mut client, 7).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [1, 2, 2, 3, 3 + (1 << 15), 4, 4]);
    assert_eq!(broker.counts().publishes, 4);
}

/// Sends a QoS 2 message and reports which of its two answers arrive before a ping's.
async fn qos_2_answers(client: &mut Raw5, id: u16) -> (bool, bool) {
    client.publish("t", QoS::ExactlyOnce, id, "x").await;
    client.send(Packet::PubRel(PubRel::new(id, None))).await;
    let mut answers = (false, false);
    client.send(Packet::PingReq(rumqttc::v5::mqttbytes::v5::PingReq)).await;
    loop {
        match client.receive().await {
            Packet::PubRec(PubRec { pkid, .. }) if pkid == id => answers.0 = true,
            Packet::PubComp(PubComp { pkid, .. }) if pkid == id => answers.1 = true,
            Packet::PingResp(_) => return answers,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn answers_to_qos_2_are_dropped() {
    let broker = broker().await;
    let mut client = Raw5::join(broker.address(), "a").await;
    assert_eq!(qos_2_answers(&mut client, 1).await, (true, true));
    broker.faults().drop_pubrecs(Which::All);
    assert_eq!(qos_2_answers(&mut client, 2).await, (false, true));
    broker.faults().drop_pubcomps(Which::EveryNth(1));
    assert_eq!(qos_2_answers(&mut client, 3).await, (false, false));
    broker.faults().clear();
    assert_eq!(qos_2_answers(&mut client, 4).await, (true, true));
    let counts = broker.wait_for(SOON, |counts| counts.qos2_dropped == 3).await.unwrap();
    assert_eq!(counts.publishes, 4);
}

#[tokio::test]
async fn answers_to_qos_2_are_late() {
    let broker = broker().await;
    let mut client = Raw5::join(broker.address(), "a").await;
    broker.faults().delay_pubrecs(SOON);
    broker.faults().delay_pubcomps(SOON);
    assert_eq!(qos_2_answers(&mut client, 1).await, (false, false));
    broker.faults().delay_pubrecs(Duration::ZERO);
    assert!(matches!(client.receive().await, Packet::PubRec(_)), "switching off lets go");
    broker.faults().delay_pubcomps(Duration::ZERO);
    assert!(matches!(client.receive().await, Packet::PubComp(_)), "switching off lets go");
    broker.faults().delay_pubrecs(Duration::from_millis(100));
    broker.faults().delay_pubcomps(Duration::from_millis(200));
    let clock = Clock::start();
    client.publish("t", QoS::ExactlyOnce, 2, "x").await;
    client.send(Packet::PubRel(PubRel::new(2, None))).await;
    assert!(matches!(client.receive().await, Packet::PubRec(_)));
    assert!(clock.now().as_micros() >= 100_000, "{:?}", clock.now());
    assert!(matches!(client.receive().await, Packet::PubComp(_)));
    assert!(clock.now().as_micros() >= 200_000, "{:?}", clock.now());
}

#[tokio::test]
async fn lie_is_acknowledged_and_found_in_no_record() {
    let broker = broker().await;
    let mut client = Raw5::join(broker.address(), "a").await;
    broker.faults().lie(Some(Matching::all().payload("2").once()));
    for id in 1..=3 {
        client.publish("t", QoS::AtLeastOnce, id, &id.to_string()).await;
    }
    let ids: Vec<u16> = pubacks(&mut client, 3).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(payloads(&broker), ["1", "3"]);
    assert_eq!(broker.counts().lies, 1);
}

#[tokio::test]
async fn cleared_faults_of_every_kind_are_off() {
    let broker = broker().await;
    let faults = broker.faults().clone();
    faults.refuse(Some(Reason::Banned));
    faults.silence(true);
    faults.duplicate_pubacks(Which::All);
    faults.stray_pubacks(Which::All);
    faults.drop_pubrecs(Which::All);
    faults.delay_pubcomps(SOON);
    faults.reject(Some((Reason::QuotaExceeded, Matching::all())));
    faults.poison(Some(Matching::all()));
    faults.lie(Some(Matching::all()));
    faults.disconnect_each(Reason::ServerBusy, 1);
    faults.clear();
    assert_survives(&broker).await;
}

/// A new client gets all its answers.
async fn assert_survives(broker: &Broker) {
    let mut client = Raw5::join(broker.address(), "survivor").await;
    for id in 1..=3 {
        client.publish("t", QoS::AtLeastOnce, id, "x").await;
        assert_eq!(client.receive_puback().await, (id, NOBODY));
        assert_eq!(qos_2_answers(&mut client, id).await, (true, true));
    }
    client.assert_silent().await;
    assert_eq!(broker.counts().publishes, 6);
}
