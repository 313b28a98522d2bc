//! What becomes of messages of real devices, and that no message does harm.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proto::{Timestamp, Value};

use super::draft::{DecodeError, Draft, complete};
use super::formats::Format;
use super::influx::InfluxDecoder;
use super::scalar::from_hex;

/// 2026-11-21T12:00:00Z.
const NOW: Timestamp = Timestamp::from_nanos(1_795_262_400_000_000_000);

const CORPUS: &str = include_str!("../../../fuzz/corpora/decoders.hex");

/// Messages that are kept beside this file, with what they are.
fn golden() -> Vec<(String, Vec<u8>)> {
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("txt") => messages.push((name, bytes)),
            Some("hex") => {
                let digits = String::from_utf8(bytes).unwrap();
                messages.push((name, from_hex(digits.trim()).unwrap()));
            }
            _ => {}
        }
    }
    messages.sort();
    assert!(messages.len() > 20, "{} messages", messages.len());
    messages
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/decode/golden")
}

fn decode(name: &str, message: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    let kinds = [
        ("nmea", Format::Nmea),
        ("dsmr", Format::Dsmr),
        ("sml", Format::Sml),
        ("mbus", Format::Mbus),
        ("ve-direct", Format::VeDirect),
        ("coiot", Format::Coiot),
        ("gwmp", Format::Gwmp),
        ("rtl433", Format::Rtl433),
        ("statsd", Format::Statsd),
    ];
    match kinds.into_iter().find(|(prefix, _)| name.starts_with(prefix)) {
        Some((_, format)) => format.decode(message, NOW),
        None => influx().decode(message),
    }
}

fn influx() -> InfluxDecoder {
    InfluxDecoder::new(None, 1)
}

/// One reading a line.
fn shown(drafts: Vec<Draft>) -> String {
    let readings = complete(drafts, || "(source)".to_owned(), NOW).unwrap();
    let mut lines = String::new();
    for reading in readings {
        let value = match &reading.value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::Boolean(boolean) => boolean.to_string(),
            Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let unit = reading.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        let at = jiff::Timestamp::from_nanosecond(reading.time.as_nanos().into()).unwrap();
        let at = if reading.time == NOW { String::new() } else { format!(" at {at}") };
        lines += &format!("{} {} = {value}{unit}{at}\n", reading.device, reading.name);
    }
    lines
}

