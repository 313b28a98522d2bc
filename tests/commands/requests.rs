//! What is taken as a request, and what is refused.

use serde_json::json;

use crate::harness::asked::Site;
use crate::harness::clock::{wait_for, wait_until};

/// A device that nobody can reach.
const CONFIG: &str = r#"
[sources.line]
device = "valve-1"
link = { type = "serial", path = "/dev/does-not-exist", baud = 9600 }
decode = { type = "keyvalue" }

[operations.position]
source = "line"
devices = ["valve-1", "valve-2"]
value = { type = "number", min = 0, max = 100 }
via = { type = "send", text = "POS {value}\n" }
writable = true

[operations.close]
source = "line"
devices = ["valve-*"]
via = { type = "send", text = "CLOSE\n" }

[groups.all]
devices = ["valve-*"]
"#;

#[test]
fn a_wrong_request_is_refused_with_the_reason_and_nothing_is_sent() {
    let site = Site::start(CONFIG);
    site.ask("valve-1", "position", "1", "101");
    let refused = site.wait_for("valve-1", "1", "failed");
    assert_eq!(refused["error"]["code"], "value");
    assert_eq!(refused["error"]["detail"], "expected a number from 0 to 100, found 101");
    site.ask("pump", "position", "2", "1");
    assert_eq!(site.wait_for("pump", "2", "failed")["error"]["code"], "not_allowed");
    site.ask("valve-1", "explode", "3", "");
    let unknown = site.wait_for("valve-1", "3", "failed");
    assert_eq!(
        unknown["error"]["detail"],
        "there is no operation `explode`; there is close, position"
    );
    site.broker.publish("site/gw/command/valve-1/position", "21.5", &[]);
    site.broker.publish("site/gw/valve-1/close/set", "", &[]);
    let refusals =
        wait_for("a refusal", || Some(site.at("site/gw/refused")).filter(|all| !all.is_empty()));
    assert_eq!(refusals[0]["error"]["code"], "payload");
    let status = site.gateway.status();
    assert_eq!(status["commands"]["failed"], 4, "{status}");
}

#[test]
fn a_command_that_nobody_can_carry_out_expires_and_the_same_again_is_answered() {
    let site = Site::start(CONFIG);
    let request = json!({"id": "42", "value": 40, "deadline": "2s"});
    site.ask_json("valve-1", "position", &request);
    site.wait_for("valve-1", "42", "expired");
    let before = site.states("valve-1", "42");
    assert_eq!(before.first().unwrap(), "accepted");
    assert_eq!(before.last().unwrap(), "expired deadline");
    site.ask_json("valve-1", "position", &request);
    wait_until("an answer", || site.states("valve-1", "42").len() > before.len());
    assert_eq!(site.states("valve-1", "42").last().unwrap(), "expired deadline");
    assert_eq!(site.gateway.count("/commands/accepted"), 1);
}

#[test]
fn a_command_waits_over_kill_9_and_can_be_cancelled_then() {
    let mut site = Site::start(CONFIG);
    site.ask_json("valve-1", "position", &json!({"id": "7", "value": 40, "deadline": "1h"}));
    site.wait_for("valve-1", "7", "accepted");
    site.gateway.kill();
    // The broker keeps it meanwhile.
    site.ask("valve-2", "position", "8", "1");
    site.gateway.launch();
    site.gateway.wait_until_up();
    site.wait_for("valve-2", "8", "accepted");
    let listed = site.gateway.command("commands").arg("--json").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    site.cancel("valve-1", "7");
    site.wait_for("valve-1", "7", "failed");
    let states = site.states("valve-1", "7");
    assert_eq!(
        (states[0].as_str(), states.last().unwrap().as_str()),
        ("accepted", "failed cancelled")
    );
}

#[test]
fn a_response_topic_gets_every_state_with_its_correlation_data() {
    let site = Site::start_with("protocol = \"5\"", CONFIG);
    let watch = site.broker.subscribe_with("app/answers", &["-V", "5"]);
    let properties = [
        "-V",
        "5",
        "-D",
        "publish",
        "response-topic",
        "app/answers",
        "-D",
        "publish",
        "correlation-data",
        "job-7",
    ];
    site.broker.publish("site/gw/command/valve-1/position", r#"{"value":400}"#, &properties);
    let answer = watch.first("app/answers").json();
    assert_eq!((answer["id"].as_str(), answer["state"].as_str()), (Some("job-7"), Some("failed")));
}

#[test]
fn a_group_has_one_outcome_and_one_of_each_device() {
    let site = Site::start(CONFIG);
    site.ask_json("all", "position", &json!({"id": "1", "value": 5, "deadline": "1s"}));
    let outcome = site.wait_for("all", "1", "expired");
    assert_eq!(outcome["devices"], json!({"valve-1": "expired", "valve-2": "expired"}));
    site.wait_for("valve-1", "1", "expired");
    site.wait_for("valve-2", "1", "expired");
}

#[test]
fn send_waits_for_the_outcome_and_tells_it_by_its_exit_code() {
    let site = Site::start(CONFIG);
    let send = |arguments: &[&str]| {
        let output = site.gateway.command("send").args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, out) = send(&["valve-1", "position", "40", "--deadline", "1s", "--json"]);
    assert_eq!(code, 69, "{out}");
    let states: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.first().unwrap()["state"], "accepted");
    assert_eq!(states.last().unwrap()["state"], "expired");
    let (code, out) = send(&["valve-1", "position", "400"]);
    assert_eq!(code, 1);
    assert!(out.contains("failed, value: expected a number from 0 to 100, found 400"), "{out}");
    let devices = site.gateway.command("devices").output().unwrap();
    let devices = String::from_utf8(devices.stdout).unwrap();
    let expected = "  position: a number from 0 to 100, at site/gw/valve-1/position/set\n";
    assert!(devices.contains(expected), "{devices}");
}
