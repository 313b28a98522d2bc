//! Chunks that cannot be read: each is counted once, and its bytes are kept for whoever looks.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Chunk;

/// The folder in the state directory.
const FOLDER: &str = "damaged";
/// Most bytes of all copies; after that none is made.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Most stretches that are remembered as looked at. Readers go upwards from where they are, so
/// there are about as many as readers; where there are more, the lowest is forgotten, and damage in
/// it counts again.
const MAX_LOOKED_AT: usize = 64;

/// What is known of damaged chunks.
#[derive(Debug)]
pub(super) struct Quarantine {
    folder: PathBuf,
    /// Ascending, none touching the next.
    looked_at: Vec<Range<u64>>,
}

/// Where the bytes of a damaged chunk are.
#[derive(Debug)]
pub(super) enum Copy {
    Made(PathBuf),
    /// An earlier run has made it.
    There(PathBuf),
    /// The copies have reached [`MAX_BYTES`].
    NoRoom,
}

impl Quarantine {
    pub(super) fn new(directory: &Path) -> Self {
        Self { folder: directory.join(FOLDER), looked_at: Vec::new() }
    }

    /// The damaged chunks of a read that no read has given before, apart from what lies below
    /// `released`, which may have been deleted.
    pub(super) fn news<'a>(&mut self, chunks: &'a [Chunk], released: u64) -> Vec<&'a Chunk> {
        let news = chunks
            .iter()
            .filter(|chunk| chunk.damage.is_some() && chunk.end > released)
            .filter(|chunk| !self.looked_at.iter().any(|range| range.contains(&(chunk.end - 1))))
            .collect();
        if let (Some(first), Some(last)) = (chunks.first(), chunks.last()) {
            self.look_at(first.base..last.end);
        }
        news
    }

    fn look_at(&mut self, new: Range<u64>) {
        let touches = |range: &Range<u64>| range.start <= new.end && new.start <= range.end;
        let mut whole = new.clone();
        for range in self.looked_at.extract_if(.., |range| touches(range)) {
            whole = whole.start.min(range.start)..whole.end.max(range.end);
        }
        let at = self.looked_at.partition_point(|range| range.end < whole.start);
        self.looked_at.insert(at, whole);
        if self.looked_at.len() > MAX_LOOKED_AT {
            self.looked_at.remove(0);
        }
    }

    /// Keeps the bytes of the chunk `base`.
    pub(super) fn keep(&self, base: u64, data: &[u8]) -> io::Result<Copy> {
        let path = self.folder.join(format!("chunk-{base}.bin"));
        if path.exists() {
            return Ok(Copy::There(path));
        }
        fs::create_dir_all(&self.folder)?;
        if bytes(&self.folder)? + data.len() as u64 > MAX_BYTES {
            return Ok(Copy::NoRoom);
        }
        // Whole under its name, or not there.
        let partial = path.with_extension("partial");
        let mut file = File::create(&partial)?;
        file.write_all(data)?;
        file.sync_all()?;
        fs::rename(partial, &path)?;
        Ok(Copy::Made(path))
    }
}

/// How many damaged chunks have a copy in a state directory, and where.
pub(crate) fn copies(directory: &Path) -> (usize, PathBuf) {
    let folder = directory.join(FOLDER);
    (fs::read_dir(&folder).map_or(0, Iterator::count), folder)
}

/// Bytes of all files in the folder.
fn bytes(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Damage;
    use crate::store::tests::Folder;

    fn chunks(ends: &[(u64, bool)]) -> Vec<Chunk> {
        let mut base = 1;
        let chunk = |&(end, is_damaged): &(u64, bool)| {
            let damage = is_damaged.then_some(Damage::Checksum);
            let chunk = Chunk::without_records(base, end, damage);
            base = end;
            chunk
        };
        ends.iter().map(chunk).collect()
    }

    #[test]
    fn damage_counts_once_whoever_reads_it_and_from_wherever() {
        let folder = Folder::new();
        let mut quarantine = Quarantine::new(folder.path());
        let all = chunks(&[(3, false), (5, true), (7, false), (9, true), (12, false)]);
        let mut news = |from: usize, to: usize| -> Vec<u64> {
            quarantine.news(&all[from..to], 1).iter().map(|chunk| chunk.base).collect()
        };
        assert_eq!(news(3, 5), [7], "a broker that is far");
        assert_eq!(news(0, 2), [3], "one that is behind");
        assert_eq!(news(0, 5), [0; 0], "a third one");
        assert_eq!((quarantine.looked_at.len(), &quarantine.looked_at[0]), (1, &(1..12)));
    }

    #[test]
    fn what_is_released_may_be_missing() {
        let mut quarantine = Quarantine::new(Folder::new().path());
        let all = chunks(&[(5, true), (9, true)]);
        assert_eq!(quarantine.news(&all, 5).len(), 1);
    }

    #[test]
    fn what_was_looked_at_is_remembered_in_few_stretches() {
        let mut quarantine = Quarantine::new(Folder::new().path());
        for start in 0..2 * MAX_LOOKED_AT as u64 {
            quarantine.look_at(start * 10..start * 10 + 1);
        }
        assert_eq!(quarantine.looked_at.len(), MAX_LOOKED_AT);
        quarantine.look_at(0..u64::MAX);
        assert_eq!((quarantine.looked_at.len(), &quarantine.looked_at[0]), (1, &(0..u64::MAX)));
    }

    #[test]
    fn copies_are_made_once_and_have_a_limit() {
        let folder = Folder::new();
        let quarantine = Quarantine::new(folder.path());
        let Copy::Made(path) = quarantine.keep(7, b"first").unwrap() else { panic!("no copy") };
        assert!(matches!(quarantine.keep(7, b"second").unwrap(), Copy::There(_)));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let large = vec![0; usize::try_from(MAX_BYTES).unwrap() - 4];
        assert!(matches!(quarantine.keep(8, &large).unwrap(), Copy::NoRoom));
        assert!(matches!(quarantine.keep(8, &large[1..]).unwrap(), Copy::Made(_)));
    }
}
