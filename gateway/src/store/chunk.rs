//! What one commit holds, on its way to the disk and back.

use super::record::{self, Names, Record, RecordError};

/// Most records of one commit.
const MAX_RECORDS: usize = 512;
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
        Chunk { base, end, records: self.records, bytes: self.data.len() }
    }
}

/// A committed batch, read back.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Chunk {
    /// Number of the first record.
    pub(crate) base: u64,
    /// One past the number of the last record; more than `records` say where some are damaged.
    pub(crate) end: u64,
    /// The records that could be read, in order.
    pub(crate) records: Vec<Record>,
    /// Bytes on disk.
    pub(crate) bytes: usize,
}

impl Chunk {
    /// Reads the records of a chunk whose checksum was right.
    pub(super) fn decode(base: u64, records: u64, data: &[u8]) -> Result<Self, RecordError> {
        let mut chunk = Self { base, end: base + records, records: Vec::new(), bytes: data.len() };
        let mut names = Names::default();
        let mut rest = data;
        for n in base..chunk.end {
            let (len, after) = rest.split_first_chunk::<LENGTH>().ok_or_else(RecordError::cut)?;
            let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
            let (record, after) = after.split_at_checked(len).ok_or_else(RecordError::cut)?;
            chunk.records.push(record::decode(n, record, &mut names)?);
            rest = after;
        }
        Ok(chunk)
    }

    /// A record alone, which may not be on disk any more.
    pub(crate) fn of(record: Record) -> Self {
        Self { base: record.n, end: record.n + 1, records: vec![record], bytes: 0 }
    }

    /// Whether records are missing.
    pub(super) fn is_damaged(&self) -> bool {
        (self.records.len() as u64) < self.end - self.base
    }

    /// A chunk of which nothing could be read.
    pub(super) fn damaged(base: u64, records: u64) -> Self {
        Self { base, end: base + records, records: Vec::new(), bytes: 0 }
    }
}

/// CRC-32 (ISO-HDLC, the one of zlib) of a chunk's data.
pub(super) fn checksum(data: &[u8]) -> u32 {
    crc32fast::hash(data)
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
    fn a_batch_reads_back_as_the_chunk_it_became() {
        let data = batch(3).data().to_vec();
        assert_eq!(Chunk::decode(40, 3, &data).unwrap(), batch(3).into_chunk(40));
    }

    #[test]
    fn a_chunk_cut_short_is_an_error() {
        let data = batch(2).data().to_vec();
        for end in 0..data.len() {
            assert!(Chunk::decode(1, 2, &data[..end]).is_err(), "{end}");
        }
    }
}
