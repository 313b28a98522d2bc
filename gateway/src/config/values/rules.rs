//! Rules of single keys whose type is wider than their meaning: for `deserialize_with`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use device_sim::settings::ByteSizeVisitor;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeSeed, Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize as _, Deserializer};

use super::{Because, ByteSize, Interval, LinkFilter, TextVisitor};

/// An integer from `MIN` to `MAX`.
pub(crate) fn whole<'de, D, T, const MIN: u32, const MAX: u32>(de: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    struct Whole<T, const MIN: u32, const MAX: u32>(PhantomData<T>);
    impl<T: TryFrom<i64>, const MIN: u32, const MAX: u32> Visitor<'_> for Whole<T, MIN, MAX> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "expected an integer from {MIN} to {MAX}")
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            let inside = (i64::from(MIN)..=i64::from(MAX)).contains(&number);
            match T::try_from(number) {
                Ok(value) if inside => Ok(value),
                Ok(_) | Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
            }
        }
    }
    de.deserialize_any(Whole::<T, MIN, MAX>(PhantomData))
}

/// An integer from `MIN` to `MAX`, where it is there.
pub(crate) fn whole_option<'de, D, T, const MIN: u32, const MAX: u32>(
    de: D,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    whole::<D, T, MIN, MAX>(de).map(Some)
}

/// A number of bytes from `MIN` to `MAX`.
pub(crate) fn size<'de, D, const MIN: u64, const MAX: u64>(de: D) -> Result<ByteSize, D::Error>
where
    D: Deserializer<'de>,
{
    let (min, max) = (ByteSize::from_bytes(MIN), ByteSize::from_bytes(MAX));
    let expected = match MAX {
        u64::MAX => format!("expected {min} or more"),
        _ => format!("expected {min} to {max}"),
    };
    de.deserialize_any(Bounded { visitor: ByteSizeVisitor, min, max, expected })
}

/// A number of bytes from `MIN` to `MAX`, where it is there.
pub(crate) fn size_option<'de, D, const MIN: u64, const MAX: u64>(
    de: D,
) -> Result<Option<ByteSize>, D::Error>
where
    D: Deserializer<'de>,
{
    size::<D, MIN, MAX>(de).map(Some)
}

/// A duration from `MIN` to `MAX` seconds.
pub(crate) fn span<'de, D, const MIN: u32, const MAX: u32>(de: D) -> Result<Interval, D::Error>
where
    D: Deserializer<'de>,
{
    let max = Interval::seconds(MAX);
    let whole = if MAX.is_multiple_of(60) { max.to_string() } else { format!("{MAX}s") };
    let expected = format!("expected {MIN}s to {whole}");
    let visitor = TextVisitor(PhantomData);
    de.deserialize_any(Bounded { visitor, min: Interval::seconds(MIN), max, expected })
}

/// The same, where it is there.
pub(crate) fn span_option<'de, D, const MIN: u32, const MAX: u32>(
    de: D,
) -> Result<Option<Interval>, D::Error>
where
    D: Deserializer<'de>,
{
    span::<D, MIN, MAX>(de).map(Some)
}

/// A duration from `MIN` to `MAX` milliseconds.
pub(crate) fn span_ms<'de, D, const MIN: u32, const MAX: u32>(de: D) -> Result<Interval, D::Error>
where
    D: Deserializer<'de>,
{
    let (min, max) = (Interval::millis(MIN), Interval::millis(MAX));
    let expected = format!("expected {MIN}ms to {MAX}ms");
    de.deserialize_any(Bounded { visitor: TextVisitor(PhantomData), min, max, expected })
}

/// The same, where it is there.
pub(crate) fn span_ms_option<'de, D, const MIN: u32, const MAX: u32>(
    de: D,
) -> Result<Option<Interval>, D::Error>
where
    D: Deserializer<'de>,
{
    span_ms::<D, MIN, MAX>(de).map(Some)
}

/// A value of another visitor, between two bounds.
struct Bounded<V, T> {
    visitor: V,
    min: T,
    max: T,
    /// The sentence about the bounds.
    expected: String,
}

impl<'de, T, V> Bounded<V, T>
where
    T: PartialOrd,
    V: Visitor<'de, Value = T>,
{
    fn check<E: Error>(self, value: T, written: Unexpected<'_>) -> Result<T, E> {
        match (self.min..=self.max).contains(&value) {
            true => Ok(value),
            false => Err(E::invalid_value(written, &Because(self.expected))),
        }
    }
}

impl<'de, T, V> Visitor<'de> for Bounded<V, T>
where
    T: PartialOrd,
    V: Visitor<'de, Value = T> + Copy,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let value = self.visitor.visit_i64(number)?;
        self.check(value, Unexpected::Signed(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let value = self.visitor.visit_str(text)?;
        self.check(value, Unexpected::Str(text))
    }
}

/// Text that is not empty.
pub(crate) fn filled<'de, D: Deserializer<'de>>(de: D) -> Result<String, D::Error> {
    FILLED.deserialize(de)
}

/// Text that is not empty, where it is there.
pub(crate) fn filled_option<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    FILLED.deserialize(de).map(Some)
}

/// At least one text, none of them empty.
pub(crate) fn filled_list<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<String>, D::Error> {
    de.deserialize_seq(ListOf { rule: FILLED, least: 1 })
}

/// A path that is not empty.
pub(crate) fn path<'de, D: Deserializer<'de>>(de: D) -> Result<PathBuf, D::Error> {
    FILLED.deserialize(de).map(PathBuf::from)
}

/// A path that is not empty, where it is there.
pub(crate) fn path_option<'de, D: Deserializer<'de>>(de: D) -> Result<Option<PathBuf>, D::Error> {
    path(de).map(Some)
}

