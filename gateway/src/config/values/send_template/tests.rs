//! Templates and values, and what becomes of them.

use super::*;

fn number(text: &str) -> Value {
    Value::Number(text.parse().unwrap())
}

fn filling(value: Option<&Value>) -> Filling<'_> {
    Filling { value, device: "relay-1", id: "42", scale: None }
}

fn text(template: &str, value: &Value) -> Result<String, Unsendable> {
    let template: TextTemplate = template.parse().unwrap();
    template.fill(filling(Some(value))).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn hex(template: &str, value: &Value, scale: Option<&str>) -> Result<String, Unsendable> {
    let template: HexTemplate = template.parse().unwrap();
    let table = |scale: &str| -> toml::Table { toml::from_str(&format!("a = {scale}")).unwrap() };
    let scale = scale.map(|scale| table(scale)["a"].clone().try_into().unwrap());
    let bytes = template.fill(Filling { scale, ..filling(Some(value)) })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn text_has_the_value_with_its_digits_and_doubled_braces_once() {
    assert_eq!(text("SET {value}\r\n", &number("21.50")).unwrap(), "SET 21.50\r\n");
    assert_eq!(text("{device}/{id}={value}", &Value::Boolean(true)).unwrap(), "relay-1/42=true");
    let json = "{{\"relay\": {value}}}\n";
    assert_eq!(text(json, &Value::Boolean(false)).unwrap(), "{\"relay\": false}\n");
    assert_eq!(text("{value}{value}", &Value::Text("ü".into())).unwrap(), "üü");
}

#[test]
fn no_value_makes_two_messages_of_one() {
    let inner = Value::Text("1\nREBOOT".into());
    assert_eq!(text("SET {value}\n", &inner), Err(Unsendable::Control("the value")));
    let template: TextTemplate = "{device}\n".parse().unwrap();
    let device = Filling { device: "a\rb", ..filling(None) };
    assert_eq!(template.fill(device), Err(Unsendable::Control("the device")));
    assert_eq!(text("{value}", &Value::Bytes(vec![1])), Err(Unsendable::Bytes));
    let template: TextTemplate = "{value}".parse().unwrap();
    assert_eq!(template.fill(filling(None)), Err(Unsendable::NoValue));
}

#[test]
fn numbers_have_their_size_sign_and_order() {
    for (template, value, bytes) in [
        ("{u8}", "255", "ff"),
        ("{i8}", "-1", "ff"),
        ("{u16be}", "258", "0102"),
        ("{u16le}", "258", "0201"),
        ("{i16be}", "-2", "fffe"),
        ("{i16le}", "-2", "feff"),
        ("{u32be}", "4294967295", "ffffffff"),
        ("{u32le}", "1", "01000000"),
        ("{i32be}", "-2147483648", "80000000"),
        ("{i32le}", "-2", "feffffff"),
        ("{f32be}", "-1.5", "bfc00000"),
        ("{f32le}", "-1.5", "0000c0bf"),
        ("aa {u8} 0D0a", "7.0", "aa070d0a"),
    ] {
        assert_eq!(hex(template, &number(value), None).unwrap(), bytes, "{template} {value}");
    }
    assert_eq!(hex("{u8}", &Value::Boolean(true), None).unwrap(), "01");
    assert_eq!(hex("{u16be}", &number("21.5"), Some("0.1")).unwrap(), "00d7");
    assert_eq!(hex("{bytes}{sum8}", &Value::Bytes(vec![0xff, 2]), None).unwrap(), "ff0201");
}

#[test]
fn a_number_that_does_not_fit_is_refused_and_told() {
    for (template, value) in [
        ("{u8}", "256"),
        ("{u8}", "300"),
        ("{u8}", "-1"),
        ("{u8}", "1.5"),
        ("{i8}", "128"),
        ("{u16be}", "65536"),
        ("{i16le}", "-32769"),
        ("{u32be}", "4294967296"),
        ("{i32be}", "1e30"),
        ("{f32be}", "1e39"),
    ] {
        assert!(hex(template, &number(value), None).is_err(), "{template} {value}");
    }
    let error = hex("{u8}", &number("300"), None).unwrap_err().to_string();
    assert_eq!(error, "300 does not fit {u8}: expected a whole number from 0 to 255");
    let error = hex("{u8}", &number("21.57"), Some("0.1")).unwrap_err().to_string();
    assert!(error.ends_with("from 0 to 255 times the scale 0.1"), "{error}");
    let warm = Value::Text("warm".into());
    assert_eq!(hex("{u16be}", &warm, None), Err(Unsendable::NotANumber("u16be")));
    assert_eq!(hex("{bytes}", &number("1"), None), Err(Unsendable::NotBytes));
}

#[test]
fn checksums_are_of_all_before_them() {
    // The request of "MODBUS over Serial Line": read one register of unit 1.
    assert_eq!(hex("010300000001{crc16modbus}", &number("0"), None).unwrap(), "010300000001840a");
    assert_eq!(hex("0102{u8}{sum8}{xor8}", &number("4"), None).unwrap(), "0102040700");
}

#[test]
fn what_is_no_template_is_told() {
    for (template, part) in [
        ("", "1 to 1024 bytes"),
        ("{value", "expected a `}`"),
        ("value}", "expected a `{`"),
        ("{valve}", "found {valve}"),
    ] {
        let error = template.parse::<TextTemplate>().unwrap_err().to_string();
        assert!(error.contains(part), "{template}: {error}");
    }
    for (template, part) in
        [("aab", "two hexadecimal"), ("$GP", "two hexadecimal"), ("{u64}", "{u64}")]
    {
        let error = template.parse::<HexTemplate>().unwrap_err().to_string();
        assert!(error.contains(part), "{template}: {error}");
    }
    assert!("a".repeat(MAX + 1).parse::<TextTemplate>().is_err());
}
