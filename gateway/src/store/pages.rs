//! The pages of a store file, read without SQLite: <https://www.sqlite.org/fileformat2.html>.
//!
//! SQLite finds rows from the first page down, so that one page that is destroyed hides all below
//! it. Here every page is looked at for itself: a leaf of a table names its rows, and the checksum
//! of a chunk tells whether a row is one that was written. Nothing that is read is trusted: every
//! length is checked, and a chain of pages ends after as many as its row can have.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::cursor::CursorRow;
use super::letter::LetterRow;
use super::rows::{Row, unsigned};
use super::wal::{self, Pages, Wal};

/// Bytes of a page; stores have no other size.
pub(super) const PAGE: usize = 4096;
/// Most bytes of a row; a batch is closed at a small part of it.
const MAX_ROW: usize = 32 * 1024 * 1024;
/// Bytes of the file header, in front of the first page's content (§1.3).
const FILE_HEADER: usize = 100;
/// Kinds of pages (§1.6).
const TABLE_LEAF: u8 = 0x0d;
const INDEX_LEAF: u8 = 0x0a;
/// Bytes of an overflow page that hold content (§1.7).
const OVERFLOW: usize = PAGE - 4;

type Page = [u8; PAGE];

/// A store file with its write-ahead log.
#[derive(Debug)]
pub(super) struct Image {
    file: Option<File>,
    /// Pages in the file; a part of a page at its end does not count.
    pages: u32,
    log: Option<File>,
    frames: Wal,
}

/// Which version of a page counts.
#[derive(Clone, Copy)]
struct View<'a> {
    image: &'a Image,
    newer: &'a Pages,
}

/// A value of a row (§2.1).
#[derive(Clone, Copy, Debug)]
enum Column<'a> {
    Integer(i64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
    Other,
}

