//! Whether the broker is still there: when to ping, and since when it owes a sign of life.

use std::time::Duration;

use proto::Instant;

/// What was heard on one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    last_received: Instant,
    ping_sent: Option<Instant>,
}

impl Pulse {
    /// A connection that begins now.
    pub(super) const fn new(now: Instant) -> Self {
        Self { last_received: now, ping_sent: None }
    }

    /// Something has come.
    pub(super) const fn handle_bytes(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// PINGRESP has come.
    pub(super) const fn handle_answer(&mut self) {
        self.ping_sent = None;
    }

    /// When something has come last.
    pub(super) const fn last_received(&self) -> Instant {
        self.last_received
    }

    /// When a ping is due; never while one is unanswered.
    pub(super) fn next_ping(&self, last_sent: Instant, keep_alive: Duration) -> Option<Instant> {
        self.ping_sent.is_none().then(|| last_sent.min(self.last_received) + keep_alive)
    }

    /// A ping is sent.
    pub(super) const fn handle_ping(&mut self, now: Instant) {
        self.ping_sent = Some(now);
    }

    /// Since when nothing has come although a ping asks for it.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.ping_sent.map(|sent| sent.max(self.last_received))
    }
}
