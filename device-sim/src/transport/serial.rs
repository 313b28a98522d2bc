//! One line per report on a pseudo-terminal, which a gateway opens as a serial port.
//!
//! The device writes to the master; the gateway opens the slave under a name that does not change, a
//! symbolic link. The slave is kept open here as well: without any opener the master fails.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proto::Reading;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::sync::watch;
use tokio_serial::{SerialPort as _, SerialStream};
use tokio_util::sync::CancellationToken;

use super::{Surroundings, TransportError};
use crate::Via;
use crate::device::Device;
use crate::payload::Payload;

/// Bits of a character on the wire: start, eight, stop.
const CHARACTER_BITS: u32 = 10;
/// Lines that are remembered after they were written: more than a pseudo-terminal holds, 4 KiB.
const MAX_WRITTEN: usize = 2048;

/// A pseudo-terminal with a name. Dropping it unplugs it.
#[derive(Debug)]
pub struct SerialPort {
    /// `None` while it is unplugged.
    line: Option<Line>,
    path: PathBuf,
    plug: Option<watch::Receiver<bool>>,
}

/// Both sides of it.
#[derive(Debug)]
struct Line {
    master: SerialStream,
    slave: SerialStream,
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
        let mut port = Self { line: None, path: path.to_owned(), plug: None };
        port.connect().map_err(|source| {
            let path = path.display().to_string();
            TransportError::Pseudoterminal { path, source }
        })?;
        Ok(port)
    }

    /// It is there while `plug` says so.
    pub fn follow(&mut self, plug: watch::Receiver<bool>) {
        self.plug = Some(plug);
    }

    fn connect(&mut self) -> io::Result<()> {
        let (master, slave) = SerialStream::pair()?;
        let name = slave.name().ok_or(io::ErrorKind::NotFound)?;
        publish(&name, &self.path)?;
        self.line = Some(Line { master, slave });
        Ok(())
    }

    /// Waits until it is to be pulled out or plugged in; never without somebody who says so.
    pub(super) async fn plug_changed(&self) {
        let is_there = self.line.is_some();
        let Some(mut plug) = self.plug.clone() else { return std::future::pending().await };
        if plug.wait_for(|plugged| *plugged != is_there).await.is_err() {
            // Who said so has gone: it stays as it is.
            std::future::pending().await
        }
    }

    /// Pulls it out or plugs it in, as it is to be; how many bytes nobody has read that were pulled out
    /// with it.
    pub(super) fn change_plug(&mut self) -> usize {
        let is_to_be_there = self.plug.as_ref().is_none_or(|plug| *plug.borrow());
        if is_to_be_there && self.line.is_none() {
            if let Err(error) = self.connect() {
                tracing::error!(path = %self.path.display(), %error, "cannot plug it in again");
                self.plug = None;
            }
            return 0;
        }
        let Some(line) = self.line.take_if(|_| !is_to_be_there) else { return 0 };
        let unread = line.slave.bytes_to_read().unwrap_or_default();
        unpublish(&self.path);
        usize::try_from(unread).unwrap_or(usize::MAX)
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        match &self.line {
            Some(line) => line.master.readable().await,
            None => std::future::pending().await,
        }
    }

    /// Unlike that of [`SerialStream`], it lets the next [`readable`](Self::readable) wait.
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = self.line.as_mut().ok_or(io::ErrorKind::WouldBlock)?;
        let mut buffer = ReadBuf::new(buffer);
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut line.master).poll_read(&mut nobody, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        match &self.line {
            Some(line) => line.master.writable().await,
            None => std::future::pending().await,
        }
    }

    /// The same for [`writable`](Self::writable).
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = self.line.as_mut().ok_or(io::ErrorKind::WouldBlock)?;
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut line.master).poll_write(&mut nobody, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes all; `false` when it is not plugged in, or was pulled out before the end.
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.line.is_none() {
                return Ok(false);
            }
            tokio::select! {
                ready = self.writable() => ready?,
                () = self.plug_changed() => return Ok(false),
            }
            match self.try_write(rest) {
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Where it is found.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SerialPort {
    fn drop(&mut self) {
        if self.line.is_some() {
            unpublish(&self.path);
        }
    }
}

fn unpublish(path: &Path) {
    // Whoever removed the folder removed the link too.
    let _ = fs::remove_file(path);
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
        let mut written = Written::default();
        // Who opens a port may come in the middle of a line, and waits for the next one to begin.
        self.write(b"\n", &device).await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.port,
                () = self.port.plug_changed() => {
                    let unread = self.port.change_plug();
                    let injured = written.last(unread);
                    injured.for_each(|readings| surroundings.ledger.handle_injured(&readings));
                    self.write(b"\n", &device).await;
                    continue;
                }
                () = clock.sleep_until(device.poll_timeout()) => {}
            }
            while let Some(readings) = surroundings.take_due(&mut device, Via::Serial) {
                let line = self.payload.encode_line(&readings);
                match self.write(&line, &device).await {
                    Some(true) => written.push(line.len(), readings),
                    Some(false) => surroundings.ledger.handle_injured(&readings),
                    None => surroundings.ledger.handle_unanswered(&readings),
                }
                clock.sleep_until(clock.now() + time_of(line.len(), self.baud)).await;
            }
        }
    }

    /// Whether the port was there for all of it; `None` when the system did not take it.
    async fn write(&mut self, bytes: &[u8], device: &Device) -> Option<bool> {
        let written = self.port.write_all(bytes).await;
        written.map_err(|error| tracing::debug!(device = device.id(), %error, "cannot write")).ok()
    }
}

