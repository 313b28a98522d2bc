//! The values of single keys of a fault.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use proto::Rng;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

use crate::settings::{Id, Interval, TextValue as _, text_value};
use crate::signal::normal;

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;
/// The longest mean delay.
const MAX_MEAN: Duration = Duration::from_secs(3600);
/// Units of a bandwidth, in bits per second.
const UNITS: [(&str, u64); 8] = [
    ("bit/s", 1),
    ("kbit/s", 1_000),
    ("mbit/s", 1_000_000),
    ("gbit/s", 1_000_000_000),
    ("b/s", 8),
    ("kb/s", 8_000),
    ("mb/s", 8_000_000),
    ("gb/s", 8_000_000_000),
];
/// The widest: a terabit per second.
const MAX_BITS: u64 = 1_000_000_000_000;

/// Where a fault happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the way of every device of a fleet to the gateway.
    Fleet(Id),
    /// On the way to the broker, or in the broker.
    Broker,
    /// In the gateway's process.
    Gateway,
    /// On the serial port of this path.
    Serial(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "target.mqtt" => Ok(Self::Broker),
            "gateway" => Ok(Self::Gateway),
            _ => match text.strip_prefix("serial:") {
                Some("") => {
                    Err("expected a path behind serial:, such as \"serial:run/ttyGW\"".into())
                }
                Some(path) => Ok(Self::Serial(path.into())),
                None => text.parse().map(Self::Fleet).map_err(|_| Self::EXPECTED.into()),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet(name) => f.write_str(name.as_str()),
            Self::Broker => f.write_str("target.mqtt"),
            Self::Gateway => f.write_str("gateway"),
            Self::Serial(path) => write!(f, "serial:{}", path.display()),
        }
    }
}

text_value!(
    Place,
    "place",
    "expected the name of a fleet, \"target.mqtt\", \"gateway\" or \"serial:PATH\"",
    {}
);

/// How much passes in a second: `"9600 bit/s"`, `"1 MB/s"`. B is a byte of eight bits; k, M and G are
/// decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// In bits per second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }

    /// How long so many bytes take, rounded up to a microsecond.
    pub fn time_of(self, bytes: usize) -> Duration {
        let bits = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(8_000_000);
        let micros = bits.div_ceil(u128::from(self.0.max(1)));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

impl FromStr for Bandwidth {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).unwrap_or_default();
        let unit = unit.trim_ascii_start();
        // A lower-case b alone is read as a bit by some and as a byte by others.
        let lower = unit.to_ascii_lowercase();
        let known = UNITS.into_iter().find(|(name, _)| *name == lower);
        let number = number
            .parse::<u64>()
            .map_err(|_| "expected a whole number and a unit, such as \"9600 bit/s\"")?;
        let Some((_, factor)) = known.filter(|_| !unit.ends_with("b/s")) else {
            return Err("expected a unit after the number: bit/s, kbit/s, Mbit/s, B/s, kB/s, MB/s");
        };
        match number.checked_mul(factor) {
            Some(0) => Err("expected more than nothing; for nothing at all write partition = true"),
            Some(bits) if bits <= MAX_BITS => Ok(Self(bits)),
            Some(_) | None => Err("expected a terabit per second at most"),
        }
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bit/s", self.0)
    }
}

text_value!(Bandwidth, "bandwidth", "expected a bandwidth such as \"9600 bit/s\" or \"1 MB/s\"", {
});

/// How much later something arrives: the same for all, or log-normal with this mean and this 99th
/// percentile, which two numbers determine.
///
/// With `m` and `s` the mean and deviation of the logarithm, the mean is exp(m + s²/2) and the 99th
/// percentile exp(m + z·s), so that s² / 2 - z·s + ln(p99 / mean) = 0. Of its two solutions the smaller
/// is taken, the one that is zero where both are equal. There is none for a p99 of more than
/// exp(z² / 2), 14.97 times the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delay {
    mean: Duration,
    m: f64,
    s: f64,
}

impl Delay {
    /// Always this; an hour at most.
    pub fn constant(delay: Duration) -> Self {
        Self { mean: delay.min(MAX_MEAN), m: 0.0, s: 0.0 }
    }

