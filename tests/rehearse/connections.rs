//! Devices that connect, and what is done to their connections.

use super::{BAD_CONFIG, CONFIG, HEAD, OK, Rehearsal, TCP, number};

const COAP_TCP: &str = r#"
[fleets.nodes]
count = 5
via = "coap+tcp"
every = "1m"
payload = { temp = "temp" }
"#;

const HTTP: &str = r#"
[fleets.loggers]
count = 5
via = "http"
every = "1m"
payload = { format = "senml-json", temp = "temp" }
"#;

/// The configuration and the head of a scenario with a source for each.
fn surroundings() -> (String, String) {
    let config = CONFIG.replace("type = \"coap\"", "type = \"coap\", tcp = [\"0.0.0.0:5683\"]")
        + "[sources.web]\nlink = { type = \"http\", bind = \"0.0.0.0:8080\" }\n";
    let targets = "coap-tcp = \"localhost:5683\"\nhttp = \"localhost:8080\"\ncoap =";
    let head = HEAD.replace("coap =", targets);
    assert!(config != CONFIG && head != HEAD);
    (config, head)
}

/// The fleets that connect, by name.
const FLEETS: [(&str, &str); 3] = [("pumps", TCP), ("nodes", COAP_TCP), ("loggers", HTTP)];

#[test]
fn readings_over_connections_arrive_and_are_acknowledged() {
    let rehearsal = Rehearsal::new("connected");
    let (config, head) = surroundings();
    for (name, fleet) in FLEETS {
        let report = rehearsal.report_of(&config, "1h", &head, &[fleet], OK);
        let fleet = &report["fleets"][name];
        assert_eq!(number(&fleet["sent"]), 300, "{name}: {fleet:#}");
        for key in ["acknowledged", "arrived"] {
            assert_eq!(number(&fleet[key]), 300, "{name}: {key}");
        }
        assert_eq!(
            report["rehearsal"]["refused"].as_object().map_or(9, |of| of.len()),
            0,
            "{report:#}"
        );
    }
}

#[test]
fn devices_that_come_and_go_connect_again() {
    let rehearsal = Rehearsal::new("churn");
    let (config, head) = surroundings();
    for (name, fleet) in FLEETS {
        let fleet = format!("{fleet}churn = {{ up = \"10m\", down = \"5m\" }}\n");
        let report = rehearsal.report_of(&config, "6h", &head, &[&fleet], OK);
        let fleet = &report["fleets"][name];
        let sent = number(&fleet["sent"]);
        // Two thirds of the time.
        assert!((1000..1400).contains(&sent), "{name}: {sent}");
        assert_eq!(number(&fleet["arrived"]), sent, "{name}");
        let phases = report["phases"].as_array().expect("phases");
        let quiet = phases.iter().find(|phase| phase["name"] == "quiet").expect("a phase");
        // The first report after an absence waits for the new connection.
        let longest = number(&quiet["latency"]["max_us"]);
        assert!((100_000..103_000).contains(&longest), "{name}: {quiet:#}");
    }
}

#[test]
fn more_clients_than_there_may_be_are_turned_away_and_counted() {
    let rehearsal = Rehearsal::new("too-many");
    let config = CONFIG.replace("reply = true", "reply = true, max_clients = 3");
    let report = rehearsal.report(&config, "10m", &[TCP], OK);
    let pumps = &report["fleets"]["pumps"];
    // Who is turned away has lost what it had written by then.
    assert_eq!((number(&pumps["arrived"]), number(&pumps["unanswered"])), (30, 20), "{pumps:#}");
    let refused = &report["rehearsal"]["refused"]["pumps"]["too_many_clients"];
    // Two devices, every two seconds in the end.
    assert!((550..=620).contains(&number(refused)), "{refused}");
}

