//! What packs look like that are written here.

use core::slice;
use core::time::Duration;

use super::*;

const T: i64 = 1_276_020_076_001_000_000;

fn measured(name: &str, value: Value, nanos: i64) -> Record {
    Record {
        base_name: "d/".to_string(),
        name: name.to_string(),
        unit: None,
        value: Some(value),
        sum: None,
        time: Timestamp::from_nanos(nanos),
        time_source: TimeSource::Absolute,
        update_time: None,
    }
}

fn one(value: Value) -> Record {
    measured("a", value, T)
}

fn decimal(text: &str) -> Value {
    Value::Number(number(text))
}

/// The CBOR of the value of a record, which is the last field.
fn value_in_cbor(value: Value) -> Vec<u8> {
    let prefix = cbor::encode(&[one(Value::Boolean(true))]).len() - 1;
    let pack = cbor::encode(&[one(value)]);
    pack[prefix..].to_vec()
}

#[test]
fn a_single_record_carries_its_time_itself() {
    let record = Record {
        unit: Some("Cel".to_string()),
        sum: Some(number("7.0")),
        update_time: Some(Duration::from_millis(1500)),
        ..one(decimal("21.50"))
    };
    assert_eq!(
        json::encode(slice::from_ref(&record)),
        r#"[{"bn":"d/","n":"a","u":"Cel","t":1276020076.001,"v":21.50,"s":7.0,"ut":1.5}]"#
    );
    assert_eq!(
        cbor::encode(&[record]),
        bytes(
            "81 a7 21 62 642f 00 61 61 01 63 43656c 06 fb 41d303a15b001062 02 f9 4d60 05 07
             07 f9 3e00"
        )
    );
}

#[test]
fn a_base_name_is_written_when_it_changes() {
    let named = |base: &str| Record { base_name: base.to_string(), ..one(decimal("1")) };
    let records = ["", "d/", "d/", "", "e/"].map(named);
    assert_eq!(
        json::encode(&records),
        r#"[{"bt":1276020076.001,"n":"a","v":1},{"bn":"d/","n":"a","v":1},{"n":"a","v":1},{"bn":"","n":"a","v":1},{"bn":"e/","n":"a","v":1}]"#
    );
}

