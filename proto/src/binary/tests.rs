use super::*;
use alloc::vec;
use proptest::prelude::*;

fn field(at: i32, kind: Kind) -> Field {
    Field::new(at, kind, Endian::Big)
}

fn little(at: i32, kind: Kind) -> Field {
    Field::new(at, kind, Endian::Little)
}

fn decimal_of(text: &str) -> Option<Number> {
    Some(text.parse().unwrap())
}

/// The value as text, a missing one as `-`.
fn shown(field: &Field, frame: &[u8]) -> String {
    match field.read(frame).unwrap() {
        None => "-".to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Text(text)) => text,
        Some(Value::Boolean(boolean)) => boolean.to_string(),
        Some(Value::Bytes(bytes)) => alloc::format!("{bytes:?}"),
    }
}

#[test]
fn integers_have_a_width_a_sign_and_an_order() {
    let frame = [0xff, 0xfe, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06];
    for (field, value) in [
        (field(0, Kind::Unsigned(1)), "255"),
        (field(0, Kind::Signed(1)), "-1"),
        (field(0, Kind::Unsigned(2)), "65534"),
        (little(0, Kind::Unsigned(2)), "65279"),
        (field(0, Kind::Signed(2)), "-2"),
        (field(0, Kind::Signed(3)), "-511"),
        (little(2, Kind::Unsigned(3)), "197121"),
        (field(-2, Kind::Unsigned(2)), "1286"),
        (field(0, Kind::Unsigned(8)), "18446182231908287750"),
        (field(0, Kind::Signed(8)), "-561841801263866"),
    ] {
        assert_eq!(shown(&field, &frame), value, "{field:?}");
    }
}

#[test]
fn a_part_of_an_integer_has_a_sign_of_its_own() {
    let bits = |kind, first, count| {
        let field = Field { bits: Some(Bits { first, count }), ..field(0, kind) };
        shown(&field, &[0b1010_1100, 0x36])
    };
    // Ruuvi's format 5: 11 bits of voltage above 5 of power.
    assert_eq!(bits(Kind::Unsigned(2), 5, 11), "1377");
    assert_eq!(bits(Kind::Unsigned(2), 0, 5), "22");
    assert_eq!(bits(Kind::Unsigned(1), 2, 2), "3");
    assert_eq!(bits(Kind::Signed(1), 2, 2), "-1");
    assert_eq!(bits(Kind::Signed(1), 2, 3), "3");
    assert_eq!(bits(Kind::Boolean(1), 7, 1), "true");
    assert_eq!(bits(Kind::Boolean(1), 6, 1), "false");
}

#[test]
fn fixed_point_values_are_exact() {
    let scaled = |scale: &str, offset: Option<Number>, frame: &[u8]| {
        let field = Field { scale: decimal_of(scale), offset, ..field(0, Kind::Signed(2)) };
        shown(&field, frame)
    };
    assert_eq!(scaled("0.1", None, &[0x04, 0xd4]), "123.6");
    assert_eq!(scaled("0.005", None, &[0x12, 0xfc]), "24.300");
    assert_eq!(scaled("0.0625", None, &[0xff, 0x5e]), "-10.1250");
    assert_eq!(scaled("0.01", decimal_of("-273.15"), &[0x75, 0x30]), "26.85");
    assert_eq!(scaled("10", decimal_of("50000"), &[0, 3]), "50030");
}

#[test]
fn floats_take_their_shortest_form_and_nan_is_no_value() {
    let kind = field(0, Kind::Float32);
    assert_eq!(shown(&kind, &0.1_f32.to_be_bytes()), "0.1");
    assert_eq!(shown(&little(0, Kind::Float64), &(-21.5_f64).to_le_bytes()), "-21.5");
    assert_eq!(shown(&kind, &f32::NAN.to_be_bytes()), "-");
    assert_eq!(shown(&kind, &f32::INFINITY.to_be_bytes()), "-");
    let kind = Field { absent: vec![-9999], ..kind };
    assert_eq!(shown(&kind, &(-9999.0_f32).to_be_bytes()), "-");
    let kind = Field { scale: decimal_of("1e300"), ..field(0, Kind::Float64) };
    assert_eq!(kind.read(&1e300_f64.to_be_bytes()), Err(FieldError::TooLarge));
}

#[test]
fn what_stands_for_no_value_is_none() {
    let absent = |kind, absent, bytes: &[u8]| {
        shown(&Field { absent: vec![absent], ..field(0, kind) }, bytes)
    };
    assert_eq!(absent(Kind::Signed(2), 0x8000, &[0x80, 0]), "-");
    assert_eq!(absent(Kind::Signed(2), -32768, &[0x80, 0]), "-");
    assert_eq!(absent(Kind::Signed(2), 0x8000, &[0x80, 1]), "-32767");
    assert_eq!(absent(Kind::Unsigned(8), -1, &[0xff; 8]), "-");
    assert_eq!(absent(Kind::Bcd(2), 0xffff, &[0xff; 2]), "-");
    assert_eq!(absent(Kind::Hex(Some(6)), -1, &[0xff; 6]), "-");
    assert_eq!(absent(Kind::Hex(Some(6)), -1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0]), "ffffffffff00");
}

