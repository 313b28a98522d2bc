//! Nodes of the link protocol (`docs/link-protocol.md`), over serial lines, TCP and UDP.
//!
//! A device lives through one [`Node`] after the other: each start has an epoch of its own, and what
//! was not acknowledged before is forgotten with the memory that it was in. In the ledger a reading is
//! known by device, epoch and the sequence number of its report, which are those on the wire: reports
//! are numbered in the order in which the node takes them, and where it has to begin another epoch,
//! those that are open are numbered again.
//!
//! A node obeys: it answers a command with the value that came with it, and takes files into its memory. Where
//! it has a [`Duty`] it notes what it carries out, does not always obey, and stays for commands after its last
//! report.

mod duty;
mod line;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proto::link::{
    self, FileReceiver, Key, MAX_BLOCK, MAX_FRAME, Node, NodeConfig, NodeEvent, NodeOutput, Reply,
    ReportId,
};
use proto::{Instant, Reading, Value};
use tokio_util::sync::CancellationToken;

use self::duty::{Act, act};
pub use self::duty::{Attendance, Duty};
use self::line::{Line, Unsent};
use super::reconnect::Reconnect;
use super::{PATIENCE, SerialPort, Surroundings, TransportError, udp};
use crate::Via;
use crate::device::{Channel, Device, Report};

/// The first pause before a frame is sent again; it doubles.
const ACK_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest one.
const MAX_TIMEOUT: Duration = Duration::from_secs(2);
/// Reports that a node keeps; the device measures no more until one is acknowledged.
const MAX_OPEN: usize = 32;
/// The largest file that a node takes.
const MAX_FILE: u32 = 256 * 1024;

/// A node of the link protocol.
#[derive(Debug)]
pub struct LinkUplink {
    /// What its frames come over.
    pub carrier: LinkCarrier,
    /// Its number.
    pub device: u32,
    /// What it shares with the gateway; none for checksums.
    pub key: Option<Key>,
    /// From one start to the next; without it there is one.
    pub restart_every: Option<Duration>,
    /// Spreads its pauses.
    pub seed: u64,
    /// What it makes of commands; without it, it obeys.
    pub duty: Option<Box<Duty>>,
}

/// What frames come over.
#[derive(Debug)]
pub enum LinkCarrier {
    /// A pseudo-terminal.
    Serial {
        /// The port.
        port: SerialPort,
        /// The speed of the line in bits per second; a pseudo-terminal has none of its own.
        baud: u32,
    },
    /// A connection to where the gateway listens.
    Tcp(SocketAddr),
    /// Datagrams to where the gateway listens.
    Udp(SocketAddr),
}

/// Why a line is left.
enum Leave {
    /// The device was stopped.
    Stopped,
    /// It starts again.
    Restart,
}

impl LinkUplink {
    /// What it speaks.
    pub const fn via(&self) -> Via {
        match self.carrier {
            LinkCarrier::Serial { .. } => Via::LinkSerial,
            LinkCarrier::Tcp(_) => Via::LinkTcp,
            LinkCarrier::Udp(_) => Via::LinkUdp,
        }
    }

    pub(super) async fn run(
        self,
        mut device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) -> Result<Option<SerialPort>, TransportError> {
        let via = self.via();
        let mut config = NodeConfig {
            key: self.key,
            queue: MAX_OPEN,
            ack_timeout: ACK_TIMEOUT,
            max_timeout: MAX_TIMEOUT,
            ..NodeConfig::new(self.device, device.epoch(), table(device.channels()))
        };
        let (mut line, mut reconnect) = match self.carrier {
            LinkCarrier::Serial { port, baud } => (Some(Line::serial(port, baud)), None),
            LinkCarrier::Udp(gateway) => (Some(Line::udp(udp::connect(gateway).await?)), None),
            LinkCarrier::Tcp(gateway) => (None, Some(Reconnect::new(gateway))),
        };
        let mut seed = self.seed;
        let leave = self.duty.as_ref().map_or(&stop, |duty| &duty.attendance.until);
        loop {
            let booted = surroundings.now();
            let mut life = Life {
                via,
                device: &mut device,
                surroundings: &surroundings,
                booted,
                ends: self.restart_every.map_or(Instant::FAR_FUTURE, |every| booted + every),
                epoch: config.epoch,
                numbered: 0,
                node: Node::new(config.clone(), seed),
                open: BTreeMap::new(),
                files: FileReceiver::new(MAX_FILE, MAX_BLOCK),
                unsent: Unsent::default(),
                duty: self.duty.as_deref(),
                late: None,
                dies: false,
            };
            let left = life.run(&mut line, reconnect.as_mut(), &stop, leave).await;
            let open = life.open.values();
            open.for_each(|report| surroundings.ledger.handle_unanswered(&report.readings));
            match left {
                Leave::Stopped => return Ok(line.and_then(Line::into_port)),
                Leave::Restart => {
                    config.epoch = life.epoch.saturating_add(1);
                    seed = seed.wrapping_add(1);
                }
            }
        }
    }
}

