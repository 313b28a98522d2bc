//! Decoders: how a frame becomes readings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{self, JsonPath, NamedFile};
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
    /// link = { type = "serial", path = "/dev/ttyUSB8" }
    /// frame = { type = "template", start = "aa c0", length = { fixed = 10 }, end = "ab" }
    /// decode = { type = "binary", endian = "little", fields = [{ name = "pm2_5", at = 2, type = "u16", scale = 0.1, unit = "ug/m3" }] }
    /// ```
    Binary(BinaryDecode),
    /// The link protocol (docs/link-protocol.md): nodes are acknowledged when their readings are on
    /// disk. Frames are stuffed by COBS over serial and tcp, and datagrams over udp.
    ///
    /// ```toml
    /// [sources.bench]
    /// device = "bench-1"
    /// link = { type = "serial", path = "/dev/serial/by-id/usb-FTDI_bench-if00-port0", baud = 115200 }
    /// decode = { type = "link" }
    /// ```
    Link(LinkDecode),
    /// InfluxDB's line protocol, several lines a frame. A field is named by measurement, tags and its
    /// key: `weather.us-midwest.temperature`.
    ///
    /// ```toml
    /// # weather,host=pi,room=attic temperature=21.5 1465839830100400200
    /// [sources.telegraf]
    /// link = { type = "udp", bind = "0.0.0.0:8089" }
    /// decode = { type = "influx", device = "host" }
    /// ```
    Influx(InfluxDecode),
    /// StatsD, several metrics a frame, with DogStatsD's tags. Nothing is added up.
    ///
    /// ```toml
    /// # door.opened:1|c
    /// [sources.metrics]
    /// device = "doors"
    /// link = { type = "udp", bind = "0.0.0.0:8125" }
    /// decode = { type = "statsd" }
    /// ```
    Statsd(NoKeys),
    /// NMEA 0183: GPS, wind and weather instruments, several sentences a frame.
    ///
    /// ```toml
    /// # $GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47
    /// [sources.gps]
    /// device = "boat"
    /// link = { type = "serial", path = "/dev/ttyACM1", baud = 4800 }
    /// decode = { type = "nmea" }
    /// ```
    Nmea(NoKeys),
    /// A P1 telegram of a smart meter: DSMR 2.2 to 5, ESMR, e-MUCS.
    ///
    /// ```toml
    /// # before DSMR 4: baud = 9600, data_bits = 7, parity = "even", and tail = 2
    /// [sources.p1]
    /// link = { type = "serial", path = "/dev/ttyUSB4", baud = 115200 }
    /// frame = { type = "delimited", start = "2f", end = "21", tail = 6, max = "8KiB" }
    /// decode = { type = "dsmr" }
    /// ```
    Dsmr(NoKeys),
    /// An SML file of a German meter.
    ///
    /// ```toml
    /// [sources.ehz]
    /// link = { type = "serial", path = "/dev/ttyUSB5", baud = 9600 }
    /// frame = { type = "sml" }
    /// decode = { type = "sml" }
    /// ```
    Sml(NoKeys),
    /// A long frame of wired M-Bus.
    ///
    /// ```toml
    /// [sources.heat]
    /// link = { type = "serial", path = "/dev/ttyUSB6", baud = 2400, parity = "even" }
    /// frame = { type = "template", start = "68", length = { at = 1, bytes = 1, header = 4, adjust = 2 }, check = { type = "sum8", from = 4, to = -2, at = -2 }, end = "16" }
    /// decode = { type = "m-bus" }
    /// ```
    MBus(NoKeys),
    /// A block of VE.Direct: Victron's battery monitors, solar chargers and inverters.
    ///
    /// ```toml
    /// [sources.battery]
    /// device = "bmv"
    /// link = { type = "serial", path = "/dev/ttyUSB7", baud = 19200 }
    /// frame = { type = "ve-direct" }
    /// decode = { type = "ve-direct" }
    /// ```
    VeDirect(NoKeys),
    /// A status message of a Shelly device of the first generation.
    ///
    /// ```toml
    /// # port 5683 for multicast, where no coap source has it; or what the device is told to send to
    /// [sources.shelly]
    /// link = { type = "udp", bind = "0.0.0.0:5690", groups = ["224.0.1.187"] }
    /// decode = { type = "coiot" }
    /// ```
    Coiot(NoKeys),
    /// A datagram of a LoRa gateway with Semtech's packet forwarder; it is acknowledged when its
    /// readings are on disk.
    ///
    /// ```toml
    /// [sources.lora]
    /// link = { type = "udp", bind = "0.0.0.0:1700" }
    /// decode = { type = "gwmp" }
    /// ```
    Gwmp(NoKeys),
    /// A message of rtl_433: JSON, as it is or in syslog (RFC 5424).
    ///
    /// ```toml
    /// # rtl_433 -F syslog:192.0.2.10:1433
    /// [sources.radio]
    /// link = { type = "udp", bind = "0.0.0.0:1433" }
    /// decode = { type = "rtl433" }
    /// ```
    Rtl433(NoKeys),
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

/// The link protocol.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct LinkDecode {
    /// File with a line for each device: its number, its key as 64 hexadecimal digits and, if
    /// wanted, a name. Without it, any device is taken, and named by its number.
    pub(crate) keys_file: Option<NamedFile>,
}

/// InfluxDB's line protocol.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct InfluxDecode {
    /// Tag whose value is the device's name. Without it the names of readings have all tags, and the
    /// device is that of the source.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) device: Option<String>,
    /// Unit of the time behind the fields.
    #[serde(default = "nanoseconds")]
    pub(crate) time_unit: TimeUnit,
}

/// A format that needs no description.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct NoKeys {}

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

const fn nanoseconds() -> TimeUnit {
    TimeUnit::Ns
}

const fn default_separator() -> char {
    ','
}
