//! Fewer readings: what has not changed, or comes too often, is left out.
//!
//! Every name of every device is on its own, and is compared with what was *sent* last, so that
//! a slow drift is sent once it adds up. Time is the reading's own. `min_interval` keeps the first
//! reading and leaves out those that follow: the first one is there already, to wait for the last
//! would delay every reading. A change that it leaves out is sent with the next reading after the
//! interval, because that is still compared with what was sent.
//!
//! A [`Memory`] is as long as a lane goes on: after a start, and where readings are sent again
//! after a disconnect, it is empty, and the first reading of each name is sent. So nothing is left
//! out because of a reading that the broker may not have.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use proto::{Number, Reading, Timestamp, Value};

use super::LeftOut;
use crate::config;

/// Names of a generation: at least as many are remembered, at most twice as many. The first
/// reading of one that was forgotten is sent.
const GENERATION: usize = 8192;

/// Which readings a route leaves out.
#[derive(Debug)]
pub(crate) struct Thin {
    deadband: Option<Number>,
    deadband_percent: Option<Number>,
    max_silence: Option<Duration>,
    min_interval: Option<Duration>,
}

/// What was sent last, by route, device and name, in two generations.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    younger: HashMap<String, Sent>,
    older: HashMap<String, Sent>,
    /// Made anew for each reading.
    key: String,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    value: Compared,
    time: Timestamp,
}

/// A value as far as it is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Compared {
    Number(Number),
    /// A hash of anything else.
    Other(u64),
}

impl Thin {
    /// `None` where a route sends every reading.
    pub(crate) fn new(route: &config::Route) -> Option<Self> {
        let thin = Self {
            deadband: route.deadband.map(|deadband| deadband.number()),
            deadband_percent: route.deadband_percent.map(|deadband| deadband.number()),
            max_silence: route.max_silence.map(|silence| silence.duration()),
            min_interval: route.min_interval.map(|interval| interval.duration()),
        };
        let is_used = thin.has_deadband() || thin.min_interval.is_some();
        is_used.then_some(thin)
    }

    /// Whether a reading is sent; if so, that is remembered.
    pub(crate) fn take(
        &self,
        memory: &mut Memory,
        route: usize,
        reading: &Reading,
    ) -> Result<(), LeftOut> {
        let now = Sent { value: Compared::of(&reading.value), time: reading.time };
        if let Some(sent) = memory.find(route, reading) {
            self.compare(*sent, now)?;
            *sent = now;
            return Ok(());
        }
        memory.remember(now);
        Ok(())
    }

    fn has_deadband(&self) -> bool {
        self.deadband.is_some() || self.deadband_percent.is_some()
    }

    fn compare(&self, sent: Sent, now: Sent) -> Result<(), LeftOut> {
        // A clock that was set back must not silence its device.
        let Ok(since) = u64::try_from(now.time.as_nanos().saturating_sub(sent.time.as_nanos()))
        else {
            return Ok(());
        };
        let since = Duration::from_nanos(since);
        if self.min_interval.is_some_and(|interval| since < interval) {
            return Err(LeftOut::Meant("min_interval"));
        }
        let is_overdue = self.max_silence.is_some_and(|silence| since >= silence);
        if self.has_deadband() && !is_overdue && !self.is_change(sent.value, now.value) {
            return Err(LeftOut::Meant("deadband"));
        }
        Ok(())
    }

    /// Whether a value is outside of every deadband around another one.
    fn is_change(&self, before: Compared, now: Compared) -> bool {
        let (Compared::Number(before), Compared::Number(now)) = (before, now) else {
            return before != now;
        };
        let Some(moved) = now.checked_add(before.negated()).map(absolute) else { return true };
        let percent = self.deadband_percent.and_then(|percent| {
            absolute(before).checked_mul(percent)?.checked_mul(Number::from_decimal(1, -2)?)
        });
        let is_beyond = |band: Option<Number>| band.is_none_or(|band| moved.compare(band).is_gt());
        is_beyond(self.deadband) && is_beyond(percent)
    }
}

fn absolute(number: Number) -> Number {
    if number.mantissa() < 0 { number.negated() } else { number }
}

impl Compared {
    fn of(value: &Value) -> Self {
        let mut hasher = DefaultHasher::new();
        match value {
            Value::Number(number) => return Self::Number(*number),
            Value::Text(text) => text.hash(&mut hasher),
            Value::Boolean(boolean) => boolean.hash(&mut hasher),
            Value::Bytes(bytes) => bytes.hash(&mut hasher),
        }
        Self::Other(hasher.finish())
    }
}

