//! Memory for bodies that several nodes share, such as those of a server's connections.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of bodies of requests, and as many of responses. Where it is used up a body is refused with
/// 5.03, and a response is not kept: the rest of it is asked for anew.
#[derive(Clone, Debug)]
pub struct Budget {
    received: Pot,
    kept: Pot,
}

/// How much is left.
type Pot = Arc<AtomicUsize>;

impl Budget {
    /// So many bytes for each.
    pub fn new(bytes: usize) -> Self {
        let pot = || Arc::new(AtomicUsize::new(bytes));
        Self { received: pot(), kept: pot() }
    }

    /// What a node takes for bodies that it receives.
    pub(crate) fn received(&self) -> Share {
        Share { pot: Some(Arc::clone(&self.received)), bytes: 0 }
    }

    /// What it takes for responses that it keeps.
    pub(crate) fn kept(&self) -> Share {
        Share { pot: Some(Arc::clone(&self.kept)), bytes: 0 }
    }
}

/// What one node has of a budget, given back with it; without one it has a limit of its own only.
#[derive(Default, Debug)]
pub(crate) struct Share {
    pot: Option<Pot>,
    bytes: usize,
}

impl Share {
    /// How much it is.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more, up to `limit` in all; whether there was so much.
    pub(crate) fn take(&mut self, bytes: usize, limit: usize) -> bool {
        let has_room = self.bytes.checked_add(bytes).is_some_and(|all| all <= limit);
        let is_left = || match &self.pot {
            Some(pot) => {
                let take = |left: usize| left.checked_sub(bytes);
                pot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
            }
            None => true,
        };
        let taken = has_room && is_left();
        self.bytes += if taken { bytes } else { 0 };
        taken
    }

    /// Gives some of it back.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        if let Some(pot) = &self.pot {
            pot.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_takes_the_others_do_not_have_until_it_is_gone() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (budget.received(), budget.received());
        assert!(one.take(60, 80) && !one.take(30, 80), "its own limit");
        assert!(!other.take(41, 80) && other.take(40, 80));
        assert!(budget.kept().take(100, 100), "responses have as much");
        other.give_back(15);
        assert!(one.take(15, 80));
        drop(one);
        assert!(other.take(75, 100) && other.bytes() == 100);
        assert!(Share::default().take(1000, 1000));
    }
}
