//! Whether a store is sound: chunks are handed in as they are read, a verdict comes out.

use serde::{Deserialize, Serialize};

use super::cursor::{Cursors, released};
use super::{Chunk, DeadPage};

/// Most damaged stretches that are listed; all are counted.
const MAX_LISTED: usize = 100;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Whether nothing is wrong.
    pub(crate) sound: bool,
    /// Chunks that are intact, and their records.
    pub(crate) chunks: u64,
    pub(crate) records: u64,
    /// Number of the oldest record that can be read.
    pub(crate) first: Option<u64>,
    /// The number that comes next.
    pub(crate) next: u64,
    /// Chunks that are damaged or missing although a broker waits for them, and their numbers.
    pub(crate) damaged: u64,
    pub(crate) damaged_numbers: u64,
    /// The first of them.
    pub(crate) damage: Vec<Stretch>,
    /// Dead letters that are intact, and those that are not.
    pub(crate) letters: u64,
    pub(crate) damaged_letters: u64,
    /// What else is wrong, in words.
    pub(crate) problems: Vec<String>,
}

/// Numbers that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Stretch {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) why: String,
}

/// Looks at the chunks of a store, in order.
#[derive(Debug)]
pub(crate) struct Examiner {
    verdict: Verdict,
    released: u64,
}

impl Examiner {
    /// For a store that goes on at `next` and whose brokers are there.
    pub(crate) fn new(next: u64, cursors: &Cursors) -> Self {
        let mut verdict = Verdict { next, ..Verdict::default() };
        for (key, cursor) in cursors {
            let (lowest, open) = (cursor.progress.lowest(), cursor.progress.next());
            if lowest < 1 || open > next {
                let problem = format!(
                    "the cursor `{key}` goes from {lowest} to {open}, expected 1 to {next}"
                );
                verdict.problems.push(problem);
            }
        }
        // What lies below was or will be deleted.
        let released = released(cursors, next).unwrap_or(1);
        Self { verdict, released }
    }

    /// Takes the next chunk.
    pub(crate) fn handle_chunk(&mut self, chunk: &Chunk) {
        let verdict = &mut self.verdict;
        if let Some(first) = chunk.records.first() {
            verdict.first = verdict.first.or(Some(first.n));
            verdict.chunks += 1;
            verdict.records += chunk.records.len() as u64;
        }
        let first = chunk.base.max(self.released);
        if let Some(damage) = chunk.damage
            && first < chunk.end
        {
            verdict.damaged += 1;
            verdict.damaged_numbers += chunk.end - first;
            if verdict.damage.len() < MAX_LISTED {
                let (last, why) = (chunk.end - 1, damage.to_string());
                verdict.damage.push(Stretch { first, last, why });
            }
        }
    }

    /// Takes some dead letters.
    pub(crate) fn handle_letters(&mut self, page: &DeadPage) {
        self.verdict.letters += page.letters.len() as u64;
        self.verdict.damaged_letters += page.damaged;
    }

    /// Notes something else that is wrong.
    pub(crate) fn handle_problem(&mut self, problem: String) {
        self.verdict.problems.push(problem);
    }

    pub(crate) fn finish(mut self) -> Verdict {
        let Verdict { damaged, damaged_letters, problems, .. } = &self.verdict;
        self.verdict.sound = *damaged == 0 && *damaged_letters == 0 && problems.is_empty();
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cursor::Cursor;
    use crate::store::tests::record;
    use crate::store::{Batch, Damage, Progress};

    fn verdict(cursor: u64, chunks: &[Chunk]) -> Verdict {
        let next = chunks.last().map_or(1, |chunk| chunk.end);
        let cursor = Cursor::new(Progress::new(cursor));
        // It is not configured any more, and holds nothing back.
        let orphan = Cursor { is_orphan: true, ..Cursor::new(Progress::new(1)) };
        let cursors = Cursors::from([("b".to_owned(), cursor), ("old".to_owned(), orphan)]);
        let mut examiner = Examiner::new(next, &cursors);
        chunks.iter().for_each(|chunk| examiner.handle_chunk(chunk));
        examiner.finish()
    }

    fn chunk(base: u64, records: u64) -> Chunk {
        let mut batch = Batch::default();
        (0..records).for_each(|n| batch.push(record("d", n)));
        batch.into_chunk(base)
    }

    #[test]
    fn what_is_released_may_be_missing_and_numbers_may_be_skipped() {
        let missing = Chunk::without_records(1, 5, Some(Damage::Missing));
        let skipped = Chunk::without_records(8, 20, None);
        let verdict = verdict(5, &[missing, chunk(5, 3), skipped, chunk(20, 1)]);
        assert!(verdict.sound, "{verdict:?}");
        assert_eq!((verdict.chunks, verdict.records, verdict.first), (2, 4, Some(5)));
    }

    #[test]
    fn damage_is_counted_and_listed() {
        let bad = Chunk::without_records(4, 9, Some(Damage::Checksum));
        let verdict = verdict(6, &[chunk(1, 3), bad, chunk(9, 1)]);
        assert!(!verdict.sound);
        assert_eq!((verdict.damaged, verdict.damaged_numbers), (1, 3), "4 and 5 are released");
        let why = "its checksum is wrong".to_owned();
        assert_eq!(verdict.damage, [Stretch { first: 6, last: 8, why }]);
    }

    #[test]
    fn damaged_dead_letters_are_counted() {
        let mut examiner = Examiner::new(1, &Cursors::new());
        examiner.handle_letters(&DeadPage { damaged: 2, ..DeadPage::default() });
        let verdict = examiner.finish();
        assert!(!verdict.sound && verdict.damaged_letters == 2, "{verdict:?}");
    }

    #[test]
    fn a_cursor_behind_the_end_is_a_problem() {
        for cursor in [0, 5] {
            let verdict = verdict(cursor, &[chunk(1, 3)]);
            assert!(!verdict.sound && verdict.problems[0].contains("`b`"), "{verdict:?}");
        }
        assert!(verdict(4, &[chunk(1, 3)]).sound);
    }
}
