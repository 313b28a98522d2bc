//! A POST for each report, over a connection that stays open (RFC 9112).

use device_sim::payload::Payload;
use device_sim::transport::{PATIENCE, media_type};
use proto::{Instant, Reading};

use super::Turn;

/// The longest head of an answer.
const MAX_HEAD: usize = 16 * 1024;

/// Posts, one at a time.
pub(in crate::rehearse::player) struct Http {
    payload: Payload,
    path: String,
    host: String,
    /// What was posted and is not answered.
    open: Option<Vec<Reading>>,
    /// When that is given up.
    give_up_at: Instant,
    answer: Vec<u8>,
    /// Whether the connection is of no use any more.
    wants_end: bool,
}

impl Http {
    pub(super) fn new(payload: &Payload, path: &str, host: &str) -> Self {
        Self {
            payload: payload.clone(),
            path: path.to_owned(),
            host: host.to_owned(),
            open: None,
            give_up_at: Instant::FAR_FUTURE,
            answer: Vec::new(),
            wants_end: false,
        }
    }

    pub(super) const fn has_room(&self) -> bool {
        self.open.is_none() && !self.wants_end
    }

    pub(super) const fn poll_timeout(&self) -> Instant {
        self.give_up_at
    }

    pub(super) const fn wants_end(&self) -> bool {
        self.wants_end
    }

    pub(super) fn handle_report(&mut self, turn: &mut Turn<'_>, readings: Vec<Reading>) {
        let (path, host, body) = (&self.path, &self.host, self.payload.encode(&readings));
        let (media, length) = (media_type(&self.payload), body.len());
        let head = format!(
            "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {media}\r\n\
             content-length: {length}\r\n\r\n"
        );
        turn.said.push_back([head.into_bytes(), body].concat());
        self.open = Some(readings);
        self.give_up_at = turn.now + PATIENCE;
    }

    pub(super) fn handle_bytes(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) {
        self.answer.extend_from_slice(bytes);
        match Answer::parse(&self.answer) {
            Ok(None) => {}
            Ok(Some(Answer { status, length })) => {
                self.answer.drain(..length);
                self.give_up_at = Instant::FAR_FUTURE;
                let Some(readings) = self.open.take() else { return };
                match (200..300).contains(&status) {
                    true => turn.ledger.handle_acknowledged(turn.now, &readings),
                    false => turn.ledger.handle_refused(turn.now, &readings),
                }
            }
            Err(NoAnswer) => self.wants_end = true,
        }
    }

    /// The answer takes too long.
    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        self.forget(turn);
        self.wants_end = true;
    }

    /// Nothing is posted again.
    pub(super) fn handle_lost(&mut self, turn: &mut Turn<'_>) {
        self.forget(turn);
        self.answer.clear();
        self.wants_end = false;
    }

    pub(super) fn forget(&mut self, turn: &mut Turn<'_>) {
        self.give_up_at = Instant::FAR_FUTURE;
        if let Some(readings) = self.open.take() {
            turn.ledger.handle_unanswered(turn.now, &readings);
        }
    }
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// Its bytes, head and body.
    length: usize,
}

/// Bytes that are no answer.
#[derive(Debug, PartialEq, Eq)]
struct NoAnswer;

impl Answer {
    /// The one that some bytes begin with; `None` where it is not whole yet.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, NoAnswer> {
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if bytes.len() > MAX_HEAD { Err(NoAnswer) } else { Ok(None) };
        };
        let text = bytes.get(..head).and_then(|head| std::str::from_utf8(head).ok());
        let mut lines = text.ok_or(NoAnswer)?.lines();
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)?.parse().ok()).ok_or(NoAnswer)?;
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let body: usize = match length {
            Some((_, length)) => length.trim().parse().map_err(|_| NoAnswer)?,
            None => 0,
        };
        let length = (head + 4).checked_add(body).ok_or(NoAnswer)?;
        Ok((bytes.len() >= length).then_some(Self { status, length }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9112 §4, §6.3.
    #[test]
    fn an_answer_ends_where_its_length_says() {
        let (first, second) =
            ("HTTP/1.1 202 x\r\nContent-Length: 3\r\n\r\nyes", "HTTP/1.1 503 x\r\n\r\n");
        let both = [first, second].concat();
        for end in 0..first.len() {
            assert_eq!(Answer::parse(&both.as_bytes()[..end]), Ok(None), "{end}");
        }
        let answer = |status, text: &str| Ok(Some(Answer { status, length: text.len() }));
        assert_eq!(Answer::parse(both.as_bytes()), answer(202, first));
        assert_eq!(Answer::parse(second.as_bytes()), answer(503, second));
        for wrong in ["HTTP/1.1 x\r\n\r\n", "\r\n\r\n", "HTTP/1.1 202\r\ncontent-length: x\r\n\r\n"]
        {
            assert_eq!(Answer::parse(wrong.as_bytes()), Err(NoAnswer), "{wrong:?}");
        }
    }
}