#[test]
fn messages_of_real_devices_become_these_readings() {
    let update = std::env::var_os("UPDATE").is_some();
    for (name, message) in golden() {
        let readings = shown(decode(&name, &message).unwrap_or_else(|e| panic!("{name}: {e}")));
        let path = folder().join(format!("{name}.readings"));
        if update {
            std::fs::write(&path, &readings).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(readings, expected, "{name}");
    }
}

/// A checksum finds every flipped bit: no reading comes of it, or the very same ones.
#[test]
fn a_flipped_bit_never_changes_a_reading() {
    let checked = ["nmea", "dsmr-5", "dsmr-isk", "sml", "mbus", "ve-direct"];
    for (name, message) in golden() {
        if !checked.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let whole = decode(&name, &message).unwrap();
        for bit in 0..message.len() * 8 {
            let mut damaged = message.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(drafts) = decode(&name, &damaged) {
                // Of several sentences, one that has become another type leaves the rest.
                let is_part = drafts.iter().all(|draft| whole.contains(draft));
                assert!(is_part, "{name}, bit {bit}: {drafts:?}");
            }
        }
    }
}

#[test]
fn a_message_that_is_cut_off_is_an_error() {
    for (name, message) in golden() {
        if name.starts_with("sml") || name.starts_with("mbus") || name.starts_with("ve-direct") {
            for len in 0..message.len() {
                assert!(decode(&name, &message[..len]).is_err(), "{name}, {len} bytes");
            }
        }
    }
}

/// InfluxDB 1.8, "Line protocol reference": special characters, and the types of fields.
#[test]
fn influx_lines_have_escapes_types_and_a_unit_of_time() {
    let lines = "# comment\nwea\\,ther,room=living\\ room,host=pi \
                 a=1i,b=t,c=\"say \\\"x, y=1\\\"\",d=-1.50e3 1465839830\r\nm,host=pi v=2u";
    let decoder = InfluxDecoder::new(Some("host".to_owned()), 1_000_000_000);
    let expected = "pi wea,ther.living room.a = 1 at 2016-06-13T17:43:50Z\n\
                    pi wea,ther.living room.b = true at 2016-06-13T17:43:50Z\n\
                    pi wea,ther.living room.c = \"say \\\"x, y=1\\\"\" at 2016-06-13T17:43:50Z\n\
                    pi wea,ther.living room.d = -1.50e3 at 2016-06-13T17:43:50Z\n\
                    pi m.v = 2\n";
    let drafts = decoder.decode(lines.as_bytes()).unwrap();
    let expected =
        expected.replace("-1.50e3", &"-1.50e3".parse::<proto::Number>().unwrap().to_string());
    assert_eq!(shown(drafts), expected);
    for bad in [
        "m v=1",
        "m,host=pi",
        "m,host=pi v",
        "m,host=pi v=",
        "m,host v=1",
        "m,host=pi v=\"a",
        "m,host=pi v=1 soon",
    ] {
        assert!(decoder.decode(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn nmea_without_a_right_checksum_or_with_an_impossible_place_is_refused() {
    let sentence = |body: &str| {
        let check = proto::checksum::Checksum::Xor8.of(body.as_bytes());
        format!("${body}*{check:02X}")
    };
    let read = |line: &str| Format::Nmea.decode(line.as_bytes(), NOW);
    assert!(matches!(read("$GPHDT,274.07,T"), Err(DecodeError::Syntax { .. })));
    assert!(matches!(read("$GPHDT,274.07,T*04"), Err(DecodeError::Check { .. })));
    assert_eq!(read(&sentence("GPHDT,274.07,T")).unwrap().len(), 1);
    for body in [
        "GPGLL,9060.000,N,01131.000,E,,A",
        "GPGLL,4860.000,N,01131.000,E,,A",
        "GPGLL,4807.038,E,01131.000,E,,A",
    ] {
        assert!(matches!(read(&sentence(body)), Err(DecodeError::Field { .. })), "{body}");
    }
    let south = read(&sentence("GPGLL,3351.500,S,15112.900,W,,A")).unwrap();
    assert_eq!(
        shown(south),
        "(source) latitude = -33.85833 lat\n(source) longitude = -151.21500 lon\n(source) valid = true\n"
    );
    assert!(matches!(read(&sentence("GPZZZ,1")), Err(DecodeError::Unsupported { .. })));
    assert!(read(&sentence("GPGSV,4,2,15")).unwrap_err().is_routine());
}

/// Reads bytes as everything that there is.
fn check(message: &[u8]) {
    let all = Format::ALL.map(|format| format.decode(message, NOW));
    for drafts in all.into_iter().chain([influx().decode(message)]).flatten() {
        // Memory is bounded by the message.
        assert!(drafts.len() <= message.len(), "{} readings", drafts.len());
    }
}

#[test]
fn what_fuzzing_found_worth_keeping_does_no_harm() {
    let mut inputs = 0;
    for line in CORPUS.lines() {
        check(&from_hex(line).unwrap());
        inputs += 1;
    }
    assert!(inputs > 100, "{inputs} inputs");
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&message);
    }

    #[test]
    fn changed_messages_do_no_harm(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..8),
    ) {
        let golden = golden();
        let mut message = golden[which.index(golden.len())].1.clone();
        for (at, byte, kind) in changes {
            let at = at.index(message.len());
            match kind {
                0 => message[at] = byte,
                1 => message.insert(at, byte),
                2 if message.len() > 1 => drop(message.remove(at)),
                _ => message.truncate(at.max(1)),
            }
        }
        check(&message);
    }
}
