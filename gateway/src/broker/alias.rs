//! Topic aliases: a number in place of a topic that was sent before (MQTT 5 §3.3.2.3.4).

use std::collections::HashMap;
use std::sync::Arc;

/// The most aliases, whatever the broker allows.
const MAX_ALIASES: u16 = 1024;
/// The longest topic that gets one; together they bound the memory.
const MAX_TOPIC: usize = 1024;
/// The shortest one: below it the number is no shorter.
const MIN_TOPIC: usize = 4;

/// The aliases of one connection; when all are taken, the oldest is given away.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    limit: u16,
    by_topic: HashMap<Arc<str>, u16>,
    /// Indexed by alias - 1.
    topics: Vec<Arc<str>>,
    /// The index that is replaced next.
    next: usize,
}

/// How to name a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// In full.
    Full,
    /// In full, and by this number from now on.
    Introduce(u16),
    /// By this number alone.
    Known(u16),
}

impl Aliases {
    /// A new connection, whose broker takes aliases up to `limit`.
    pub(super) fn reset(&mut self, limit: u16) {
        *self = Self { limit: limit.min(MAX_ALIASES), ..Self::default() };
    }

    /// How to name `topic`; with `may_introduce` it can get a number.
    pub(super) fn name(&mut self, topic: &str, may_introduce: bool) -> Name {
        if self.limit == 0 || !(MIN_TOPIC..=MAX_TOPIC).contains(&topic.len()) {
            return Name::Full;
        }
        if let Some(&alias) = self.by_topic.get(topic) {
            return Name::Known(alias);
        }
        if !may_introduce {
            return Name::Full;
        }
        let topic: Arc<str> = topic.into();
        let index = match self.topics.get_mut(self.next) {
            Some(old) => {
                self.by_topic.remove(&std::mem::replace(old, Arc::clone(&topic)));
                self.next
            }
            None => {
                self.topics.push(Arc::clone(&topic));
                self.topics.len() - 1
            }
        };
        self.next = (index + 1) % usize::from(self.limit);
        let Ok(alias) = u16::try_from(index + 1) else { return Name::Full };
        self.by_topic.insert(topic, alias);
        Name::Introduce(alias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_sent_once_and_then_its_number() {
        let mut aliases = Aliases::default();
        aliases.reset(2);
        assert_eq!(aliases.name("site/a", true), Name::Introduce(1));
        assert_eq!(aliases.name("site/a", true), Name::Known(1));
        assert_eq!(aliases.name("site/b", false), Name::Full);
        assert_eq!(aliases.name("site/b", true), Name::Introduce(2));
        // The oldest is given away.
        assert_eq!(aliases.name("site/c", true), Name::Introduce(1));
        assert_eq!(aliases.name("site/b", true), Name::Known(2));
        assert_eq!(aliases.name("site/a", true), Name::Introduce(2));
        assert_eq!(aliases.name("site/b", true), Name::Introduce(1));
        assert_eq!(aliases.name("site/c", true), Name::Introduce(2));
    }

    #[test]
    fn a_new_connection_knows_no_alias() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.name("site/a", true), Name::Full);
        aliases.reset(1);
        assert_eq!(aliases.name("site/a", true), Name::Introduce(1));
        aliases.reset(1);
        assert_eq!(aliases.name("site/a", true), Name::Introduce(1));
        aliases.reset(0);
        assert_eq!(aliases.name("site/a", true), Name::Full);
    }

    #[test]
    fn aliases_take_no_more_memory_than_their_limit() {
        let mut aliases = Aliases::default();
        aliases.reset(u16::MAX);
        for n in 0..5 * usize::from(MAX_ALIASES) {
            assert_ne!(aliases.name(&format!("site/{n}"), true), Name::Full);
            assert!(aliases.topics.len() <= usize::from(MAX_ALIASES));
            assert_eq!(aliases.by_topic.len(), aliases.topics.len());
        }
        assert_eq!(aliases.name(&"x".repeat(MAX_TOPIC + 1), true), Name::Full);
        assert_eq!(aliases.name("abc", true), Name::Full);
    }
}
