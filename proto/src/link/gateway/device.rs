//! One device as its gateway sees it.

use alloc::vec::Vec;
use core::time::Duration;

use super::super::frame::{Flags, Header, Kind};
use super::super::message::{Ack, Channel, Data, Hello, Status, Time};
use super::super::sequences::{Offer, Replay, Sequences};
use super::super::uptime::UptimeClock;
use super::super::{Fault, Key};
use super::command::Outstanding;
use super::output::{CommandError, CommandNumber, Measured};
use crate::{Instant, Number, Timestamp};

/// Numbers that an earlier process may have used without that its node has taken them: an answer to one of
/// those must not be taken for that to another command.
const SKIPPED: u16 = 8;

/// A frame before it is sealed.
pub(super) struct Unsealed {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
}

impl Unsealed {
    pub(super) fn seal(&self, key: Option<&Key>) -> Vec<u8> {
        self.header.seal(&self.payload, key)
    }
}

/// What is known since the node's HELLO.
#[derive(Debug)]
struct Session {
    channels: Vec<Channel>,
    clock: UptimeClock,
}

/// A device.
#[derive(Debug)]
pub(super) struct Device<P> {
    epoch: u32,
    sequences: Sequences,
    session: Option<Session>,
    peer: Option<P>,
    last_heard: Instant,
    /// Numbers that were taken from a node that wants no ACK for them.
    silent: u64,
    status: Status,
    /// The highest number of a command that the node has taken, or was sent, in this epoch.
    last_command: u16,
    /// How many numbers are left out before the next one.
    skipped: u16,
    pub(super) command: Option<Outstanding>,
}

/// What a HELLO changed.
pub(super) struct Opened {
    pub(super) is_new: bool,
    pub(super) lost: u16,
    /// A command that the node will not answer any more.
    pub(super) command: Option<Outstanding>,
}

