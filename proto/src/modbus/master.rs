//! The master of a bus: which unit is asked next, and what became of it.
//!
//! One request is under way at a time, on TCP too, where many devices take no more. Units take turns:
//! of those that have something due, the one goes next that was asked longest ago. One that does not
//! answer [rests](mod@unit), so that it costs the others little.
//!
//! What somebody else wants of a unit, such as a write, is [handed in](Master::handle_request) and goes
//! before everything that is due.
//!
//! Call [`handle_connected`](Master::handle_connected) when the link is open, `handle_bytes` with what
//! arrives, `handle_timeout` when the time of an [`Output::Wait`] has come; after each, drain
//! [`poll_output`](Master::poll_output) up to the next `Wait`.
//!
//! What cannot be an answer is discarded and told: on TCP by its transaction, on a line by its unit,
//! function, length and checksum, and when nothing was asked. An answer that is late on a line and of
//! the very kind that is asked for next cannot be told apart; but after a timeout the unit rests for as
//! long again, and what comes meanwhile is discarded.

mod receiver;
mod unit;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::{Instant, Value};

use super::rtu::MAX_ADU;
use super::{DecodeError, Failure, Fault, Limits, Point, Read, Request, rtu, tcp};
use receiver::{Expected, Receiver};
use unit::Unit;

/// Silence after bytes on a line that are no answer until they are given up: more than an adapter
/// takes to hand on what it has.
const GAP: Duration = Duration::from_millis(50);
/// The longest time for which bytes that nobody asked for hold up the next request.
const LONGEST_NOISE: Duration = Duration::from_millis(200);
/// Requests in a row into a connection from which nothing comes, until it is made anew.
const MAX_SILENT: u32 = 3;
/// Requests that wait beside those that are due; a further one is not taken.
const MAX_REQUESTS: usize = 64;

/// How frames get to the units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Over a serial line.
    Line {
        /// What a character takes.
        character: Duration,
        /// What has to be between two frames.
        silence: Duration,
    },
    /// Frames of a serial line in a TCP connection to a converter.
    Tunnel,
    /// Modbus TCP.
    Tcp,
}

/// A unit and what is wanted of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitConfig {
    /// Its address on the bus.
    pub address: u8,
    /// How long it may take to begin its answer; on a line the time of the characters comes on top.
    pub timeout: Duration,
    /// What is read.
    pub points: Vec<Point>,
    /// How much at a time.
    pub limits: Limits,
}

/// A bus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterConfig {
    /// How frames get there.
    pub transport: Transport,
    /// Who is there.
    pub units: Vec<UnitConfig>,
    /// The longest rest of a unit that does not answer.
    pub longest_rest: Duration,
}

/// What happened. Units and points are told by their positions in the configuration.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A unit answered: its points and their values.
    Answered {
        /// Which one.
        unit: usize,
        /// What was asked for.
        read: Read,
        /// The protocol data unit of the answer.
        pdu: Vec<u8>,
        /// What it said.
        values: Vec<(usize, Result<Value, DecodeError>)>,
        /// Earlier times at which the same should have been asked for.
        skipped: u64,
    },
    /// A request was in vain.
    Failed {
        /// Which unit.
        unit: usize,
        /// What was asked for.
        read: Read,
        /// Why.
        why: Failure,
    },
    /// A request that was handed in has come to its end.
    Served {
        /// As it was handed in.
        ticket: u64,
        /// The data of the answer: nothing for a write that is confirmed.
        outcome: Result<Vec<u8>, Failure>,
    },
    /// Something else was heard than an answer, while this unit was waited for, if one was.
    Discarded {
        /// Which unit.
        unit: Option<usize>,
        /// What it was.
        why: Failure,
    },
    /// A unit refused to read so many at once: its points are asked for one by one, until the link is
    /// opened again.
    Split {
        /// Which unit.
        unit: usize,
        /// What was asked for.
        read: Read,
    },
}

/// What has to be done now.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// To which unit, by its position.
        unit: usize,
        /// A whole frame.
        frame: Vec<u8>,
    },
    /// Something happened.
    Event(Event),
    /// Close the connection and open another one: nothing comes out of it any more.
    Disconnect,
    /// Nothing until this time or more bytes.
    Wait(Option<Instant>),
}

