//! A broker without tasks, sockets and a clock: the same protocol, record and misbehaviour, for who
//! plays a whole system in virtual time.
//!
//! After each call, take what is to be sent on each line with [`UnpluggedBroker::poll_bytes`], and what
//! has arrived with [`UnpluggedBroker::take_recorded`]; call [`UnpluggedBroker::handle_timeout`] when
//! [`UnpluggedBroker::poll_timeout`] is due, and after each change of [`UnpluggedBroker::faults`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use proto::Instant;
use tokio::sync::watch;

use super::connection::{Input, Received, claim_cut};
use super::core::{ConnectionId, Core};
use super::faults::{Cut, FaultPlan, Faults};
use super::fuse::Fuse;
use super::hub::{Batch, Event, Hub};
use super::mailbox::Mailbox;
use super::record::{Kept, Recorder};
use super::wire::Decoder;
use super::{Counts, Limits, Recorded, Recording};

/// Names a connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(u64);

/// The broker.
pub struct UnpluggedBroker {
    hub: Hub,
    faults: Faults,
    plan: watch::Receiver<FaultPlan>,
    counts: watch::Receiver<Counts>,
    kept: Kept,
    limits: Limits,
    lines: BTreeMap<Line, Connection>,
    next: u64,
}

struct Connection {
    mailbox: Arc<Mailbox>,
    input: Input,
    /// What a broker that stalls has not read.
    unread: BytesMut,
    output: BytesMut,
    fuse: Fuse,
    /// What the plan said when it was opened.
    cut_all: u64,
    /// Whether what still comes has a meaning.
    listens: bool,
}

impl UnpluggedBroker {
    /// A broker that nobody is connected to.
    pub fn new(limits: Limits) -> Self {
        let faults = Faults::new();
        let recorder = Recorder::new(Recording::Keep { limit: usize::MAX });
        let kept = recorder.kept();
        let (totals, counts) = watch::channel(Counts::default());
        let hub = Hub::new(Core::new(limits, None), recorder, faults.watch(), totals, &limits);
        let plan = faults.watch();
        Self { hub, faults, plan, counts, kept, limits, lines: BTreeMap::new(), next: 0 }
    }

    /// The switches of its misbehaviour.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What was counted until now.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// What has arrived since the last call, in its order.
    pub fn take_recorded(&mut self) -> Vec<Recorded> {
        self.kept.take()
    }

    /// A client connects; `None` where it is turned away.
    pub async fn open(&mut self, now: Instant) -> Option<Line> {
        let plan = self.plan.borrow().clone();
        if plan.turn_away || self.lines.len() >= self.limits.max_connections {
            self.hub.turn(now, [Event::TurnedAway]).await;
            return None;
        }
        let line = Line(self.next);
        self.next += 1;
        let announced = plan.announced.within(&self.limits);
        let connection = Connection {
            mailbox: Arc::default(),
            input: Input::new(Decoder::new(self.limits.max_packet, announced)),
            unread: BytesMut::new(),
            output: BytesMut::new(),
            fuse: Fuse::default(),
            cut_all: plan.cut_all,
            listens: true,
        };
        let mailbox = Arc::clone(&connection.mailbox);
        self.lines.insert(line, connection);
        self.hub.turn(now, [Event::Opened(line.id(), mailbox, announced)]).await;
        Some(line)
    }

    /// Bytes of a client arrive.
    pub async fn handle_bytes(&mut self, now: Instant, line: Line, bytes: &[u8]) {
        if let Some(connection) = self.lines.get_mut(&line) {
            connection.unread.extend_from_slice(bytes);
        }
        self.read(now, line).await;
    }

    /// A client is gone.
    pub async fn handle_closed(&mut self, now: Instant, line: Line) {
        if self.lines.remove(&line).is_some() {
            self.hub.turn(now, [Event::Closed { id: line.id(), cut: false }]).await;
        }
    }

