//! What one broker does to the others: nothing.

use std::fs;
use std::time::Duration;

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::sim::Recorder;

const SOURCE: &str = r#"
[sources.lines]
device = "d"
link = { type = "tcp", bind = "127.0.0.1:0", reply = true }
decode = { type = "value", name = "v" }
[routes.all]
"#;

fn broker(name: &str, url: &str, more: &str) -> String {
    format!("[brokers.{name}]\nurl = \"{url}\"\nmax_backoff = \"1s\"\n{more}\n")
}

fn numbers(broker: &Recorder) -> Vec<u64> {
    broker.readings().iter().map(|reading| reading.n).collect()
}

#[test]
fn a_dead_broker_with_a_limit_does_not_pin_the_disk() {
    const READINGS: u64 = 400;
    const MAX_LAG: u64 = 50;
    let healthy = Recorder::start();
    let dead = Recorder::start();
    dead.down();
    let mut gateway = Gateway::start(&format!(
        "[store]\nquota = \"1MiB\"\n{SOURCE}{}{}",
        broker("healthy", &healthy.url(), ""),
        broker("dead", &dead.url(), &format!("window = 10\nmax_lag = {MAX_LAG}")),
    ));
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    // Five times the quota.
    let value = "x".repeat(12_500);
    for n in 1..=READINGS {
        assert_eq!(client.ask(&value).unwrap(), "ok", "{n}");
        if n % 20 == 0 {
            let is_there = || gateway.status()["store"]["pending"]["healthy"] == 0;
            wait_until("the healthy broker to have it", is_there);
        }
    }
    assert_eq!(numbers(&healthy), (1..=READINGS).collect::<Vec<_>>());
    assert_eq!(gateway.count("/store/dropped/dead/lag"), READINGS - MAX_LAG);
    assert_eq!(gateway.count("/store/dropped/healthy/lag"), 0);
    let output = gateway.command("status").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("dropped {} (lag)", READINGS - MAX_LAG)), "{text}");
    // The count is kept, and the rest is delivered.
    assert!(gateway.terminate().success());
    gateway.launch();
    gateway.wait_until_up();
    assert_eq!(gateway.count("/store/dropped/dead/lag"), READINGS - MAX_LAG);
    dead.up();
    wait_until("the rest", || gateway.status()["store"]["pending"]["dead"] == 0);
    assert_eq!(numbers(&dead), (READINGS - MAX_LAG + 1..=READINGS).collect::<Vec<_>>());
}

#[test]
fn a_connection_that_goes_on_skips_what_was_dropped_meanwhile() {
    const READINGS: u64 = 200;
    const MAX_LAG: u64 = 50;
    const WINDOW: u64 = 10;
    let slow = Recorder::start();
    slow.faults().delay_pubacks(Duration::from_secs(3600));
    let limits = format!("ack_timeout = \"1h\"\nwindow = {WINDOW}\nmax_lag = {MAX_LAG}");
    let gateway = Gateway::start(&format!("{SOURCE}{}", broker("slow", &slow.url(), &limits)));
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    for n in 1..=READINGS {
        assert_eq!(client.ask("x").unwrap(), "ok", "{n}");
    }
    assert_eq!(gateway.count("/store/dropped/slow/lag"), READINGS - MAX_LAG);
    assert!(!numbers(&slow).is_empty(), "it was connected");
    slow.faults().clear();
    wait_until("the rest", || gateway.status()["store"]["pending"]["slow"] == 0);
    assert_eq!(gateway.count("/brokers/slow/connections"), 1);
    let late = |n: &u64| *n > WINDOW;
    let arrived: Vec<_> = numbers(&slow).into_iter().filter(late).collect();
    assert_eq!(arrived, (READINGS - MAX_LAG + 1..=READINGS).collect::<Vec<_>>());
}

#[test]
fn a_renamed_broker_loses_nothing_and_the_old_name_can_be_forgotten() {
    const READINGS: u64 = 100;
    let recorder = Recorder::start();
    recorder.down();
    let mut gateway = Gateway::start(&format!("{SOURCE}{}", broker("old", &recorder.url(), "")));
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    for n in 1..=READINGS {
        assert_eq!(client.ask("x").unwrap(), "ok", "{n}");
    }
    gateway.kill();
    let config = fs::read_to_string(gateway.config()).unwrap();
    fs::write(gateway.config(), config.replace("[brokers.old]", "[brokers.new]")).unwrap();
    recorder.up();
    gateway.launch();
    gateway.wait_until_up();
    wait_until("everything", || gateway.status()["store"]["pending"]["new"] == 0);
    assert_eq!(numbers(&recorder), (1..=READINGS).collect::<Vec<_>>());

    let warning =
        gateway.log_entries().into_iter().find(|entry| entry["fields"]["broker"] == "old");
    let warning = warning.expect("the operator is told")["fields"]["message"].to_string();
    assert!(warning.contains("not configured any more"), "{warning}");
    assert_eq!(gateway.status()["store"]["orphans"]["old"], 1);
    let forget = |name: &str| gateway.command("store").args(["forget", name]).output().unwrap();
    assert_eq!(forget("new").status.code(), Some(1), "it is configured");
    assert!(forget("old").status.success());
    assert_eq!(forget("old").status.code(), Some(1), "it is gone");
    assert!(gateway.terminate().success());
    gateway.launch();
    gateway.wait_until_up();
    assert!(gateway.status()["store"]["orphans"].as_object().unwrap().is_empty());
}
