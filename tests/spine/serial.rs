//! Serial ports, as pseudo-terminals that socat joins.

use serde_json::json;

use crate::harness::clock::{pace, wait_for, wait_until};
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::{program, run};
use crate::harness::serial::Cable;

/// NMEA 0183: the usual example of a GGA sentence, whose checksum 47 is right.
const GGA: &str = "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n";
/// A message as in the documentation of rtl_433, "rtl_433 over syslog UDP", without the header.
const RTL_433: &str = "{\"time\":\"2019-08-29 08:38:19\",\"model\":\"Nexus-TH\",\"id\":42,\"channel\":2,\"battery_ok\":1,\"temperature_C\":20.5,\"humidity\":83}\n";

#[test]
fn lines_of_three_kinds_of_devices_arrive() {
    let mut cables = [(); 3].map(|()| Cable::new());
    let ports = cables.each_ref().map(|cable| cable.port().display().to_string());
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = Gateway::start(&format!(
        r#"
[sources.gps]
device = "gps-1"
link = {{ type = "serial", path = "{}" }}
decode = {{ type = "csv", columns = ["_", "utc", "lat", "_", "lon", "_", "fix", "satellites", "hdop", "altitude", "_", "_", "_", "_", "_"] }}
[sources.radio]
link = {{ type = "serial", path = "{}", baud = 115200 }}
decode = {{ type = "json", device = "model" }}
[sources.pairs]
link = {{ type = "serial", path = "{}" }}
decode = {{ type = "keyvalue", device = "id", seq = "n" }}
{}
[routes.all]
topic = "site/{{source}}/{{device}}/{{name}}"
"#,
        ports[0],
        ports[1],
        ports[2],
        mosquitto.table("local")
    ));
    for source in ["gps", "radio", "pairs"] {
        let pointer = format!("/sources/{source}/up");
        wait_until("an open port", || gateway.status().pointer(&pointer) == Some(&json!(true)));
    }
    // What was under way when the port was opened ends here.
    cables.iter_mut().for_each(|cable| cable.send(b"\n"));
    cables[0].send(GGA.as_bytes());
    cables[1].send(RTL_433.as_bytes());
    // In two pieces, as a slow line brings them.
    cables[2].send(b"id=th-1 n=17 t=2");
    cables[2].send(b"1.50 h=40\n");

    for (name, value) in [
        ("utc", json!(123519)),
        ("lat", json!(4807.038)),
        ("lon", json!(1131.0)),
        ("fix", json!(1)),
        ("satellites", json!(8)),
        ("hdop", json!(0.9)),
        ("altitude", json!(545.4)),
    ] {
        let expected = json!({"gateway": "gw", "device": "gps-1", "name": name, "value": value});
        all.expect(&format!("site/gps/gps-1/{name}"), &expected);
    }
    for (name, value) in
        [("temperature_C", json!(20.5)), ("humidity", json!(83)), ("id", json!(42))]
    {
        let expected = json!({"gateway": "gw", "device": "Nexus-TH", "name": name, "value": value});
        all.expect(&format!("site/radio/Nexus-TH/{name}"), &expected);
    }
    for (name, value) in [("t", json!(21.5)), ("h", json!(40))] {
        let expected =
            json!({"gateway": "gw", "device": "th-1", "name": name, "value": value, "seq": 17});
        all.expect(&format!("site/pairs/th-1/{name}"), &expected);
    }
}

#[test]
fn a_port_that_was_unplugged_is_opened_again() {
    const TIMES: usize = 3;
    let mut cable = Cable::new();
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = Gateway::start(&format!(
        "[sources.line]\nlink = {{ type = \"serial\", path = \"{}\" }}\n\
         decode = {{ type = \"keyvalue\", device = \"id\" }}\n{}\
         [routes.all]\ntopic = \"site/{{device}}/{{name}}\"\n",
        cable.port().display(),
        mosquitto.table("local")
    ));
    let is_up = || gateway.status().pointer("/sources/line/up") == Some(&json!(true));
    wait_until("the port to be open", is_up);
    for time in 0..TIMES {
        // And half a line, which must not become a whole one with what follows.
        cable.send(format!("\nid=th-1 t{time}=21\nid=th-1 half=1").as_bytes());
        let expected =
            json!({"gateway": "gw", "device": "th-1", "name": format!("t{time}"), "value": 21});
        all.expect(&format!("site/th-1/t{time}"), &expected);
        cable.unplug();
        wait_until("the loss to be noticed", || !is_up());
        cable.plug();
        wait_until("the port to be open again", is_up);
    }
    cable.send(b"\nid=th-1 last=1\n");
    all.first("site/th-1/last");
    assert!(all.at("site/th-1/half").is_empty(), "half a line was taken for a whole one");
    assert_eq!(gateway.count("/sources/line/refused/unterminated/count"), TIMES as u64);
    assert_eq!(gateway.count("/sources/line/reconnects"), TIMES as u64);
}

