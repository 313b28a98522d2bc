//! A serial cable: two pseudo-terminals, joined by socat.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use super::clock::{wait_for, wait_until};
use super::process::{Running, program};
use super::temp::TempDir;

/// A cable that can be unplugged.
#[derive(Debug)]
pub(crate) struct Cable {
    dir: TempDir,
    plugged: Option<(Running, File)>,
}

impl Cable {
    /// A plugged cable.
    pub(crate) fn new() -> Self {
        let mut cable = Self { dir: TempDir::new(), plugged: None };
        cable.plug();
        cable
    }

    /// Where the gateway finds its end.
    pub(crate) fn port(&self) -> PathBuf {
        self.dir.join("gateway")
    }

    /// Where a program finds the device's end.
    pub(crate) fn far_end(&self) -> PathBuf {
        self.dir.join("device")
    }

    pub(crate) fn plug(&mut self) {
        let device = self.far_end();
        let end = |path: PathBuf| format!("pty,raw,echo=0,link={}", path.display());
        let mut command = program("socat", "socat");
        let socat = Running::start(command.args([end(self.port()), end(device.clone())]));
        let opened = wait_for("socat to make its pseudo-terminals", || {
            OpenOptions::new().write(true).open(&device).ok().filter(|_| self.port().exists())
        });
        self.plugged = Some((socat, opened));
    }

    /// Ends both terminals; the names go away with them.
    pub(crate) fn unplug(&mut self) {
        let (mut socat, device) = self.plugged.take().expect("it is plugged");
        drop(device);
        socat.terminate();
        socat.wait();
        wait_until("socat to remove its links", || !self.port().exists());
    }

    /// Sends from the device's end.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let (_, device) = self.plugged.as_mut().expect("it is plugged");
        device.write_all(bytes).unwrap();
    }
}