impl<P: Clone> Device<P> {
    pub(super) const fn new(now: Instant, replay: Replay) -> Self {
        Self {
            epoch: replay.epoch,
            sequences: Sequences::restored(replay),
            session: None,
            peer: None,
            last_heard: now,
            silent: 0,
            status: Status::Ok,
            last_command: 0,
            skipped: 0,
            command: None,
        }
    }

    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) const fn is_open(&self) -> bool {
        self.session.is_some()
    }

    pub(super) const fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// Whether nothing would be lost with it but what tells its duplicates.
    pub(super) fn is_idle(&self) -> bool {
        self.command.is_none() && !self.sequences.has_pending()
    }

    /// Whether a command can be sent to it.
    pub(super) const fn is_reachable(&self) -> bool {
        self.session.is_some() && self.peer.is_some()
    }

    /// What the next command is called.
    pub(super) fn next_command(&self) -> Result<CommandNumber, CommandError> {
        if !self.is_reachable() {
            return Err(CommandError::Unreachable);
        }
        if self.command.is_some() {
            return Err(CommandError::Busy);
        }
        let number = self.last_command.checked_add(1 + self.skipped);
        let number = number.ok_or(CommandError::Exhausted)?;
        Ok(CommandNumber { epoch: self.epoch, number })
    }

    /// Uses a number, which may be the one that was used last.
    pub(super) fn use_number(&mut self, it: CommandNumber) -> Result<(), CommandError> {
        // The last number can be used again when there is no next one.
        self.next_command()
            .map(drop)
            .or_else(|why| if why == CommandError::Exhausted { Ok(()) } else { Err(why) })?;
        if it.epoch != self.epoch || it.number < self.last_command.max(1) {
            return Err(CommandError::Passed);
        }
        (self.last_command, self.skipped) = (it.number, 0);
        Ok(())
    }

    pub(super) const fn peer(&self) -> Option<&P> {
        self.peer.as_ref()
    }

    pub(super) fn replay(&self) -> Replay {
        self.sequences.replay(self.epoch)
    }

    /// Up to where all are settled, if `epoch` is the one that is known.
    pub(super) fn settled_in(&self, epoch: u32) -> u16 {
        if epoch == self.epoch { self.sequences.acknowledged().0 } else { 0 }
    }

    pub(super) fn heard(&mut self, now: Instant, peer: &P) {
        self.last_heard = now;
        self.peer = Some(peer.clone());
    }

    pub(super) fn forget_peer(&mut self, is_gone: impl Fn(&P) -> bool) {
        if self.peer.as_ref().is_some_and(is_gone) {
            self.peer = None;
        }
    }

    /// Takes a HELLO of this epoch or a later one.
    pub(super) fn open(&mut self, now: Instant, epoch: u32, hello: Hello) -> Opened {
        let is_new = epoch > self.epoch || self.session.is_none();
        let is_inherited = epoch == self.epoch && self.session.is_none();
        let mut opened = Opened { is_new, lost: 0, command: None };
        if epoch > self.epoch || self.replay() == Replay::new(epoch) && self.session.is_none() {
            // What came before `first` was never ours to lose.
            self.sequences = Sequences::starting_at(hello.first);
            self.last_command = hello.command;
            self.silent = 0;
            self.session = None;
            opened.command = self.command.take();
        } else {
            opened.lost = self.sequences.skip_to(hello.first);
            self.last_command = self.last_command.max(hello.command);
        }
        if is_new {
            self.skipped = if is_inherited { SKIPPED } else { 0 };
        }
        self.epoch = epoch;
        let clock = match self.session.take() {
            Some(Session { mut clock, .. }) => {
                clock.observe(now, hello.uptime);
                clock
            }
            None => UptimeClock::new(now, hello.uptime),
        };
        self.session = Some(Session { channels: hello.channels, clock });
        opened
    }

    pub(super) fn offer(&self, sequence: u16) -> Offer {
        self.sequences.offer(sequence)
    }

    /// What DATA means, its uptime, and how long ago it was measured.
    pub(super) fn measure(
        &mut self,
        now: Instant,
        data: &Data,
    ) -> Result<(Vec<Measured>, Duration, Duration), Fault> {
        let session = self.session.as_mut().ok_or(Fault::Payload("no table of channels"))?;
        let measured = data.values.iter().filter_map(|&(index, value)| {
            let channel = session.channels.get(usize::from(index))?;
            let value = Number::from_decimal(value.into(), channel.exponent.into())?;
            Some(Measured { name: channel.name.clone(), unit: channel.unit.clone(), value })
        });
        let measured: Vec<_> = measured.collect();
        if measured.len() < data.values.len() {
            return Err(Fault::Payload("a channel that is not in the table"));
        }
        session.clock.observe(now, data.uptime);
        Ok((measured, data.uptime, session.clock.age(now, data.uptime)))
    }

    /// Takes a new number; how many are lost.
    pub(super) fn take(&mut self, sequence: u16, wants_ack: bool) -> u16 {
        self.set_silent(sequence, !wants_ack);
        self.sequences.take(sequence)
    }

    /// A number is durable; whether its node wants to know.
    pub(super) fn settle(&mut self, sequence: u16) -> bool {
        self.sequences.settle(sequence);
        self.silent & silent_bit(sequence) == 0
    }

    pub(super) fn forget(&mut self, sequence: u16, retry_after: Duration) {
        self.sequences.forget(sequence);
        self.status = Status::Busy(retry_after);
    }

    /// A number will never be taken.
    pub(super) const fn refuse(&mut self, sequence: u16) {
        self.status = Status::Refused(sequence);
    }

    /// What the device has to be told: where its gateway is.
    pub(super) fn answer(&mut self, number: u32) -> Option<(P, Unsealed)> {
        let peer = self.peer.clone()?;
        let status = core::mem::take(&mut self.status);
        let (cumulative, bitmap) = self.sequences.acknowledged();
        let is_unknown = self.session.is_none() && status == Status::Ok;
        let status = if is_unknown { Status::HelloWanted } else { status };
        let header = header(Kind::Ack, number, self.epoch, cumulative);
        Some((peer, Unsealed { header, payload: Ack { bitmap, status }.encode() }))
    }

    fn set_silent(&mut self, sequence: u16, is_silent: bool) {
        self.silent &= !silent_bit(sequence);
        if is_silent {
            self.silent |= silent_bit(sequence);
        }
    }
}

/// Pending numbers lie within 64 of each other, so that their last six bits tell them apart.
const fn silent_bit(sequence: u16) -> u64 {
    1 << (sequence % 64)
}

pub(super) fn header(kind: Kind, device: u32, epoch: u32, sequence: u16) -> Header {
    Header { kind, flags: Flags::default(), device, epoch, sequence }
}

/// The answer to a frame with `uptime` in it that asked for the time.
pub(super) fn time(asked: &Header, wall: Timestamp, uptime: Duration) -> Unsealed {
    let unix_ms = u64::try_from(wall.as_millis()).unwrap_or(0);
    let header = header(Kind::Time, asked.device, asked.epoch, 0);
    Unsealed { header, payload: Time { unix_ms, uptime }.encode() }
}

/// The answer to what cannot be taken without a HELLO of this epoch, or of a later one.
pub(super) fn hello_wanted(device: u32, epoch: u32, cumulative: u16) -> Unsealed {
    let header = header(Kind::Ack, device, epoch, cumulative);
    Unsealed { header, payload: Ack { bitmap: 0, status: Status::HelloWanted }.encode() }
}
