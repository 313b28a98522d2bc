//! Which records of a store somebody wants to see.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::cursor::Cursors;
use super::lane::broker_of;
use super::{Progress, Record};
use crate::pipeline::Pattern;

/// A choice of records; what is not set chooses all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    /// Received at this time or later, in nanoseconds since 1970.
    #[serde(default)]
    pub(crate) from_ns: Option<i64>,
    /// Received before this time.
    #[serde(default)]
    pub(crate) to_ns: Option<i64>,
    /// Only what this broker has not acknowledged.
    #[serde(default)]
    pub(crate) broker: Option<String>,
    /// Only devices with such a name.
    #[serde(default)]
    pub(crate) device: Option<Pattern>,
}

/// The store knows nothing of a broker.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store knows no broker `{broker}`, only {known}")]
pub(crate) struct UnknownBroker {
    broker: String,
    known: String,
}

impl Selection {
    /// What that is in a store whose brokers are there.
    pub(crate) fn choice<'a>(&'a self, cursors: &Cursors) -> Result<Choice<'a>, UnknownBroker> {
        let Some(broker) = &self.broker else {
            return Ok(Choice { selection: self, lanes: Vec::new() });
        };
        let of_broker = cursors.iter().filter(|(key, _)| broker_of(key) == broker);
        let lanes: Vec<_> = of_broker.map(|(_, cursor)| cursor.progress.clone()).collect();
        if lanes.is_empty() {
            let names: BTreeSet<_> = cursors.keys().map(|key| broker_of(key)).collect();
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(UnknownBroker { broker: broker.clone(), known });
        }
        Ok(Choice { selection: self, lanes })
    }
}

/// The records that a [`Selection`] stands for.
#[derive(Clone, Debug)]
pub(crate) struct Choice<'a> {
    selection: &'a Selection,
    /// What each lane of the broker has pending; none where no broker was named.
    lanes: Vec<Progress>,
}

impl Choice<'_> {
    /// The number to begin with.
    pub(crate) fn first(&self) -> u64 {
        self.lanes.iter().map(Progress::lowest).min().unwrap_or(1)
    }

    /// Whether a record is chosen.
    pub(crate) fn takes(&self, record: &Record) -> bool {
        let received = record.received.as_nanos();
        let Selection { from_ns, to_ns, device, .. } = self.selection;
        (self.lanes.is_empty() || self.lanes.iter().any(|lane| lane.is_pending(record.n)))
            && from_ns.is_none_or(|from| received >= from)
            && to_ns.is_none_or(|to| received < to)
            && device.as_ref().is_none_or(|device| {
                record.reading().is_some_and(|reading| device.matches(&reading.device))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cursor::Cursor;
    use crate::store::tests::record;

    #[test]
    fn a_record_is_chosen_by_the_time_it_was_received_and_by_its_device() {
        let record = record("th-1", 1);
        let received = record.received.as_nanos();
        let takes = |from_ns, to_ns, device: Option<&str>| {
            let device = device.map(|device| device.parse().unwrap());
            let selection = Selection { from_ns, to_ns, broker: None, device };
            selection.choice(&Cursors::new()).unwrap().takes(&record)
        };
        assert!(takes(None, None, None));
        assert!(takes(Some(received), Some(received + 1), Some("th-*")));
        assert!(!takes(Some(received + 1), None, None), "too early");
        assert!(!takes(None, Some(received), None), "the end is not among them");
        assert!(!takes(None, None, Some("th")), "another device");
    }

    fn of(broker: &str) -> Selection {
        Selection { broker: Some(broker.to_owned()), ..Selection::default() }
    }

    #[test]
    fn what_is_pending_in_any_lane_of_a_broker_is_chosen() {
        let mut live = Progress::new(4);
        assert!(live.skip_to(9));
        live.release_open(12);
        let lane = |key: &str, progress| (key.to_owned(), Cursor::new(progress));
        let cursors = Cursors::from([
            lane("a", Progress::new(7)),
            lane("b", Progress::new(10)),
            lane("b/live", live),
        ]);
        let numbers = |selection: &Selection| {
            let choice = selection.choice(&cursors).unwrap();
            let takes = |n: &u64| choice.takes(&Record { n: *n, ..record("d", 1) });
            (choice.first(), (1..14).filter(takes).collect::<Vec<_>>())
        };
        assert_eq!(numbers(&Selection::default()), (1, Vec::from_iter(1..14)));
        assert_eq!(numbers(&of("a")), (7, Vec::from_iter(7..14)));
        assert_eq!(numbers(&of("b")), (4, vec![4, 5, 6, 7, 8, 10, 11, 12, 13]));
        let unknown = of("c").choice(&cursors).unwrap_err().to_string();
        assert_eq!(unknown, "the store knows no broker `c`, only `a`, `b`");
    }
}
