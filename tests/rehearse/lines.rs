//! Serial lines, and nodes of the link protocol over whatever carries it.

use super::{BAD_CONFIG, CONFIG, HEAD, OK, Rehearsal, SERIAL, number};

/// The configuration and the head of a scenario with a source for each carrier.
fn surroundings() -> (String, String) {
    let source = |name: &str, link: &str| {
        format!("[sources.{name}]\nlink = {{ {link} }}\ndecode = {{ type = \"link\" }}\n")
    };
    let sources = [
        source("air", "type = \"udp\", bind = \"0.0.0.0:7010\""),
        source("wire", "type = \"tcp\", bind = \"0.0.0.0:7011\""),
        source("board", "type = \"serial\", path = \"/dev/ttyACM0\""),
    ];
    let targets = "link-udp = \"localhost:7010\"\nlink-tcp = \"localhost:7011\"\n\
                   link-serial = \"pty:/dev/ttyACM0\"\n";
    let head = HEAD.replace("[gateway]", &format!("{targets}[gateway]"));
    assert_ne!(head, HEAD);
    (format!("{CONFIG}{}", sources.concat()), head)
}

/// Nodes that speak `via`, which the gateway calls by their numbers.
fn nodes(via: &str) -> String {
    let count = if via == "link-serial" { 1 } else { 5 };
    format!(
        "[fleets.nodes]\ncount = {count}\nid = \"{{n}}\"\nvia = \"{via}\"\nevery = \"10s\"\n\
         payload = {{ temp = \"temp\" }}\n"
    )
}

const CARRIERS: [&str; 3] = ["link-udp", "link-tcp", "link-serial"];

#[test]
fn a_port_that_is_unplugged_takes_with_it_what_is_unread_and_comes_back() {
    let rehearsal = Rehearsal::new("unplug");
    // What comes while the gateway stands still is unread when the port is pulled out.
    let still = "[[faults]]\nname = \"still\"\nat = \"20m\"\nfor = \"10m\"\non = \"gateway\"\n\
                 stop = true\n";
    for (on, unread) in [("meter", ""), ("serial:/dev/ttyUSB0", still)] {
        let unplug = format!(
            "[[faults]]\nname = \"loose\"\nat = \"25m\"\nfor = \"10m\"\non = \"{on}\"\nunplug = true\n"
        );
        let report = rehearsal.report(CONFIG, "1h", &[SERIAL, &unplug, unread], OK);
        let meter = &report["fleets"]["meter"];
        // Two lines a minute.
        let expected = if unread.is_empty() { 20 } else { 30 };
        let injured = number(&meter["injured"]);
        assert!(injured.abs_diff(expected) <= 1, "{on}: {meter:#}");
        assert_eq!(number(&meter["arrived"]) + injured, number(&meter["sent"]), "{on}");
        assert_eq!(number(&meter["wrong_value"]), 0);
    }
}

#[test]
fn nodes_are_acknowledged_and_lose_nothing_over_kills_and_restarts() {
    let rehearsal = Rehearsal::new("link");
    let (config, head) = surroundings();
    let kills = "[[faults]]\nname = \"kill\"\nat = \"5m\"\nfor = \"10s\"\nevery = \"10m\"\n\
                 on = \"gateway\"\nkill = true\n\
                 [[faults]]\nname = \"update\"\nat = \"7m\"\nevery = \"10m\"\non = \"gateway\"\n\
                 restart = true\n";
    for via in CARRIERS {
        let fleet = format!("{}reboot = {{ up = \"16m\", down = \"1m\" }}\n", nodes(via));
        let report = rehearsal.report_of(&config, "1h", &head, &[&fleet, kills], OK);
        let nodes = &report["fleets"]["nodes"];
        let sent = number(&nodes["sent"]);
        assert!(sent >= 355, "{via}: {sent}");
        for key in ["acknowledged", "arrived"] {
            assert_eq!(number(&nodes[key]), sent, "{via}: {nodes:#}");
        }
        assert_eq!(number(&nodes["wrong_value"]), 0, "{via}");
    }
}

#[test]
fn nodes_on_a_bad_way_send_again() {
    let rehearsal = Rehearsal::new("link-faults");
    let (config, head) = surroundings();
    for (via, faults) in [
        ("link-udp", "loss = \"20%\"\nduplicate = \"10%\"\ncorrupt = \"5%\"\n"),
        ("link-tcp", "corrupt = \"5%\"\ndelay = { mean = \"80ms\", p99 = \"900ms\" }\n"),
        ("link-tcp", "cut = true\nevery = \"1m\"\n"),
        ("link-serial", "unplug = true\nfor = \"1m\"\nevery = \"5m\"\n"),
    ] {
        let faults = format!("[[faults]]\nname = \"bad\"\nat = \"1m\"\non = \"nodes\"\n{faults}");
        let report = rehearsal.report_of(&config, "1h", &head, &[&nodes(via), &faults], OK);
        let nodes = &report["fleets"]["nodes"];
        assert_eq!(number(&nodes["arrived"]), number(&nodes["sent"]), "{via}: {nodes:#}");
        assert_eq!(number(&nodes["duplicates"]), 0, "{via}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_of_lines_and_nodes() {
    let rehearsal = Rehearsal::new("link-seeds");
    let (config, head) = surroundings();
    let kill = "[[faults]]\nname = \"kill\"\nat = \"7m\"\nfor = \"3s\"\nevery = \"11m\"\n\
                on = \"gateway\"\nkill = true\n";
    for (via, faults) in [
        ("link-udp", "loss = \"20%\"\ndelay = { mean = \"80ms\", p99 = \"900ms\" }\n"),
        ("link-tcp", "corrupt = \"5%\"\ndelay = { mean = \"80ms\", p99 = \"900ms\" }\n"),
        ("link-serial", "unplug = true\nfor = \"1m\"\nevery = \"5m\"\n"),
    ] {
        let faults = format!("[[faults]]\nname = \"bad\"\nat = \"1m\"\non = \"nodes\"\n{faults}");
        let parts = [&nodes(via), SERIAL, kill, &faults];
        let play = |arguments: &[&str]| {
            let arguments = [&["--json"], arguments].concat();
            let output = rehearsal.play_of(&config, "30m", &head, &parts, &arguments);
            assert_ne!(output.status.code(), BAD_CONFIG);
            output.stdout
        };
        let first = play(&[]);
        assert!(first.len() > 1000);
        assert!(first == play(&[]), "{via}: two runs differ");
        assert!(first != play(&["--seed", "8"]), "{via}: the seed changes nothing");
    }
}
