//! What people write in TOML, read into types without a guess, and every mistake told with its place.
//!
//! The machinery behind scenarios and the gateway's configuration, which adds layers of its own:
//!
//! 1. [`toml_file`] reads a file and remembers where each value stands ([`layer`]); [`interpolate`]
//!    puts variables of the environment into its texts.
//! 2. [`fit()`] turns the merged [`tree`] into types through a deserializer that never guesses
//!    ([`strict`]): a value that does not fit is told, taken out, and the rest tried again.
//! 3. [`report`] shows every problem with its place; [`source_file`] keeps secrets out.
//!
//! [`shape`] is the schema of the types: suggestions ([`suggest`]) and what is secret come from it.
//! A type that is written as text implements [`FromStr`] and [`Display`]; the macro
//! [`text_value!`](crate::text_value) makes the serde and schema side of it. Messages are whole
//! sentences, "expected …" mostly; what follows a line feed in one is the hint.
//!
//! Invariants: a secret is in no message. One mistake is told once. No input makes this panic.
//!
//! [`Display`]: std::fmt::Display

mod byte_size;
pub mod fault;
pub mod findings;
mod fit;
mod id;
pub mod interpolate;
mod interval;
pub mod layer;
mod register;
pub mod report;
pub mod shape;
pub mod source_file;
pub mod strict;
pub mod suggest;
pub mod syntax;
mod text;
pub mod toml_file;
pub mod tree;
pub mod words;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Unexpected};

pub use byte_size::{ByteSize, ByteSizeVisitor};
pub use fit::fit;
pub use id::Id;
pub use interval::{Interval, signed_duration};
pub use register::{RegisterOrder, RegisterTable, RegisterType};
pub use text::from_text;

pub use crate::text_value;

/// A value that an operator writes as text.
pub trait TextValue: FromStr<Err: fmt::Display> {
    /// What a message says where there is no text: "expected …".
    const EXPECTED: &'static str;
}

/// Reads a [`TextValue`] and refuses every other type.
pub struct TextVisitor<T>(pub PhantomData<T>);

impl<T> Clone for TextVisitor<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TextVisitor<T> {}

impl<T: TextValue> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|error: T::Err| {
            E::invalid_value(Unexpected::Str(text), &Because(error.to_string()))
        })
    }
}

/// A sentence as what serde expected.
pub struct Because(pub String);

impl de::Expected for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Serde and schema for a type that is written as text: `$title` is the type's name in the manual,
/// `$schema` more of its schema.
#[macro_export]
macro_rules! text_value {
    ($type:ty, $title:literal, $expected:literal, $schema:tt) => {
        impl $crate::settings::TextValue for $type {
            const EXPECTED: &'static str = $expected;
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = $crate::settings::TextVisitor(std::marker::PhantomData);
                deserializer.deserialize_str(visitor)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $title.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut schema = schemars::json_schema!($schema);
                schema.insert("type".to_owned(), "string".into());
                schema.insert("title".to_owned(), $title.into());
                schema
            }
        }
    };
}