#[test]
fn meanings_are_text_and_what_has_none_its_digits() {
    let meanings = BTreeMap::from([(0, "off".to_owned()), (-1, "broken".to_owned())]);
    let field = Field { meanings, ..field(0, Kind::Signed(1)) };
    assert_eq!(
        [0, 0xff, 7].map(|byte| field.read(&[byte]).unwrap()),
        ["off", "broken", "7"].map(|text| Some(Value::Text(text.to_owned())))
    );
}

#[test]
fn packed_decimals_have_digits_only() {
    assert_eq!(shown(&field(0, Kind::Bcd(3)), &[0x12, 0x34, 0x56]), "123456");
    assert_eq!(shown(&little(0, Kind::Bcd(3)), &[0x12, 0x34, 0x56]), "563412");
    assert_eq!(shown(&field(0, Kind::Bcd(8)), &[0x99; 8]), "9999999999999999");
    assert_eq!(field(0, Kind::Bcd(2)).read(&[0x12, 0x3a]), Err(FieldError::Digits(0x3a)));
}

#[test]
fn text_ends_at_a_zero_or_where_it_is_said() {
    assert_eq!(shown(&field(1, Kind::Text(Some(6))), b"xTH-1 \0\xffy"), "TH-1");
    assert_eq!(shown(&field(-3, Kind::Text(None)), b"xxabc"), "abc");
    assert_eq!(shown(&field(5, Kind::Text(None)), b"xxabc"), "");
    assert_eq!(field(0, Kind::Text(None)).read(b"\xff"), Err(FieldError::NotText));
    assert_eq!(shown(&field(1, Kind::Hex(None)), &[0, 0xa1, 0x60]), "a160");
    assert_eq!(shown(&field(1, Kind::Bytes(Some(1))), &[0, 7, 8]), "[7]");
}

#[test]
fn a_frame_that_ends_before_a_field_is_short() {
    for field in [
        field(1, Kind::Unsigned(2)),
        field(-3, Kind::Unsigned(1)),
        field(-1, Kind::Float32),
        field(3, Kind::Text(None)),
        field(i32::MIN, Kind::Bytes(None)),
    ] {
        assert_eq!(field.read(&[0, 0]), Err(FieldError::Short { len: 2 }), "{field:?}");
        assert!(!field.is(&[0, 0], 0), "{field:?}");
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (0_u8..10).prop_map(Kind::Unsigned),
        (0_u8..10).prop_map(Kind::Signed),
        (0_u8..10).prop_map(Kind::Boolean),
        (0_u8..10).prop_map(Kind::Bcd),
        Just(Kind::Float32),
        Just(Kind::Float64),
        proptest::option::of(0_u16..20).prop_map(Kind::Text),
        proptest::option::of(0_u16..20).prop_map(Kind::Hex),
        proptest::option::of(0_u16..20).prop_map(Kind::Bytes),
    ]
}

proptest! {
    #[test]
    fn any_field_of_any_frame_is_a_value_or_an_error(
        at in -20..20_i32,
        kind in kinds(),
        is_little in any::<bool>(),
        bits in proptest::option::of((any::<u8>(), any::<u8>())),
        absent in any::<i64>(),
        mantissa in any::<i64>(),
        frame in proptest::collection::vec(any::<u8>(), 0..24),
    ) {
        let endian = if is_little { Endian::Little } else { Endian::Big };
        let number = Number::from_decimal(mantissa.into(), -3);
        let field = Field {
            bits: bits.map(|(first, count)| Bits { first, count }),
            scale: number,
            offset: number,
            absent: vec![absent],
            ..Field::new(at, kind, endian)
        };
        let _ = (field.read(&frame), field.is(&frame, absent));
    }

    #[test]
    fn an_integer_reads_back(value in any::<i64>(), width in 1_u8..=8) {
        let unused = 64 - 8 * u32::from(width);
        let value = value << unused >> unused;
        let bytes = value.to_le_bytes();
        let bytes = &bytes[..width.into()];
        let signed = little(0, Kind::Signed(width));
        prop_assert_eq!(signed.read(bytes), Ok(Some(Value::Number(value.into()))));
        prop_assert!(signed.is(bytes, value));
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        prop_assert_eq!(field(0, Kind::Signed(width)).read(&reversed), signed.read(bytes));
    }
}
