//! Columns of CSV files, for signals that repeat what was recorded.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use csv_core::{ReadRecordResult, Reader};

/// The largest file.
const MAX_BYTES: u64 = 64 << 20;
/// The most values.
const MAX_VALUES: usize = 1_000_000;
/// The longest line, and the most columns.
const MAX_LINE: usize = 64 << 10;
const MAX_COLUMNS: usize = 4096;

/// Why there is nothing to replay.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordedError {
    #[error("cannot read the file: {}", crate::settings::report::reason(.0))]
    Read(#[from] io::Error),
    #[error("the file is larger than 64 MiB")]
    Large,
    #[error("the file has more than {MAX_VALUES} lines")]
    Long,
    #[error("line {0} is longer than 64 KiB, or has more than {MAX_COLUMNS} columns")]
    Line(usize),
    #[error("there is no column `{column}`; the columns are {}", .known.join(", "))]
    Column { column: String, known: Vec<String> },
    #[error("line {line} has no number in the column: `{found}`")]
    Number { line: usize, found: String },
    #[error("there are no values")]
    Empty,
}

/// The values of a column of a file whose first line names its columns.
pub(super) fn read(path: &Path, column: &str) -> Result<Vec<f64>, RecordedError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(RecordedError::Large);
    }
    values(&bytes, column)
}

fn values(bytes: &[u8], column: &str) -> Result<Vec<f64>, RecordedError> {
    let mut lines = Lines::new(bytes);
    let header = lines.next().ok_or(RecordedError::Empty)??;
    let Some(index) = header.iter().position(|name| name.trim() == column) else {
        return Err(RecordedError::Column { column: column.to_owned(), known: header });
    };
    let mut values = Vec::new();
    while let Some(line) = lines.next() {
        let line = line?;
        let text = line.get(index).map(|text| text.trim()).unwrap_or_default();
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        let number = number
            .ok_or_else(|| RecordedError::Number { line: lines.number, found: text.to_owned() })?;
        if values.len() == MAX_VALUES {
            return Err(RecordedError::Long);
        }
        values.push(number);
    }
    if values.is_empty() { Err(RecordedError::Empty) } else { Ok(values) }
}

/// The lines of a file, cut into columns.
struct Lines<'a> {
    reader: Reader,
    rest: &'a [u8],
    line: Vec<u8>,
    ends: Vec<usize>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (line, ends) = (vec![0; MAX_LINE], vec![0; MAX_COLUMNS]);
        Self { reader: Reader::new(), rest: bytes, line, ends, number: 0 }
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Vec<String>, RecordedError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut written, mut columns) = (0, 0);
        loop {
            let line = self.line.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(columns..).unwrap_or_default();
            let (result, read, wrote, ended) = self.reader.read_record(self.rest, line, ends);
            self.rest = self.rest.get(read..).unwrap_or_default();
            (written, columns) = (written + wrote, columns + ended);
            match result {
                // The end of the file is told with an empty input.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Some(Err(RecordedError::Line(self.number + 1)));
                }
                ReadRecordResult::End => return None,
                ReadRecordResult::Record => {
                    self.number += 1;
                    let mut start = 0;
                    let ends = self.ends.get(..columns).unwrap_or_default();
                    let cut = |end: &usize| {
                        let field = self.line.get(start..*end).unwrap_or_default();
                        start = *end;
                        String::from_utf8_lossy(field).into_owned()
                    };
                    return Some(Ok(ends.iter().map(cut).collect()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_found_by_its_name() {
        let file = b"time,w, v\n1,\"20.5\",230\n2,-3,231\r\n3,4e1,232";
        assert_eq!(values(file, "w").unwrap(), [20.5, -3.0, 40.0]);
        assert_eq!(values(file, "v").unwrap(), [230.0, 231.0, 232.0]);
    }

    #[test]
    fn mistakes_say_where() {
        let error = |file: &[u8], column| values(file, column).unwrap_err().to_string();
        assert_eq!(error(b"a,b\n1,2\n", "c"), "there is no column `c`; the columns are a, b");
        assert_eq!(error(b"a,b\n1,2\n3\n", "b"), "line 3 has no number in the column: ``");
        assert_eq!(error(b"a,b\n1,NaN\n", "b"), "line 2 has no number in the column: `NaN`");
        assert_eq!(error(b"a,b\n", "b"), "there are no values");
        assert_eq!(error(b"", "b"), "there are no values");
        let long = [b"a\n".to_vec(), vec![b'1'; MAX_LINE + 1]].concat();
        assert!(error(&long, "a").starts_with("line 2 is longer"), "{}", error(&long, "a"));
    }
}
