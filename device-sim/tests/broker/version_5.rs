//! MQTT 5 through real sockets, in both directions between the versions.

use device_sim::broker::QoS;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, Filter, LastWill, LastWillProperties, Packet, PubAck,
    PubComp, PubRec, PubRel, Publish, PublishProperties, Subscribe, SubscribeProperties,
};

use super::SOON;
use super::client::{Raw, broker, payloads};
use super::client_5::{Raw5, clean, kept, publish, with_alias};

fn everything() -> PublishProperties {
    PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(60),
        topic_alias: None,
        response_topic: Some("answer".to_owned()),
        correlation_data: Some(vec![0xff, 0].into()),
        user_properties: vec![("device".to_owned(), "th-1".to_owned())],
        subscription_identifiers: vec![],
        content_type: Some("application/json".to_owned()),
    }
}

#[tokio::test]
async fn properties_reach_the_subscriber_and_the_record() {
    // MQTT 5 §3.3.2.3
    let broker = broker().await;
    let mut subscriber = Raw5::join(broker.address(), "s").await;
    let mut filter = Filter::new("t/+", rumqttc::v5::mqttbytes::QoS::ExactlyOnce);
    filter.preserve_retain = true;
    let properties = SubscribeProperties { id: Some(200), user_properties: vec![] };
    let subscribe = Subscribe { pkid: 1, ..Subscribe::new(filter, Some(properties)) };
    subscriber.send(Packet::Subscribe(subscribe)).await;
    subscriber.receive().await;
    let mut publisher = Raw5::join(broker.address(), "p").await;
    let message = publish("t/1", QoS::ExactlyOnce, 7, "{}");
    let message = Publish { retain: true, properties: Some(everything()), ..message };
    publisher.send(Packet::Publish(message)).await;
    let received = subscriber.receive_publish().await;
    let expected = PublishProperties { subscription_identifiers: vec![200], ..everything() };
    assert_eq!((received.properties, received.retain), (Some(expected), true));
    let recorded = &broker.recorded()[0];
    let properties = recorded.properties.as_ref().unwrap();
    assert_eq!(properties.message_expiry, Some(60));
    assert_eq!(properties.user("device").collect::<Vec<_>>(), ["th-1"]);
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
}

#[tokio::test]
async fn versions_understand_each_other() {
    let broker = broker().await;
    let (mut old, mut new) =
        (Raw::join(broker.address(), "old").await, Raw5::join(broker.address(), "new").await);
    old.subscribe("from/new", QoS::AtLeastOnce).await;
    new.subscribe("from/old", QoS::AtLeastOnce).await;
    let message = publish("from/new", QoS::AtLeastOnce, 1, "hello");
    new.send(Packet::Publish(Publish { properties: Some(everything()), ..message })).await;
    assert_eq!(old.receive_publish().await.payload, "hello");
    old.publish("from/old", QoS::AtLeastOnce, 1, "back").await;
    let received = loop {
        if let Packet::Publish(publish) = new.receive().await {
            break publish;
        }
    };
    assert_eq!((received.payload, received.properties), ("back".into(), None));
}

#[tokio::test]
async fn qos_2_goes_both_ways() {
    // MQTT 5 §4.3.3
    let broker = broker().await;
    let mut client = Raw5::join(broker.address(), "a").await;
    client.subscribe("t", QoS::ExactlyOnce).await;
    client.publish("t", QoS::ExactlyOnce, 9, "x").await;
    let publish = client.receive_publish().await;
    assert!(matches!(client.receive().await, Packet::PubRec(PubRec { pkid: 9, .. })));
    client.send(Packet::PubRel(PubRel::new(9, None))).await;
    assert!(matches!(client.receive().await, Packet::PubComp(PubComp { pkid: 9, .. })));
    client.send(Packet::PubRec(PubRec::new(publish.pkid, None))).await;
    assert!(matches!(client.receive().await, Packet::PubRel(_)));
    client.send(Packet::PubComp(PubComp::new(publish.pkid, None))).await;
    client.assert_silent().await;
    assert_eq!(payloads(&broker), ["x"]);
}

#[tokio::test]
async fn topic_alias_saves_the_topic_and_is_recorded() {
    // MQTT 5 §3.3.2.3.4
    let broker = broker().await;
    let mut client = Raw5::join(broker.address(), "a").await;
    for topic in ["a/long/topic", "", ""] {
        let message = publish(topic, QoS::AtMostOnce, 0, "x");
        client.send(Packet::Publish(with_alias(message, 100))).await;
    }
    broker.wait_for(SOON, |counts| counts.publishes == 3).await.unwrap();
    let recorded = broker.recorded();
    assert!(recorded.iter().all(|one| &*one.topic == "a/long/topic"), "{recorded:?}");
    assert!(recorded.iter().all(|one| one.topic_alias == Some(100)), "{recorded:?}");
    let message = publish("t", QoS::AtMostOnce, 0, "x");
    client.send(Packet::Publish(with_alias(message, 101))).await;
    assert_eq!(client.receive_end().await, DisconnectReasonCode::TopicAliasInvalid);
}

