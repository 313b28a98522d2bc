//! What is done to the gateway, its store and its brokers.

use super::{COAP, CONFIG, HEAD, MISSED, OK, Rehearsal, SERIAL, TCP, UDP, number};

#[test]
fn a_gateway_that_stands_still_reads_what_came_meanwhile() {
    let rehearsal = Rehearsal::new("stop");
    let stop = "[[faults]]\nname = \"still\"\nat = \"10m\"\nfor = \"5m\"\non = \"gateway\"\n\
                stop = true\n";
    let report = rehearsal.report(CONFIG, "1h", &[UDP, TCP, SERIAL, stop], OK);
    assert_eq!(number(&report["rehearsal"]["starts"]), 1);
    for fleet in ["weather", "pumps", "meter"] {
        let fleet = &report["fleets"][fleet];
        assert_eq!(number(&fleet["arrived"]), number(&fleet["sent"]), "{fleet:#}");
        assert_eq!(number(&fleet["injured"]), 0, "{fleet:#}");
    }
    let phases = report["phases"].as_array().expect("phases");
    let still = phases.iter().find(|phase| phase["name"] == "still").expect("a phase");
    let longest = number(&still["latency"]["max_us"]);
    assert!((240_000_000..=300_000_000).contains(&longest), "{longest}");
}

#[test]
fn a_gateway_that_was_killed_while_it_stood_still_runs_when_it_is_started() {
    let rehearsal = Rehearsal::new("stop-kill");
    let faults = "[[faults]]\nname = \"still\"\nat = \"10m\"\nfor = \"30m\"\non = \"gateway\"\n\
                  stop = true\n\
                  [[faults]]\nname = \"dead\"\nat = \"15m\"\nfor = \"1m\"\non = \"gateway\"\n\
                  kill = true\n\
                  [[faults]]\nname = \"dead too\"\nat = \"15m30s\"\nfor = \"2m\"\non = \"gateway\"\n\
                  kill = true\n";
    let report = rehearsal.report(CONFIG, "30m", &[TCP, faults], OK);
    assert_eq!(number(&report["rehearsal"]["starts"]), 2, "it was dead until both had ended");
    let pumps = &report["fleets"]["pumps"];
    // Five devices lose what they had sent to one that stood still, and send the rest late.
    let unanswered = number(&pumps["unanswered"]);
    assert!((20..=30).contains(&unanswered), "{pumps:#}");
    assert_eq!(number(&pumps["arrived"]) + unanswered, number(&pumps["sent"]));
}

#[test]
fn a_restart_answers_what_it_has_taken_and_loses_nothing() {
    let rehearsal = Rehearsal::new("restart");
    let restart = "[[faults]]\nname = \"update\"\nat = \"1m\"\nevery = \"1m\"\non = \"gateway\"\n\
                   restart = true\n";
    // What is read waits for up to a second before it is committed.
    let config = format!("{CONFIG}\n[store]\ncommit_interval = \"1s\"\n");
    let coap = COAP.replace("20s", "1s");
    let report = rehearsal.report(&config, "6m", &[&coap, TCP, SERIAL, restart], OK);
    assert_eq!(number(&report["rehearsal"]["starts"]), 6);
    for fleet in ["nodes", "pumps", "meter"] {
        let fleet = &report["fleets"][fleet];
        assert_eq!(number(&fleet["arrived"]), number(&fleet["sent"]), "{fleet:#}");
        assert_eq!(number(&fleet["unanswered"]), 0, "{fleet:#}");
    }
}

#[test]
fn a_clock_that_jumps_makes_what_waits_older_and_loses_nothing_else() {
    let rehearsal = Rehearsal::new("clock");
    let config = CONFIG.replace("\"mqtt://localhost\"", "\"mqtt://localhost\"\nmax_age = \"1h\"");
    let away = "[[faults]]\nname = \"away\"\nat = \"20m\"\nfor = \"10m\"\non = \"target.mqtt\"\n\
                partition = true\n";
    for (by, at, is_dropped) in [("2h", "10m", false), ("-2h", "25m", false), ("2h", "25m", true)] {
        let step = format!(
            "[[faults]]\nname = \"jump\"\nat = \"{at}\"\non = \"gateway\"\nclock_step = \"{by}\"\n"
        );
        let code = if is_dropped { MISSED } else { OK };
        let report = rehearsal.report(&config, "1h", &[COAP, UDP, &step, away], code);
        let fleets = ["nodes", "weather"].map(|name| &report["fleets"][name]);
        let lost: u64 = fleets.iter().map(|fleet| number(&fleet["lost"])).sum();
        let dropped = &report["rehearsal"]["dropped"]["local"]["max_age"];
        assert_eq!(lost, dropped.as_u64().unwrap_or(0), "{by} at {at}");
        assert_eq!(lost > 200, is_dropped, "{by} at {at}: {lost}");
        assert!(fleets.iter().all(|fleet| number(&fleet["wrong_value"]) == 0));
    }
}

/// A store that is full long before its broker is back, and devices that go on.
fn blocked() -> (String, String, &'static str) {
    let store = "\n[store]\nquota = \"1MiB\"\nwhen_full = \"block\"\n";
    let away = "[[faults]]\nname = \"away\"\nat = \"10m\"\nfor = \"80m\"\non = \"target.mqtt\"\n\
                partition = true\n";
    (format!("{CONFIG}{store}"), TCP.replace("every = \"1m\"", "every = \"1s\""), away)
}

