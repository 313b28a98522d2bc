//! One line per report on a pseudo-terminal, which a gateway opens as a serial port.
//!
//! The device writes to the master; the gateway opens the slave under a name that does not change, a
//! symbolic link. The slave is kept open here as well: without any opener the master fails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio_serial::{SerialPort as _, SerialStream};
use tokio_util::sync::CancellationToken;

use super::{Surroundings, TransportError};
use crate::Via;
use crate::device::Device;
use crate::payload::Payload;

/// Bits of a character on the wire: start, eight, stop.
const CHARACTER_BITS: u32 = 10;

/// A pseudo-terminal with a name. Dropping it unplugs it.
#[derive(Debug)]
pub struct SerialPort {
    master: SerialStream,
    _slave: SerialStream,
    path: PathBuf,
}

/// Lines on a serial port.
#[derive(Debug)]
pub struct SerialUplink {
    /// The port.
    pub port: SerialPort,
    /// What is in a line.
    pub payload: Payload,
    /// The speed of the line in bits per second; a pseudo-terminal has none of its own.
    pub baud: u32,
}

impl SerialPort {
    /// Makes a pseudo-terminal that is found at `path`. What is there already gives way only if it
    /// is a symbolic link.
    ///
    /// # Errors
    /// When the system has none left, or the link cannot be made.
    pub fn plug_in(path: &Path) -> Result<Self, TransportError> {
        let failed = |source| {
            let path = path.display().to_string();
            TransportError::Pseudoterminal { path, source }
        };
        let (master, slave) = SerialStream::pair().map_err(|error| failed(error.into()))?;
        let name = slave.name().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        publish(&name, path).map_err(failed)?;
        Ok(Self { master, _slave: slave, path: path.to_owned() })
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.master.readable().await
    }

    /// Unlike that of [`SerialStream`], it lets the next [`readable`](Self::readable) wait.
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.master).poll_read(&mut nobody, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.master.writable().await
    }

    /// The same for [`writable`](Self::writable).
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.master).poll_write(&mut nobody, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Where it is found.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SerialPort {
    fn drop(&mut self) {
        // Whoever removed the folder removed the link too.
        let _ = fs::remove_file(&self.path);
    }
}

/// Links `path` to `target` in one step, so that nobody finds it missing.
fn publish(target: &str, path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_symlink()) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::os::unix::fs::symlink(target, &temporary)?;
    fs::rename(&temporary, path)
}

impl SerialUplink {
    pub(super) async fn run(
        mut self,
        mut device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) -> SerialPort {
        let clock = surroundings.clock;
        // Who opens a port may come in the middle of a line, and waits for the next one to begin.
        if let Err(error) = self.port.master.write_all(b"\n").await {
            tracing::debug!(device = device.id(), %error, "cannot write");
        }
        while stop.run_until_cancelled(clock.sleep_until(device.poll_timeout())).await.is_some() {
            while let Some(readings) = surroundings.take_due(&mut device, Via::Serial) {
                let line = self.payload.encode_line(&readings);
                if let Err(error) = self.port.master.write_all(&line).await {
                    tracing::debug!(device = device.id(), %error, "cannot write");
                    surroundings.ledger.handle_unanswered(&readings);
                }
                clock.sleep_until(clock.now() + time_of(line.len(), self.baud)).await;
            }
        }
        self.port
    }
}

/// How long a wire of this speed takes for so many characters.
pub(super) fn time_of(characters: usize, baud: u32) -> Duration {
    let bits = u32::try_from(characters).unwrap_or(u32::MAX).saturating_mul(CHARACTER_BITS);
    Duration::from_secs(1) * bits / baud.max(1)
}
