//! The gateway's role.

mod command;
mod device;
mod output;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use self::device::Device;
pub use self::output::{
    CommandError, CommandNumber, CommandOutcome, GatewayEvent, GatewayOutput, Measured, Report,
    Ticket,
};
use super::message::{Data, Hello};
use super::sequences::{Offer, Replay};
use super::{Fault, Frame, Key, Kind, Unverified};
use crate::{Instant, Timestamp};

/// How a gateway behaves.
#[derive(Clone, Copy, Debug)]
pub struct GatewayConfig {
    /// Most devices at a time, where any device is taken. A further one takes the place of the one
    /// that was silent for longest, if that was [`silence`](Self::silence) at least.
    pub max_devices: usize,
    /// See [`max_devices`](Self::max_devices).
    pub silence: Duration,
    /// The first pause before a command is sent again; it doubles.
    pub command_timeout: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            max_devices: 1024,
            silence: Duration::from_secs(3600),
            command_timeout: Duration::from_secs(2),
        }
    }
}

/// The gateway's end of links to many devices, at peers `P`.
///
/// Inputs are [`handle_frame`](Self::handle_frame), what became of each report
/// ([`handle_durable`](Self::handle_durable), [`handle_refused`](Self::handle_refused)),
/// [`command`](Self::command) and [`handle_timeout`](Self::handle_timeout). After each, and after
/// several of them, call [`poll_output`](Self::poll_output) until it says to wait: what a commit
/// made durable is acknowledged in one frame for each device.
#[derive(Debug)]
pub struct Gateway<P> {
    config: GatewayConfig,
    /// Where there are any, only devices that have one are taken.
    keys: Option<BTreeMap<u32, Key>>,
    devices: BTreeMap<u32, Device<P>>,
    outputs: VecDeque<GatewayOutput<P>>,
    /// Devices that have to be told where they are.
    to_answer: BTreeSet<u32>,
    /// When commands are sent again, or given up.
    timers: BTreeSet<(Instant, u32)>,
}

impl<P: Clone> Gateway<P> {
    /// A gateway that takes every device, with a checksum.
    pub const fn new(config: GatewayConfig) -> Self {
        Self {
            config,
            keys: None,
            devices: BTreeMap::new(),
            outputs: VecDeque::new(),
            to_answer: BTreeSet::new(),
            timers: BTreeSet::new(),
        }
    }

    /// A gateway that takes devices with these keys and no others.
    pub fn with_keys(config: GatewayConfig, keys: BTreeMap<u32, Key>) -> Self {
        Self { keys: Some(keys), ..Self::new(config) }
    }

    /// Learns, at the start, what an earlier process knew of a device.
    pub fn restore(&mut self, now: Instant, device: u32, replay: Replay) {
        self.devices.insert(device, Device::new(now, replay));
    }

    /// What a later process has to know of each device: every number that is durable.
    pub fn replays(&self) -> impl Iterator<Item = (u32, Replay)> {
        self.devices.iter().map(|(&number, device)| (number, device.replay()))
    }

    /// Takes a frame that arrived from `peer`; `wall` is the time that a node is told.
    pub fn handle_frame(&mut self, now: Instant, wall: Timestamp, peer: P, bytes: &[u8]) {
        let parsed = Unverified::parse(bytes);
        let device = parsed.ok().map(|frame| frame.device());
        let taken = parsed.and_then(|frame| {
            let key = match &self.keys {
                None => None,
                Some(keys) => Some(keys.get(&frame.device()).ok_or(Fault::NoKey)?.clone()),
            };
            let frame = frame.verify(key.as_ref())?;
            self.take(now, wall, &peer, &frame, key.as_ref())
        });
        if let Err(fault) = taken {
            self.event(GatewayEvent::Refused { peer, device, fault });
        }
    }