/// What a page says of a cursor.
#[derive(Clone, Copy, Debug)]
pub(super) enum FoundCursor<'a> {
    /// A row of the first version, which has no checksum: a broker, and the lowest number that it
    /// has not acknowledged.
    First(&'a str, u64),
    Saved(CursorRow<'a>),
}

impl Image {
    /// Opens the file and its log for reading; one that is not there is empty.
    pub(super) fn open(file: &Path, log: &Path) -> io::Result<Self> {
        let (file, log) = (open(file)?, open(log)?);
        let bytes = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|meta| meta.len()))?;
        let frames = log.as_ref().map(wal::scan).transpose()?.unwrap_or_default();
        Ok(Self {
            file,
            pages: u32::try_from(bytes / PAGE as u64).unwrap_or(u32::MAX),
            log,
            frames,
        })
    }

    /// Gives every intact chunk that any page holds, the committed ones first; some come twice.
    ///
    /// Pages that are free may hold rows that were deleted.
    pub(super) fn chunks<E>(
        &self,
        mut found: impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let committed = View { image: self, newer: &self.frames.committed };
        committed
            .each(committed.numbers(), |page, number| committed.chunks(page, number, &mut found))?;
        self.dropped_chunks(found)
    }

    /// Gives those of them that lie in frames of a broken log.
    pub(super) fn dropped_chunks<E>(
        &self,
        mut found: impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.frames.is_broken {
            return Ok(());
        }
        let all = View { image: self, newer: &self.frames.all };
        // A row may go on in any version of a page.
        for view in [all, View { image: self, newer: &self.frames.committed }] {
            let numbers = self.frames.all.keys().copied();
            all.each(numbers, |page, number| view.chunks(page, number, &mut found))?;
        }
        Ok(())
    }

    /// Gives every intact row of the table of cursors that any page holds.
    pub(super) fn cursors(&self, mut found: impl FnMut(FoundCursor<'_>)) {
        // It never says no.
        let _ = self.newest_payloads(INDEX_LEAF, |_, payload| -> Result<(), ()> {
            columns(payload).as_deref().and_then(cursor_row).into_iter().for_each(&mut found);
            Ok(())
        });
    }

    /// Gives every intact dead letter that any page holds; some come twice, and some were deleted.
    pub(super) fn letters<E>(
        &self,
        mut found: impl FnMut(&LetterRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.newest_payloads(TABLE_LEAF, |id, payload| {
            match columns(payload).and_then(|columns| letter_row(id, &columns)) {
                Some(row) if row.is_intact() => found(&row),
                _ => Ok(()),
            }
        })
    }

    /// Gives the cells of all leaves, in the newest version that there is of each page.
    fn newest_payloads<E>(
        &self,
        kind: u8,
        mut found: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let view = View { image: self, newer: &self.frames.all };
        view.each(view.numbers(), |page, number| view.payloads(page, number, kind, &mut found))
    }
}

impl<'a> View<'a> {
    /// Numbers of all pages.
    fn numbers(self) -> impl Iterator<Item = u32> + use<'a> {
        let pages = self.image.pages;
        (1..=pages).chain(self.newer.range(pages.saturating_add(1)..).map(|(&number, _)| number))
    }

    /// The page, unless it is not there or cannot be read.
    fn read(self, number: u32, page: &mut Page) -> bool {
        let (file, at) = match (self.newer.get(&number), number.checked_sub(1)) {
            (Some(&at), _) => (&self.image.log, at),
            (None, Some(before)) => (&self.image.file, u64::from(before) * PAGE as u64),
            (None, None) => return false,
        };
        file.as_ref().is_some_and(|file| file.read_exact_at(page, at).is_ok())
    }

    fn each<E>(
        self,
        numbers: impl Iterator<Item = u32>,
        mut handle: impl FnMut(&Page, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut page = [0; PAGE];
        for number in numbers {
            if self.read(number, &mut page) {
                handle(&page, number)?;
            }
        }
        Ok(())
    }

    /// The intact chunks of a leaf.
    fn chunks<E>(
        self,
        page: &Page,
        number: u32,
        found: &mut impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.payloads(page, number, TABLE_LEAF, |base, payload| {
            match columns(payload).and_then(|columns| chunk_row(base, &columns)) {
                Some(row) if row.is_intact() => found(&row),
                _ => Ok(()),
            }
        })
    }

    /// The cells of a leaf, as far as they can be read: their numbers and what they hold.
    fn payloads<E>(
        self,
        page: &Page,
        number: u32,
        kind: u8,
        mut found: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for cell in cells(page, number, kind) {
            if let Some(payload) = self.payload(page, &cell) {
                found(cell.row, &payload)?;
            }
        }
        Ok(())
    }

    /// What a cell holds, with what lies on overflow pages (§1.6).
    fn payload(self, page: &Page, cell: &Cell) -> Option<Vec<u8>> {
        let local = page.get(cell.start..cell.start.checked_add(cell.local)?)?;
        let mut payload = local.to_vec();
        let mut next = match cell.local < cell.len {
            true => u32_at(page, cell.start + cell.local)?,
            false => 0,
        };
        let mut overflow = [0; PAGE];
        while payload.len() < cell.len {
            if !self.read(next, &mut overflow) {
                return None;
            }
            let (head, content) = overflow.split_first_chunk::<4>()?;
            next = u32::from_be_bytes(*head);
            payload.extend_from_slice(content.get(..OVERFLOW.min(cell.len - payload.len()))?);
        }
        Some(payload)
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a cell of a leaf has its payload.
struct Cell {
    row: u64,
    start: usize,
    len: usize,
    /// How much of it lies in the page.
    local: usize,
}

/// The cells of a leaf; none where the page is of another kind.
fn cells(page: &Page, number: u32, kind: u8) -> impl Iterator<Item = Cell> {
    let start = if number == 1 { FILE_HEADER } else { 0 };
    let count = match page.get(start) {
        Some(&found) if found == kind => u16_at(page, start + 3).unwrap_or(0),
        _ => 0,
    };
    // §1.6: the array of pointers follows the header of a leaf, which has eight bytes.
    (0..usize::from(count)).filter_map(move |index| {
        let mut at = usize::from(u16_at(page, start + 8 + 2 * index)?);
        let len = usize::try_from(varint(page, &mut at)?).ok().filter(|&len| len <= MAX_ROW)?;
        let row = if kind == TABLE_LEAF { varint(page, &mut at)? } else { 0 };
        Some(Cell { row, start: at, len, local: local_len(len, kind) })
    })
}

/// How much of a payload lies in the leaf itself (§1.6).
const fn local_len(len: usize, kind: u8) -> usize {
    let most = if kind == TABLE_LEAF { PAGE - 35 } else { (PAGE - 12) * 64 / 255 - 23 };
    let least = (PAGE - 12) * 32 / 255 - 23;
    if len <= most {
        return len;
    }
    let even = least + (len - least) % OVERFLOW;
    if even <= most { even } else { least }
}

/// A row of the table `chunk`: `base, n, bytes, t_ms, crc, cursors, data`.
fn chunk_row<'a>(base: u64, columns: &[Column<'a>]) -> Option<Row<'a>> {
    // The first column is the row's own number, which is not repeated.
    let [_, _, _, time, crc, cursors, data] = columns else { return None };
    Some(Row {
        base,
        time_ms: time.integer()?,
        crc: u32::try_from(crc.integer()?).ok()?,
        cursors: cursors.blob()?,
        data: data.blob()?,
    })
}