#[test]
fn an_empty_name_is_left_out() {
    let record = Record { name: String::new(), ..one(decimal("1")) };
    assert_eq!(json::encode(&[record]), r#"[{"bn":"d/","t":1276020076.001,"v":1}]"#);
}

#[test]
fn a_unit_that_all_records_share_is_the_base_unit() {
    let with = |unit: Option<&str>| Record {
        unit: unit.map(str::to_string),
        ..measured("a", decimal("1"), T)
    };
    assert_eq!(
        json::encode(&[with(Some("V")), with(Some("V"))]),
        r#"[{"bn":"d/","bt":1276020076.001,"bu":"V","n":"a","v":1},{"n":"a","v":1}]"#
    );
    assert_eq!(
        json::encode(&[with(Some("V")), with(None)]),
        r#"[{"bn":"d/","bt":1276020076.001,"n":"a","u":"V","v":1},{"n":"a","v":1}]"#
    );
    assert_eq!(
        json::encode(&[with(None), with(None)]),
        r#"[{"bn":"d/","bt":1276020076.001,"n":"a","v":1},{"n":"a","v":1}]"#
    );
}

#[test]
fn an_empty_unit_is_left_out() {
    let record = Record { unit: Some(String::new()), ..one(decimal("1")) };
    let pack = json::encode(&[record.clone(), record]);
    assert!(!pack.contains('u'), "{pack}");
}

#[test]
fn times_are_exact_to_the_nanosecond_in_both_formats() {
    for nanos in
        [T, T + 1, 268_435_456_000_000_000, i64::MAX, i64::MAX - 999, 1_700_000_000_000_000_000]
    {
        let records = [measured("a", decimal("1"), nanos)];
        assert_eq!(json::decode(json::encode(&records).as_bytes(), NOW).unwrap(), records);
        assert_eq!(cbor::decode(&cbor::encode(&records), NOW).unwrap(), records);
    }
    assert_eq!(
        json::encode(&[measured("a", decimal("1"), T + 1)]),
        r#"[{"bn":"d/","n":"a","t":1276020076.001000001,"v":1}]"#
    );
}

#[test]
fn a_time_that_a_double_would_round_is_a_decimal_fraction() {
    assert_eq!(
        cbor::encode(&[measured("a", decimal("1"), T + 1)]),
        bytes("81 a4 21 62 642f 00 61 61 06 c4 82 28 1b 11b5557f9c4e7a41 02 01")
    );
}

#[test]
fn a_time_before_mid_1978_is_left_out_because_senml_cannot_say_it() {
    for nanos in [0, -1, i64::MIN, 300_000_000_000, 268_435_455_999_999_999] {
        let early = measured("a", decimal("1"), nanos);
        let pack = json::encode(slice::from_ref(&early));
        assert_eq!(pack, r#"[{"bn":"d/","n":"a","v":1}]"#);
        let read = record(&pack);
        assert_eq!((read.time, read.time_source), (NOW, TimeSource::Now));

        let between =
            [measured("a", decimal("1"), T), early.clone(), measured("c", decimal("1"), T)];
        let pack = json::encode(&between);
        assert_eq!(
            pack,
            r#"[{"bn":"d/","n":"a","t":1276020076.001,"v":1},{"n":"a","v":1},{"n":"c","t":1276020076.001,"v":1}]"#
        );

        let after = [measured("a", decimal("1"), T), measured("b", decimal("1"), T), early];
        let pack = json::encode(&after);
        assert_eq!(
            pack,
            r#"[{"bn":"d/","bt":1276020076.001,"n":"a","v":1},{"n":"b","v":1},{"bt":0,"n":"a","v":1}]"#
        );
        assert_eq!(records(&pack)[2].time_source, TimeSource::Now);
    }
}

#[test]
fn text_is_escaped_as_little_as_json_allows() {
    let text = "\"\\/\n\r\t\0\u{1f}\u{7f}ä😀";
    let pack = json::encode(&[one(Value::Text(text.to_string()))]);
    assert!(pack.contains("\"vs\":\"\\\"\\\\/\\n\\r\\t\\u0000\\u001f\u{7f}ä😀\""), "{pack}");
    assert_eq!(record(&pack).value, Some(Value::Text(text.to_string())));
}

#[test]
fn data_is_base64url_in_json_and_a_byte_string_in_cbor() {
    let data = Value::Bytes([0xfb, 0xff].to_vec());
    assert!(json::encode(&[one(data.clone())]).contains(r#""vd":"-_8""#));
    assert_eq!(value_in_cbor(data), bytes("42 fbff"));
}

#[test]
fn whole_numbers_are_integers_in_cbor() {
    for (text, hex) in [
        ("1", "01"),
        ("20.00", "14"),
        ("2.5e1", "18 19"),
        ("-1", "20"),
        ("18446744073709551615", "1b ffffffffffffffff"),
        ("-18446744073709551616", "3b ffffffffffffffff"),
    ] {
        assert_eq!(value_in_cbor(decimal(text)), bytes(hex), "{text}");
    }
}

#[test]
fn floats_are_as_short_as_they_are_exact() {
    for (text, hex) in [
        ("1.5", "f9 3e00"),
        ("23.0625", "f9 4dc4"),
        ("100000.5", "fa 47c35040"),
        ("23.1", "fb 403719999999999a"),
        ("1e300", "fb 7e37e43c8800759c"),
        ("18446744073709551616", "fa 5f800000"),
        // A single would hold it, but read as its shortest decimal it would be another number.
        ("0.100000001490116119384765625", "fb 3fb99999a0000000"),
    ] {
        assert_eq!(value_in_cbor(decimal(text)), bytes(hex), "{text}");
    }
}

#[test]
fn no_records_are_an_empty_array() {
    assert_eq!(json::encode(&[]), "[]");
    assert_eq!(cbor::encode(&[]), [0x80]);
}
