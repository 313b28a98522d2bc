//! The node's role.

mod sending;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use self::sending::{Sending, Waiting};
use super::message::{Ack, Channel, Data, Hello, MAX_CHANNELS, Status, Time};
use super::sequences::REACH;
use super::{Fault, Flags, Frame, Header, Key, Kind, MAX_FRAME, MAX_PAYLOAD, Unverified};
use crate::{Instant, Rng};

/// The longest pause that a gateway may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// What a node is.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its number, that no other behind its gateway has.
    pub device: u32,
    /// Its boot count: one more than at the last start, from memory that outlives it.
    pub epoch: u32,
    /// What it shares with its gateway; none for checksums.
    pub key: Option<Key>,
    /// Its channels, at most [`MAX_CHANNELS`].
    pub channels: Vec<Channel>,
    /// Reports under way at a time, 1 to 32.
    pub window: u16,
    /// Reports that are kept in all; one more is refused.
    pub queue: usize,
    /// The first pause before a frame is sent again; it doubles.
    pub ack_timeout: Duration,
    /// The longest pause before a frame is sent again.
    pub max_timeout: Duration,
}

impl NodeConfig {
    /// A node without a key, and with timers for networks of any kind.
    pub const fn new(device: u32, epoch: u32, channels: Vec<Channel>) -> Self {
        Self {
            device,
            epoch,
            key: None,
            channels,
            window: 8,
            queue: 256,
            ack_timeout: Duration::from_secs(2),
            max_timeout: Duration::from_secs(60),
        }
    }
}

/// What a report is called until it has come to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReportId(u64);

/// Why a report is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReportError {
    /// As many as may be kept are not acknowledged yet.
    #[error("the queue is full: the gateway does not acknowledge")]
    Full,
    /// There is nothing in it, or a value for a channel that does not exist.
    #[error("a report needs values, and of channels that exist")]
    Values,
    /// The last epoch is used up.
    #[error("the epochs are used up: the node needs another number")]
    Exhausted,
}

/// What is to be done next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeOutput {
    /// Send a frame to the gateway, without stuffing.
    Transmit(Vec<u8>),
    /// Something happened.
    Event(NodeEvent),
    /// Nothing, until the next input or this time.
    Wait(Option<Instant>),
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeEvent {
    /// A report is on the gateway's disk.
    Acknowledged(ReportId),
    /// The gateway cannot make sense of a report; it is given up.
    Refused(ReportId),
    /// Another epoch begins: to be kept in memory that outlives the node.
    Epoch(u32),
    /// The time, in milliseconds since 1970, at `at`, give or take half of `round_trip`.
    Time {
        /// Since 1970-01-01T00:00:00Z, without leap seconds.
        unix_ms: u64,
        /// When that was, by the node's clock.
        at: Instant,
        /// From the question to the answer.
        round_trip: Duration,
    },
    /// A command, to be answered with [`respond`](Node::respond); each is here once.
    Command {
        /// Its number.
        number: u16,
        /// What is to be done.
        payload: Vec<u8>,
    },
    /// A frame was not taken.
    Malformed(Fault),
}

/// A node's end of the link to its gateway. Its clock begins when it starts.
///
/// Inputs are [`report`](Self::report), [`handle_frame`](Self::handle_frame),
/// [`handle_timeout`](Self::handle_timeout), [`respond`](Self::respond) and, where a link can break,
/// [`handle_connected`](Self::handle_connected). After each, call
/// [`poll_output`](Self::poll_output) until it says to wait.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    rng: Rng,
    epoch: u32,
    next_sequence: u32,
    next_id: u64,
    /// Whether the gateway has this epoch's HELLO.
    is_open: bool,
    /// When HELLO is sent, unless the link is open.
    hello_at: Instant,
    hello_pause: Duration,
    /// Nothing is sent before: the gateway is busy.
    busy_until: Instant,
    waiting: VecDeque<Waiting>,
    sending: Vec<Sending>,
    /// Uptime of the last frame that asked for the time, and the last one that was answered.
    time: Option<TimeAsked>,
    time_answered: Option<Duration>,
    command: u16,
    /// The answer to the last command, once there is one.
    response: Option<Vec<u8>>,
    outputs: VecDeque<NodeOutput>,
}

#[derive(Clone, Copy, Debug)]
struct TimeAsked {
    uptime: Duration,
    at: Instant,
}

