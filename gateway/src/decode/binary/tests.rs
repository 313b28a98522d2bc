use proptest::prelude::*;

use super::*;
use crate::decode::draft::MAX_READINGS;

fn decoder(config: &str) -> BinaryDecoder {
    BinaryDecoder::new(&toml::from_str(config).unwrap())
}

fn decode(config: &str, frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    decoder(config).decode(frame)
}

/// `name=value unit` of each reading.
fn shown(drafts: &[Draft]) -> Vec<String> {
    let one = |draft: &Draft| {
        let value = match &draft.value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.clone(),
            Value::Boolean(boolean) => boolean.to_string(),
            Value::Bytes(bytes) => format!("{bytes:?}"),
        };
        format!("{}={value}{}", draft.name, draft.unit.as_deref().unwrap_or_default())
    };
    drafts.iter().map(one).collect()
}

const KINDS: &str = r#"
    endian = "little"
    device = "id"
    seq = "count"
    epoch = "boots"
    time = "at"
    time_unit = "ms"
    fields = [{ name = "id", at = 1, type = "hex", bytes = 2, absent = [-1] }]
    messages = [
        { when = { at = 0, equals = 5 }, fields = [
            { name = "temp", at = 3, type = "i16", scale = 0.01, unit = "Cel", absent = [0x8000] },
            { name = "count", at = 5, type = "u24" },
            { name = "boots", at = 8, type = "u8" },
        ] },
        { when = { at = -1, equals = -1 }, fields = [
            { name = "state", at = 3, type = "u8", bit = 4, bits = 2, values = { 0 = "off", 0x2 = "on" } },
            { name = "at", at = 4, type = "u48" },
        ] },
    ]
"#;

#[test]
fn the_first_kind_that_fits_is_read_beside_the_fields_of_all() {
    let drafts = decode(KINDS, &[5, 0xa1, 0x60, 0x2e, 0xfb, 1, 2, 3, 9]).unwrap();
    assert_eq!(shown(&drafts), ["temp=-12.34Cel"]);
    let [draft] = &drafts[..] else { panic!("one") };
    assert_eq!(draft.device.as_deref(), Some("a160"));
    assert_eq!((draft.sequence, draft.epoch, draft.time), (Some(0x03_02_01), Some(9), None));

    let millis = 1_795_214_340_123_u64.to_le_bytes();
    let drafts = decode(KINDS, &[&[6, 0xff, 0xff, 0x20], &millis[..6], &[0xff]].concat()).unwrap();
    assert_eq!(shown(&drafts), ["state=on"]);
    assert_eq!(drafts[0].device, None, "it is not known");
    assert_eq!(drafts[0].time.unwrap().as_millis(), 1_795_214_340_123);
}

#[test]
fn a_frame_that_no_kind_fits_is_refused() {
    for frame in [&[][..], &[7, 0, 0, 0]] {
        assert_eq!(decode(KINDS, frame), Err(DecodeError::Message));
    }
}

#[test]
fn a_value_that_is_not_there_is_no_reading() {
    let drafts = decode(KINDS, &[5, 0, 0, 0, 0x80, 1, 2, 3, 9]).unwrap();
    assert_eq!(shown(&drafts), [""; 0]);
}

#[test]
fn a_frame_that_is_too_short_names_the_field() {
    let error = decode(KINDS, &[5, 0, 0, 0]).unwrap_err();
    assert_eq!(error.to_string(), "`temp` is not within its 4 bytes");
    assert_eq!(error.reason(), "short");
}

const TLV: &str = r#"
    fields = [{ name = "id", at = 0, type = "u8" }]
    device = "id"
    [items]
    at = 1
    length = 1
    kinds = [
        { when = { at = 0, equals = 1 }, fields = [{ name = "temp", at = 2, type = "i16", scale = 0.1 }] },
        { when = { at = 0, equals = 2 }, fields = [{ name = "text", at = 2, type = "text" }] },
    ]
"#;

#[test]
fn items_that_say_their_length_are_read_and_those_of_no_kind_left_out() {
    let frame = [7, 1, 2, 0, 215, 9, 3, 0xff, 0xff, 0xff, 2, 2, b'o', b'n', 9, 0];
    let drafts = decode(TLV, &frame).unwrap();
    assert_eq!(shown(&drafts), ["temp=21.5", "text=on"]);
    assert!(drafts.iter().all(|draft| draft.device.as_deref() == Some("7")));
    assert_eq!(shown(&decode(TLV, &[7]).unwrap()), [""; 0], "no item is none");
}

#[test]
fn an_item_that_goes_beyond_the_frame_refuses_it() {
    for (frame, why) in [
        (&[7, 1, 3, 0, 215][..], "it ends within the item that begins at byte 1"),
        (&[7, 9, 0, 1], "it ends within the item that begins at byte 3"),
        (&[7, 1, 1, 0], "`temp` is not within its 3 bytes"),
    ] {
        let error = decode(TLV, frame).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.reason()), (why, "short"));
    }
}

#[test]
fn a_frame_has_no_more_readings_than_are_taken() {
    let config = r#"
        [items]
        kinds = [{ when = { at = 0, equals = 0 }, size = 1, fields = [{ name = "a", at = 0, type = "u8" }] }]
    "#;
    assert_eq!(decode(config, &[0; MAX_READINGS]).unwrap().len(), MAX_READINGS);
    assert_eq!(decode(config, &[0; MAX_READINGS + 1]), Err(DecodeError::TooMany));
}

proptest! {
    #[test]
    fn any_items_are_readings_or_an_error(frame in proptest::collection::vec(0u8..4, 0..32)) {
        let drafts = decode(TLV, &frame);
        prop_assert!(drafts.is_err() || !frame.is_empty());
    }

    #[test]
    fn any_frame_is_readings_or_an_error(frame in proptest::collection::vec(any::<u8>(), 0..16)) {
        let drafts = decode(KINDS, &frame);
        prop_assert!(drafts.is_err() || frame.len() >= 9);
    }
}
