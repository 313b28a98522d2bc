//! The values of single keys: each type accepts exactly what its key means and says what it
//! expected otherwise.
//!
//! A type that is written as text implements [`FromStr`] and [`Display`]; the macro
//! [`text_value!`] makes the serde and schema side of it. Messages are whole sentences, "expected …"
//! mostly, because they stand under the offending value. What follows a line feed in one is the
//! hint.
//!
//! [`Display`]: std::fmt::Display

mod authority;
mod broker_url;
mod broker_urls;
mod byte_size;
mod code;
mod decimal;
mod hex_bytes;
mod host_port;
mod id;
mod interval;
mod json_path;
mod link_filter;
mod modbus;
mod named_file;
mod network;
mod node_url;
mod resource_path;
mod rules;
mod secret;
mod server_name;
mod small;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Unexpected};

pub(crate) use broker_url::BrokerUrl;
pub(crate) use broker_urls::BrokerUrls;
pub(crate) use byte_size::{ByteSize, FrameSize};
pub(crate) use code::Code;
pub(crate) use decimal::Decimal;
pub(crate) use hex_bytes::HexBytes;
pub(crate) use host_port::HostPort;
pub(crate) use id::Id;
pub(crate) use interval::Interval;
pub(crate) use json_path::JsonPath;
pub(crate) use link_filter::LinkFilter;
pub(crate) use modbus::UnitAddress;
pub(crate) use named_file::NamedFile;
pub(crate) use network::Network;
pub(crate) use node_url::NodeUrl;
pub(crate) use resource_path::ResourcePath;
pub(crate) use rules::{
    Address, Group, address, addresses, alpn, any_addresses, client_id, filled, filled_list,
    filled_option, filters, groups, path, path_option, separator, size, size_option, span, span_ms,
    span_ms_option, span_option, whole, whole_option,
};
pub(crate) use secret::Secret;
pub(crate) use server_name::ServerName;

/// A value that an operator writes as text.
pub(crate) trait TextValue: FromStr<Err: fmt::Display> {
    /// What a message says where there is no text: "expected …".
    const EXPECTED: &'static str;
}

/// Reads a [`TextValue`] and refuses every other type.
pub(crate) struct TextVisitor<T>(pub(crate) PhantomData<T>);

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
pub(crate) struct Because(pub(crate) String);

impl de::Expected for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Serde and schema for a type that is written as text: `$title` is the type's name in the manual,
/// `$schema` more of its schema.
macro_rules! text_value {
    ($type:ty, $title:literal, $expected:literal, $schema:tt) => {
        impl crate::config::values::TextValue for $type {
            const EXPECTED: &'static str = $expected;
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = crate::config::values::TextVisitor(std::marker::PhantomData);
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
use text_value;
