//! Which numbers may have been used, kept beside the store so that none is used twice even when the
//! store is destroyed.
//!
//! Numbers are reserved in blocks of [`BLOCK`]; the file is written, and synced, only when one is
//! used up. It has two places of [`SLOT`] bytes, written in turn, so that a torn write leaves the
//! other one:
//!
//! ```text
//! floor end crc        floor: no store whose newest record is older has everything
//!                      end: no number from here on was ever used
//! ```
//!
//! - A store that ends at or above `floor` is believed.
//! - One that ends below has lost records, or was made anew: it goes on at `end`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Numbers that are reserved at a time.
pub(super) const BLOCK: u64 = 65_536;
/// Bytes of one place: what a disk writes at once.
const SLOT: usize = 4096;
/// Its name in the state directory.
const FILE: &str = "numbers";

/// The reserved numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    file: File,
    reserved: Reserved,
    /// Whether the file said so.
    is_known: bool,
    /// Which place is written next.
    second: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reserved {
    floor: u64,
    end: u64,
}

impl Numbers {
    /// Opens or creates the file in `directory`.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE);
        let is_new = !path.exists();
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        if is_new {
            // With all of its blocks, so that a later write needs no room. Without any now, it is
            // made when a number is reserved.
            match file.write_all_at(&[0; 2 * SLOT], 0) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                made => made?,
            }
            file.sync_all()?;
            File::open(directory)?.sync_all()?;
        }
        let slots = [false, true].map(|second| read(&file, second));
        // Both grow, and giving numbers up moves the floor alone.
        let best =
            slots.into_iter().flatten().max_by_key(|reserved| (reserved.end, reserved.floor));
        // The place that is not the best one goes first.
        let second = best.is_some() && best == slots.into_iter().next().flatten();
        let reserved = best.unwrap_or(Reserved { floor: 1, end: 1 });
        Ok(Self { file, reserved, is_known: best.is_some(), second })
    }

    /// The number with which a store goes on whose newest record is followed by `end`.
    pub(super) fn next(&self, end: Option<u64>) -> u64 {
        match end {
            Some(end) if end >= self.reserved.floor => end,
            _ => self.reserved.end,
        }
    }

    /// Whether numbers were used before, as far as the file knows.
    pub(super) const fn is_used(&self) -> bool {
        self.reserved.end > 1
    }

    /// No number from here on was ever used, as far as the file knows.
    pub(super) fn limit(&self) -> Option<u64> {
        self.is_known.then_some(self.reserved.end)
    }

    /// Makes sure that the numbers from `next` up to `end` are reserved.
    pub(super) fn reserve(&mut self, next: u64, end: u64) -> io::Result<()> {
        if end <= self.reserved.end {
            return Ok(());
        }
        self.write(Reserved { floor: next, end: end.saturating_add(BLOCK) })
    }

    /// Gives up every number that may have been used; `end` follows the highest that was found.
    /// Returns the number with which to go on.
    pub(super) fn give_up(&mut self, end: u64) -> io::Result<u64> {
        let end = match self.is_known {
            true => end.max(self.reserved.end),
            // Nobody knows how far it went: less than a block, if it is only the file that is new.
            false => end.saturating_add(BLOCK),
        };
        self.write(Reserved { floor: end, end })?;
        Ok(end)
    }

    fn write(&mut self, reserved: Reserved) -> io::Result<()> {
        let text = format!("{} {}", reserved.floor, reserved.end);
        let mut slot = format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes())).into_bytes();
        slot.resize(SLOT, 0);
        self.file.write_all_at(&slot, at(self.second))?;
        self.file.sync_data()?;
        self.second = !self.second;
        self.reserved = reserved;
        self.is_known = true;
        Ok(())
    }
}

const fn at(second: bool) -> u64 {
    if second { SLOT as u64 } else { 0 }
}

fn read(file: &File, second: bool) -> Option<Reserved> {
    let mut slot = [0; SLOT];
    file.read_exact_at(&mut slot, at(second)).ok()?;
    let line = slot.split(|&byte| byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (text, crc) = line.rsplit_once(' ')?;
    if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(text.as_bytes())) {
        return None;
    }
    let (floor, end) = text.split_once(' ')?;
    Some(Reserved { floor: floor.parse().ok()?, end: end.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Folder;

    fn open(folder: &Folder) -> Numbers {
        Numbers::open(folder.path()).unwrap()
    }

    #[test]
    fn a_block_is_reserved_once() {
        let folder = Folder::new();
        let mut numbers = open(&folder);
        assert_eq!((numbers.next(None), numbers.is_used()), (1, false));
        numbers.reserve(1, 2).unwrap();
        let before = numbers.reserved;
        for end in [3, 100, BLOCK] {
            numbers.reserve(2, end).unwrap();
            assert_eq!(numbers.reserved, before);
        }
        numbers.reserve(before.end, before.end + 1).unwrap();
        assert_eq!(numbers.reserved.floor, before.end);
        assert_eq!(open(&folder).reserved, numbers.reserved);
    }

    #[test]
    fn a_store_that_went_back_goes_on_where_no_number_was_used() {
        let folder = Folder::new();
        open(&folder).reserve(1, 2).unwrap();
        let mut numbers = open(&folder);
        let end = numbers.next(None);
        assert_eq!(end, 2 + BLOCK, "an empty store");
        assert_eq!(numbers.next(Some(17)), 17, "one that has what it should");
        numbers.reserve(end, end + 1).unwrap();
        assert_eq!(numbers.next(Some(17)), end + 1 + BLOCK, "one from before the block");
    }

    #[test]
    fn numbers_given_up_are_not_used_again() {
        let folder = Folder::new();
        let mut numbers = open(&folder);
        assert_eq!(numbers.give_up(100).unwrap(), 100 + BLOCK, "how far it went is not known");
        numbers.reserve(100 + BLOCK, 101 + BLOCK).unwrap();
        let end = numbers.give_up(200).unwrap();
        assert_eq!(end, 101 + 2 * BLOCK);
        let numbers = open(&folder);
        assert_eq!((numbers.next(Some(200)), numbers.next(None)), (end, end));
        assert_eq!(numbers.next(Some(end)), end);
    }

    #[test]
    fn what_was_written_last_is_read() {
        let folder = Folder::new();
        let mut numbers = open(&folder);
        for _ in 0..3 {
            let next = numbers.next(None);
            numbers.reserve(next, next + 1).unwrap();
            assert_eq!(open(&folder).reserved, numbers.reserved);
            numbers.give_up(next).unwrap();
            assert_eq!(open(&folder).reserved, numbers.reserved);
        }
    }

    #[test]
    fn a_torn_write_leaves_what_was_reserved_before() {
        let folder = Folder::new();
        let mut numbers = open(&folder);
        numbers.reserve(1, 2).unwrap();
        let first = numbers.reserved;
        numbers.reserve(first.end, first.end + 1).unwrap();
        let second = numbers.reserved;
        for (slot, left) in [(SLOT, first), (0, second)] {
            let copy = Folder::new();
            std::fs::create_dir_all(copy.path()).unwrap();
            let mut bytes = std::fs::read(folder.path().join(FILE)).unwrap();
            bytes[slot..slot + SLOT].fill(0xa5);
            std::fs::write(copy.path().join(FILE), bytes).unwrap();
            let mut torn = open(&copy);
            assert_eq!(torn.reserved, left);
            // What is written next does not take the place of the one that is left.
            torn.write(Reserved { floor: 9, end: 9_000_000 }).unwrap();
            assert_eq!(read(&torn.file, slot == 0), Some(left));
        }
    }
}
