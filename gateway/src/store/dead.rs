//! Dead letters: readings that a broker will never take, kept for people to look at.
//!
//! They lie in a table of the store file, one row each, and are durable like readings. A letter is
//! known by its broker, number and topic: one that is written again, because a crash came between
//! it and the cursor, replaces the first. There are at most [`MAX_LETTERS`] of them, of together at
//! most [`MAX_BYTES`] and an eighth of the quota. One more is refused, and its reading stays pending:
//! a broker that takes nothing any more, for want of a permission perhaps, does not lose readings.

use std::collections::BTreeMap;

use proto::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tracing::warn;

use super::record::{self, Names, Record};
use super::sqlite::{signed, unsigned};

/// Most letters.
const MAX_LETTERS: u64 = 10_000;
/// Most bytes of all letters.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The share of the quota that they may have.
const SHARE: u64 = 8;
/// Longest detail; the rest is cut off.
const MAX_DETAIL: usize = 1024;

/// The table; an identifier is never used again.
pub(super) const CREATE: &str =
    "CREATE TABLE dead(id INTEGER PRIMARY KEY AUTOINCREMENT, broker TEXT NOT NULL,
                       n INTEGER NOT NULL, t_ms INTEGER NOT NULL, reason TEXT NOT NULL,
                       detail TEXT NOT NULL, topic TEXT NOT NULL, bytes INTEGER NOT NULL,
                       record BLOB NOT NULL, UNIQUE(broker, n, topic)) STRICT;";

/// A reading that one broker will not get.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct DeadLetter {
    /// What the store knows it by; ignored where it is written.
    pub(crate) id: u64,
    /// The broker.
    pub(crate) broker: String,
    /// When it was given up, in milliseconds.
    pub(crate) time: Timestamp,
    /// A short name to count by.
    pub(crate) reason: String,
    /// The same for people; at most a kilobyte is kept.
    pub(crate) detail: String,
    /// Where it would have been published.
    pub(crate) topic: String,
    /// The reading, with its number.
    pub(crate) record: Record,
}

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
    /// No letters, in a store of so many bytes.
    pub(super) fn new(quota: u64) -> Self {
        let most_bytes = MAX_BYTES.min(quota / SHARE);
        Self { counts: DeadCounts::default(), bytes: 0, most_letters: MAX_LETTERS, most_bytes }
    }

    /// Counts what is in the table.
    pub(super) fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.counts.clear();
        self.bytes = 0;
        let mut statement =
            connection.prepare("SELECT broker, count(*), sum(bytes) FROM dead GROUP BY broker")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.counts.insert(row.get(0)?, unsigned(row.get(1)?));
            self.bytes += unsigned(row.get(2)?);
        }
        Ok(())
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
        let detail = cut(&letter.detail);
        let texts = [&letter.broker, &letter.reason, detail, &letter.topic];
        let bytes = record.len() + texts.iter().map(|text| text.len()).sum::<usize>();
        connection
            .prepare_cached(
                "INSERT INTO dead(broker, n, t_ms, reason, detail, topic, bytes, record) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                letter.broker,
                n,
                letter.time.as_millis(),
                letter.reason,
                detail,
                letter.topic,
                signed(bytes as u64),
                record,
            ])?;
        *self.counts.entry(letter.broker.clone()).or_default() += 1;
        self.bytes += bytes as u64;
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

fn cut(detail: &str) -> &str {
    (0..=MAX_DETAIL).rev().find_map(|end| detail.get(..end)).unwrap_or(detail)
}

/// The first `limit` letters behind the one with the identifier `after`; damaged ones are skipped.
pub(super) fn read(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, broker, n, t_ms, reason, detail, topic, record FROM dead \
         WHERE id > ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([signed(after)])?;
    let mut letters = Vec::new();
    let mut names = Names::default();
    while letters.len() < limit
        && let Some(row) = rows.next()?
    {
        letters.extend(letter(row, &mut names)?);
    }
    Ok(letters)
}

