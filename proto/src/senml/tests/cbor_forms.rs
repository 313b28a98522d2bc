//! What is particular to CBOR (RFC 8428 §6), by hand-made packs.

use super::super::{MAX_DEPTH, MAX_RECORDS};
use super::*;

/// A record of `n` = "a" and one more field, both in hex.
fn with(field: &str) -> Vec<u8> {
    bytes(&["81 a2 00 61 61 ", field].concat())
}

fn value(field: &str) -> Value {
    cbor::decode(&with(field), NOW).unwrap()[0].value.clone().unwrap()
}

fn number_value(field: &str) -> String {
    let Value::Number(number) = value(field) else { panic!("{field}") };
    number.to_string()
}

fn refusal(pack: &[u8]) -> Error {
    cbor::decode(pack, NOW).unwrap_err()
}

fn problem_of(field: &str) -> Problem {
    refusal(&with(field)).problem
}

#[test]
fn every_label_of_table_4_is_read() {
    let pack = bytes(
        "82
         a7 20 0a 21 61 64 22 1a 65 53 f1 00 23 61 56 24 14 25 18 64 00 61 76
         a5 00 61 6e 01 61 41 02 01 05 02 07 18 3c",
    );
    let error = refusal(&pack);
    assert_eq!((error.record, error.problem), (Some(0), Problem::NoValue));

    let pack = bytes(
        "82
         a6 20 0a 21 61 64 22 1a 65 53 f1 00 23 61 56 24 14 25 18 64
         a6 00 61 6e 01 61 41 02 01 05 02 06 03 07 18 3c",
    );
    let record = cbor::decode(&pack, NOW).unwrap().remove(0);
    assert_eq!(line(&record), "dn A 21 1700000003");
    assert_eq!((record.base_name.as_str(), record.name.as_str()), ("d", "n"));
    assert_eq!(record.sum, Some(number("102")));
    assert_eq!(record.update_time.unwrap().as_secs(), 60);
    assert_eq!(value("03 62 68 69"), Value::Text("hi".to_string()));
    assert_eq!(value("04 f5"), Value::Boolean(true));
    assert_eq!(value("04 f4"), Value::Boolean(false));
    assert_eq!(value("08 44 68 69 20 0a"), Value::Bytes(b"hi \n".to_vec()));
}

#[test]
fn text_labels_of_known_fields_mean_the_same() {
    let record = cbor::decode(&bytes("81 a2 61 6e 61 61 61 76 05"), NOW).unwrap().remove(0);
    assert_eq!(line(&record), "a - 5 1700000000");
    let error = refusal(&bytes("81 a3 61 6e 61 61 00 61 61 02 05"));
    assert_eq!((error.field.as_deref(), error.problem), (Some("n"), Problem::Duplicate));
}

#[test]
fn integers_of_every_width_are_read() {
    for (hex, digits) in [
        ("00", "0"),
        ("18 ff", "255"),
        ("19 ffff", "65535"),
        ("1a ffffffff", "4294967295"),
        ("1b ffffffffffffffff", "18446744073709551615"),
        ("20", "-1"),
        ("38 ff", "-256"),
        ("3b ffffffffffffffff", "-18446744073709551616"),
    ] {
        assert_eq!(number_value(&["02", hex].concat()), digits);
    }
}

/// RFC 8949 Appendix A where it has the value.
#[test]
fn floats_of_every_width_are_read() {
    for (hex, digits) in [
        ("f9 3e00", "1.5"),
        ("f9 7bff", "65504"),
        ("f9 c400", "-4"),
        ("fa 47c35000", "100000"),
        ("fa 7f7fffff", "340282346638528860000000000000000000000"),
        ("fb 3ff199999999999a", "1.1"),
        ("fb c010666666666666", "-4.1"),
        ("fb 7e37e43c8800759c", "1e300"),
    ] {
        let read = number_value(&["02", hex].concat());
        assert_eq!(number(&read).as_f64(), number(digits).as_f64(), "{hex} {read}");
    }
}

#[test]
fn a_single_is_the_decimal_that_its_sender_meant() {
    assert_eq!(number_value("02 fa 41b8cccd"), "23.1");
    assert_eq!(number_value("02 fa 3dcccccd"), "0.1");
    // An integer above 2^24 that a sender shrank from a double.
    assert_eq!(number_value("02 fa 4ceb79a3"), "123456792");
}

#[test]
fn a_half_is_exact() {
    // 1/16 of a degree, the step of many thermometers.
    assert_eq!(number_value("02 f9 4dc4"), "23.0625");
}

#[test]
fn infinities_and_nan_are_refused() {
    for float in [
        "f97c00",
        "f9fc00",
        "f97e00",
        "fa7f800000",
        "fa7fc00000",
        "fb7ff0000000000000",
        "fb7ff8000000000000",
    ] {
        assert_eq!(problem_of(&["02", float].concat()), Problem::Expected("a finite number"));
    }
}

