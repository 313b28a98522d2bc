//! What is known of devices by name, as long as they are heard of.
//!
//! They are in two generations: who is heard moves into the younger one, and when that is full, it
//! becomes the older one, whose devices are forgotten. So it costs the same however many there are.

use std::collections::HashMap;

/// Devices of a generation: at least as many are known, at most twice as many.
pub(super) const GENERATION: usize = 2048;

/// The devices.
#[derive(Debug)]
pub(super) struct Generations<T> {
    younger: HashMap<String, T>,
    older: HashMap<String, T>,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { younger: HashMap::new(), older: HashMap::new() }
    }
}

impl<T> Generations<T> {
    /// A device that is heard of now; what was known of it, or `new`.
    pub(super) fn hear(&mut self, name: &str, new: impl FnOnce() -> T) -> Option<&mut T> {
        if !self.younger.contains_key(name) {
            if self.younger.len() >= GENERATION {
                self.older = std::mem::take(&mut self.younger);
            }
            let known = self.older.remove(name).unwrap_or_else(new);
            self.younger.insert(name.to_owned(), known);
        }
        self.younger.get_mut(name)
    }

    /// What is known of a device.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.younger.get(name).or_else(|| self.older.get(name))
    }

    /// All that are known.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.younger.iter().chain(&self.older)
    }

    #[cfg(test)]
    pub(super) fn younger(&self) -> usize {
        self.younger.len()
    }
}
