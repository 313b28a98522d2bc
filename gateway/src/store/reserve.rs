//! A file that only takes up room, so that there is some when the disk has none left.
//!
//! Deleting and saving cursors write too. On a disk without any room they would fail, and what the
//! brokers acknowledge could never make room again. Then the file is given up.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tracing::warn;

/// Name of the file in the state directory.
const NAME: &str = "reserve";
/// Its size, where a sixteenth of the quota is not less.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Share of the quota.
const SHARE: u64 = 16;
/// The unit of `st_blocks` (POSIX `sys/stat.h`).
const BLOCK: u64 = 512;

/// How many bytes of a quota the file takes.
pub(super) const fn size(quota: u64) -> u64 {
    let share = quota / SHARE;
    if share < MAX_BYTES { share } else { MAX_BYTES }
}

/// The file.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    size: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Held,
    /// There was no room for it yet.
    Missing,
    GivenUp,
}

impl Reserve {
    /// Takes over the file that an earlier run has left in `directory`, if it is whole.
    pub(super) fn open(directory: &Path, size: u64) -> Self {
        let path = directory.join(NAME);
        let is_whole = |found: fs::Metadata| found.len() == size && found.blocks() * BLOCK >= size;
        let state = match fs::metadata(&path).is_ok_and(is_whole) {
            true => State::Held,
            false => State::Missing,
        };
        let mut reserve = Self { path, size, state };
        if state == State::Missing {
            reserve.remove();
        }
        reserve
    }

    /// Its size, also while it is missing.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Whether the file is there.
    pub(super) fn is_held(&self) -> bool {
        self.state == State::Held
    }

    /// Whether its room is being used.
    pub(super) fn is_given_up(&self) -> bool {
        self.state == State::GivenUp
    }

    /// Makes the file, every block of it allocated.
    pub(super) fn make(&mut self) -> io::Result<()> {
        let made = allocate(&self.path, self.size);
        match made {
            Ok(()) => self.state = State::Held,
            // Half of it would take room and be of no use.
            Err(_) => self.remove(),
        }
        made
    }

    /// Deletes the file; `false` where there is none.
    pub(super) fn give_up(&mut self) -> bool {
        let was_held = self.is_held();
        if was_held {
            self.remove();
            self.state = State::GivenUp;
        }
        was_held
    }

    fn remove(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(path = %self.path.display(), %error, "cannot delete the reserve file");
            }
            _ => {}
        }
    }
}

fn allocate(path: &Path, size: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, size) {
        // FAT, NFS and others cannot allocate without writing.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        done => return Ok(done?),
    }
    let zeros = [0; 64 * 1024];
    let mut left = size;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(zeros.get(..count).unwrap_or_default())?;
        left -= count as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;

    fn blocks(directory: &Path) -> u64 {
        fs::metadata(directory.join(NAME)).map_or(0, |found| found.blocks() * BLOCK)
    }

    #[test]
    fn it_takes_up_all_its_room_and_gives_it_back() {
        let folder = Folder::new();
        let mut reserve = Reserve::open(&folder.0, 100_000);
        assert!(!reserve.is_held() && !reserve.give_up() && !reserve.is_given_up());
        reserve.make().unwrap();
        assert!(blocks(&folder.0) >= 100_000);
        assert!(reserve.give_up() && reserve.is_given_up());
        assert_eq!(blocks(&folder.0), 0);
        assert!(!reserve.give_up(), "there is nothing more to give");
    }

    #[test]
    fn a_whole_file_is_taken_over_and_any_other_is_replaced() {
        let folder = Folder::new();
        Reserve::open(&folder.0, 100_000).make().unwrap();
        assert!(Reserve::open(&folder.0, 100_000).is_held());
        // The quota was changed.
        assert!(!Reserve::open(&folder.0, 50_000).is_held());
        // A hole takes up no room.
        File::create(folder.0.join(NAME)).unwrap().set_len(100_000).unwrap();
        assert!(!Reserve::open(&folder.0, 100_000).is_held());
        assert!(!folder.0.join(NAME).exists());
    }

    #[test]
    fn the_size_is_a_share_of_a_small_quota() {
        assert_eq!(size(1024 * 1024), 64 * 1024);
        assert_eq!(size(1 << 40), MAX_BYTES);
    }
}
