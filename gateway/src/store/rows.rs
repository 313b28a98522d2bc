//! Rows of the table `chunk`: written, checked, and read into chunks without a gap.

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use super::chunk::{Chunk, Damage, MAX_RECORDS, checksum};
use super::cursor::{self, Cursors};
use super::numbers::BLOCK;
use super::skips::Skips;

/// Most rows that are looked at from the newest backwards for one that is intact.
const MAX_NEWEST: u32 = 1000;
/// Most stretches of skipped numbers that are known; the numbers of older ones count as readings.
const MAX_SKIPS: u32 = 64;

/// What a row says, whether SQLite has read it or it was found in a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) base: u64,
    pub(super) time_ms: i64,
    pub(super) crc: u32,
    pub(super) cursors: &'a [u8],
    pub(super) data: &'a [u8],
}

impl<'a> Row<'a> {
    /// A row of `SELECT base, t_ms, crc, cursors, data`; without content where a column is not of
    /// its type, which only damage can bring about.
    fn of(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<(u64, Option<Self>)> {
        let base = unsigned(row.get_ref(0)?.as_i64().unwrap_or(0));
        let content = || {
            Some(Self {
                base,
                time_ms: row.get_ref(1).ok()?.as_i64().ok()?,
                crc: row.get_ref(2).ok()?.as_i64().ok()?.try_into().ok()?,
                cursors: row.get_ref(3).ok()?.as_blob().ok()?,
                data: row.get_ref(4).ok()?.as_blob().ok()?,
            })
        };
        Ok((base, content()))
    }

    /// Whether it is what was once written.
    pub(super) fn is_intact(&self) -> bool {
        // An older gateway has summed the data alone.
        checksum(self.base, self.cursors, self.data) == self.crc
            || crc32fast::hash(self.data) == self.crc
    }

    /// The records, where it is what was once written.
    pub(super) fn chunk(&self) -> Result<Chunk, Damage> {
        if !self.is_intact() {
            return Err(Damage::Checksum);
        }
        Chunk::decode(self.base, self.data).map_err(|_| Damage::Records)
    }

    /// Writes it, with the number of its records, unless there is one with its number.
    pub(super) fn insert_if_new(
        &self,
        connection: &Connection,
        records: u64,
    ) -> rusqlite::Result<()> {
        match self.insert(connection, records) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Ok(())
            }
            inserted => inserted,
        }
    }

    /// Writes it, with the number of its records.
    pub(super) fn insert(&self, connection: &Connection, records: u64) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO chunk(base, n, bytes, t_ms, crc, cursors, data) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                signed(self.base),
                signed(records),
                signed(self.data.len() as u64),
                self.time_ms,
                self.crc,
                self.cursors,
                self.data,
            ])
            .map(drop)
    }
}

/// Writes that no record has the numbers from `base` up to the next row, and that this was told.
pub(super) fn insert_skip(
    connection: &Connection,
    base: u64,
    cursors: &Cursors,
) -> rusqlite::Result<()> {
    let cursors = cursor::encode(cursors);
    let crc = checksum(base, &cursors, &[]);
    Row { base, time_ms: 0, crc, cursors: &cursors, data: &[] }.insert_if_new(connection, 0)
}

/// The chunks from the one that holds `from` on, until `max_bytes` are reached. They have no gap:
/// numbers below `end` that no intact row has come as damaged chunks.
pub(super) fn read(
    connection: &Connection,
    from: u64,
    end: u64,
    max_bytes: usize,
) -> rusqlite::Result<Vec<Chunk>> {
    let mut statement = connection.prepare_cached(
        "SELECT base, t_ms, crc, cursors, data FROM chunk WHERE base >= \
         coalesce((SELECT max(base) FROM chunk WHERE base <= ?1), 0) ORDER BY base",
    )?;
    let mut rows = statement.query(params![signed(from)])?;
    let mut walk = Walk::new(from, end);
    while let Some(row) = rows.next()? {
        let (base, content) = Row::of(row)?;
        walk.handle_row(base, content.ok_or(Damage::Checksum).and_then(|row| row.chunk()));
        if walk.bytes >= max_bytes && walk.held.is_none() {
            return Ok(walk.chunks);
        }
    }
    Ok(walk.finish())
}

/// The bytes of the row that holds `n`, as they are, with its number.
pub(super) fn raw(connection: &Connection, n: u64) -> rusqlite::Result<Option<(u64, Vec<u8>)>> {
    connection
        .prepare_cached(
            "SELECT base, t_ms, crc, cursors, data FROM chunk WHERE base <= ?1 \
             ORDER BY base DESC LIMIT 1",
        )?
        .query_row(params![signed(n)], |row| {
            let (base, content) = Row::of(row)?;
            Ok(content.map(|row| (base, row.data.to_vec())))
        })
        .optional()
        .map(Option::flatten)
}

