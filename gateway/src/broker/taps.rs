//! Who looks at the wire.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{Level, trace};

use super::session::Session;
use super::wire_log::WireEntry;

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

    /// Hands on what went over the wire, and has the session take it down as long as anyone looks.
    pub(super) fn serve(&mut self, broker: &str, session: &mut Session) {
        self.0.retain(|tap| !tap.sender.is_closed());
        session.set_wire_log(!self.0.is_empty() || tracing::enabled!(Level::TRACE));
        while let Some(packet) = session.poll_wire() {
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
