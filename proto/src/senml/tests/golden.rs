//! The examples of RFC 8428, read, written and cut short.

use super::*;

/// §5.1.1
const SINGLE: &str = r#"[
  {"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}
]"#;

/// §5.1.2, first example
const NOW_TWICE: &str = r#"[
  {"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},
  {"n":"current","u":"A","v":1.2}
]"#;

/// §5.1.2, second example
const SIX_SECONDS: &str = r#"[
  {"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,
   "bu":"A","bver":5,
   "n":"voltage","u":"V","v":120.1},
  {"n":"current","t":-5,"v":1.2},
  {"n":"current","t":-4,"v":1.3},
  {"n":"current","t":-3,"v":1.4},
  {"n":"current","t":-2,"v":1.5},
  {"n":"current","t":-1,"v":1.6},
  {"n":"current","v":1.7}
]"#;

/// §5.1.2, the stream, closed after what is printed
const STREAM: &str = r#"[
  {"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,
   "bu":"%RH","v":21.2},
  {"t":10,"v":21.3},
  {"t":20,"v":21.4},
  {"t":30,"v":21.4},
  {"t":40,"v":21.5},
  {"t":50,"v":21.5},
  {"t":60,"v":21.5},
  {"t":70,"v":21.6},
  {"t":80,"v":21.7}
]"#;

/// §5.1.3
const MULTIPLE: &str = r#"[
  {"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,
   "bu":"%RH","v":20},
  {"u":"lon","v":24.30621},
  {"u":"lat","v":60.07965},
  {"t":60,"v":20.3},
  {"u":"lon","t":60,"v":24.30622},
  {"u":"lat","t":60,"v":60.07965},
  {"t":120,"v":20.7},
  {"u":"lon","t":120,"v":24.30623},
  {"u":"lat","t":120,"v":60.07966},
  {"u":"%EL","t":150,"v":98},
  {"t":180,"v":21.2},
  {"u":"lon","t":180,"v":24.30628},
  {"u":"lat","t":180,"v":60.07967}
]"#;

/// §5.1.4
const RESOLVED: &str = r#"[
  {"n":"urn:dev:ow:10e2073a01080063","u":"%RH","t":1.320067464e+09,"v":20},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lon","t":1.320067464e+09,"v":24.30621},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lat","t":1.320067464e+09,"v":60.07965},
  {"n":"urn:dev:ow:10e2073a01080063","u":"%RH","t":1.320067524e+09,"v":20.3},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lon","t":1.320067524e+09,"v":24.30622},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lat","t":1.320067524e+09,"v":60.07965},
  {"n":"urn:dev:ow:10e2073a01080063","u":"%RH","t":1.320067584e+09,"v":20.7},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lon","t":1.320067584e+09,"v":24.30623},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lat","t":1.320067584e+09,"v":60.07966},
  {"n":"urn:dev:ow:10e2073a01080063","u":"%EL","t":1.320067614e+09,"v":98},
  {"n":"urn:dev:ow:10e2073a01080063","u":"%RH","t":1.320067644e+09,"v":21.2},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lon","t":1.320067644e+09,"v":24.30628},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lat","t":1.320067644e+09,"v":60.07967}
]"#;

/// §5.1.5
const TYPES: &str = r#"[
  {"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
  {"n":"label","vs":"Machine Room"},
  {"n":"open","vb":false},
  {"n":"nfv-reader","vd":"aGkgCg"}
]"#;

/// §5.1.6
const COLLECTION: &str = r#"[
  {"bn":"2001:db8::2/","bt":1.320078429e+09,
   "n":"temperature","u":"Cel","v":25.2},
  {"n":"humidity","u":"%RH","v":30},
  {"bn":"2001:db8::1/","n":"temperature","u":"Cel","v":12.3},
  {"n":"humidity","u":"%RH","v":67}
]"#;

/// §5.1.7, first example
const THERMOSTAT: &str = r#"[
  {"bn":"urn:dev:ow:10e2073a01080063:"},
  {"n":"temp","u":"Cel","v":23.1},
  {"n":"heat","u":"/","v":1},
  {"n":"fan","u":"/","v":0}
]"#;

/// §5.1.7, second example
const LIGHTS_ON: &str = r#"[
  {"bt":1.320078429e+09,"bu":"/","n":"2001:db8::3","v":1},
  {"n":"2001:db8::4","v":1}
]"#;

/// §5.1.7, third example
const LIGHTS_OFF: &str = r#"[
  {"bt":1.320078429e+09,"bu":"/","n":"2001:db8::3","v":0.5},
  {"n":"2001:db8::4","v":0.5},
  {"n":"2001:db8::3","t":0.1,"v":0},
  {"n":"2001:db8::4","t":0.1,"v":0}
]"#;