/// A row of the table `cursor`: `broker, next, dropped, head, state, crc`, or the first three in the
/// first version.
fn cursor_row<'a>(columns: &[Column<'a>]) -> Option<FoundCursor<'a>> {
    match columns {
        [broker, next, Column::Integer(_)] => {
            Some(FoundCursor::First(broker.text()?, unsigned(next.integer()?)))
        }
        [broker, _, _, head, state, crc] => Some(FoundCursor::Saved(CursorRow {
            key: broker.text()?,
            head: unsigned(head.integer()?),
            state: state.blob()?,
            crc: u32::try_from(crc.integer()?).ok()?,
        })),
        _ => None,
    }
}

/// A row of the table `dead`: `id, broker, n, t_ms, reason, detail, topic, bytes, record, crc`.
fn letter_row<'a>(id: u64, columns: &[Column<'a>]) -> Option<LetterRow<'a>> {
    let [_, broker, n, time, reason, detail, topic, _, record, crc] = columns else { return None };
    Some(LetterRow {
        id,
        broker: broker.text()?,
        n: unsigned(n.integer()?),
        time_ms: time.integer()?,
        reason: reason.text()?,
        detail: detail.text()?,
        topic: topic.text()?,
        record: record.blob()?,
        crc: u32::try_from(crc.integer()?).ok()?,
    })
}

impl<'a> Column<'a> {
    const fn integer(self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(value) } else { None }
    }

    fn text(self) -> Option<&'a str> {
        if let Self::Text(bytes) = self { std::str::from_utf8(bytes).ok() } else { None }
    }

    const fn blob(self) -> Option<&'a [u8]> {
        if let Self::Blob(bytes) = self { Some(bytes) } else { None }
    }
}

/// The values of a record (§2.1).
fn columns(payload: &[u8]) -> Option<Vec<Column<'_>>> {
    let mut at = 0;
    let header = usize::try_from(varint(payload, &mut at)?).ok()?;
    let mut content = payload.get(header..)?;
    let mut columns = Vec::new();
    while at < header {
        let kind = varint(payload, &mut at)?;
        let len = match kind {
            0 | 8..=11 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            _ => (kind - 12) / 2,
        };
        let (bytes, rest) = content.split_at_checked(usize::try_from(len).ok()?)?;
        content = rest;
        columns.push(match kind {
            8 | 9 => Column::Integer(i64::from(kind == 9)),
            1..=6 => Column::Integer(integer(bytes)),
            12.. if kind % 2 == 0 => Column::Blob(bytes),
            12.. => Column::Text(bytes),
            _ => Column::Other,
        });
    }
    Some(columns)
}

/// A big-endian integer of up to eight bytes with its sign.
fn integer(bytes: &[u8]) -> i64 {
    let sign = bytes.first().map_or(0, |&first| if first >= 0x80 { -1 } else { 0 });
    bytes.iter().fold(sign, |value, &byte| value << 8 | i64::from(byte))
}

/// Seven bits a byte, the ninth byte has eight (§1.6).
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for index in 0..9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if index == 8 {
            return Some(value << 8 | u64::from(byte));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            break;
        }
    }
    Some(value)
}

fn u16_at(page: &Page, at: usize) -> Option<u16> {
    page.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

fn u32_at(page: &Page, at: usize) -> Option<u32> {
    page.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}
