//! How connections and sessions end, and what becomes of the will (MQTT 3.1.1 §3.1.2.5, §3.14;
//! MQTT 5 the same, §3.1.2.11.2 and §3.1.3.2.2).

use std::time::Duration;

use super::timers::Timer;
use super::{ConnectionId, Core, Output, Phase};
use crate::broker::Reason;
use crate::broker::session::SessionId;
use crate::broker::wire::{Outgoing, Version, Violation};

/// What happens to the will when a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client said DISCONNECT, or the broker itself is gone: no will (§3.14.4).
    Clean,
    /// Everything else (§3.1.2.5).
    Abrupt,
}

impl Core {
    /// DISCONNECT: the end that the client chose. Only with reason 0 it takes its will along
    /// (MQTT 5 §3.14.4 [MQTT-3.14.4-3]).
    pub(super) fn handle_disconnect(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        reason: Reason,
        session_expiry: Option<u32>,
    ) -> Result<(), Violation> {
        if let (Some(seconds), Some(session)) = (session_expiry, self.sessions.get_mut(&session)) {
            // MQTT 5 §3.14.2.2.2
            if session.expiry == 0 && seconds != 0 {
                return Err(Violation::SessionExpiry);
            }
            session.expiry = seconds;
        }
        let ending = if reason == Reason::Success { Ending::Clean } else { Ending::Abrupt };
        self.close(id, ending);
        Ok(())
    }

    /// Closes a connection after telling an MQTT 5 client why (MQTT 5 §3.14, §4.13.2).
    pub(super) fn close_because(&mut self, id: ConnectionId, reason: Reason) {
        let connection = self.connections.get(&id);
        if let Some(Phase::Connected(connected)) = connection.map(|connection| &connection.phase)
            && connected.version == Version::V5
        {
            self.output.push_back(Output::Send(id, Outgoing::Disconnect(reason)));
        }
        self.close(id, Ending::Abrupt);
    }

    pub(super) fn close(&mut self, id: ConnectionId, ending: Ending) {
        self.output.push_back(Output::Close(id));
        self.detach(id, ending);
    }

    /// Forgets a connection. Its session ends with it, or begins to wait for the client; so does the
    /// will.
    pub(super) fn detach(&mut self, id: ConnectionId, ending: Ending) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.timers.remove(connection.timer, Timer::Silence(id));
        let Phase::Connected(connected) = connection.phase else { return };
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&connected.session) else { return };
        session.connection = None;
        self.counts.connected -= 1;
        let (ends, will) = (session.end_after(now), connected.will);
        session.ends = ends;
        session.will = will
            .filter(|_| ending == Ending::Abrupt)
            .map(|will| (now + Duration::from_secs(u64::from(will.delay)), will));
        let due = session.will.as_ref().map(|&(due, _)| due);
        if ends.is_some_and(|ends| ends <= now) {
            self.end_session(connected.session);
            return;
        }
        if let Some(ends) = ends {
            self.timers.insert(ends, Timer::Session(connected.session));
        }
        match due {
            Some(due) if due <= now => self.publish_will(connected.session),
            Some(due) => self.timers.insert(due, Timer::Will(connected.session)),
            None => {}
        }
    }

    /// The client is back: neither its session nor its will waits any more
    /// (MQTT 5 §3.1.3.2.2 [MQTT-3.1.3-9]).
    pub(super) fn stop_waiting(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let due = session.will.take().map(|(due, _)| due);
        self.timers.remove(due, Timer::Will(id));
        self.timers.remove(session.ends.take(), Timer::Session(id));
    }

    /// Forgets a session; a will that still waits is published with its end
    /// (MQTT 5 §3.1.3.2.2).
    pub(super) fn end_session(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        self.timers.remove(session.ends, Timer::Session(id));
        self.clients.remove(&session.client);
        for filter in &session.filters {
            self.subscriptions.remove(filter, id);
        }
        if let Some((due, will)) = session.will.take() {
            self.timers.remove(Some(due), Timer::Will(id));
            self.accept_will(id, session.client, will.message);
        }
    }

    /// Publishes the will that a session keeps.
    pub(super) fn publish_will(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let client = session.client.clone();
        if let Some((due, will)) = session.will.take() {
            self.timers.remove(Some(due), Timer::Will(id));
            self.accept_will(id, client, will.message);
        }
    }
}
