//! What the store keeps of one lane of a broker.

use std::collections::BTreeMap;

use minicbor::data::Type;
use minicbor::decode::{Decode, Decoder};
use minicbor::encode::{Encode, Encoder, Write};
use serde::{Deserialize, Serialize};

use super::Progress;
use super::skips::Skips;

/// The cursors of all lanes, by the lane's key.
pub(crate) type Cursors = BTreeMap<String, Cursor>;

/// How far a lane is, and what it missed.
///
/// As CBOR it is the progress alone where all else is as in a new one, else the map
/// `{0: progress, 1: [lag, age, full], 2: routes, 3: orphan, 4: mark}`; a reader skips other keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cursor {
    pub(crate) progress: Progress,
    pub(crate) dropped: Dropped,
    /// Fingerprint of the routes that the progress was made under.
    pub(crate) routes: u64,
    /// Whether no broker is configured for it, so that it holds no record back: what it has pending
    /// may have been deleted.
    pub(crate) is_orphan: bool,
    /// What is done beyond the progress, of a lane of windows.
    pub(crate) mark: Option<Mark>,
}

/// Groups of records that are done, of a lane in which several records become one message: those of
/// the records below `end` whose group comes no later than this one.
///
/// As CBOR it is the array `[windows, due, hash, end]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// Fingerprint of what groups there are.
    pub(crate) windows: u64,
    /// When the group was due, in nanoseconds since 1970.
    pub(crate) due: i64,
    /// Its place among those that were due then.
    pub(crate) hash: u64,
    pub(crate) end: u64,
}

/// Readings that were dropped for a lane before it acknowledged them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Dropped {
    /// It was more than `max_lag` readings behind.
    pub(crate) lag: u64,
    /// They were older than `max_age`.
    pub(crate) age: u64,
    /// The store was full, and `when_full` is `drop_oldest`.
    pub(crate) full: u64,
}

/// Why a reading is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DropReason {
    Lag,
    Age,
    Full,
}

impl Cursor {
    /// One that nothing was dropped for.
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress, dropped: Dropped::default(), routes: 0, is_orphan: false, mark: None }
    }

    /// One that nobody knows anything of but its key: whatever there is may be pending.
    pub(super) fn unknown() -> Self {
        Self { is_orphan: true, ..Self::new(Progress::new(1)) }
    }

    /// Drops what is pending below `floor`; how many records that were.
    pub(super) fn drop_below(&mut self, floor: u64, reason: DropReason, skips: &Skips) -> u64 {
        let head = floor.max(self.progress.next());
        let before = skips.pending(&self.progress, head);
        self.progress.drop_below(floor);
        let count = before - skips.pending(&self.progress, head);
        *self.dropped.of(reason) += count;
        count
    }
}

impl Dropped {
    /// All of them.
    pub(crate) const fn total(self) -> u64 {
        self.lag + self.age + self.full
    }

    /// Together with those of another lane.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            lag: self.lag.saturating_add(other.lag),
            age: self.age.saturating_add(other.age),
            full: self.full.saturating_add(other.full),
        }
    }

    const fn of(&mut self, reason: DropReason) -> &mut u64 {
        match reason {
            DropReason::Lag => &mut self.lag,
            DropReason::Age => &mut self.age,
            DropReason::Full => &mut self.full,
        }
    }
}

/// Number below which no record is held back, in a store that goes on at `head`; none where no
/// cursor is known.
pub(super) fn released(cursors: &Cursors, head: u64) -> Option<u64> {
    let lanes = cursors.values().filter(|cursor| !cursor.is_orphan);
    let lowest = lanes.map(|cursor| cursor.progress.lowest()).min();
    (!cursors.is_empty()).then(|| lowest.unwrap_or(head).min(head))
}

/// A row of the table `cursor`, whether SQLite has read it or it was found in a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct CursorRow<'a> {
    pub(super) key: &'a str,
    /// The next number at the time when it was saved.
    pub(super) head: u64,
    pub(super) state: &'a [u8],
    pub(super) crc: u32,
}

impl<'a> CursorRow<'a> {
    /// The row for a cursor that was [encoded](encode_one).
    pub(super) fn new(key: &'a str, head: u64, state: &'a [u8]) -> Self {
        Self { key, head, state, crc: checksum(key, head, state) }
    }

    /// The cursor, where the row is what was once written.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        let is_intact = checksum(self.key, self.head, self.state) == self.crc;
        is_intact.then(|| minicbor::decode(self.state).ok()).flatten()
    }
}

/// CRC-32 (ISO-HDLC) of a row: one that is wrong would skip records.
fn checksum(key: &str, head: u64, state: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head.to_le_bytes());
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key.as_bytes());
    hasher.update(state);
    hasher.finalize()
}

/// The bytes of a row's `state`.
pub(super) fn encode_one(cursor: &Cursor) -> Vec<u8> {
    // Writing to a vector cannot fail.
    minicbor::to_vec(cursor).unwrap_or_default()
}

/// The bytes that lie beside a chunk.
pub(super) fn encode(cursors: &Cursors) -> Vec<u8> {
    // Writing to a vector cannot fail.
    minicbor::to_vec(cursors).unwrap_or_default()
}

