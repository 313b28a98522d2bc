//! Tells a record that a broker cannot stand from a broker that cannot stand anything.
//!
//! Some brokers close the connection, or never acknowledge, when they get a publish that they do
//! not like; sent again and again, that one would stop all others for ever. So when a connection
//! ends while records are under way, the next one starts with a single record and takes one more
//! for each acknowledgement, as TCP's slow start does. The record that is alone under way when the
//! connection ends is the suspect; after [`limit`](Quarantine::new) such ends in a row it is put
//! aside. Until something is acknowledged after that, nothing further is: then it is the broker
//! that is at fault.

use std::collections::VecDeque;

use super::session::Ticket;

/// The records under way, and the suspect among them.
#[derive(Debug)]
pub(super) struct Quarantine {
    limit: u32,
    window: usize,
    /// How many records may be under way.
    allowed: usize,
    /// Each with the outcomes that it waits for, in the order of their publishing.
    under_way: VecDeque<(Ticket, usize)>,
    suspect: Option<Ticket>,
    /// Ends of a connection in a row that the suspect was there at.
    ends: u32,
    /// Ends in a row with several under way.
    crowded_ends: u32,
    /// Whether anything was acknowledged since the last record was put aside.
    trusted: bool,
}

/// What to do about the end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Nothing but to connect again.
    GoOn,
    /// A resumed session sends several records at once, so that none can be told: end it.
    EndSession,
    /// Put this record aside.
    PutAside(Ticket),
}

impl Quarantine {
    /// A record may cause `limit` ends in a row, or any number if that is zero; `window` records may
    /// be under way.
    pub(super) fn new(limit: u32, window: u16) -> Self {
        let window = usize::from(window);
        Self {
            limit,
            window,
            allowed: window,
            under_way: VecDeque::new(),
            suspect: None,
            ends: 0,
            crowded_ends: 0,
            trusted: true,
        }
    }

    /// Whether another record may be published.
    pub(super) fn has_room(&self) -> bool {
        self.under_way.len() < self.allowed
    }

    /// Nothing is under way.
    pub(super) fn clear(&mut self) {
        self.under_way.clear();
    }

    /// A record is published and waits for so many outcomes.
    pub(super) fn handle_begin(&mut self, record: Ticket, outcomes: usize) {
        if outcomes > 0 {
            self.under_way.push_back((record, outcomes));
        }
    }

    /// The broker has acknowledged a publish of a record.
    pub(super) fn handle_acknowledged(&mut self, record: Ticket) {
        self.allowed = self.window.min(self.allowed + 1);
        (self.trusted, self.crowded_ends) = (true, 0);
        if self.suspect == Some(record) {
            (self.suspect, self.ends) = (None, 0);
        }
        self.handle_settled(record);
    }

    /// A publish of a record has another outcome.
    pub(super) fn handle_settled(&mut self, record: Ticket) {
        let Some(at) = self.under_way.iter().position(|(open, _)| *open == record) else { return };
        if let Some((_, outcomes)) = self.under_way.get_mut(at) {
            *outcomes -= 1;
            if *outcomes == 0 {
                self.under_way.remove(at);
            }
        }
    }

    /// The connection has ended.
    pub(super) fn handle_end(&mut self) -> Verdict {
        let Some(&(first, _)) = self.under_way.front() else { return Verdict::GoOn };
        self.allowed = 1;
        if self.limit == 0 {
            return Verdict::GoOn;
        }
        if self.under_way.len() > 1 {
            self.crowded_ends += 1;
            return match self.crowded_ends > self.limit {
                true => Verdict::EndSession,
                false => Verdict::GoOn,
            };
        }
        if self.suspect != Some(first) {
            (self.suspect, self.ends) = (Some(first), 0);
        }
        self.ends += 1;
        if self.ends < self.limit || !self.trusted {
            return Verdict::GoOn;
        }
        (self.suspect, self.ends, self.trusted) = (None, 0, false);
        Verdict::PutAside(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u32 = 5;
    const WINDOW: u16 = 8;

    fn ticket(n: u64) -> Ticket {
        Ticket { lane: 0, part: 0, n }
    }

    /// Publishes the records below `end` in order to a broker that acknowledges what is not
    /// `poison` and cuts the connection at what is; returns what was put aside.
    fn run(quarantine: &mut Quarantine, poison: impl Fn(u64) -> bool, end: u64) -> Vec<u64> {
        let (mut next, mut aside) = (1, Vec::new());
        for _ in 0..1000 {
            quarantine.clear();
            let mut sent = next;
            loop {
                while quarantine.has_room() && sent < end {
                    quarantine.handle_begin(ticket(sent), 1);
                    sent += 1;
                }
                if next == end {
                    return aside;
                }
                if poison(next) {
                    break;
                }
                quarantine.handle_acknowledged(ticket(next));
                next += 1;
            }
            if let Verdict::PutAside(suspect) = quarantine.handle_end() {
                assert_eq!(suspect, ticket(next), "only the head is put aside");
                aside.push(next);
                next += 1;
            }
        }
        aside
    }

    #[test]
    fn only_the_record_that_ends_connections_is_put_aside() {
        let mut quarantine = Quarantine::new(LIMIT, WINDOW);
        let aside = run(&mut quarantine, |n| n == 20 || n == 33, 100);
        assert_eq!(aside, [20, 33]);
    }

    #[test]
    fn a_broker_that_acknowledges_nothing_costs_one_record() {
        let mut quarantine = Quarantine::new(LIMIT, WINDOW);
        assert_eq!(run(&mut quarantine, |_| true, 100), [1]);
    }

    #[test]
    fn nothing_is_put_aside_where_that_is_turned_off() {
        let mut quarantine = Quarantine::new(0, WINDOW);
        assert!(run(&mut quarantine, |n| n == 20, 100).is_empty());
    }

    #[test]
    fn an_end_with_nothing_under_way_makes_nobody_suspect() {
        let mut quarantine = Quarantine::new(1, WINDOW);
        assert_eq!(quarantine.handle_end(), Verdict::GoOn);
        assert_eq!(quarantine.allowed, usize::from(WINDOW));
    }

    #[test]
    fn a_resumed_session_that_always_ends_is_given_up() {
        let mut quarantine = Quarantine::new(2, WINDOW);
        (1..=3).for_each(|n| quarantine.handle_begin(ticket(n), 1));
        let verdicts = [(); 3].map(|()| quarantine.handle_end());
        assert_eq!(verdicts, [Verdict::GoOn, Verdict::GoOn, Verdict::EndSession]);
    }

    #[test]
    fn a_record_with_two_publishes_is_one_record() {
        let mut quarantine = Quarantine::new(1, WINDOW);
        quarantine.handle_begin(ticket(1), 2);
        quarantine.handle_acknowledged(ticket(1));
        assert_eq!(quarantine.handle_end(), Verdict::PutAside(ticket(1)));
        quarantine.handle_acknowledged(ticket(1));
        assert_eq!(quarantine.handle_end(), Verdict::GoOn);
    }
}