#[test]
fn decimal_fractions_are_read() {
    assert_eq!(number_value("02 c4 82 21 19 6ab3"), "273.15");
    assert_eq!(number_value("02 c4 82 02 05"), "500");
    assert_eq!(number_value("02 c4 82 20 38 63"), "-10.0");
    assert_eq!(number_value("02 c4 9f 21 19 6ab3 ff"), "273.15");
    assert_eq!(number_value("02 c4 82 21 c2 42 6ab3"), "273.15");
}

#[test]
fn malformed_decimal_fractions_are_refused() {
    for fraction in [
        "c4 81 21",
        "c4 83 21 01 01",
        "c4 82 f93e00 01",
        "c4 01",
        "c4 9f 21 ff",
        "c4 82 c2 41 01 01",
        "c4 82 21 f93e00",
        "c4 82 21 c4 82 21 01",
        "c5 82 21 01",
        "c4 80",
    ] {
        let problem = problem_of(&["02", fraction].concat());
        assert!(matches!(problem, Problem::Expected(_)), "{fraction}: {problem}");
    }
}

#[test]
fn bignums_are_read_up_to_38_digits() {
    assert_eq!(number_value("02 c2 49 010000000000000000"), "18446744073709551616");
    assert_eq!(number_value("02 c3 49 010000000000000000"), "-18446744073709551617");
    assert_eq!(number_value("02 c2 40"), "0");
    assert_eq!(number_value("02 c2 5f 42 0001 41 00 ff"), "256");
    assert_eq!(
        number_value("02 c2 50 4b3b4ca85a86c47a098a223fffffffff"),
        "99999999999999999999999999999999999999"
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    for hex in [
        "c2 50 4b3b4ca85a86c47a098a224000000000",
        "c2 58 20 ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "c3 50 ffffffffffffffffffffffffffffffff",
        "c4 82 19 0190 01",
        "c4 82 1b ffffffffffffffff 01",
        "c4 82 3b ffffffffffffffff 01",
    ] {
        let problem = problem_of(&["02", hex].concat());
        let range = Problem::Expected("a number of at most 38 digits that a double can hold");
        assert_eq!(problem, range, "{hex}");
    }
}

#[test]
fn indefinite_lengths_are_accepted() {
    let definite = bytes("82 a2 00 63 612f62 03 62 6869 a2 00 61 63 08 42 0102");
    let indefinite = bytes(
        "9f bf 00 7f 61 61 62 2f62 ff 03 7f 61 68 60 61 69 ff ff
            bf 00 61 63 08 5f 41 01 40 41 02 ff ff ff",
    );
    assert_eq!(cbor::decode(&indefinite, NOW), cbor::decode(&definite, NOW));
    assert_eq!(lines(&cbor::decode(&indefinite, NOW).unwrap())[0], "a/b - \"hi\" 1700000000");
}

#[test]
fn fields_of_another_type_are_refused() {
    for label in
        ["20", "21", "22", "23", "24", "25", "01", "02", "03", "04", "05", "06", "07", "08"]
    {
        for value in ["f6", "f7", "80", "a0", "ff", "1c", "e0", "c1 00"] {
            let error = refusal(&with(&[label, value].concat()));
            assert!(error.field.is_some(), "{label} {value}: {error}");
            assert!(matches!(error.problem, Problem::Expected(_) | Problem::Version), "{error}");
        }
    }
    assert_eq!(problem_of("02 61 31"), Problem::Expected("a number"));
    assert_eq!(problem_of("03 41 31"), Problem::Expected("text"));
    assert_eq!(problem_of("04 01"), Problem::Expected("true or false"));
    assert_eq!(problem_of("08 61 31"), Problem::Expected("a byte string"));
}

#[test]
fn a_version_is_an_unsigned_integer() {
    for (version, is_understood) in [
        ("05", true),
        ("0a", true),
        ("0b", false),
        ("00", false),
        ("20", false),
        ("f9 4500", false),
    ] {
        let pack = bytes(&["81 a3 00 61 61 02 01 20 ", version].concat());
        let expected = (!is_understood).then_some(Problem::Version);
        assert_eq!(cbor::decode(&pack, NOW).err().map(|error| error.problem), expected);
    }
}

#[test]
fn unknown_labels_are_ignored_whether_text_or_integer() {
    let record = bytes(
        "81 a8 00 61 61 02 01 09 00 26 00 18 ff 80 61 78 bf 9f 01 ff a1 00 c1 5f 41 00 ff ff
         61 79 fb 0000000000000000 61 7a f8 ff",
    );
    assert_eq!(lines(&cbor::decode(&record, NOW).unwrap()), ["a - 1 1700000000"]);
}

#[test]
fn an_unknown_text_label_that_ends_in_an_underscore_refuses_the_pack() {
    let error = refusal(&bytes("81 a3 00 61 61 02 01 62 78 5f 00"));
    assert_eq!((error.record, error.field.as_deref()), (Some(0), Some("x_")));
    assert_eq!(error.problem, Problem::MustUnderstand);
}

#[test]
fn a_label_twice_in_a_record_is_refused() {
    for (twice, label) in
        [("02 01 02 01", "v"), ("18 09 00 09 00", "9"), ("61 78 00 61 78 00", "x")]
    {
        let error = refusal(&bytes(&["81 a3 00 61 61 ", twice].concat()));
        assert_eq!((error.field.as_deref(), error.problem), (Some(label), Problem::Duplicate));
    }
}

#[test]
fn labels_of_other_types_are_refused() {
    for label in ["40", "80", "f4", "f93c00", "c100", "a0"] {
        let error = refusal(&bytes(&["81 a2 ", label, " 00 02 01"].concat()));
        assert_eq!(error.record, Some(0));
        assert_eq!(error.problem, Problem::Expected("a label, which is an integer or text"));
    }
}

#[test]
fn nesting_of_ignored_fields_is_limited() {
    for (open, close) in [("81", ""), ("9f", "ff"), ("a1 00", ""), ("bf 00", "ff"), ("c1", "")] {
        let pack = |levels: usize| {
            with(&["61 78", &open.repeat(levels), "00", &close.repeat(levels)].concat())
        };
        let at_limit = refusal(&pack(MAX_DEPTH));
        assert_eq!(at_limit.problem, Problem::NoValue, "{open}");
        let deep = refusal(&pack(MAX_DEPTH + 1));
        assert_eq!((deep.field.as_deref(), deep.problem), (Some("x"), Problem::TooDeep));
        assert_eq!(refusal(&pack(100_000)).problem, Problem::TooDeep);
    }
}

#[test]
fn stray_breaks_and_reserved_bytes_are_refused() {
    for (hex, at) in [
        ("a3 00 61 61 02 01 61 78 ff", "as a value"),
        ("bf 00 61 61 02 01 61 78 ff ff", "as the last value of an indefinite map"),
        ("a3 00 61 61 02 01 ff 00", "as a label"),
        ("a3 00 61 61 02 01 61 78 82 01 ff", "in a definite array"),
        ("a3 00 61 61 02 01 61 78 bf 01 ff", "between a label and its value"),
        ("a3 00 61 61 02 01 61 78 c1 ff", "behind a tag"),
        ("a3 00 61 61 02 01 61 78 1c", "reserved length"),
        ("a3 00 61 61 02 01 61 78 5f 00 ff", "a chunk of another type"),
        ("a3 00 61 61 02 01 61 78 1f", "an indefinite integer"),
    ] {
        let error = refusal(&bytes(&["81", hex].concat()));
        assert_eq!(error.record, Some(0), "{at}: {error}");
        assert_ne!(error.problem, Problem::NoValue, "{at}");
    }
    assert_eq!(refusal(&bytes("ff")).problem, Problem::Expected("an array of records"));
}

#[test]
fn claimed_lengths_beyond_the_input_cost_nothing() {
    for hex in [
        "9b ffffffffffffffff",
        "81 bb ffffffffffffffff",
        "81 a1 00 7b ffffffffffffffff",
        "81 a1 08 5b ffffffffffffffff",
        "81 a1 61 78 9b ffffffffffffffff 00",
    ] {
        let problem = refusal(&bytes(hex)).problem;
        assert!(matches!(problem, Problem::Syntax { format: "CBOR", .. }), "{hex}: {problem}");
    }
}

#[test]
fn bytes_after_the_pack_are_refused() {
    let error = refusal(&bytes("81 a2 00 61 61 02 01 00"));
    assert_eq!(error.to_string(), "SenML pack: not well-formed CBOR: bytes follow the pack");
}

#[test]
fn what_is_not_an_array_of_maps_is_refused() {
    for hex in ["a0", "00", "f6", "60"] {
        let problem = refusal(&bytes(hex)).problem;
        assert_eq!(problem, Problem::Expected("an array of records"));
    }
    for hex in ["81 00", "81 80", "9f f6 ff"] {
        let error = refusal(&bytes(hex));
        assert_eq!(error.record, Some(0));
        assert_eq!(error.problem, Problem::Expected("a record, which is a map of fields"));
    }
    assert_eq!(refusal(&bytes("80")).problem, Problem::Expected("at least one record"));
    assert_eq!(refusal(&bytes("9f ff")).problem, Problem::Expected("at least one record"));
}

#[test]
fn the_number_of_records_is_limited() {
    let record = bytes("a2 00 61 61 02 01");
    let pack = |count| [bytes("9f"), record.repeat(count), bytes("ff")].concat();
    assert_eq!(cbor::decode(&pack(MAX_RECORDS), NOW).unwrap().len(), MAX_RECORDS);
    assert_eq!(refusal(&pack(MAX_RECORDS + 1)).problem, Problem::TooManyRecords);
}
