//! The built image on the Cortex-M3 that QEMU plays, whose serial port the gateway opens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::process::{Running, program, run};
use crate::harness::sim::{Reading, Recorder};
use crate::harness::temp::TempDir;

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../hardware/firmware/c/build");
const BUILD_RUST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../hardware/firmware/rust/build");
const TARGET: &str = "thumbv7m-none-eabi";
/// What the protocol may take, with HMAC-SHA-256: 2 KiB.
const MAX_PROTOCOL: u64 = 2048;
/// And without.
const MAX_PLAIN_PROTOCOL: u64 = 1408;
/// What it does when it is told: a level, and an image.
const MAX_TASKS: u64 = 896;
/// SHA-256, where the protocol has none.
const MAX_SHA256: u64 = 736;
/// What the board around it may take: vectors, start, port, clock, and what it measures.
const MAX_BOARD: u64 = 512;
pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Whether the tools are here; they are where `tests/setup` has run.
pub(crate) fn has_tools() -> bool {
    let tools = ["arm-none-eabi-gcc", "qemu-system-arm"];
    let missing = tools.iter().find(|tool| {
        Command::new(tool).arg("--version").output().map_or(true, |output| !output.status.success())
    });
    match missing {
        Some(tool) => eprintln!("skipped: `{tool}` is missing, tests/setup installs it"),
        None => return true,
    }
    false
}

/// Whether Rust can be built for the board.
pub(crate) fn has_target() -> bool {
    let mut rustc = Command::new("rustc");
    let output = rustc.args(["--print", "target-libdir", "--target", TARGET]).output().unwrap();
    let is_here = Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir();
    if !is_here {
        eprintln!("skipped: the target is missing (rustup target add {TARGET})");
    }
    is_here
}

/// A board with its serial port at `port`, as long as it is not dropped.
pub(crate) struct Board {
    pub(crate) folder: TempDir,
    power: Option<Running>,
    /// socat, which makes a terminal of QEMU's socket.
    cable: Option<Running>,
    image: PathBuf,
}

impl Board {
    pub(crate) fn new(form: &str) -> Self {
        let folder = TempDir::new();
        let build = if form == "rust" { BUILD_RUST } else { BUILD };
        run(Command::new(build).arg(folder.path()));
        let image = folder.join(&format!("node-{form}.elf"));
        Self { folder, power: None, cable: None, image }
    }

    pub(crate) fn port(&self) -> PathBuf {
        self.folder.join("port")
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("uart")
    }

    pub(crate) fn power_on(&mut self) {
        let socket = self.socket();
        let _ = fs::remove_file(&socket);
        let mut qemu = program("qemu-system-arm", "qemu-system-arm");
        qemu.args(["-M", "lm3s6965evb", "-display", "none", "-monitor", "none", "-chardev"]);
        qemu.arg(format!("socket,id=u0,path={},server=on,wait=off", socket.display()));
        qemu.args(["-serial", "chardev:u0", "-kernel"]).arg(&self.image);
        self.power = Some(Running::start(&mut qemu));
        wait_until("the board", || socket.exists());
        self.plug_in();
    }

    pub(crate) fn plug_in(&mut self) {
        let socket = self.socket();
        let mut socat = program("socat", "socat");
        socat.arg(format!("PTY,link={},rawer,waitslave", self.port().display()));
        socat.arg(format!("UNIX-CONNECT:{}", socket.display()));
        self.cable = Some(Running::start(&mut socat));
        wait_until("its port", || self.port().exists());
    }

    pub(crate) fn unplug(&mut self) {
        self.cable = None;
        // Else it would name the next terminal that is made.
        let _ = fs::remove_file(self.port());
    }

    /// Sends to the board what no gateway would.
    fn disturb(&self, noise: &[u8]) {
        UnixStream::connect(self.socket()).unwrap().write_all(noise).unwrap();
    }

    pub(crate) fn power_off(&mut self) {
        self.unplug();
        self.power = None;
    }
}

/// The counts that arrived.
fn counts(recorder: &Recorder) -> Vec<u64> {
    recorder.readings().iter().filter_map(count).collect()
}

