//! A serial port with lines on it; opened again whenever it is gone.
//!
//! A port that is unplugged reads as ended or fails. Either way its descriptor is dropped at once,
//! because while it is held the kernel gives the device another name when it comes back.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};
use tokio_serial::{SerialPortBuilderExt as _, SerialStream};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Context;
use crate::config::{DataBits, Parity, SerialLink, StopBits};
use crate::frame::LineFramer;

/// The pause before the first attempt to open a port again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Bytes read at a time.
const READ_BYTES: usize = 4096;

/// A serial port.
pub(crate) struct SerialSource {
    context: Context,
    link: SerialLink,
}

impl SerialSource {
    pub(super) fn new(context: Context, link: &SerialLink) -> Self {
        Self { context, link: link.clone() }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        // What is read is handed in without waiting for the disk, so that ending early is safe.
        let _ = stop.run_until_cancelled(self.read_forever()).await;
    }

    async fn read_forever(&self) {
        loop {
            let port = open_when_there(&self.context, &self.link).await;
            let end = self.read(port).await;
            handle_gone(&self.context, &self.link, &end).await;
        }
    }

    /// Reads until the port is gone.
    async fn read(&self, mut port: SerialStream) -> io::Error {
        let mut framer = LineFramer::new(self.context.max_frame);
        let end = self.read_frames(&mut port, &mut framer).await;
        if let Some(error) = framer.handle_gap() {
            self.context.refuse(error.reason(), &self.context.name, error, b"");
        }
        end
    }

    async fn read_frames(&self, port: &mut SerialStream, framer: &mut LineFramer) -> io::Error {
        let mut buffer = [0; READ_BYTES];
        loop {
            let count = match port.read(&mut buffer).await {
                Ok(0) => return io::Error::new(io::ErrorKind::UnexpectedEof, "it was unplugged"),
                Ok(count) => count,
                Err(error) => return error,
            };
            framer.handle_bytes(buffer.get(..count).unwrap_or_default());
            while let Some(frame) = framer.poll_frame() {
                let Some(frame) = self.context.checked(frame, &self.context.name) else { continue };
                let Ok(readings) = self.context.decode(&frame, &self.context.name) else {
                    continue;
                };
                if self.context.inlet.submit_unacknowledged(readings).await.is_err() {
                    return io::Error::other("the gateway is stopping");
                }
            }
        }
    }
}

/// Opens the port as soon as it is there, and reads away what a device says first that resets when
/// its port is opened.
pub(super) async fn open_when_there(context: &Context, link: &SerialLink) -> SerialStream {
    let mut pause = FIRST_PAUSE;
    let mut known_gone = false;
    let mut port = loop {
        match open(link) {
            Ok(port) => break port,
            Err(error) if !known_gone => {
                known_gone = true;
                warn!(source = %context.name, path = %link.path.display(), "{}", explain(&error, &link.path));
            }
            Err(_) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    info!(source = %context.name, path = %link.path.display(), "opened");
    context.status.set_up(true);
    let settle = link.open_delay.duration();
    if !settle.is_zero() {
        let mut buffer = [0; READ_BYTES];
        let _ =
            timeout(settle, async { while let Ok(1..) = port.read(&mut buffer).await {} }).await;
    }
    port
}

/// The port is gone; to be called after it was dropped. A port that breaks at once is not opened
/// more often than the first pause allows.
pub(super) async fn handle_gone(context: &Context, link: &SerialLink, end: &io::Error) {
    context.status.set_up(false);
    context.status.reconnects.fetch_add(1, Ordering::Relaxed);
    warn!(source = %context.name, path = %link.path.display(), reason = %end, "the port is gone; waiting for it");
    sleep(FIRST_PAUSE).await;
}

fn open(link: &SerialLink) -> Result<SerialStream, tokio_serial::Error> {
    let path = link.path.to_string_lossy();
    let mut port = tokio_serial::new(path, link.baud)
        .data_bits(match link.data_bits {
            DataBits::Five => tokio_serial::DataBits::Five,
            DataBits::Six => tokio_serial::DataBits::Six,
            DataBits::Seven => tokio_serial::DataBits::Seven,
            DataBits::Eight => tokio_serial::DataBits::Eight,
        })
        .parity(match link.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .stop_bits(match link.stop_bits {
            StopBits::One => tokio_serial::StopBits::One,
            StopBits::Two => tokio_serial::StopBits::Two,
        })
        .open_native_async()?;
    port.set_exclusive(true)?;
    Ok(port)
}

/// What an operator can do about it.
fn explain(error: &tokio_serial::Error, path: &Path) -> String {
    use tokio_serial::ErrorKind::{Io, NoDevice};
    let hint = if error.to_string().contains("busy") {
        "another program has it open"
    } else if error.kind() == Io(io::ErrorKind::PermissionDenied) {
        "the gateway may not open it; add its user to the group `dialout`"
    } else if matches!(error.kind(), NoDevice | Io(io::ErrorKind::NotFound)) {
        "it is not plugged in, or has another name; see /dev/serial/by-id"
    } else {
        "see the cause"
    };
    format!("cannot open {}: {error}: {hint}; waiting for it", path.display())
}
