use proptest::prelude::*;

use super::*;
use crate::store::tests::{reading_of, record};

fn reading(value: Value) -> Record {
    let mut record = record("th-0001", 1);
    record.n = 4711;
    let reading = reading_of(&mut record);
    reading.name = "temp".to_owned();
    reading.unit = Some("Cel".to_owned());
    reading.value = value;
    // A Friday.
    reading.time = Timestamp::from_nanos(1_795_214_340_123_000_000);
    record
}

fn number(text: &str) -> Record {
    reading(Value::Number(text.parse().unwrap()))
}

fn says(text: &str, record: &Record) -> Result<bool, Failure> {
    text.parse::<Condition>()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .matches(record, record.reading().unwrap())
}

#[test]
fn a_condition_looks_at_everything_that_a_reading_has() {
    let record = number("21.50");
    for text in [
        "value > -40.0 && value < 85",
        "value == 21.5",
        "name == 'temp' && unit == \"Cel\" && source == 'test'",
        "device.startsWith('th-') && device.endsWith('1') && device.contains('00')",
        "device.size() == 7",
        "unit in ['K', 'Cel']",
        "n == 4711 && n % 10 == 1",
        "value + 0.1 - 0.2 == 21.4 && value * 2 == 43",
        "-value < 0",
        "!(value < 0) || false",
        "value > 100 ? name == 'x' : true",
        "time > timestamp('2026-11-20T22:38:59Z') && time.getHours() == 22",
        "time.getMinutes() == 39 && time.getDayOfWeek() == 5",
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 5 - 2 - 1 == 2",
    ] {
        assert_eq!(says(text, &record), Ok(true), "{text}");
    }
    for text in ["value > 21.5", "value == 'x'", "name in []", "false || n < 0", "value == true"] {
        assert_eq!(says(text, &record), Ok(false), "{text}");
    }
}

#[test]
fn numbers_are_compared_to_the_last_digit() {
    let record = number("12345678901234567890");
    assert_eq!(says("value == 12345678901234567890", &record), Ok(true));
    assert_eq!(says("value < 12345678901234567891", &record), Ok(true));
}

#[test]
fn what_cannot_be_said_of_a_reading_is_a_failure() {
    let text = reading(Value::Text("on".to_owned()));
    assert_eq!(says("value > 5", &text), Err(Failure::Operands(">")));
    assert_eq!(says("value", &text), Err(Failure::NotBoolean("when")));
    assert_eq!(says("value", &reading(Value::Boolean(true))), Ok(true));
    assert_eq!(says("value.startsWith('o')", &text), Ok(true));
    assert_eq!(says("value.startsWith('o')", &number("1")), Err(Failure::NotText("startsWith")));
    assert_eq!(says("value % 0 == 1", &number("1")), Err(Failure::Arithmetic("%")));
    assert_eq!(says("value.size() == 2", &reading(Value::Bytes(vec![0, 1]))), Ok(true));
}

#[test]
fn a_side_that_fails_does_not_matter_where_the_other_one_decides() {
    let text = reading(Value::Text("on".to_owned()));
    assert_eq!(says("value > 5 || name == 'temp'", &text), Ok(true));
    assert_eq!(says("value > 5 && name == 'x'", &text), Ok(false));
    assert!(says("value > 5 && name == 'temp'", &text).is_err());
    assert!(says("name == 'x' || value > 5", &text).is_err());
}

#[test]
fn a_mistake_is_told_with_its_column() {
    for (text, column, problem) in [
        ("value >", 8, "expected a value, found the end"),
        ("value = 5", 7, "`=` is not an operator: did you mean `==`?"),
        ("temp > 5", 1, "no variable `temp`"),
        ("name > 5", 8, "expected a text, this is a number"),
        ("value > 5 name", 11, "expected an operator or the end, found `name`"),
        ("name.matches('x')", 6, "no function `matches`"),
        ("value / 2 > 1", 7, "`/` is not supported"),
        ("name == 'x", 9, "no ' at the end"),
        ("value > 1.2.3", 9, "`1.2.3` is not a number"),
        ("value + 1", 1, "expected true or false, this is a number"),
        ("ü > 5", 1, "unexpected `ü`"),
        ("name == 'ü' && x", 16, "no variable `x`"),
        ("unit in ['K', 5]", 15, "expected a text, this is a number"),
        ("(value > 5", 11, "expected `)`, found the end"),
        ("time > timestamp('now')", 18, "expected a time such as"),
        ("!-1", 3, "expected true or false"),
        ("", 1, "expected a value, found the end"),
    ] {
        match text.parse::<Condition>() {
            Err(ConditionError::Wrong { column: at, problem: told }) => {
                assert!(at == column && told.starts_with(problem), "{text}: {at}: {told}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_an_expression_costs_is_bounded() {
    let nested = |depth| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(nested(MAX_DEPTH - 1).parse::<Condition>().is_ok());
    for text in [nested(400), "!".repeat(900), "true && ".repeat(100) + "true", "-".repeat(999)] {
        assert!(matches!(text.parse::<Condition>(), Err(ConditionError::Wrong { .. })), "{text}");
    }
    assert_eq!(nested(MAX_LENGTH).parse::<Condition>(), Err(ConditionError::TooLong));
}

proptest! {
    #[test]
    fn any_text_is_a_condition_or_a_mistake(
        text in "([a-z]{1,6}|[0-9.]{1,3}|[-+*/%!<>=&|?:()\\[\\], '\"\\\\.]|value|n|name|in|&&|==){0,30}"
    ) {
        if let Ok(condition) = text.parse::<Condition>() {
            let record = number("21.5");
            let _ = condition.matches(&record, record.reading().unwrap());
            prop_assert_eq!(condition.to_string(), text);
        }
    }
}
