//! What a session does as time passes: it pings, and notices a broker that does not answer.

use proto::Instant;

use super::{Session, SessionError, State};

impl Session {
    /// Looks at the clock: pings, and notices a broker that does not answer.
    pub(in crate::broker) fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        let patience = self.options.ack_timeout;
        match self.state {
            State::Disconnected => return Ok(()),
            State::Connecting | State::Closing => {
                return match now - self.waiting_since() >= patience {
                    true => Err(SessionError::Silent(patience)),
                    false => Ok(()),
                };
            }
            State::Connected => {}
        }
        let overdue = |since: Option<Instant>| since.is_some_and(|since| now - since >= patience);
        if overdue(self.inflight.oldest()) {
            return Err(SessionError::Unacknowledged(patience));
        }
        if overdue(self.silent_since()) {
            return Err(SessionError::Silent(patience));
        }
        if self.ping_sent.is_none() && now >= self.next_ping() {
            self.writer.pingreq(now)?;
            self.ping_sent = Some(now);
        }
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(in crate::broker) fn deadline(&self) -> Instant {
        let patience = self.options.ack_timeout;
        if self.state != State::Connected {
            return self.waiting_since() + patience;
        }
        let waits = [self.inflight.oldest(), self.silent_since()];
        let answer = waits.into_iter().flatten().min().map(|since| since + patience);
        match (self.ping_sent, answer) {
            (Some(_), Some(answer)) => answer,
            (_, Some(answer)) => answer.min(self.next_ping()),
            (_, None) => self.next_ping(),
        }
    }

    /// Since when CONNECT waits for an answer, or DISCONNECT to be sent.
    fn waiting_since(&self) -> Instant {
        self.writer.last_sent.max(self.last_received)
    }

    fn next_ping(&self) -> Instant {
        self.writer.last_sent.min(self.last_received) + self.terms.keep_alive
    }

    /// Since when nothing has come although a ping asks for it.
    fn silent_since(&self) -> Option<Instant> {
        self.ping_sent.map(|sent| sent.max(self.last_received))
    }
}