/// The master of a bus.
#[derive(Debug)]
pub struct Master {
    transport: Transport,
    longest_rest: Duration,
    units: Vec<Unit>,
    is_connected: bool,
    is_disconnecting: bool,
    open: Option<Open>,
    requests: VecDeque<Wanted>,
    receiver: Receiver,
    events: VecDeque<Event>,
    /// When the last request ended.
    ended: Instant,
    /// The line is not free before.
    quiet_until: Instant,
    paused_until: Instant,
    turn: u64,
    transaction: u16,
    /// Requests in a row after which nothing at all came.
    silent: u32,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Open {
    unit: usize,
    work: Work,
    request: Request,
    expected: Expected,
    deadline: Instant,
    /// When bytes that are no answer are given up.
    gap: Option<Instant>,
    /// An answer of the unit that does not fit: the right one may still come.
    fault: Option<Failure>,
    was_heard: bool,
}

/// What a request is for.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// A block that was due.
    Poll { block: usize, read: Read },
    /// What was handed in with this ticket.
    Ticket(u64),
}

/// A request that was handed in.
#[derive(Debug)]
struct Wanted {
    ticket: u64,
    unit: usize,
    request: Request,
}

impl Master {
    /// A master without a link.
    #[must_use]
    pub fn new(config: MasterConfig) -> Self {
        Self {
            transport: config.transport,
            longest_rest: config.longest_rest,
            units: config.units.into_iter().map(Unit::new).collect(),
            is_connected: false,
            is_disconnecting: false,
            open: None,
            requests: VecDeque::new(),
            receiver: Receiver::default(),
            events: VecDeque::new(),
            ended: Instant::ZERO,
            quiet_until: Instant::ZERO,
            paused_until: Instant::ZERO,
            turn: 0,
            transaction: 0,
            silent: 0,
        }
    }

    /// The link is open.
    pub fn handle_connected(&mut self, now: Instant) {
        self.is_connected = true;
        self.is_disconnecting = false;
        self.silent = 0;
        self.receiver.clear();
        self.quiet_until = now + self.silence();
        for unit in &mut self.units {
            unit.handle_connected(now);
        }
    }

