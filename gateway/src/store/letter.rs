//! One dead letter, and its row in the file.

use proto::Timestamp;
use rusqlite::{Connection, ErrorCode, params};

use super::record::{self, Names, Record};
use super::rows::{signed, unsigned};

/// Longest detail; the rest is cut off.
const MAX_DETAIL: usize = 1024;

/// The table; an identifier is never used again.
pub(super) const CREATE: &str =
    "CREATE TABLE dead(id INTEGER PRIMARY KEY AUTOINCREMENT, broker TEXT NOT NULL,
                       n INTEGER NOT NULL, t_ms INTEGER NOT NULL, reason TEXT NOT NULL,
                       detail TEXT NOT NULL, topic TEXT NOT NULL, bytes INTEGER NOT NULL,
                       record BLOB NOT NULL, crc INTEGER NOT NULL,
                       UNIQUE(broker, n, topic)) STRICT;";

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

/// A row of the table, whether SQLite has read it or it was found in a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct LetterRow<'a> {
    pub(super) id: u64,
    pub(super) broker: &'a str,
    pub(super) n: u64,
    pub(super) time_ms: i64,
    pub(super) reason: &'a str,
    pub(super) detail: &'a str,
    pub(super) topic: &'a str,
    pub(super) record: &'a [u8],
    pub(super) crc: u32,
}

impl<'a> LetterRow<'a> {
    /// The columns that [`of`](Self::of) takes.
    pub(super) const COLUMNS: &'static str =
        "id, broker, n, t_ms, reason, detail, topic, record, crc";

    /// A row of these columns; none where one is not of its type, which only damage can bring about.
    pub(super) fn of(row: &'a rusqlite::Row<'_>) -> Option<Self> {
        let integer = |column| row.get_ref(column).ok()?.as_i64().ok();
        let text = |column| row.get_ref(column).ok()?.as_str().ok();
        Some(Self {
            id: unsigned(integer(0)?),
            broker: text(1)?,
            n: unsigned(integer(2)?),
            time_ms: integer(3)?,
            reason: text(4)?,
            detail: text(5)?,
            topic: text(6)?,
            record: row.get_ref(7).ok()?.as_blob().ok()?,
            crc: integer(8)?.try_into().ok()?,
        })
    }

    /// The row of a new letter, whose record was encoded.
    pub(super) fn new(letter: &'a DeadLetter, record: &'a [u8]) -> Self {
        let row = Self {
            id: 0,
            broker: &letter.broker,
            n: letter.record.n,
            time_ms: letter.time.as_millis(),
            reason: &letter.reason,
            detail: cut(&letter.detail),
            topic: &letter.topic,
            record,
            crc: 0,
        };
        Self { crc: row.checksum(), ..row }
    }

    /// Whether it is what was once written.
    pub(super) fn is_intact(&self) -> bool {
        self.checksum() == self.crc
    }

    /// The letter, where it is what was once written.
    pub(super) fn letter(&self, names: &mut Names) -> Option<DeadLetter> {
        if !self.is_intact() {
            return None;
        }
        Some(DeadLetter {
            id: self.id,
            broker: self.broker.to_owned(),
            time: Timestamp::from_nanos(self.time_ms.saturating_mul(1_000_000)),
            reason: self.reason.to_owned(),
            detail: self.detail.to_owned(),
            topic: self.topic.to_owned(),
            record: record::decode(self.n, self.record, names).ok()?,
        })
    }

    /// What counts against the limits.
    pub(super) fn bytes(&self) -> u64 {
        let texts = [self.broker, self.reason, self.detail, self.topic];
        (self.record.len() + texts.iter().map(|text| text.len()).sum::<usize>()) as u64
    }

    /// Writes it, under a new identifier where it has none.
    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO dead(id, broker, n, t_ms, reason, detail, topic, bytes, record, crc) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                (self.id > 0).then(|| signed(self.id)),
                self.broker,
                signed(self.n),
                self.time_ms,
                self.reason,
                self.detail,
                self.topic,
                signed(self.bytes()),
                self.record,
                self.crc,
            ])
            .map(drop)
    }

    /// Writes it, unless there is one for the same.
    pub(super) fn insert_if_new(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self.insert(connection) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Ok(())
            }
            inserted => inserted,
        }
    }

    /// CRC-32 (ISO-HDLC) of all but the identifier, which SQLite gives.
    fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.n.to_le_bytes());
        hasher.update(&self.time_ms.to_le_bytes());
        for text in [self.broker, self.reason, self.detail, self.topic] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(self.record);
        hasher.finalize()
    }
}

fn cut(detail: &str) -> &str {
    (0..=MAX_DETAIL).rev().find_map(|end| detail.get(..end)).unwrap_or(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::record;

    #[test]
    fn a_letter_that_is_not_what_was_written_is_none() {
        let letter = DeadLetter {
            id: 0,
            broker: "a".to_owned(),
            time: Timestamp::from_nanos(1_795_214_340_123_000_000),
            reason: "refused".to_owned(),
            detail: "x".to_owned(),
            topic: "a/b".to_owned(),
            record: Record { n: 7, ..record("d", 7) },
        };
        let mut bytes = Vec::new();
        record::encode(&mut bytes, &letter.record);
        let row = LetterRow::new(&letter, &bytes);
        assert_eq!(row.letter(&mut Names::default()), Some(letter.clone()));
        for wrong in [
            LetterRow { n: 8, ..row },
            LetterRow { broker: "b", ..row },
            LetterRow { reason: "refuse", detail: "dx", ..row },
            LetterRow { topic: "a/c", ..row },
            LetterRow { time_ms: 1, ..row },
            LetterRow { record: &bytes[1..], ..row },
        ] {
            assert_eq!(wrong.letter(&mut Names::default()), None, "{wrong:?}");
        }
    }
}