    fn take(
        &mut self,
        now: Instant,
        wall: Timestamp,
        peer: &P,
        frame: &Frame<'_>,
        key: Option<&Key>,
    ) -> Result<(), Fault> {
        let header = &frame.header;
        let uptime = match header.kind {
            Kind::Hello => self.hello(now, peer, frame)?,
            Kind::Data => self.data(now, peer, frame)?,
            Kind::Response => return self.response(frame),
            Kind::Ack | Kind::Command | Kind::Time => return Err(Fault::Direction),
        };
        if let Some(uptime) = uptime.filter(|_| header.flags.time_wanted) {
            let frame = device::time(header, wall, uptime).seal(key);
            self.outputs.push_back(GatewayOutput::Transmit { peer: peer.clone(), frame });
        }
        Ok(())
    }

    /// A node introduces itself; its uptime, if it is taken.
    fn hello(
        &mut self,
        now: Instant,
        peer: &P,
        frame: &Frame<'_>,
    ) -> Result<Option<Duration>, Fault> {
        let hello = Hello::decode(frame.payload)?;
        let (number, epoch) = (frame.header.device, frame.header.epoch);
        self.make_room(now, number)?;
        let fresh = || Device::new(now, Replay::new(epoch));
        let device = self.devices.entry(number).or_insert_with(fresh);
        if epoch < device.epoch() {
            // The answer has the higher epoch, so that a node that lost its count can go on.
            let frame = device::hello_wanted(number, device.epoch(), 0).seal(self.key(number));
            self.outputs.push_back(GatewayOutput::Transmit { peer: peer.clone(), frame });
            return Err(Fault::Stale);
        }
        let was_reachable = device.is_reachable();
        device.heard(now, peer);
        self.to_answer.insert(number);
        let uptime = hello.uptime;
        let opened = device.open(now, epoch, hello);
        if let Some(command) = opened.command {
            self.timers.remove(&(command.at, number));
            self.event(GatewayEvent::Command {
                device: number,
                number: command.number,
                outcome: CommandOutcome::Restarted,
            });
        }
        if opened.is_new {
            self.event(GatewayEvent::Opened { peer: peer.clone(), device: number, epoch });
        }
        self.lose(number, opened.lost);
        if !was_reachable {
            self.event(GatewayEvent::Reached { device: number });
        }
        self.send_again(now, number);
        Ok(Some(uptime))
    }

    /// Readings; their uptime, if they are taken or were taken before.
    fn data(
        &mut self,
        now: Instant,
        peer: &P,
        frame: &Frame<'_>,
    ) -> Result<Option<Duration>, Fault> {
        let header = &frame.header;
        let (number, epoch, sequence) = (header.device, header.epoch, header.sequence);
        let wants_ack = header.flags.ack_requested;
        let known = self.devices.get_mut(&number).filter(|device| epoch <= device.epoch());
        let Some(device) = known.filter(|device| device.is_open() || epoch < device.epoch()) else {
            // Nothing is known of it, of its epoch or of its table: that takes a HELLO.
            self.want_hello(peer, frame);
            return Ok(None);
        };
        if epoch < device.epoch() {
            return Err(Fault::Stale);
        }
        if !device.is_reachable() {
            let reached = GatewayEvent::Reached { device: number };
            self.outputs.push_back(GatewayOutput::Event(reached));
        }
        device.heard(now, peer);
        let offer = match sequence {
            0 => return Err(Fault::Payload("sequence numbers begin with 1")),
            _ => device.offer(sequence),
        };
        match offer {
            Offer::TooFar => {
                self.want_hello(peer, frame);
                Ok(None)
            }
            Offer::Pending => Ok(None),
            Offer::Settled => {
                if wants_ack {
                    self.to_answer.insert(number);
                }
                Ok(Data::decode(frame.payload).ok().map(|data| data.uptime))
            }
            Offer::New => {
                let data = Data::decode(frame.payload);
                let measured = data.and_then(|data| device.measure(now, &data));
                let (values, uptime, age) = match measured {
                    Ok(measured) => measured,
                    Err(fault) => {
                        device.refuse(sequence);
                        self.to_answer.insert(number);
                        return Err(fault);
                    }
                };
                let lost = device.take(sequence, wants_ack);
                let ticket = Ticket { device: number, epoch, sequence };
                let report = Report { peer: peer.clone(), ticket, age, values };
                self.event(GatewayEvent::Report(report));
                self.lose(number, lost);
                Ok(Some(uptime))
            }
        }
    }

