//! A commit of which the power cut has left a part: it is there as a whole or not at all, all
//! before it are there, and nothing is taken for damage.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proto::Rng;

use super::super::log::Log as _;
use super::super::repair::set_aside;
use super::*;

/// What a disk writes as a whole.
const SECTOR: usize = 512;
const RANDOM: u32 = 120;
const COMMITS: u64 = 20;

/// The files before the last commit and after it.
struct Torn {
    before: Folder,
    log_before: Vec<u8>,
    log_after: Vec<u8>,
    /// Sectors of the log that the commit has written.
    changed: Vec<usize>,
}

impl Torn {
    /// The last commit has so many records. Where the log was begun anew before it, the commits of
    /// an earlier time lie behind it.
    fn new(records: u64, is_begun_anew: bool) -> Self {
        let folder = Folder::new();
        let (mut log, _) = folder.open();
        for value in 1..COMMITS {
            append(&mut log, [value]);
        }
        if is_begun_anew {
            log.checkpoint();
        }
        let before = folder.copy();
        append(&mut log, COMMITS..COMMITS + records);
        let of = |folder: &Folder| fs::read(folder.path().join(FILES[1])).unwrap();
        let (log_before, log_after) = (of(&before), of(&folder));
        let sector = |bytes: &[u8], index: usize| -> Option<Vec<u8>> {
            let end = bytes.len().min((index + 1) * SECTOR);
            bytes.get(index * SECTOR..end).map(<[u8]>::to_vec)
        };
        let changed = (0..log_after.len().div_ceil(SECTOR))
            .filter(|&index| sector(&log_before, index) != sector(&log_after, index))
            .collect();
        Self { before, log_before, log_after, changed }
    }

    /// Opens what is there when only these sectors were written; whether the commit is there.
    fn is_there_with(&self, sectors: &BTreeSet<usize>) -> bool {
        let folder = self.before.copy();
        let mut log = self.log_before.clone();
        for &index in sectors {
            let end = self.log_after.len().min((index + 1) * SECTOR);
            log.resize(log.len().max(end), 0);
            log[index * SECTOR..end].copy_from_slice(&self.log_after[index * SECTOR..end]);
        }
        fs::write(folder.path().join(FILES[1]), log).unwrap();
        let (mut log, _) = folder.open();
        let values: Vec<u64> = records(&log, 1).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, Vec::from_iter(1..log.next()), "{sectors:?}");
        assert_eq!(set_aside(folder.path()).unwrap().len(), 0, "{sectors:?}: no damage");
        assert!(log.next() >= COMMITS, "{sectors:?}");
        let is_there = log.next() > COMMITS;
        // It goes on over what is left.
        let next = log.next();
        assert_eq!(append(&mut log, [next, next + 1]), next);
        drop(log);
        let (log, _) = folder.open();
        assert_eq!(records(&log, 1).len() as u64, next + 1, "{sectors:?}");
        is_there
    }

    fn check(&self) {
        let all = &self.changed;
        assert!(all.len() >= 8, "{all:?}");
        let prefixes = (0..=all.len()).map(|len| all[..len].iter().copied().collect());
        let mut rng = Rng::new(9);
        let random = (0..RANDOM)
            .map(|_| all.iter().copied().filter(|_| rng.below(2) == 0).collect::<BTreeSet<_>>());
        let without_one = all.iter().map(|one| all.iter().copied().filter(|s| s != one).collect());
        let subsets: Vec<BTreeSet<usize>> =
            prefixes.collect::<Vec<_>>().into_iter().chain(random).chain(without_one).collect();
        let there = subsets.iter().filter(|sectors| self.is_there_with(sectors)).count();
        assert!(there >= 1 && there < subsets.len() / 2, "{there} of {}", subsets.len());
    }
}

#[test]
fn a_torn_commit_is_there_or_not_and_takes_nothing_with_it() {
    Torn::new(1, false).check();
    Torn::new(300, false).check();
}

#[test]
fn so_it_is_where_the_log_was_begun_anew() {
    Torn::new(1, true).check();
    Torn::new(300, true).check();
}

/// Whatever is cut off the log, all commits before the cut are there.
#[test]
fn a_log_cut_short_loses_nothing_but_what_was_cut() {
    let original = filled(COMMITS, false);
    let log = fs::read(original.path().join(FILES[1])).unwrap();
    let mut found = Vec::new();
    for cut in (0..log.len()).step_by(1000).chain([log.len()]) {
        let folder = original.copy();
        fs::write(folder.path().join(FILES[1]), &log[..cut]).unwrap();
        // Without it the numbers would say that records are missing.
        let _ = fs::remove_file(Path::new(folder.path()).join(FILES[2]));
        let (log, _) = folder.open();
        let values: Vec<u64> = records(&log, 1).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, Vec::from_iter(1..=values.len() as u64), "cut at {cut}");
        found.push(values.len());
    }
    assert!(found.is_sorted() && found.last() == Some(&20), "{found:?}");
    assert!(found.contains(&10), "the cuts fell between commits: {found:?}");
}