/// Reads them back.
pub(super) fn decode(bytes: &[u8]) -> Result<Cursors, minicbor::decode::Error> {
    minicbor::decode(bytes)
}

impl<C> Encode<C> for Cursor {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let Self { progress, dropped, routes, is_orphan, mark } = self;
        if *dropped == Dropped::default() && *routes == 0 && !is_orphan && mark.is_none() {
            return progress.encode(e, context);
        }
        let Dropped { lag, age, full } = dropped;
        e.map(if mark.is_some() { 5 } else { 4 })?.u8(0)?.encode(progress)?;
        e.u8(1)?.encode([lag, age, full])?;
        e.u8(2)?.u64(*routes)?;
        e.u8(3)?.bool(*is_orphan)?;
        if let Some(Mark { windows, due, hash, end }) = mark {
            e.u8(4)?.array(4)?.u64(*windows)?.i64(*due)?.u64(*hash)?.u64(*end)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Cursor {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.datatype()? != Type::Map {
            return d.decode().map(Self::new);
        }
        let Some(len) = d.map()? else {
            return Err(minicbor::decode::Error::message("a map without a length"));
        };
        let (mut progress, mut dropped) = (None, Dropped::default());
        let (mut routes, mut is_orphan, mut mark) = (0, false, None);
        for _ in 0..len {
            match d.u64()? {
                0 => progress = Some(d.decode()?),
                1 => {
                    let [lag, age, full] = d.decode()?;
                    dropped = Dropped { lag, age, full };
                }
                2 => routes = d.u64()?,
                3 => is_orphan = d.bool()?,
                4 if d.array()? == Some(4) => {
                    let (windows, due) = (d.u64()?, d.i64()?);
                    mark = Some(Mark { windows, due, hash: d.u64()?, end: d.u64()? });
                }
                4 => return Err(minicbor::decode::Error::message("not a mark")),
                _ => d.skip()?,
            }
        }
        let progress = progress.ok_or_else(|| minicbor::decode::Error::missing_value(0))?;
        Ok(Self { progress, dropped, routes, is_orphan, mark })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark_of([windows, due, hash, end]: [u64; 4]) -> Mark {
        Mark { windows, due: due.cast_signed(), hash, end }
    }

    fn cursors(cursor: Cursor) -> Cursors {
        Cursors::from([("cloud".to_owned(), cursor)])
    }

    #[test]
    fn cursors_of_the_first_version_are_read_and_plain_ones_written_like_them() {
        let old = minicbor::to_vec(BTreeMap::from([("cloud", 4711_u64)])).unwrap();
        let expected = cursors(Cursor::new(Progress::new(4711)));
        assert_eq!(decode(&old).unwrap(), expected);
        assert_eq!(encode(&expected), old);
    }

    #[test]
    fn what_is_dropped_is_counted_by_its_reason() {
        let mut cursor = Cursor::new(Progress::new(1));
        let skips = Skips::new(Some(7..1000));
        assert_eq!(cursor.drop_below(4, DropReason::Lag, &skips), 3);
        assert_eq!(cursor.drop_below(4, DropReason::Full, &skips), 0);
        cursor.drop_below(6, DropReason::Age, &skips);
        cursor.drop_below(500, DropReason::Full, &skips);
        assert_eq!(cursor.dropped, Dropped { lag: 3, age: 2, full: 1 });
        assert_eq!((cursor.dropped.total(), cursor.progress.lowest()), (6, 500));
    }

    #[test]
    fn orphans_hold_no_record_back() {
        let orphan = Cursor { is_orphan: true, ..Cursor::new(Progress::new(3)) };
        let mut both = cursors(Cursor::new(Progress::new(7)));
        both.insert("old".to_owned(), orphan.clone());
        assert_eq!(released(&both, 100), Some(7));
        assert_eq!(released(&cursors(orphan), 100), Some(100));
        assert_eq!(released(&Cursors::new(), 100), None);
    }

    #[test]
    fn a_row_that_is_not_what_was_written_says_nothing() {
        let cursor = Cursor::new(Progress::new(4711));
        let state = encode_one(&cursor);
        let row = CursorRow::new("cloud", 5000, &state);
        assert_eq!(row.cursor(), Some(cursor));
        let other = encode_one(&Cursor::new(Progress::new(4712)));
        for wrong in [
            CursorRow { key: "clone", ..row },
            CursorRow { head: 5001, ..row },
            CursorRow { state: &other, ..row },
            CursorRow { crc: row.crc ^ 1, ..row },
        ] {
            assert_eq!(wrong.cursor(), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back(next in 1..u64::MAX, dropped in any::<[u64; 3]>(), routes in any::<u64>(), is_orphan in any::<bool>(), skip in 0..9_u64, mark in any::<Option<[u64; 4]>>()) {
            let mut progress = Progress::new(next);
            prop_assert!(progress.skip_to(next.saturating_add(skip)));
            let [lag, age, full] = dropped;
            let written = cursors(Cursor { progress, dropped: Dropped { lag, age, full }, routes, is_orphan, mark: mark.map(mark_of) });
            prop_assert_eq!(decode(&encode(&written)).unwrap(), written);
        }

        #[test]
        fn any_bytes_are_cursors_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }
}
