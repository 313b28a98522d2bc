//! The rules of RFC 8428 §4 that both formats share, tried in JSON.

use core::time::Duration;

use super::super::{MAX_NAME, MAX_RECORDS, MAX_UNIT};
use super::*;

#[test]
fn a_base_value_is_added_exactly_and_to_numbers_only() {
    let records = records(
        r#"[{"bn":"a","bv":20.1,"v":0.2},{"vs":"x"},{"vb":true},{"v":-0.1},{"bv":0,"v":1.50},{"s":1}]"#,
    );
    let values = lines(&records);
    assert_eq!(values[0], "a - 20.3 1700000000");
    assert_eq!(values[1], "a - \"x\" 1700000000");
    assert_eq!(values[2], "a - true 1700000000");
    assert_eq!(values[3], "a - 20.0 1700000000");
    assert_eq!(values[4], "a - 1.50 1700000000");
    assert_eq!(values[5], "a - - 1700000000");
}

#[test]
fn a_base_value_alone_is_no_value() {
    assert_eq!(problem(r#"[{"n":"a","bv":20}]"#), Problem::NoValue);
}

#[test]
fn sum_and_base_sum_are_added_and_either_is_enough() {
    let sums = |text| records(text).iter().map(|record| record.sum).collect::<Vec<_>>();
    assert_eq!(sums(r#"[{"n":"a","s":5}]"#), [Some(number("5"))]);
    assert_eq!(
        sums(r#"[{"n":"a","bs":100,"s":0.5},{"n":"b","v":1}]"#),
        [Some(number("100.5")), Some(number("100"))]
    );
    assert_eq!(sums(r#"[{"n":"a","v":1}]"#), [None]);
}

#[test]
fn a_sum_needs_no_value() {
    assert_eq!(record(r#"[{"n":"a","s":5}]"#).value, None);
}

#[test]
fn a_base_sum_alone_does_not_replace_the_value() {
    assert_eq!(problem(r#"[{"n":"a","bs":100}]"#), Problem::NoValue);
}

#[test]
fn added_numbers_beyond_a_double_are_refused() {
    let error = error(r#"[{"bn":"a","bv":1.7e308,"v":1},{"v":1.7e308}]"#);
    assert_eq!((error.record, error.field.as_deref()), (Some(1), Some("v")));
    assert_eq!(error.problem, Problem::SumRange);
}

#[test]
fn a_record_has_one_value() {
    for second in [r#""v":1"#, r#""vs":"x""#, r#""vb":true"#, r#""vd":"""#] {
        if !second.starts_with(r#""v""#) {
            let text = alloc::format!(r#"[{{"n":"a","v":1,{second}}}]"#);
            assert_eq!(problem(&text), Problem::SecondValue, "{text}");
        }
        let text = alloc::format!(r#"[{{"n":"a",{second},"s":1}}]"#);
        assert!(record(&text).value.is_some());
    }
}

#[test]
fn a_record_with_neither_value_nor_sum_is_refused() {
    for text in [r#"[{"n":"a"}]"#, r#"[{"bn":"a","t":1}]"#, "[{}]", r#"[{"colour":"red"}]"#] {
        let error = error(text);
        assert_eq!((error.record, error.problem), (Some(0), Problem::NoValue), "{text}");
    }
}

#[test]
fn a_pack_of_base_fields_only_has_no_resolved_records() {
    assert_eq!(records(r#"[{"bn":"a","bt":1,"bu":"V","bv":1,"bs":1,"bver":10}]"#), []);
    assert_eq!(records(r#"[{"bn":"a","colour":"red"}]"#), []);
}

#[test]
fn a_pack_has_at_least_one_record() {
    assert_eq!(problem("[]"), Problem::Expected("at least one record"));
}

#[test]
fn a_unit_overrides_the_base_unit_and_an_empty_one_is_none() {
    let units: Vec<_> = records(
        r#"[{"bn":"a","bu":"V","v":1},{"u":"A","v":1},{"u":"","v":1},{"v":1},{"bu":"","v":1}]"#,
    )
    .into_iter()
    .map(|record| record.unit)
    .collect();
    let unit = |text: &str| Some(text.to_string());
    assert_eq!(units, [unit("V"), unit("A"), None, unit("V"), None]);
}

#[test]
fn versions_up_to_ten_are_understood() {
    for version in 1..=10 {
        record(&alloc::format!(r#"[{{"n":"a","v":1,"bver":{version}}}]"#));
    }
    record(r#"[{"n":"a","v":1,"bver":10.0}]"#);
    for version in ["11", "0", "-1", "1.5", "26", "1e300", "99999999999999999999"] {
        let error = error(&alloc::format!(r#"[{{"n":"a","v":1,"bver":{version}}}]"#));
        assert_eq!(error.field.as_deref(), Some("bver"));
        assert_eq!(error.problem, Problem::Version, "{version}");
    }
}

#[test]
fn all_records_have_the_same_version() {
    records(r#"[{"n":"a","v":1,"bver":5},{"n":"b","v":1},{"n":"c","v":1,"bver":5}]"#);
    records(r#"[{"n":"a","v":1},{"n":"b","v":1,"bver":10}]"#);
    let later = error(r#"[{"n":"a","v":1,"bver":5},{"n":"b","v":1,"bver":10}]"#);
    assert_eq!((later.record, later.problem), (Some(1), Problem::VersionChanged(5)));
    let default = error(r#"[{"n":"a","v":1},{"n":"b","v":1,"bver":5}]"#);
    assert_eq!((default.record, default.problem), (Some(1), Problem::VersionChanged(10)));
}

#[test]
fn full_names_have_the_characters_of_section_4_5_1() {
    for name in ["a", "Z", "0", "a-:./_Z9", "2001:db8::1/t"] {
        assert_eq!(record(&alloc::format!(r#"[{{"n":"{name}","v":1}}]"#)).full_name(), name);
    }
    for name in ["", "-a", ":a", ".a", "/a", "_a", "a b", "a,b", "ä", "aä", "a\\u0000", "a@b", "a~"]
    {
        let error = error(&alloc::format!(r#"[{{"n":"{name}","v":1}}]"#));
        assert_eq!(error.field.as_deref(), Some("n"));
        assert!(matches!(error.problem, Problem::NameCharacters(_)), "{name}: {error}");
    }
}

#[test]
fn the_rule_for_names_is_for_the_whole_name() {
    assert_eq!(record(r#"[{"bn":"dev:1","n":"/-x","v":1}]"#).full_name(), "dev:1/-x");
    assert!(matches!(problem(r#"[{"bn":"/dev","n":"x","v":1}]"#), Problem::NameCharacters(_)));
    assert!(matches!(problem(r#"[{"v":1}]"#), Problem::NameCharacters(_)));
    // The base name of a record that yields nothing is not a full name yet.
    assert_eq!(records(r#"[{"bn":"!"},{"bn":"","n":"a","v":1}]"#).len(), 1);
}

#[test]
fn times_below_two_to_the_28_are_relative_to_now() {
    let time = |t: &str| {
        let record = record(&alloc::format!(r#"[{{"n":"a","v":1,"t":{t}}}]"#));
        (record.time.as_nanos() - NOW.as_nanos(), record.time_source)
    };
    assert_eq!(time("-5.5"), (-5_500_000_000, TimeSource::Relative));
    assert_eq!(time("0.000000001"), (1, TimeSource::Relative));
    assert_eq!(time("268435455"), (268_435_455_000_000_000, TimeSource::Relative));
    assert_eq!(time("-300000000"), (-300_000_000_000_000_000, TimeSource::Relative));
    assert_eq!(time("0"), (0, TimeSource::Now));
    let first_absolute = record(r#"[{"n":"a","v":1,"t":268435456}]"#);
    assert_eq!(first_absolute.time, Timestamp::from_nanos(268_435_456_000_000_000));
    assert_eq!(first_absolute.time_source, TimeSource::Absolute);
}

#[test]
fn it_is_base_time_and_time_together_that_are_relative_or_not() {
    let sum = record(r#"[{"n":"a","v":1,"bt":268435000,"t":456}]"#);
    assert_eq!(
        (sum.time.as_nanos(), sum.time_source),
        (268_435_456_000_000_000, TimeSource::Absolute)
    );
    let sum = record(r#"[{"n":"a","v":1,"bt":268435457,"t":-2}]"#);
    assert_eq!(sum.time_source, TimeSource::Relative);
    let base = record(r#"[{"n":"a","v":1,"bt":-10}]"#);
    assert_eq!(
        (base.time.as_nanos(), base.time_source),
        (1_699_999_990_000_000_000, TimeSource::Relative)
    );
}

#[test]
fn times_are_exact_to_the_nanosecond() {
    let record = record(r#"[{"n":"a","v":1,"bt":1276020076,"t":0.123456789}]"#);
    assert_eq!(record.time.as_nanos(), 1_276_020_076_123_456_789);
}

#[test]
fn times_that_no_timestamp_holds_are_refused() {
    for t in ["9223372037", "1e300", "-1e300", "-11e9"] {
        let error = error(&alloc::format!(r#"[{{"n":"a","v":1}},{{"n":"b","v":1,"t":{t}}}]"#));
        assert_eq!((error.record, error.field.as_deref()), (Some(1), Some("t")));
        assert_eq!(error.problem, Problem::TimeRange, "{t}");
    }
    let far = Timestamp::from_nanos(i64::MAX);
    let late = json::decode(br#"[{"n":"a","v":1,"t":1}]"#, far).unwrap_err();
    assert_eq!(late.problem, Problem::TimeRange);
}

#[test]
fn records_of_the_same_time_keep_their_order() {
    let names: Vec<_> = records(
        r#"[{"n":"a","t":2,"v":1},{"n":"b","t":1,"v":1},{"n":"c","t":2,"v":1},{"n":"d","t":1,"v":1}]"#,
    )
    .iter()
    .map(Record::full_name)
    .collect();
    assert_eq!(names, ["b", "d", "a", "c"]);
}

#[test]
fn update_times_are_periods() {
    let update = |ut: &str| alloc::format!(r#"[{{"n":"a","v":1,"ut":{ut}}}]"#);
    assert_eq!(record(&update("0.25")).update_time, Some(Duration::from_millis(250)));
    assert_eq!(record(&update("86400")).update_time, Some(Duration::from_secs(86400)));
    for ut in ["-1", "1e300", "18446744074"] {
        assert_eq!(error(&update(ut)).field.as_deref(), Some("ut"), "{ut}");
    }
}

#[test]
fn an_unknown_field_that_ends_in_an_underscore_refuses_the_pack() {
    let error = error(r#"[{"n":"a","v":1},{"n":"b","v":1,"colour_":"red"}]"#);
    assert_eq!((error.record, error.field.as_deref()), (Some(1), Some("colour_")));
    assert_eq!(error.problem, Problem::MustUnderstand);
    record(r#"[{"n":"a","v":1,"_colour":"red"}]"#);
}

#[test]
fn a_label_twice_in_a_record_is_refused() {
    for (twice, label) in [
        (r#""n":"a","n":"a""#, "n"),
        (r#""v":2,"v":2"#, "v"),
        (r#""x":1,"x":2"#, "x"),
        (r#""bn":"","bn":"""#, "bn"),
        (r#""\u0078":1,"x":2"#, "x"),
    ] {
        let error = error(&alloc::format!(r#"[{{"t":1,{twice}}}]"#));
        assert_eq!(error.field.as_deref(), Some(label));
        assert_eq!(error.problem, Problem::Duplicate, "{twice}");
    }
    records(r#"[{"n":"a","v":2,"x":1},{"n":"a","v":2,"x":1}]"#);
}

#[test]
fn the_number_of_records_is_limited() {
    let pack = |count| ["[", &[r#"{"n":"a","v":1}"#].repeat(count).join(","), "]"].concat();
    assert_eq!(records(&pack(MAX_RECORDS)).len(), MAX_RECORDS);
    let error = error(&pack(MAX_RECORDS + 1));
    assert_eq!((error.record, error.problem), (None, Problem::TooManyRecords));
}

#[test]
fn names_and_units_are_limited() {
    let pack = |base: usize, own: usize| {
        let (base, own) = ("b".repeat(base), "n".repeat(own));
        alloc::format!(r#"[{{"bn":"{base}"}},{{"n":"{own}","v":1}}]"#)
    };
    assert_eq!(record(&pack(MAX_NAME - 1, 1)).full_name().len(), MAX_NAME);
    let own = error(&pack(MAX_NAME, 1));
    assert_eq!((own.record, own.problem), (Some(1), Problem::LongName));
    let base = error(&pack(MAX_NAME + 1, 0));
    assert_eq!((base.record, base.problem), (Some(0), Problem::LongName));

    let unit = |label: &str, length| {
        alloc::format!(r#"[{{"n":"a","v":1,"{label}":"{}"}}]"#, "u".repeat(length))
    };
    for label in ["u", "bu"] {
        assert_eq!(record(&unit(label, MAX_UNIT)).unit.unwrap().len(), MAX_UNIT);
        let error = error(&unit(label, MAX_UNIT + 1));
        assert_eq!((error.field.as_deref(), error.problem), (Some(label), Problem::LongUnit));
    }
}
