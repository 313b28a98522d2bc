//! The protocol: every connection, session, subscription and retained message of a broker, without
//! socket and clock.
//!
//! Feed it with `handle_*` and drain [`Core::poll_output`] after every call; call
//! [`Core::handle_timeout`] when [`Core::poll_timeout`] is due. A connection that the core closes
//! or that [`Core::handle_closed`] reports is forgotten at once; whatever still arrives for it is
//! ignored.

mod conduct;
mod connect;
mod ending;
mod publish;
mod subscribe;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::Instant;

use self::ending::Ending;
use self::timers::{Timer, Timers};
use super::faults::FaultPlan;
use super::retained::Retained;
use super::session::{Session, SessionId};
use super::subscriptions::{Selected, Subscriptions};
use super::wire::{Ack, Incoming, Outgoing, Version, Violation, Will};
use super::{Announced, Counts, Limits, Login, Reason, Recorded};

pub(super) use self::conduct::Conduct;

/// Names a connection; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ConnectionId(pub(super) u64);

/// What the core wants done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Send a packet.
    Send(ConnectionId, Outgoing),
    /// Close the connection after what was sent on it.
    Close(ConnectionId),
    /// A message has arrived.
    Record(Recorded),
}

/// The state machine of a broker.
pub(super) struct Core {
    limits: Limits,
    login: Option<Login>,
    conduct: Conduct,
    connections: BTreeMap<ConnectionId, Connection>,
    timers: Timers,
    sessions: BTreeMap<SessionId, Session>,
    clients: BTreeMap<Arc<str>, SessionId>,
    subscriptions: Subscriptions,
    retained: Retained,
    next_session: u64,
    arrivals: u64,
    counts: Counts,
    /// The latest time that was handed in.
    now: Instant,
    output: VecDeque<Output>,
    selected: Vec<Selected>,
}

struct Connection {
    phase: Phase,
    heard: Instant,
    /// Its entry in `timers`: never later than its deadline.
    timer: Option<Instant>,
    /// What it is told and held to, if it speaks MQTT 5.
    announced: Announced,
}

enum Phase {
    /// TCP is open and CONNECT is due.
    Opened,
    /// A fault keeps the broker from answering.
    Ignored,
    Connected(Connected),
}

struct Connected {
    session: SessionId,
    version: Version,
    keep_alive: Option<Duration>,
    will: Option<Will>,
    /// Publishes that are not acknowledged yet, while there is a receive maximum
    /// (MQTT 5 §3.2.2.3.3).
    receiving: BTreeSet<u16>,
}

impl Core {
    pub(super) fn new(limits: Limits, login: Option<Login>) -> Self {
        Self {
            login,
            conduct: Conduct::default(),
            connections: BTreeMap::new(),
            timers: Timers::default(),
            sessions: BTreeMap::new(),
            clients: BTreeMap::new(),
            subscriptions: Subscriptions::default(),
            retained: Retained::new(limits.max_retained),
            limits,
            next_session: 0,
            arrivals: 0,
            counts: Counts::default(),
            now: Instant::ZERO,
            output: VecDeque::new(),
            selected: Vec::new(),
        }
    }

    /// Misbehaves from now on as the plan says.
    pub(super) fn handle_plan(&mut self, plan: &FaultPlan) {
        self.conduct.handle_plan(plan);
    }

    /// A TCP connection was opened.
    pub(super) fn handle_opened(&mut self, now: Instant, id: ConnectionId, announced: Announced) {
        self.now = self.now.max(now);
        self.counts.accepted += 1;
        let phase = Phase::Opened;
        self.connections.insert(id, Connection { phase, heard: now, timer: None, announced });
        self.arm(id);
    }

    /// A packet was read.
    pub(super) fn handle_packet(&mut self, now: Instant, id: ConnectionId, packet: Incoming) {
        self.now = self.now.max(now);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.heard = connection.heard.max(now);
        let handled = match &connection.phase {
            Phase::Opened => self.handle_first(id, packet),
            Phase::Ignored => return,
            Phase::Connected(connected) => {
                let (session, version) = (connected.session, connected.version);
                self.handle_next(now, id, session, version, packet)
            }
        };
        if let Err(violation) = handled {
            self.handle_violation(now, id, &violation);
        }
    }

    /// The client broke the protocol: the connection is closed (MQTT 3.1.1 §4.8 [MQTT-4.8.0-1],
    /// MQTT 5 §4.13 [MQTT-4.13.1-1]).
    pub(super) fn handle_violation(&mut self, now: Instant, id: ConnectionId, why: &Violation) {
        self.now = self.now.max(now);
        if self.connections.contains_key(&id) {
            tracing::warn!(connection = id.0, client = self.client(id), %why, "closing");
            self.counts.violations += 1;
            self.close_because(id, why.reason());
        }
    }

    /// A fault ends the connection.
    pub(super) fn handle_goodbye(&mut self, now: Instant, id: ConnectionId, reason: Reason) {
        self.now = self.now.max(now);
        if self.connections.contains_key(&id) {
            self.counts.disconnects += 1;
            self.close_because(id, reason);
        }
    }

    /// An answer that ends an exchange has left: PUBACK, PUBCOMP or a PUBREC with an error.
    pub(super) fn handle_acknowledged(&mut self, id: ConnectionId, packet_id: u16) {
        let connection = self.connections.get_mut(&id);
        if let Some(Phase::Connected(connected)) = connection.map(|found| &mut found.phase) {
            connected.receiving.remove(&packet_id);
        }
    }

