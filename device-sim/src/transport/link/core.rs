//! A device that speaks the link protocol, as a pure machine: reports become frames, and what answers
//! them becomes what the ledger is told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::frame::{Framer, Framing, cobs};
use proto::link::{
    self, FileReceiver, Key, MAX_BLOCK, MAX_FRAME, Node, NodeConfig, NodeEvent, NodeOutput, Reply,
    ReportId,
};
use proto::{Instant, Reading, Value};

use super::duty::{Act, Duty, act};
use crate::device::{Channel, Report};

/// The first pause before a frame is sent again; it doubles.
pub(super) const ACK_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest one.
const MAX_TIMEOUT: Duration = Duration::from_secs(2);
/// Reports that a node keeps; the device measures no more until one is acknowledged.
const MAX_OPEN: usize = 32;
/// The largest file that a node takes.
const MAX_FILE: u32 = 256 * 1024;

/// Who a node is.
#[derive(Clone, Debug)]
pub struct LinkIdentity {
    /// Its number.
    pub device: u32,
    /// What it shares with the gateway; none for checksums.
    pub key: Option<Key>,
    /// Its first boot count.
    pub epoch: u32,
    /// From one start to the next; without it there is one.
    pub restart_every: Option<Duration>,
    /// Spreads its pauses.
    pub seed: u64,
    /// What it makes of commands; without it, it obeys.
    pub duty: Option<Box<Duty>>,
}

/// What becomes of readings, for the ledger.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkEvent {
    /// They are about to be sent, under the numbers that they have.
    Sent {
        /// When they were meant to be.
        due: Instant,
        /// The readings of a report.
        readings: Vec<Reading>,
    },
    /// They are on the gateway's disk.
    Acknowledged(Vec<Reading>),
    /// The gateway does not want them.
    Refused(Vec<Reading>),
    /// Nobody waits for their answer any more.
    Unanswered(Vec<Reading>),
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkOutput {
    /// Send a frame.
    Transmit(Vec<u8>),
    /// Tell the ledger.
    Event(LinkEvent),
    /// Nothing, until the next input or this time.
    Wait(Instant),
}

/// A node, from one start to the next.
///
/// Inputs are [`handle_report`](Self::handle_report) while it [has room](Self::has_room),
/// [`handle_frame`](Self::handle_frame), [`handle_timeout`](Self::handle_timeout),
/// [`handle_connected`](Self::handle_connected), and [`restart`](Self::restart) when its life
/// [ends](Self::ends_at). After each, call [`poll_output`](Self::poll_output) until it says to wait.
#[derive(Debug)]
pub struct LinkCore {
    config: NodeConfig,
    restart_every: Option<Duration>,
    seed: u64,
    decimals: Vec<u8>,
    /// When the node's clock began.
    booted: Instant,
    epoch: u32,
    /// Reports that have a number of this epoch.
    numbered: u64,
    node: Node,
    /// What is not acknowledged yet, at most [`MAX_OPEN`].
    open: BTreeMap<ReportId, Report>,
    events: VecDeque<LinkEvent>,
    /// The name of the device.
    name: String,
    files: FileReceiver,
    duty: Option<Box<Duty>>,
    /// The answer that comes late; there is one at most, since a node is asked one thing at a time.
    late: Option<(Instant, u16, Reply)>,
    /// It has lost its power.
    dies: bool,
    /// When it was handed something last.
    now: Instant,
}

impl LinkCore {
    /// The node of a device of that name that starts, and measures these channels.
    pub fn new(now: Instant, identity: LinkIdentity, name: &str, channels: &[Channel]) -> Self {
        let LinkIdentity { device, key, epoch, restart_every, seed, duty } = identity;
        let config = NodeConfig {
            key,
            queue: MAX_OPEN,
            ack_timeout: ACK_TIMEOUT,
            max_timeout: MAX_TIMEOUT,
            ..NodeConfig::new(device, epoch, table(channels))
        };
        Self {
            node: Node::new(config.clone(), seed),
            restart_every,
            seed,
            decimals: channels.iter().map(|channel| channel.decimals).collect(),
            booted: now,
            epoch,
            numbered: 0,
            config,
            open: BTreeMap::new(),
            events: VecDeque::new(),
            name: name.to_owned(),
            files: FileReceiver::new(MAX_FILE, MAX_BLOCK),
            duty,
            late: None,
            dies: false,
            now,
        }
    }