/// An address and a port.
pub(crate) fn address<'de, D: Deserializer<'de>>(de: D) -> Result<SocketAddr, D::Error> {
    ADDRESS.deserialize(de)
}

/// At least one address and port.
pub(crate) fn addresses<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<SocketAddr>, D::Error> {
    de.deserialize_seq(ListOf { rule: ADDRESS, least: 1 })
}

/// Any number of addresses and ports.
pub(crate) fn any_addresses<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<SocketAddr>, D::Error> {
    de.deserialize_seq(ListOf { rule: ADDRESS, least: 0 })
}

/// Any number of multicast groups.
pub(crate) fn groups<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<IpAddr>, D::Error> {
    de.deserialize_seq(ListOf { rule: GROUP, least: 0 })
}

/// An MQTT client identifier in which `{gateway}` is the only field.
pub(crate) fn client_id<'de, D: Deserializer<'de>>(de: D) -> Result<String, D::Error> {
    CLIENT_ID.deserialize(de)
}

/// At least one protocol identifier for ALPN.
pub(crate) fn alpn<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<String>, D::Error> {
    de.deserialize_seq(ListOf { rule: ALPN, least: 1 })
}

/// At least one filter of links, where there are any.
pub(crate) fn filters<'de, D: Deserializer<'de>>(
    de: D,
) -> Result<Option<Vec<LinkFilter>>, D::Error> {
    #[derive(Clone, Copy)]
    struct Element;
    impl<'de> DeserializeSeed<'de> for Element {
        type Value = LinkFilter;
        fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<LinkFilter, D::Error> {
            LinkFilter::deserialize(de)
        }
    }
    de.deserialize_seq(ListOf { rule: Element, least: 1 }).map(Some)
}

/// A character that can stand between columns.
pub(crate) fn separator<'de, D: Deserializer<'de>>(de: D) -> Result<char, D::Error> {
    SEPARATOR.deserialize(de)
}

/// How a text becomes a value, or the sentence that says what was expected.
struct Rule<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, &'static str>,
}

impl<T> Clone for Rule<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rule<T> {}

const FILLED: Rule<String> = Rule {
    expected: "expected text that is not empty",
    parse: |text| match text {
        "" => Err("expected text that is not empty"),
        text => Ok(text.to_owned()),
    },
};

const ADDRESS: Rule<SocketAddr> = Rule {
    expected: "expected an address and a port, such as \"0.0.0.0:7000\"",
    parse: |text| {
        text.parse().map_err(
            |_| "expected an IP address and a port, such as \"0.0.0.0:7000\" or \"[::]:7000\"",
        )
    },
};

const GROUP: Rule<IpAddr> = Rule {
    expected: "expected a multicast address, such as \"224.0.1.187\"",
    parse: |text| match text.parse::<IpAddr>() {
        Ok(address) if address.is_multicast() => Ok(address),
        Ok(_) => Err(
            "expected a multicast address: 224.0.0.0 to 239.255.255.255, or one that begins with ff",
        ),
        Err(_) => Err("expected a multicast address, such as \"224.0.1.187\" or \"ff02::fb\""),
    },
};

const CLIENT_ID: Rule<String> = Rule {
    expected: "expected text such as \"{gateway}\"",
    parse: |text| {
        let literal = text.replace("{gateway}", "");
        if text.is_empty() {
            Err("expected text that is not empty: two sessions cannot share a client identifier")
        } else if literal.contains(['{', '}']) {
            Err("expected no field but {gateway}")
        } else if literal.contains(char::is_control) {
            Err("expected no control characters")
        } else {
            Ok(text.to_owned())
        }
    },
};

const ALPN: Rule<String> = Rule {
    expected: "expected text such as \"mqtt\"",
    // RFC 7301 §3.1: opaque<1..2^8-1>.
    parse: |text| match text.len() {
        1..=255 => Ok(text.to_owned()),
        _ => Err("expected 1 to 255 bytes"),
    },
};

const SEPARATOR: Rule<char> = Rule {
    expected: "expected one character, such as \",\" or \"\\t\"",
    parse: |text| {
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(c), None) if c.is_alphanumeric() || matches!(c, '.' | '-' | '+' | '"') => Err(
                "expected a character that is no part of a value: not a letter, digit, `.`, `-`, `+` or `\"`",
            ),
            (Some('\r' | '\n'), None) => Err("expected a character that does not end the line"),
            (Some(c), None) => Ok(c),
            _ => Err("expected one character, such as \",\" or \"\\t\""),
        }
    },
};

impl<T> Visitor<'_> for Rule<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(|expected| {
            E::invalid_value(Unexpected::Str(text), &Because(expected.to_owned()))
        })
    }
}

impl<'de, T> DeserializeSeed<'de> for Rule<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<T, D::Error> {
        de.deserialize_str(self)
    }
}

/// Values of a rule, at least so many.
struct ListOf<R> {
    rule: R,
    least: usize,
}

impl<'de, R: DeserializeSeed<'de> + Copy> Visitor<'de> for ListOf<R> {
    type Value = Vec<R::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an array, such as [\"a\", \"b\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<R::Value>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self.rule)? {
            values.push(value);
        }
        if values.len() < self.least {
            return Err(A::Error::invalid_length(0, &"expected at least one element"));
        }
        Ok(values)
    }
}

/// The schema of an address and a port.
pub(crate) struct Address;

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "address".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "address and port",
            "type": "string",
            "pattern": r"^([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
        })
    }
}

/// The schema of a multicast group.
pub(crate) struct Group;

impl JsonSchema for Group {
    fn schema_name() -> Cow<'static, str> {
        "group".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "multicast address",
            "type": "string",
            "pattern": r"^(2[0-9.]+|[fF]{2}[0-9A-Fa-f:.]+)$",
        })
    }
}
