//! What is particular to JSON (RFC 8428 §5).

use super::super::MAX_DEPTH;
use super::*;

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    let pack =
        r#"[{"n":"a","v":1,"x":[1,{"y":[null,"]}\"[["]}],"z":null,"b":1e999,"V":2,"bn ":3}]"#;
    assert_eq!(line(&record(pack)), "a - 1 1700000000");
}

#[test]
fn fields_of_another_type_are_refused() {
    for label in ["bn", "bu", "n", "u", "vs"] {
        for value in ["1", "null", "true", "[]", "{}"] {
            let error = error(&alloc::format!(r#"[{{"{label}":{value}}}]"#));
            assert_eq!(error.field.as_deref(), Some(label));
            assert_eq!(error.problem, Problem::Expected("text"), "{label} {value}");
        }
    }
    for label in ["bt", "bv", "bs", "v", "s", "t", "ut", "bver"] {
        for value in [r#""1""#, "null", "true", "[1]", "{}"] {
            let error = error(&alloc::format!(r#"[{{"{label}":{value}}}]"#));
            assert_eq!(error.field.as_deref(), Some(label));
            assert_eq!(error.problem, Problem::Expected("a number"), "{label} {value}");
        }
    }
    for value in ["0", "null", r#""true""#, "[]"] {
        let pack = alloc::format!(r#"[{{"vb":{value}}}]"#);
        assert_eq!(problem(&pack), Problem::Expected("true or false"));
    }
    for value in ["0", "null", r#""aGkgCg==""#, r#""a+/b""#, r#""a""#] {
        let pack = alloc::format!(r#"[{{"vd":{value}}}]"#);
        assert_eq!(problem(&pack), Problem::Expected("base64url text without padding"));
    }
}

#[test]
fn numbers_keep_their_digits() {
    for digits in ["21.50", "-0.0010", "12345678901234567890", "1e-30", "0.1234567890123456789"] {
        let Some(Value::Number(read)) =
            record(&alloc::format!(r#"[{{"n":"a","v":{digits}}}]"#)).value
        else {
            panic!("{digits}");
        };
        assert_eq!(read.to_string(), digits);
    }
}

#[test]
fn the_range_of_doubles_is_read_and_what_is_beyond_refused() {
    for digits in ["1.7976931348623157e308", "-1.7976931348623157e+308", "5e-324", "1E2"] {
        record(&alloc::format!(r#"[{{"n":"a","v":{digits}}}]"#));
    }
    assert_eq!(
        problem(r#"[{"n":"a","v":1e309}]"#),
        Problem::Expected("a number that a double can hold")
    );
}

#[test]
fn text_is_unescaped() {
    let Some(Value::Text(text)) = record(r#"[{"n":"a","vs":"\ud83d\ude00\n\"\u00e4ä"}]"#).value
    else {
        panic!();
    };
    assert_eq!(text, "😀\n\"ää");
    assert!(matches!(problem(r#"[{"n":"a","vs":"\ud83d"}]"#), Problem::Syntax { .. }));
}

#[test]
fn what_is_not_an_array_of_maps_is_refused() {
    for text in ["{}", "null", "1", r#"{"n":"a","v":1}"#] {
        let error = error(text);
        assert_eq!(error.record, None);
        assert_eq!(error.problem, Problem::Expected("an array of records"), "{text}");
    }
    for text in [r#"[{"n":"a","v":1},[]]"#, r#"[{"n":"a","v":1},1]"#] {
        let error = error(text);
        assert_eq!(error.record, Some(1));
        assert_eq!(error.problem, Problem::Expected("a record, which is a map of fields"));
    }
}

#[test]
fn what_is_not_json_is_called_that_even_after_another_problem() {
    for text in ["", "[", "[{}", r#"[{"n":"a","v":1}] x"#, r#"[{"n":"a","v":01}]"#, "[{},]"] {
        assert!(matches!(problem(text), Problem::Syntax { format: "JSON", .. }), "{text}");
    }
    let not_utf8 = json::decode(b"[{\"n\":\"a\",\"vs\":\"\xff\"}]", NOW).unwrap_err();
    assert!(matches!(not_utf8.problem, Problem::Syntax { .. }));
}

#[test]
fn nesting_of_ignored_fields_is_limited() {
    let pack = |levels| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        alloc::format!(r#"[{{"n":"a","v":1,"x":{open}{close}}}]"#)
    };
    record(&pack(MAX_DEPTH));
    let deep = error(&pack(MAX_DEPTH + 1));
    assert_eq!((deep.field.as_deref(), deep.problem), (Some("x"), Problem::TooDeep));
    assert_eq!(problem(&pack(1_000_000)), Problem::TooDeep);
    record(
        r#"[{"n":"a","v":1,"x":"[[[[[[[[[[[[[[[[[[[[[[[[","y":[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]}]"#,
    );
}

#[test]
fn errors_say_where_and_what_was_expected() {
    assert_eq!(
        error(r#"[{"n":"a","v":1},{"n":"b","v":"1"}]"#).to_string(),
        "SenML record [1], field `v`: expected a number"
    );
    assert_eq!(
        error(r#"[{"n":"a"}]"#).to_string(),
        "SenML record [0]: expected a value (`v`, `vs`, `vb` or `vd`) or a sum (`s`)"
    );
    assert_eq!(error("[]").to_string(), "SenML pack: expected at least one record");
    assert_eq!(
        error("[").to_string(),
        "SenML pack: not well-formed JSON: EOF while parsing a list at line 1 column 1"
    );
    let long = alloc::format!(r#"[{{"n":"{}"  ,"v":1}}]"#, "ä".repeat(500));
    assert!(error(&long).to_string().len() < 300);
}
