//! What is known of the devices that were heard of last.
//!
//! They are in two generations: who is heard moves into the younger one, and when that is full, it
//! becomes the older one, whose devices are forgotten. So it costs the same however many there are.

use std::collections::HashMap;

/// Devices of a generation: at least as many are known, at most twice as many.
pub(super) const GENERATION: usize = 2048;

/// Devices, by name.
#[derive(Debug)]
pub(super) struct Recent<V> {
    younger: HashMap<String, V>,
    older: HashMap<String, V>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { younger: HashMap::new(), older: HashMap::new() }
    }
}

impl<V> Recent<V> {
    /// What is known of a device, if it was heard of lately.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.younger.get(name).or_else(|| self.older.get(name))
    }

    /// A device is heard of: what is known of it, which is `new` where that is nothing.
    pub(super) fn hear(&mut self, name: &str, new: impl FnOnce() -> V) -> Option<&mut V> {
        if !self.younger.contains_key(name) {
            if self.younger.len() >= GENERATION {
                self.older = std::mem::take(&mut self.younger);
            }
            let known = self.older.remove(name).unwrap_or_else(new);
            self.younger.insert(name.to_owned(), known);
        }
        self.younger.get_mut(name)
    }

    /// All that are known, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &V)> {
        self.younger.iter().chain(&self.older)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_not_heard_for_longest_are_forgotten() {
        let mut recent = Recent::default();
        let mut hear = |name: &str| {
            *recent.hear(name, || 0_usize).unwrap() += 1;
            assert!(recent.younger.len() <= GENERATION);
        };
        hear("first");
        for i in 0..10 * GENERATION {
            hear(&i.to_string());
            hear("always");
        }
        assert_eq!(recent.get("first"), None);
        assert_eq!(recent.get("always"), Some(&(10 * GENERATION)));
        assert!((GENERATION..=2 * GENERATION).contains(&recent.all().count()));
    }
}
