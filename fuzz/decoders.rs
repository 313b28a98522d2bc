//! The gateway's decoders, outside of the gateway: for fuzzing and for benchmarks.
//!
//! The gateway is a program and no library, so that its files are taken one by one: those that need
//! neither its configuration nor each other's tests. `gateway/src/decode/tests.rs` replays what
//! fuzzing found.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::panic,
    reason = "each user needs a part of it"
)]

#[path = "../gateway/src/decode/civil.rs"]
mod civil;
#[path = "../gateway/src/decode/coiot.rs"]
mod coiot;
#[path = "../gateway/src/decode/draft.rs"]
mod draft;
#[path = "../gateway/src/decode/dsmr.rs"]
mod dsmr;
#[path = "../gateway/src/decode/formats.rs"]
mod formats;
#[path = "../gateway/src/decode/gwmp.rs"]
mod gwmp;
#[path = "../gateway/src/decode/influx.rs"]
mod influx;
#[path = "../gateway/src/decode/mbus.rs"]
mod mbus;
#[path = "../gateway/src/decode/mbus_units.rs"]
mod mbus_units;
#[path = "../gateway/src/decode/nmea.rs"]
mod nmea;
#[path = "../gateway/src/decode/obis.rs"]
mod obis;
#[path = "../gateway/src/decode/rtl433.rs"]
mod rtl433;
#[path = "../gateway/src/decode/scalar.rs"]
mod scalar;
#[path = "../gateway/src/decode/sml.rs"]
mod sml;
#[path = "../gateway/src/decode/statsd.rs"]
mod statsd;
#[path = "../gateway/src/decode/vedirect.rs"]
mod vedirect;

use proto::Timestamp;

pub(crate) use self::formats::Format;

/// 2026-11-21T12:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_nanos(1_795_262_400_000_000_000);

/// How many readings a message holds, read as a format.
pub(crate) fn read(format: Format, message: &[u8]) -> Option<usize> {
    format.decode(message, NOW).ok().map(|drafts| drafts.len())
}

/// The same for lines of InfluxDB.
pub(crate) fn read_influx(message: &[u8]) -> Option<usize> {
    influx::InfluxDecoder::new(None, 1).decode(message).ok().map(|drafts| drafts.len())
}

/// Whatever a message is read as, it makes no more readings than it has bytes.
pub fn check(message: &[u8]) {
    let readings = Format::ALL.map(|format| read(format, message));
    for count in readings.into_iter().chain([read_influx(message)]).flatten() {
        assert!(count <= message.len(), "{count} readings of {} bytes", message.len());
    }
}
