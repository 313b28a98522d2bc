//! Dead letters: readings that a broker will never take, kept for people to look at.
//!
//! They lie in a table of the store file, one row each, and are durable like readings. A letter is
//! known by its broker, number and topic: one that is written again, because a crash came between
//! it and the cursor, replaces the first. There are at most [`MAX_LETTERS`] of them, of together at
//! most [`MAX_BYTES`] and an eighth of the quota. One more is refused, and its reading stays pending:
//! a broker that takes nothing any more, for want of a permission perhaps, does not lose readings.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::letter::{DeadLetter, LetterRow};
use super::record::{self, Names};
use super::rows::{signed, unsigned};

/// Most letters.
const MAX_LETTERS: u64 = 10_000;
/// Most bytes of all letters.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The share of the quota that they may have.
const SHARE: u64 = 8;

/// Letters on disk, by broker.
pub(crate) type DeadCounts = BTreeMap<String, u64>;

/// The table, and what is in it.
#[derive(Clone, Debug)]
pub(super) struct Letters {
    counts: DeadCounts,
    bytes: u64,
    most_letters: u64,
    most_bytes: u64,
}

impl Letters {
    /// Counts what is in the table, in a store of so many bytes.
    pub(super) fn load(connection: &Connection, quota: u64) -> rusqlite::Result<Self> {
        let mut letters = Self {
            counts: counts(connection)?,
            bytes: 0,
            most_letters: MAX_LETTERS,
            most_bytes: MAX_BYTES.min(quota / SHARE),
        };
        let bytes = "SELECT coalesce(sum(bytes), 0) FROM dead";
        letters.bytes = connection.query_row(bytes, [], |row| row.get(0)).map(unsigned)?;
        Ok(letters)
    }

    /// How many letters and bytes there are.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.len(), self.bytes)
    }

    /// How many there are.
    pub(super) fn counts(&self) -> &DeadCounts {
        &self.counts
    }

    /// Writes letters in one transaction; `false` where there would be too many.
    pub(super) fn bury(
        &mut self,
        connection: &mut Connection,
        letters: &[DeadLetter],
    ) -> rusqlite::Result<bool> {
        let mut after = self.clone();
        let transaction = connection.transaction()?;
        for letter in letters {
            after.insert(&transaction, letter)?;
        }
        if after.bytes > after.most_bytes || after.len() > after.most_letters {
            return Ok(false);
        }
        transaction.commit()?;
        *self = after;
        Ok(true)
    }

    /// Deletes the letters with these identifiers, as far as they are there.
    pub(super) fn unbury(
        &mut self,
        connection: &mut Connection,
        ids: &[u64],
    ) -> rusqlite::Result<()> {
        let mut after = self.clone();
        let transaction = connection.transaction()?;
        for &id in ids {
            let one = "DELETE FROM dead WHERE id = ?1 RETURNING broker, bytes";
            after.delete(&transaction, one, params![signed(id)])?;
        }
        transaction.commit()?;
        *self = after;
        Ok(())
    }

    fn len(&self) -> u64 {
        self.counts.values().sum()
    }

    fn insert(&mut self, connection: &Connection, letter: &DeadLetter) -> rusqlite::Result<()> {
        let n = signed(letter.record.n);
        let same = "DELETE FROM dead WHERE broker = ?1 AND n = ?2 AND topic = ?3 \
                    RETURNING broker, bytes";
        self.delete(connection, same, params![letter.broker, n, letter.topic])?;
        let mut record = Vec::new();
        record::encode(&mut record, &letter.record);
        let row = LetterRow::new(letter, &record);
        row.insert(connection)?;
        *self.counts.entry(letter.broker.clone()).or_default() += 1;
        self.bytes += row.bytes();
        Ok(())
    }

    /// Deletes at most one letter, with a statement that returns its broker and size.
    fn delete(
        &mut self,
        connection: &Connection,
        statement: &str,
        parameters: impl rusqlite::Params,
    ) -> rusqlite::Result<bool> {
        let deleted: Option<(String, i64)> = connection
            .prepare_cached(statement)?
            .query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((broker, bytes)) = deleted else { return Ok(false) };
        self.bytes = self.bytes.saturating_sub(unsigned(bytes));
        if let Some(kept) = self.counts.get_mut(&broker) {
            *kept = kept.saturating_sub(1);
            if *kept == 0 {
                self.counts.remove(&broker);
            }
        }
        Ok(true)
    }
}

/// How many letters there are for each broker.
pub(super) fn counts(connection: &Connection) -> rusqlite::Result<DeadCounts> {
    let mut statement = connection.prepare("SELECT broker, count(*) FROM dead GROUP BY broker")?;
    let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1).map(unsigned)?)))?;
    counts.collect()
}

/// Some dead letters, in the order of their identifiers.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) letters: Vec<DeadLetter>,
    /// Letters among them that are damaged, and left out.
    pub(crate) damaged: u64,
    /// The identifier to go on behind; none where there are no more.
    pub(crate) next_after: Option<u64>,
}