    /// Does what is due, and what was switched.
    pub async fn handle_timeout(&mut self, now: Instant) {
        self.hub.turn(now, []).await;
        for line in self.lines.keys().copied().collect::<Vec<_>>() {
            self.read(now, line).await;
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Instant {
        self.hub.poll_timeout()
    }

    /// What is to be sent on a line; `None` when it has ended and everything was taken.
    pub async fn poll_bytes(&mut self, now: Instant, line: Line) -> Option<BytesMut> {
        let connection = self.lines.get_mut(&line)?;
        let is_closed = connection.mailbox.take(&mut connection.output);
        let sendable = connection.fuse.sendable(connection.output.len());
        let bytes = connection.output.split_to(sendable);
        connection.fuse.handle_sent(sendable);
        let is_cut = claim_cut(&mut connection.fuse, &self.faults).is_some();
        if is_cut || is_closed && bytes.is_empty() {
            self.end(now, line, is_cut).await;
        }
        Some(bytes).filter(|bytes| !bytes.is_empty() || self.lines.contains_key(&line))
    }

    /// Reads what has arrived, if it reads at all.
    async fn read(&mut self, now: Instant, line: Line) {
        let plan = self.plan.borrow().clone();
        let Some(connection) = self.lines.get_mut(&line) else { return };
        if connection.cut_all != plan.cut_all {
            return self.end(now, line, true).await;
        }
        connection.fuse.handle_plan(&plan);
        if plan.stall {
            return;
        }
        let bytes = connection.unread.split();
        if !connection.listens {
            return;
        }
        connection.input.push(&bytes);
        let received = connection.input.take(bytes.len(), &mut connection.fuse, &self.faults);
        let Received { packets, violation, cut } = received;
        let goodbye = cut.and_then(|cut| cut.goodbye);
        connection.listens = violation.is_none() && cut.is_none();
        let id = line.id();
        let batch = Batch { at: now, packets, permit: None };
        let events = [Event::Packets(id, batch)]
            .into_iter()
            .chain(violation.map(|violation| Event::Violated(id, violation)))
            .chain(goodbye.map(|reason| Event::Goodbye(id, reason)));
        self.hub.turn(now, events).await;
        if let Some(Cut { goodbye: None, .. }) = cut {
            self.end(now, line, true).await;
        }
    }

    async fn end(&mut self, now: Instant, line: Line, cut: bool) {
        self.lines.remove(&line);
        self.hub.turn(now, [Event::Closed { id: line.id(), cut }]).await;
    }
}

impl Line {
    const fn id(self) -> ConnectionId {
        ConnectionId(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::Which;

    // MQTT 3.1.1 §3.1, §3.3: CONNECT of client "a" and PUBLISH "t" with quality of service 1.
    const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
    const PUBLISH: &[u8] = b"\x32\x06\x00\x01t\x00\x01x";
    const PUBACK: &[u8] = b"\x40\x02\x00\x01";

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    async fn connected(broker: &mut UnpluggedBroker) -> Line {
        let line = broker.open(at(1)).await.unwrap();
        broker.handle_bytes(at(1), line, CONNECT).await;
        let answer = broker.poll_bytes(at(1), line).await.unwrap();
        assert_eq!(answer, b"\x20\x02\x00\x00"[..]);
        line
    }

    #[tokio::test]
    async fn what_is_acknowledged_is_recorded_with_the_time_it_was_told() {
        let mut broker = UnpluggedBroker::new(Limits::default());
        let line = connected(&mut broker).await;
        broker.handle_bytes(at(7), line, PUBLISH).await;
        assert_eq!(broker.poll_bytes(at(7), line).await.unwrap(), PUBACK);
        let recorded = broker.take_recorded();
        let told: Vec<_> = recorded.iter().map(|r| (r.at, &*r.topic, &r.payload[..])).collect();
        assert_eq!(told, [(at(7), "t", &b"x"[..])]);
        assert!(broker.take_recorded().is_empty());
    }

    #[tokio::test]
    async fn it_misbehaves_as_the_one_with_sockets_does() {
        let mut broker = UnpluggedBroker::new(Limits::default());
        let line = connected(&mut broker).await;
        broker.faults().drop_pubacks(Which::All);
        broker.handle_bytes(at(2), line, PUBLISH).await;
        assert!(broker.poll_bytes(at(2), line).await.unwrap().is_empty());
        broker.faults().clear();
        broker.faults().stall_reading(true);
        broker.handle_bytes(at(3), line, PUBLISH).await;
        assert_eq!(broker.take_recorded().len(), 1, "it reads nothing");
        broker.faults().stall_reading(false);
        broker.handle_timeout(at(4)).await;
        assert_eq!(broker.take_recorded().len(), 1);
        assert_eq!(broker.poll_bytes(at(4), line).await.unwrap(), PUBACK);
        broker.faults().cut_all();
        broker.handle_timeout(at(5)).await;
        assert_eq!(broker.poll_bytes(at(5), line).await, None);
        broker.faults().turn_away(true);
        assert_eq!(broker.open(at(6)).await, None);
        assert_eq!((broker.counts().cuts, broker.counts().turned_away), (1, 1));
    }

    #[tokio::test]
    async fn a_client_that_is_silent_for_too_long_is_closed() {
        let mut broker = UnpluggedBroker::new(Limits::default());
        let line = connected(&mut broker).await;
        // MQTT 3.1.1 §3.1.2.10: one and a half times the keep-alive.
        assert_eq!(broker.poll_timeout(), at(91));
        broker.handle_timeout(at(91)).await;
        assert_eq!(broker.poll_bytes(at(91), line).await, None);
    }
}
