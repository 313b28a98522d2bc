//! Scenarios with faults through the built gateway: what it has acknowledged arrives whatever happens, and
//! what a fault took is known to be taken.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use device_sim::report::{Fleet, Report};

use super::simulated::{play, try_play};
use crate::harness::disk::{SmallDisk, is_in_namespace};
use crate::harness::gateway::Gateway;
use crate::harness::temp::port;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gateway");

/// A configuration whose gateway the run starts, and a scenario with every kind of fleet that it knows.
struct Stage {
    gateway: Gateway,
    ports: [u16; 3],
}

impl Stage {
    fn new() -> Self {
        Self::with("")
    }

    /// The same, with more in its configuration.
    fn with(more: &str) -> Self {
        let ports = [port(), port(), port()];
        let [coap, udp, tcp] = ports;
        let decode = "device = \"device\", time = \"at\", time_unit = \"ms\", epoch = \"epoch\", seq = \"seq\"";
        let config = format!(
            r#"
{more}
[sources.nodes]
link = {{ type = "coap", bind = ["127.0.0.1:{coap}"] }}
[sources.weather]
link = {{ type = "udp", bind = "127.0.0.1:{udp}" }}
decode = {{ type = "json", {decode} }}
[sources.pumps]
link = {{ type = "tcp", bind = "127.0.0.1:{tcp}", reply = true }}
decode = {{ type = "json", {decode} }}
[sources.line]
link = {{ type = "serial", path = "{{dir}}/run/line" }}
decode = {{ type = "json", {decode} }}
[brokers.local]
url = "mqtt://127.0.0.1:1"
[routes.all]
topic = "site/{{device}}/{{name}}"
payload = "json"
"#
        );
        Self { gateway: Gateway::new(&config), ports }
    }

    /// The report of the scenario with these fleets and faults.
    fn play(&self, more: &str) -> Report {
        play(&self.scenario(PROGRAM, more), Duration::from_secs(6), &[])
    }

    fn scenario(&self, program: &str, more: &str) -> std::path::PathBuf {
        let [coap, udp, tcp] = self.ports;
        let path = self.gateway.dir().join("scenario.toml");
        let text = format!(
            r#"
version = 1
name = "faulty"
seed = 3
duration = "6s"
[target]
mqtt = "built-in"
coap = "127.0.0.1:{coap}"
udp = "127.0.0.1:{udp}"
tcp = "127.0.0.1:{tcp}"
serial = "pty:run/line"
[gateway]
config = "gateway.toml"
program = "{program}"
broker = "local"
[signals.temp]
type = "walk"
start = 20
step = 1
min = 0
max = 40
[verify]
topic = "site/+/+"
settle = "30s"
{more}"#
        );
        fs::write(&path, text).unwrap();
        path
    }
}

fn fleet(name: &str, via: &str) -> String {
    format!(
        "[fleets.{name}]\ncount = 3\nvia = \"{via}\"\nevery = \"100ms\"\n\
         payload = {{ format = \"json\", temp = \"temp\" }}\n"
    )
}

fn fault(name: &str, on: &str, at: &str, what: &str) -> String {
    format!("[[faults]]\nname = \"{name}\"\non = \"{on}\"\nat = \"{at}\"\n{what}\n")
}

fn coap() -> String {
    fleet("bench", "coap").replace("json", "senml-cbor")
}

/// The disk that the gateway's state is on has no room for three seconds.
fn full_disk() -> String {
    fault("disk full", "gateway", "1500ms", "for = \"3s\"\ndisk_full = true\nfree = \"8KiB\"")
}

fn assert_nothing_lost(report: &Report) {
    assert!(report.passed, "{:#?}\n{:#?}", report.outcomes, report.examples);
    let total = report.total();
    assert!(total.lost == 0 && total.wrong_value == 0 && report.unknown == 0, "{total:#?}");
    assert!(total.arrived > 50, "{total:#?}");
}

#[test]
fn a_refusing_broker_and_a_killed_gateway_lose_nothing() {
    let stage = Stage::new();
    let report = stage.play(
        &[
            coap(),
            fleet("pumps", "tcp"),
            fault("broker away", "target.mqtt", "1s", "for = \"3s\"\nrefuse = true"),
            fault("broker cut", "target.mqtt", "1s", "cut = true"),
            fault("killed", "gateway", "2s", "for = \"500ms\"\nkill = true"),
            fault("stubborn", "target.mqtt", "4s", "for = \"1s\"\nbroker = \"drop-pubacks 3\""),
        ]
        .concat(),
    );
    assert_nothing_lost(&report);
    let phases: Vec<_> = report.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(phases, ["quiet", "broker cut", "broker away", "killed", "stubborn"]);
    let took = report.wall.as_ref().and_then(|wall| wall.gateway).unwrap();
    assert!(took.max_rss_bytes > 1 << 20 && took.cpu_us > 0, "{took:?}");
}