#[tokio::test]
async fn kept_session_repeats_what_was_not_acknowledged() {
    // MQTT 5 §4.4 [MQTT-4.4.0-1]
    let broker = broker().await;
    let (mut client, first) = Raw5::connect(broker.address(), kept("a", 60)).await;
    assert!(!first.session_present);
    client.subscribe("t", QoS::AtLeastOnce).await;
    client.publish("t", QoS::AtLeastOnce, 1, "x").await;
    let publish = client.receive_publish().await;
    drop(client);
    let (mut client, again) = Raw5::connect(broker.address(), kept("a", 60)).await;
    assert!(again.session_present);
    let repeated = client.receive_publish().await;
    assert_eq!((repeated.dup, repeated.pkid), (true, publish.pkid));
    client.send(Packet::PubAck(PubAck::new(publish.pkid, None))).await;
    client.assert_silent().await;
}

#[tokio::test]
async fn delayed_will_is_published_after_its_delay() {
    // MQTT 5 §3.1.3.2.2
    let broker = broker().await;
    let properties = LastWillProperties {
        delay_interval: Some(1),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: Some("text/plain".to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: vec![],
    };
    let at_most_once = rumqttc::v5::mqttbytes::QoS::AtMostOnce;
    let will = LastWill::new("status", "offline", at_most_once, false, Some(properties));
    let mut client = Raw5::open(broker.address(), kept("a", 60), Some(will)).await;
    client.receive().await;
    let clock = device_sim::clock::Clock::start();
    drop(client);
    broker.wait_for(SOON, |counts| counts.wills == 1).await.unwrap();
    assert!(clock.now().as_micros() > 900_000, "{:?}", clock.now());
    let recorded = &broker.recorded()[0];
    assert!(recorded.will);
    let properties = recorded.properties.as_ref().unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn delivery_over_the_clients_packet_size_is_dropped() {
    // MQTT 5 §3.1.2.11.4 [MQTT-3.1.2-24, -25]
    let broker = broker().await;
    let mut connect = kept("a", 60);
    connect.properties.as_mut().unwrap().max_packet_size = Some(60);
    connect.properties.as_mut().unwrap().receive_maximum = Some(1);
    let (mut client, _) = Raw5::connect(broker.address(), connect).await;
    client.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = Raw::join(broker.address(), "p").await;
    for (id, payload) in [(1, "x".repeat(100)), (2, "y".repeat(100)), (3, "fits".to_owned())] {
        publisher.publish("t", QoS::AtLeastOnce, id, &payload).await;
    }
    publisher.publish("t", QoS::AtMostOnce, 0, &"z".repeat(100)).await;
    assert_eq!(client.receive_publish().await.payload, "fits");
    let counts = broker.wait_for(SOON, |counts| counts.publishes == 4).await.unwrap();
    assert_eq!((counts.dropped_oversize, counts.deliveries), (3, 1));
}

#[tokio::test]
async fn client_that_cannot_take_its_connack_is_closed() {
    // MQTT 5 §3.1.2.11.4
    let broker = broker().await;
    let mut connect = clean("a");
    connect.properties = kept("a", 0).properties;
    connect.properties.as_mut().unwrap().max_packet_size = Some(2);
    Raw5::open(broker.address(), connect, None).await.assert_closed().await;
    broker.wait_for(SOON, |counts| counts.connected == 0).await.unwrap();
}

#[tokio::test]
async fn takeover_is_told_across_the_versions() {
    // MQTT 5 §3.1.4 [MQTT-3.1.4-3]
    let broker = broker().await;
    let new = Raw5::join(broker.address(), "a").await;
    let old = Raw::join(broker.address(), "a").await;
    assert_eq!(new.receive_end().await, DisconnectReasonCode::SessionTakenOver);
    let _new = Raw5::join(broker.address(), "a").await;
    old.assert_closed().await;
}

#[tokio::test]
async fn authentication_exchange_is_refused() {
    // MQTT 5 §4.12 [MQTT-4.12.0-1], §3.15
    let broker = broker().await;
    let mut connect = clean("a");
    connect.properties = kept("a", 0).properties;
    connect.properties.as_mut().unwrap().authentication_method = Some("SCRAM".to_owned());
    let (client, ack) = Raw5::connect(broker.address(), connect).await;
    assert_eq!(ack.code, ConnectReturnCode::BadAuthenticationMethod);
    client.assert_closed().await;
    let mut client = Raw5::join(broker.address(), "a").await;
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, &[0xf0, 2, 0x18, 0]).await.unwrap();
    assert_eq!(client.receive_end().await, DisconnectReasonCode::ProtocolError);
}

#[tokio::test]
async fn shared_subscription_is_shared_between_the_versions() {
    // MQTT 5 §4.8.2
    let broker = broker().await;
    let mut new = Raw5::join(broker.address(), "new").await;
    let mut old = Raw::join(broker.address(), "old").await;
    new.subscribe("$share/g/t", QoS::AtMostOnce).await;
    old.subscribe("$share/g/t", QoS::AtMostOnce).await;
    let mut publisher = Raw::join(broker.address(), "p").await;
    for n in ["1", "2", "3", "4"] {
        publisher.publish("t", QoS::AtMostOnce, 0, n).await;
    }
    for (first, second) in [("1", "2"), ("3", "4")] {
        assert_eq!(new.receive_publish().await.payload, first);
        assert_eq!(old.receive_publish().await.payload, second);
    }
    old.send(v4::Packet::PingReq).await;
    assert_eq!(old.receive().await, v4::Packet::PingResp);
    new.assert_silent().await;
}