#[test]
fn a_port_that_is_unplugged_while_traffic_flows_gives_no_wrong_reading() {
    const TIMES: u32 = 5;
    let mut cable = Cable::new();
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = Gateway::start(&format!(
        "[sources.line]\ndevice = \"d\"\nlink = {{ type = \"serial\", path = \"{}\", baud = 115200 }}\n\
         decode = {{ type = \"value\", name = \"v\" }}\n{}\
         [routes.all]\ntopic = \"site/{{name}}\"\npayload = \"value\"\n",
        cable.port().display(),
        mosquitto.table("local")
    ));
    let up = || gateway.status()["sources"]["line"]["up"] == true;
    let mut sent = 0;
    for time in 0..TIMES {
        // A device that has been sending all the time: what is heard first is the end of a line.
        cable.send(b"00\n");
        let seen = all.at("site/v").len();
        while all.at("site/v").len() < seen + 20 {
            sent += 1;
            cable.send(format!("{}\n", 100_000 + sent).as_bytes());
            pace();
        }
        cable.send(b"12345");
        let before = gateway.count("/sources/line/reconnects");
        cable.unplug();
        cable.plug();
        wait_until("the port to be opened again", || {
            gateway.count("/sources/line/reconnects") > before && up()
        });
        assert_eq!(before, u64::from(time));
    }
    for message in all.at("site/v") {
        let number: u32 = message.text().parse().unwrap();
        assert!((100_001..=100_000 + sent).contains(&number), "{number}");
    }
    // Whether half a line still comes through is up to socat.
    assert!(gateway.count("/sources/line/refused/unterminated/count") > 0);
    assert!(gateway.count("/sources/line/refused/resync/count") >= u64::from(TIMES));
    let held = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().filter(|entry| {
        let target = entry.as_ref().ok().and_then(|entry| std::fs::read_link(entry.path()).ok());
        target.is_some_and(|target| target.starts_with("/dev/pts"))
    });
    assert_eq!(held.count(), 1, "descriptors of ports that are gone");
}

#[test]
fn a_port_is_set_up_as_configured_and_kept_from_others() {
    let cable = Cable::new();
    let source = |name: &str, rest: &str| {
        format!(
            "[sources.{name}]\nlink = {{ type = \"serial\", path = \"{}\", {rest} }}\n\
             decode = {{ type = \"value\", name = \"v\" }}\n\
             [brokers.b]\nurl = \"mqtt://127.0.0.1:1\"\n[routes.all]\n",
            cable.port().display()
        )
    };
    let why = |gateway: &Gateway, name: &str| {
        wait_for("the reason", || {
            let status = gateway.status();
            let last = &status["sources"][name]["refused"]["not_opened"]["last"];
            last.as_str().map(str::to_owned)
        })
    };
    // Pseudo-terminals have no parity and always eight bits.
    let first = Gateway::start(&source("x", "baud = 57600, stop_bits = 2"));
    wait_until("the port to be open", || first.status()["sources"]["x"]["up"] == true);
    let mut stty = program("stty", "coreutils");
    let settings = run(stty.args(["--all", "--file"]).arg(cable.port()));
    let settings = String::from_utf8(settings.stdout).unwrap();
    for setting in [
        "speed 57600 baud",
        " cs8",
        " cstopb",
        "-hupcl",
        " clocal",
        "-icanon",
        "-echo ",
        "-crtscts",
    ] {
        assert!(settings.contains(setting), "{setting} in {settings}");
    }
    let second = Gateway::start(&source("y", "baud = 57600"));
    let reason = why(&second, "y");
    assert!(reason.contains("another program has it open"), "{reason}");
    drop((first, second));
    // A pseudo-terminal has no transmitter to switch.
    let third = Gateway::start(&source("z", "rs485 = {}"));
    let reason = why(&third, "z");
    assert!(reason.contains("cannot switch RS-485"), "{reason}");
}

#[test]
fn what_is_no_serial_port_is_told() {
    let gateway = Gateway::start(
        "[sources.x]\nlink = { type = \"serial\", path = \"{dir}/gateway.toml\" }\n\
         decode = { type = \"value\", name = \"v\" }\n\
         [brokers.b]\nurl = \"mqtt://127.0.0.1:1\"\n[routes.all]\n",
    );
    wait_until("the reason", || {
        let status = gateway.status();
        let last = &status["sources"]["x"]["refused"]["not_opened"]["last"];
        last.as_str().is_some_and(|last| last.contains("not a serial port"))
    });
}

#[test]
fn what_a_device_says_while_it_starts_is_thrown_away() {
    let mut cable = Cable::new();
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    // As an Arduino does after it was reset by the opening.
    cable.send(b"1\n");
    let gateway = Gateway::start(&format!(
        "[sources.line]\ndevice = \"d\"\n\
         link = {{ type = \"serial\", path = \"{}\", open_delay = \"500ms\" }}\n\
         decode = {{ type = \"value\", name = \"v\" }}\n{}\
         [routes.all]\ntopic = \"site/{{name}}\"\npayload = \"value\"\n",
        cable.port().display(),
        mosquitto.table("local")
    ));
    wait_until("the port to be open", || gateway.status()["sources"]["line"]["up"] == true);
    // Sent until one is heard; those of the delay are not.
    while all.at("site/v").is_empty() {
        cable.send(b"22\n");
        pace();
    }
    assert_eq!(all.first("site/v").text(), "22");
}
