//! One simulated device on stage: the pure device, what it speaks, and its way to the gateway.

mod voice;
mod way;

use std::collections::VecDeque;
use std::net::SocketAddr;

use device_sim::Via;
use device_sim::device::Device;
use device_sim::fault::Place;
use device_sim::ledger::Ledger;
use device_sim::payload::Payload;
use device_sim::transport::LinkIdentity;
use proto::Instant;

use self::voice::{Turn, Voice};
use self::way::Way;
pub(super) use self::way::WayFaults;
use crate::config::Id;
use crate::source::Signal;

/// What a device is played with.
pub(super) struct Part {
    pub(super) device: Device,
    pub(super) via: Via,
    pub(super) payload: Payload,
    /// Who it is, where it speaks the link protocol.
    pub(super) identity: LinkIdentity,
    /// Where it sends from, and the source that it sends to.
    pub(super) peer: SocketAddr,
    pub(super) source: Id,
    /// What it calls the gateway, over HTTP.
    pub(super) host: String,
    /// The resource that takes its reports.
    pub(super) path: String,
    pub(super) seed: u64,
    /// What faults call its way.
    pub(super) places: Vec<Place>,
    /// What accidents are drawn from, where its way has any.
    pub(super) accidents: Option<u64>,
}

/// A device.
pub(super) struct Player {
    device: Device,
    peer: SocketAddr,
    source: Id,
    places: Vec<Place>,
    voice: Voice,
    way: Way,
    /// What it says and is not on its way yet.
    said: VecDeque<Vec<u8>>,
    /// Whether it has reported since it was connected.
    has_reported: bool,
    /// Whether it sends nothing more.
    is_over: bool,
}

impl Player {
    pub(super) fn new(part: Part) -> Self {
        let voice = Voice::new(&part);
        let way = Way::new(part.via, part.seed, part.accidents);
        let Part { device, peer, source, places, .. } = part;
        let mut said = VecDeque::new();
        said.extend(voice.greeting());
        Self { device, peer, source, places, voice, way, said, has_reported: false, is_over: false }
    }

    /// Where it sends from.
    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where it sends to.
    pub(super) const fn source(&self) -> &Id {
        &self.source
    }

    /// Whether faults at a place are on its way.
    pub(super) fn is_at(&self, place: &Place) -> bool {
        self.places.contains(place)
    }

    /// What faults call its way.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        let report = match self.may_report() {
            true => self.device.poll_timeout(),
            false => Instant::FAR_FUTURE,
        };
        let attempt = if self.is_over { Instant::FAR_FUTURE } else { self.way.attempt_at() };
        report.min(attempt).min(self.voice.poll_timeout()).min(self.way.poll_timeout())
    }

    /// Does what is due; `is_there` says whether the gateway is.
    pub(super) fn handle_timeout(&mut self, now: Instant, ledger: &mut Ledger, is_there: bool) {
        if !self.is_over && self.way.attempt(now, is_there) {
            self.has_reported = false;
            self.voice.handle_connected(&mut Turn { now, ledger, said: &mut self.said });
        }
        self.voice.handle_timeout(&mut Turn { now, ledger, said: &mut self.said });
        self.report(now, ledger, is_there);
        self.go_on(now, ledger, is_there);
    }

    /// What it tells its source.
    pub(super) fn poll_signal(&mut self, now: Instant) -> Option<Signal> {
        self.way.poll_signal(now)
    }

    /// The source has taken its connection.
    pub(super) const fn handle_accepted(&mut self) {
        self.way.handle_accepted();
    }

    /// The source tells it something; `is_there` as above.
    pub(super) fn handle_signal(
        &mut self,
        now: Instant,
        signal: Signal,
        ledger: &mut Ledger,
        is_there: bool,
    ) {
        self.way.handle_signal(now, signal);
        self.go_on(now, ledger, is_there);
    }

    /// Connections can be made again.
    pub(super) fn handle_reachable(&mut self, now: Instant) {
        self.way.handle_reachable(now);
    }

    /// The gateway is dead, and connections to it with it.
    pub(super) fn handle_gone(&mut self, now: Instant, ledger: &mut Ledger) {
        if self.way.handle_gone(now) {
            self.lose(now, ledger);
        }
    }

    /// Its connection is reset.
    pub(super) fn handle_cut(&mut self, now: Instant, ledger: &mut Ledger) {
        if self.way.handle_end(now) {
            self.lose(now, ledger);
        }
    }

    /// What is wrong with its way from now on.
    pub(super) fn set_faults(&mut self, now: Instant, faults: WayFaults) {
        let was_plugged = self.way.is_plugged();
        self.way.set_faults(now, faults);
        if self.way.is_plugged() && !was_plugged {
            self.voice.handle_plugged();
            self.said.extend(self.voice.greeting());
            self.way.send_all(now, &mut self.said, true);
        }
    }

    /// Whether its port is there.
    pub(super) const fn is_plugged(&self) -> bool {
        self.way.is_plugged()
    }

    /// Its port was pulled out with so many bytes in it that nobody has read.
    pub(super) fn handle_unplugged(&mut self, now: Instant, unread: usize, ledger: &mut Ledger) {
        for readings in self.way.take_written(unread) {
            ledger.handle_injured(now, &readings);
        }
    }

    /// Everything that it has written was read.
    pub(super) fn handle_read(&mut self) {
        self.way.handle_read();
    }

    /// It sends nothing more.
    pub(super) const fn stop(&mut self) {
        self.is_over = true;
    }

    /// It does not wait for answers any more.
    pub(super) fn give_up(&mut self, now: Instant, ledger: &mut Ledger) {
        self.voice.give_up(&mut Turn { now, ledger, said: &mut self.said });
    }

    fn may_report(&self) -> bool {
        !self.is_over && self.way.is_open() && self.voice.has_room()
    }

    /// Sends the reports that are due.
    fn report(&mut self, now: Instant, ledger: &mut Ledger, is_there: bool) {
        while self.may_report() && self.device.poll_timeout() <= now {
            // Who was away comes back with a new connection.
            if self.device.is_back() && self.has_reported && self.voice.leaves() {
                return self.handle_cut(now, ledger);
            }
            let Some(report) = self.device.poll_report(now) else { return };
            self.has_reported = true;
            let turn = &mut Turn { now, ledger, said: &mut self.said };
            let unanswered = self.voice.handle_report(turn, report);
            let length = self.said.iter().map(Vec::len).sum();
            let is_whole = self.way.send_all(now, &mut self.said, is_there);
            match unanswered {
                // What nobody is there to receive is the fault of who killed it.
                Some(readings) if !is_whole => ledger.handle_injured(now, &readings),
                Some(readings) => self.way.handle_written(length, readings),
                None => {}
            }
        }
    }

    /// Sends what is said, and takes what has arrived, until nothing moves.
    fn go_on(&mut self, now: Instant, ledger: &mut Ledger, is_there: bool) {
        loop {
            self.way.send_all(now, &mut self.said, is_there);
            let Some(bytes) = self.way.poll_received(now) else { break };
            let turn = &mut Turn { now, ledger, said: &mut self.said };
            self.voice.handle_bytes(turn, &bytes);
        }
        if self.way.has_ended() || self.way.is_open() && self.voice.wants_end() {
            self.handle_cut(now, ledger);
        }
    }

    fn lose(&mut self, now: Instant, ledger: &mut Ledger) {
        self.said.clear();
        self.voice.handle_lost(&mut Turn { now, ledger, said: &mut self.said });
        self.said.clear();
    }
}
