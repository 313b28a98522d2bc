//! The broker against clients: raw packets, the event loop of `rumqttc`, and Mosquitto's programs.

use std::time::Duration;

use device_sim::broker::{Broker, BrokerConfig, QoS};
use rumqttc::{AsyncClient, MqttOptions};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn published_messages_are_recorded_in_order() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let options = MqttOptions::new("a", broker.address().ip().to_string(), broker.address().port());
    let (client, mut events) = AsyncClient::new(options, 10);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { while events.poll().await.is_ok() {} });
    for (n, qos) in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
        .into_iter()
        .cycle()
        .take(30)
        .enumerate()
    {
        client.publish("t", qos, false, n.to_string()).await.unwrap();
    }
    broker.wait_for(SOON, |counts| counts.publishes >= 30).await.unwrap();
    let payloads: Vec<_> = broker.recorded().into_iter().map(|recorded| recorded.payload).collect();
    let expected: Vec<_> = (0..30).map(|n| n.to_string()).collect();
    assert_eq!(payloads, expected);
    broker.shutdown().await;
}
