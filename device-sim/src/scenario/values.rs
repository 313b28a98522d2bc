//! The values of single keys of a scenario.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use proto::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Unexpected};
use serde::{Deserialize, Deserializer};

use crate::settings::{Because, signed_duration, text_value};

/// A part of a whole: `"20%"`, or a number from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Share(f64);

const SHARE: &str = "expected a share such as \"20%\" or 0.2, from 0 to 1";

impl Share {
    /// From 0 to 1.
    pub const fn part(self) -> f64 {
        self.0
    }

    fn new(part: f64) -> Option<Self> {
        (0.0..=1.0).contains(&part).then_some(Self(part))
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Share;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SHARE)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Share, E> {
                let share = i8::try_from(number).ok().and_then(|part| Share::new(part.into()));
                share.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &SHARE))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Share, E> {
                Share::new(number)
                    .ok_or_else(|| E::invalid_value(Unexpected::Float(number), &SHARE))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                let percent = text.strip_suffix('%').and_then(|text| text.trim().parse().ok());
                let share = percent.and_then(|percent: f64| Share::new(percent / 100.0));
                share.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &SHARE))
            }
        }
        de.deserialize_any(Visitor)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "share".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "share",
            "type": ["number", "string"],
            "minimum": 0,
            "maximum": 1,
            "pattern": r"^[0-9.]+ *%$",
        })
    }
}

/// How much a clock is ahead, or behind with a minus before it: `"90s"`, `"-1h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew(SignedDuration);

impl Skew {
    /// In nanoseconds.
    pub fn nanos(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }
}

impl FromStr for Skew {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let most = SignedDuration::from_hours(24 * 365 * 50);
        match signed_duration(text) {
            Some(skew) if skew.abs() <= most => Ok(Self(skew)),
            Some(_) => Err("expected fifty years at most"),
            None => Err("expected a duration such as \"90s\", or \"-90s\" for a clock behind"),
        }
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

text_value!(Skew, "skew", "expected a duration such as \"90s\", or \"-90s\" for a clock behind", {
});

/// A civil time: `"2026-01-01T00:00:00Z"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CivilTime(jiff::Timestamp);

impl CivilTime {
    /// Since 1970.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_nanos(self.0.as_millisecond().saturating_mul(1_000_000))
    }
}

impl FromStr for CivilTime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp =
            text.parse().map_err(|_| "expected a time such as \"2026-01-01T00:00:00Z\"")?;
        // A SenML time before 2^28 s is one relative to now (RFC 8428 §4.5.3).
        match time.as_second() {
            0x1000_0000..=0x1_ffff_ffff => Ok(Self(time)),
            _ => Err("expected a time from 1978-07-04 to 2242-03-16"),
        }
    }
}

impl fmt::Display for CivilTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(CivilTime, "time", "expected a time such as \"2026-01-01T00:00:00Z\"", {});

/// Where the gateway listens: `127.0.0.1:5683`, or with a scheme and a path,
/// `coap://127.0.0.1:5683/r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    scheme: Option<String>,
    host: String,
    port: u16,
    path: String,
}

impl Address {
    /// What stands before `://`.
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// A name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path without its first slash; empty without one.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let (host, port) = (address.ip().to_string(), address.port());
        Self { scheme: None, host, port, path: String::new() }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
            None => (None, text),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority
            .rsplit_once(':')
            .ok_or("expected a host and a port, such as \"127.0.0.1:5683\"")?;
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or("expected a port from 1 to 65535 after the host")?;
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(address)) if address.parse::<Ipv6Addr>().is_ok() => address,
            Some(_) => return Err("expected an IPv6 address between the brackets"),
            None if host.contains(':') => {
                return Err("expected brackets around an IPv6 address, such as \"[::1]:5683\"");
            }
            None => host,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_name) {
            return Err("expected a host and a port, such as \"127.0.0.1:5683\"");
        }
        Ok(Self { scheme, host: host.to_owned(), port, path: path.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port)?,
            false => write!(f, "{}:{}", self.host, self.port)?,
        }
        if !self.path.is_empty() {
            write!(f, "/{}", self.path)?;
        }
        Ok(())
    }
}

text_value!(Address, "address", "expected a host and a port, such as \"127.0.0.1:5683\"", {});

/// The broker at the far end: `mqtt://127.0.0.1:1883`, or `built-in` for one that the run brings
/// along, `built-in:1883` on a port of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerAddress {
    /// One that runs already.
    At(Address),
    /// One of this run; port 0 takes a free one.
    BuiltIn(u16),
}

impl FromStr for BrokerAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("built-in") {
            let port = match rest.strip_prefix(':') {
                Some(port) => port.parse().ok(),
                None => rest.is_empty().then_some(0),
            };
            return port.map(Self::BuiltIn).ok_or("expected \"built-in\" or \"built-in:1883\"");
        }
        match text.parse::<Address>() {
            Ok(address) if address.scheme() != Some("mqtt") => {
                Err("expected \"mqtt://host:port\" or \"built-in\"")
            }
            Ok(address) if !address.path().is_empty() => Err("expected no path after the port"),
            Ok(address) => Ok(Self::At(address)),
            Err(_) => Err("expected \"mqtt://host:port\" or \"built-in\""),
        }
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::BuiltIn(0) => f.write_str("built-in"),
            Self::BuiltIn(port) => write!(f, "built-in:{port}"),
        }
    }
}

text_value!(BrokerAddress, "broker", "expected \"mqtt://host:port\" or \"built-in\"", {});

/// What stands for the number of a device within its fleet, counted from 1.
const NUMBER: &str = "{n}";
/// The most digits that a number is filled up to with zeros.
const MAX_WIDTH: usize = 9;
/// The longest text with a number.
const MAX_NUMBERED: usize = 200;

