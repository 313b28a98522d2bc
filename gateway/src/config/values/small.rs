//! Serde and schema for values that are integers of a few choices, and for names that the pipeline
//! defines.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text_value;
use crate::config::model::{DataBits, LengthBytes, Qos, StopBits};
use crate::pipeline::{Condition, Pattern, TopicFilter, TopicTemplate};

text_value!(Pattern, "pattern", "expected a name, in which `*` stands for any characters", {});
text_value!(Condition, "condition", "expected a condition such as 'name == \"temp\" && value > -40'", {
    "minLength": 1,
});
text_value!(TopicTemplate, "topic", "expected a topic such as \"site/{gateway}/{device}/{name}\"", {
    "minLength": 1,
});

text_value!(TopicFilter, "topic filter", "expected a topic filter such as \"site/+/set\" or \"site/#\"", {
    "minLength": 1,
});

/// An enum that is written as one of a few integers.
macro_rules! integer_choice {
    ($type:ty, $title:literal, $expected:literal, $($number:literal => $variant:path),+) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Choice;
                impl de::Visitor<'_> for Choice {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$type, E> {
                        match number {
                            $($number => Ok($variant),)+
                            _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                        }
                    }
                }
                deserializer.deserialize_any(Choice)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u8(match self { $($variant => $number,)+ })
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "integer", "enum": [$($number),+] })
            }
        }
    };
}

integer_choice!(DataBits, "data bits", "expected 5, 6, 7 or 8",
    5 => DataBits::Five, 6 => DataBits::Six, 7 => DataBits::Seven, 8 => DataBits::Eight);
integer_choice!(StopBits, "stop bits", "expected 1 or 2", 1 => StopBits::One, 2 => StopBits::Two);
integer_choice!(LengthBytes, "length bytes", "expected 1, 2 or 4",
    1 => LengthBytes::One, 2 => LengthBytes::Two, 4 => LengthBytes::Four);
integer_choice!(Qos, "qos", "expected 0, 1 or 2",
    0 => Qos::AtMostOnce, 1 => Qos::AtLeastOnce, 2 => Qos::ExactlyOnce);
