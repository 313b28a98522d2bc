//! What the store keeps of one lane of a broker.

use std::collections::BTreeMap;

use minicbor::data::Type;
use minicbor::decode::{Decode, Decoder};
use minicbor::encode::{Encode, Encoder, Write};
use serde::Serialize;

use super::Progress;

/// The cursors of all lanes, by the lane's key.
pub(super) type Cursors = BTreeMap<String, Cursor>;

/// How far a lane is, and what it missed.
///
/// As CBOR it is the progress alone where nothing was dropped and the routes have no fingerprint,
/// else the map `{0: progress, 1: [lag, age, full], 2: routes}`; a reader skips other keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cursor {
    pub(crate) progress: Progress,
    pub(crate) dropped: Dropped,
    /// Fingerprint of the routes that the progress was made under.
    pub(crate) routes: u64,
}

/// Readings that were dropped for a lane before it acknowledged them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
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
        Self { progress, dropped: Dropped::default(), routes: 0 }
    }

    /// Drops what is pending below `floor`; how many records that were.
    pub(super) fn drop_below(&mut self, floor: u64, reason: DropReason) -> u64 {
        let count = self.progress.drop_below(floor);
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
        if self.dropped == Dropped::default() && self.routes == 0 {
            return self.progress.encode(e, context);
        }
        let Dropped { lag, age, full } = self.dropped;
        e.map(3)?.u8(0)?.encode(&self.progress)?;
        e.u8(1)?.encode([lag, age, full])?;
        e.u8(2)?.u64(self.routes)?.ok()
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
        let (mut progress, mut dropped, mut routes) = (None, Dropped::default(), 0);
        for _ in 0..len {
            match d.u64()? {
                0 => progress = Some(d.decode()?),
                1 => {
                    let [lag, age, full] = d.decode()?;
                    dropped = Dropped { lag, age, full };
                }
                2 => routes = d.u64()?,
                _ => d.skip()?,
            }
        }
        let progress = progress.ok_or_else(|| minicbor::decode::Error::missing_value(0))?;
        Ok(Self { progress, dropped, routes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert_eq!(cursor.drop_below(4, DropReason::Lag), 3);
        assert_eq!(cursor.drop_below(4, DropReason::Full), 0);
        cursor.drop_below(6, DropReason::Age);
        cursor.drop_below(7, DropReason::Full);
        assert_eq!(cursor.dropped, Dropped { lag: 3, age: 2, full: 1 });
        assert_eq!((cursor.dropped.total(), cursor.progress.lowest()), (6, 7));
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back(next in 1..u64::MAX, dropped in any::<[u64; 3]>(), routes in any::<u64>(), skip in 0..9_u64) {
            let mut progress = Progress::new(next);
            prop_assert!(progress.skip_to(next.saturating_add(skip)));
            let [lag, age, full] = dropped;
            let written = cursors(Cursor { progress, dropped: Dropped { lag, age, full }, routes });
            prop_assert_eq!(decode(&encode(&written)).unwrap(), written);
        }

        #[test]
        fn any_bytes_are_cursors_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }
}
