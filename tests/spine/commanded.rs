//! The ready scenario of commands through the built gateway, which is killed in it: every command has an outcome,
//! and none is called done that was not carried out.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::simulated::{play, root};
use crate::harness::temp::{TempDir, port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gateway");

/// The text of a file of this repository, with some of it changed.
fn changed(path: &str, changes: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(root().join(path)).unwrap();
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{path} has no {from}");
        text.replace(from, to)
    })
}

/// Writes the scenario and its gateway's configuration into `dir`; the address of the nodes.
fn stage(dir: &Path, more: &[(&str, &str)]) -> String {
    let link = format!("127.0.0.1:{}", port());
    let state = dir.join("state").display().to_string();
    let config = [("127.0.0.1:7010", &*link), ("run/simulated-commands", &*state)];
    let config = changed("configs/simulated-commands.toml", &config);
    fs::write(dir.join("gateway.toml"), config).unwrap();
    let program = format!("[gateway]\nprogram = \"{PROGRAM}\"");
    let changes: Vec<_> =
        [("[gateway]", &*program)].into_iter().chain(more.iter().copied()).collect();
    let scenario = changed("device-sim/scenarios/commands.toml", &changes);
    fs::write(dir.join("scenario.toml"), scenario).unwrap();
    link
}

#[test]
fn every_command_has_an_outcome_and_none_is_falsely_done_over_a_killed_gateway() {
    let dir = TempDir::new();
    let link = stage(dir.path(), &[("die = \"1%\"", "die = \"10%\"")]);
    let variables = [("LINK", link), ("CONFIG", "gateway.toml".to_owned())];
    let report = play(&dir.path().join("scenario.toml"), Duration::from_secs(8), &variables);
    assert!(report.passed, "{:#?}\n{:#?}", report.outcomes, report.commands);
    assert!(report.phases.iter().any(|phase| phase.name == "kill"));
    let commands = report.commands.unwrap();
    assert!(commands.sent > 50, "{commands:#?}");
    let all = commands.done + commands.failed + commands.expired + commands.unknown;
    assert_eq!((commands.no_outcome, commands.false_done, all), (0, 0, commands.sent));
    // Nodes have refused some, and lost their power in the middle of others: what may be repeated was.
    assert!(commands.failed > 0 && commands.unknown > 0 && commands.repeated > 0, "{commands:#?}");
}
