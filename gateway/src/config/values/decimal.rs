//! Decimal numbers.

use std::borrow::Cow;
use std::fmt;

use proto::Number;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number with the digits that were written, but for zeros at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal(Number);

impl Decimal {
    /// The number.
    pub(crate) const fn number(self) -> Number {
        self.0
    }

    /// Whether it is less than zero.
    pub(crate) fn is_negative(self) -> bool {
        self.0.compare(Number::from(0_u8)).is_lt()
    }
}

/// The number that with this `scale` and `offset` is `value`, which is it times the first plus the second;
/// `None` if there is none.
pub(crate) fn unscaled(
    value: Number,
    scale: Option<Decimal>,
    offset: Option<Decimal>,
) -> Option<Number> {
    let moved = match offset {
        Some(offset) => value.checked_add(offset.number().negated())?,
        None => value,
    };
    match scale {
        Some(scale) => moved.checked_div(scale.number()),
        None => Some(moved),
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("expected a number, such as 0.1")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Decimal, E> {
                Ok(Decimal(number.into()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Decimal, E> {
                let decimal = Number::from_f64(number).map(Decimal);
                decimal.ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_integer().and_then(|integer| i64::try_from(integer).ok()) {
            Some(integer) => serializer.serialize_i64(integer),
            None => serializer.serialize_f64(self.0.as_f64()),
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
        json_schema!({ "title": "number", "type": "number" })
    }
}
