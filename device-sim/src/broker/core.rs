//! The protocol: every connection, session, subscription and retained message of a broker, without
//! socket and clock.
//!
//! Feed it with `handle_*` and drain [`Core::poll_output`] after every call; call
//! [`Core::handle_timeout`] when [`Core::poll_timeout`] is due. A connection that the core closes
//! or that [`Core::handle_closed`] reports is forgotten at once; whatever still arrives for it is
//! ignored.

mod connect;
mod publish;
mod subscribe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::Instant;
use rumqttc::mqttbytes::v4::ConnectReturnCode;

use super::retained::Retained;
use super::session::{Session, SessionId};
use super::subscriptions::Subscriptions;
use super::wire::{Incoming, Outgoing, Violation, Will};
use super::{Counts, Limits, Login, QoS, Recorded};

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
    refusal: Option<ConnectReturnCode>,
    connections: BTreeMap<ConnectionId, Connection>,
    timers: BTreeSet<(Instant, ConnectionId)>,
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
    selected: Vec<(SessionId, QoS)>,
}

struct Connection {
    phase: Phase,
    heard: Instant,
    /// Its entry in `timers`: never later than its deadline.
    timer: Option<Instant>,
}

enum Phase {
    /// TCP is open and CONNECT is due.
    Opened,
    Connected(Connected),
}

struct Connected {
    session: SessionId,
    keep_alive: Option<Duration>,
    will: Option<Will>,
}

/// What happens to the will when a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The client said DISCONNECT, or the broker itself is gone: no will (§3.14.4).
    Clean,
    /// Everything else (§3.1.2.5).
    Abrupt,
}