/// §6: the pack of §5.1.2, second example
const SIX_SECONDS_CBOR: &str = "
    87 a7 21 78 1b 75 72 6e 3a 64 65 76 3a 6f 77 3a
    31 30 65 32 30 37 33 61 30 31 30 38 30 30 36 3a
    22 fb 41 d3 03 a1 5b 00 10 62 23 61 41 20 05 00
    67 76 6f 6c 74 61 67 65 01 61 56 02 fb 40 5e 06
    66 66 66 66 66 a3 00 67 63 75 72 72 65 6e 74 06
    24 02 fb 3f f3 33 33 33 33 33 33 a3 00 67 63 75
    72 72 65 6e 74 06 23 02 fb 3f f4 cc cc cc cc cc
    cd a3 00 67 63 75 72 72 65 6e 74 06 22 02 fb 3f
    f6 66 66 66 66 66 66 a3 00 67 63 75 72 72 65 6e
    74 06 21 02 f9 3e 00 a3 00 67 63 75 72 72 65 6e
    74 06 20 02 fb 3f f9 99 99 99 99 99 9a a3 00 67
    63 75 72 72 65 6e 74 06 00 02 fb 3f fb 33 33 33
    33 33 33";

const ALL: [&str; 11] = [
    SINGLE,
    NOW_TWICE,
    SIX_SECONDS,
    STREAM,
    MULTIPLE,
    RESOLVED,
    TYPES,
    COLLECTION,
    THERMOSTAT,
    LIGHTS_ON,
    LIGHTS_OFF,
];

#[test]
fn a_single_data_point_is_measured_now() {
    let record = record(SINGLE);
    assert_eq!(line(&record), "urn:dev:ow:10e2073a01080063 Cel 23.1 1700000000");
    assert_eq!(record.time_source, TimeSource::Now);
    assert_eq!((record.base_name.as_str(), record.sum, record.update_time), ("", None, None));
}

#[test]
fn a_base_name_goes_before_later_names() {
    let records = records(NOW_TWICE);
    assert_eq!(
        lines(&records),
        [
            "urn:dev:ow:10e2073a01080063:voltage V 120.1 1700000000",
            "urn:dev:ow:10e2073a01080063:current A 1.2 1700000000",
        ]
    );
    assert_eq!(records[1].base_name, "urn:dev:ow:10e2073a01080063:");
    assert_eq!(records[1].name, "current");
}

const SIX_SECONDS_LINES: [&str; 7] = [
    "urn:dev:ow:10e2073a0108006:current A 1.2 1276020071.001",
    "urn:dev:ow:10e2073a0108006:current A 1.3 1276020072.001",
    "urn:dev:ow:10e2073a0108006:current A 1.4 1276020073.001",
    "urn:dev:ow:10e2073a0108006:current A 1.5 1276020074.001",
    "urn:dev:ow:10e2073a0108006:current A 1.6 1276020075.001",
    "urn:dev:ow:10e2073a0108006:voltage V 120.1 1276020076.001",
    "urn:dev:ow:10e2073a0108006:current A 1.7 1276020076.001",
];

#[test]
fn times_are_added_to_the_base_time_and_records_sorted_by_it() {
    let records = records(SIX_SECONDS);
    assert_eq!(lines(&records), SIX_SECONDS_LINES);
    assert!(records.iter().all(|record| record.time_source == TimeSource::Absolute));
}

#[test]
fn cbor_says_the_same_as_json() {
    let from_cbor = cbor::decode(&bytes(SIX_SECONDS_CBOR), NOW).unwrap();
    assert_eq!(lines(&from_cbor), SIX_SECONDS_LINES);
    assert_eq!(from_cbor, records(SIX_SECONDS));
}

#[test]
fn records_without_a_name_have_the_base_name() {
    let lines = lines(&records(STREAM));
    assert_eq!(lines.len(), 9);
    assert_eq!(lines[8], "urn:dev:ow:10e2073a01080063 %RH 21.7 1320067544");
}

#[test]
fn multiple_measurements_resolve_to_the_resolved_example() {
    assert_eq!(lines(&records(MULTIPLE)), lines(&records(RESOLVED)));
    let records = records(RESOLVED);
    assert_eq!(line(&records[9]), "urn:dev:ow:10e2073a01080063 %EL 98 1320067614");
}

#[test]
fn every_data_type_is_read() {
    assert_eq!(
        lines(&records(TYPES)),
        [
            "urn:dev:ow:10e2073a01080063:temp Cel 23.1 1700000000",
            "urn:dev:ow:10e2073a01080063:label - \"Machine Room\" 1700000000",
            "urn:dev:ow:10e2073a01080063:open - false 1700000000",
            "urn:dev:ow:10e2073a01080063:nfv-reader - [68, 69, 20, 0a] 1700000000",
        ]
    );
}

