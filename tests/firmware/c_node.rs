//! The C node on this machine, against the standard's vectors and against `proto`'s gateway.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use proto::frame::{Framer, Framing, cobs};
use proto::link::{Gateway, GatewayConfig, GatewayEvent, GatewayOutput, Key};
use proto::{Instant, Rng, Timestamp};

use crate::harness::process::{any_program, run};
use crate::harness::temp::TempDir;

const STANDARD: &str = include_str!("../../docs/link-protocol.md");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../hardware/firmware/c");
const WALL: Timestamp = Timestamp::from_nanos(1_795_214_340_123_000_000);

/// The node's protocol behind a pipe.
struct Node {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    _folder: TempDir,
}

impl Node {
    fn new(epoch: u32, settled: u16, form: &str) -> Self {
        let folder = TempDir::new();
        let program = folder.join("node");
        let sources =
            ["host.c", "link.c", "tasks.c", "sha256.c"].map(|file| Path::new(SOURCES).join(file));
        let flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined"];
        let key: &[&str] = if form == "key" { &["-DLINK_WITH_KEY"] } else { &[] };
        let flags = flags.iter().chain(key).chain(&["-fno-sanitize-recover=all", "-o"]);
        let mut cc = any_program(&["cc", "gcc", "clang"], "gcc");
        run(cc.args(flags).arg(&program).args(sources));
        let mut child =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut node = Self { child, to, from: BufReader::new(from), _folder: folder };
        node.ask(&format!("node 42 {epoch} {settled}"));
        node
    }

    fn ask(&mut self, order: &str) -> String {
        writeln!(self.to, "{order}").unwrap();
        let mut answer = String::new();
        assert!(self.from.read_line(&mut answer).unwrap() > 0, "it ended: {order}");
        answer.trim().to_owned()
    }

    /// The frame that it sends now.
    fn poll(&mut self, now: u64) -> Option<Vec<u8>> {
        let answer = self.ask(&format!("poll {now}"));
        let bytes = (answer != "none").then(|| bytes(&answer))?;
        let mut framer = Framer::new(Framing::Cobs, 1024);
        framer.handle_bytes(&bytes);
        Some(framer.poll_frame().unwrap().unwrap().to_vec())
    }

    fn receive(&mut self, now: u64, frame: &[u8]) {
        let mut stuffed = Vec::new();
        cobs::encode(frame, &mut stuffed);
        self.ask(&format!("rx {now} {}", hex(&stuffed)));
    }

    /// Epoch, settled, acknowledged, open.
    fn state(&mut self) -> Vec<u64> {
        self.ask("state").split(' ').map(|word| word.parse().unwrap()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn vector(name: &str) -> &'static str {
    let line = STANDARD.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no vector {name}"))
}

#[test]
fn the_c_node_makes_and_takes_the_standards_vectors() {
    for (form, suffix) in [("plain", "-cobs"), ("key", "-key-cobs")] {
        let of = |name: &str| vector(&format!("{name}{suffix}"));
        let mut node = Node::new(3, 0, form);
        assert_eq!(node.ask("poll 1000"), of("hello"));
        node.ask(&format!("rx 1100 {}", of("time")));
        node.ask(&format!("rx 1100 {}", of("ack-hello")));
        assert_eq!(node.state()[3..], [0, 1, 1_795_214_340_123 - 1050], "a time, and not open");
        node.ask(&format!("rx 1200 {}", of("command")));
        assert_eq!(node.ask("poll 1300"), of("response"));

        let mut node = Node::new(3, 6, form);
        node.ask("poll 100000");
        node.ask(&format!("rx 100001 {}", of("ack-busy")));
        assert_eq!(node.ask("report 123456 2150 553 -3"), "taken");
        assert_eq!(node.ask("report 123457 1"), "full");
        assert_eq!(node.ask("poll 123456"), of("data"));
        assert_eq!(node.ask("poll 125455"), "none");
        assert_eq!(node.ask("poll 125456"), of("data-again"));
        node.ask(&format!("rx 125457 {}", of("ack-busy")));
        assert_eq!(node.ask("poll 126956"), "none");
        assert_eq!(node.ask("poll 126957"), of("data-again"));
        node.ask(&format!("rx 126958 {}", of("ack")));
        assert_eq!(node.state()[..4], [3, 7, 1, 1], "settled by its bit");

        let mut node = Node::new(3, 6, form);
        node.ask("poll 0");
        node.ask(&format!("rx 1 {}", of("ack-busy")));
        node.ask("report 2 1");
        node.ask("poll 1501");
        node.ask(&format!("rx 1502 {}", of("ack-refused")));
        assert_eq!(node.state()[..4], [3, 7, 0, 1], "given up");
    }
}

#[test]
fn the_c_node_takes_no_damaged_frame() {
    for (form, suffix) in [("plain", ""), ("key", "-key")] {
        let frame = bytes(vector(&format!("ack-busy{suffix}")));
        let mut node = Node::new(3, 6, form);
        let mutants = (0..frame.len()).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)));
        for (at, bit) in mutants {
            let mut mutant = frame.clone();
            mutant[at] ^= bit;
            node.receive(1, &mutant);
        }
        (0..frame.len()).for_each(|end| node.receive(1, &frame[..end]));
        node.ask(&format!("rx 1 {}00", "ff".repeat(600)));
        assert_eq!(node.state()[3], 0, "nothing opened it");
        node.receive(1, &frame);
        assert_eq!(node.state()[3], 1);
    }
}

/// The C node and `proto`'s gateway with a lossy line between them: every report arrives once.
#[test]
fn the_c_node_delivers_everything_once_over_a_bad_line() {
    for seed in 0..4 {
        let mut rng = Rng::new(seed);
        let mut node = Node::new(1, 65_500, if seed % 2 == 0 { "plain" } else { "key" });
        let key = Key::new(&std::array::from_fn(|at| at as u8));
        let mut gateway = match seed % 2 {
            0 => Gateway::new(GatewayConfig::default()),
            _ => Gateway::with_keys(GatewayConfig::default(), [(42, key)].into()),
        };
        let mut counts = Vec::new();
        let mut sent = 0;
        for now in (0..4_000_000).step_by(500) {
            if node.ask(&format!("report {now} 1 2 {}", sent + 1)) == "taken" {
                sent += 1;
            }
            let Some(frame) = node.poll(now) else { continue };
            if rng.chance(0.2) {
                continue;
            }
            let at = Instant::from_micros(now * 1000);
            gateway.handle_frame(at, WALL, (), &frame);
            loop {
                match gateway.poll_output() {
                    GatewayOutput::Transmit { frame, .. } if !rng.chance(0.2) => {
                        node.receive(now + 100, &frame);
                    }
                    GatewayOutput::Event(GatewayEvent::Report(report)) => {
                        counts.push(report.values[2].value.as_integer().unwrap());
                        gateway.handle_durable(report.ticket);
                    }
                    GatewayOutput::Wait(_) => break,
                    GatewayOutput::Transmit { .. } | GatewayOutput::Event(_) => {}
                }
            }
            if counts.len() > 200 {
                break;
            }
        }
        assert!(counts.iter().copied().eq(1..=counts.len() as i128), "seed {seed}: {counts:?}");
        assert!(
            counts.len() > 200 && node.state()[0] == 2,
            "seed {seed}: over the end of an epoch"
        );
    }
}
