//! Windows of readings over `kill -9`, with Mosquitto.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::keep_on;
use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::mosquitto::Mosquitto;

#[test]
fn a_kill_in_the_middle_of_a_window_loses_nothing_and_cuts_no_window_in_two() {
    const DEVICES: u64 = 5;
    const ROUNDS: u64 = 5;
    const READINGS: u64 = 20;
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("w/#");
    let mut gateway = Gateway::start(&format!(
        "[sources.lines]\nlink = {{ type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }}\n\
         decode = {{ type = \"json\", device = \"id\" }}\n{}\
         [routes.windows]\ntopic = \"w/{{device}}/{{name}}\"\n\
         aggregate = {{ window = \"2s\", of = [\"count\", \"sum\"], grace = \"500ms\" }}\n",
        mosquitto.table("local")
    ));
    let mut sent = 0;
    for _ in 0..ROUNDS {
        let mut client = LineClient::connect(gateway.address("lines")).unwrap();
        for _ in 0..READINGS {
            for device in 0..DEVICES {
                sent += 1;
                let line = format!("{{\"id\":\"d{device}\",\"v\":{sent}}}");
                assert_eq!(client.ask(&line).unwrap(), "ok");
            }
            keep_on(Duration::from_millis(50));
        }
        gateway.kill();
        gateway.launch();
        gateway.wait_until_up();
    }

    // The last copy counts, as it would for a consumer that keeps what it has for a topic and `n`.
    let sum_of = |statistic: &str| -> u64 {
        let mut values = BTreeMap::new();
        for message in all.all() {
            let json = message.json();
            if json["name"] == format!("v.{statistic}") {
                values.insert(json["n"].as_u64().unwrap(), json["value"].as_u64().unwrap());
            }
        }
        values.values().sum()
    };
    wait_until("every reading is in a window", || sum_of("count") >= sent);
    assert_eq!(sum_of("count"), sent);
    wait_until("every sum is there", || sum_of("sum") >= sent * (sent + 1) / 2);
    assert_eq!(sum_of("sum"), sent * (sent + 1) / 2);
    // What comes twice is the same.
    let mut copies = BTreeMap::new();
    for message in all.all().into_iter().filter(|message| message.topic.starts_with("w/")) {
        let json = message.json();
        let key = (message.topic.clone(), json["n"].as_u64().unwrap());
        let first = copies.entry(key).or_insert_with(|| message.payload.clone());
        assert_eq!(*first, message.payload);
    }
    assert!(copies.len() as u64 > 2 * DEVICES, "several windows: {}", copies.len());
    wait_until("everything is released", || gateway.count("/store/pending/local") == 0);
}