#[test]
fn each_base_field_lasts_until_its_own_next_one() {
    assert_eq!(
        lines(&records(COLLECTION)),
        [
            "2001:db8::2/temperature Cel 25.2 1320078429",
            "2001:db8::2/humidity %RH 30 1320078429",
            "2001:db8::1/temperature Cel 12.3 1320078429",
            "2001:db8::1/humidity %RH 67 1320078429",
        ]
    );
}

#[test]
fn a_record_of_base_fields_only_yields_nothing() {
    assert_eq!(
        lines(&records(THERMOSTAT)),
        [
            "urn:dev:ow:10e2073a01080063:temp Cel 23.1 1700000000",
            "urn:dev:ow:10e2073a01080063:heat / 1 1700000000",
            "urn:dev:ow:10e2073a01080063:fan / 0 1700000000",
        ]
    );
}

#[test]
fn actuators_are_set_at_the_time_of_their_record() {
    assert_eq!(
        lines(&records(LIGHTS_ON)),
        ["2001:db8::3 / 1 1320078429", "2001:db8::4 / 1 1320078429"]
    );
    assert_eq!(
        lines(&records(LIGHTS_OFF)),
        [
            "2001:db8::3 / 0.5 1320078429",
            "2001:db8::4 / 0.5 1320078429",
            "2001:db8::3 / 0 1320078429.1",
            "2001:db8::4 / 0 1320078429.1",
        ]
    );
}

#[test]
fn written_examples_are_as_compact_as_the_originals() {
    let written = json::encode(&records(MULTIPLE));
    assert_eq!(
        written.replace("},{", "},\n{"),
        r#"[{"bn":"urn:dev:ow:10e2073a01080063","bt":1320067464,"u":"%RH","v":20},
{"u":"lon","v":24.30621},
{"u":"lat","v":60.07965},
{"u":"%RH","t":60,"v":20.3},
{"u":"lon","t":60,"v":24.30622},
{"u":"lat","t":60,"v":60.07965},
{"u":"%RH","t":120,"v":20.7},
{"u":"lon","t":120,"v":24.30623},
{"u":"lat","t":120,"v":60.07966},
{"u":"%EL","t":150,"v":98},
{"u":"%RH","t":180,"v":21.2},
{"u":"lon","t":180,"v":24.30628},
{"u":"lat","t":180,"v":60.07967}]"#
    );
    assert_eq!(
        json::encode(&records(LIGHTS_OFF)),
        r#"[{"bt":1320078429,"bu":"/","n":"2001:db8::3","v":0.5},{"n":"2001:db8::4","v":0.5},{"n":"2001:db8::3","t":0.1,"v":0},{"n":"2001:db8::4","t":0.1,"v":0}]"#
    );
}

#[test]
fn written_examples_read_back() {
    for pack in ALL {
        let mut records = records(pack);
        // Written times are absolute.
        records.iter_mut().for_each(|record| record.time_source = TimeSource::Absolute);
        assert_eq!(json::decode(json::encode(&records).as_bytes(), NOW).unwrap(), records);
        assert_eq!(cbor::decode(&cbor::encode(&records), NOW).unwrap(), records);
    }
}

#[test]
fn every_truncation_is_an_error() {
    for pack in ALL {
        for length in 0..pack.len() {
            let cut = &pack.as_bytes()[..length];
            assert!(json::decode(cut, NOW).is_err(), "{length} bytes of {pack}");
        }
        let pack = cbor::encode(&records(pack));
        for length in 0..pack.len() {
            assert!(cbor::decode(&pack[..length], NOW).is_err(), "{length} bytes of {pack:02x?}");
        }
    }
    let pack = bytes(SIX_SECONDS_CBOR);
    for length in 0..pack.len() {
        let Problem::Syntax { .. } = cbor::decode(&pack[..length], NOW).unwrap_err().problem else {
            panic!("{length} bytes");
        };
    }
}

#[test]
fn every_flipped_bit_is_read_or_refused() {
    let originals = ALL
        .map(|pack| (pack.as_bytes().to_vec(), cbor::encode(&records(pack))))
        .into_iter()
        .flat_map(|(json, cbor)| [json, cbor])
        .chain([bytes(SIX_SECONDS_CBOR)]);
    for original in originals {
        for at in 0..original.len() {
            for bit in 0..8 {
                let mut pack = original.clone();
                pack[at] ^= 1 << bit;
                let _ = (json::decode(&pack, NOW), cbor::decode(&pack, NOW));
            }
        }
    }
}
