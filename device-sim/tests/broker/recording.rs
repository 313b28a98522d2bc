//! Every way to record.

use std::sync::{Arc, Mutex};

use device_sim::broker::{Broker, BrokerConfig, QoS, Recording};
use tokio::sync::mpsc;

use super::client::{Raw, payloads};
use super::{A_WHILE, SOON};

async fn recording(recording: Recording) -> Broker {
    Broker::start(BrokerConfig { recording, ..BrokerConfig::default() }).await.unwrap()
}

async fn publish(client: &mut Raw, numbers: std::ops::Range<u16>) {
    for n in numbers {
        client.publish("t", QoS::AtLeastOnce, n + 1, &n.to_string()).await;
    }
}

#[tokio::test]
async fn full_record_keeps_the_oldest_and_counts_the_rest() {
    let broker = recording(Recording::Keep { limit: 3 }).await;
    let mut client = Raw::join(broker.address(), "a").await;
    publish(&mut client, 0..5).await;
    let counts = broker.wait_for(SOON, |counts| counts.publishes == 5).await.unwrap();
    assert_eq!(counts.unrecorded, 2);
    assert_eq!(payloads(&broker), ["0", "1", "2"]);
    assert_eq!(broker.take_recorded().len(), 3);
    publish(&mut client, 5..6).await;
    broker.wait_for(SOON, |counts| counts.publishes == 6).await.unwrap();
    assert_eq!(payloads(&broker), ["5"]);
}

#[tokio::test]
async fn counting_keeps_nothing() {
    let broker = recording(Recording::Count).await;
    let mut client = Raw::join(broker.address(), "a").await;
    publish(&mut client, 0..100).await;
    let counts = broker.wait_for(SOON, |counts| counts.publishes == 100).await.unwrap();
    assert_eq!((counts.publish_bytes, counts.unrecorded), (190, 0));
    assert!(broker.recorded().is_empty());
}

#[tokio::test]
async fn function_is_called_with_every_message() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let call = move |recorded: device_sim::broker::Recorded| {
        sink.lock().unwrap().push(recorded.order);
    };
    let broker = recording(Recording::Call(Box::new(call))).await;
    let mut client = Raw::join(broker.address(), "a").await;
    publish(&mut client, 0..100).await;
    broker.wait_for(SOON, |counts| counts.publishes == 100).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn slow_receiver_slows_the_publisher_and_misses_nothing() {
    let (sender, mut receiver) = mpsc::channel(1);
    let broker = recording(Recording::Send(sender)).await;
    let mut client = Raw::join(broker.address(), "a").await;
    publish(&mut client, 0..100).await;
    broker
        .wait_for(A_WHILE, |counts| counts.publishes > 0)
        .await
        .expect_err("the turn must not end before the receiver took its messages");
    for n in 0..100 {
        assert_eq!(receiver.recv().await.unwrap().payload, n.to_string());
    }
    broker.wait_for(SOON, |counts| counts.publishes == 100).await.unwrap();
    drop(receiver);
    publish(&mut client, 0..100).await;
    broker.wait_for(SOON, |counts| counts.publishes == 200).await.unwrap();
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_recorded() {
    let (sender, mut receiver) = mpsc::channel(1);
    let broker = recording(Recording::Send(sender)).await;
    let mut client = Raw::join(broker.address(), "a").await;
    publish(&mut client, 0..1).await;
    assert_eq!(client.receive_puback().await, 1);
    publish(&mut client, 1..2).await;
    let answer = tokio::time::timeout(A_WHILE, client.receive_puback()).await;
    assert!(answer.is_err(), "the second message has no room yet: {answer:?}");
    receiver.recv().await.unwrap();
    assert_eq!(client.receive_puback().await, 2);
}
