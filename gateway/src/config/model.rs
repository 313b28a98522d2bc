//! What an operator can write, as checked types: a value that breaks its rule cannot be built.
//!
//! The doc comments here are the manual: the schema, `docs/configuration.md` and the hints of error
//! messages are made from them.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{self, BrokerUrl, ByteSize, FrameSize, Id, Interval, JsonPath, Secret};
use crate::pipeline::{Pattern, TopicTemplate};

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Config {
    /// The gateway itself.
    ///
    /// ```toml
    /// [gateway]
    /// id = "greenhouse-1"
    /// state_dir = "/var/lib/gateway"
    /// ```
    pub(crate) gateway: Gateway,
    /// How readings are kept until the brokers have them.
    ///
    /// ```toml
    /// [store]
    /// quota = "512MiB"
    /// commit_interval = "1s"
    /// ```
    pub(crate) store: Store,
    /// Where readings come from, by name.
    ///
    /// ```toml
    /// [sources.thermometer]
    /// device = "th-0001"
    /// link = { type = "serial", path = "/dev/ttyUSB0", baud = 115200 }
    /// decode = { type = "keyvalue" }
    /// ```
    pub(crate) sources: BTreeMap<Id, Source>,
    /// Where readings go to, by name.
    ///
    /// ```toml
    /// [brokers.cloud]
    /// url = "mqtt://broker.example"
    /// client_id = "site-{gateway}"
    /// username = "greenhouse"
    /// password_file = "cloud-password"
    /// ```
    pub(crate) brokers: BTreeMap<Id, Broker>,
    /// Which readings go to which brokers under which topic, by name.
    ///
    /// ```toml
    /// [routes.climate]
    /// from = ["thermometer", "node*"]
    /// name = "temp*"
    /// topic = "site/{gateway}/{device}/{name}"
    /// payload = "value"
    /// to = ["cloud"]
    /// ```
    pub(crate) routes: BTreeMap<Id, Route>,
}

/// The gateway itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Gateway {
    /// Name of this gateway: `{gateway}` in topics and client identifiers.
    pub(crate) id: Id,
    /// Folder for the store. Where no file says one, it is the folder that systemd hands over in
    /// `STATE_DIRECTORY`, else `gateway-state` in the working directory.
    #[serde(deserialize_with = "values::path")]
    pub(crate) state_dir: PathBuf,
    /// First level of the gateway's own topics: `{topic_prefix}/{gateway}/status`.
    pub(crate) topic_prefix: Id,
    /// How long a stopping gateway tries to hand the rest to the brokers: 0s to 1h.
    #[serde(deserialize_with = "values::span::<_, 0, 3600>")]
    pub(crate) drain: Interval,
}

/// How readings are kept until the brokers have them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Store {
    /// Most bytes that the store takes on disk, 1MiB or more; new readings are refused when it is
    /// full.
    #[serde(deserialize_with = "values::size::<_, 0x10_0000, { u64::MAX }>")]
    pub(crate) quota: ByteSize,
    /// Shortest time between two commits: more readings share one write, and each waits longer
    /// for its acknowledgement. 0s commits as fast as the disk allows; 1s spares an SD card, 10s
    /// is the most.
    #[serde(deserialize_with = "values::span::<_, 0, 10>")]
    pub(crate) commit_interval: Interval,
}

/// A place where readings come from: a link, cut into frames, decoded into readings.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Source {
    /// Name of the device, where a frame does not name it: for a link with one device on it.
    /// Without it, a device that does not name itself is named by its address.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) device: Option<String>,
    /// What the devices are connected to.
    pub(crate) link: Link,
    /// How bytes become frames; by default lines for serial and tcp, datagrams for udp.
    #[serde(default)]
    pub(crate) frame: Option<Frame>,
    /// How a frame becomes readings; required but for coap, where the content format says it.
    #[serde(default)]
    pub(crate) decode: Option<Decode>,
}

/// A link to devices.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(tag = "type")]
pub(crate) enum Link {
    /// A serial port.
    ///
    /// ```toml
    /// [sources.scale]
    /// device = "scale-1"
    /// link = { type = "serial", path = "/dev/serial/by-id/usb-FTDI_scale-if00-port0", parity = "even", data_bits = 7 }
    /// decode = { type = "value", name = "weight", unit = "kg" }
    /// ```
    Serial(SerialLink),
    /// Datagrams.
    ///
    /// ```toml
    /// [sources.weather]
    /// link = { type = "udp", bind = "0.0.0.0:7000", receive_buffer = "8MiB" }
    /// decode = { type = "json", device = "station" }
    /// ```
    Udp(UdpLink),
    /// Clients that connect and send.
    ///
    /// ```toml
    /// [sources.lines]
    /// link = { type = "tcp", bind = "127.0.0.1:7000", reply = true }
    /// decode = { type = "json", device = "device" }
    /// ```
    Tcp(TcpLink),
    /// A CoAP server (RFC 7252): `/r` takes packs, `/r/{device}/{name}` takes plain values.
    ///
    /// ```toml
    /// [sources.node-lan]
    /// link = { type = "coap", bind = ["192.0.2.10:5684"] }
    /// ```
    Coap(CoapLink),
}