    /// Whether it takes another report.
    pub fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN
    }

    /// Whether every report is answered.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// When it starts again.
    pub fn ends_at(&self) -> Instant {
        if self.dies {
            return self.booted;
        }
        self.restart_every.map_or(Instant::FAR_FUTURE, |every| self.booted + every)
    }

    /// It starts again, and has forgotten what was not acknowledged.
    pub fn restart(&mut self, now: Instant) {
        self.forget();
        self.epoch = self.epoch.saturating_add(1);
        self.config.epoch = self.epoch;
        self.seed = self.seed.wrapping_add(1);
        self.node = Node::new(self.config.clone(), self.seed);
        (self.booted, self.numbered, self.now) = (now, 0, now);
        self.files = FileReceiver::new(MAX_FILE, MAX_BLOCK);
        (self.late, self.dies) = (None, false);
    }

    /// It waits for no answer any more.
    pub fn forget(&mut self) {
        let open = std::mem::take(&mut self.open).into_values();
        self.events.extend(open.map(|report| LinkEvent::Unanswered(report.readings)));
    }

    /// The line is there again: what was sent over the old one may be lost.
    pub fn handle_connected(&mut self, now: Instant) {
        self.node.handle_connected(self.uptime(now));
    }

    /// A frame has arrived.
    pub fn handle_frame(&mut self, now: Instant, frame: &[u8]) {
        self.now = now;
        self.node.handle_frame(self.uptime(now), frame);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if let Some((_, number, reply)) = self.late.take_if(|(at, ..)| *at <= now) {
            self.node.respond(number, reply.encode());
        }
        self.node.handle_timeout(self.uptime(now));
    }

    /// Takes a report.
    pub fn handle_report(&mut self, now: Instant, mut report: Report) {
        let values = (0..).zip(report.readings.iter().zip(&self.decimals));
        let values: Vec<_> = values
            .filter_map(|(number, (reading, decimals))| {
                Some((number, scaled(&reading.value, *decimals)?))
            })
            .collect();
        self.number(&mut report.readings);
        let readings = report.readings.clone();
        self.events.push_back(LinkEvent::Sent { due: report.due, readings });
        match self.node.report(self.uptime(now), &values) {
            Ok(id) => drop(self.open.insert(id, report)),
            Err(error) => {
                tracing::debug!(device = self.config.device, %error, "not taken");
                self.numbered -= 1;
                self.events.push_back(LinkEvent::Unanswered(report.readings));
            }
        }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> LinkOutput {
        loop {
            if let Some(event) = self.events.pop_front() {
                return LinkOutput::Event(event);
            }
            match self.node.poll_output() {
                NodeOutput::Transmit(frame) => return LinkOutput::Transmit(frame),
                NodeOutput::Event(event) => self.handle_event(event),
                NodeOutput::Wait(until) => {
                    let until = until.map(|until| self.booted + (until - Instant::ZERO));
                    let late = self.late.as_ref().map_or(Instant::FAR_FUTURE, |(at, ..)| *at);
                    return LinkOutput::Wait(until.unwrap_or(Instant::FAR_FUTURE).min(late));
                }
            }
        }
    }

    fn handle_event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Acknowledged(id) => {
                let report = self.open.remove(&id);
                self.events.extend(report.map(|report| LinkEvent::Acknowledged(report.readings)));
            }
            NodeEvent::Refused(id) => {
                let report = self.open.remove(&id);
                self.events.extend(report.map(|report| LinkEvent::Refused(report.readings)));
            }
            NodeEvent::Epoch(epoch) => self.begin_epoch(epoch),
            NodeEvent::Command { number, payload } => {
                match act(self.duty.as_deref(), &self.name, &mut self.files, &payload) {
                    Act::Answer(reply) => self.node.respond(number, reply.encode()),
                    Act::Late(reply, by) => self.late = Some((self.now + by, number, reply)),
                    Act::Die => self.dies = true,
                }
            }
            NodeEvent::Time { .. } => {}
            NodeEvent::Malformed(fault) => {
                tracing::debug!(device = self.config.device, %fault, "a damaged frame");
            }
        }
    }

    /// What is open goes on in another epoch. Nobody promises the delivery of the old numbers.
    fn begin_epoch(&mut self, epoch: u32) {
        (self.epoch, self.numbered) = (epoch, 0);
        let mut open = std::mem::take(&mut self.open);
        for Report { due, readings } in open.values_mut() {
            self.events.push_back(LinkEvent::Unanswered(readings.clone()));
            self.number(readings);
            self.events.push_back(LinkEvent::Sent { due: *due, readings: readings.clone() });
        }
        self.open = open;
    }

    /// Gives a report the next number.
    fn number(&mut self, readings: &mut [Reading]) {
        self.numbered += 1;
        for reading in readings {
            (reading.epoch, reading.sequence) = (Some(self.epoch), Some(self.numbered));
        }
    }

    /// The node's clock.
    fn uptime(&self, now: Instant) -> Instant {
        Instant::ZERO + now.saturating_since(self.booted)
    }
}

/// Cuts frames out of a stream.
pub fn link_framer() -> Framer {
    Framer::new(Framing::Cobs, MAX_FRAME)
}

/// A frame as it goes over a stream. What noise began ends before it.
pub fn stuffed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    cobs::encode(frame, &mut bytes);
    bytes
}

/// The channels of a device as its HELLO tells them.
fn table(channels: &[Channel]) -> Vec<link::Channel> {
    let entry = |channel: &Channel| link::Channel {
        name: channel.name.clone(),
        unit: channel.unit.clone(),
        exponent: i8::try_from(channel.decimals).map_or(i8::MIN, |decimals| -decimals),
    };
    channels.iter().map(entry).collect()
}

/// A number as an integer of its last decimal.
fn scaled(value: &Value, decimals: u8) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    let shift = number.exponent() + i32::from(decimals);
    let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
    let mantissa = number.mantissa();
    let scaled = if shift < 0 { mantissa / factor } else { mantissa.checked_mul(factor)? };
    i64::try_from(scaled).ok()
}