impl Memory {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.younger.clear();
        self.older.clear();
    }

    /// What was sent last of what a reading is of.
    fn find(&mut self, route: usize, reading: &Reading) -> Option<&mut Sent> {
        self.key.clear();
        // The length keeps `a` + `bc` and `ab` + `c` apart. Writing to a string cannot fail.
        let len = reading.device.len();
        let _ = write!(self.key, "{route} {len} {}{}", reading.device, reading.name);
        if let Some(sent) = self.older.remove(&self.key) {
            self.remember(sent);
        }
        self.younger.get_mut(&self.key)
    }

    /// Remembers it of what was looked for last.
    fn remember(&mut self, sent: Sent) {
        if self.younger.len() >= GENERATION {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(self.key.clone(), sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::store::tests::record;

    fn thin(route: &str) -> Thin {
        let config: Config = toml::from_str(&format!("[routes.r]\n{route}")).unwrap();
        Thin::new(config.routes.first_key_value().unwrap().1).unwrap()
    }

    /// Which of these readings (seconds, value) are sent.
    fn sent<'a>(route: &str, readings: &[(i64, &'a str)]) -> Vec<(i64, &'a str)> {
        let (thin, mut memory) = (thin(route), Memory::default());
        let mut reading = record("d", 1).reading().unwrap().clone();
        let is_sent = |(seconds, value): &(i64, &str)| {
            reading.time = Timestamp::from_nanos(seconds * 1_000_000_000);
            reading.value = match value.parse() {
                Ok(number) => Value::Number(number),
                Err(_) => Value::Text((*value).to_owned()),
            };
            thin.take(&mut memory, 0, &reading).is_ok()
        };
        readings.iter().copied().filter(is_sent).collect()
    }

    #[test]
    fn a_drift_is_sent_once_it_adds_up() {
        let readings = [(0, "20.0"), (1, "20.1"), (2, "20.2"), (3, "20.3"), (4, "20.1"), (5, "20")];
        assert_eq!(sent("deadband = 0.2", &readings), [(0, "20.0"), (3, "20.3"), (5, "20")]);
    }

    #[test]
    fn a_percentage_is_of_what_was_sent() {
        let readings = [(0, "100"), (1, "105"), (2, "105.1"), (3, "100"), (4, "-200"), (5, "-190")];
        let expected = [(0, "100"), (2, "105.1"), (4, "-200")];
        assert_eq!(sent("deadband_percent = 5", &readings), expected);
        let zero = [(0, "0"), (1, "0.00"), (2, "0.1")];
        assert_eq!(sent("deadband_percent = 5", &zero), [(0, "0"), (2, "0.1")]);
    }

    #[test]
    fn what_is_no_number_is_sent_when_it_is_another_one() {
        let readings = [(0, "on"), (1, "on"), (2, "off"), (3, "1"), (4, "1.0"), (5, "off")];
        let expected = [(0, "on"), (2, "off"), (3, "1"), (5, "off")];
        assert_eq!(sent("deadband = 0", &readings), expected);
    }

    #[test]
    fn silence_has_an_end() {
        let readings = [(0, "1"), (30, "1"), (59, "1"), (60, "1"), (90, "1"), (120, "1")];
        let route = "deadband = 5\nmax_silence = \"60s\"";
        assert_eq!(sent(route, &readings), [(0, "1"), (60, "1"), (120, "1")]);
    }

    #[test]
    fn the_first_reading_of_an_interval_is_sent_and_a_change_is_not_lost() {
        let readings = [(0, "1"), (3, "9"), (9, "9"), (10, "9"), (15, "1"), (20, "9")];
        let every = [(0, "1"), (10, "9"), (20, "9")];
        assert_eq!(sent("min_interval = \"10s\"", &readings), every);
        let both = "min_interval = \"10s\"\ndeadband = 0.5";
        assert_eq!(sent(both, &readings), [(0, "1"), (10, "9")]);
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nobody() {
        let readings = [(1000, "1"), (5, "1"), (6, "1"), (15, "1")];
        let expected = [(1000, "1"), (5, "1"), (15, "1")];
        assert_eq!(sent("min_interval = \"10s\"", &readings), expected);
    }

    #[test]
    fn each_name_of_each_device_is_on_its_own_and_memory_is_bounded() {
        let thin = thin("deadband = 1");
        let mut memory = Memory::default();
        let mut reading = record("d", 1).reading().unwrap().clone();
        let pairs = [(0, "ab", "c"), (0, "a", "bc"), (1, "ab", "c"), (0, "ab", "d")];
        for (route, device, name) in pairs {
            (reading.device, reading.name) = (device.to_owned(), name.to_owned());
            assert!(thin.take(&mut memory, route, &reading).is_ok());
            assert!(thin.take(&mut memory, route, &reading).is_err());
        }
        for device in 0..3 * GENERATION {
            reading.device = device.to_string();
            assert!(thin.take(&mut memory, 0, &reading).is_ok());
            assert!(memory.younger.len() + memory.older.len() <= 2 * GENERATION);
        }
        assert!(thin.take(&mut memory, 0, &reading).is_err());
    }
}
