//! What is to be sent: small packets, and the log of all of them.

use bytes::BytesMut;
use proto::Instant;

use super::wire::{self, Connect, WriteError};
use super::wire_log::{Direction, WireLog};
use crate::config::Protocol;

/// The way out of one client.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) protocol: Protocol,
    pub(super) out: BytesMut,
    pub(super) log: WireLog,
    pub(super) last_sent: Instant,
}

impl Outlet {
    pub(super) fn new(protocol: Protocol) -> Self {
        let (out, log) = (BytesMut::new(), WireLog::default());
        Self { protocol, out, log, last_sent: Instant::ZERO }
    }

    pub(super) fn connect(
        &mut self,
        now: Instant,
        connect: &Connect<'_>,
    ) -> Result<(), WriteError> {
        let start = self.out.len();
        connect.write(&mut self.out)?;
        // The password is the last field (MQTT 5 §3.1.3).
        self.sent(now, start, connect.login.map_or(0, |(_, password)| password.len()));
        Ok(())
    }

    pub(super) fn puback(&mut self, now: Instant, id: u16) {
        let start = self.out.len();
        wire::puback(&mut self.out, id);
        self.sent(now, start, 0);
    }

    pub(super) fn pubrel(&mut self, now: Instant, id: u16) -> Result<(), WriteError> {
        self.write(now, |out, _| wire::pubrel(out, id))
    }

    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        id: u16,
        filter: &str,
    ) -> Result<(), WriteError> {
        self.write(now, |out, protocol| wire::subscribe(protocol, out, id, filter))
    }

    pub(super) fn unsubscribe(
        &mut self,
        now: Instant,
        id: u16,
        filter: &str,
    ) -> Result<(), WriteError> {
        self.write(now, |out, protocol| wire::unsubscribe(protocol, out, id, filter))
    }

    pub(super) fn pingreq(&mut self, now: Instant) -> Result<(), WriteError> {
        self.write(now, |out, _| wire::pingreq(out))
    }

    pub(super) fn disconnect(&mut self, now: Instant, forget: bool) -> Result<(), WriteError> {
        self.write(now, |out, protocol| wire::disconnect(protocol, out, forget))
    }

    fn write(
        &mut self,
        now: Instant,
        packet: impl FnOnce(&mut BytesMut, Protocol) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let start = self.out.len();
        packet(&mut self.out, self.protocol)?;
        self.sent(now, start, 0);
        Ok(())
    }

    /// Everything from `start` on was written; its last `secret` bytes are in no log.
    pub(super) fn sent(&mut self, now: Instant, start: usize, secret: usize) {
        self.last_sent = now;
        if self.log.is_on() {
            let frame = self.out.get(start..).unwrap_or_default();
            self.log.record(now, Direction::ToBroker, self.protocol, frame, secret);
        }
    }
}
