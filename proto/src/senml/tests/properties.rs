//! Whatever is written reads back, and whatever is read does not panic.

use core::time::Duration;

use proptest::prelude::*;

use super::super::MAX_DEPTH;
use super::*;

fn numbers() -> impl Strategy<Value = Number> {
    let decimals = (-(10_i128.pow(38) - 1)..10_i128.pow(38), -60..=60)
        .prop_map(|(mantissa, exponent)| Number::from_decimal(mantissa, exponent).unwrap());
    let small = (any::<i32>(), -6..=3)
        .prop_map(|(mantissa, exponent)| Number::from_decimal(mantissa.into(), exponent).unwrap());
    let floats = prop_oneof![
        (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO)
            .prop_map(|double| Number::from_f64(double).unwrap()),
        prop::num::f32::NORMAL.prop_map(|single| Number::from_f64(single.into()).unwrap()),
        prop::num::f32::NORMAL.prop_map(|single| Number::from_f32(single).unwrap()),
    ];
    // As it reads back: 5e1 is written 50.
    prop_oneof![small, decimals, floats].prop_map(|number| {
        let read: Number = number.to_string().parse().unwrap();
        assert_eq!(read.as_f64(), number.as_f64());
        read
    })
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        numbers().prop_map(Value::Number),
        ".{0,12}".prop_map(Value::Text),
        any::<bool>().prop_map(Value::Boolean),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Value::Bytes),
    ]
}

fn times() -> impl Strategy<Value = Timestamp> {
    const FIRST: i64 = 268_435_456_000_000_000;
    prop_oneof![
        FIRST..=i64::MAX,
        (FIRST / 1_000_000..9_000_000_000_000).prop_map(|ms| ms * 1_000_000)
    ]
    .prop_map(Timestamp::from_nanos)
}

prop_compose! {
    fn any_record()(
        base_name in "([a-c][a-zA-Z0-9:./_-]{0,3})?",
        name in "[a-zA-Z0-9][a-zA-Z0-9:./_-]{0,8}",
        unit in prop::option::of("[A-Za-z/%0-9]{1,3}"),
        value in prop::option::of(values()),
        sum in prop::option::of(numbers()),
        time in times(),
        update_time in prop::option::of(any::<u64>().prop_map(Duration::from_nanos)),
    ) -> Record {
        let sum = if value.is_none() { sum.or(Some(Number::from(1_u8))) } else { sum };
        Record {
            base_name, name, unit, value, sum, time, update_time,
            time_source: TimeSource::Absolute,
        }
    }
}

/// Records in chronological order, as decoding gives them.
fn any_records() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(any_record(), 1..8).prop_map(|mut records| {
        records.sort_by_key(|record| record.time);
        records
    })
}

/// The record with its numbers as doubles, which is what CBOR keeps of them.
fn as_doubles(record: &Record) -> (Record, Option<f64>, Option<f64>) {
    let mut rest = record.clone();
    let sum = rest.sum.take().map(Number::as_f64);
    let value = match &rest.value {
        Some(Value::Number(number)) => {
            let value = number.as_f64();
            rest.value = None;
            Some(value)
        }
        Some(Value::Text(_) | Value::Boolean(_) | Value::Bytes(_)) | None => None,
    };
    (rest, value, sum)
}

/// Pieces of packs, so that random sequences of them get deep into the decoders.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(
        &[
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "\"",
            "\"bn\":",
            "\"bt\":",
            "\"bu\":",
            "\"bv\":",
            "\"bs\":",
            "\"bver\":",
            "\"n\":",
            "\"u\":",
            "\"v\":",
            "\"vs\":",
            "\"vb\":",
            "\"vd\":",
            "\"s\":",
            "\"t\":",
            "\"ut\":",
            "\"x\":",
            "\"x_\":",
            "\"a\"",
            "\"\"",
            "\"\\ud800\"",
            "1",
            "-5",
            "1e308",
            "1e-308",
            "1e999",
            "0.1",
            "268435456",
            "9223372036.854775807",
            "10",
            "true",
            "null",
            " ",
            "[{\"n\":\"a\",\"v\":",
            "},{\"n\":\"a\",\"v\":",
            "}]",
        ][..],
    );
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Bytes that CBOR packs are made of, more often than others.
fn cbor_bytes() -> impl Strategy<Value = Vec<u8>> {
    let frequent = prop::sample::select(
        &[
            0x00_u8, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x20, 0x21, 0x22, 0x23, 0x24,
            0x25, 0x61, 0x78, 0x81, 0x82, 0x9f, 0xa1, 0xa2, 0xbf, 0xc2, 0xc3, 0xc4, 0x40, 0x42,
            0x5f, 0x7f, 0xf4, 0xf5, 0xf6, 0xf9, 0xfa, 0xfb, 0xff, 0x1b, 0x3b, 0x5b,
        ][..],
    );
    prop::collection::vec(prop_oneof![4 => frequent, 1 => any::<u8>()], 0..48)
}

