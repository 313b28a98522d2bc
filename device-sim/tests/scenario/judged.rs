//! What a run finds when messages are lost, doubled, changed or reordered on their way: devices
//! publish to a broker, and a relay of the test takes their messages to where the far end looks.

use device_sim::broker::{Broker, BrokerConfig};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{Folder, device_sim, finish, stderr, stdout};

const SCENARIO: &str = r#"
version = 1
name = "relayed"
seed = 7
duration = "1s"
[target]
mqtt = "${MQTT_URL}"
[signals.temp]
type = "counter"
start = 20
[fleets.bench]
count = 2
id = "th-{n}"
via = "mqtt"
every = "100ms"
[fleets.bench.payload]
format = "text"
template = '{{"device":"{device}","name":"temp","value":{temp},"epoch":{epoch},"seq":{seq}}}'
temp = "temp"
[verify]
topic = "site/#"
settle = "2s"
[thresholds]
lost = 0
wrong_value = 0
duplicates = 0
out_of_order = 0
unknown = 0
"#;

/// What the relay does to the third message of the first device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    Loses,
    Doubles,
    Changes,
    Delays,
    Invents,
}

/// Takes messages from `devices/` to `site/`.
struct Relay {
    client: AsyncClient,
    events: EventLoop,
    wrong: Wrong,
}

impl Relay {
    async fn subscribe(broker: &Broker, wrong: Wrong) -> Self {
        let address = broker.address();
        let options = MqttOptions::new("relay", address.ip().to_string(), address.port());
        let (client, mut events) = AsyncClient::new(options, 1000);
        client.subscribe("devices/#", QoS::AtLeastOnce).await.unwrap();
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
        Self { client, events, wrong }
    }

    /// Until it is aborted.
    async fn run(mut self) {
        let Self { client, events, wrong } = &mut self;
        let mut held = None;
        loop {
            let Event::Incoming(Packet::Publish(message)) = events.poll().await.unwrap() else {
                continue;
            };
            let text = String::from_utf8(message.payload.to_vec()).unwrap();
            let is_third = text.contains(r#""device":"th-1""#) && text.contains(r#""seq":3}"#);
            let is_fourth = text.contains(r#""device":"th-1""#) && text.contains(r#""seq":4}"#);
            let send = |text: String| {
                client.try_publish("site/th/temp", QoS::AtLeastOnce, false, text).unwrap();
            };
            match wrong {
                Wrong::Loses if is_third => {}
                Wrong::Doubles if is_third => [text.clone(), text].into_iter().for_each(send),
                Wrong::Changes if is_third => send(text.replace(r#""value":2"#, r#""value":3"#)),
                Wrong::Delays if is_third => held = Some(text),
                Wrong::Delays if is_fourth => [text].into_iter().chain(held.take()).for_each(send),
                Wrong::Invents if is_third => {
                    [text.replace("th-1", "ghost"), text].into_iter().for_each(send);
                }
                _ => send(text),
            }
        }
    }
}

/// The report of a run with such a relay, and its exit code.
async fn judged(wrong: Wrong) -> (Value, Option<i32>) {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(Relay::subscribe(&broker, wrong).await.run());
    let folder = Folder::new();
    let file = folder.file("relayed.toml", SCENARIO);
    let url = broker.url();
    let output = finish(device_sim(&["run", &file, "--json"], &[("MQTT_URL", &url)])).await;
    let report = serde_json::from_str(&stdout(&output));
    (report.unwrap_or_else(|error| panic!("{error}: {}", stderr(&output))), output.status.code())
}

#[tokio::test]
async fn what_arrives_as_it_was_sent_keeps_every_threshold() {
    let (report, code) = judged(Wrong::Nothing).await;
    assert_eq!(code, Some(0), "{report:#}");
    let fleet = &report["fleets"]["bench"];
    assert!(fleet["sent"].as_u64().unwrap() >= 18, "{fleet}");
    assert_eq!((&fleet["arrived"], &fleet["acknowledged"]), (&fleet["sent"], &fleet["sent"]));
}

#[tokio::test]
async fn each_failure_is_counted_and_missed_with_its_first_example() {
    for (wrong, metric, failure) in [
        (Wrong::Loses, "lost", "lost"),
        (Wrong::Doubles, "duplicates", "duplicate"),
        (Wrong::Changes, "wrong_value", "wrong_value"),
        (Wrong::Delays, "out_of_order", "out_of_order"),
    ] {
        let (report, code) = judged(wrong).await;
        assert_eq!(code, Some(99), "{wrong:?}: {report:#}");
        let fleet = &report["fleets"]["bench"];
        for other in ["lost", "duplicates", "wrong_value", "out_of_order"] {
            let expected = u64::from(other == metric);
            assert_eq!(fleet[other], expected, "{wrong:?}: {other}");
        }
        let outcomes = report["outcomes"].as_array().unwrap();
        let missed = outcomes.iter().filter(|outcome| outcome["passed"] == false);
        let missed: Vec<_> = missed.map(|outcome| outcome["name"].as_str().unwrap()).collect();
        assert_eq!(missed, [metric]);
        let example = &report["examples"][failure];
        assert_eq!(example["device"], "th-1", "{report:#}");
        let replay = example["replay"].as_str().unwrap();
        assert!(replay.contains("--seed 7 --only th-1"), "{replay}");
    }
}

#[tokio::test]
async fn what_nobody_sent_is_unknown() {
    let (report, code) = judged(Wrong::Invents).await;
    assert_eq!((code, &report["unknown"]), (Some(99), &Value::from(1)), "{report:#}");
}

#[tokio::test]
async fn reports_of_shards_merge_into_that_of_the_whole() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(Relay::subscribe(&broker, Wrong::Nothing).await.run());
    let folder = Folder::new();
    let file = folder.file("relayed.toml", SCENARIO);
    let (first, second) = (folder.0.join("1"), folder.0.join("2"));
    let url = broker.url();
    let play = |shard: &str, report: &std::path::Path| {
        let report = report.display().to_string();
        let arguments = ["run", &file, "--shard", shard, "--report", &report];
        finish(device_sim(&arguments, &[("MQTT_URL", &url)]))
    };
    let (one, two) = tokio::join!(play("1/2", &first), play("2/2", &second));
    for output in [one, two] {
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    }
    let report = |folder: &std::path::Path| folder.join("report.json").display().to_string();
    let arguments = ["merge", "--json", &report(&first), &report(&second)];
    let output = finish(device_sim(&arguments, &[])).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let merged: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let fleet = &merged["fleets"]["bench"];
    assert_eq!((&fleet["devices"], &merged["unknown"]), (&Value::from(2), &Value::from(0)));
    assert_eq!(fleet["arrived"], fleet["sent"]);
}
