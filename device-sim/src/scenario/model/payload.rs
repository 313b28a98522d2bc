//! Payloads: what is in a report, and how it is written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess};
use serde::{Deserialize, Deserializer};

use crate::settings::{Id, RegisterOrder, RegisterTable, RegisterType};

/// The key of the form.
const FORMAT: &str = "format";
/// The key of the pattern.
const TEMPLATE: &str = "template";

/// What is in a report: `{ format = "senml-cbor", temp = "t1" }`. Every key but `format` and
/// `template` is the name of a reading, and says which signal it has.
#[derive(Clone, Debug)]
pub struct PayloadConfig {
    /// How it is written; without it, as is usual for the transport.
    pub format: Option<Format>,
    /// The pattern of `text`, `binary` and `nmea`.
    pub template: Option<String>,
    /// What is measured, by the name of its readings.
    pub channels: BTreeMap<String, ChannelConfig>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A SenML pack as JSON (RFC 8428).
    SenmlJson,
    /// A SenML pack as CBOR (RFC 8428).
    SenmlCbor,
    /// `{"device":"th-1","at":1795214340123,"epoch":1,"seq":7,"temp":21.5}`
    Json,
    /// `id=th-1 at=1795214340123 boot=1 n=7 temp=21.5`
    Keyvalue,
    /// `1795214340123;1;7;21.5`: time, boot count, number and the values, in the order of their names.
    Csv,
    /// Text by the pattern `template`.
    Text,
    /// Bytes by the pattern `template`.
    Binary,
    /// A sentence of NMEA 0183, whose body is the pattern `template`.
    Nmea,
    /// A telegram of a smart meter (DSMR 5); each channel has a `code`.
    Dsmr,
    /// Frames of the link protocol.
    Link,
    /// Registers of Modbus; each channel has an address, `at`.
    Registers,
}

/// What is measured: the name of a signal, or a table with more about it.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    /// The signal.
    pub signal: Id,
    /// The unit by SenML (RFC 8428 §12.1).
    pub unit: Option<String>,
    /// Digits after the decimal point.
    pub decimals: Option<u8>,
    /// Its code in a telegram, such as `1-0:1.7.0`.
    pub code: Option<String>,
    /// Where it is among the registers of a unit.
    pub register: RegisterConfig,
}

/// Where a value is among the registers of a unit of Modbus, as the gateway's configuration says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegisterConfig {
    /// Its first address, from 0.
    pub at: Option<u16>,
    /// What it holds; `u16` without it.
    pub kind: Option<RegisterType>,
    /// The order of its bytes.
    pub order: Option<RegisterOrder>,
    /// The table that it is in.
    pub table: Option<RegisterTable>,
}

/// More about what is measured.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct ChannelTable {
    /// The signal.
    signal: Id,
    /// The unit by SenML (RFC 8428 §12.1), such as `Cel`.
    #[serde(default)]
    unit: Option<String>,
    /// Digits after the decimal point, 0 to 9; 2 without it, none for a counter.
    #[serde(default)]
    decimals: Option<u8>,
    /// Its OBIS code, with the format `dsmr`, such as `1-0:1.7.0`.
    #[serde(default)]
    code: Option<String>,
    /// The first of its registers, with the format `registers`, from 0.
    #[serde(default)]
    at: Option<u16>,
    /// What they hold: a number; `u16` without it. Integers hold the value times 10 for each of its
    /// digits after the decimal point.
    #[serde(default, rename = "type")]
    kind: Option<RegisterType>,
    /// The order of their bytes; `abcd` without it.
    #[serde(default)]
    order: Option<RegisterOrder>,
    /// The table that they are in: `holding` without it, or `input`.
    #[serde(default)]
    table: Option<RegisterTable>,
}

impl<'de> Deserialize<'de> for ChannelConfig {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ChannelConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "expected the name of a signal, or a table such as { signal = \"temp\", unit = \"Cel\" }",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ChannelConfig, E> {
                let signal = Id::deserialize(de::value::StrDeserializer::new(text))?;
                Ok(ChannelConfig {
                    signal,
                    unit: None,
                    decimals: None,
                    code: None,
                    register: RegisterConfig::default(),
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ChannelConfig, A::Error> {
                let ChannelTable { signal, unit, decimals, code, at, kind, order, table } =
                    Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                let register = RegisterConfig { at, kind, order, table };
                Ok(ChannelConfig { signal, unit, decimals, code, register })
            }
        }
        de.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for PayloadConfig {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PayloadConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("expected a table such as { format = \"json\", temp = \"t1\" }")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PayloadConfig, A::Error> {
                let (mut format, mut template, mut channels) = (None, None, BTreeMap::new());
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        FORMAT => format = Some(map.next_value()?),
                        TEMPLATE => template = Some(map.next_value()?),
                        _ => drop(channels.insert(key, map.next_value()?)),
                    }
                }
                Ok(PayloadConfig { format, template, channels })
            }
        }
        de.deserialize_map(Visitor)
    }
}

impl JsonSchema for PayloadConfig {
    fn schema_name() -> Cow<'static, str> {
        "payload".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (format, table) =
            (generator.subschema_for::<Format>(), generator.subschema_for::<ChannelTable>());
        json_schema!({
            "type": "object",
            "properties": {
                "format": format,
                "template": {
                    "type": "string",
                    "description": "The pattern of `text`, `binary` and `nmea`.",
                },
            },
            "additionalProperties": {
                "description": "The signal of the reading with this name.",
                "anyOf": [{ "type": "string" }, table],
            },
        })
    }
}
