//! CONNECT: who is let in, and with which session (MQTT 3.1.1 §3.1, §3.2; MQTT 5 the same).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Connected, ConnectionId, Core, Ending, Output, Phase};
use crate::broker::session::{Session, SessionId};
use crate::broker::wire::{ConnAck, Connect, Outgoing, Version};
use crate::broker::{Announced, Reason};

impl Core {
    pub(super) fn handle_connect(&mut self, id: ConnectionId, connect: Connect) {
        let Some(announced) = self.connections.get(&id).map(|connection| connection.announced)
        else {
            return;
        };
        if let Err(reason) = self.admit(&connect, &announced) {
            self.refuse(id, reason);
            return;
        }
        let client = self.name(&connect.client);
        self.take_over(&client);
        let (session, resumed) = match self.resume(&client, connect.clean_start) {
            Some(kept) => (kept, true),
            None if self.sessions.len() >= self.limits.max_sessions => {
                self.refuse(id, Reason::ServerUnavailable);
                return;
            }
            None => (self.begin_session(client.clone()), false),
        };
        self.counts.connects += 1;
        tracing::debug!(connection = id.0, client = &*client, resumed, "connected");
        let ack = ConnAck {
            session_present: resumed != self.conduct.wrong_session_present,
            reason: Reason::Success,
            // MQTT 5 §3.2.2.3.7 [MQTT-3.1.3-7]
            assigned_client: Some(client).filter(|_| connect.client.is_empty()),
            announced,
        };
        self.attach(id, session, connect, &announced);
        self.output.push_back(Output::Send(id, Outgoing::ConnAck(Box::new(ack))));
        self.transmit(session);
    }

    /// Answers CONNECT with a reason against it, which ends the connection (MQTT 3.1.1 §3.2.2.3
    /// [MQTT-3.2.2-4, -5], MQTT 5 §3.2.2 [MQTT-3.2.2-6, -7]).
    pub(super) fn refuse(&mut self, id: ConnectionId, reason: Reason) {
        tracing::info!(connection = id.0, %reason, "connection refused");
        self.counts.refusals += 1;
        let refusal = ConnAck {
            session_present: false,
            reason,
            assigned_client: None,
            announced: Announced::default(),
        };
        self.output.push_back(Output::Send(id, Outgoing::ConnAck(Box::new(refusal))));
        self.close(id, Ending::Clean);
    }

    fn admit(&self, connect: &Connect, announced: &Announced) -> Result<(), Reason> {
        if let Some(reason) = self.conduct.refusal {
            return Err(reason);
        }
        // MQTT 5 §4.12 [MQTT-4.12.0-1]
        if connect.enhanced_authentication {
            return Err(Reason::BadAuthenticationMethod);
        }
        if let Some(login) = &self.login {
            let user = connect.user.as_deref();
            let password = connect.password.as_deref();
            // Code 5 and not 4 in MQTT 3.1.1: the data is well-formed, it only is not the right
            // one (Table 3.1).
            if user != Some(&login.user) || password != Some(&login.password) {
                return Err(Reason::NotAuthorized);
            }
        }
        match connect.version {
            // MQTT 3.1.1 §3.1.3.1 [MQTT-3.1.3-8]
            Version::V4 if connect.client.is_empty() && !connect.clean_start => {
                Err(Reason::ClientIdentifierNotValid)
            }
            Version::V4 => Ok(()),
            Version::V5 => admit_will(connect, announced),
        }
    }

    /// The client id, or a new one for a client that left it to the broker
    /// (§3.1.3.1 [MQTT-3.1.3-6]).
    fn name(&self, requested: &str) -> Arc<str> {
        if !requested.is_empty() {
            return requested.into();
        }
        let names = (self.next_session..).map(|n| format!("auto-{n}"));
        let mut free = names.filter(|name| !self.clients.contains_key(name.as_str()));
        free.next().unwrap_or_default().into()
    }

    /// Ends the connection that uses the same client id (MQTT 3.1.1 §3.1.4 [MQTT-3.1.4-2], MQTT 5
    /// [MQTT-3.1.4-3]).
    fn take_over(&mut self, client: &str) {
        let session = self.clients.get(client).and_then(|id| self.sessions.get(id));
        if let Some(old) = session.and_then(|session| session.connection) {
            tracing::info!(connection = old.0, client, "another connection took the client id");
            self.counts.takeovers += 1;
            self.close_because(old, Reason::SessionTakenOver);
        }
    }

    /// The kept session of `client`; a clean start begins with discarding it (MQTT 3.1.1 §3.1.2.4
    /// [MQTT-3.1.2-6], MQTT 5 [MQTT-3.1.2-4]).
    fn resume(&mut self, client: &str, clean: bool) -> Option<SessionId> {
        let &id = self.clients.get(client)?;
        if clean || self.conduct.lose_sessions {
            self.end_session(id);
            return None;
        }
        self.stop_waiting(id);
        Some(id)
    }

    fn begin_session(&mut self, client: Arc<str>) -> SessionId {
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.clients.insert(client.clone(), id);
        self.sessions.insert(id, Session::new(client, &self.limits));
        id
    }

    fn attach(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        connect: Connect,
        announced: &Announced,
    ) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.connection = Some(id);
            session.expiry = connect.session_expiry;
            let receive_maximum = connect.receive_maximum.map_or(u16::MAX, |maximum| maximum.get());
            session.outbound.handle_connect(receive_maximum);
            self.counts.connected += 1;
        }
        // MQTT 5 §3.2.2.3.14 [MQTT-3.2.2-21]
        let server_keep_alive = announced.server_keep_alive;
        let seconds = match connect.version {
            Version::V4 => connect.keep_alive,
            Version::V5 => server_keep_alive.unwrap_or(connect.keep_alive),
        };
        let keep_alive = Duration::from_secs(u64::from(seconds));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Connected(Connected {
                session,
                version: connect.version,
                keep_alive: Some(keep_alive).filter(|keep_alive| !keep_alive.is_zero()),
                will: connect.will,
                receiving: BTreeSet::new(),
            });
        }
        self.arm(id);
    }
}

/// MQTT 5 §3.2.2.3.4 [MQTT-3.2.2-12], §3.2.2.3.5 [MQTT-3.2.2-13].
fn admit_will(connect: &Connect, announced: &Announced) -> Result<(), Reason> {
    let Some(will) = &connect.will else { return Ok(()) };
    if will.message.qos as u8 > announced.maximum_qos as u8 {
        return Err(Reason::QosNotSupported);
    }
    if will.message.retain && !announced.retain_available {
        return Err(Reason::RetainNotSupported);
    }
    Ok(())
}
