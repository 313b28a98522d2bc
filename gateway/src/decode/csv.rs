//! Columns with a separator (RFC 4180).

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use proto::Value;

use super::draft::{DecodeError, Draft, Identity};
use super::keyvalue::IdentityKeys;
use super::scalar::parse_value;
use crate::config::CsvDecode;

/// The name of a column that is left out.
const SKIPPED: &str = "_";

/// One line is one record; an empty cell is no reading.
#[derive(Debug)]
pub(crate) struct CsvDecoder {
    columns: Vec<String>,
    keys: IdentityKeys,
    separator: u8,
}

impl CsvDecoder {
    pub(super) fn new(config: &CsvDecode) -> Self {
        let CsvDecode { columns, separator, device, time, time_unit, seq, epoch } = config.clone();
        let keys = IdentityKeys { device, time, time_unit, seq, epoch };
        Self { columns, keys, separator: u8::try_from(separator).unwrap_or(b',') }
    }

    pub(super) fn decode(&self, frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
        let text = std::str::from_utf8(frame).map_err(|_| DecodeError::NotText)?;
        let cells = self.cells(text);
        if cells.len() != self.columns.len() {
            let (found, expected) = (cells.len(), self.columns.len());
            return Err(DecodeError::Columns { found, expected });
        }
        let mut identity = Identity::default();
        let mut values: Vec<(&str, Value)> = Vec::new();
        for (column, cell) in self.columns.iter().zip(&cells) {
            let cell = cell.trim();
            let is_known = column == SKIPPED
                || cell.is_empty()
                || self.keys.take(&mut identity, column, cell)?;
            if !is_known {
                values.push((column, parse_value(cell)));
            }
        }
        Ok(values.into_iter().map(|(name, value)| identity.draft(name, value)).collect())
    }

    fn cells(&self, line: &str) -> Vec<String> {
        let mut reader: Reader = ReaderBuilder::new().delimiter(self.separator).build();
        // A cell is never longer than what it is read from, and there are fewer than bytes.
        let mut text = vec![0; line.len() + 1];
        let mut ends = vec![0; line.len() + 2];
        let (mut read, mut written, mut cells) = (0, 0, 0);
        loop {
            let input = line.as_bytes().get(read..).unwrap_or_default();
            let output = text.get_mut(written..).unwrap_or_default();
            let bounds = ends.get_mut(cells..).unwrap_or_default();
            let (result, n_in, n_out, n_ends) = reader.read_record(input, output, bounds);
            read += n_in;
            written += n_out;
            cells += n_ends;
            // Empty input tells the reader that the line has ended.
            if !matches!(result, ReadRecordResult::InputEmpty) {
                break;
            }
        }
        let mut start = 0;
        let cell = |&end: &usize| {
            let bytes = text.get(start..end).unwrap_or_default();
            start = end;
            String::from_utf8_lossy(bytes).into_owned()
        };
        ends.get(..cells).unwrap_or_default().iter().map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(columns: &[&str], separator: char) -> CsvDecoder {
        CsvDecoder::new(&CsvDecode {
            columns: columns.iter().map(|&c| c.to_owned()).collect(),
            separator,
            device: Some("id".to_owned()),
            time: None,
            time_unit: Default::default(),
            seq: None,
            epoch: None,
        })
    }

    fn values(decoder: &CsvDecoder, line: &str) -> Vec<(String, String)> {
        let drafts = decoder.decode(line.as_bytes()).unwrap();
        let text = |value: Value| match value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Boolean(_) | Value::Bytes(_) => panic!("not in these lines"),
        };
        drafts.into_iter().map(|d| (d.name, text(d.value))).collect()
    }

    #[test]
    fn columns_are_readings_by_name() {
        let decoder = decoder(&["id", "t", "_", "h"], ';');
        let line = "th-1; 21.50;ignored;\"a;b\"";
        let expected = [("t".to_owned(), "21.50".to_owned()), ("h".to_owned(), "a;b".to_owned())];
        assert_eq!(values(&decoder, line), expected);
        assert_eq!(decoder.decode(b"th-1;1;;").unwrap()[0].device.as_deref(), Some("th-1"));
        assert_eq!(values(&decoder, "th-1;;;"), []);
    }

    #[test]
    fn another_number_of_columns_is_refused() {
        let decoder = decoder(&["id", "t"], ',');
        for (line, found) in [("a", 1), ("a,1,2", 3)] {
            let error = DecodeError::Columns { found, expected: 2 };
            assert_eq!(decoder.decode(line.as_bytes()), Err(error), "{line}");
        }
    }

    /// NMEA 0183, the usual example of a GGA sentence.
    #[test]
    fn an_nmea_sentence_is_columns() {
        let columns = ["_", "utc", "lat", "_", "lon", "_", "fix", "satellites", "hdop", "altitude"];
        let decoder = decoder(&[&columns[..], &["_"; 5]].concat(), ',');
        let line = "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47";
        let values = values(&decoder, line);
        assert!(values.contains(&("satellites".to_owned(), "8".to_owned())), "{values:?}");
        assert!(values.contains(&("altitude".to_owned(), "545.4".to_owned())), "{values:?}");
    }
}
