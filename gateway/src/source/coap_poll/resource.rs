//! One resource of a node: when it is due, whether it is observed, what it was last.

use std::sync::Arc;
use std::time::Duration;

use proto::coap::{CallId, Code, ETag, OptionNumber, Request, Response};
use proto::{Instant, Rng};

use super::wanted::{Wanted, What};
use crate::config::ResourcePath;

/// How long a resource that could not be observed is only read, before Observe is tried again.
const OBSERVE_AGAIN: Duration = Duration::from_secs(3600);
/// The largest representation that is kept, so that 2.03 can stand for it (RFC 7252 §5.9.1.3); for a
/// larger one no ETag is sent.
const MAX_KEPT: usize = 1024;

/// A resource of a node.
#[derive(Debug)]
pub(super) struct Resource {
    /// What it is called among those of its node.
    pub(super) key: u32,
    pub(super) wanted: Arc<Wanted>,
    /// Where it was found, if it was.
    found: Option<Box<ResourcePath>>,
    /// When it is to be asked for; never while it is observed.
    pub(super) due: Instant,
    grid: Grid,
    /// The observation, once it is established.
    pub(super) watch: Option<CallId>,
    /// Until then it is read without Observe.
    observe_at: Instant,
    /// Whether the last request asked for an observation.
    asks_to_observe: bool,
    kept: Option<Box<Kept>>,
    /// Whether it is there because of an order, not of the configuration.
    pub(super) is_ordered: bool,
    /// The order that waits until it is observed.
    pub(super) order: Option<u64>,
}

/// The points in time at which something is due that is repeated: its own ones for each resource,
/// so that those of many nodes do not come together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    phase: Instant,
    interval: Duration,
}

/// A representation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Representation {
    pub(super) format: Option<u16>,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug)]
struct Kept {
    etag: ETag,
    representation: Representation,
}

impl Resource {
    /// A resource that is due within `spread`.
    pub(super) fn new(
        key: u32,
        wanted: Arc<Wanted>,
        found: Option<ResourcePath>,
        now: Instant,
        spread: Duration,
        rng: &mut Rng,
    ) -> Self {
        let interval = wanted.interval;
        let observe_at = if wanted.observe { Instant::ZERO } else { Instant::FAR_FUTURE };
        Self {
            key,
            found: found.map(Box::new),
            due: now + rng.duration(Duration::ZERO, spread.min(interval)),
            grid: Grid::new(now, interval, rng),
            watch: None,
            observe_at,
            asks_to_observe: false,
            kept: None,
            is_ordered: false,
            order: None,
            wanted,
        }
    }

    /// Asks for an observation now, for an order.
    pub(super) fn observe_now(&mut self, now: Instant, order: u64) {
        (self.due, self.observe_at) = (now, now);
        self.order = Some(order);
    }

    /// Where it is.
    pub(super) fn path(&self) -> Option<&ResourcePath> {
        match (&self.found, &self.wanted.what) {
            (Some(found), _) => Some(found),
            (None, What::Path(path)) => Some(path),
            (None, What::Links(_)) => None,
        }
    }

    /// Where it was found, if it was.
    pub(super) fn found(&self) -> Option<&ResourcePath> {
        self.found.as_deref()
    }

    /// What a reading of it is called where the payload does not name it.
    pub(super) fn name(&self) -> String {
        let path = || self.path().map(ResourcePath::name).unwrap_or_default();
        self.wanted.name.clone().unwrap_or_else(path)
    }

    /// The next request for it. One with Observe has no ETag: it would be repeated when the
    /// observation is registered anew, for a representation that is not the last one any more.
    pub(super) fn request(&mut self, now: Instant) -> Option<Request> {
        let mut request = self.wanted.request(self.path()?);
        self.asks_to_observe = self.observe_at <= now;
        if self.asks_to_observe {
            request.options.push_uint(OptionNumber::OBSERVE, 0);
        } else if let Some(kept) = &self.kept {
            request = request.option(OptionNumber::ETAG, &kept.etag);
        }
        Some(request)
    }

    /// Takes a success: the representation, unless the response is not one.
    pub(super) fn handle_success(&mut self, response: Response) -> Option<Representation> {
        let etag = response.options.etag();
        if response.code == Code::VALID {
            let kept = self.kept.as_ref().filter(|kept| etag.is_none_or(|etag| etag == kept.etag));
            return kept.map(|kept| kept.representation.clone());
        }
        if response.code != Code::CONTENT {
            return None;
        }
        let format = response.options.content_format();
        let representation = Representation { format, payload: response.payload };
        let has_room = representation.payload.len() <= MAX_KEPT;
        self.kept = etag
            .filter(|_| has_room && !self.is_observed())
            .map(|etag| Box::new(Kept { etag, representation: representation.clone() }));
        Some(representation)
    }

    /// Notes that the node answered without an observation.
    pub(super) fn handle_not_observed(&mut self, now: Instant) {
        if self.asks_to_observe {
            self.observe_at = now + OBSERVE_AGAIN;
        }
    }

    /// Forgets what was settled with a node that may be another one now.
    pub(super) fn start_over(&mut self, now: Instant) {
        self.kept = None;
        if self.wanted.observe {
            self.observe_at = now;
        }
    }

    /// Forgets the representation.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Asks again at the next of its points in time.
    pub(super) fn set_next(&mut self, now: Instant) {
        self.due = self.grid.next(now);
    }

    /// Whether it is observed.
    pub(super) const fn is_observed(&self) -> bool {
        self.watch.is_some()
    }
}

impl Grid {
    pub(super) fn new(now: Instant, interval: Duration, rng: &mut Rng) -> Self {
        Self { phase: now + rng.duration(Duration::ZERO, interval), interval }
    }

    /// The first point after `now`.
    pub(super) fn next(self, now: Instant) -> Instant {
        if now < self.phase {
            return self.phase;
        }
        let since = (now - self.phase).as_micros();
        let passed = since.checked_div(self.interval.as_micros()).unwrap_or(0);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.phase + self.interval.saturating_mul(passed.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_its_own_points_an_interval_apart() {
        let second = Duration::from_secs(1);
        let mut rng = Rng::new(1);
        let mut phases = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let start = Instant::ZERO + 5 * second;
            let grid = Grid::new(start, 10 * second, &mut rng);
            let first = grid.next(start);
            assert!(first > start && first <= start + 10 * second);
            assert_eq!(grid.next(first), first + 10 * second);
            let later = Instant::from_micros(first.as_micros() + 25_000_001);
            assert_eq!(grid.next(later), first + 30 * second, "what was missed is left out");
            phases.insert(first);
        }
        assert_eq!(phases.len(), 100);
    }
}
