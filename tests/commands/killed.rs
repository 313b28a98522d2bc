//! The gateway, its device and its broker go away at any moment of a command.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

use proto::Rng;
use serde_json::Value;

use crate::harness::asked::Site;
use crate::harness::clock::wait_for;

/// How long a device takes, so that some kills meet what was sent and not answered.
const WORK: Duration = Duration::from_millis(40);

/// A device in datagrams, which does what it is told one after the other, and notes it.
struct Device {
    address: SocketAddr,
    told: Arc<Mutex<Vec<String>>>,
}

impl Device {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (address, told) = (socket.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let noted = Arc::clone(&told);
        // It ends with the test's process.
        spawn(move || {
            let mut buffer = [0; 100];
            while let Ok((length, gateway)) = socket.recv_from(&mut buffer) {
                let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
                noted.lock().unwrap().push(line.clone());
                sleep(WORK);
                // The gateway may have been killed.
                let _ = socket.send_to(format!("OK {line}").as_bytes(), gateway);
            }
        });
        Self { address, told }
    }

    /// How often it was told this.
    fn count(&self, line: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|told| *told == line).count()
    }
}

fn site(device: &Device) -> Site {
    Site::start(&format!(
        r#"
[sources.line]
device = "v-1"
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "keyvalue" }}

[operations.once]
source = "line"
devices = ["v-1"]
deadline = "5m"
via = {{ type = "send", to = "{0}", text = "ONCE {{id}}", expect = "OK*" }}

[operations.again]
source = "line"
devices = ["v-1"]
deadline = "5m"
repeatable = true
via = {{ type = "send", to = "{0}", text = "AGAIN {{id}}", expect = "OK*" }}
"#,
        device.address
    ))
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
    let device = Device::start();
    let mut site = site(&device);
    let mut rng = Rng::new(3);
    for round in 0..KILLS {
        site.ask("v-1", "again", &format!("a{round}"), "");
        site.ask("v-1", "once", &format!("o{round}"), "");
        // From before they are on disk to after their last states are published.
        sleep(Duration::from_millis(rng.below(100)));
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
        let once = device.count(&format!("ONCE o{round}"));
        let again = device.count(&format!("AGAIN a{round}"));
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
    assert!((1..KILLS).contains(&unknown), "{unknown} kills met what was sent and not answered");
}

#[test]
fn a_broker_that_restarts_at_any_moment_costs_no_command_and_repeats_none() {
    const RESTARTS: u32 = 8;
    let device = Device::start();
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
        assert_eq!(device.count(&format!("ONCE o{round}")), 1, "o{round}");
    }
}