impl Core {
    pub(super) fn new(limits: Limits, login: Option<Login>) -> Self {
        Self {
            login,
            refusal: None,
            connections: BTreeMap::new(),
            timers: BTreeSet::new(),
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

    /// Answers every CONNECT with `code` from now on, or decides by itself again.
    pub(super) fn set_refusal(&mut self, code: Option<ConnectReturnCode>) {
        self.refusal = code;
    }

    /// A TCP connection was opened.
    pub(super) fn handle_opened(&mut self, now: Instant, id: ConnectionId) {
        self.now = self.now.max(now);
        self.counts.accepted += 1;
        self.connections.insert(id, Connection { phase: Phase::Opened, heard: now, timer: None });
        self.arm(id);
    }

    /// A packet was read.
    pub(super) fn handle_packet(&mut self, now: Instant, id: ConnectionId, packet: Incoming) {
        self.now = self.now.max(now);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.heard = connection.heard.max(now);
        let handled = match &connection.phase {
            Phase::Opened => self.handle_first(id, packet),
            Phase::Connected(connected) => {
                let session = connected.session;
                self.handle_next(now, id, session, packet)
            }
        };
        if let Err(violation) = handled {
            self.handle_violation(now, id, &violation);
        }
    }

    /// The client broke the protocol: the connection is closed (§4.8 [MQTT-4.8.0-1]).
    pub(super) fn handle_violation(&mut self, now: Instant, id: ConnectionId, why: &Violation) {
        self.now = self.now.max(now);
        if self.connections.contains_key(&id) {
            tracing::warn!(connection = id.0, client = self.client(id), %why, "closing");
            self.counts.violations += 1;
            self.close(id, Ending::Abrupt);
        }
    }

    /// The connection is gone.
    pub(super) fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        self.now = self.now.max(now);
        self.detach(id, Ending::Abrupt);
    }

    /// Closes every connection that was silent for too long (§3.1.2.10 [MQTT-3.1.2-24]).
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some(&(at, id)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.timer = None;
            }
            match self.deadline(id) {
                Some(deadline) if deadline <= now => {
                    tracing::warn!(connection = id.0, client = self.client(id), "silent: closing");
                    self.counts.timeouts += 1;
                    self.close(id, Ending::Abrupt);
                }
                Some(_) | None => self.arm(id),
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
        self.sessions.clear();
        self.clients.clear();
        self.subscriptions = Subscriptions::default();
        self.retained = Retained::new(self.limits.max_retained);
    }

    /// When [`Core::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.timers.first().map_or(Instant::FAR_FUTURE, |&(at, _)| at)
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

    fn handle_first(&mut self, id: ConnectionId, packet: Incoming) -> Result<(), Violation> {
        match packet {
            Incoming::Connect(connect) => self.handle_connect(id, *connect),
            Incoming::UnsupportedLevel(_) => {
                self.refuse(id, ConnectReturnCode::RefusedProtocolVersion);
            }
            Incoming::Publish { .. }
            | Incoming::PubAck(_)
            | Incoming::PubRec(_)
            | Incoming::PubRel(_)
            | Incoming::PubComp(_)
            | Incoming::Subscribe { .. }
            | Incoming::Unsubscribe { .. }
            | Incoming::PingReq
            | Incoming::Disconnect => return Err(Violation::NotConnected),
        }
        Ok(())
    }

    fn handle_next(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        packet: Incoming,
    ) -> Result<(), Violation> {
        match packet {
            Incoming::Publish { message, dup, packet_id } => {
                self.handle_publish(now, id, session, &message, dup, packet_id);
            }
            Incoming::PubRel(packet_id) => self.handle_pubrel(id, session, packet_id),
            Incoming::PubAck(packet_id) => {
                self.outbound(session, |outbound| outbound.handle_puback(packet_id))?;
            }
            Incoming::PubRec(packet_id) => {
                let answer =
                    self.outbound(session, |outbound| outbound.handle_pubrec(packet_id))?;
                self.output.extend(answer.map(|packet| Output::Send(id, packet)));
            }
            Incoming::PubComp(packet_id) => {
                self.outbound(session, |outbound| outbound.handle_pubcomp(packet_id))?;
            }
            Incoming::Subscribe { packet_id, filters } => {
                self.handle_subscribe(id, session, packet_id, filters);
            }
            Incoming::Unsubscribe { packet_id, filters } => {
                self.handle_unsubscribe(id, session, packet_id, &filters);
            }
            Incoming::PingReq => self.output.push_back(Output::Send(id, Outgoing::PingResp)),
            Incoming::Disconnect => self.close(id, Ending::Clean),
            Incoming::Connect(_) | Incoming::UnsupportedLevel(_) => {
                return Err(Violation::SecondConnect);
            }
        }
        Ok(())
    }

    fn close(&mut self, id: ConnectionId, ending: Ending) {
        self.output.push_back(Output::Close(id));
        self.detach(id, ending);
    }

    /// Forgets a connection, ends its session if it is a clean one, and publishes its will.
    fn detach(&mut self, id: ConnectionId, ending: Ending) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(timer) = connection.timer {
            self.timers.remove(&(timer, id));
        }
        let Phase::Connected(connected) = connection.phase else { return };
        let Some(session) = self.sessions.get_mut(&connected.session) else { return };
        session.connection = None;
        self.counts.connected -= 1;
        let client = session.client.clone();
        if session.clean {
            self.end_session(connected.session);
        }
        if let Some(will) = connected.will.filter(|_| ending == Ending::Abrupt) {
            self.publish_will(client, &will);
        }
    }

    fn end_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.clients.remove(&session.client);
        for filter in &session.filters {
            self.subscriptions.remove(filter, id);
        }
    }

    fn client(&self, id: ConnectionId) -> &str {
        match self.connections.get(&id).map(|connection| &connection.phase) {
            Some(Phase::Connected(connected)) => {
                self.sessions.get(&connected.session).map_or("", |session| &session.client)
            }
            Some(Phase::Opened) | None => "",
        }
    }

    fn deadline(&self, id: ConnectionId) -> Option<Instant> {
        let connection = self.connections.get(&id)?;
        match &connection.phase {
            Phase::Opened => Some(connection.heard + self.limits.connect_timeout),
            Phase::Connected(connected) => {
                connected.keep_alive.map(|keep_alive| connection.heard + keep_alive * 3 / 2)
            }
        }
    }

    fn arm(&mut self, id: ConnectionId) {
        let deadline = self.deadline(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(timer) = connection.timer.take() {
            self.timers.remove(&(timer, id));
        }
        if let Some(deadline) = deadline {
            connection.timer = Some(deadline);
            self.timers.insert((deadline, id));
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
