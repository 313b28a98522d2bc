use serde_json::json;

use super::*;
use crate::report::{Report, sample};
use crate::scenario::Scenario;

fn say(ledger: &mut CommandLedger, device: &str, id: &str, state: &str, code: Option<&str>) {
    let error = code.map(|code| json!({ "code": code, "detail": "" }));
    let mut response = json!({ "gateway": "gw", "device": device, "operation": "relay", "id": id,
        "state": state, "time": "2026-11-21T10:00:00.123Z" });
    if let Some(error) = error {
        response["error"] = error;
    }
    ledger.handle_response(response.to_string().as_bytes()).unwrap();
}

/// One command for `n-1`, carried out so often, of which these states are told.
fn told(states: &[(&str, Option<&str>)], carried_out: u64) -> CommandLedger {
    let mut ledger = CommandLedger::default();
    ledger.handle_sent("n-1", "c-1");
    (0..carried_out).for_each(|_| ledger.handle_carried_out("n-1", "c-1"));
    states.iter().for_each(|(state, code)| say(&mut ledger, "n-1", "c-1", state, *code));
    ledger
}

#[test]
fn each_last_state_is_counted_once_whatever_is_told_again() {
    let one = Commands { sent: 1, ..Commands::default() };
    let queued = ("queued", Some("away"));
    let cases = [
        (vec![("accepted", None), queued, ("done", None)], 1, Commands { done: 1, ..one.clone() }),
        (vec![("done", None), ("done", None)], 1, Commands { done: 1, ..one.clone() }),
        (vec![("done", None), ("accepted", None)], 1, Commands { done: 1, ..one.clone() }),
        (vec![("failed", Some("failed"))], 0, Commands { failed: 1, ..one.clone() }),
        (vec![("failed", Some("unknown_outcome"))], 1, Commands { unknown: 1, ..one.clone() }),
        (vec![("expired", Some("deadline"))], 0, Commands { expired: 1, ..one.clone() }),
    ];
    for (states, carried_out, expected) in cases {
        let ledger = told(&states, carried_out);
        assert!(ledger.is_settled(), "{states:?}");
        assert_eq!(ledger.verdict(), expected, "{states:?}");
    }
}

#[test]
fn what_never_comes_to_an_end_is_without_an_outcome() {
    let ledger = told(&[("accepted", None), ("queued", Some("away"))], 0);
    assert!(!ledger.is_settled());
    let verdict = ledger.verdict();
    assert_eq!((verdict.sent, verdict.no_outcome), (1, 1));
    let example = &verdict.examples[&CommandMiss::NoOutcome];
    assert_eq!(example.states, [State::Accepted, State::Queued]);
}

#[test]
fn what_is_done_twice_never_or_unasked_is_seen() {
    let verdict = told(&[("done", None)], 2).verdict();
    assert_eq!((verdict.repeated, verdict.false_done), (1, 0));
    let verdict = told(&[("done", None)], 0).verdict();
    assert_eq!((verdict.repeated, verdict.false_done), (0, 1));
    let mut ledger = told(&[], 0);
    ledger.handle_carried_out("n-1", "c-2");
    ledger.handle_carried_out("n-2", "c-1");
    let verdict = ledger.verdict();
    assert_eq!((verdict.unasked, ledger.carried_out("n-1", "c-1")), (2, 0));
    assert_eq!(verdict.examples[&CommandMiss::Unasked].id, "c-2");
}

#[test]
fn what_is_said_of_others_is_none_of_this_run() {
    let mut ledger = told(&[], 0);
    say(&mut ledger, "n-2", "c-1", "done", None);
    say(&mut ledger, "n-1", "c-2", "done", None);
    assert!(!ledger.is_settled());
    assert!(ledger.handle_response(b"{}").is_err());
}

#[test]
fn states_of_one_that_is_told_for_ever_are_bounded() {
    let states = [("queued", None), ("delivered", None)].repeat(1000);
    let mut ledger = told(&states, 1);
    say(&mut ledger, "n-1", "c-1", "done", None);
    assert_eq!(ledger.commands["c-1"].states.len(), MAX_STATES);
    assert_eq!(ledger.verdict().done, 1);
}

/// The thresholds of a scenario that has commands and says nothing about them.
fn thresholds() -> crate::threshold::Thresholds {
    let text = "version = 1\nname = \"c\"\nduration = \"1s\"\n[target]\nmqtt = \"built-in\"\n\
        link-udp = \"127.0.0.1:7010\"\n[signals]\nx = { type = \"counter\" }\n[fleets.n]\ncount = 1\n\
        via = \"link-udp\"\nevery = \"1s\"\npayload = { x = \"x\" }\n[commands]\nroot = \"g/gw\"\n\
        [[commands.send]]\nfleet = \"n\"\noperation = \"relay\"\nevery = \"1s\"\n";
    let path =
        std::env::temp_dir().join(format!("device-sim-commands-{}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let scenario = Scenario::load(&path, &Default::default()).map_err(|report| report.to_string());
    std::fs::remove_file(path).unwrap();
    scenario.unwrap().thresholds
}

#[test]
fn a_far_end_that_says_done_of_what_was_never_carried_out_fails_the_run() {
    let judged = |ledger: &CommandLedger| {
        let commands = Some(ledger.verdict());
        let mut report = Report { commands, thresholds: thresholds(), ..sample::report(None) };
        report.conclude();
        report
    };
    assert!(judged(&told(&[("done", None)], 1)).passed);
    let report = judged(&told(&[("done", None)], 0));
    assert!(!report.passed);
    let missed: Vec<_> =
        report.outcomes.iter().filter(|it| !it.passed).map(|it| &it.name).collect();
    assert_eq!(missed, ["commands.false_done"]);
    let text = report.to_text(crate::report::Colour::Never);
    assert!(text.contains("first false_done: c-1 for n-1: done; carried out 0 times"), "{text}");
    assert!(!judged(&told(&[("queued", None)], 0)).passed);
    assert!(!judged(&CommandLedger::default()).passed, "no command at all proves nothing");
}
