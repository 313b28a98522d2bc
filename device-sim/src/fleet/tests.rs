use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

use super::*;
use crate::Via;
use crate::broker::{Broker, BrokerConfig};

const TEMPLATE: &str =
    r#"{{"device":"{device}","name":"count","value":{count},"epoch":{epoch},"seq":{seq}}}"#;
const SHORT: Duration = Duration::from_millis(5);

async fn broker() -> Broker {
    Broker::start(BrokerConfig::default()).await.unwrap()
}

/// Devices that publish what they count to `broker`, to be looked for under `topic`.
fn counting(broker: &Broker, topic: &str) -> FleetBuilder {
    let builder = Fleet::builder().via(Via::Mqtt, broker.url()).every(SHORT).template(TEMPLATE);
    builder.far_end(broker.url(), topic).settle(Duration::from_secs(1))
}

#[tokio::test]
async fn each_device_sends_as_many_reports_as_it_is_to() {
    let broker = broker().await;
    let fleet = counting(&broker, "devices/+").count(3).id("th-{n:02}").reports(20);
    let delivered = fleet.start().await.unwrap().verify().await.unwrap();
    delivered.assert_exactly_once();
    let (total, report) = (delivered.report().total(), delivered.report());
    assert_eq!((total.devices, total.sent, total.arrived), (3, 60, 60));
    assert!(report.duration_us < 60_000_000, "it does not wait for the longest duration");
    let topics = broker.recorded().into_iter().map(|recorded| recorded.topic.to_string());
    let mut topics: Vec<_> = topics.collect();
    topics.sort();
    topics.dedup();
    assert_eq!(topics, ["devices/th-01", "devices/th-02", "devices/th-03"]);
}

#[tokio::test]
async fn devices_without_an_end_send_until_they_are_verified() {
    let broker = broker().await;
    let mut fleet = counting(&broker, "devices/+").start().await.unwrap();
    fleet.until_arrived(10).await;
    let before = fleet.progress();
    let delivered = fleet.verify().await.unwrap();
    delivered.assert_at_least_once();
    assert!(before.arrived >= 10 && delivered.report().total().arrived >= before.arrived);
}

/// Takes what devices publish to `site/`, each third message not at all.
async fn lossy_relay(broker: &Broker) {
    let address = broker.address();
    let options = MqttOptions::new("relay", address.ip().to_string(), address.port());
    let (client, mut events) = AsyncClient::new(options, 1000);
    client.subscribe("devices/#", QoS::AtLeastOnce).await.unwrap();
    let mut count = 0;
    loop {
        if let Event::Incoming(Packet::Publish(message)) = events.poll().await.unwrap() {
            count += 1;
            if count % 3 != 0 {
                client.try_publish("site/count", QoS::AtLeastOnce, false, message.payload).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn what_is_lost_is_told_with_its_first_example() {
    let broker = broker().await;
    let fleet = counting(&broker, "site/+").reports(6).start();
    let delivered = tokio::select! {
        () = lossy_relay(&broker) => unreachable!("it has no end"),
        delivered = async { fleet.await.unwrap().verify().await.unwrap() } => delivered,
    };
    let error = delivered.check(crate::scenario::model::Delivery::AtLeastOnce).unwrap_err();
    let expected = "at-least-once delivery was not kept:\n\
                    lost: 2 of 6 that were sent; asked was <= 0\n\
                    first lost: fleet-1 count, epoch 1 sequence 3, sent 2";
    assert_eq!(error.to_string(), expected);
    let assertion = std::panic::catch_unwind(|| delivered.assert_at_least_once());
    assert!(assertion.is_err());
}

#[tokio::test]
async fn a_run_in_which_nothing_arrives_proves_nothing() {
    let broker = broker().await;
    let fleet = counting(&broker, "elsewhere/+").reports(1).settle(Duration::ZERO);
    let delivered = fleet.start().await.unwrap().verify().await.unwrap();
    let error = delivered.check(crate::scenario::model::Delivery::AtMostOnce).unwrap_err();
    assert!(error.to_string().contains("nothing arrived of 1 readings"), "{error}");
}

#[tokio::test]
async fn every_mistake_is_told_with_the_method_that_made_it() {
    let fleet = Fleet::builder()
        .count(0)
        .reports(0)
        .via(Via::Coap, "somewhere")
        .every(Duration::ZERO)
        .measures("temp", r#"{ type = "wobble" }"#)
        .with("churn", "{ up = ");
    let Err(FleetError::Settings(report)) = fleet.start().await else { panic!("it is wrong") };
    let text = report.to_string();
    for part in [
        "Fleet::builder().count",
        "Fleet::builder().reports",
        "no report at all",
        "Fleet::builder().via",
        "Fleet::builder().every",
        "unknown",
        "Fleet::builder().measures",
        "`{ up = ` is no value of TOML",
        "Fleet::builder().with(\"churn\")",
        "nobody looks what arrives",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
}

#[tokio::test]
async fn a_far_end_that_is_not_there_is_told_at_the_start() {
    let broker = broker().await;
    let fleet = counting(&broker, "devices/+");
    broker.down().await.unwrap();
    let error = fleet.start().await.unwrap_err();
    assert!(matches!(&error, FleetError::Run(error) if error.is_unreachable()), "{error:?}");
}
