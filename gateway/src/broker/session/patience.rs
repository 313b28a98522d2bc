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
        if overdue(self.pulse.silent_since()) {
            return Err(SessionError::Silent(patience));
        }
        if self.next_ping().is_some_and(|due| now >= due) {
            self.writer.outlet.pingreq(now)?;
            self.pulse.handle_ping(now);
        }
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(in crate::broker) fn deadline(&self) -> Instant {
        let patience = self.options.ack_timeout;
        if self.state != State::Connected {
            return self.waiting_since() + patience;
        }
        let waits = [self.inflight.oldest(), self.pulse.silent_since()];
        let answer = waits.into_iter().flatten().min().map(|since| since + patience);
        let due = [answer, self.next_ping()].into_iter().flatten().min();
        // A ping is due, or an answer to one.
        due.unwrap_or(Instant::FAR_FUTURE)
    }

    /// Since when CONNECT waits for an answer, or DISCONNECT to be sent.
    fn waiting_since(&self) -> Instant {
        self.writer.outlet.last_sent.max(self.pulse.last_received())
    }

    fn next_ping(&self) -> Option<Instant> {
        self.pulse.next_ping(self.writer.outlet.last_sent, self.terms.keep_alive)
    }
}
