//! Room on the file system: whether the store may take more of it.
//!
//! The store grows only while `min_free` bytes stay free, and while the [reserve](super::reserve) has
//! not been given up: what giving it up has freed is for deletes and cursors, not for readings.

use std::path::Path;

use rustix::fs::statvfs;
use serde::Serialize;
use tracing::{info, warn};

use super::reserve::Reserve;

/// Commits between two looks at the file system.
const LOOK_COMMITS: u32 = 64;
/// Bytes of records between two looks; as much may be written beyond `min_free`.
const LOOK_BYTES: u64 = 1024 * 1024;
/// A reserve that was given up is made again only when there is room for it this many times, so
/// that it is not given up again at once.
const REMAKE: u64 = 2;

/// How many bytes are free; `None` where the file system does not tell.
type Probe = Box<dyn Fn() -> Option<u64> + Send>;

/// What is known of the file system.
pub(super) struct Space {
    probe: Probe,
    min_free: u64,
    free: Option<u64>,
    reserve: Reserve,
    commits: u32,
    bytes: u64,
}

/// Room on the file system, as `gateway status` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Room {
    /// Bytes that are free on the file system, where it tells.
    pub(crate) free_bytes: Option<u64>,
    /// Whether the store may take more of them.
    pub(crate) may_grow: bool,
    /// Whether the reserve file is there.
    pub(crate) reserve: bool,
}

impl Space {
    /// Looks at the file system of `directory`, and makes the reserve.
    pub(super) fn open(directory: &Path, min_free: u64, reserve_bytes: u64) -> Self {
        let path = directory.to_owned();
        let probe = move || {
            let found = statvfs(&path).ok()?;
            Some(found.f_bavail.saturating_mul(found.f_frsize))
        };
        Self::new(Box::new(probe), min_free, Reserve::open(directory, reserve_bytes))
    }

    fn new(probe: Probe, min_free: u64, reserve: Reserve) -> Self {
        let mut space = Self { probe, min_free, free: None, reserve, commits: 0, bytes: 0 };
        space.look();
        if !space.reserve.is_held() {
            let (free, bytes) = (space.free, space.reserve.size());
            warn!(free, min_free, bytes, "no room for the reserve file of the store");
        }
        space
    }

    /// Notes a commit of so many bytes; looks again when it is time.
    pub(super) fn handle_commit(&mut self, bytes: u64) {
        self.commits += 1;
        self.bytes += bytes;
        if self.commits >= LOOK_COMMITS || self.bytes >= LOOK_BYTES {
            self.look();
        }
    }

    /// Looks at the file system now; makes the reserve if it is missing and there is room for it.
    pub(super) fn look(&mut self) {
        (self.commits, self.bytes) = (0, 0);
        let could_grow = self.may_grow();
        self.free = (self.probe)();
        if !self.reserve.is_held() && self.has_room_for_reserve() {
            match self.reserve.make() {
                Ok(()) => info!(bytes = self.reserve.size(), "made the reserve file of the store"),
                Err(error) => warn!(%error, "cannot make the reserve file of the store"),
            }
            self.free = (self.probe)();
        }
        match (could_grow, self.may_grow()) {
            (true, false) => warn!(
                free = self.free,
                min_free = self.min_free,
                "the disk is getting full: the store takes no more of it"
            ),
            (false, true) => info!(free = self.free, "the disk has room again"),
            (true, true) | (false, false) => {}
        }
    }

    /// Whether the store may take more of the file system.
    pub(super) fn may_grow(&self) -> bool {
        let is_short = self.free.is_some_and(|free| free < self.min_free);
        !is_short && !self.reserve.is_given_up()
    }

    /// Whether it is the file system that stands in the way of growing, rather than the quota.
    pub(super) fn is_short(&self) -> bool {
        !self.may_grow() || self.free.is_some_and(|free| free < LOOK_BYTES)
    }

    /// Frees the room of the reserve, if that has not happened yet; `false` where there is none.
    pub(super) fn use_reserve(&mut self) -> bool {
        if self.reserve.give_up() {
            warn!(
                bytes = self.reserve.size(),
                "the disk is full: gave up the reserve file of the store"
            );
            self.free = (self.probe)();
        }
        self.reserve.is_given_up()
    }

    /// For people.
    pub(super) fn room(&self) -> Room {
        Room { free_bytes: self.free, may_grow: self.may_grow(), reserve: self.reserve.is_held() }
    }

    fn has_room_for_reserve(&self) -> bool {
        let times = if self.reserve.is_given_up() { REMAKE } else { 1 };
        let needed = self.min_free.saturating_add(self.reserve.size() * times);
        self.free.is_none_or(|free| free >= needed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::tests::Folder;
    use super::*;

    const MIN_FREE: u64 = 1_000_000;
    const RESERVE: u64 = 100_000;

    /// A disk with so many free bytes, which the test changes.
    fn space(folder: &Folder, free: u64) -> (Space, Arc<AtomicU64>) {
        let disk = Arc::new(AtomicU64::new(free));
        let probe = Arc::clone(&disk);
        let probe = Box::new(move || Some(probe.load(Ordering::Relaxed)));
        (Space::new(probe, MIN_FREE, Reserve::open(&folder.0, RESERVE)), disk)
    }

    #[test]
    fn the_store_grows_while_enough_stays_free() {
        let folder = Folder::new();
        let (mut space, disk) = space(&folder, 2 * MIN_FREE);
        assert!(space.may_grow());
        disk.store(MIN_FREE - 1, Ordering::Relaxed);
        space.look();
        assert!(!space.may_grow() && space.room().reserve, "the reserve stays");
        disk.store(MIN_FREE, Ordering::Relaxed);
        space.look();
        assert!(space.may_grow());
    }

    #[test]
    fn the_file_system_is_looked_at_now_and_then() {
        let folder = Folder::new();
        let (mut space, disk) = space(&folder, 2 * MIN_FREE);
        disk.store(0, Ordering::Relaxed);
        for _ in 1..LOOK_COMMITS {
            space.handle_commit(1);
        }
        assert!(space.may_grow(), "not at each commit");
        space.handle_commit(1);
        assert!(!space.may_grow());
        disk.store(2 * MIN_FREE, Ordering::Relaxed);
        space.handle_commit(LOOK_BYTES);
        assert!(space.may_grow());
    }

    #[test]
    fn a_reserve_that_would_break_min_free_is_not_made_until_there_is_room() {
        let folder = Folder::new();
        let (mut space, disk) = space(&folder, MIN_FREE + RESERVE - 1);
        assert!(space.may_grow() && !space.room().reserve);
        disk.store(MIN_FREE + RESERVE, Ordering::Relaxed);
        space.look();
        assert!(space.room().reserve);
    }

    #[test]
    fn what_the_reserve_has_freed_is_not_for_growing() {
        let folder = Folder::new();
        let (mut space, disk) = space(&folder, 2 * MIN_FREE);
        assert!(space.use_reserve());
        assert!(!space.may_grow() && !space.room().reserve && space.use_reserve());
        disk.store(MIN_FREE + REMAKE * RESERVE - 1, Ordering::Relaxed);
        space.look();
        assert!(!space.may_grow() && !space.room().reserve);
        disk.store(MIN_FREE + REMAKE * RESERVE, Ordering::Relaxed);
        space.look();
        assert!(space.may_grow() && space.room().reserve);
    }
}
