//! Rehearsals from outside: the operator's configuration against weeks of trouble, in virtual time.

mod connections;
mod gateway;
mod lines;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");
const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/quickstart.toml");
/// Whatever hangs is killed.
const WATCHDOG: [&str; 3] = ["-k", "5", "280"];

const OK: Option<i32> = Some(0);
const BAD_CONFIG: Option<i32> = Some(78);
const MISSED: Option<i32> = Some(99);

/// A source for each way, and a broker.
const CONFIG: &str = r#"
[gateway]
id = "g"

[sources.nodes]
link = { type = "coap" }

[sources.weather]
link = { type = "udp", bind = "0.0.0.0:7000" }
decode = { type = "keyvalue", device = "id", time = "at", time_unit = "ms", epoch = "boot", seq = "n" }

[sources.pumps]
link = { type = "tcp", bind = "0.0.0.0:7001", reply = true }
decode = { type = "json", device = "device", time = "at", time_unit = "ms", epoch = "epoch", seq = "seq" }

[sources.meter]
device = "meter-1"
link = { type = "serial", path = "/dev/ttyUSB0" }
decode = { type = "csv", separator = ";", columns = ["at", "boot", "n", "power"], time = "at", time_unit = "ms", epoch = "boot", seq = "n" }

[brokers.local]
url = "mqtt://localhost"

[routes.all]
topic = "{gateway}/{device}/{name}"
"#;

/// What all scenarios begin with.
const HEAD: &str = r#"
version = 1
name = "rehearsal"
seed = 7
[target]
mqtt = "built-in"
coap = "localhost:5683"
udp = "localhost:7000"
tcp = "localhost:7001"
serial = "pty:/dev/ttyUSB0"
[gateway]
config = "gateway.toml"
[signals]
temp = { type = "sine", mean = 21, amplitude = 4, period = "24h", noise = 0.2 }
[verify]
topic = "+/+/+"
"#;

const UDP: &str = r#"
[fleets.weather]
count = 10
via = "udp"
every = { mean = "20s", jitter = "20%" }
payload = { format = "keyvalue", wind = "temp" }
"#;

const COAP: &str = r#"
[fleets.nodes]
count = 10
via = "coap"
every = { mean = "20s", jitter = "20%" }
payload = { temp = "temp" }
"#;

const TCP: &str = r#"
[fleets.pumps]
count = 5
via = "tcp"
every = "1m"
payload = { format = "json", flow = "temp" }
"#;

const SERIAL: &str = r#"
[fleets.meter]
count = 1
id = "meter-{n}"
via = "serial"
every = "30s"
payload = { format = "csv", power = "temp" }
"#;

/// A folder of one test, whose stores are on a tmpfs where there is one.
struct Rehearsal {
    folder: PathBuf,
    stores: PathBuf,
}

