//! Devices on serial ports that write a line when its time has come, whatever becomes of it.

use std::fs::File;
use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use device_sim::clock::Clock;
use proto::Instant;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::DEVICES;
use crate::Outcome;
use crate::ledger::Ledger;

/// Pseudo-terminals, one for each device, whose masters are the devices' ends.
///
/// Who reads them has to end first: a port whose master is closed is unplugged.
pub(crate) struct SerialPorts(Vec<Port>);

struct Port {
    master: File,
    path: String,
}

impl SerialPorts {
    /// New ones.
    pub(crate) fn plug_in() -> Outcome<Self> {
        (0..DEVICES).map(|_| Port::plug_in()).collect::<Outcome<_>>().map(Self)
    }

    /// Where the other ends are found.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|port| port.path.as_str())
    }

    /// Writes a line of the next port, in turns, once in `interval`; late ones follow at once.
    pub(crate) fn send(&self, ledger: &Ledger, interval: Duration) -> Outcome<()> {
        // Who opens a port may come in the middle of a line, and waits for the next one to begin.
        for port in &self.0 {
            port.write("\n")?;
        }
        let clock = Clock::start();
        for (index, port) in ledger.indexes().zip(self.0.iter().cycle()) {
            let due = Instant::ZERO + interval * index;
            thread::sleep(due.saturating_since(clock.now()));
            ledger.handle_sent(index);
            port.write(&(super::json(index) + "\n"))?;
        }
        ledger.settle();
        Ok(())
    }
}

impl Port {
    fn plug_in() -> Outcome<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = ptsname(&master, Vec::new())?.into_string()?;
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
        Ok(Self { master: master.into(), path })
    }

    fn write(&self, text: &str) -> Outcome<()> {
        match (&self.master).write(text.as_bytes()) {
            Ok(written) if written == text.len() => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error.into()),
            _ => Err(format!("nobody reads {}: it is full", self.path).into()),
        }
    }
}