/// A text in which `{n}` is the number of a device within its fleet, from 1; `{n:04}` has zeros
/// before it, up to four digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    before: String,
    /// Digits at least; `None` without a number.
    width: Option<usize>,
    after: String,
}

impl Numbered {
    /// `{fleet}-{n}`.
    pub fn of_fleet(fleet: &str) -> Self {
        Self { before: format!("{fleet}-"), width: Some(0), after: String::new() }
    }

    /// The text for a number.
    pub fn fill(&self, number: u32) -> String {
        let Self { before, width, after } = self;
        match width {
            Some(width) => format!("{before}{number:0width$}{after}"),
            None => before.clone(),
        }
    }

    /// Whether there is a number in it.
    pub const fn has_number(&self) -> bool {
        self.width.is_some()
    }
}

impl FromStr for Numbered {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FIELD: &str = "expected no field but {n}, or {n:04} with so many digits, once";
        if text.is_empty() || text.len() > MAX_NUMBERED || text.contains(char::is_control) {
            return Err("expected 1 to 200 bytes of text without control characters");
        }
        let Some((before, rest)) = text.split_once('{') else {
            return match text.contains('}') {
                true => Err(FIELD),
                false => Ok(Self { before: text.to_owned(), width: None, after: String::new() }),
            };
        };
        let (field, after) = rest.split_once('}').ok_or(FIELD)?;
        let width = match field.strip_prefix("n:0") {
            Some(width) => width.parse().ok().filter(|width| *width <= MAX_WIDTH).ok_or(FIELD)?,
            None if field == "n" => 0,
            None => return Err(FIELD),
        };
        if after.contains(['{', '}']) || before.contains('}') {
            return Err(FIELD);
        }
        Ok(Self { before: before.to_owned(), width: Some(width), after: after.to_owned() })
    }
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        match self.width {
            Some(0) => f.write_str(NUMBER)?,
            Some(width) => write!(f, "{{n:0{width}}}")?,
            None => {}
        }
        f.write_str(&self.after)
    }
}

text_value!(Numbered, "text with {n}", "expected text such as \"th-{n:04}\"", {});

/// A serial port that the run makes: `pty:run/ttyGW{n}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortName(Numbered);

impl PortName {
    /// Where the port of a device is; what is relative is so to `folder`.
    pub fn path(&self, folder: &Path, number: u32) -> PathBuf {
        folder.join(self.0.fill(number))
    }

    /// Whether each device has its own.
    pub const fn has_number(&self) -> bool {
        self.0.has_number()
    }
}

impl FromStr for PortName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("pty:").ok_or(
            "expected `pty:` and where the port is to be made, such as \"pty:run/ttyGW{n}\"",
        )?;
        path.parse().map(Self)
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pty:{}", self.0)
    }
}

text_value!(PortName, "port", "expected a port such as \"pty:run/ttyGW{n}\"", {});

/// A number, a boolean or a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar(pub proto::Value);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("expected a number, a boolean or text")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(proto::Value::Boolean(value)))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
                decimal(&number.to_string())
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
                decimal(&number.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(proto::Value::Text(text.to_owned())))
            }
        }
        de.deserialize_any(Visitor)
    }
}

fn decimal<E: de::Error>(text: &str) -> Result<Scalar, E> {
    let number = text.parse().map_err(|_| {
        let expected = "expected a finite number of at most 38 digits".to_owned();
        E::invalid_value(Unexpected::Str(text), &Because(expected))
    })?;
    Ok(Scalar(proto::Value::Number(number)))
}

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "value".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "value", "type": ["number", "boolean", "string"] })
    }
}

/// The shortest time that a schedule can have.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port_and_maybe_a_scheme_and_a_path() {
        let parsed = |text: &str| text.parse::<Address>();
        let coap = parsed("coap://gateway.local:5683/r/x").unwrap();
        assert_eq!(
            (coap.scheme(), coap.host(), coap.port()),
            (Some("coap"), "gateway.local", 5683)
        );
        assert_eq!(coap.path(), "r/x");
        assert_eq!(parsed("[::1]:7000").unwrap().host(), "::1");
        for text in ["coap://gateway.local:5683/r/x", "[::1]:7000", "127.0.0.1:1"] {
            assert_eq!(parsed(text).unwrap().to_string(), text);
        }
        for wrong in ["host", "host:0", "host:x", "::1:5", ":5", "a b:5", "[a]:5", "u:p@h:5"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_broker_runs_already_or_is_built_in() {
        let parsed = |text: &str| text.parse::<BrokerAddress>();
        assert_eq!(parsed("built-in"), Ok(BrokerAddress::BuiltIn(0)));
        assert_eq!(parsed("built-in:1883"), Ok(BrokerAddress::BuiltIn(1883)));
        assert!(matches!(parsed("mqtt://localhost:1883"), Ok(BrokerAddress::At(_))));
        for wrong in ["built-in:x", "builtin", "localhost:1883", "http://h:1", "mqtt://h:1/x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_filled_up_with_zeros() {
        let filled = |text: &str| text.parse::<Numbered>().map(|text| text.fill(7));
        assert_eq!(filled("th-{n:04}x").as_deref(), Ok("th-0007x"));
        assert_eq!(filled("{n}").as_deref(), Ok("7"));
        assert_eq!(filled("th").as_deref(), Ok("th"));
        for wrong in ["", "{m}", "{n", "n}", "{n}{n}", "{n:4}", "{n:099}", "a\n"] {
            assert!(filled(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!("a{n:04}b".parse::<Numbered>().unwrap().to_string(), "a{n:04}b");
    }
}
