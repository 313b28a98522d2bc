//! The values of single keys: each type accepts exactly what its key means and says what it
//! expected otherwise.
//!
//! A type that is written as text implements [`FromStr`] and [`Display`]; the macro
//! [`text_value!`] makes the serde and schema side of it. Messages are whole sentences, "expected …"
//! mostly, because they stand under the offending value. What follows a line feed in one is the
//! hint.
//!
//! [`Display`]: std::fmt::Display
//! [`FromStr`]: std::str::FromStr

mod authority;
mod broker_url;
mod broker_urls;
mod code;
mod decimal;
mod frame_size;
mod hex_bytes;
mod host_port;
mod json_path;
mod link_filter;
mod modbus;
mod named_file;
mod network;
mod node_url;
mod resource_path;
mod rules;
mod secret;
mod send_template;
mod server_name;
mod small;

use device_sim::settings::{Because, TextValue, TextVisitor, text_value};

pub(crate) use broker_url::BrokerUrl;
pub(crate) use broker_urls::BrokerUrls;
pub(crate) use code::Code;
pub(crate) use decimal::{Decimal, unscaled};
pub(crate) use device_sim::settings::{ByteSize, Id, Interval};
pub(crate) use frame_size::FrameSize;
pub(crate) use hex_bytes::HexBytes;
pub(crate) use host_port::HostPort;
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
pub(crate) use send_template::{Filling, HexTemplate, TextTemplate, Unsendable};
pub(crate) use server_name::ServerName;
