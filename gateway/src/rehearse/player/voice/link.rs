//! A node of the link protocol.

use device_sim::Via;
use device_sim::device::{Device, Report};
use device_sim::transport::{LinkCore, LinkEvent, LinkIdentity, LinkOutput, link_framer, stuffed};
use proto::Instant;
use proto::frame::Framer;

use super::Turn;

/// A node, over whatever carries its frames.
pub(in crate::rehearse::player) struct Link {
    via: Via,
    core: LinkCore,
    framer: Framer,
    wait: Instant,
    /// Whether frames can be sent, over connections.
    is_connected: bool,
    /// It has lost its power, and with it its connection.
    is_restarting: bool,
}

impl Link {
    pub(super) fn new(via: Via, identity: LinkIdentity, device: &Device) -> Self {
        let core = LinkCore::new(Instant::ZERO, identity, device.id(), device.channels());
        let is_connected = via != Via::LinkTcp;
        let (framer, wait) = (link_framer(), Instant::ZERO);
        Self { via, core, framer, wait, is_connected, is_restarting: false }
    }

    pub(super) const fn via(&self) -> Via {
        self.via
    }

    pub(super) fn has_room(&self) -> bool {
        self.core.has_room()
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let wait = if self.is_connected { self.wait } else { Instant::FAR_FUTURE };
        wait.min(self.core.ends_at())
    }

    pub(super) const fn wants_end(&self) -> bool {
        self.is_restarting
    }

    pub(super) fn handle_connected(&mut self, turn: &mut Turn<'_>) {
        (self.is_connected, self.is_restarting) = (true, false);
        self.framer = link_framer();
        self.core.handle_connected(turn.now);
        self.drain(turn);
    }

    /// It sends again what was not acknowledged.
    pub(super) fn handle_lost(&mut self) {
        self.is_connected = self.via != Via::LinkTcp;
    }

    pub(super) fn handle_plugged(&mut self) {
        self.framer = link_framer();
    }

    pub(super) fn handle_report(&mut self, turn: &mut Turn<'_>, report: Report) {
        self.core.handle_report(turn.now, report);
        self.drain(turn);
    }

    pub(super) fn handle_bytes(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) {
        if self.via == Via::LinkUdp {
            self.core.handle_frame(turn.now, bytes);
        } else {
            self.framer.handle_bytes(bytes);
            while let Some(frame) = self.framer.poll_frame() {
                // A damaged one is sent again.
                if let Ok(frame) = frame {
                    self.core.handle_frame(turn.now, frame);
                }
            }
        }
        self.drain(turn);
    }

    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        if self.core.ends_at() <= turn.now {
            self.core.restart(turn.now);
            self.is_restarting = self.via == Via::LinkTcp;
        }
        self.core.handle_timeout(turn.now);
        self.drain(turn);
    }

    pub(super) fn give_up(&mut self, turn: &mut Turn<'_>) {
        self.core.forget();
        self.drain(turn);
    }

    fn drain(&mut self, turn: &mut Turn<'_>) {
        loop {
            match self.core.poll_output() {
                LinkOutput::Transmit(frame) if self.via == Via::LinkUdp => {
                    turn.said.push_back(frame);
                }
                LinkOutput::Transmit(frame) => turn.said.push_back(stuffed(&frame)),
                LinkOutput::Event(event) => self.tell(turn, event),
                LinkOutput::Wait(until) => {
                    self.wait = until;
                    return;
                }
            }
        }
    }

    fn tell(&self, turn: &mut Turn<'_>, event: LinkEvent) {
        let (now, ledger) = (turn.now, &mut turn.ledger);
        match event {
            LinkEvent::Sent { due, readings } => ledger.handle_sent(now, due, self.via, &readings),
            LinkEvent::Acknowledged(readings) => ledger.handle_acknowledged(now, &readings),
            LinkEvent::Refused(readings) => ledger.handle_refused(now, &readings),
            LinkEvent::Unanswered(readings) => ledger.handle_unanswered(now, &readings),
        }
    }
}