fn letter(row: &Row<'_>, names: &mut Names) -> rusqlite::Result<Option<DeadLetter>> {
    let id = unsigned(row.get(0)?);
    let time_ms: i64 = row.get(3)?;
    let record = match record::decode(unsigned(row.get(2)?), row.get_ref(7)?.as_blob()?, names) {
        Ok(record) => record,
        Err(error) => {
            warn!(id, %error, "a dead letter is damaged and skipped");
            return Ok(None);
        }
    };
    Ok(Some(DeadLetter {
        id,
        broker: row.get(1)?,
        time: Timestamp::from_nanos(time_ms.saturating_mul(1_000_000)),
        reason: row.get(4)?,
        detail: row.get(5)?,
        topic: row.get(6)?,
        record,
    }))
}

#[cfg(test)]
mod tests {
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
        connection.execute_batch(CREATE).unwrap();
        (connection, Letters::new(QUOTA))
    }

    fn numbers(connection: &Connection) -> Vec<u64> {
        read(connection, 0, usize::MAX).unwrap().iter().map(|letter| letter.record.n).collect()
    }

    #[test]
    fn letters_read_back_in_pages_and_are_deleted_by_their_identifiers() {
        let (mut connection, mut letters) = open();
        let written: Vec<_> = (1..=5).map(|n| letter("a", n, "too large")).collect();
        letters.bury(&mut connection, &written).unwrap();
        let first = read(&connection, 0, 2).unwrap();
        assert_eq!(first.len(), 2);
        assert_eq!(first[0], DeadLetter { id: 1, ..written[0].clone() });
        let rest = read(&connection, first[1].id, 10).unwrap();
        assert_eq!(rest.iter().map(|letter| letter.record.n).collect::<Vec<_>>(), [3, 4, 5]);
        letters.unbury(&mut connection, &[first[0].id, 5, 99]).unwrap();
        assert_eq!(numbers(&connection), [2, 3, 4]);
        letters.bury(&mut connection, &[letter("a", 6, "")]).unwrap();
        assert_eq!(read(&connection, 4, 10).unwrap()[0].id, 6, "5 is not used again");
    }

    #[test]
    fn a_letter_that_is_written_twice_replaces_the_first() {
        let (mut connection, mut letters) = open();
        letters.bury(&mut connection, &[letter("a", 1, "first"), letter("b", 1, "")]).unwrap();
        letters.bury(&mut connection, &[letter("a", 1, "second")]).unwrap();
        let kept = read(&connection, 0, 10).unwrap();
        let details: Vec<_> = kept.iter().map(|l| (&*l.broker, &*l.detail)).collect();
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
        letters.load(&connection).unwrap();
        assert_eq!((letters.bytes, letters.counts()), (bytes, &counts), "counted anew");
    }

    #[test]
    fn a_small_quota_bounds_the_letters() {
        assert_eq!(Letters::new(1024 * 1024).most_bytes, 128 * 1024);
        assert_eq!(Letters::new(QUOTA).most_bytes, MAX_BYTES);
    }

    #[test]
    fn a_long_detail_is_cut() {
        let (mut connection, mut letters) = open();
        letters.bury(&mut connection, &[letter("a", 1, &"ü".repeat(MAX_DETAIL))]).unwrap();
        assert_eq!(read(&connection, 0, 1).unwrap()[0].detail, "ü".repeat(MAX_DETAIL / 2));
    }

    #[test]
    fn a_damaged_letter_is_skipped() {
        let (mut connection, mut letters) = open();
        letters.bury(&mut connection, &[letter("a", 1, ""), letter("a", 2, "")]).unwrap();
        connection.execute("UPDATE dead SET record = x'00' WHERE n = 1", []).unwrap();
        let kept = read(&connection, 0, 1).unwrap();
        assert_eq!(kept.iter().map(|letter| letter.record.n).collect::<Vec<_>>(), [2]);
    }
}