impl Node {
    /// A node that starts; `seed` spreads the pauses of many that start together.
    pub fn new(mut config: NodeConfig, seed: u64) -> Self {
        config.window = config.window.clamp(1, REACH);
        config.channels.truncate(MAX_CHANNELS);
        Self {
            rng: Rng::new(seed),
            epoch: config.epoch,
            next_sequence: 1,
            next_id: 0,
            is_open: false,
            hello_at: Instant::ZERO,
            hello_pause: config.ack_timeout,
            busy_until: Instant::ZERO,
            waiting: VecDeque::new(),
            sending: Vec::new(),
            time: None,
            time_answered: None,
            command: 0,
            response: None,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// The boot count that it uses now.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Reports that are not acknowledged yet.
    pub fn open_reports(&self) -> usize {
        self.waiting.len() + self.sending.len()
    }

    /// Takes what was measured `now`: values by channel.
    ///
    /// # Errors
    /// When it is not kept.
    pub fn report(&mut self, now: Instant, values: &[(u8, i64)]) -> Result<ReportId, ReportError> {
        let exists = |channel: u8| usize::from(channel) < self.config.channels.len();
        let fits = (1..=MAX_CHANNELS).contains(&values.len());
        if !fits || !values.iter().all(|(channel, _)| exists(*channel)) {
            return Err(ReportError::Values);
        }
        if self.open_reports() >= self.config.queue {
            return Err(ReportError::Full);
        }
        if self.epoch == u32::MAX && self.next_sequence > u16::MAX.into() {
            return Err(ReportError::Exhausted);
        }
        let id = ReportId(self.next_id);
        self.next_id += 1;
        let payload = Data { uptime: uptime(now), values: values.to_vec() }.encode();
        self.waiting.push_back(Waiting { id, payload });
        self.send_due(now);
        Ok(id)
    }

    /// The link is there again: what was sent over the old one may be lost.
    pub fn handle_connected(&mut self, now: Instant) {
        self.is_open = true;
        self.start_over(now);
        self.send_due(now);
    }

    /// Answers a command. One that is not the last any more needs no answer.
    pub fn respond(&mut self, number: u16, mut payload: Vec<u8>) {
        if number == self.command && self.response.is_none() {
            payload.truncate(MAX_PAYLOAD);
            self.response = Some(payload);
            self.transmit_response();
        }
    }

    /// Takes a frame.
    pub fn handle_frame(&mut self, now: Instant, bytes: &[u8]) {
        let key = self.config.key.as_ref();
        let frame = Unverified::parse(bytes).and_then(|frame| frame.verify(key));
        let taken = match frame {
            // On a bus every node hears what the others are told.
            Ok(frame) if frame.header.device != self.config.device => Ok(()),
            Ok(frame) => self.take(now, &frame),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = taken {
            self.event(NodeEvent::Malformed(fault));
        }
        self.send_due(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.send_due(now);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> NodeOutput {
        self.outputs.pop_front().unwrap_or_else(|| NodeOutput::Wait(self.deadline()))
    }

    fn take(&mut self, now: Instant, frame: &Frame<'_>) -> Result<(), Fault> {
        match frame.header.kind {
            Kind::Ack => self.acknowledge(now, &frame.header, Ack::decode(frame.payload)?),
            Kind::Time => self.set_time(now, Time::decode(frame.payload)?),
            Kind::Command => self.take_command(&frame.header, frame.payload),
            Kind::Hello | Kind::Data | Kind::Response => return Err(Fault::Direction),
        }
        Ok(())
    }

    fn acknowledge(&mut self, now: Instant, header: &Header, ack: Ack) {
        if header.epoch > self.epoch {
            // The gateway knows of a later start: the count was lost. What is under way goes on in
            // an epoch of its own.
            if let Some(next) = header.epoch.checked_add(1) {
                self.begin_epoch(now, next);
            }
            return;
        }
        if header.epoch < self.epoch {
            return;
        }
        let known = u32::from(header.sequence) + (u32::BITS - ack.bitmap.leading_zeros());
        if known >= self.next_sequence {
            // It has numbers that were never sent: the epoch was used before, and the count was lost.
            if let Some(next) = self.epoch.checked_add(1) {
                self.begin_epoch(now, next);
            }
            return;
        }
        let settled: Vec<_> = self
            .sending
            .extract_if(.., |sending| sending.is_settled(header.sequence, ack.bitmap))
            .collect();
        for sending in settled {
            self.event(NodeEvent::Acknowledged(sending.id));
        }
        match ack.status {
            Status::Ok => self.is_open = true,
            Status::HelloWanted => self.start_over(now),
            Status::Busy(after) => {
                self.is_open = true;
                self.busy_until = now + after.min(MAX_RETRY_AFTER);
            }
            Status::Refused(sequence) => {
                self.is_open = true;
                let refused = self.sending.iter().position(|sending| sending.sequence == sequence);
                if let Some(at) = refused {
                    let id = self.sending.remove(at).id;
                    self.event(NodeEvent::Refused(id));
                }
            }
        }
    }

    fn set_time(&mut self, now: Instant, time: Time) {
        // Only the answer to the last question counts, and only once: others may be replays.
        if let Some(asked) = self.time.filter(|asked| asked.uptime == time.uptime)
            && self.time_answered.is_none_or(|last| time.uptime > last)
        {
            self.time = None;
            self.time_answered = Some(time.uptime);
            let (unix_ms, round_trip) = (time.unix_ms, now - asked.at);
            self.event(NodeEvent::Time { unix_ms, at: asked.at + round_trip / 2, round_trip });
        }
    }

    fn take_command(&mut self, header: &Header, payload: &[u8]) {
        if header.epoch != self.epoch || header.sequence < self.command {
            return;
        }
        if header.sequence == self.command {
            return self.transmit_response();
        }
        self.command = header.sequence;
        self.response = None;
        self.event(NodeEvent::Command { number: header.sequence, payload: payload.to_vec() });
    }

    fn transmit_response(&mut self) {
        if let Some(response) = &self.response {
            let header = self.header(Kind::Response, self.command, Flags::default());
            let frame = header.seal(response, self.config.key.as_ref());
            self.outputs.push_back(NodeOutput::Transmit(frame));
        }
    }

    /// Says HELLO again, and then sends everything again.
    fn start_over(&mut self, now: Instant) {
        if self.is_open {
            self.hello_pause = self.config.ack_timeout;
            self.hello_at = now;
        }
        self.is_open = false;
    }

    /// Goes on with the numbers of another epoch.
    fn begin_epoch(&mut self, now: Instant, epoch: u32) {
        self.epoch = epoch;
        self.next_sequence = 1;
        self.command = 0;
        self.response = None;
        self.is_open = true;
        self.start_over(now);
        self.event(NodeEvent::Epoch(epoch));
        for sending in core::mem::take(&mut self.sending).into_iter().rev() {
            self.waiting.push_front(sending.into_waiting());
        }
    }

    fn send_due(&mut self, now: Instant) {
        if self.sending.is_empty()
            && self.next_sequence > u16::MAX.into()
            && !self.waiting.is_empty()
        {
            // Numbers are never used twice: the next epoch begins with 1, and with a HELLO.
            if let Some(next) = self.epoch.checked_add(1) {
                self.begin_epoch(now, next);
            }
        }
        if now < self.busy_until {
            return;
        }
        if !self.is_open {
            if now >= self.hello_at {
                self.transmit_hello(now);
            }
            return;
        }
        self.fill_window();
        for at in 0..self.sending.len() {
            self.transmit_data(now, at);
        }
    }

    /// Numbers reports while the window has room.
    fn fill_window(&mut self) {
        loop {
            let oldest = self.sending.first().map(|sending| u32::from(sending.sequence));
            let in_window = oldest
                .is_none_or(|oldest| self.next_sequence < oldest + u32::from(self.config.window));
            let Ok(sequence) = u16::try_from(self.next_sequence) else { return };
            if !in_window {
                return;
            }
            let Some(waiting) = self.waiting.pop_front() else { return };
            self.next_sequence += 1;
            self.sending.push(Sending::new(waiting, sequence));
        }
    }

    fn transmit_data(&mut self, now: Instant, at: usize) {
        let ack_timeout = self.config.ack_timeout;
        let (max_timeout, jitter) =
            (self.config.max_timeout, self.rng.duration(ack_timeout, ack_timeout * 3 / 2));
        let Some(sending) = self.sending.get_mut(at).filter(|sending| now >= sending.at) else {
            return;
        };
        let retransmit = sending.mark_sent(now, jitter, max_timeout);
        let flags = Flags { ack_requested: true, retransmit, time_wanted: false };
        let (sequence, payload) = (sending.sequence, sending.payload.clone());
        let frame =
            self.header(Kind::Data, sequence, flags).seal(&payload, self.config.key.as_ref());
        self.outputs.push_back(NodeOutput::Transmit(frame));
    }

    fn transmit_hello(&mut self, now: Instant) {
        let first = self.sending.first().map(|sending| sending.sequence);
        // Past the last number there is none that may still come.
        let first = first.unwrap_or(u16::try_from(self.next_sequence).unwrap_or(u16::MAX));
        let uptime = uptime(now);
        let hello =
            Hello { uptime, channels: self.config.channels.clone(), first, command: self.command };
        let flags = Flags { ack_requested: true, retransmit: false, time_wanted: true };
        let header = self.header(Kind::Hello, 0, flags);
        let frame = header.seal(&hello.encode(), self.config.key.as_ref());
        debug_assert!(frame.len() <= MAX_FRAME, "the table of channels fits");
        self.outputs.push_back(NodeOutput::Transmit(frame));
        self.time = Some(TimeAsked { uptime, at: now });
        self.hello_at = now + self.rng.duration(self.hello_pause, self.hello_pause * 3 / 2);
        self.hello_pause = (self.hello_pause * 2).min(self.config.max_timeout);
        for sending in &mut self.sending {
            sending.at = now;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let next = match self.is_open {
            false => Some(self.hello_at),
            // A report without a number waits for the gateway to be less busy.
            true if self.sending.is_empty() => (!self.waiting.is_empty()).then_some(Instant::ZERO),
            true => self.sending.iter().map(|sending| sending.at).min(),
        };
        next.map(|at| at.max(self.busy_until))
    }

    fn header(&self, kind: Kind, sequence: u16, flags: Flags) -> Header {
        Header { kind, flags, device: self.config.device, epoch: self.epoch, sequence }
    }

    fn event(&mut self, event: NodeEvent) {
        self.outputs.push_back(NodeOutput::Event(event));
    }
}

/// A node's clock begins when it starts, and frames have whole milliseconds.
fn uptime(now: Instant) -> Duration {
    Duration::from_millis(now.as_micros() / 1000)
}