fn count(reading: &Reading) -> Option<u64> {
    (reading.name == "count").then(|| reading.value.as_u64())?
}

fn gateway(recorder: &Recorder, board: &Board, keys: &str) -> Gateway {
    let (url, port) = (recorder.url(), board.port());
    let port = port.display();
    let gateway = Gateway::new(&format!(
        r#"
[sources.board]
link = {{ type = "serial", path = "{port}", baud = 115200 }}
decode = {{ type = "link"{keys} }}
[brokers.sim]
url = "{url}"
max_backoff = "1s"
[routes.all]
"#
    ));
    fs::write(gateway.dir().join("keys"), format!("42 {KEY} porch\n")).unwrap();
    gateway
}

/// The bytes of flash that object files take, constants too.
fn flash(objects: &Path) -> u64 {
    let mut size = Command::new("arm-none-eabi-size");
    size.arg("-t").args(fs::read_dir(objects).unwrap().map(|entry| entry.unwrap().path()));
    let output = size.output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let totals = table.lines().last().and_then(|line| line.split_whitespace().next());
    totals.unwrap().parse().unwrap()
}

#[test]
fn the_protocol_fits_2_kib_of_flash_with_hmac() {
    if !has_tools() {
        return;
    }
    let folder = TempDir::new();
    run(Command::new(BUILD).arg(folder.path()));
    let forms = [("key", MAX_PROTOCOL, 0), ("plain", MAX_PLAIN_PROTOCOL, MAX_SHA256)];
    for (form, limit, more) in forms {
        let protocol = flash(&folder.join(form));
        assert!((1..=limit).contains(&protocol), "{form}: {protocol} bytes");
        let image = fs::metadata(folder.join(&format!("node-{form}.bin"))).unwrap().len();
        assert!(
            image <= limit + MAX_BOARD + MAX_TASKS + more,
            "{form}: {image} bytes with the board"
        );
    }
}

#[test]
fn a_board_loses_and_doubles_nothing_over_a_killed_gateway_and_a_noisy_line() {
    if !has_tools() {
        return;
    }
    let recorder = Recorder::start();
    let mut board = Board::new("key");
    board.power_on();
    let mut gateway = gateway(&recorder, &board, ", keys_file = \"{dir}/keys\"");
    for round in 1..=3 {
        gateway.launch();
        let before = counts(&recorder).len();
        wait_until("readings of the board", || counts(&recorder).len() >= before + 15);
        if round < 3 {
            gateway.kill();
            // The kernel keeps a terminal exclusive for a process that was killed.
            board.unplug();
            board.disturb(&[0x55; 300]);
            board.plug_in();
        }
    }
    let readings = recorder.readings();
    assert!(readings.iter().all(|reading| reading.device == "porch"), "{readings:?}");
    // What a broker may get again has the same number of the store: another one is another record.
    let mut stored: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for reading in &readings {
        if let Some(count) = count(reading) {
            stored.entry(count).or_default().insert(reading.n);
        }
    }
    assert!(stored.keys().copied().eq(1..=stored.len() as u64), "lost: {stored:?}");
    assert!(stored.values().all(|numbers| numbers.len() == 1), "stored twice: {stored:?}");
}

#[test]
fn a_board_that_restarts_without_memory_goes_on_in_the_next_epoch() {
    if has_tools() {
        restarts("plain");
    }
}

#[test]
fn a_board_with_the_node_in_rust_is_acknowledged_and_restarts_as_well() {
    if has_tools() && has_target() {
        restarts("rust");
    }
}

fn restarts(form: &str) {
    let recorder = Recorder::start();
    let mut board = Board::new(form);
    board.power_on();
    let mut gateway = gateway(&recorder, &board, "");
    gateway.launch();
    wait_until("readings of the board", || counts(&recorder).len() >= 5);
    board.power_off();
    let before = counts(&recorder).len();
    board.power_on();
    wait_until("readings after its restart", || {
        counts(&recorder).get(before..).is_some_and(|counts| counts.contains(&5))
    });
}
