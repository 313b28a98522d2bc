//! SQLite's write-ahead log, read without SQLite: <https://www.sqlite.org/fileformat2.html> §4.
//!
//! SQLite takes the log up to the first frame whose checksum is wrong and drops the rest without a
//! word, because that is what a commit looks like that a power cut has torn. Where a block in the
//! middle is destroyed, what is dropped was acknowledged. This reader tells what lies behind.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};

use super::pages::PAGE;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Bytes of a frame.
const FRAME: usize = FRAME_HEADER + PAGE;
/// §4.1: the lowest bit says that checksums are made of big-endian words.
const MAGIC: u32 = 0x377f_0682;

/// Where the newest version of each page lies in the file, by number of the page.
pub(super) type Pages = BTreeMap<u32, u64>;

/// What a write-ahead log holds.
#[derive(Debug, Default)]
pub(super) struct Wal {
    /// What SQLite takes: frames up to the last commit before the first wrong one.
    pub(super) committed: Pages,
    /// Every frame of the same generation, also behind a wrong one.
    pub(super) all: Pages,
    /// Whether there are frames that SQLite does not take.
    pub(super) is_broken: bool,
}

/// Reads a log; one that is empty or of another page size holds nothing.
pub(super) fn scan(file: &File) -> io::Result<Wal> {
    let mut reader = BufReader::with_capacity(64 * FRAME, file);
    let mut header = [0; HEADER];
    if !fill(&mut reader, &mut header)? {
        return Ok(Wal::default());
    }
    let mut chain = Chain::of(&header);
    let mut wal = Wal::default();
    let mut salts = chain.as_ref().map(|chain| chain.salts);
    let (mut pending, mut previous) = (Vec::new(), None);
    let mut frame = [0; FRAME];
    let mut offset = HEADER as u64;
    while fill(&mut reader, &mut frame)? {
        let (head, page) = frame.split_at(FRAME_HEADER);
        let (number, size, frame_salts) = (word(head, 0), word(head, 4), salts_at(head, 8));
        let at = offset + FRAME_HEADER as u64;
        offset += FRAME as u64;
        if chain.as_mut().is_some_and(|chain| chain.follows(head, page)) {
            pending.push((number, at));
            wal.all.insert(number, at);
            // §4.2: a frame with the size of the database ends a commit.
            if size > 0 {
                wal.committed.extend(pending.drain(..));
            }
            continue;
        }
        chain = None;
        // Without a header the generation is that of the first frames that agree.
        if salts.is_none() && previous == Some(frame_salts) && frame_salts != (0, 0) {
            salts = previous;
        }
        previous = Some(frame_salts);
        if salts == Some(frame_salts) && number > 0 {
            wal.all.insert(number, at);
            wal.is_broken = true;
        }
    }
    Ok(wal)
}

/// The running checksum of the frames (§4.1).
struct Chain {
    is_big_endian: bool,
    salts: (u32, u32),
    sum: (u32, u32),
}

impl Chain {
    /// Begins with the header, where it is one.
    fn of(header: &[u8]) -> Option<Self> {
        let magic = word(header, 0);
        let page_size = word(header, 8);
        let mut chain =
            Self { is_big_endian: magic & 1 == 1, salts: salts_at(header, 16), sum: (0, 0) };
        chain.add(header.get(..24)?);
        let is_header = magic & !1 == MAGIC
            && usize::try_from(page_size) == Ok(PAGE)
            && chain.sum == salts_at(header, 24);
        is_header.then_some(chain)
    }

    /// Whether a frame is the next one.
    fn follows(&mut self, head: &[u8], page: &[u8]) -> bool {
        self.add(head.get(..8).unwrap_or_default());
        self.add(page);
        self.salts == salts_at(head, 8) && self.sum == salts_at(head, 16) && word(head, 0) > 0
    }

    fn add(&mut self, bytes: &[u8]) {
        let (mut a, mut b) = self.sum;
        let word = |bytes: [u8; 4]| match self.is_big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        };
        for pair in bytes.as_chunks::<4>().0.as_chunks::<2>().0 {
            let [first, second] = *pair;
            a = a.wrapping_add(word(first)).wrapping_add(b);
            b = b.wrapping_add(word(second)).wrapping_add(a);
        }
        self.sum = (a, b);
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    word.copied().map_or(0, u32::from_be_bytes)
}

fn salts_at(bytes: &[u8], at: usize) -> (u32, u32) {
    (word(bytes, at), word(bytes, at + 4))
}

/// Fills the buffer; `false` where the file ends before.
fn fill(reader: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
