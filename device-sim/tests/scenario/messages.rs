//! `bad/*.toml` are scenarios with mistakes, each with the messages that they must give beside it.
//! `UPDATE=1 cargo test -p device-sim --test scenario` writes them anew: read the difference.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{device_sim, stderr, stdout};

fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn every_mistake_is_told_with_its_place_and_a_way_out() {
    let mut stale = Vec::new();
    for file in files("tests/scenario/bad") {
        let output = device_sim(&["check", &file], &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{file}: {}", stderr(&output));
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file).with_extension("stderr");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, stderr(&output)).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != stderr(&output) {
            stale.push(format!("--- {file}\n{}", stderr(&output)));
        }
    }
    assert!(stale.is_empty(), "messages have changed:\n{}", stale.join("\n"));
}

#[test]
fn every_ready_scenario_passes_the_check() {
    let peers = ["lines", "published"].map(|name| format!("scenarios/peers/{name}.toml"));
    for file in files("scenarios").into_iter().chain(peers) {
        let output = device_sim(&["check", &file], &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{file}: {}", stderr(&output));
        assert!(stdout(&output).starts_with("ok: "), "{}", stdout(&output));
    }
}

#[test]
fn programs_get_mistakes_as_json() {
    let file = "tests/scenario/bad/keys.toml";
    let output = device_sim(&["check", "--json", file], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], false);
    let problems = json["problems"].as_array().unwrap();
    assert!(problems.iter().all(|one| one["message"].is_string() && one["line"].is_u64()));
}

#[test]
fn the_schema_knows_every_key_of_the_ready_scenarios() {
    let output = device_sim(&["schema"], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    for file in files("scenarios") {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).unwrap();
        let scenario: toml::Table = text.parse().unwrap();
        for key in scenario.keys() {
            assert!(schema["properties"][key].is_object(), "{file}: {key}");
        }
    }
    assert_eq!(schema["additionalProperties"], false);
}