/// What the newest rows say.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// One past the newest number, where there is a row that is intact.
    pub(super) end: Option<u64>,
    /// One past the highest number of a newer row that is not, as far as that can be told.
    pub(super) damaged: Option<u64>,
    /// Whether it says that the numbers from there on are skipped.
    is_skip: bool,
    /// The cursors beside it.
    pub(super) cursors: Cursors,
}

impl Newest {
    /// From where on numbers have to be skipped so that the store goes on at `next`; none where
    /// nothing is missing, or a row says so already.
    pub(super) fn skip_to(&self, next: u64) -> Option<u64> {
        let end = match self.damaged {
            Some(end) => end,
            None if self.is_skip => return None,
            None => self.end.unwrap_or(1),
        };
        (end < next).then_some(end)
    }

    /// The number that comes next, where only the file can be asked.
    pub(super) fn likely_next(&self) -> u64 {
        let end = self.end.unwrap_or(1);
        match self.damaged {
            // A number far away is a part of the damage.
            Some(after) if after.saturating_sub(end) <= BLOCK => after,
            Some(_) => end + 1,
            None => end,
        }
    }
}

/// Finds the newest intact row.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Newest> {
    let mut newest = Newest::default();
    let mut statement = connection.prepare(
        "SELECT base, t_ms, crc, cursors, data, n FROM chunk ORDER BY base DESC LIMIT ?1",
    )?;
    let mut rows = statement.query(params![MAX_NEWEST])?;
    while let Some(row) = rows.next()? {
        let (base, content) = Row::of(row)?;
        if let Some(row) = content
            && let Ok(chunk) = row.chunk()
        {
            newest.end = Some(chunk.end);
            newest.is_skip = chunk.records.is_empty();
            newest.cursors = cursor::decode(row.cursors).unwrap_or_default();
            break;
        }
        // Their count may be damaged too; it never was larger.
        let most = MAX_RECORDS as u64;
        let records = row.get_ref(5)?.as_i64().map_or(most, unsigned);
        let records = if (1..=most).contains(&records) { records } else { most };
        newest.damaged = newest.damaged.max(Some(base.saturating_add(records)));
    }
    Ok(newest)
}

/// The numbers below `next` that rows say are skipped.
pub(super) fn skips(connection: &Connection, next: u64) -> rusqlite::Result<Skips> {
    let mut statement = connection.prepare(
        "SELECT base, (SELECT min(later.base) FROM chunk AS later WHERE later.base > chunk.base) \
         FROM chunk WHERE n = 0 ORDER BY base DESC LIMIT ?1",
    )?;
    let stretches = statement.query_map(params![MAX_SKIPS], |row| {
        let end: Option<i64> = row.get(1)?;
        Ok(unsigned(row.get(0)?)..end.map_or(next, unsigned).min(next))
    })?;
    let mut stretches = stretches.collect::<rusqlite::Result<Vec<_>>>()?;
    stretches.reverse();
    Ok(Skips::new(stretches))
}

/// The first row of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oldest {
    pub(super) base: u64,
    /// Where the second row begins, if there is one: only then may the first be deleted.
    pub(super) end: Option<u64>,
    pub(super) time_ms: i64,
}

impl Oldest {
    /// Whether it may be deleted when every record below `released` may.
    pub(super) fn is_released(&self, released: u64) -> bool {
        self.end.is_some_and(|end| end <= released)
    }
}

/// Finds it.
pub(super) fn oldest(connection: &Connection) -> rusqlite::Result<Option<Oldest>> {
    let mut statement =
        connection.prepare_cached("SELECT base, t_ms FROM chunk ORDER BY base LIMIT 2")?;
    let mut rows = statement.query([])?;
    let Some(first) = rows.next()? else { return Ok(None) };
    let (base, time_ms) = (unsigned(first.get(0)?), first.get(1)?);
    let end = rows.next()?.map(|second| second.get(0).map(unsigned)).transpose()?;
    Ok(Some(Oldest { base, end, time_ms }))
}

/// Puts rows, as they come, into chunks that have no gap.
///
/// Of a damaged row only its place is believed, and that only where it is possible: its numbers
/// go up to the next row that is intact. So do those of a row without records, which stands for
/// numbers that are skipped.
struct Walk {
    chunks: Vec<Chunk>,
    bytes: usize,
    /// The next number that no chunk has.
    position: u64,
    end: u64,
    /// What the numbers from there on are, where a row has said it.
    held: Option<Option<Damage>>,
}