/// The first `limit` letters behind the one with the identifier `after`, with those that are damaged.
pub(super) fn read(connection: &Connection, after: u64, limit: usize) -> rusqlite::Result<Page> {
    let columns = LetterRow::COLUMNS;
    let mut statement = connection
        .prepare_cached(&format!("SELECT {columns} FROM dead WHERE id > ?1 ORDER BY id"))?;
    let mut rows = statement.query([signed(after)])?;
    let (mut page, mut last) = (Page::default(), after);
    let mut names = Names::default();
    while let Some(row) = rows.next()? {
        if page.letters.len() as u64 + page.damaged >= limit as u64 {
            page.next_after = Some(last);
            break;
        }
        last = unsigned(row.get(0)?);
        match LetterRow::of(row).and_then(|row| row.letter(&mut names)) {
            Some(letter) => page.letters.push(letter),
            None => page.damaged += 1,
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;

    use super::super::letter;
    use super::super::record::Record;
    use super::super::tests::record;
    use super::*;

    const QUOTA: u64 = 1 << 30;

    fn letter(broker: &str, n: u64, detail: &str) -> DeadLetter {
        DeadLetter {
            id: 0,
            broker: broker.to_owned(),
            time: Timestamp::from_nanos(1_795_214_340_123_000_000),
            reason: "refused".to_owned(),
            detail: detail.to_owned(),
            topic: "a/b".to_owned(),
            record: Record { n, ..record("d", n) },
        }
    }

    fn open() -> (Connection, Letters) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(letter::CREATE).unwrap();
        let letters = Letters::load(&connection, QUOTA).unwrap();
        (connection, letters)
    }

    fn numbers(connection: &Connection) -> Vec<u64> {
        read(connection, 0, usize::MAX)
            .unwrap()
            .letters
            .iter()
            .map(|letter| letter.record.n)
            .collect()
    }

    #[test]
    fn letters_read_back_in_pages_and_are_deleted_by_their_identifiers() {
        let (mut connection, mut letters) = open();
        let written: Vec<_> = (1..=5).map(|n| letter("a", n, "too large")).collect();
        letters.bury(&mut connection, &written).unwrap();
        let first = read(&connection, 0, 2).unwrap();
        assert_eq!((first.letters.len(), first.next_after), (2, Some(2)));
        assert_eq!(first.letters[0], DeadLetter { id: 1, ..written[0].clone() });
        let rest = read(&connection, 2, 3).unwrap();
        let numbers_of_rest: Vec<u64> = rest.letters.iter().map(|l| l.record.n).collect();
        assert_eq!((numbers_of_rest, rest.next_after), (vec![3, 4, 5], None));
        letters.unbury(&mut connection, &[1, 5, 99]).unwrap();
        assert_eq!(numbers(&connection), [2, 3, 4]);
        letters.bury(&mut connection, &[letter("a", 6, "")]).unwrap();
        assert_eq!(read(&connection, 4, 10).unwrap().letters[0].id, 6, "5 is not used again");
    }

    #[test]
    fn a_letter_that_is_written_twice_replaces_the_first() {
        let (mut connection, mut letters) = open();
        letters.bury(&mut connection, &[letter("a", 1, "first"), letter("b", 1, "")]).unwrap();
        letters.bury(&mut connection, &[letter("a", 1, "second")]).unwrap();
        let kept = read(&connection, 0, 10).unwrap();
        let details: Vec<_> = kept.letters.iter().map(|l| (&*l.broker, &*l.detail)).collect();
        assert_eq!(details, [("b", ""), ("a", "second")]);
        let other = DeadLetter { topic: "another".to_owned(), ..letter("a", 1, "") };
        letters.bury(&mut connection, &[other]).unwrap();
        let counts = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(letters.counts(), &counts);
    }

    #[test]
    fn one_too_many_or_too_large_is_refused_and_nothing_is_lost() {
        let (mut connection, mut letters) = open();
        letters.most_letters = 3;
        let three: Vec<_> = (1..=3).map(|n| letter("a", n, "")).collect();
        assert!(letters.bury(&mut connection, &three).unwrap());
        assert!(!letters.bury(&mut connection, &[letter("a", 4, "")]).unwrap());
        assert!(letters.bury(&mut connection, &[letter("a", 3, "again")]).unwrap());
        assert_eq!((numbers(&connection), letters.size().0), (vec![1, 2, 3], 3));
        letters.most_letters = 10;
        letters.most_bytes = letters.bytes;
        assert!(!letters.bury(&mut connection, &[letter("b", 6, "")]).unwrap());
        letters.unbury(&mut connection, &[1]).unwrap();
        assert!(letters.bury(&mut connection, &[letter("b", 6, "")]).unwrap());
        let (bytes, counts) = (letters.bytes, letters.counts().clone());
        assert_eq!(counts, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]));
        let anew = Letters::load(&connection, QUOTA).unwrap();
        assert_eq!((anew.bytes, anew.counts()), (bytes, &counts));
    }

    #[test]
    fn a_small_quota_bounds_the_letters() {
        let (connection, letters) = open();
        assert_eq!(letters.most_bytes, MAX_BYTES);
        assert_eq!(Letters::load(&connection, 1024 * 1024).unwrap().most_bytes, 128 * 1024);
    }

    #[test]
    fn a_long_detail_is_cut() {
        let (mut connection, mut letters) = open();
        letters.bury(&mut connection, &[letter("a", 1, &"ü".repeat(1024))]).unwrap();
        assert_eq!(read(&connection, 0, 1).unwrap().letters[0].detail, "ü".repeat(512));
    }

    #[test]
    fn a_damaged_letter_is_left_out_and_counted() {
        let (mut connection, mut letters) = open();
        letters.bury(&mut connection, &[letter("a", 1, ""), letter("a", 2, "")]).unwrap();
        connection.execute("UPDATE dead SET record = x'00' WHERE n = 1", []).unwrap();
        let page = read(&connection, 0, 2).unwrap();
        assert_eq!((page.letters[0].record.n, page.damaged, page.next_after), (2, 1, None));
    }
}