/// A device from one start to the next.
struct Life<'a> {
    via: Via,
    device: &'a mut Device,
    surroundings: &'a Surroundings,
    /// When the node's clock began.
    booted: Instant,
    ends: Instant,
    epoch: u32,
    /// Reports that have a number of this epoch.
    numbered: u64,
    node: Node,
    /// What is not acknowledged yet, at most [`MAX_OPEN`].
    open: BTreeMap<ReportId, Report>,
    files: FileReceiver,
    unsent: Unsent,
    duty: Option<&'a Duty>,
    /// The answer that comes late; there is one at most, since a node is asked one thing at a time.
    late: Option<(Instant, u16, Reply)>,
    /// It has lost its power.
    dies: bool,
}

impl Life<'_> {
    /// Lives on `line`, and on the next whenever it breaks; reports until `stop`, and is there until `leave`.
    async fn run(
        &mut self,
        line: &mut Option<Line>,
        mut reconnect: Option<&mut Reconnect>,
        stop: &CancellationToken,
        leave: &CancellationToken,
    ) -> Leave {
        loop {
            if let Some(open) = line {
                match self.serve(open, stop, leave).await {
                    Ok(left) => {
                        // Who loses its power loses its connection.
                        if reconnect.is_some() {
                            *line = None;
                        }
                        return left;
                    }
                    Err(error) => tracing::debug!(device = self.device.id(), %error, "no line"),
                }
            }
            let Some(reconnect) = &mut reconnect else {
                // A line that cannot break; it is not asked all the time why it does.
                let pause =
                    self.surroundings.clock.sleep_until(self.surroundings.now() + ACK_TIMEOUT);
                if leave.run_until_cancelled(pause).await.is_none() {
                    return Leave::Stopped;
                }
                continue;
            };
            *line = None;
            let connected = reconnect.next(self.device.id(), self.surroundings, leave).await;
            let Some(stream) = connected else { return Leave::Stopped };
            *line = Some(Line::tcp(stream));
            self.unsent.clear();
            self.node.handle_connected(self.uptime());
        }
    }

    /// Until the line breaks, the device starts again, or `leave` and the last acknowledgement.
    async fn serve(
        &mut self,
        line: &mut Line,
        stop: &CancellationToken,
        leave: &CancellationToken,
    ) -> io::Result<Leave> {
        let clock = self.surroundings.clock;
        let mut buffer = vec![0; 2 * MAX_FRAME];
        let mut leave_at = Instant::FAR_FUTURE;
        self.node.handle_timeout(self.uptime());
        loop {
            let wait = self.drain(line);
            if self.dies {
                return Ok(Leave::Restart);
            }
            let (stopping, leaving) = (stop.is_cancelled(), leave.is_cancelled());
            if leaving && leave_at == Instant::FAR_FUTURE {
                leave_at = clock.now() + PATIENCE;
            }
            if leaving && (self.open.is_empty() || clock.now() >= leave_at) {
                return Ok(Leave::Stopped);
            }
            if !stopping && clock.now() >= self.ends {
                return Ok(Leave::Restart);
            }
            let may_report = !stopping && self.open.len() < MAX_OPEN;
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                () = leave.cancelled(), if !leaving => {}
                () = clock.sleep_until(leave_at), if leaving => {}
                () = clock.sleep_until(self.late_until()) => self.answer_late(),
                () = clock.sleep_until(self.ends), if !stopping => {}
                () = clock.sleep_until(self.device.poll_timeout()), if may_report => self.report(),
                () = clock.sleep_until(wait) => self.node.handle_timeout(self.uptime()),
                ready = line.writable(&clock), if !self.unsent.is_empty() => {
                    ready?;
                    line.send(clock.now(), &mut self.unsent)?;
                }
                () = line.plug_changed() => {
                    line.change_plug();
                    self.unsent.clear();
                }
                ready = line.readable() => {
                    ready?;
                    let uptime = self.uptime();
                    line.receive(&mut buffer, |frame| self.node.handle_frame(uptime, frame))?;
                }
            }
        }
    }

    /// Hands in the next report that is due, and writes it down as sent.
    fn report(&mut self) {
        let now = self.surroundings.now();
        let Some(mut report) = self.device.poll_report(now) else { return };
        let values: Vec<_> =
            (0..).zip(report.readings.iter().zip(self.device.channels())).collect();
        let values: Vec<_> = values
            .into_iter()
            .filter_map(|(number, (reading, channel))| {
                Some((number, scaled(&reading.value, channel.decimals)?))
            })
            .collect();
        self.number(&mut report.readings);
        self.surroundings.ledger.handle_sent(report.due, self.via, &report.readings);
        match self.node.report(self.uptime(), &values) {
            Ok(id) => drop(self.open.insert(id, report)),
            Err(error) => {
                tracing::debug!(device = self.device.id(), %error, "not taken");
                self.numbered -= 1;
                self.surroundings.ledger.handle_unanswered(&report.readings);
            }
        }
    }

    /// Gives a report the next number.
    fn number(&mut self, readings: &mut [Reading]) {
        self.numbered += 1;
        for reading in readings {
            (reading.epoch, reading.sequence) = (Some(self.epoch), Some(self.numbered));
        }
    }

    /// Takes what the node has to send and handles its events; the time until which it waits.
    fn drain(&mut self, line: &Line) -> Instant {
        loop {
            match self.node.poll_output() {
                NodeOutput::Transmit(frame) => self.unsent.push(line.stuffed(frame)),
                NodeOutput::Event(event) => self.handle_event(event),
                NodeOutput::Wait(until) => {
                    let until = until.map(|until| self.booted + (until - Instant::ZERO));
                    return until.unwrap_or(Instant::FAR_FUTURE);
                }
            }
        }
    }

    fn handle_event(&mut self, event: NodeEvent) {
        let ledger = &self.surroundings.ledger;
        match event {
            NodeEvent::Acknowledged(id) => {
                if let Some(report) = self.open.remove(&id) {
                    ledger.handle_acknowledged(&report.readings);
                }
            }
            NodeEvent::Refused(id) => {
                if let Some(report) = self.open.remove(&id) {
                    ledger.handle_refused(&report.readings);
                }
            }
            NodeEvent::Epoch(epoch) => self.begin_epoch(epoch),
            NodeEvent::Command { number, payload } => {
                match act(self.duty, self.device.id(), &mut self.files, &payload) {
                    Act::Answer(reply) => self.node.respond(number, reply.encode()),
                    Act::Late(reply, by) => {
                        self.late = Some((self.surroundings.now() + by, number, reply));
                    }
                    Act::Die => self.dies = true,
                }
            }
            NodeEvent::Time { .. } => {}
            NodeEvent::Malformed(fault) => {
                tracing::debug!(device = self.device.id(), %fault, "a damaged frame");
            }
        }
    }

    /// When the late answer comes.
    fn late_until(&self) -> Instant {
        self.late.as_ref().map_or(Instant::FAR_FUTURE, |(at, ..)| *at)
    }

    fn answer_late(&mut self) {
        if let Some((_, number, reply)) = self.late.take() {
            self.node.respond(number, reply.encode());
        }
    }

    /// What is open goes on in another epoch. Nobody promises the delivery of the old numbers.
    fn begin_epoch(&mut self, epoch: u32) {
        (self.epoch, self.numbered) = (epoch, 0);
        let mut open = std::mem::take(&mut self.open);
        for Report { due, readings } in open.values_mut() {
            self.surroundings.ledger.handle_unanswered(readings);
            self.number(readings);
            self.surroundings.ledger.handle_sent(*due, self.via, readings);
        }
        self.open = open;
    }

    fn uptime(&self) -> Instant {
        elapsed(self.booted, self.surroundings.now())
    }
}