/// The value as a text: zeros at the end of a large number are written out, and are digits then.
fn written(record: &Record) -> String {
    match &record.value {
        Some(Value::Number(number)) => number.to_string(),
        value => alloc::format!("{value:?}"),
    }
}

#[test]
fn a_large_float_keeps_its_value_on_the_way_through_json() {
    let pack = [0x81, 0xa2, 0x00, 0x61, 0x61, 0x02, 0xfa, 0x61, 0x00, 0x00, 0x00];
    let records = cbor::decode(&pack, NOW).unwrap();
    let again = json::decode(json::encode(&records).as_bytes(), NOW).unwrap();
    assert_eq!(written(&records[0]), "147573952589676410000");
    assert_eq!(written(&again[0]), written(&records[0]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn json_reads_back_what_it_writes(records in any_records()) {
        let pack = json::encode(&records);
        prop_assert_eq!(json::decode(pack.as_bytes(), NOW).unwrap(), records);
    }

    #[test]
    fn cbor_reads_back_what_it_writes_to_the_double(records in any_records()) {
        let read = cbor::decode(&cbor::encode(&records), NOW).unwrap();
        let as_doubles = |records: &[Record]| records.iter().map(as_doubles).collect::<Vec<_>>();
        prop_assert_eq!(as_doubles(&read), as_doubles(&records));
    }

    #[test]
    fn cbor_and_json_of_the_same_records_agree(records in any_records()) {
        let from_json = json::decode(json::encode(&records).as_bytes(), NOW).unwrap();
        let from_cbor = cbor::decode(&cbor::encode(&from_json), NOW).unwrap();
        prop_assert_eq!(
            from_cbor.iter().map(as_doubles).collect::<Vec<_>>(),
            from_json.iter().map(as_doubles).collect::<Vec<_>>()
        );
    }

    #[test]
    fn packs_are_valid_json_of_what_was_meant(records in any_records()) {
        let pack: serde_json::Value = serde_json::from_str(&json::encode(&records)).unwrap();
        prop_assert_eq!(pack.as_array().unwrap().len(), records.len());
    }

    #[test]
    fn every_truncation_is_an_error(records in any_records(), at in any::<prop::sample::Index>()) {
        let pack = json::encode(&records);
        prop_assert!(json::decode(&pack.as_bytes()[..at.index(pack.len())], NOW).is_err());
        let pack = cbor::encode(&records);
        prop_assert!(cbor::decode(&pack[..at.index(pack.len())], NOW).is_err());
    }

    #[test]
    fn any_records_whatsoever_can_be_written(
        mut records in any_records(), nanos in any::<i64>(), mantissa in any::<i128>(), exponent in -400..=400,
    ) {
        records[0].time = Timestamp::from_nanos(nanos);
        records[0].sum = Number::from_decimal(mantissa, exponent);
        records[0].update_time = Some(Duration::MAX);
        records[0].name = "\u{0}".to_string();
        let _ = (json::encode(&records), cbor::encode(&records));
    }

    #[test]
    fn any_bytes_are_records_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64), now in any::<i64>()) {
        let now = Timestamp::from_nanos(now);
        let _ = (json::decode(&bytes, now), cbor::decode(&bytes, now));
    }

    #[test]
    fn any_pieces_of_json_are_records_or_an_error(text in pieces(), now in any::<i64>()) {
        if let Ok(records) = json::decode(text.as_bytes(), Timestamp::from_nanos(now)) {
            prop_assert!(records.is_sorted_by_key(|record| record.time));
        }
    }

    #[test]
    fn any_pieces_of_cbor_are_records_or_an_error(bytes in cbor_bytes(), now in any::<i64>()) {
        if let Ok(records) = cbor::decode(&bytes, Timestamp::from_nanos(now)) {
            prop_assert!(records.is_sorted_by_key(|record| record.time));
        }
    }

    #[test]
    fn any_number_in_cbor_is_read_or_refused(bytes in cbor_bytes()) {
        let pack = [&[0x81, 0xa2, 0x00, 0x61, 0x61, 0x02], bytes.as_slice()].concat();
        if let Ok(records) = cbor::decode(&pack, NOW) {
            // What was read can be written in both formats and read again.
            let again = json::decode(json::encode(&records).as_bytes(), NOW).unwrap();
            prop_assert_eq!(written(&again[0]), written(&records[0]));
            let again = cbor::decode(&cbor::encode(&records), NOW).unwrap();
            prop_assert_eq!(as_doubles(&again[0]).1, as_doubles(&records[0]).1);
        }
    }

    #[test]
    fn nesting_is_refused_exactly_beyond_the_limit(levels in 0..2 * MAX_DEPTH) {
        let text = alloc::format!(
            r#"[{{"n":"a","v":1,"x":{}1{}}}]"#,
            r#"{"y":"#.repeat(levels),
            "}".repeat(levels)
        );
        prop_assert_eq!(json::decode(text.as_bytes(), NOW).is_ok(), levels <= MAX_DEPTH);
    }
}