impl Rehearsal {
    fn new(test: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("rehearse-{test}"));
        let fast = Path::new("/dev/shm");
        let parent = if fast.is_dir() { fast } else { folder.as_path() };
        let stores = parent.join(format!("rehearse-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        fs::create_dir_all(&stores).expect("a folder");
        Self { folder, stores }
    }

    /// Plays a scenario of these parts; the configuration is one of a file or a text.
    fn play(&self, config: &str, duration: &str, parts: &[&str], arguments: &[&str]) -> Output {
        self.play_of(config, duration, HEAD, parts, arguments)
    }

    /// The same with another head.
    fn play_of(
        &self,
        config: &str,
        duration: &str,
        head: &str,
        parts: &[&str],
        arguments: &[&str],
    ) -> Output {
        let config = if Path::new(config).is_file() {
            PathBuf::from(config)
        } else {
            let path = self.folder.join("gateway.toml");
            fs::write(&path, config).expect("written");
            path
        };
        let scenario = self.folder.join("scenario.toml");
        let text = format!("duration = \"{duration}\"{head}{}", parts.concat());
        fs::write(&scenario, text).expect("written");
        let mut command = Command::new("timeout");
        command.args(WATCHDOG).args([GATEWAY, "rehearse", "-c"]).arg(config).arg(scenario);
        command.args(arguments).env("TMPDIR", &self.stores).env_remove("RUST_LOG");
        command.output().expect("it starts")
    }

    fn report(&self, config: &str, duration: &str, parts: &[&str], code: Option<i32>) -> Value {
        self.report_of(config, duration, HEAD, parts, code)
    }

    /// The same with another head.
    fn report_of(
        &self,
        config: &str,
        duration: &str,
        head: &str,
        parts: &[&str],
        code: Option<i32>,
    ) -> Value {
        let output = self.play_of(config, duration, head, parts, &["--json"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, "");
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        let told = ["outcomes", "fleets", "rehearsal"].map(|key| report.get(key));
        assert_eq!(output.status.code(), code, "{told:#?}");
        report
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let left = fs::read_dir(&self.stores).map_or(0, Iterator::count);
        let _ = fs::remove_dir_all(&self.stores);
        if !std::thread::panicking() {
            assert_eq!(left, 0, "a store was left behind");
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn a_month_of_outage_loses_nothing_while_the_store_has_room() {
    let rehearsal = Rehearsal::new("month");
    // Without optimisation a reading takes ten times as long.
    let (every, reports) = if cfg!(debug_assertions) { ("2h", 12) } else { ("1m", 24 * 60) };
    let fleet = format!(
        "[fleets.nodes]\ncount = 50\nvia = \"coap\"\nevery = \"{every}\"\nramp = {{ over = \"0s\" }}\n\
         payload = {{ temp = \"temp\" }}\n"
    );
    let outage = "[[faults]]\nname = \"away\"\nat = \"24h\"\nfor = \"720h\"\non = \"target.mqtt\"\n\
                  partition = true\n";
    let report = rehearsal.report(QUICKSTART, "768h", &[&fleet, outage], OK);
    let (nodes, figures) = (&report["fleets"]["nodes"], &report["rehearsal"]);
    let sent = 50 * 32 * reports;
    for key in ["sent", "acknowledged", "arrived"] {
        assert_eq!(number(&nodes[key]), sent, "{key}");
    }
    assert_eq!((number(&nodes["lost"]), number(&nodes["wrong_value"])), (0, 0));
    let backlog = number(&figures["largest_backlog"]["local"]);
    let (outage, hour) = (50 * 30 * reports, 50 * reports / 24 + 50);
    assert!((outage..=outage + hour).contains(&backlog), "{backlog} of {outage}");
    assert_eq!(number(&figures["drained"][0]["backlog"]), backlog);
    assert!(figures["drained"][0]["took_us"].is_u64(), "{figures}");
}

#[test]
fn what_a_small_store_drops_is_counted_exactly() {
    let rehearsal = Rehearsal::new("quota");
    let outage = "[[faults]]\nname = \"away\"\nat = \"1h\"\nfor = \"10h\"\non = \"target.mqtt\"\n\
                  partition = true\n";
    for (when_full, reasons) in [
        ("drop_oldest", ["dropped", "local", "store_full"]),
        ("drop_newest", ["not_stored", "store_full", ""]),
    ] {
        let store = format!("\n[store]\nquota = \"1MiB\"\nwhen_full = \"{when_full}\"\n");
        let config = format!("{CONFIG}{store}");
        let report = rehearsal.report(&config, "12h", &[UDP, outage], MISSED);
        let (fleet, figures) = (&report["fleets"]["weather"], &report["rehearsal"]);
        let dropped = reasons.iter().filter(|key| !key.is_empty());
        let dropped = number(dropped.fold(figures, |figures, key| &figures[key]));
        let lost = number(&fleet["lost"]);
        assert!(lost > 1000, "{lost}");
        assert_eq!(lost, dropped, "{when_full}: {figures:#}");
        assert_eq!(number(&fleet["arrived"]) + lost, number(&fleet["sent"]));
        assert!(number(&figures["largest_store_bytes"]) <= 1 << 20);
    }
}

#[test]
fn a_kill_every_hour_loses_nothing_that_was_accepted() {
    let rehearsal = Rehearsal::new("kills");
    let kills = "[[faults]]\nname = \"kill\"\nat = \"30m\"\nfor = \"10s\"\nevery = \"1h\"\n\
                 on = \"gateway\"\nkill = true\n\
                 [[faults]]\nname = \"away\"\nat = \"2h\"\nfor = \"2h\"\non = \"target.mqtt\"\n\
                 partition = true\n";
    let report = rehearsal.report(CONFIG, "6h", &[UDP, COAP, TCP, SERIAL, kills], OK);
    assert_eq!(number(&report["rehearsal"]["starts"]), 7);
    for fleet in ["weather", "nodes", "pumps", "meter"] {
        let fleet = &report["fleets"][fleet];
        assert!(number(&fleet["arrived"]) > 500, "{fleet:#}");
        assert_eq!((number(&fleet["lost"]), number(&fleet["wrong_value"])), (0, 0), "{fleet:#}");
    }
    assert!(number(&report["fleets"]["weather"]["injured"]) > 0, "sent to nobody");
}

#[test]
fn nodes_on_a_lossy_radio_send_again_and_nothing_is_stored_twice() {
    let rehearsal = Rehearsal::new("radio");
    let radio = "[[faults]]\nname = \"radio\"\nat = \"10m\"\non = \"nodes\"\nloss = \"20%\"\n\
                 duplicate = \"10%\"\ndelay = { mean = \"80ms\", p99 = \"900ms\" }\n\
                 [[faults]]\nname = \"air\"\nat = \"10m\"\non = \"weather\"\nloss = \"5%\"\n";
    let report = rehearsal.report(CONFIG, "2h", &[COAP, UDP, radio], OK);
    let (nodes, weather) = (&report["fleets"]["nodes"], &report["fleets"]["weather"]);
    assert_eq!((number(&nodes["lost"]), number(&nodes["duplicates"])), (0, 0));
    // Five transmissions of request and answer, each of which 4 of 5 survive (RFC 7252 §4.2).
    assert!(number(&nodes["unanswered"]) * 50 < number(&nodes["sent"]), "{nodes:#}");
    let (sent, injured) = (number(&weather["sent"]), number(&weather["injured"]));
    assert!((sent / 40..sent / 12).contains(&injured), "{injured} of {sent}");
    assert_eq!(number(&weather["lost"]), 0, "{weather:#}");
}

#[test]
fn a_broker_that_swallows_acknowledgements_gets_readings_again() {
    let rehearsal = Rehearsal::new("pubacks");
    let faults = "[[faults]]\nname = \"deaf\"\nat = \"10m\"\nfor = \"30m\"\non = \"target.mqtt\"\n\
                  broker = \"drop-pubacks 50\"\n\
                  [[faults]]\nname = \"slow\"\nat = \"1h\"\nfor = \"30m\"\non = \"target.mqtt\"\n\
                  delay = \"2s\"\n";
    let report = rehearsal.report(CONFIG, "2h", &[COAP, faults], OK);
    let nodes = &report["fleets"]["nodes"];
    assert!(number(&nodes["duplicates"]) > 0, "{nodes:#}");
    assert_eq!(number(&nodes["lost"]), 0);
    let phases = report["phases"].as_array().expect("phases");
    let slow = phases.iter().find(|phase| phase["name"] == "slow").expect("a phase");
    let p50 = number(&slow["latency"]["p50_us"]);
    assert!((1_900_000..4_200_000).contains(&p50), "{p50}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let rehearsal = Rehearsal::new("seeds");
    let faults = "[[faults]]\nname = \"radio\"\nat = \"5m\"\nfor = \"30m\"\non = \"nodes\"\n\
                  loss = \"20%\"\ndelay = { mean = \"80ms\", p99 = \"900ms\" }\n\
                  [[faults]]\nname = \"kill\"\nat = \"7m\"\nfor = \"3s\"\nevery = \"11m\"\n\
                  on = \"gateway\"\nkill = true\n\
                  [[faults]]\nname = \"away\"\nat = \"20m\"\nfor = \"25m\"\non = \"target.mqtt\"\n\
                  partition = true\n";
    let parts = [COAP, UDP, TCP, SERIAL, faults];
    let play = |arguments: &[&str]| {
        let arguments = [&["--json"], arguments].concat();
        rehearsal.play(CONFIG, "90m", &parts, &arguments).stdout
    };
    let first = play(&[]);
    assert!(first.len() > 1000);
    assert!(first == play(&[]), "two runs differ");
    assert!(first != play(&["--seed", "8"]), "the seed changes nothing");
}

#[test]
fn a_route_that_takes_nothing_is_found() {
    let rehearsal = Rehearsal::new("route");
    let config = CONFIG.replace("[routes.all]", "[routes.all]\nname = \"humidity\"");
    let report = rehearsal.report(&config, "10m", &[COAP, UDP], MISSED);
    let total = |key: &str| {
        let fleets = ["nodes", "weather"].map(|name| number(&report["fleets"][name][key]));
        fleets.iter().sum::<u64>()
    };
    assert!(total("sent") > 0);
    assert_eq!((total("lost"), total("arrived")), (total("sent"), 0));
    assert_eq!(number(&report["rehearsal"]["not_stored"]["unrouted"]), total("sent"));
}

#[test]
fn what_does_not_fit_together_is_told_at_once() {
    let rehearsal = Rehearsal::new("misfits");
    let mqtt = "[fleets.cloud]\ncount = 1\nvia = \"mqtt\"\nevery = \"1m\"\npayload = { temp = \"temp\" }\n";
    let config = CONFIG.replace(":7000", ":7009");
    fs::write(
        rehearsal.folder.join("whole.toml"),
        format!("duration = \"10m\"{HEAD}{UDP}{TCP}{mqtt}"),
    )
    .expect("written");
    fs::write(rehearsal.folder.join("gateway.toml"), config).expect("written");
    let output = Command::new("timeout")
        .args(WATCHDOG)
        .args([GATEWAY, "rehearse", "-c", "gateway.toml", "whole.toml"])
        .current_dir(&rehearsal.folder)
        .output()
        .expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (BAD_CONFIG, 0), "{stderr}");
    for part in [
        "fleet `weather` sends to `target.udp` = localhost:7000, where no udp source",
        "there is `weather` at 0.0.0.0:7009",
        "fleet `cloud` speaks mqtt, which a rehearsal cannot play",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

#[test]
fn the_report_is_for_people_and_in_a_folder_and_replays() {
    let rehearsal = Rehearsal::new("report");
    let folder = rehearsal.folder.join("out");
    let config = CONFIG.replace("[routes.all]", "[routes.all]\nname = \"humidity\"");
    let arguments = ["--report", folder.to_str().expect("UTF-8")];
    let output = rehearsal.play(&config, "10m", &[UDP], &arguments);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), MISSED, "{stdout}");
    for part in ["weather feeds", "source weather", "not stored, unrouted", "gateway rehearse -c "]
    {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    for file in ["report.json", "junit.xml", "report.html"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let page = fs::read_to_string(folder.join("report.html")).expect("a page");
    assert!(page.contains("not stored, unrouted"));
    let only = rehearsal.play(&config, "10m", &[UDP], &["--json", "--only", "weather-3"]);
    let report: Value = serde_json::from_slice(&only.stdout).expect("a report");
    assert_eq!(number(&report["fleets"]["weather"]["devices"]), 1);
    let nobody = rehearsal.play(&config, "10m", &[UDP], &["--only", "weather-11"]);
    assert_eq!(nobody.status.code(), BAD_CONFIG);
}
