//! SenML packs (RFC 8428) as readings.

use proto::senml::{self, Record, TimeSource};
use proto::{Timestamp, Value};

use super::draft::{DecodeError, Draft};

/// The name of a reading whose record has only a base name.
const UNNAMED: &str = "value";

/// Reads a pack whose records without a name are named `value`.
pub(crate) fn decode_pack(pack: &[u8], now: Timestamp) -> Result<Vec<Draft>, DecodeError> {
    decode_pack_named(pack, now, UNNAMED)
}

/// Reads a pack, JSON or CBOR, whose records without a name are `unnamed`: JSON's arrays start with `[` or white space, which CBOR's never do.
pub(super) fn decode_pack_named(
    pack: &[u8],
    now: Timestamp,
    unnamed: &str,
) -> Result<Vec<Draft>, DecodeError> {
    let is_json = matches!(pack.first(), Some(b'[' | b' ' | b'\t' | b'\r' | b'\n'));
    let (expected, records) = match is_json {
        true => ("a SenML pack in JSON", senml::json::decode(pack, now)),
        false => ("a SenML pack in CBOR", senml::cbor::decode(pack, now)),
    };
    let syntax = |error: senml::Error| DecodeError::Syntax { expected, problem: error.to_string() };
    Ok(records.map_err(syntax)?.into_iter().flat_map(|record| drafts(record, unnamed)).collect())
}

/// The base name is the device, the record's name the reading; a sum is a reading of its own,
/// named `{name}.sum`.
fn drafts(record: Record, unnamed: &str) -> impl Iterator<Item = Draft> + use<> {
    let device = record.base_name.trim_end_matches(['/', ':', '.', '-', '_']);
    let device = Some(device.to_owned()).filter(|device| !device.is_empty());
    let name = if record.name.is_empty() { unnamed.to_owned() } else { record.name };
    let time = match record.time_source {
        TimeSource::Absolute | TimeSource::Relative => Some(record.time),
        TimeSource::Now => None,
    };
    // RFC 8428 §4.5.3: a time below 2^28 counts from the arrival.
    let is_relative = record.time_source == TimeSource::Relative;
    let sum = record.sum.map(|sum| (format!("{name}.sum"), None, Value::Number(sum)));
    let value = record.value.map(|value| (name, record.unit, value));
    value.into_iter().chain(sum).map(move |(name, unit, value)| Draft {
        device: device.clone(),
        unit,
        time,
        is_relative,
        ..Draft::new(name, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);

    /// RFC 8428 §5.1.2.
    #[test]
    fn the_base_name_is_the_device() {
        let pack = br#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},
                        {"n":"current","u":"A","v":1.2}]"#;
        let drafts = decode_pack(pack, NOW).unwrap();
        let names: Vec<_> =
            drafts.iter().map(|d| (d.device.as_deref().unwrap(), &*d.name)).collect();
        let device = "urn:dev:ow:10e2073a01080063";
        assert_eq!(names, [(device, "voltage"), (device, "current")]);
        assert_eq!((drafts[0].unit.as_deref(), drafts[0].time), (Some("V"), None));
    }

    #[test]
    fn a_sum_is_a_reading_of_its_own() {
        let drafts = decode_pack(br#"[{"bn":"m1/","n":"power","u":"W","v":5,"s":70.5}]"#, NOW);
        let values: Vec<_> = drafts.unwrap().into_iter().map(|d| (d.name, d.value)).collect();
        let number = |text: &str| Value::Number(text.parse().unwrap());
        let expected =
            [("power".to_owned(), number("5")), ("power.sum".to_owned(), number("70.5"))];
        assert_eq!(values, expected);
    }

    #[test]
    fn what_is_no_pack_is_an_error_that_says_which_kind() {
        for (pack, kind) in [(&b"[{]"[..], "JSON"), (b"\xa1", "CBOR"), (b"", "CBOR")] {
            let error = decode_pack(pack, NOW).unwrap_err().to_string();
            assert!(error.contains(kind), "{error}");
        }
    }
}