/// A serial port.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SerialLink {
    /// The port, by a name that stays: `/dev/serial/by-id/…`.
    #[serde(deserialize_with = "values::path")]
    pub(crate) path: PathBuf,
    /// Symbols a second, 50 to 4000000. 9600 is what most sensors and Arduino sketches use.
    #[serde(default = "default_baud", deserialize_with = "values::whole::<_, _, 50, 4_000_000>")]
    #[schemars(range(min = 50, max = 4_000_000))]
    pub(crate) baud: u32,
    /// Bits of a character: 5 to 8.
    #[serde(default)]
    pub(crate) data_bits: DataBits,
    /// Parity bit.
    #[serde(default)]
    pub(crate) parity: Parity,
    /// Stop bits: 1 or 2.
    #[serde(default)]
    pub(crate) stop_bits: StopBits,
    /// Time after opening during which input is thrown away, 0s to 1m: an Arduino resets when it is
    /// opened.
    #[serde(default, deserialize_with = "values::span::<_, 0, 60>")]
    pub(crate) open_delay: Interval,
}

/// Datagrams.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct UdpLink {
    /// Address and port to listen on.
    #[serde(deserialize_with = "values::address")]
    #[schemars(with = "values::Address")]
    pub(crate) bind: SocketAddr,
    /// Kernel receive buffer, 4KiB to 1GiB; what does not fit in a burst is lost and counted.
    #[serde(
        default = "default_receive_buffer",
        deserialize_with = "values::size::<_, 0x1000, 0x4000_0000>"
    )]
    pub(crate) receive_buffer: ByteSize,
}

/// Clients that connect and send.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct TcpLink {
    /// Address and port to listen on.
    #[serde(deserialize_with = "values::address")]
    #[schemars(with = "values::Address")]
    pub(crate) bind: SocketAddr,
    /// Answer each frame with a line once its readings are on disk: `ok`, or `error: …`.
    #[serde(default)]
    pub(crate) reply: bool,
    /// Most clients at a time; one more is closed at once and counted.
    #[serde(
        default = "default_max_clients",
        deserialize_with = "values::whole::<_, _, 1, 65_535>"
    )]
    #[schemars(range(min = 1))]
    pub(crate) max_clients: u16,
}

/// A CoAP server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct CoapLink {
    /// Addresses and ports to listen on.
    #[serde(default = "default_coap_bind", deserialize_with = "values::addresses")]
    #[schemars(with = "Vec<values::Address>", length(min = 1))]
    pub(crate) bind: Vec<SocketAddr>,
    /// Longest wait for the disk before an empty acknowledgement tells the device that its answer
    /// follows: 0s to 1.9s, below CoAP's ACK_TIMEOUT of 2 s (RFC 7252 §4.8).
    #[serde(
        default = "default_separate_after",
        deserialize_with = "values::span_ms::<_, 0, 1900>"
    )]
    pub(crate) separate_after: Interval,
}

/// Bits of a character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DataBits {
    /// 5
    Five,
    /// 6
    Six,
    /// 7
    Seven,
    /// 8
    #[default]
    Eight,
}

/// Parity bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Parity {
    /// None.
    #[default]
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// Stop bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StopBits {
    /// 1
    #[default]
    One,
    /// 2
    Two,
}

/// How bytes become frames.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(tag = "type")]
pub(crate) enum Frame {
    /// Text up to a line feed; a carriage return before it is dropped.
    ///
    /// ```toml
    /// [sources.short-lines]
    /// link = { type = "tcp", bind = "127.0.0.1:7001" }
    /// frame = { type = "lines", max = "4KiB" }
    /// decode = { type = "senml" }
    /// ```
    Lines(LinesFrame),
    /// What arrived together: one UDP datagram.
    ///
    /// ```toml
    /// [sources.packs]
    /// link = { type = "udp", bind = "0.0.0.0:7001" }
    /// frame = { type = "datagram", max = 1280 }
    /// decode = { type = "senml" }
    /// ```
    Datagram(DatagramFrame),
}

/// Text up to a line feed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct LinesFrame {
    /// Longest line, 1B to 1MiB; a longer one is thrown away up to its end and counted.
    pub(crate) max: FrameSize,
}

/// One UDP datagram.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct DatagramFrame {
    /// Longest datagram, 1B to 1MiB; a longer one is refused and counted. The default takes every
    /// datagram that UDP can carry.
    pub(crate) max: FrameSize,
}

