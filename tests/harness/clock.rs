//! Time: the one file of the tests that reads the clock.

#![expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]

use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Longer than anything takes on a busy machine; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// A point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    pub(crate) fn has_passed(&self) -> bool {
        Instant::now() >= self.0
    }

    /// What is left, at least a millisecond, as sockets want it.
    pub(crate) fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// For what is itself measured in time: a load that goes on for so long.
    pub(crate) fn wait(&self) {
        thread::sleep(self.0.saturating_duration_since(Instant::now()));
    }
}

/// The pause that a device makes between two messages, so that it does not take the machine.
pub(crate) fn pace() {
    thread::sleep(PAUSE);
}

/// Looks until `poll` gives something; fails with `what` was waited for.
pub(crate) fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(PATIENCE);
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(!deadline.has_passed(), "waited {PATIENCE:?} for {what}");
        thread::sleep(PAUSE);
    }
}

/// Looks until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// The civil time.
pub(crate) fn civil() -> SystemTime {
    SystemTime::now()
}
