//! Commands: what may be done with devices, by whom, and how.

mod modbus;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{
    self, ByteSize, Decimal, HexTemplate, HostPort, Id, Interval, ResourcePath, TextTemplate,
};
use super::{Config, RegisterOrder, RegisterType};
use crate::pipeline::Pattern;
pub(crate) use value::ValueRule;

/// How commands are taken.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Commands {
    /// Brokers whose command topics are subscribed, by name: who may publish to those there may command.
    pub(crate) from: Vec<Id>,
    /// How long a command may take that says nothing else, 1s to 8760h: then it has expired.
    #[serde(default = "default_deadline", deserialize_with = "values::span::<_, 1, 31_536_000>")]
    pub(crate) deadline: Interval,
    /// The longest deadline that a request may ask for, 1s to 8760h; more is refused.
    #[serde(
        default = "default_max_deadline",
        deserialize_with = "values::span::<_, 1, 31_536_000>"
    )]
    pub(crate) max_deadline: Interval,
    /// Most commands that wait for a device, 1 to 1000: a further one fails at once.
    #[serde(default = "default_queue", deserialize_with = "values::whole::<_, _, 1, 1000>")]
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) queue: u16,
    /// How long outcomes are remembered, 1h to 8760h: a request that comes again is answered with the
    /// outcome, and not carried out again.
    #[serde(default = "default_keep", deserialize_with = "values::span::<_, 3600, 31_536_000>")]
    pub(crate) keep: Interval,
}

/// Devices that one command can go to.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Group {
    /// Devices, by name; `*` and `?` stand for any characters and any one. Without it those of
    /// `registered` alone decide.
    #[serde(default)]
    pub(crate) devices: Vec<Pattern>,
    /// Attributes of the registration in a resource directory that a device must have, such as
    /// `{ et = "valve" }` for its endpoint type: a pattern for each.
    #[serde(default)]
    pub(crate) registered: BTreeMap<String, Pattern>,
}

/// Something that may be done with devices. What no operation allows is refused.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Operation {
    /// The source at which the devices are.
    pub(crate) source: Id,
    /// Devices with which it may be done, by name; `*` and `?` stand for any characters and any one.
    pub(crate) devices: Vec<Pattern>,
    /// Brokers that may ask for it, by name; all of `commands.from` where none is named.
    #[serde(default)]
    pub(crate) from: Option<Vec<Id>>,
    /// What a value must be. A request whose value is anything else is refused with the reason, and
    /// nothing is sent. Without it there is no value.
    #[serde(default)]
    pub(crate) value: ValueRule,
    /// Whether the topic `{topic_prefix}/{gateway}/{device}/{operation}/set` takes the plain value.
    #[serde(default)]
    pub(crate) writable: bool,
    /// How the device is told.
    pub(crate) via: Via,
    /// How long a command may take that says nothing else, where that is not `commands.deadline`.
    #[serde(default, deserialize_with = "values::span_option::<_, 1, 31_536_000>")]
    pub(crate) deadline: Option<Interval>,
    /// Whether it does no harm to do it twice: then it is sent again when its outcome is not known, also
    /// after the gateway was killed. Otherwise it fails with `unknown_outcome`. Without this key it is
    /// what the way to the device says: see docs/commands.md.
    #[serde(default)]
    pub(crate) repeatable: Option<bool>,
    /// Shortest time between this command and the next to the same device, up to 1h.
    #[serde(default, deserialize_with = "values::span_ms::<_, 0, 3_600_000>")]
    pub(crate) min_interval: Interval,
}

/// How a device is told.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Via {
    /// A CoAP request to the node: it is done when the node answers with success.
    Coap(CoapVia),
    /// The device asks for its commands, because it sleeps or cannot be reached: at `/cmd/{device}` of a
    /// `coap` or `http` source.
    Fetch,
    /// A CMD of the link protocol, done with the node's RSP.
    Link(LinkVia),
    /// A file for a node of the link protocol, which asks for it block by block: the value, a text, is its name.
    File(FileVia),
    /// Bytes on a serial port, a TCP connection or in a datagram.
    Send(SendVia),
    /// A coil or registers of a Modbus unit.
    Modbus(ModbusVia),
}

