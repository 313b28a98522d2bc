//! `device-sim expect`.

use std::process::Output;
use std::time::Duration;

use device_sim::broker::{Broker, BrokerConfig};
use rumqttc::{AsyncClient, MqttOptions, QoS};

use super::{device_sim, finish, stderr, stdout};

/// From one measurement to the next.
const PAUSE: Duration = Duration::from_millis(20);

/// The command while a thermometer publishes values again and again.
async fn beside(arguments: &[&str], broker: &Broker, values: &[f64]) -> Output {
    let address = broker.address();
    let options = MqttOptions::new("th-1", address.ip().to_string(), address.port());
    let (client, mut events) = AsyncClient::new(options, 16);
    let measuring = async {
        loop {
            for value in values {
                let payload = format!(r#"{{"device":"th-1","value":{value}}}"#);
                client.publish("site/th-1/temp", QoS::AtLeastOnce, false, payload).await.unwrap();
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        output = finish(device_sim(arguments, &[])) => output,
        () = measuring => unreachable!("it goes on"),
        () = async { while events.poll().await.is_ok() {} } => panic!("no connection"),
    }
}

#[tokio::test]
async fn the_message_that_is_waited_for_ends_the_command() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let url = broker.url();
    let arguments = [
        "expect",
        "--broker",
        &url,
        "--topic",
        "site/+/temp",
        "--match",
        "value>=20",
        "--within",
        "20s",
    ];
    let output = beside(&arguments, &broker, &[19.5, 21.5]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "site/th-1/temp {\"device\":\"th-1\",\"value\":21.5}\n");
}

#[tokio::test]
async fn a_message_that_does_not_come_is_told_by_the_exit_code() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let url = broker.url();
    let arguments = [
        "expect", "--broker", &url, "--topic", "site/#", "--match", "value>30", "--within", "500ms",
    ];
    let output = beside(&arguments, &broker, &[21.5]).await;
    assert_eq!(output.status.code(), Some(99), "{}", stderr(&output));
    broker.down().await.unwrap();
    let output = finish(device_sim(&arguments, &[])).await;
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
}