    /// The link is gone.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.is_connected = false;
        self.fail(now, Failure::Disconnected);
        let outcome = || Err(Failure::Disconnected);
        let unsent = self.requests.drain(..);
        let unsent =
            unsent.map(|Wanted { ticket, .. }| Event::Served { ticket, outcome: outcome() });
        self.events.extend(unsent);
    }

    /// Takes a request to a unit, by its position, which goes before everything that is due, also to one
    /// that rests; [`Event::Served`] tells its end. False if it is not taken: there are too many, no such
    /// unit, or the link is gone.
    pub fn handle_request(&mut self, ticket: u64, unit: usize, request: Request) -> bool {
        let is_right = unit < self.units.len() && request.encode().is_ok();
        if !is_right || !self.is_connected || self.requests.len() >= MAX_REQUESTS {
            return false;
        }
        self.requests.push_back(Wanted { ticket, unit, request });
        true
    }

    /// Whether a unit did not answer what it was asked last.
    #[must_use]
    pub fn is_silent(&self, unit: usize) -> bool {
        self.units.get(unit).is_some_and(Unit::is_silent)
    }

    /// Asks for nothing before `until`: what was read has nowhere to go.
    pub fn handle_pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Takes what came.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.silent = 0;
        for part in bytes.chunks(MAX_ADU) {
            self.receiver.handle_bytes(part);
            if self.transport == Transport::Tcp {
                self.receive_tcp(now);
            } else {
                self.receive_rtu(now);
            }
        }
    }

    /// The time of an [`Output::Wait`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(open) = &self.open else { return };
        if now < open.deadline && open.gap.is_none_or(|gap| now < gap) {
            return;
        }
        let broken = match self.transport {
            Transport::Tcp => (!self.receiver.is_empty()).then_some(Failure::Truncated),
            Transport::Line { .. } | Transport::Tunnel => self.receiver.failure(),
        };
        if !open.was_heard && self.transport.is_connection() {
            self.silent += 1;
            self.is_disconnecting |= self.silent >= MAX_SILENT;
        }
        // The rest of an answer that was cut would be taken for the beginning of the next.
        self.is_disconnecting |= self.transport == Transport::Tcp && broken.is_some();
        let why = open.fault.or(broken).unwrap_or(Failure::Timeout);
        self.fail(now, why);
    }

    /// What has to be done at `now`.
    pub fn poll_output(&mut self, now: Instant) -> Output {
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if !self.is_connected {
            return Output::Wait(None);
        }
        if core::mem::take(&mut self.is_disconnecting) {
            return Output::Disconnect;
        }
        if let Some(open) = &self.open {
            return Output::Wait(Some(
                open.gap.map_or(open.deadline, |gap| gap.min(open.deadline)),
            ));
        }
        if !self.requests.is_empty() {
            if now < self.quiet_until {
                return Output::Wait(Some(self.quiet_until));
            }
            if let Some(Wanted { ticket, unit, request }) = self.requests.pop_front()
                && let Some(output) = self.transmit(now, unit, Work::Ticket(ticket), request)
            {
                return output;
            }
        }
        let free = self.quiet_until.max(self.paused_until);
        if free <= now
            && let Some(output) = self.ask(now)
        {
            return output;
        }
        let due = self.units.iter().filter_map(Unit::due).min();
        Output::Wait(due.map(|due| due.max(free)))
    }

    /// Asks the unit whose turn it is.
    fn ask(&mut self, now: Instant) -> Option<Output> {
        let ready = self.units.iter_mut().enumerate();
        let ready = ready.filter_map(|(index, unit)| Some((index, unit.choose(now)?, unit)));
        let (index, block, unit) = ready.min_by_key(|(_, _, unit)| unit.turn)?;
        let read = unit.block(block)?.read;
        self.turn += 1;
        unit.turn = self.turn;
        self.transmit(now, index, Work::Poll { block, read }, Request::Read(read))
    }

    fn transmit(
        &mut self,
        now: Instant,
        index: usize,
        work: Work,
        request: Request,
    ) -> Option<Output> {
        let unit = self.units.get(index)?;
        // A read is always within its limits, and what is handed in was looked at.
        let pdu = request.encode().unwrap_or_default();
        self.transaction = self.transaction.wrapping_add(1);
        let (transaction, rtu_len) = (self.transaction, request.response_len() + 3);
        let frame = match self.transport {
            Transport::Tcp => tcp::encode(transaction, unit.address, &pdu),
            Transport::Line { .. } | Transport::Tunnel => rtu::encode(unit.address, &pdu),
        };
        let characters = u32::try_from(frame.len() + rtu_len).unwrap_or(u32::MAX);
        let on_the_line = match self.transport {
            Transport::Line { character, .. } => character.saturating_mul(characters),
            Transport::Tunnel | Transport::Tcp => Duration::ZERO,
        };
        let function = request.function();
        let expected = Expected { transaction, unit: unit.address, function, rtu_len };
        let deadline = now + unit.timeout + on_the_line;
        let (gap, fault, was_heard) = (None, None, false);
        self.open =
            Some(Open { unit: index, work, request, expected, deadline, gap, fault, was_heard });
        Some(Output::Transmit { unit: index, frame })
    }

    fn receive_tcp(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.was_heard = true;
        }
        loop {
            let expected = self.open.as_ref().map(|open| &open.expected);
            match self.receiver.poll_tcp(expected) {
                None => return,
                Some(Ok(pdu)) => self.handle_pdu(now, pdu),
                Some(Err(why @ Failure::NotModbus)) => {
                    self.is_disconnecting = true;
                    match self.open {
                        Some(_) => self.fail(now, why),
                        None => self.events.push_back(Event::Discarded { unit: None, why }),
                    }
                }
                Some(Err(why @ Failure::Unit(_))) => self.fail(now, why),
                Some(Err(why)) => {
                    let unit = self.open.as_ref().map(|open| open.unit);
                    self.events.push_back(Event::Discarded { unit, why });
                }
            }
        }
    }

    fn receive_rtu(&mut self, now: Instant) {
        while let Some(open) = &mut self.open {
            open.was_heard = true;
            match self.receiver.poll_rtu(&open.expected) {
                Some(Ok(pdu)) => self.handle_pdu(now, pdu),
                Some(Err(why)) => {
                    let unit = Some(open.unit);
                    self.events.push_back(Event::Discarded { unit, why });
                }
                None => {
                    let is_line = matches!(self.transport, Transport::Line { .. });
                    open.gap = (is_line && !self.receiver.is_empty()).then(|| now + GAP);
                    return;
                }
            }
        }
        if !self.receiver.is_empty() {
            self.handle_stray(now);
        }
    }

    /// Bytes that nobody waits for.
    fn handle_stray(&mut self, now: Instant) {
        self.receiver.clear();
        if now >= self.quiet_until {
            self.events.push_back(Event::Discarded { unit: None, why: Failure::Late });
        }
        let over = (now + GAP).min(self.ended + LONGEST_NOISE);
        self.quiet_until = self.quiet_until.max(over);
    }

    /// The unit that is waited for has answered something.
    fn handle_pdu(&mut self, now: Instant, pdu: Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        match open.request.parse_response(&pdu) {
            Ok(data) => {
                let Some(asked) = self.units.get_mut(open.unit) else { return };
                let event = match open.work {
                    Work::Poll { block, read } => {
                        let points = asked.block(block).map(|block| block.points.as_slice());
                        let values = points.unwrap_or_default().iter();
                        let value = |&at: &usize| Some((at, asked.point(at)?.decode(read, data)));
                        let values = values.filter_map(value).collect();
                        let skipped = asked.handle_answer(block, now);
                        Event::Answered { unit: open.unit, read, pdu, values, skipped }
                    }
                    Work::Ticket(ticket) => {
                        asked.handle_presence(now);
                        Event::Served { ticket, outcome: Ok(data.to_vec()) }
                    }
                };
                self.end(now, open.unit, open.fault);
                self.events.push_back(event);
            }
            Err(fault @ (Fault::Function { .. } | Fault::Length { .. }))
                if self.transport != Transport::Tcp =>
            {
                // It may be the answer to an earlier request, and this one's may follow.
                let unit = Some(open.unit);
                let earlier = open.fault.map(|why| Event::Discarded { unit, why });
                self.events.extend(earlier);
                self.open = Some(Open { fault: Some(fault.into()), ..open });
            }
            Err(fault) => {
                self.open = Some(Open { fault: None, ..open });
                self.fail(now, fault.into());
            }
        }
    }

    /// The request that is under way is in vain.
    fn fail(&mut self, now: Instant, why: Failure) {
        let Some(Open { unit, work, .. }) = self.open.take() else { return };
        self.end(now, unit, None);
        self.events.push_back(match work {
            Work::Poll { read, .. } => Event::Failed { unit, read, why },
            Work::Ticket(ticket) => Event::Served { ticket, outcome: Err(why) },
        });
        let longest = self.longest_rest;
        let Some(asked) = self.units.get_mut(unit) else { return };
        if let Failure::Answer(Fault::Exception(exception)) = why
            && !exception.is_absence()
        {
            let Work::Poll { block, .. } = work else { return asked.handle_presence(now) };
            let split = exception.is_about_the_range().then(|| asked.split(block, now));
            match split.flatten() {
                Some(read) => self.events.push_back(Event::Split { unit, read }),
                None => asked.handle_refusal(block, now, longest),
            }
        } else if why != Failure::Disconnected {
            // Without a link, the unit had no chance to answer.
            asked.handle_silence(now, longest);
            if let Work::Poll { block, .. } = work {
                asked.handle_failure(block, now, longest);
            }
        }
    }

    /// The line is free again after its silence; what did not fit is told.
    fn end(&mut self, now: Instant, unit: usize, fault: Option<Failure>) {
        if let Some(why) = fault {
            self.events.push_back(Event::Discarded { unit: Some(unit), why });
        }
        if self.transport != Transport::Tcp {
            self.receiver.clear();
        }
        self.ended = now;
        self.quiet_until = now + self.silence();
    }

    const fn silence(&self) -> Duration {
        match self.transport {
            Transport::Line { silence, .. } => silence,
            Transport::Tunnel | Transport::Tcp => Duration::ZERO,
        }
    }
}

impl Transport {
    const fn is_connection(self) -> bool {
        matches!(self, Self::Tunnel | Self::Tcp)
    }
}

#[cfg(test)]
mod tests;
