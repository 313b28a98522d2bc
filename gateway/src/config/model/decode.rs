//! Decoders: how a frame becomes readings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{self, JsonPath};
use super::BinaryDecode;

/// How a frame becomes readings.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(tag = "type")]
pub(crate) enum Decode {
    /// A JSON object: every number and boolean in it becomes a reading of that name.
    ///
    /// ```toml
    /// # {"id": "th-1", "at": 1753000000000, "data": {"temp": 21.5}}
    /// [sources.json]
    /// link = { type = "udp", bind = "0.0.0.0:7002" }
    /// decode = { type = "json", device = "id", time = "at", time_unit = "ms", value = "data.temp" }
    /// ```
    Json(JsonDecode),
    /// A SenML pack (RFC 8428), JSON or CBOR by its first byte.
    ///
    /// ```toml
    /// # [{"bn": "urn:dev:mac:0024befffe804ff1:", "n": "temp", "u": "Cel", "v": 21.5}]
    /// [sources.senml]
    /// link = { type = "udp", bind = "0.0.0.0:7003" }
    /// decode = { type = "senml" }
    /// ```
    Senml(SenmlDecode),
    /// `t=21.5 h=40`: every pair becomes a reading.
    ///
    /// ```toml
    /// # id=th-1 n=17 t=21.5 h=40
    /// [sources.pairs]
    /// link = { type = "udp", bind = "0.0.0.0:7004" }
    /// decode = { type = "keyvalue", device = "id", seq = "n" }
    /// ```
    Keyvalue(KeyvalueDecode),
    /// Columns with a separator.
    ///
    /// ```toml
    /// # th-1;2026-11-20T22:39:00Z;21.5;ok;40
    /// [sources.table]
    /// link = { type = "udp", bind = "0.0.0.0:7005" }
    /// decode = { type = "csv", separator = ";", columns = ["id", "at", "temp", "_", "hum"], device = "id", time = "at" }
    /// ```
    Csv(CsvDecode),
    /// The whole frame is one value: a number, `true`, `false`, or text.
    ///
    /// ```toml
    /// # 21.5
    /// [sources.probe]
    /// device = "probe-1"
    /// link = { type = "udp", bind = "0.0.0.0:7006" }
    /// decode = { type = "value", name = "temp", unit = "Cel" }
    /// ```
    Value(ValueDecode),
    /// Fields by their place in the frame: sensors that are described, not programmed.
    ///
    /// ```toml
    /// # aa c0 d4 04 3a 0a a1 60 1d ab
    /// [sources.dust]
    /// link = { type = "serial", path = "/dev/ttyUSB4" }
    /// frame = { type = "template", start = "aa c0", length = { fixed = 10 }, end = "ab" }
    /// decode = { type = "binary", endian = "little", fields = [{ name = "pm2_5", at = 2, type = "u16", scale = 0.1, unit = "ug/m3" }] }
    /// ```
    Binary(BinaryDecode),
}

/// A JSON object.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct JsonDecode {
    /// Path of the device's name, such as `device` or `meta.id`.
    pub(crate) device: Option<JsonPath>,
    /// Path of the reading's name; with `value`, an object is one reading.
    pub(crate) name: Option<JsonPath>,
    /// Path of the value; without `name` the reading is named like the path's last part.
    pub(crate) value: Option<JsonPath>,
    /// Path of the unit.
    pub(crate) unit: Option<JsonPath>,
    /// Path of the time: RFC 3339 text, or a number since 1970 in `time_unit`.
    pub(crate) time: Option<JsonPath>,
    /// Unit of a time that is a number.
    pub(crate) time_unit: TimeUnit,
    /// Path of the device's sequence number.
    pub(crate) seq: Option<JsonPath>,
    /// Path of the device's boot count.
    pub(crate) epoch: Option<JsonPath>,
}

/// A SenML pack; it needs no description.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct SenmlDecode {}

/// Pairs.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct KeyvalueDecode {
    /// Key whose value is the device's name.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) device: Option<String>,
    /// Key whose value is the time: RFC 3339, or a number since 1970 in `time_unit`.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) time: Option<String>,
    /// Unit of a time that is a number.
    pub(crate) time_unit: TimeUnit,
    /// Key whose value is the device's sequence number.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) seq: Option<String>,
    /// Key whose value is the device's boot count.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) epoch: Option<String>,
}

/// Columns.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct CsvDecode {
    /// Name of each column in order; a column named `_` is left out.
    #[serde(deserialize_with = "values::filled_list")]
    #[schemars(length(min = 1))]
    pub(crate) columns: Vec<String>,
    /// One character between columns.
    #[serde(default = "default_separator", deserialize_with = "values::separator")]
    pub(crate) separator: char,
    /// Column that holds the device's name.
    #[serde(default)]
    pub(crate) device: Option<String>,
    /// Column that holds the time: RFC 3339, or a number since 1970 in `time_unit`.
    #[serde(default)]
    pub(crate) time: Option<String>,
    /// Unit of a time that is a number.
    #[serde(default)]
    pub(crate) time_unit: TimeUnit,
    /// Column that holds the device's sequence number.
    #[serde(default)]
    pub(crate) seq: Option<String>,
    /// Column that holds the device's boot count.
    #[serde(default)]
    pub(crate) epoch: Option<String>,
}

/// A frame that is one value.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ValueDecode {
    /// Name of the reading.
    #[serde(deserialize_with = "values::filled")]
    #[schemars(length(min = 1))]
    pub(crate) name: String,
    /// Unit of the value, by SenML's names where it has one: `Cel`, `%RH`, `W` (RFC 8428 §12.1).
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) unit: Option<String>,
}

/// Unit of a time that is a number since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TimeUnit {
    /// Seconds.
    #[default]
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

const fn default_separator() -> char {
    ','
}
