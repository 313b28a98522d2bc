//! The last retained message of every topic (MQTT 3.1.1 §3.3.1.3).

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::Instant;

use super::message::Message;
use super::topic;

/// A bounded map from topic to message.
#[derive(Debug)]
pub(super) struct Retained {
    messages: BTreeMap<Arc<str>, Message>,
    limit: usize,
}

impl Retained {
    pub(super) fn new(limit: usize) -> Self {
        Self { messages: BTreeMap::new(), limit }
    }

    /// Keeps `message` in place of the last one on its topic; an empty payload only removes that
    /// one. Returns `false` when there is no room for another topic.
    pub(super) fn store(&mut self, message: &Message) -> bool {
        if message.payload.is_empty() {
            self.messages.remove(&message.topic);
        } else if let Some(kept) = self.messages.get_mut(&message.topic) {
            *kept = message.detached();
        } else if self.messages.len() < self.limit {
            self.messages.insert(message.topic.clone(), message.detached());
        } else {
            return false;
        }
        true
    }

    /// The messages whose topics `filter` selects and whose time is not over
    /// (MQTT 5 §3.3.2.3.3).
    pub(super) fn select(&self, filter: &str, now: Instant) -> Vec<Message> {
        let lives = |message: &&Message| !message.is_expired(now);
        if topic::is_exact(filter) {
            return self.messages.get(filter).into_iter().filter(lives).cloned().collect();
        }
        let selected = self.messages.iter().filter(|(name, _)| topic::matches(filter, name));
        selected.map(|(_, message)| message).filter(lives).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::QoS;

    const NOW: Instant = Instant::ZERO;

    fn message(topic: &str, payload: &'static str) -> Message {
        Message { retain: true, ..Message::new(topic, payload, QoS::AtMostOnce) }
    }

    #[test]
    fn last_message_of_a_topic_is_kept_and_an_empty_one_removes_it() {
        // MQTT 3.1.1 §3.3.1.3 [MQTT-3.3.1-5, -10, -11]
        let mut retained = Retained::new(10);
        assert!(retained.store(&message("a", "1")));
        assert!(retained.store(&message("a", "2")));
        assert_eq!(retained.select("a", NOW), [message("a", "2")]);
        assert_eq!(retained.select("+", NOW), [message("a", "2")]);
        assert!(retained.store(&message("a", "")));
        assert!(retained.select("#", NOW).is_empty());
    }

    #[test]
    fn full_map_refuses_new_topics_and_updates_known_ones() {
        let mut retained = Retained::new(1);
        assert!(retained.store(&message("a", "1")));
        assert!(!retained.store(&message("b", "1")));
        assert!(retained.store(&message("a", "2")));
        assert_eq!(retained.select("#", NOW), [message("a", "2")]);
    }

    #[test]
    fn wildcard_at_the_start_does_not_select_dollar_topics() {
        // MQTT 3.1.1 §4.7.2 [MQTT-4.7.2-1]
        let mut retained = Retained::new(10);
        assert!(retained.store(&message("$a/b", "1")));
        assert!(retained.select("#", NOW).is_empty());
        assert_eq!(retained.select("$a/#", NOW), [message("$a/b", "1")]);
    }
    #[test]
    fn message_whose_time_is_over_is_not_selected() {
        // MQTT 5 §3.3.2.3.3 [MQTT-3.3.2-5]
        let mut retained = Retained::new(10);
        let expires = Instant::from_micros(1_000_000);
        assert!(retained.store(&Message { expires, ..message("a", "1") }));
        for filter in ["a", "#"] {
            assert_eq!(retained.select(filter, Instant::from_micros(999_999)).len(), 1);
            assert!(retained.select(filter, expires).is_empty());
        }
    }
}
