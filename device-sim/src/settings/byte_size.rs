//! Amounts of memory and disk.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Because;

/// Units, the decimal ones by SI and the binary ones by IEC 80000-13.
const UNITS: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];
/// What files and system calls take: positive `i64`.
const MAX: u64 = i64::MAX as u64;
const EXPECTED: &str = "expected bytes as an integer, or text such as \"512KiB\"";

/// A number of bytes: an integer, or text such as `"64kB"`, `"512 KiB"` or `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// Why a text is no number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    #[error("expected a whole number and a unit, such as \"512KiB\"")]
    Number,
    #[error("expected a unit after the number: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")]
    Unit,
    #[error("expected at most {MAX} bytes")]
    TooLarge,
}

impl ByteSize {
    /// `count` × 1024 bytes.
    pub const fn kib(count: u32) -> Self {
        Self((count as u64) << 10)
    }

    /// `count` × 1024² bytes.
    pub const fn mib(count: u32) -> Self {
        Self((count as u64) << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// An amount from its bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(ByteSizeError::Number)?;
        if number.is_empty() || unit.starts_with(['.', ',', '_']) {
            return Err(ByteSizeError::Number);
        }
        let number: u64 = number.parse().map_err(|_| ByteSizeError::TooLarge)?;
        let unit = unit.trim_ascii_start().to_ascii_lowercase();
        let (_, factor) =
            UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(ByteSizeError::Unit)?;
        match number.checked_mul(factor) {
            Some(bytes) if bytes <= MAX => Ok(Self(bytes)),
            Some(_) | None => Err(ByteSizeError::TooLarge),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1024)]
        {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ByteSizeVisitor)
    }
}

/// Reads an integer or text.
#[derive(Clone, Copy)]
pub struct ByteSizeVisitor;

impl de::Visitor<'_> for ByteSizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
        let bytes = u64::try_from(bytes)
            .map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &EXPECTED))?;
        Ok(ByteSize(bytes))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(|error: ByteSizeError| {
            E::invalid_value(Unexpected::Str(text), &Because(error.to_string()))
        })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "bytes".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "bytes",
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9]+ *([kKmMgGtT]?[bB]|[kKmMgGtT][iI][bB])$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_a_unit() {
        let table = [
            ("1GiB", Ok(1 << 30)),
            ("512 KiB", Ok(512 << 10)),
            ("64kB", Ok(64_000)),
            ("7b", Ok(7)),
            ("7", Err(ByteSizeError::Unit)),
            ("1.5GiB", Err(ByteSizeError::Number)),
            ("-1B", Err(ByteSizeError::Number)),
            ("", Err(ByteSizeError::Number)),
            ("1 parsec", Err(ByteSizeError::Unit)),
            ("8388608TiB", Err(ByteSizeError::TooLarge)),
            ("99999999999999999999B", Err(ByteSizeError::TooLarge)),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse::<ByteSize>().map(ByteSize::bytes), bytes, "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1536, 65_507, 1 << 30, MAX] {
            let size = ByteSize(bytes);
            assert_eq!(size.to_string().parse(), Ok(size), "{size}");
        }
    }
}
