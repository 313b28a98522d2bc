//! CONNECT: who is let in, and with which session (MQTT 3.1.1 §3.1, §3.2).

use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::v4::ConnectReturnCode;

use super::{Connected, ConnectionId, Core, Ending, Output, Phase};
use crate::broker::session::{Session, SessionId};
use crate::broker::wire::{Connect, Outgoing};

impl Core {
    pub(super) fn handle_connect(&mut self, id: ConnectionId, connect: Connect) {
        if let Err(code) = self.admit(&connect) {
            self.refuse(id, code);
            return;
        }
        let client = self.name(&connect.client);
        self.take_over(&client);
        let (session, session_present) = match self.resume(&client, connect.clean_session) {
            Some(kept) => (kept, true),
            None if self.sessions.len() >= self.limits.max_sessions => {
                self.refuse(id, ConnectReturnCode::ServiceUnavailable);
                return;
            }
            None => (self.begin_session(client.clone(), connect.clean_session), false),
        };
        self.attach(id, session, connect);
        self.counts.connects += 1;
        tracing::debug!(connection = id.0, client = &*client, session_present, "connected");
        let code = ConnectReturnCode::Success;
        self.output.push_back(Output::Send(id, Outgoing::ConnAck { session_present, code }));
        self.transmit(session);
    }

    /// Answers CONNECT with a code other than zero, which ends the connection
    /// (§3.2.2.3 [MQTT-3.2.2-4, -5]).
    pub(super) fn refuse(&mut self, id: ConnectionId, code: ConnectReturnCode) {
        tracing::info!(connection = id.0, ?code, "connection refused");
        self.counts.refusals += 1;
        let refusal = Outgoing::ConnAck { session_present: false, code };
        self.output.push_back(Output::Send(id, refusal));
        self.close(id, Ending::Clean);
    }

    fn admit(&self, connect: &Connect) -> Result<(), ConnectReturnCode> {
        if let Some(code) = self.refusal {
            return Err(code);
        }
        if let Some(login) = &self.login {
            let user = connect.user.as_deref();
            let password = connect.password.as_deref();
            // 5 and not 4: the data is well-formed, it only is not the right one (Table 3.1).
            if user != Some(&login.user) || password != Some(&login.password) {
                return Err(ConnectReturnCode::NotAuthorized);
            }
        }
        // §3.1.3.1 [MQTT-3.1.3-8]
        if connect.client.is_empty() && !connect.clean_session {
            return Err(ConnectReturnCode::BadClientId);
        }
        Ok(())
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

    /// Ends the connection that uses the same client id (§3.1.4 [MQTT-3.1.4-2]).
    fn take_over(&mut self, client: &str) {
        let session = self.clients.get(client).and_then(|id| self.sessions.get(id));
        if let Some(old) = session.and_then(|session| session.connection) {
            tracing::info!(connection = old.0, client, "another connection took the client id");
            self.counts.takeovers += 1;
            self.close(old, Ending::Abrupt);
        }
    }

    /// The kept session of `client`; a clean session begins with discarding it
    /// (§3.1.2.4 [MQTT-3.1.2-6]).
    fn resume(&mut self, client: &str, clean: bool) -> Option<SessionId> {
        let &id = self.clients.get(client)?;
        if clean {
            self.end_session(id);
            return None;
        }
        self.sessions.get_mut(&id)?.outbound.handle_reconnect();
        Some(id)
    }

    fn begin_session(&mut self, client: Arc<str>, clean: bool) -> SessionId {
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.clients.insert(client.clone(), id);
        self.sessions.insert(id, Session::new(client, clean, &self.limits));
        id
    }

    fn attach(&mut self, id: ConnectionId, session: SessionId, connect: Connect) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.connection = Some(id);
            self.counts.connected += 1;
        }
        let keep_alive = Duration::from_secs(u64::from(connect.keep_alive));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Connected(Connected {
                session,
                keep_alive: Some(keep_alive).filter(|keep_alive| !keep_alive.is_zero()),
                will: connect.will,
            });
        }
        self.arm(id);
    }
}
