//! The gateway, its device and its broker go away at any moment of a command.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use proto::Rng;
use serde_json::Value;

use crate::device::Server;
use crate::harness::asked::Site;
use crate::harness::clock::wait_for;

/// A device that answers at once, and is told two kinds of commands.
fn site(device: &Server) -> Site {
    Site::start(&format!(
        r#"
[sources.line]
device = "v-1"
link = {{ type = "tcp-client", connect = "{}" }}
decode = {{ type = "keyvalue" }}

[operations.once]
source = "line"
devices = ["v-1"]
deadline = "5m"
via = {{ type = "send", text = "ONCE {{id}}\n", expect = "OK*" }}

[operations.again]
source = "line"
devices = ["v-1"]
deadline = "5m"
repeatable = true
via = {{ type = "send", text = "AGAIN {{id}}\n", expect = "OK*" }}
"#,
        device.address()
    ))
}

fn answers(_: usize, line: &str) -> Option<String> {
    Some(format!("OK {line}\n"))
}

/// What became of every command, once all are over: by identifier, the state and the code.
fn outcomes(site: &Site, commands: usize) -> BTreeMap<String, (String, String)> {
    wait_for("every command to be over", || {
        let listed = site.gateway.command("commands").args(["--json", "--limit", "1000"]).output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        let all: Vec<Value> =
            listed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let over: BTreeMap<_, _> = all
            .iter()
            .filter(|it| matches!(it["state"].as_str(), Some("done" | "failed" | "expired")))
            .map(|it| (text(&it["id"]), (text(&it["state"]), text(&it["error"]["code"]))))
            .collect();
        (over.len() == commands).then_some(over)
    })
}

#[test]
fn kills_at_any_moment_repeat_nothing_that_must_not_be_and_every_command_has_one_end() {
    const KILLS: u32 = 25;
    let device = Server::start(answers);
    let mut site = site(&device);
    let mut rng = Rng::new(3);
    for round in 0..KILLS {
        site.ask("v-1", "once", &format!("o{round}"), "");
        site.ask("v-1", "again", &format!("a{round}"), "");
        // From before they are on disk to after their last state is published.
        sleep(Duration::from_millis(rng.below(40)));
        site.gateway.kill();
        site.gateway.launch();
        if rng.chance(0.5) {
            site.gateway.wait_until_up();
        }
    }
    site.gateway.wait_until_up();
    let outcomes = outcomes(&site, 2 * KILLS as usize);
    let mut unknown = 0;
    for round in 0..KILLS {
        let once = device.told().count(&format!("ONCE o{round}"));
        let again = device.told().count(&format!("AGAIN a{round}"));
        let (state, code) = &outcomes[&format!("o{round}")];
        match (state.as_str(), code.as_str()) {
            ("done", _) => assert_eq!(once, 1, "o{round}"),
            ("failed", "unknown_outcome") => {
                assert!(once <= 1, "o{round} was sent {once} times");
                unknown += 1;
            }
            other => panic!("o{round}: {other:?}"),
        }
        assert_eq!(outcomes[&format!("a{round}")].0, "done");
        assert!(again >= 1, "a{round} is done, and was not sent");
    }
    // What is published agrees with the journal, and nothing comes after a last state.
    for (id, (state, _)) in &outcomes {
        site.wait_for("v-1", id, state);
        let published = site.states("v-1", id);
        let is_last =
            |state: &String| ["done", "failed", "expired"].iter().any(|it| state.starts_with(it));
        let mut last: Vec<_> = published.iter().filter(|state| is_last(state)).collect();
        last.dedup();
        assert_eq!(last.len(), 1, "{id}: {published:?}");
    }
    assert!(unknown < KILLS, "every command met a kill");
}

#[test]
fn a_broker_that_restarts_at_any_moment_costs_no_command_and_repeats_none() {
    const RESTARTS: u32 = 8;
    let device = Server::start(answers);
    let mut site = site(&device);
    let mut rng = Rng::new(4);
    for round in 0..RESTARTS {
        site.ask("v-1", "once", &format!("o{round}"), "");
        sleep(Duration::from_millis(rng.below(40)));
        site.broker.restart();
    }
    let outcomes = outcomes(&site, RESTARTS as usize);
    for round in 0..RESTARTS {
        assert_eq!(outcomes[&format!("o{round}")].0, "done", "o{round}");
        assert_eq!(device.told().count(&format!("ONCE o{round}")), 1, "o{round}");
    }
}