/// A CoAP request.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct CoapVia {
    /// Its method.
    #[serde(default)]
    pub(crate) method: CoapMethod,
    /// The resource, with its query.
    pub(crate) path: ResourcePath,
    /// Where the node is, as `coap://host:port` with `{device}` for its name. Without it a `coap-poll`
    /// source sends to the node with this name, and a `coap` source to the one that is registered under it
    /// in a resource directory of the gateway, or else to where the device has sent from last.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) address: Option<String>,
    /// Content-Format of the payload, 0 to 65535: 0 is text, 42 bytes, 50 JSON, 60 CBOR. Without it that of
    /// the value: JSON, bytes, or else text.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 0, 65_535>")]
    #[schemars(range(max = 65_535))]
    pub(crate) content_format: Option<u16>,
    /// The payload, with `{value}` for the value, which is as the Content-Format has it, and `{device}`;
    /// without it the value alone.
    #[serde(default)]
    pub(crate) payload: Option<String>,
    /// How long the answer may take, 1s to 1h. Without it CoAP decides: a minute and a half, or as long
    /// again after the node has said that it has the request.
    #[serde(default, deserialize_with = "values::span_option::<_, 1, 3600>")]
    pub(crate) timeout: Option<Interval>,
}

/// A method of CoAP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CoapMethod {
    /// Reads; the result is the representation.
    Get,
    /// Replaces.
    #[default]
    Put,
    /// Acts.
    Post,
    /// Removes.
    Delete,
    /// Reads a part (RFC 8132).
    Fetch,
    /// Changes a part (RFC 8132).
    Patch,
    /// Changes a part, with the same effect when repeated (RFC 8132).
    Ipatch,
    /// Begins to observe (RFC 7641) with the value `true`, and ends with `false`: what the node tells
    /// becomes readings.
    Observe,
}

/// A CMD of the link protocol.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct LinkVia {
    /// The number of the operation, which is agreed with the firmware: 0 to 65535.
    #[serde(deserialize_with = "values::whole::<_, _, 0, 65_535>")]
    #[schemars(range(max = 65_535))]
    pub(crate) code: u16,
}

/// A file.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct FileVia {
    /// The folder with the files, such as `"/srv/firmware"`: what is below it can be named, and no links
    /// that lead out of it.
    #[serde(deserialize_with = "values::path")]
    pub(crate) folder: PathBuf,
    /// The number of the operation, which is agreed with the firmware: 0 to 65535.
    #[serde(deserialize_with = "values::whole::<_, _, 0, 65_535>")]
    #[schemars(range(max = 65_535))]
    pub(crate) code: u16,
    /// The largest file, 1KiB to 16MiB; a larger one is not announced.
    #[serde(
        default = "default_max_file",
        deserialize_with = "values::size::<_, 1024, 0x100_0000>"
    )]
    pub(crate) max: ByteSize,
}

/// Bytes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SendVia {
    /// What is sent: text with `{value}`, `{device}` and `{id}`, and with `\r`, `\n`, `\xNN` as TOML has
    /// them. Braces are doubled where they stand for themselves.
    #[serde(default)]
    pub(crate) text: Option<TextTemplate>,
    /// What is sent, in hexadecimal digits, with the value as `{u8}`, `{i8}`, `{u16be}`, `{u16le}`,
    /// `{i16be}`, `{i16le}`, `{u32be}`, `{u32le}`, `{i32be}`, `{i32le}`, `{f32be}`, `{f32le}` or
    /// `{bytes}`, and `{sum8}`, `{xor8}` or `{crc16modbus}` of all before it.
    #[serde(default)]
    pub(crate) hex: Option<HexTemplate>,
    /// What the number in `hex` is multiplied with to be the value, such as `0.1`.
    #[serde(default)]
    pub(crate) scale: Option<Decimal>,
    /// The answer that says that it is done: a pattern for a whole frame of the source as text, or in
    /// hexadecimal digits where `hex` is sent. Without it the command is done when it is sent.
    #[serde(default)]
    pub(crate) expect: Option<Pattern>,
    /// The answer that says that it is refused. Without `expect`, a command that was not refused within
    /// `timeout` is done.
    #[serde(default)]
    pub(crate) refuse: Option<Pattern>,
    /// Whether the answer is decoded too, because readings are in it.
    #[serde(default)]
    pub(crate) decode: bool,
    /// How long the answer may take, 10ms to 600000ms.
    #[serde(default = "default_answer", deserialize_with = "values::span_ms::<_, 10, 600_000>")]
    pub(crate) timeout: Interval,
    /// Where a datagram goes; without it where the device was heard of last.
    #[serde(default)]
    pub(crate) to: Option<HostPort>,
}