impl Walk {
    const fn new(from: u64, end: u64) -> Self {
        Self { chunks: Vec::new(), bytes: 0, position: from, end, held: None }
    }

    fn handle_row(&mut self, base: u64, row: Result<Chunk, Damage>) {
        match row {
            Ok(chunk) if chunk.records.is_empty() => self.hold(base, None),
            // It lies before what was asked for.
            Ok(chunk) if chunk.end <= self.position => {}
            Ok(chunk) => {
                self.settle(chunk.base);
                self.bytes += chunk.bytes;
                self.position = chunk.end;
                self.chunks.push(chunk);
            }
            Err(damage) => self.hold(base, Some(damage)),
        }
    }

    fn hold(&mut self, base: u64, damage: Option<Damage>) {
        let is_possible = (self.position..self.end).contains(&base);
        self.settle(if is_possible { base } else { self.position });
        self.held = Some(damage);
    }

    /// Accounts for every number below `until`.
    fn settle(&mut self, until: u64) {
        let damage = self.held.take().unwrap_or(Some(Damage::Missing));
        if until > self.position {
            self.chunks.push(Chunk::without_records(self.position, until, damage));
            self.position = until;
        }
    }

    fn finish(mut self) -> Vec<Chunk> {
        self.settle(self.end);
        self.chunks
    }
}

/// SQLite's integers are signed; numbers of records and pages stay far below the limit.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Batch;
    use crate::store::tests::record;

    fn intact(base: u64, end: u64) -> Result<Chunk, Damage> {
        let mut batch = Batch::default();
        (base..end).for_each(|n| batch.push(record("d", n)));
        Ok(batch.into_chunk(base))
    }

    /// First number, end and damage of each chunk.
    fn walked(
        from: u64,
        end: u64,
        rows: impl IntoIterator<Item = (u64, Result<Chunk, Damage>)>,
    ) -> Vec<(u64, u64, Option<Damage>)> {
        let mut walk = Walk::new(from, end);
        rows.into_iter().for_each(|(base, row)| walk.handle_row(base, row));
        walk.finish().iter().map(|chunk| (chunk.base, chunk.end, chunk.damage)).collect()
    }

    #[test]
    fn rows_without_damage_are_chunks_as_they_are() {
        assert_eq!(
            walked(5, 9, [(1, intact(1, 4)), (4, intact(4, 7)), (7, intact(7, 9))]),
            [(4, 7, None), (7, 9, None)]
        );
        assert_eq!(walked(9, 9, [(7, intact(7, 9))]), []);
    }

    #[test]
    fn numbers_that_no_row_has_are_a_damaged_chunk() {
        let missing = Some(Damage::Missing);
        assert_eq!(
            walked(2, 20, [(4, intact(4, 7)), (9, intact(9, 10))]),
            [(2, 4, missing), (4, 7, None), (7, 9, missing), (9, 10, None), (10, 20, missing)]
        );
        assert_eq!(walked(1, 5, []), [(1, 5, missing)], "an empty file after numbers were used");
    }

    #[test]
    fn a_damaged_row_reaches_to_the_next_intact_one() {
        let bad = |base| (base, Err(Damage::Checksum));
        let sum = Some(Damage::Checksum);
        assert_eq!(walked(1, 9, [bad(1), (4, intact(4, 9))]), [(1, 4, sum), (4, 9, None)]);
        assert_eq!(walked(1, 9, [bad(1), bad(3)]), [(1, 3, sum), (3, 9, sum)]);
        let missing = Some(Damage::Missing);
        assert_eq!(
            walked(1, 9, [(1, intact(1, 3)), bad(5), (7, intact(7, 9))]),
            [(1, 3, None), (3, 5, missing), (5, 7, sum), (7, 9, None)]
        );
    }

    #[test]
    fn a_damaged_row_with_an_impossible_number_takes_the_place_it_lies_in() {
        let sum = Some(Damage::Checksum);
        for base in [0, 1, 2, 9, u64::MAX] {
            assert_eq!(
                walked(1, 9, [(1, intact(1, 3)), (base, Err(Damage::Checksum)), (5, intact(5, 9))]),
                [(1, 3, None), (3, 5, sum), (5, 9, None)],
                "{base}"
            );
        }
    }

    #[test]
    fn numbers_that_are_skipped_are_no_damage() {
        let skip = |base| (base, intact(base, base));
        for from in [1, 3, 5] {
            assert_eq!(
                walked(from, 9, [skip(1), (8, intact(8, 9))]),
                [(from, 8, None), (8, 9, None)],
                "{from}"
            );
        }
        assert_eq!(walked(1, 9, [(1, intact(1, 3)), skip(3)]), [(1, 3, None), (3, 9, None)]);
    }
}