/// The readings of the lines that were written last, which somebody may have to read yet.
#[derive(Debug, Default)]
pub struct Written(VecDeque<(usize, Vec<Reading>)>);

impl Written {
    /// A line of so many bytes was written.
    pub fn push(&mut self, len: usize, readings: Vec<Reading>) {
        if self.0.len() >= MAX_WRITTEN {
            self.0.pop_front();
        }
        self.0.push_back((len, readings));
    }

    /// Everything was read.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What was in the last so many bytes, even in part.
    pub fn last(&mut self, mut bytes: usize) -> impl Iterator<Item = Vec<Reading>> {
        let mut last = Vec::new();
        while bytes > 0
            && let Some((len, readings)) = self.0.pop_back()
        {
            bytes = bytes.saturating_sub(len);
            last.push(readings);
        }
        self.0.clear();
        last.into_iter()
    }
}

/// How long a wire of this speed takes for so many characters.
pub fn time_of(characters: usize, baud: u32) -> Duration {
    let bits = u32::try_from(characters).unwrap_or(u32::MAX).saturating_mul(CHARACTER_BITS);
    Duration::from_secs(1) * bits / baud.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unplugged_port_takes_with_it_what_nobody_has_read_and_comes_back() {
        let folder = std::env::temp_dir().join(format!("device-sim-plug-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("line");
        let (sender, plug) = watch::channel(true);
        let mut port = SerialPort::plug_in(&path).unwrap();
        port.follow(plug);
        assert!(port.write_all(b"unread\n").await.unwrap());
        for _ in 0..3 {
            // The system takes its time to hand bytes to the other side.
            let unread = |port: &SerialPort| {
                port.line.as_ref().map_or(0, |line| line.slave.bytes_to_read().unwrap())
            };
            tokio::time::timeout(Duration::from_secs(20), async {
                while unread(&port) < 7 {
                    tokio::task::yield_now().await;
                }
            })
            .await
            .unwrap();
            sender.send_replace(false);
            port.plug_changed().await;
            assert_eq!(port.change_plug(), 7);
            assert!(fs::symlink_metadata(&path).is_err());
            assert!(!port.write_all(b"to nobody\n").await.unwrap());
            sender.send_replace(true);
            port.plug_changed().await;
            assert_eq!(port.change_plug(), 0);
            assert!(fs::metadata(&path).is_ok());
            assert!(port.write_all(b"unread\n").await.unwrap());
        }
        drop(port);
        assert!(fs::symlink_metadata(&path).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn lines_of_which_a_part_is_unread_are_unread() {
        let unread = |bytes| {
            let mut written = Written::default();
            [4, 5, 6].into_iter().for_each(|len| written.push(len, Vec::new()));
            written.last(bytes).count()
        };
        assert_eq!([0, 1, 6, 7, 11, 12, 99].map(unread), [0, 1, 1, 2, 2, 3, 3]);
    }
}
