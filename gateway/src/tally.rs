//! Counts with a reason and the last example: nothing that goes wrong is silent.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// The longest example that is kept.
const MAX_EXAMPLE: usize = 200;

/// What happened how often, by reason.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, Count>>);

/// How often, and what the last one was.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Count {
    /// Since the start.
    pub(crate) count: u64,
    /// The last one, in words.
    pub(crate) last: String,
}

impl Tally {
    /// Counts one.
    pub(crate) fn count(&self, reason: &'static str, example: impl FnOnce() -> String) {
        self.add(reason, 1, example);
    }

    /// Counts some.
    pub(crate) fn add(&self, reason: &'static str, count: u64, example: impl FnOnce() -> String) {
        let mut last = example();
        if let Some((end, _)) = last.char_indices().nth(MAX_EXAMPLE) {
            last.truncate(end);
            last.push('…');
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = counts.entry(reason).or_default();
        entry.count += count;
        entry.last = last;
    }

    /// All counts.
    pub(crate) fn snapshot(&self) -> BTreeMap<&'static str, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
