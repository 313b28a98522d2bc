//! What one commit holds, on its way to the disk and back.

use std::fmt;

use super::record::{self, Names, Record, RecordError};

/// Most records of one commit.
pub(super) const MAX_RECORDS: usize = 512;
/// A commit is closed when it has reached this many bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Bytes in front of each record.
const LENGTH: usize = 4;

/// Records that are committed together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Without their numbers, which the commit gives them.
    records: Vec<Record>,
    data: Vec<u8>,
}

impl Batch {
    /// Adds a record; its number is ignored.
    pub(crate) fn push(&mut self, record: Record) {
        let start = self.data.len();
        self.data.extend_from_slice(&[0; LENGTH]);
        record::encode(&mut self.data, &record);
        let len = u32::try_from(self.data.len() - start - LENGTH).unwrap_or(u32::MAX);
        if let Some(prefix) = self.data.get_mut(start..start + LENGTH) {
            prefix.copy_from_slice(&len.to_le_bytes());
        }
        // Most commits of a gateway that is not busy have one record, and stay in memory for a while.
        if self.records.is_empty() {
            self.records.reserve_exact(1);
        }
        self.records.push(record);
    }

    /// Whether the batch should be committed before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= MAX_RECORDS || self.data.len() >= MAX_BYTES
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// The bytes that go to disk.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// The chunk that this batch has become, once it is committed under `base`.
    pub(super) fn into_chunk(mut self, base: u64) -> Chunk {
        let end = base + self.len();
        for (record, n) in self.records.iter_mut().zip(base..) {
            record.n = n;
        }
        self.records.shrink_to_fit();
        Chunk { base, end, records: self.records, bytes: self.data.len(), damage: None }
    }
}

/// A committed batch, read back; or numbers whose records cannot be read.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Chunk {
    /// Number of the first record.
    pub(crate) base: u64,
    /// One past the number of the last record.
    pub(crate) end: u64,
    /// The records, in order: all of them, or none where there is damage or numbers are skipped.
    pub(crate) records: Vec<Record>,
    /// Bytes on disk.
    pub(crate) bytes: usize,
    /// Why they cannot be read.
    pub(crate) damage: Option<Damage>,
}

/// Why the records of some numbers cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// No chunk has them: they were released and deleted, or lost.
    Missing,
    /// The chunk is not the one that was written.
    Checksum,
    /// The chunk was written, and is none that this version understands.
    Records,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Checksum => "its checksum is wrong",
            Self::Records => "its records cannot be decoded",
        })
    }
}

impl Chunk {
    /// Reads the records of a chunk whose checksum was right.
    pub(super) fn decode(base: u64, data: &[u8]) -> Result<Self, RecordError> {
        let mut records = Vec::new();
        let mut names = Names::default();
        let mut rest = data;
        for n in base.. {
            if rest.is_empty() {
                break;
            }
            let (len, after) = rest.split_first_chunk::<LENGTH>().ok_or_else(RecordError::cut)?;
            let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
            let (record, after) = after.split_at_checked(len).ok_or_else(RecordError::cut)?;
            records.push(record::decode(n, record, &mut names)?);
            rest = after;
        }
        let end = base.saturating_add(records.len() as u64);
        Ok(Self { base, end, records, bytes: data.len(), damage: None })
    }

    /// A record alone, which may not be on disk any more.
    pub(crate) fn of(record: Record) -> Self {
        Self { base: record.n, end: record.n + 1, records: vec![record], bytes: 0, damage: None }
    }

    /// About how many bytes of memory it takes: its text is about as long as it is on disk.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.records.capacity() * size_of::<Record>() + self.bytes
    }

    /// Numbers that no record has, or none that can be read.
    pub(super) const fn without_records(base: u64, end: u64, damage: Option<Damage>) -> Self {
        Self { base, end, records: Vec::new(), bytes: 0, damage }
    }
}

/// CRC-32 (ISO-HDLC, the one of zlib) of what a chunk's row says: its number, because the file
/// could give the records of another; the cursors, because a wrong one would skip records; the data.
pub(super) fn checksum(base: u64, cursors: &[u8], data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&base.to_le_bytes());
    hasher.update(&(cursors.len() as u64).to_le_bytes());
    hasher.update(cursors);
    hasher.update(data);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::record;

    fn batch(records: u64) -> Batch {
        let mut batch = Batch::default();
        for n in 0..records {
            batch.push(record("d", n));
        }
        batch
    }

    #[test]
    fn a_commit_in_memory_takes_no_more_than_its_records() {
        for records in [1, 3, 100] {
            let batch = batch(records);
            let text = batch.data().len();
            let chunk = batch.into_chunk(1);
            let records = usize::try_from(records).unwrap();
            let most = size_of::<Chunk>() + records * size_of::<Record>() + text;
            assert!(chunk.footprint() <= most, "{records}: {}", chunk.footprint());
        }
    }

    #[test]
    fn a_batch_reads_back_as_the_chunk_it_became() {
        let data = batch(3).data().to_vec();
        assert_eq!(Chunk::decode(40, &data).unwrap(), batch(3).into_chunk(40));
    }

    #[test]
    fn a_chunk_cut_within_a_record_is_an_error() {
        let data = batch(2).data().to_vec();
        let between = data.len() / 2;
        for end in (1..data.len()).filter(|&end| end != between) {
            assert!(Chunk::decode(1, &data[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn the_checksum_tells_number_cursors_and_data_apart() {
        let sum = checksum(7, b"ab", b"cd");
        for other in
            [checksum(8, b"ab", b"cd"), checksum(7, b"a", b"bcd"), checksum(7, b"ab", b"ce")]
        {
            assert_ne!(other, sum);
        }
    }
}