#[test]
fn connections_that_are_cut_are_made_again_and_nothing_acknowledged_is_lost() {
    let rehearsal = Rehearsal::new("cut");
    let (config, head) = surroundings();
    for (name, fleet) in FLEETS {
        let faults = format!(
            "[[faults]]\nname = \"slow\"\nat = \"5m\"\nfor = \"40m\"\non = \"{name}\"\n\
             delay = {{ mean = \"20s\", p99 = \"40s\" }}\n\
             [[faults]]\nname = \"reset\"\nat = \"10m\"\nevery = \"2m\"\non = \"{name}\"\ncut = true\n"
        );
        let report = rehearsal.report_of(&config, "1h", &head, &[fleet, &faults], OK);
        let fleet = &report["fleets"][name];
        let (sent, unanswered) = (number(&fleet["sent"]), number(&fleet["unanswered"]));
        assert!((5..220).contains(&unanswered), "{name}: {fleet:#}");
        assert_eq!(number(&fleet["acknowledged"]) + unanswered, sent, "{name}");
        assert_eq!((number(&fleet["lost"]), number(&fleet["wrong_value"])), (0, 0), "{name}");
        assert!(number(&fleet["arrived"]) < sent, "{name}: what was on its way is gone");
    }
}

#[test]
fn who_is_refused_sends_late_and_who_is_parted_is_not_heard_until_then() {
    let rehearsal = Rehearsal::new("refuse");
    let (config, head) = surroundings();
    for (name, fleet) in FLEETS {
        for (fault, name_of_fault) in [("refuse = true", "refused"), ("partition = true", "parted")]
        {
            let faults = format!(
                "[[faults]]\nname = \"reset\"\nat = \"10m\"\non = \"{name}\"\ncut = true\n\
                 [[faults]]\nname = \"{name_of_fault}\"\nat = \"10m\"\nfor = \"2m30s\"\non = \"{name}\"\n{fault}\n"
            );
            let report = rehearsal.report_of(&config, "30m", &head, &[fleet, &faults], OK);
            let fleet = &report["fleets"][name];
            let unanswered = number(&fleet["unanswered"]);
            assert_eq!(number(&fleet["arrived"]) + unanswered, number(&fleet["sent"]), "{fleet:#}");
            // Who posts does not wait for long, and does not post again.
            let gives_up = name == "loggers" && name_of_fault == "parted";
            assert_eq!(unanswered > 0, gives_up, "{name} {fault}: {fleet:#}");
            if gives_up {
                continue;
            }
            let phases = report["phases"].as_array().expect("phases");
            let phase =
                phases.iter().find(|phase| phase["name"] == name_of_fault).expect("a phase");
            let longest = number(&phase["latency"]["max_us"]) / 1_000_000;
            assert!((60..=153).contains(&longest), "{name} {fault}: {phase:#}");
        }
    }
}

#[test]
fn a_narrow_way_makes_bytes_of_connections_late() {
    let rehearsal = Rehearsal::new("narrow");
    let (config, head) = surroundings();
    for (name, fleet) in FLEETS {
        let faults = format!(
            "[[faults]]\nname = \"narrow\"\nat = \"1m\"\non = \"{name}\"\nbandwidth = \"800 bit/s\"\n"
        );
        let report = rehearsal.report_of(&config, "30m", &head, &[fleet, &faults], OK);
        let phases = report["phases"].as_array().expect("phases");
        let narrow = phases.iter().find(|phase| phase["name"] == "narrow").expect("a phase");
        // 100 bytes a second, for 50 to 200 of them.
        let p50 = number(&narrow["latency"]["p50_us"]);
        assert!((400_000..4_000_000).contains(&p50), "{name}: {narrow:#}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_of_what_connects() {
    let rehearsal = Rehearsal::new("connected-seeds");
    let (config, head) = surroundings();
    for (name, fleet) in FLEETS {
        let faults = format!(
            "[[faults]]\nname = \"slow\"\nat = \"5m\"\nfor = \"40m\"\non = \"{name}\"\n\
             delay = {{ mean = \"1s\", p99 = \"9s\" }}\ncorrupt = \"5%\"\n\
             [[faults]]\nname = \"reset\"\nat = \"10m\"\nevery = \"2m\"\non = \"{name}\"\ncut = true\n\
             [[faults]]\nname = \"kill\"\nat = \"7m\"\nfor = \"3s\"\nevery = \"11m\"\non = \"gateway\"\n\
             kill = true\n"
        );
        let play = |arguments: &[&str]| {
            let arguments = [&["--json"], arguments].concat();
            let output = rehearsal.play_of(&config, "50m", &head, &[fleet, &faults], &arguments);
            assert_ne!(output.status.code(), BAD_CONFIG);
            output.stdout
        };
        let first = play(&[]);
        assert!(first.len() > 1000);
        assert!(first == play(&[]), "{name}: two runs differ");
        assert!(first != play(&["--seed", "8"]), "{name}: the seed changes nothing");
    }
}
