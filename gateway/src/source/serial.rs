//! A serial port; opened again, by its name, whenever it is gone.
//!
//! A port that is unplugged reads as ended or fails. Either way its descriptor is dropped at once,
//! because while it is held the kernel gives the device another name when it comes back.

mod port;

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Context;
use super::framed::Framed;
use crate::causes::chain;
use crate::config::SerialLink;
pub(super) use port::{Port, PortError};

/// The pause before the first attempt to open a port again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Bytes thrown away at a time.
const SETTLING_BYTES: usize = 4096;

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
        let (name, path) = (&self.context.name, self.link.path.display());
        let mut pause = FIRST_PAUSE;
        let mut is_known = false;
        loop {
            match Port::open(&self.link) {
                Ok(port) => {
                    info!(source = %name, %path, "opened");
                    self.context.status.set_up(true);
                    pause = FIRST_PAUSE;
                    is_known = false;
                    let end = self.read(port).await;
                    self.context.status.set_up(false);
                    self.context.status.reconnects.fetch_add(1, Ordering::Relaxed);
                    warn!(source = %name, %path, reason = %end, "the port is gone; waiting for it");
                }
                Err(error) if !is_known => {
                    is_known = true;
                    let why = chain(&error);
                    warn!(source = %name, "cannot open {path}: {why}; waiting for it");
                    self.context.refuse("not_opened", &path, why, b"");
                }
                Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads until the port is gone.
    async fn read(&self, mut port: Port) -> io::Error {
        let settle = self.link.open_delay.duration();
        if !settle.is_zero() {
            // A device that resets when its port is opened says something else first.
            let mut buffer = [0; SETTLING_BYTES];
            let _ = timeout(settle, async { while let Ok(1..) = port.read(&mut buffer).await {} })
                .await;
        }
        let framer = self.context.cutting.opening_framer();
        let mut framed = Framed::new(framer, &self.context.cutting);
        let end = loop {
            match framed.fill(&mut port).await {
                Ok(true) => self.take_frames(&mut framed).await,
                Ok(false) => {
                    break io::Error::new(io::ErrorKind::UnexpectedEof, "it was unplugged");
                }
                Err(error) => break error,
            }
        };
        // Before anything that may wait: see [`Port`].
        drop(port);
        framed.end();
        self.take_frames(&mut framed).await;
        end
    }

    async fn take_frames(&self, framed: &mut Framed) {
        while let Some(frame) = framed.poll_frame() {
            self.context.take(frame, &self.context.name).await;
        }
    }
}
