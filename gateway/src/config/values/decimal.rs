//! Numbers that are meant to the last digit.

use std::borrow::Cow;
use std::fmt;

use proto::Number;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A decimal: `0.1` is a tenth, not the double that is near to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decimal(f64);

impl Decimal {
    /// The number with the digits that were written, as far as a double has them.
    pub(crate) fn number(self) -> Number {
        // It is finite.
        Number::from_f64(self.0).unwrap_or(Number::from(0_u8))
    }

    /// Whether it is less than zero.
    pub(crate) fn is_negative(self) -> bool {
        self.0 < 0.0
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("expected a number such as 0.5 or -40")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Decimal, E> {
                // Exact up to 2^53.
                match i32::try_from(number) {
                    Ok(number) => Ok(Decimal(number.into())),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Decimal, E> {
                match number.is_finite() {
                    true => Ok(Decimal(number)),
                    false => Err(E::invalid_value(Unexpected::Float(number), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.number().as_integer().map(i64::try_from) {
            Some(Ok(whole)) => serializer.serialize_i64(whole),
            _ => serializer.serialize_f64(self.0),
        }
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> Cow<'static, str> {
        "number".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "title": "number" })
    }
}
