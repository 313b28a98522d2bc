//! The devices of a source that were heard of last.

use std::fmt::{Display, Write as _};
use std::sync::{Mutex, PoisonError};

use proto::{Reading, Timestamp};

use super::recent::Recent;

/// What is known of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Heard {
    /// Where its last message came from.
    pub(crate) address: String,
    /// When.
    pub(crate) last: Timestamp,
    /// Readings, as long as it is known.
    pub(crate) readings: u64,
}

/// The devices.
#[derive(Debug, Default)]
pub(super) struct HeardOf(Mutex<Recent<Heard>>);

impl HeardOf {
    /// Takes the readings of a message from `peer`.
    pub(super) fn note(&self, readings: &[Reading], peer: &dyn Display, now: Timestamp) {
        let mut devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Heard { address: String::new(), last: Timestamp::from_nanos(0), readings: 0 };
        for of_one in readings.chunk_by(|one, next| one.device == next.device) {
            let Some(reading) = of_one.first() else { continue };
            let Some(heard) = devices.hear(&reading.device, new) else { continue };
            heard.address.clear();
            // Writing to a string cannot fail.
            let _ = write!(heard.address, "{peer}");
            heard.last = now;
            heard.readings += of_one.len() as u64;
        }
    }

    /// All that are known, by name.
    pub(super) fn devices(&self) -> Vec<(String, Heard)> {
        let devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = devices.all().map(|(name, heard)| (name.clone(), heard.clone()));
        let mut all: Vec<_> = all.collect();
        drop(devices);
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

#[cfg(test)]
mod tests {
    use proto::{TimeQuality, Value};

    use super::*;

    fn reading(device: &str) -> Reading {
        Reading {
            device: device.to_owned(),
            name: "t".to_owned(),
            unit: None,
            value: Value::Boolean(true),
            time: Timestamp::from_nanos(1),
            time_quality: TimeQuality::Device,
            epoch: None,
            sequence: None,
        }
    }

    #[test]
    fn a_device_is_known_with_its_last_message_and_all_its_readings() {
        let heard = HeardOf::default();
        let at = Timestamp::from_nanos;
        heard.note(&[reading("a"), reading("a"), reading("b")], &"10.0.0.1", at(5));
        heard.note(&[reading("a")], &"10.0.0.2", at(7));
        let expected = [
            Heard { address: "10.0.0.2".into(), last: at(7), readings: 3 },
            Heard { address: "10.0.0.1".into(), last: at(5), readings: 1 },
        ];
        let known: Vec<_> = heard.devices().into_iter().map(|(_, heard)| heard).collect();
        assert_eq!(known, expected);
    }
}
