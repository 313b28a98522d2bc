//! What it costs to read a message of a device, for each format.

use std::time::Duration;

use super::Outcome;
use super::clock::now;
use super::figure::Run;
use super::process::own_thread_cpu;
use super::readers::{Format, read, read_influx};

/// A format: its name, what reads it, and a message of a device, from the gateway's golden ones.
pub(crate) type Kind = (&'static str, fn(&[u8]) -> Option<usize>, &'static [u8]);

/// All formats.
pub(crate) const KINDS: [Kind; 10] = [
    (
        "decode-nmea",
        |m| read(Format::Nmea, m),
        include_bytes!("../../gateway/src/decode/golden/nmea.txt"),
    ),
    (
        "decode-dsmr",
        |m| read(Format::Dsmr, m),
        include_bytes!("../../gateway/src/decode/golden/dsmr-isk.txt"),
    ),
    (
        "decode-sml",
        |m| read(Format::Sml, m),
        include_bytes!("../../gateway/src/decode/golden/sml-iskra-mt691.hex"),
    ),
    (
        "decode-m-bus",
        |m| read(Format::Mbus, m),
        include_bytes!("../../gateway/src/decode/golden/mbus-elvaco-cma10.hex"),
    ),
    (
        "decode-ve-direct",
        |m| read(Format::VeDirect, m),
        include_bytes!("../../gateway/src/decode/golden/ve-direct-bmv.hex"),
    ),
    (
        "decode-coiot",
        |m| read(Format::Coiot, m),
        include_bytes!("../../gateway/src/decode/golden/coiot-plug.hex"),
    ),
    (
        "decode-gwmp",
        |m| read(Format::Gwmp, m),
        include_bytes!("../../gateway/src/decode/golden/gwmp-rxpk.hex"),
    ),
    (
        "decode-rtl433",
        |m| read(Format::Rtl433, m),
        include_bytes!("../../gateway/src/decode/golden/rtl433.txt"),
    ),
    (
        "decode-statsd",
        |m| read(Format::Statsd, m),
        include_bytes!("../../gateway/src/decode/golden/statsd.txt"),
    ),
    ("decode-influx", read_influx, include_bytes!("../../gateway/src/decode/golden/influx.txt")),
];

/// Messages that are read before the clock is.
const TURN: u64 = 100;

/// Reads a message again and again for a while.
pub(crate) fn decode((name, read, kept): Kind, duration: Duration) -> Outcome<Run> {
    // Binary messages are kept in hexadecimal.
    let message = match from_hex(kept) {
        Some(message) => message,
        None => kept.to_vec(),
    };
    let (start, cpu) = (now(), own_thread_cpu()?);
    let mut messages = 0;
    while now() - start < duration {
        for _ in 0..TURN {
            let readings = std::hint::black_box(read(std::hint::black_box(&message)));
            readings.ok_or_else(|| format!("{name} could not be read"))?;
        }
        messages += TURN;
    }
    let elapsed = now() - start;
    Ok(Run::default().with_rate(messages, elapsed).with_cpu(messages, own_thread_cpu()? - cpu))
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.trim_ascii();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digits.chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}
