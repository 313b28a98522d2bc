//! A serial port; opened again, by its name, whenever it is gone.
//!
//! A port that is unplugged reads as ended or fails. Either way its descriptor is dropped at once,
//! because while it is held the kernel gives the device another name when it comes back.
//!
//! What is sent is said by a [`Speaker`] beside the reading.

mod port;

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Context;
use super::conversation::Partner;
use super::speaker::Speaker;
use crate::causes::chain;
use crate::commands::Orders;
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
    orders: Option<Orders>,
}

impl SerialSource {
    pub(super) fn new(context: Context, link: &SerialLink, orders: Option<Orders>) -> Self {
        Self { context, link: link.clone(), orders }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let speaker = Speaker::new(self.orders.take(), self.link.poll.clone());
        // What is read is handed in without waiting for the disk, so that ending early is safe.
        let _ = stop.run_until_cancelled(self.read_forever(speaker)).await;
    }

    async fn read_forever(&self, mut speaker: Speaker) {
        let context = &self.context;
        let partner = Partner { context, name: &context.name, gone: "it was unplugged" };
        loop {
            let port = tokio::select! {
                port = open_when_there(context, &self.link) => port,
                never = speaker.hold("the port is not open") => match never {},
            };
            let framer = context.cutting.opening_framer();
            let end = partner.converse(port, framer, &mut speaker).await;
            speaker.handle_gone(&format!("the port is gone: {end}")).await;
            tokio::select! {
                () = handle_gone(context, &self.link, &end) => {}
                never = speaker.hold("the port is gone") => match never {},
            }
        }
    }
}

/// Opens the port as soon as it is there, and reads away what a device says first that resets when
/// its port is opened.
pub(super) async fn open_when_there(context: &Context, link: &SerialLink) -> Port {
    let (name, path) = (&context.name, link.path.display());
    let mut pause = FIRST_PAUSE;
    let mut is_known = false;
    let mut port = loop {
        match Port::open(link) {
            Ok(port) => break port,
            Err(error) if !is_known => {
                is_known = true;
                let why = chain(&error);
                warn!(source = %name, "cannot open {path}: {why}; waiting for it");
                context.refuse("not_opened", &path, why, b"");
            }
            Err(_) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    info!(source = %name, %path, "opened");
    context.status.set_up(true);
    let settle = link.open_delay.duration();
    if !settle.is_zero() {
        let mut buffer = [0; SETTLING_BYTES];
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
    let (name, path) = (&context.name, link.path.display());
    warn!(source = %name, %path, reason = %end, "the port is gone; waiting for it");
    sleep(FIRST_PAUSE).await;
}