    /// Log-normal.
    ///
    /// # Errors
    /// When no such distribution is there.
    pub fn log_normal(mean: Duration, p99: Duration) -> Result<Self, &'static str> {
        if mean > MAX_MEAN {
            return Err("expected an hour at most");
        }
        if mean == p99 {
            return Ok(Self::constant(mean));
        }
        if p99 < mean {
            return Err("expected a p99 that is not shorter than the mean");
        }
        let root = Z99 * Z99 - 2.0 * (p99.as_secs_f64() / mean.as_secs_f64()).ln();
        if mean.is_zero() || root < 0.0 {
            return Err("expected a p99 of at most 14.9 times the mean");
        }
        let s = Z99 - root.sqrt();
        Ok(Self { mean, m: mean.as_secs_f64().ln() - s * s / 2.0, s })
    }

    /// What it is on average.
    pub const fn mean(&self) -> Duration {
        self.mean
    }

    /// The delay of one.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        if self.s == 0.0 {
            return self.mean;
        }
        let seconds = (self.m + self.s * normal(rng)).exp();
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// A delay that varies.
#[derive(Deserialize, JsonSchema)]
struct DelayTable {
    /// On average.
    mean: Interval,
    /// What one in a hundred exceeds: up to 14.9 times the mean.
    p99: Interval,
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Delay;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "expected a duration such as \"80ms\", or { mean = \"80ms\", p99 = \"900ms\" }",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Delay, E> {
                let delay = Interval::deserialize(de::value::StrDeserializer::new(text))?;
                Delay::log_normal(delay.duration(), delay.duration()).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Delay, A::Error> {
                let DelayTable { mean, p99 } =
                    Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                Delay::log_normal(mean.duration(), p99.duration()).map_err(de::Error::custom)
            }
        }
        de.deserialize_any(Visitor)
    }
}

impl JsonSchema for Delay {
    fn schema_name() -> Cow<'static, str> {
        "delay".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let choices =
            [generator.subschema_for::<Interval>(), generator.subschema_for::<DelayTable>()];
        json_schema!({ "anyOf": choices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths_are_whole_numbers_with_a_unit() {
        let bits = |text: &str| text.parse::<Bandwidth>().map(Bandwidth::bits_per_second);
        assert_eq!(bits("9600 bit/s"), Ok(9600));
        assert_eq!(bits("1 MB/s"), Ok(8_000_000));
        assert_eq!(bits("64kbit/s"), Ok(64_000));
        for wrong in ["", "9600", "9600 b/s", "1 Mb/s", "0 bit/s", "1.5 MB/s", "2000 Gbit/s"] {
            assert!(bits(wrong).is_err(), "{wrong:?}");
        }
        let slow: Bandwidth = "9600 bit/s".parse().unwrap();
        assert_eq!(slow.time_of(1200), Duration::from_secs(1));
        assert_eq!(slow.to_string().parse(), Ok(slow));
    }

    #[test]
    fn places_are_told_apart() {
        for text in ["bench", "target.mqtt", "gateway", "serial:run/ttyGW"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for wrong in ["", "target.coap", "serial:", "Bench!"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn delays_have_the_mean_and_the_p99_that_were_asked_for() {
        for (mean_ms, p99_ms) in [(80, 900), (10, 20), (100, 1450)] {
            let mean = Duration::from_millis(mean_ms);
            let p99 = Duration::from_millis(p99_ms);
            let delay = Delay::log_normal(mean, p99).unwrap();
            // Both follow from the parameters.
            let exact = |seconds: f64, asked: Duration| (seconds / asked.as_secs_f64() - 1.0).abs();
            assert!(exact((delay.m + delay.s * delay.s / 2.0).exp(), mean) < 1e-9);
            assert!(exact((delay.m + Z99 * delay.s).exp(), p99) < 1e-9);
            // And are seen in what is drawn: 1,000 of 100,000 exceed, by a deviation of 31.5.
            let mut rng = Rng::new(1);
            let drawn: Vec<_> = (0..100_000).map(|_| delay.draw(&mut rng)).collect();
            let above = drawn.iter().filter(|&&drawn| drawn > p99).count();
            assert!((874..=1126).contains(&above), "{above}");
            let average = drawn.iter().map(Duration::as_secs_f64).sum::<f64>() / 100_000.0;
            // The deviation of the average is sqrt((exp(s²) - 1) / 100,000) of the mean.
            let deviation = (((delay.s * delay.s).exp() - 1.0) / 100_000.0).sqrt();
            assert!(exact(average, mean) < 4.0 * deviation, "{average}");
        }
    }

    #[test]
    fn delays_that_no_distribution_has_are_refused() {
        let ms = Duration::from_millis;
        assert!(Delay::log_normal(ms(100), ms(1500)).is_err());
        assert!(Delay::log_normal(ms(100), ms(99)).is_err());
        assert!(Delay::log_normal(ms(0), ms(99)).is_err());
        let constant = Delay::constant(ms(80));
        assert_eq!(constant.draw(&mut Rng::new(1)), ms(80));
    }
}
