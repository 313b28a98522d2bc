//! Which messages a fault concerns.

use bytes::Bytes;

use super::plan::Setting;
use crate::broker::message::Message;
use crate::broker::topic::Filter;

/// Which of the arriving messages a fault concerns; without a condition every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    filter: Option<Filter>,
    payload: Option<Bytes>,
    every: u64,
    once: bool,
}

impl Matching {
    /// Every message.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only those whose topic `filter` selects.
    #[must_use]
    pub fn topic(self, filter: Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// Only those whose payload has these bytes in it.
    #[must_use]
    pub fn payload(self, part: impl Into<Bytes>) -> Self {
        Self { payload: Some(part.into()), ..self }
    }

    /// Only every nth of them; 0 and 1 mean each.
    #[must_use]
    pub fn every(self, n: u64) -> Self {
        Self { every: n, ..self }
    }

    /// Only the first of them.
    #[must_use]
    pub fn once(self) -> Self {
        Self { once: true, ..self }
    }

    fn selects(&self, message: &Message) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(&message.topic))
            && self.payload.as_ref().is_none_or(|part| contains(&message.payload, part))
    }
}

fn contains(payload: &[u8], part: &[u8]) -> bool {
    part.is_empty() || payload.windows(part.len()).any(|window| window == part)
}

/// Watches messages go by until the one that a [`Matching`] means.
#[derive(Debug, Default)]
pub(in crate::broker) struct Trigger {
    matching: Option<Matching>,
    /// When it was switched, to notice that it was switched again.
    switched: u64,
    seen: u64,
}

impl Trigger {
    /// Takes over what the plan says, and counts anew when it was switched.
    pub(in crate::broker) fn handle_setting<T>(
        &mut self,
        setting: &Setting<T>,
        matching: impl FnOnce(&T) -> &Matching,
    ) {
        if setting.switched() != self.switched {
            let matching = setting.value().map(matching).cloned();
            *self = Self { matching, switched: setting.switched(), seen: 0 };
        }
    }

    /// Whether `message` is one of those.
    pub(in crate::broker) fn fires(&mut self, message: &Message) -> bool {
        let Some(matching) = &self.matching else { return false };
        if !matching.selects(message) {
            return false;
        }
        self.seen += 1;
        let fires = self.seen.is_multiple_of(matching.every.max(1));
        if fires && matching.once {
            self.matching = None;
        }
        fires
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::QoS;

    fn trigger(matching: Matching) -> Trigger {
        let mut setting = Setting::default();
        setting.set(Some(matching));
        let mut trigger = Trigger::default();
        trigger.handle_setting(&setting, |matching| matching);
        trigger
    }

    fn fires(trigger: &mut Trigger, topic: &str, payload: &'static str) -> bool {
        trigger.fires(&Message::new(topic, payload, QoS::AtLeastOnce))
    }

    #[test]
    fn every_condition_has_to_hold() {
        let matching = Matching::all().topic("a/+".parse().unwrap()).payload("21");
        let mut trigger = trigger(matching);
        let table = [("a/b", "x21.5", true), ("a/b", "2", false), ("b", "21", false)];
        for (topic, payload, expected) in table {
            assert_eq!(fires(&mut trigger, topic, payload), expected, "{topic} {payload}");
        }
    }

    #[test]
    fn nth_is_counted_among_those_that_match() {
        let mut trigger = trigger(Matching::all().payload("y").every(2));
        let fired: Vec<_> =
            ["y", "n", "y", "y", "y"].map(|payload| fires(&mut trigger, "t", payload)).into();
        assert_eq!(fired, [false, false, true, false, true]);
    }

    #[test]
    fn once_is_once_until_it_is_switched_again() {
        let mut setting = Setting::default();
        let mut trigger = Trigger::default();
        for _ in 0..2 {
            setting.set(Some(Matching::all().once()));
            for expected in [true, false] {
                trigger.handle_setting(&setting, |matching| matching);
                assert_eq!(fires(&mut trigger, "t", ""), expected);
            }
        }
        setting.set(None);
        trigger.handle_setting(&setting, |matching| matching);
        assert!(!fires(&mut trigger, "t", ""));
    }
}