#[test]
fn devices_wait_while_a_store_that_blocks_is_full() {
    let rehearsal = Rehearsal::new("block");
    let (config, tcp, away) = blocked();
    let report = rehearsal.report(&config, "2h", &[&tcp, away], OK);
    let pumps = &report["fleets"]["pumps"];
    assert_eq!(number(&pumps["arrived"]), number(&pumps["generated"]), "{pumps:#}");
    assert_eq!(number(&pumps["unanswered"]), 0, "{pumps:#}");
    let figures = &report["rehearsal"];
    assert!(number(&figures["largest_store_bytes"]) <= 1 << 20);
    let backlog = number(&figures["largest_backlog"]["local"]);
    assert!((5000..23_000).contains(&backlog), "{backlog} of 24,000");
}

#[test]
fn a_store_that_blocks_can_be_stopped_and_killed() {
    let rehearsal = Rehearsal::new("block-restart");
    let (config, tcp, away) = blocked();
    let faults = "[[faults]]\nname = \"update\"\nat = \"80m\"\non = \"gateway\"\nrestart = true\n\
                  [[faults]]\nname = \"kill\"\nat = \"85m\"\nfor = \"10s\"\non = \"gateway\"\n\
                  kill = true\n";
    let report = rehearsal.report(&config, "2h", &[&tcp, away, faults], OK);
    let pumps = &report["fleets"]["pumps"];
    assert_eq!(number(&report["rehearsal"]["starts"]), 3);
    // Twice five devices lose the lines that wait for a reply.
    let unanswered = number(&pumps["unanswered"]);
    assert!((100..=2 * 5 * 256).contains(&unanswered), "{pumps:#}");
    assert_eq!(number(&pumps["acknowledged"]) + unanswered, number(&pumps["sent"]));
}

#[test]
fn the_broker_that_is_looked_at_and_no_other_has_the_faults() {
    let rehearsal = Rehearsal::new("brokers");
    let config = format!("{CONFIG}\n[brokers.cloud]\nurl = \"mqtt://cloud.example:1884\"\n");
    let head = HEAD.replace("\"built-in\"", "\"mqtt://cloud.example:1884\"");
    let away = "[[faults]]\nname = \"away\"\nat = \"10m\"\nfor = \"20m\"\non = \"target.mqtt\"\n\
                partition = true\n";
    let report = rehearsal.report_of(&config, "1h", &head, &[COAP, away], OK);
    let backlogs = &report["rehearsal"]["largest_backlog"];
    assert!(number(&backlogs["cloud"]) > 500, "{backlogs}");
    assert!(number(&backlogs["local"]) < 20, "{backlogs}");
    let nodes = &report["fleets"]["nodes"];
    assert_eq!(number(&nodes["arrived"]), number(&nodes["sent"]));
    for broker in report["rehearsal"]["drained"].as_array().expect("backlogs") {
        assert_eq!(broker["broker"], "cloud");
    }
}

#[test]
fn a_broker_that_refuses_resets_or_is_behind_a_narrow_way_loses_nothing() {
    let rehearsal = Rehearsal::new("resets");
    let faults = "[[faults]]\nname = \"resets\"\nat = \"10m\"\nevery = \"3m\"\non = \"target.mqtt\"\n\
                  cut = true\n\
                  [[faults]]\nname = \"closed\"\nat = \"20m\"\nfor = \"7m\"\non = \"target.mqtt\"\n\
                  refuse = true\n\
                  [[faults]]\nname = \"narrow\"\nat = \"30m\"\nfor = \"10m\"\non = \"target.mqtt\"\n\
                  bandwidth = \"1 kB/s\"\n";
    let report = rehearsal.report(CONFIG, "1h", &[COAP, TCP, faults], OK);
    for fleet in ["nodes", "pumps"] {
        let fleet = &report["fleets"][fleet];
        assert_eq!(number(&fleet["arrived"]), number(&fleet["sent"]), "{fleet:#}");
    }
    assert!(number(&report["rehearsal"]["largest_backlog"]["local"]) > 100, "while it is closed");
    let phases = report["phases"].as_array().expect("phases");
    let narrow = phases.iter().find(|phase| phase["name"] == "narrow").expect("a phase");
    // 150 bytes of a publish take 150 ms.
    let p50 = number(&narrow["latency"]["p50_us"]);
    assert!((50_000..2_000_000).contains(&p50), "{narrow:#}");
}

#[test]
fn bytes_that_are_damaged_on_the_way_to_the_broker_are_noticed() {
    let rehearsal = Rehearsal::new("damage");
    let noise =
        "[[faults]]\nname = \"noise\"\nat = \"1m\"\non = \"target.mqtt\"\ncorrupt = \"2%\"\n";
    let report = rehearsal.report(CONFIG, "20m", &[COAP, noise], MISSED);
    let nodes = &report["fleets"]["nodes"];
    // MQTT has no checksum: what is damaged in a payload is another value, or another reading.
    let noticed = number(&nodes["wrong_value"]) + number(&report["unknown"]);
    assert!((1..100).contains(&noticed), "{nodes:#}");
}

#[test]
fn what_no_entry_ends_is_well_again_at_the_end() {
    let rehearsal = Rehearsal::new("well");
    for (on, what) in [
        ("gateway", "kill = true"),
        ("gateway", "stop = true"),
        ("target.mqtt", "broker = \"drop-pubacks 1000000\""),
        ("pumps", "partition = true"),
        ("pumps", "refuse = true"),
    ] {
        let fault = format!("[[faults]]\nname = \"f\"\nat = \"9m30s\"\non = \"{on}\"\n{what}\n");
        let report = rehearsal.report(CONFIG, "10m", &[TCP, &fault], OK);
        assert_eq!(number(&report["fleets"]["pumps"]["lost"]), 0, "{what}");
    }
}