#[test]
fn a_gateway_that_stands_still_restarts_or_whose_clock_jumps_loses_nothing() {
    let stage = Stage::new();
    let report = stage.play(
        &[
            coap(),
            fleet("pumps", "tcp"),
            fault("still", "gateway", "1s", "for = \"1s\"\nstop = true"),
            fault("restart", "gateway", "3s", "restart = true"),
            fault("clock", "gateway", "4s", "clock_step = \"1h\""),
        ]
        .concat(),
    );
    assert_nothing_lost(&report);
    // What was due at the beginning of the stand-still waited for its end.
    let still = report.phases.iter().find(|phase| phase.name == "still").unwrap();
    assert!(still.latency.max_us > 800_000, "{:?}", still.latency);
}

#[test]
fn datagrams_that_a_fault_took_are_injured_and_not_lost() {
    let stage = Stage::new();
    let report = stage.play(
        &[
            fleet("weather", "udp"),
            coap(),
            fault("lossy", "weather", "1s", "for = \"2s\"\nloss = \"50%\""),
            fault("parted", "weather", "4s", "for = \"1s\"\npartition = true"),
            fault("bad radio", "bench", "1s", "for = \"3s\"\nloss = \"20%\"\nduplicate = \"10%\""),
        ]
        .concat(),
    );
    assert_nothing_lost(&report);
    let Fleet { sent, injured, arrived, .. } = &report.fleets["weather"];
    // Half of 60 and all of 30 on a machine that is in time.
    assert!(*injured > 0 && *arrived > 0, "{injured} of {sent}, {arrived} arrived");
    assert_eq!(*arrived, sent - injured);
    assert_eq!(report.fleets["bench"].injured, 0);
}

#[test]
fn a_serial_port_comes_back_and_takes_with_it_what_nobody_has_read() {
    let stage = Stage::new();
    let line = fleet("line", "serial").replace("count = 3", "count = 1");
    let unplugged = "for = \"1s\"\nunplug = true";
    let report = stage.play(
        &[
            line,
            fleet("pumps", "tcp"),
            fault("unplugged", "line", "1500ms", unplugged),
            fault("again", "serial:run/line", "4s", unplugged),
        ]
        .concat(),
    );
    assert_nothing_lost(&report);
    let Fleet { sent, injured, arrived, .. } = &report.fleets["line"];
    // How many depends on when the gateway looks for its port again.
    assert!(*injured > 0 && *arrived > 0, "{injured} of {sent}, {arrived} arrived");
    assert_eq!(*arrived, sent - injured);
}

#[test]
fn a_full_disk_refuses_recovers_and_loses_nothing_that_was_acknowledged() {
    if !is_in_namespace(
        "faulty::a_full_disk_refuses_recovers_and_loses_nothing_that_was_acknowledged",
    ) {
        return;
    }
    let stage = Stage::with("[store]\nquota = \"16MiB\"\nmin_free = 0\n");
    let state = stage.gateway.dir().join("state");
    let Some(disk) = SmallDisk::mount(state, 16) else { return };
    let more = [
        coap(),
        fleet("pumps", "tcp"),
        full_disk(),
        // Deliveries would make room in the store's own file.
        fault("broker away", "target.mqtt", "1s", "for = \"3s\"\nrefuse = true\n"),
        fault("broker cut", "target.mqtt", "1s", "cut = true"),
        "[thresholds]\nlost = 0\nwrong_value = 0\nrefused = \"> 0\"\nunanswered = \"<= 100%\""
            .to_owned(),
    ];
    let report = stage.play(&more.concat());
    assert_nothing_lost(&report);
    // What was refused was refused while there was no room, and afterwards all goes on.
    let full = report.phases.iter().find(|phase| phase.name == "disk full").unwrap();
    let total = report.total();
    let last = report.series.windows().filter(|window| window.acknowledged > 0).count();
    assert!(full.spans.len() == 1 && total.refused > 0 && last > 2, "{total:#?}");
    assert!(report.recoveries.iter().all(|recovery| recovery.took().is_some()));
    assert!(disk.free() > 1 << 20, "the room is there again: {}", disk.free());
}

#[test]
fn a_disk_that_others_use_is_not_filled() {
    let stage = Stage::new();
    let scenario = stage.scenario(PROGRAM, &[coap(), full_disk()].concat());
    let error = try_play(&scenario, Duration::from_secs(6), &[]).unwrap_err();
    let text = error.to_string();
    assert!(error.is_unreachable() && text.contains("mount -t tmpfs"), "{text}");
    assert!(!stage.gateway.dir().join("state").exists(), "the gateway was not started");
}

#[test]
fn a_crash_that_nobody_ordered_fails_the_run_with_the_end_of_the_log() {
    let stage = Stage::new();
    let program = stage.gateway.dir().join("crashing");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = status ] && exec {PROGRAM} \"$@\"\n\
         {PROGRAM} \"$@\" &\nsleep 2\nkill -9 $!\nwait\necho 'the end of it all' >&2\nexit 7\n"
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let scenario = stage.scenario(&program.display().to_string(), &coap());
    let error = try_play(&scenario, Duration::from_secs(20), &[]).unwrap_err();
    let text = error.to_string();
    assert!(!error.is_unreachable(), "{text}");
    assert!(text.contains("exit status: 7") && text.ends_with("the end of it all"), "{text}");
}
