//! What happens at the limits.

use device_sim::broker::{Broker, BrokerConfig, Limits, QoS};
use rumqttc::mqttbytes::v4::{Packet, PubAck, Publish};

use super::client::{Raw, kept};
use super::{A_WHILE, SOON};

async fn limited(limits: Limits) -> Broker {
    Broker::start(BrokerConfig { limits, ..BrokerConfig::default() }).await.unwrap()
}

#[tokio::test]
async fn qos_0_for_a_slow_subscriber_is_dropped_and_counted() {
    let broker = limited(Limits { max_unsent: 100_000, ..Limits::default() }).await;
    let mut slow = Raw::join(broker.address(), "slow").await;
    slow.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = Raw::join(broker.address(), "p").await;
    let payload = "x".repeat(100_000);
    let mut published = 0;
    while broker.counts().dropped_unsent == 0 {
        published += 1;
        publisher.publish("t", QoS::AtLeastOnce, 1, &payload).await;
        publisher.receive_puback().await;
        assert!(published < 2000, "200 MB cannot wait in a socket");
    }
    let counts = broker.counts();
    assert_eq!(counts.deliveries + counts.dropped_unsent, published);
    for _ in 0..counts.deliveries {
        assert_eq!(slow.receive_publish().await.payload.len(), 100_000);
    }
    publisher.publish("t", QoS::AtLeastOnce, 1, "again").await;
    assert_eq!(slow.receive_publish().await.payload, "again", "it goes on after it has read");
}

#[tokio::test]
async fn qos_1_for_a_slow_subscriber_waits_in_a_bounded_queue() {
    let limits = Limits { max_inflight: 1, max_queued: 2, ..Limits::default() };
    let broker = limited(limits).await;
    let (mut slow, _) = Raw::connect(broker.address(), kept("slow")).await;
    slow.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = Raw::join(broker.address(), "p").await;
    for n in 0..5 {
        publisher.publish("t", QoS::AtLeastOnce, n + 1, &n.to_string()).await;
        publisher.receive_puback().await;
    }
    assert_eq!(broker.counts().dropped_queued, 2);
    for n in 0..3 {
        let publish = slow.receive_publish().await;
        assert_eq!(publish.payload, n.to_string());
        slow.send(Packet::PubAck(PubAck::new(publish.pkid))).await;
    }
}

#[tokio::test]
async fn client_that_does_not_read_is_not_read_from() {
    let limits = Limits { max_unsent: 65_536, max_inflight: 1000, ..Limits::default() };
    let broker = limited(limits).await;
    let mut publisher = Raw::join(broker.address(), "p").await;
    let payload = "x".repeat(100_000);
    for n in 0..200 {
        let publish = Publish::new(format!("r/{n}"), QoS::AtLeastOnce, payload.clone());
        let publish = Publish { pkid: 1, retain: true, ..publish };
        publisher.send(Packet::Publish(publish)).await;
        publisher.receive_puback().await;
    }
    let mut slow = Raw::join(broker.address(), "slow").await;
    slow.subscribe("r/#", QoS::AtLeastOnce).await;
    broker.wait_for(SOON, |counts| counts.deliveries == 200).await.unwrap();
    slow.publish("t", QoS::AtMostOnce, 0, "late").await;
    broker
        .wait_for(A_WHILE, |counts| counts.publishes > 200)
        .await
        .expect_err("20 MB wait for this client");
    for _ in 0..200 {
        slow.receive_publish().await;
    }
    broker.wait_for(SOON, |counts| counts.publishes > 200).await.unwrap();
}

#[tokio::test]
async fn connection_over_the_limit_is_closed() {
    let broker = limited(Limits { max_connections: 1, ..Limits::default() }).await;
    let client = Raw::join(broker.address(), "a").await;
    Raw::open(broker.address()).await.assert_closed().await;
    broker.wait_for(SOON, |counts| counts.turned_away == 1).await.unwrap();
    drop(client);
    broker.wait_for(SOON, |counts| counts.connected == 0).await.unwrap();
    Raw::join(broker.address(), "b").await;
}

#[tokio::test]
async fn packet_over_the_limit_closes() {
    let broker = limited(Limits { max_packet: 100, ..Limits::default() }).await;
    let mut client = Raw::join(broker.address(), "a").await;
    client.publish("t", QoS::AtMostOnce, 0, &"x".repeat(97)).await;
    broker.wait_for(SOON, |counts| counts.publishes == 1).await.unwrap();
    client.publish("t", QoS::AtMostOnce, 0, &"x".repeat(98)).await;
    client.assert_closed().await;
}