/// How a frame becomes readings.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(tag = "type")]
pub(crate) enum Decode {
    /// A JSON object: every number, boolean and string in it becomes a reading of that name.
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

/// An MQTT broker.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Broker {
    /// `mqtt://host:port`; the port is 1883 where none is given. TLS and WebSocket are not
    /// supported.
    pub(crate) url: BrokerUrl,
    /// Client identifier; `{gateway}` stands for the gateway's id.
    #[serde(default = "default_client_id", deserialize_with = "values::client_id")]
    #[schemars(length(min = 1))]
    pub(crate) client_id: String,
    /// User name.
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// Password; better in a file of its own: `password_file`.
    #[serde(default)]
    pub(crate) password: Option<Secret>,
    /// File that holds the password; a line end at its end is dropped. A relative path is looked
    /// for in systemd's `CREDENTIALS_DIRECTORY`, then beside the file that names it.
    #[serde(default, deserialize_with = "values::path_option")]
    pub(crate) password_file: Option<PathBuf>,
    /// Longest silence before a ping: 1s to 65535s.
    #[serde(default = "default_keep_alive", deserialize_with = "values::span::<_, 1, 65_535>")]
    pub(crate) keep_alive: Interval,
    /// Most publishes under way without acknowledgement.
    #[serde(default = "default_window", deserialize_with = "values::whole::<_, _, 1, 65_535>")]
    #[schemars(range(min = 1))]
    pub(crate) window: u16,
    /// Longest wait for an acknowledgement, and for a write, before the connection is made anew:
    /// 1s to 1h.
    #[serde(default = "default_ack_timeout", deserialize_with = "values::span::<_, 1, 3600>")]
    pub(crate) ack_timeout: Interval,
    /// Largest packet that the broker takes, 128B to 256MiB; larger readings are dropped and
    /// counted.
    #[serde(
        default = "default_max_packet",
        deserialize_with = "values::size::<_, 128, 0x1000_0000>"
    )]
    pub(crate) max_packet: ByteSize,
    /// Longest pause between two attempts to connect: 1s to 1h.
    #[serde(default = "default_max_backoff", deserialize_with = "values::span::<_, 1, 3600>")]
    pub(crate) max_backoff: Interval,
}

/// Which readings go where.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Route {
    /// Sources, by name; `*` and `?` stand for any characters and any one.
    #[serde(default = "default_from")]
    pub(crate) from: Vec<Pattern>,
    /// Devices, by name.
    #[serde(default)]
    pub(crate) device: Pattern,
    /// Readings, by name.
    #[serde(default)]
    pub(crate) name: Pattern,
    /// Topic; `{gateway}`, `{source}`, `{device}` and `{name}` are filled in.
    #[serde(default)]
    pub(crate) topic: TopicTemplate,
    /// What is published.
    #[serde(default)]
    pub(crate) payload: Payload,
    /// MQTT quality of service.
    #[serde(default)]
    pub(crate) qos: Qos,
    /// Whether the broker keeps the last reading for new subscribers.
    #[serde(default)]
    pub(crate) retain: bool,
    /// Brokers, by name; every broker where none is named.
    #[serde(default)]
    pub(crate) to: Option<Vec<Id>>,
}

/// What is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(crate) enum Payload {
    /// One JSON object a reading.
    #[default]
    #[serde(rename = "json")]
    Json,
    /// A SenML pack of one record as JSON.
    #[serde(rename = "senml+json")]
    SenmlJson,
    /// A SenML pack of one record as CBOR.
    #[serde(rename = "senml+cbor")]
    SenmlCbor,
    /// The value alone, as text; bytes as they are.
    #[serde(rename = "value")]
    Value,
}

/// MQTT quality of service: 0 or 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Qos {
    /// 0: released once it is handed to the network.
    AtMostOnce,
    /// 1: released once the broker acknowledges it.
    #[default]
    AtLeastOnce,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            id: Id::default(),
            state_dir: PathBuf::from("gateway-state"),
            topic_prefix: Id::default(),
            drain: Interval::seconds(5),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { quota: ByteSize::mib(1024), commit_interval: Interval::default() }
    }
}

impl Broker {
    /// The client identifier of the gateway `id` at this broker.
    pub(crate) fn client_id_for(&self, id: &Id) -> String {
        self.client_id.replace("{gateway}", id.as_str())
    }
}

const fn default_baud() -> u32 {
    9_600
}

const fn default_receive_buffer() -> ByteSize {
    ByteSize::mib(4)
}

const fn default_max_clients() -> u16 {
    64
}

fn default_coap_bind() -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5683))]
}

const fn default_separate_after() -> Interval {
    Interval::millis(500)
}

const fn default_separator() -> char {
    ','
}

fn default_client_id() -> String {
    "{gateway}".to_owned()
}

const fn default_keep_alive() -> Interval {
    Interval::seconds(30)
}

const fn default_window() -> u16 {
    100
}

const fn default_ack_timeout() -> Interval {
    Interval::seconds(20)
}

const fn default_max_packet() -> ByteSize {
    ByteSize::kib(256)
}

const fn default_max_backoff() -> Interval {
    Interval::seconds(60)
}

fn default_from() -> Vec<Pattern> {
    vec![Pattern::default()]
}
