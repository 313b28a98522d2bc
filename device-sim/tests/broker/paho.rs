//! The client of Eclipse Paho for Python (package `paho-mqtt`), which shares no code with ours.

use std::num::NonZero;
use std::path::Path;
use std::process::Command;

use device_sim::broker::{Broker, Matching, Reason};
use serde_json::{Value, json};

use super::client::broker;

/// Runs one function of `paho_client.py` against `broker`; what it reports.
async fn paho(broker: &Broker, function: &str) -> Value {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = crate_folder.join("../tests/.venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup", python.display());
    let mut command = Command::new(python);
    command.arg(crate_folder.join("tests/broker/paho_client.py"));
    command.args([function, &broker.address().port().to_string()]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn paho_exchanges_messages_between_the_versions() {
    let broker = broker().await;
    let report = paho(&broker, "exchange").await;
    let properties = json!({
        "PayloadFormatIndicator": 1,
        "MessageExpiryInterval": 60,
        "ContentType": "text/plain",
        "ResponseTopic": "answer",
        "CorrelationData": "ff00",
        "UserProperty": [["a", "1"], ["a", "2"]],
        "SubscriptionIdentifier": [42],
    });
    for qos in 0..=2 {
        let from_5 = json!({"topic": "from/5", "payload": qos.to_string(), "qos": qos});
        let mut to_5 = from_5.clone();
        to_5["properties"] = properties.clone();
        let from_4 = json!({"topic": "from/4", "payload": qos.to_string(), "qos": qos});
        let mut back = from_4.clone();
        back["properties"] = json!({"SubscriptionIdentifier": [42]});
        let received = |version: &str, message| {
            let all = report[version].as_array().unwrap();
            assert!(all.contains(&message), "{message} is not in {all:#?}");
        };
        received("4", from_5);
        received("4", from_4);
        received("5", to_5);
        received("5", back);
    }
    let recorded = broker.recorded();
    assert_eq!(recorded.len(), 6);
    assert_eq!(recorded.iter().filter(|one| one.properties.is_some()).count(), 3);
    assert_eq!(broker.counts().violations, 0);
}

#[tokio::test]
async fn paho_understands_every_answer() {
    let broker = broker().await;
    let faults = broker.faults();
    faults.announce(|limits| {
        limits.receive_maximum = NonZero::new(3);
        limits.server_keep_alive = Some(77);
    });
    let bad = Matching::all().topic("bad".parse().unwrap());
    faults.reject(Some((Reason::QuotaExceeded, bad)));
    faults.disconnect_once(Reason::AdministrativeAction, 9);
    let report = paho(&broker, "answers").await;
    assert_eq!(report["connack"]["ReceiveMaximum"], 3);
    assert_eq!(report["connack"]["ServerKeepAlive"], 77);
    assert!(report["connack"]["AssignedClientIdentifier"].is_string(), "{report}");
    assert_eq!(report["suback"], json!([1]));
    assert_eq!(report["unsuback"], json!([0, 17]));
    // At QoS 2 this client goes on with PUBREL although PUBREC has refused the message, and learns
    // from PUBCOMP that nobody knows it.
    assert_eq!(report["published"], json!([["good", 16], ["bad", 151], ["bad", 146]]));
    assert_eq!(report["told to go"], true);
}