    /// A PUBLISH is longer than its receiver takes: it is dropped as if it was delivered
    /// (MQTT 5 §3.1.2.11.4 [MQTT-3.1.2-24, -25]).
    pub(super) fn handle_undeliverable(&mut self, id: ConnectionId, packet_id: u16) {
        self.counts.dropped_oversize += 1;
        let connection = self.connections.get(&id);
        if let Some(Phase::Connected(connected)) = connection.map(|found| &found.phase) {
            let session = connected.session;
            if let Some(session) = self.sessions.get_mut(&session) {
                session.outbound.handle_undeliverable(packet_id);
            }
            self.transmit(session);
        }
    }

    /// The connection is gone.
    pub(super) fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        self.now = self.now.max(now);
        self.detach(id, Ending::Abrupt);
    }

    /// Closes every connection that was silent for too long (§3.1.2.10 [MQTT-3.1.2-24]), ends the
    /// sessions and publishes the wills whose time has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Silence(id) => self.handle_silence(now, id),
                Timer::Will(session) => self.publish_will(session),
                Timer::Session(session) => self.end_session(session),
            }
        }
    }

    /// The broker could not listen to anybody until now: silence before is forgiven.
    pub(super) fn handle_resume(&mut self, now: Instant) {
        for connection in self.connections.values_mut() {
            connection.heard = now;
        }
    }

    /// The broker went down and its connections with it: no wills; kept sessions and retained
    /// messages stay.
    pub(super) fn handle_outage(&mut self) {
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.close(id, Ending::Clean);
        }
    }

    /// The broker lost its state: no connection, session or retained message is left.
    pub(super) fn handle_amnesia(&mut self) {
        self.handle_outage();
        self.timers.clear();
        self.sessions.clear();
        self.clients.clear();
        self.subscriptions = Subscriptions::default();
        self.retained = Retained::new(self.limits.max_retained);
    }

    /// When [`Core::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.timers.next()
    }

    /// The next thing to do.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// What was counted; the shell adds what only it sees.
    pub(super) fn counts_mut(&mut self) -> &mut Counts {
        self.counts.sessions = count(self.sessions.len());
        &mut self.counts
    }

    fn handle_silence(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.timer = None;
        }
        match self.deadline(id) {
            Some(deadline) if deadline <= now => {
                tracing::warn!(connection = id.0, client = self.client(id), "silent: closing");
                self.counts.timeouts += 1;
                self.close_because(id, Reason::KeepAliveTimeout);
            }
            Some(_) | None => self.arm(id),
        }
    }

    fn handle_first(&mut self, id: ConnectionId, packet: Incoming) -> Result<(), Violation> {
        match packet {
            Incoming::Connect(_) | Incoming::UnsupportedLevel(_) if self.conduct.silence => {
                self.counts.unanswered += 1;
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.phase = Phase::Ignored;
                }
                self.arm(id);
            }
            Incoming::Connect(connect) => self.handle_connect(id, *connect),
            Incoming::UnsupportedLevel(_) => {
                self.refuse(id, Reason::UnsupportedProtocolVersion);
            }
            Incoming::Publish(_)
            | Incoming::PubAck(_)
            | Incoming::PubRec(_)
            | Incoming::PubRel(_)
            | Incoming::PubComp(_)
            | Incoming::Subscribe { .. }
            | Incoming::Unsubscribe { .. }
            | Incoming::PingReq
            | Incoming::Disconnect { .. } => return Err(Violation::NotConnected),
        }
        Ok(())
    }

    fn handle_next(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        version: Version,
        packet: Incoming,
    ) -> Result<(), Violation> {
        match packet {
            Incoming::Publish(publish) => {
                self.handle_publish(now, id, session, version, publish)?
            }
            Incoming::PubRel(Ack { packet_id, .. }) => self.handle_pubrel(id, session, packet_id),
            Incoming::PubAck(ack) => {
                self.outbound(session, |outbound| outbound.handle_puback(ack))?;
            }
            Incoming::PubRec(ack) => {
                let answer = self.outbound(session, |outbound| outbound.handle_pubrec(ack))?;
                self.output.extend(answer.flatten().map(|packet| Output::Send(id, packet)));
            }
            Incoming::PubComp(ack) => {
                self.outbound(session, |outbound| outbound.handle_pubcomp(ack))?;
            }
            Incoming::Subscribe { packet_id, requests } => {
                self.handle_subscribe(id, session, packet_id, requests);
            }
            Incoming::Unsubscribe { packet_id, filters } => {
                self.handle_unsubscribe(id, session, packet_id, &filters);
            }
            Incoming::PingReq => self.output.push_back(Output::Send(id, Outgoing::PingResp)),
            Incoming::Disconnect { reason, session_expiry } => {
                self.handle_disconnect(id, session, reason, session_expiry)?;
            }
            Incoming::Connect(_) | Incoming::UnsupportedLevel(_) => {
                return Err(Violation::SecondConnect);
            }
        }
        Ok(())
    }

    fn client(&self, id: ConnectionId) -> &str {
        match self.connections.get(&id).map(|connection| &connection.phase) {
            Some(Phase::Connected(connected)) => {
                self.sessions.get(&connected.session).map_or("", |session| &session.client)
            }
            Some(Phase::Opened | Phase::Ignored) | None => "",
        }
    }

    fn deadline(&self, id: ConnectionId) -> Option<Instant> {
        let connection = self.connections.get(&id)?;
        match &connection.phase {
            Phase::Opened => Some(connection.heard + self.limits.connect_timeout),
            Phase::Ignored => None,
            Phase::Connected(connected) => {
                connected.keep_alive.map(|keep_alive| connection.heard + keep_alive * 3 / 2)
            }
        }
    }

    fn arm(&mut self, id: ConnectionId) {
        let deadline = self.deadline(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        self.timers.remove(connection.timer.take(), Timer::Silence(id));
        if let Some(deadline) = deadline {
            connection.timer = Some(deadline);
            self.timers.insert(deadline, Timer::Silence(id));
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
