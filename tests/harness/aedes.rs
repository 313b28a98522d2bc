//! The broker `aedes` from npm, which `tests/setup` installs.

use std::fs;
use std::path::Path;

use super::clock::wait_for;
use super::process::{Lines, Running, program};

/// A broker that prints what it gets.
#[derive(Debug)]
pub(crate) struct Aedes {
    _process: Running,
    lines: Lines,
}

/// A publish that it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) qos: u8,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

impl Aedes {
    pub(crate) fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/harness/aedes");
        let installed = fs::exists(folder.join("node_modules/aedes")).unwrap();
        assert!(installed, "aedes is not installed: run tests/setup");
        let lines = Lines::default();
        let mut command = program("node", "nodejs");
        let process = Running::start_reading(command.arg(folder.join("broker.js")), &lines);
        wait_for("aedes to listen", || (lines.len() > 0).then_some(()));
        Self { _process: process, lines }
    }

    pub(crate) fn url(&self) -> String {
        let port: u16 = self.lines.since(0)[0].parse().expect("a port in the first line");
        format!("mqtt://127.0.0.1:{port}")
    }

    /// What came until now.
    pub(crate) fn published(&self) -> Vec<Published> {
        self.lines.since(1).iter().filter_map(|line| Published::parse(line)).collect()
    }
}

impl Published {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ' ');
        let (qos, topic, hex) = (parts.next()?, parts.next()?, parts.next()?);
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        Some(Self {
            qos: qos.parse().ok()?,
            topic: topic.to_owned(),
            payload: (0..hex.len()).step_by(2).map(byte).collect::<Option<_>>()?,
        })
    }
}