    /// A report is durable.
    pub fn handle_durable(&mut self, ticket: Ticket) {
        let device = self.devices.get_mut(&ticket.device);
        if let Some(device) = device.filter(|device| device.epoch() == ticket.epoch)
            && device.settle(ticket.sequence)
        {
            self.to_answer.insert(ticket.device);
        }
    }

    /// A report could not be stored: its node is told to send it again after that time.
    pub fn handle_refused(&mut self, ticket: Ticket, retry_after: Duration) {
        let device = self.devices.get_mut(&ticket.device);
        if let Some(device) = device.filter(|device| device.epoch() == ticket.epoch) {
            device.forget(ticket.sequence, retry_after);
            self.to_answer.insert(ticket.device);
        }
    }

    /// A peer is gone: nothing is sent to it any more.
    pub fn handle_gone(&mut self, is_gone: impl Fn(&P) -> bool) {
        for device in self.devices.values_mut() {
            device.forget_peer(&is_gone);
        }
    }

    /// What is to be done at once: acknowledgements are kept back, so that those of several frames
    /// can be put together.
    pub fn poll_queued(&mut self) -> Option<GatewayOutput<P>> {
        self.outputs.pop_front()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> GatewayOutput<P> {
        if let Some(output) = self.poll_queued() {
            return output;
        }
        while let Some(number) = self.to_answer.pop_first() {
            let key = self.keys.as_ref().and_then(|keys| keys.get(&number));
            let answer = self.devices.get_mut(&number).and_then(|device| device.answer(number));
            if let Some((peer, answer)) = answer {
                return GatewayOutput::Transmit { peer, frame: answer.seal(key) };
            }
        }
        GatewayOutput::Wait(self.timers.first().map(|&(at, _)| at))
    }

    fn want_hello(&mut self, peer: &P, frame: &Frame<'_>) {
        let (number, epoch) = (frame.header.device, frame.header.epoch);
        let cumulative = self.devices.get(&number).map_or(0, |device| device.settled_in(epoch));
        let frame = device::hello_wanted(number, epoch, cumulative).seal(self.key(number));
        self.outputs.push_back(GatewayOutput::Transmit { peer: peer.clone(), frame });
    }

    fn lose(&mut self, device: u32, reports: u16) {
        if reports > 0 {
            self.event(GatewayEvent::Lost { device, reports });
        }
    }

    fn event(&mut self, event: GatewayEvent<P>) {
        self.outputs.push_back(GatewayOutput::Event(event));
    }

    /// Sees to it that there is room for a device that is not known yet.
    fn make_room(&mut self, now: Instant, number: u32) -> Result<(), Fault> {
        let is_full = self.keys.is_none() && self.devices.len() >= self.config.max_devices;
        if !is_full || self.devices.contains_key(&number) {
            return Ok(());
        }
        let idle = self.devices.iter().filter(|(_, device)| device.is_idle());
        let (&oldest, device) =
            idle.min_by_key(|(_, device)| device.last_heard()).ok_or(Fault::TooManyDevices)?;
        if now - device.last_heard() < self.config.silence {
            return Err(Fault::TooManyDevices);
        }
        self.devices.remove(&oldest);
        Ok(())
    }

    fn key(&self, device: u32) -> Option<&Key> {
        self.keys.as_ref().and_then(|keys| keys.get(&device))
    }
}
