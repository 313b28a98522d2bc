//! Who looks at the wire.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{Level, trace};

use super::wire_log::{WireEntry, WireLog};

/// Everyone who gets a copy of each packet.
#[derive(Default)]
pub(super) struct Taps(Vec<Tap>);

struct Tap {
    sender: mpsc::Sender<WireEntry>,
    /// Packets that found no room since the last one that did.
    dropped: u64,
}

impl Taps {
    /// One more.
    pub(super) fn add(&mut self, sender: mpsc::Sender<WireEntry>) {
        self.0.push(Tap { sender, dropped: 0 });
    }

    /// Hands on what went over the wire, and has it taken down as long as anyone looks.
    pub(super) fn serve(&mut self, broker: &str, log: &mut WireLog) {
        self.0.retain(|tap| !tap.sender.is_closed());
        log.set(!self.0.is_empty() || tracing::enabled!(Level::TRACE));
        while let Some(packet) = log.poll() {
            trace!(broker, "{packet}");
            for tap in &mut self.0 {
                tap.send(packet.clone());
            }
        }
    }
}

impl Tap {
    fn send(&mut self, mut packet: WireEntry) {
        packet.dropped += self.dropped;
        self.dropped = match self.sender.try_send(packet) {
            Ok(()) | Err(TrySendError::Closed(_)) => 0,
            Err(TrySendError::Full(packet)) => packet.dropped + 1,
        };
    }
}