/// A coil or registers.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ModbusVia {
    /// The unit's address, 0 to 255; without it the unit whose device this is.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 0, 255>")]
    #[schemars(range(max = 255))]
    pub(crate) unit: Option<u8>,
    /// Its first address as it is sent, 0 to 65535.
    #[serde(deserialize_with = "values::whole::<_, _, 0, 65_535>")]
    #[schemars(range(max = 65_535))]
    pub(crate) at: u16,
    /// Whether it is a coil; else it is a holding register.
    #[serde(default)]
    pub(crate) coil: bool,
    /// What it holds, as the `type` of a register; without it `u16`.
    #[serde(default, rename = "holds")]
    pub(crate) kind: Option<RegisterType>,
    /// Registers of a `string`, 1 to 123.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 1, 123>")]
    #[schemars(range(min = 1, max = 123))]
    pub(crate) length: Option<u16>,
    /// The order of its bytes, where it is not that of the unit.
    #[serde(default)]
    pub(crate) order: Option<RegisterOrder>,
    /// Whether a single register is written with function 16, for devices that lack function 6.
    #[serde(default)]
    pub(crate) multiple: bool,
    /// What the register's number is multiplied with to be the value.
    #[serde(default)]
    pub(crate) scale: Option<Decimal>,
    /// What is added then.
    #[serde(default)]
    pub(crate) offset: Option<Decimal>,
    /// Whether what was written is read, and must be what was written.
    #[serde(default = "default_read_back")]
    pub(crate) read_back: bool,
}

impl Config {
    /// Sources at which devices ask for their orders.
    pub(crate) fn fetched(&self) -> BTreeSet<Id> {
        let fetched = self.operations.values().filter(|it| matches!(it.via, Via::Fetch));
        fetched.map(|operation| operation.source.clone()).collect()
    }
}

impl Operation {
    /// Whether it may be done with this device.
    pub(crate) fn is_for(&self, device: &str) -> bool {
        self.devices.iter().any(|pattern| pattern.matches(device))
    }

    /// The devices that are named, not by a pattern.
    pub(crate) fn named_devices(&self) -> impl Iterator<Item = String> {
        let names = self.devices.iter().map(ToString::to_string);
        names.filter(|name| !name.contains(['*', '?']))
    }

    /// Whether this broker may ask for it.
    pub(crate) fn is_open_to(&self, broker: &Id) -> bool {
        self.from.as_ref().is_none_or(|from| from.contains(broker))
    }

    /// Whether it is sent again when nobody knows whether it was done.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.repeatable.unwrap_or_else(|| self.via.is_repeatable())
    }
}

impl Via {
    /// What is right where nothing else is said: what sets a state can be repeated, what may act cannot.
    const fn is_repeatable(&self) -> bool {
        match self {
            // RFC 7252 §5.8: PUT and DELETE are idempotent, POST is not; RFC 8132 §2.1 and §3.1.
            Self::Coap(coap) => !matches!(coap.method, CoapMethod::Post | CoapMethod::Patch),
            // Who asks is told the command's identifier, and can know it again.
            Self::Fetch => true,
            // A node carries out a CMD once for each number, which is in the journal before it is sent.
            Self::Link(_) => true,
            // A node that has a block already says which one it wants.
            Self::File(_) => true,
            Self::Send(_) => false,
            Self::Modbus(_) => true,
        }
    }
}

const fn default_deadline() -> Interval {
    Interval::seconds(60)
}

const fn default_max_deadline() -> Interval {
    Interval::seconds(7 * 24 * 3600)
}

const fn default_queue() -> u16 {
    100
}

const fn default_keep() -> Interval {
    Interval::seconds(7 * 24 * 3600)
}

const fn default_answer() -> Interval {
    Interval::seconds(2)
}

const fn default_max_file() -> ByteSize {
    ByteSize::mib(1)
}

const fn default_read_back() -> bool {
    true
}