/// The node's clock.
fn elapsed(booted: Instant, now: Instant) -> Instant {
    Instant::ZERO + now.saturating_since(booted)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proto::link::{Offer, Sha256Sum};

    fn told(files: &mut FileReceiver, argument: Argument) -> Reply {
        let call = Call { code: 1, argument, id: String::new() };
        obey(files, &call.encode().unwrap())
    }

    #[test]
    fn a_node_echoes_values_takes_files_and_refuses_the_rest() {
        let mut files = FileReceiver::new(MAX_FILE, MAX_BLOCK);
        let value = Value::Boolean(true);
        let echoed = told(&mut files, Argument::Value(value.clone()));
        assert_eq!(echoed, Reply::default().with(&value));
        assert_eq!(told(&mut files, Argument::None), Reply::default());
        let mut sum = Sha256Sum::default();
        sum.add(b"ab");
        let offer = Offer { name: "a".to_owned(), size: 2, sha256: sum.finish() };
        assert_eq!(told(&mut files, Argument::Offer(offer)).status, ReplyStatus::More);
        let block = Argument::Block { offset: 0, bytes: b"ab".to_vec() };
        assert_eq!(told(&mut files, block).status, ReplyStatus::Done);
        assert_eq!(obey(&mut files, b"").status, ReplyStatus::BadValue);
    }
}
