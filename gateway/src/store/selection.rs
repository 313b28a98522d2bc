//! Which records of a store somebody wants to see.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Record;
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
    /// The number to begin with, in a store whose brokers are there.
    pub(crate) fn first(&self, cursors: &BTreeMap<String, u64>) -> Result<u64, UnknownBroker> {
        let Some(broker) = &self.broker else { return Ok(1) };
        cursors.get(broker).copied().ok_or_else(|| {
            let names: Vec<String> = cursors.keys().map(|name| format!("`{name}`")).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            UnknownBroker { broker: broker.clone(), known }
        })
    }

    /// Whether a record is chosen, apart from its number.
    pub(crate) fn takes(&self, record: &Record) -> bool {
        let received = record.received.as_nanos();
        self.from_ns.is_none_or(|from| received >= from)
            && self.to_ns.is_none_or(|to| received < to)
            && self.device.as_ref().is_none_or(|device| device.matches(&record.reading.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::record;

    #[test]
    fn a_record_is_chosen_by_the_time_it_was_received_and_by_its_device() {
        let record = record("th-1", 1);
        let received = record.received.as_nanos();
        let takes = |from_ns, to_ns, device: Option<&str>| {
            let device = device.map(|device| device.parse().unwrap());
            Selection { from_ns, to_ns, broker: None, device }.takes(&record)
        };
        assert!(takes(None, None, None));
        assert!(takes(Some(received), Some(received + 1), Some("th-*")));
        assert!(!takes(Some(received + 1), None, None), "too early");
        assert!(!takes(None, Some(received), None), "the end is not among them");
        assert!(!takes(None, None, Some("th")), "another device");
    }

    #[test]
    fn a_broker_begins_where_it_is() {
        let cursors = BTreeMap::from([("a".to_owned(), 7), ("b".to_owned(), 9)]);
        let of = |broker: &str| {
            Selection { broker: Some(broker.to_owned()), ..Selection::default() }.first(&cursors)
        };
        assert_eq!(Selection::default().first(&cursors), Ok(1));
        assert_eq!(of("b"), Ok(9));
        assert_eq!(
            of("c").unwrap_err().to_string(),
            "the store knows no broker `c`, only `a`, `b`"
        );
    }
}
