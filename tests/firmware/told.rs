//! Boards that are told something through the gateway: the firmware in QEMU, and a broker that asks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::board::{Board, KEY, has_target, has_tools};
use crate::harness::asked::Site;

/// Images that are sent until the gateway was killed in the middle of one.
const MOST_IMAGES: u8 = 20;

/// A gateway whose serial port is that of the board, whose device is called so.
fn site(board: &Board, keys: &str) -> Site {
    let (port, folder) = (board.port(), board.folder.path().display());
    Site::start(&format!(
        r#"
[sources.board]
link = {{ type = "serial", path = "{}", baud = 115200 }}
decode = {{ type = "link"{keys} }}
[operations.level]
source = "board"
devices = ["*"]
value = {{ type = "number" }}
via = {{ type = "link", code = 1 }}
[operations.explode]
source = "board"
devices = ["*"]
via = {{ type = "link", code = 99 }}
[operations.image]
source = "board"
devices = ["*"]
value = {{ type = "text" }}
via = {{ type = "file", folder = "{folder}", code = 2 }}
"#,
        port.display()
    ))
}

fn image(board: &Board, seed: u8) -> String {
    let name = format!("image-{seed}");
    let bytes =
        (0..8000_u32).map(|at| u8::try_from(at * 7 % 251).unwrap() ^ seed).collect::<Vec<_>>();
    fs::write(board.folder.join(&name), bytes).unwrap();
    name
}

/// As `sha256sum` of coreutils has it.
fn sha256(path: &Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

/// A board does what it is told, and takes an image over a gateway that is killed in the middle.
fn obeys(form: &str, device: &str, has_keys: bool) {
    let mut board = Board::new(form);
    board.power_on();
    fs::write(board.folder.join("keys"), format!("42 {KEY} {device}\n")).unwrap();
    let keys = format!(", keys_file = {:?}", board.folder.join("keys"));
    let mut site = site(&board, if has_keys { &keys } else { "" });
    site.ask(device, "level", "1", "-1500");
    assert_eq!(site.wait_for(device, "1", "done")["result"], -1500);
    site.ask(device, "level", "2", "21.5");
    let outcome = if form == "rust" { "done" } else { "failed" };
    site.wait_for(device, "2", outcome);
    site.ask(device, "explode", "3", "");
    assert_eq!(site.wait_for(device, "3", "failed")["error"]["code"], "unknown_code");
    let has_resumed = (0..MOST_IMAGES).any(|seed| {
        let (name, id) = (image(&board, seed), format!("image-{seed}"));
        site.ask(device, "image", &id, &name);
        site.wait_for(device, &id, "delivered");
        site.gateway.kill();
        let was_over = site.states(device, &id).contains(&"done".to_owned());
        // The kernel keeps a terminal exclusive for a process that was killed.
        board.unplug();
        board.plug_in();
        site.gateway.launch();
        let done = site.wait_for(device, &id, "done");
        assert_eq!(done["result"]["sha256"], sha256(&board.folder.join(&name)));
        // One that is published again has the same time.
        let told = site.responses(device, &id);
        let begins = told.iter().filter(|told| told["progress"]["bytes"] == 0);
        let begins: BTreeSet<_> = begins.map(|told| told["time"].to_string()).collect();
        !was_over && begins.len() == 1
    });
    assert!(has_resumed, "none of the images was in the middle");
}

#[test]
fn a_board_obeys_and_takes_an_image_over_a_killed_gateway() {
    if has_tools() {
        obeys("key", "porch", true);
    }
}

#[test]
fn a_board_with_the_node_in_rust_obeys_and_takes_an_image_over_a_killed_gateway() {
    if has_tools() && has_target() {
        obeys("rust", "42", false);
    }
}
