//! Formats that need no description: a device's make or a standard says what stands where.

use proto::Timestamp;

use super::draft::{DecodeError, Draft};
use super::{coiot, dsmr, gwmp, mbus, nmea, rtl433, sml, statsd, vedirect};

/// Such a format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Sentences of NMEA 0183.
    Nmea,
    /// P1 telegrams.
    Dsmr,
    /// SML files.
    Sml,
    /// Long frames of wired M-Bus.
    Mbus,
    /// Blocks of VE.Direct's text mode.
    VeDirect,
    /// CoIoT of Shelly devices.
    Coiot,
    /// Datagrams of LoRa gateways.
    Gwmp,
    /// Messages of rtl_433.
    Rtl433,
    /// StatsD metrics.
    Statsd,
}

impl Format {
    /// All of them.
    #[allow(dead_code, reason = "tests, fuzzing and benchmarks try them all")]
    pub(crate) const ALL: [Self; 9] = [
        Self::Nmea,
        Self::Dsmr,
        Self::Sml,
        Self::Mbus,
        Self::VeDirect,
        Self::Coiot,
        Self::Gwmp,
        Self::Rtl433,
        Self::Statsd,
    ];

    /// Reads a frame that arrived `now`.
    pub(crate) fn decode(self, frame: &[u8], now: Timestamp) -> Result<Vec<Draft>, DecodeError> {
        match self {
            Self::Nmea => nmea::decode(frame, now),
            Self::Dsmr => dsmr::decode(frame),
            Self::Sml => sml::decode(frame),
            Self::Mbus => mbus::decode(frame),
            Self::VeDirect => vedirect::decode(frame),
            Self::Coiot => coiot::decode(frame),
            Self::Gwmp => gwmp::decode(frame),
            Self::Rtl433 => rtl433::decode(frame),
            Self::Statsd => statsd::decode(frame),
        }
    }

    /// What a datagram is answered with, once its readings are on disk.
    pub(crate) fn answer(self, frame: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Gwmp => gwmp::answer(frame),
            Self::Nmea
            | Self::Dsmr
            | Self::Sml
            | Self::Mbus
            | Self::VeDirect
            | Self::Coiot
            | Self::Rtl433
            | Self::Statsd => None,
        }
    }
}
