//! What an operator can write, as checked types: a value that breaks its rule cannot be built.
//!
//! The doc comments here are the manual: the schema, `docs/configuration.md` and the hints of error
//! messages are made from them.

mod binary;
mod coap_poll;
mod decode;
mod frame;
mod modbus;
mod operations;
mod source;
mod tls;
mod transform;

use std::collections::BTreeMap;
use std::path::PathBuf;

use proto::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{self, BrokerUrls, ByteSize, Decimal, Id, Interval, Secret};
use crate::pipeline::{Condition, DeviceClock, Pattern, TopicTemplate};
use crate::store::WhenFull;

pub(crate) use binary::*;
pub(crate) use coap_poll::*;
pub(crate) use decode::*;
pub(crate) use frame::*;
pub(crate) use modbus::*;
pub(crate) use operations::*;
pub(crate) use source::*;
pub(crate) use tls::*;
pub(crate) use transform::*;

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
    /// How readings are kept until the brokers have them. See docs/store.md.
    ///
    /// ```toml
    /// [store]
    /// quota = "512MiB"
    /// when_full = "drop_oldest"
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
    /// url = ["mqtts://a.broker.example", "mqtts://b.broker.example"]
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
    /// How commands are taken that come from brokers; without it none are. See docs/commands.md.
    ///
    /// ```toml
    /// [commands]
    /// from = ["cloud"]
    /// ```
    pub(crate) commands: Option<Commands>,
    /// What may be done with which devices, by name.
    ///
    /// ```toml
    /// [operations.setpoint]
    /// source = "nodes"
    /// devices = ["valve-*"]
    /// value = { type = "number", min = 5, max = 30, unit = "Cel" }
    /// via = { type = "coap", method = "put", path = "/setpoint" }
    /// writable = true
    /// ```
    pub(crate) operations: BTreeMap<Id, Operation>,
    /// Devices that one command can go to, by name.
    ///
    /// ```toml
    /// [groups.north]
    /// devices = ["valve-n*"]
    /// ```
    pub(crate) groups: BTreeMap<Id, Group>,
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
    /// How it is found out whether the machine's clock is right. See docs/time.md.
    pub(crate) clock: Clock,
    /// File that is there once the machine's clock is right, and not after a start before: with it,
    /// nothing else is asked. It is not looked at with `clock = "trusted"`.
    #[serde(deserialize_with = "values::path_option")]
    pub(crate) clock_flag: Option<PathBuf>,
    /// First year of which a device's time can be, 1970 to 2200: what is earlier counts from the device's
    /// start, and is dated by its arrival.
    #[serde(deserialize_with = "values::whole::<_, _, 1970, 2200>")]
    #[schemars(range(min = 1970, max = 2200))]
    pub(crate) device_time_from: u16,
    /// How far a device's time can be ahead of the machine's clock while that is right, 0s to 8760h: what is
    /// later is dated by its arrival.
    #[serde(deserialize_with = "values::span::<_, 0, 31_536_000>")]
    pub(crate) device_time_ahead: Interval,
}

/// Whether the machine's clock is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Clock {
    /// What systemd-timesyncd or `timedatectl` says; where neither can, every clock that says 2026 or later.
    #[default]
    Auto,
    /// Always, as on a machine whose battery keeps the time.
    Trusted,
}

/// How readings are kept until the brokers have them. See docs/store.md.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Store {
    /// Most bytes that the store takes on disk, apart from what damage leaves behind: 1MiB or more.
    /// It takes them as it needs them; `when_full` says what happens then.
    #[serde(deserialize_with = "values::size::<_, 0x10_0000, { u64::MAX }>")]
    pub(crate) quota: ByteSize,
    /// What happens to new readings while the store is full, or the disk.
    pub(crate) when_full: WhenFull,
    /// Bytes that stay free on the file system: with less, the store takes no more of it and is
    /// full once what it has is used up. 0 leaves nothing free.
    #[serde(deserialize_with = "values::size::<_, 0, { u64::MAX }>")]
    pub(crate) min_free: ByteSize,
    /// How long readings stay that every broker has, so that they can be sent once more: 247s to
    /// 8760h. They go earlier while the store is more than half full.
    #[serde(deserialize_with = "values::span::<_, 247, 31_536_000>")]
    pub(crate) keep: Interval,
    /// Shortest time between two commits: more readings share one write, and each waits longer
    /// for its acknowledgement. 0s commits as fast as the disk allows; 1s spares an SD card, 10s
    /// is the most.
    #[serde(deserialize_with = "values::span::<_, 0, 10>")]
    pub(crate) commit_interval: Interval,
}

/// An MQTT broker.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Broker {
    /// `mqtt://host:port`, or `mqtts` with TLS; `ws://host:port/path`, or `wss`, for a WebSocket. The
    /// port is 1883, 8883, 80 or 443 and the path `/mqtt` where none is given. Several addresses are
    /// those of one broker: when one fails, the next is tried at once.
    pub(crate) url: BrokerUrls,
    /// How TLS is done, for `mqtts` and `wss`. The broker's certificate is always verified. There is
    /// no key to leave that out, because whoever can stand in between could then answer in the
    /// broker's place and be told the password; for a broker whose certificate is of a CA of your own,
    /// `ca_file` is all it takes.
    ///
    /// TLS 1.2 and 1.3. Without `ca_file`, the CAs of the system are trusted. The files are PEM; a
    /// relative path is looked for in systemd's `CREDENTIALS_DIRECTORY`, then beside the file that names
    /// it. They are read at the start and again for each connection, so that a renewed certificate needs
    /// no restart.
    ///
    /// ```toml
    /// [brokers.plant]
    /// url = "mqtts://broker.plant.example"
    /// client_id = "plant-{gateway}"
    ///
    /// [brokers.plant.tls]
    /// ca_file = "ca.pem"
    /// ```
    #[serde(default)]
    pub(crate) tls: Option<Tls>,
    /// Longest wait for one address of the broker to take a connection, with the handshakes of TLS
    /// and WebSocket: 1s to 5m. Every address of a host name is tried.
    #[serde(default = "default_connect_timeout", deserialize_with = "values::span::<_, 1, 300>")]
    pub(crate) connect_timeout: Interval,
    /// Version of MQTT.
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// Client identifier; `{gateway}` stands for the gateway's id.
    #[serde(default = "default_client_id", deserialize_with = "values::client_id")]
    #[schemars(length(min = 1))]
    pub(crate) client_id: String,
    /// User name.
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// Password; better in a file of its own: `password_file`. It needs a `username`.
    #[serde(default)]
    pub(crate) password: Option<Secret>,
    /// File that holds the password; a line end at its end is dropped. A relative path is looked
    /// for in systemd's `CREDENTIALS_DIRECTORY`, then beside the file that names it.
    #[serde(default, deserialize_with = "values::path_option")]
    pub(crate) password_file: Option<PathBuf>,
    /// Longest silence before a ping: 1s to 65535s.
    #[serde(default = "default_keep_alive", deserialize_with = "values::span::<_, 1, 65_535>")]
    pub(crate) keep_alive: Interval,
    /// Most publishes under way without acknowledgement, 1 to 65535; of quality of service 2 at
    /// most 20. A broker that speaks MQTT 5 can lower it.
    #[serde(default = "default_window", deserialize_with = "values::whole::<_, _, 1, 65_535>")]
    #[schemars(range(min = 1))]
    pub(crate) window: u16,
    /// Longest wait for an acknowledgement, and for a write, before the connection is made anew:
    /// 1s to 1h.
    #[serde(default = "default_ack_timeout", deserialize_with = "values::span::<_, 1, 3600>")]
    pub(crate) ack_timeout: Interval,
    /// Largest packet that the broker takes, 128B to 256MiB; larger readings become dead
    /// letters.
    #[serde(
        default = "default_max_packet",
        deserialize_with = "values::size::<_, 128, 0x1000_0000>"
    )]
    pub(crate) max_packet: ByteSize,
    /// Longest pause between two attempts to connect: 1s to 1h.
    #[serde(default = "default_max_backoff", deserialize_with = "values::span::<_, 1, 3600>")]
    pub(crate) max_backoff: Interval,
    /// Whether a message has the user properties `n`, `device`, `epoch` and `seq`; only with
    /// `protocol = "5"`.
    #[serde(default = "default_user_properties")]
    pub(crate) user_properties: bool,
    /// Most readings of the store that the broker may be behind, `window` or more and at most
    /// 4294967295, whether its routes take them or not: the oldest ones beyond that are dropped for
    /// it and counted, acknowledged as they are. Without it there is no such limit.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 1, { u32::MAX }>")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub(crate) max_lag: Option<u64>,
    /// How old a reading may get in the store before the broker has it, 10s to 8760h: what is older is
    /// dropped for this broker and counted, acknowledged as it is. A clock that is set late makes nothing
    /// old. Without it there is no such limit.
    #[serde(default, deserialize_with = "values::span_option::<_, 10, 31_536_000>")]
    pub(crate) max_age: Option<Interval>,
    /// Most publishes a second, 1 to 1000000. Without it there is no such limit.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) max_rate: Option<u64>,
    /// Most bytes of publishes a second, 1KiB or more. Without it there is no such limit.
    #[serde(default, deserialize_with = "values::size_option::<_, 1024, { u64::MAX }>")]
    pub(crate) max_bandwidth: Option<ByteSize>,
    /// Connections in a row that may end while the same reading is the only one under way, before
    /// it is put among the dead letters so that others can go on; 0 tries for ever, 1000 is the
    /// most.
    #[serde(
        default = "default_quarantine_after",
        deserialize_with = "values::whole::<_, _, 0, 1000>"
    )]
    #[schemars(range(max = 1000))]
    pub(crate) quarantine_after: u32,
}

/// Version of MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(crate) enum Protocol {
    /// MQTT 3.1.1, protocol level 4.
    #[default]
    #[serde(rename = "3.1.1")]
    V4,
    /// MQTT 5: the broker says its limits and why it refuses something, and a message has
    /// properties.
    #[serde(rename = "5")]
    V5,
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
    /// Which of these readings: an expression of CEL over `device`, `name`, `value`, `unit`, `time`,
    /// `source` and `n` as they are stored. One that fails, because a value is of another type, does
    /// not match and is counted. See docs/routes.md.
    ///
    /// ```toml
    /// [routes.hot]
    /// when = 'name == "temp" && unit == "Cel" && value > 30'
    /// ```
    #[serde(default)]
    pub(crate) when: Option<Condition>,
    /// Another unit or scale for the value, exact in decimals.
    ///
    /// ```toml
    /// [routes.american]
    /// name = "temp"
    /// convert = { unit = "degF" }
    ///
    /// [routes.raw]
    /// name = "adc"
    /// convert = { scale = 0.1, offset = -40, unit = "Cel" }
    /// ```
    #[serde(default)]
    pub(crate) convert: Option<Convert>,
    /// Another name, in which `{name}` stands for the one that the reading has. It is what `topic` and
    /// `payload` show.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) rename: Option<String>,
    /// Leaves out what is not further than this from the value that was sent last, of each name of each
    /// device; a value that is no number only where it is the same.
    ///
    /// ```toml
    /// [routes.changes]
    /// deadband = 0.2
    /// max_silence = "10m"
    /// min_interval = "10s"
    /// ```
    #[serde(default)]
    pub(crate) deadband: Option<Decimal>,
    /// The same in percent of the value that was sent last. With both, a change has to be beyond each.
    #[serde(default)]
    pub(crate) deadband_percent: Option<Decimal>,
    /// How long nothing may be sent because of a deadband, by the readings' time, 1s to a year: then the
    /// next reading is sent whatever its value is.
    #[serde(default, deserialize_with = "values::span_option::<_, 1, 31_536_000>")]
    pub(crate) max_silence: Option<Interval>,
    /// Shortest time between two readings, by their time, of each name of each device, 1s to a year: the
    /// first is sent, those that follow in this time are left out.
    #[serde(default, deserialize_with = "values::span_option::<_, 1, 31_536_000>")]
    pub(crate) min_interval: Option<Interval>,
    /// One reading for all of a window of time, of each name of each device. Not with `live_first`, a
    /// deadband or `min_interval`.
    ///
    /// ```toml
    /// [routes.minutes]
    /// name = "temp"
    /// aggregate = { window = "1m", of = ["min", "mean", "max"] }
    /// ```
    #[serde(default)]
    pub(crate) aggregate: Option<Aggregate>,
    /// Topic; `{gateway}`, `{source}`, `{device}` and `{name}` are filled in.
    #[serde(default)]
    pub(crate) topic: TopicTemplate,
    /// What is published.
    #[serde(default)]
    pub(crate) payload: Payload,
    /// MQTT quality of service: 0 releases a reading once it is handed to the network, 1 once the
    /// broker acknowledges it, 2 also keeps disconnects from doubling it.
    #[serde(default)]
    pub(crate) qos: Qos,
    /// How old a reading may be, by its time, 1s to a year: an older one is not published any more
    /// but counted. MQTT 5 brokers are told to drop it then too. Without it a reading is published
    /// whenever the broker can be reached again.
    #[serde(default, deserialize_with = "values::span_option::<_, 1, 31_536_000>")]
    pub(crate) expiry: Option<Interval>,
    /// Response Topic, with the same fields as `topic`; only brokers with `protocol = "5"` get it.
    #[serde(default)]
    pub(crate) response_topic: Option<TopicTemplate>,
    /// Whether new readings go before those that waited while the broker was away: after an outage
    /// the newest values are there at once, and the older ones follow as fast as the broker takes
    /// them. Not for a broker that any route publishes to with `qos = 2`.
    #[serde(default)]
    pub(crate) live_first: bool,
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

/// MQTT quality of service: 0, 1 or 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "these are MQTT's names")]
pub(crate) enum Qos {
    /// 0: released once it is handed to the network.
    AtMostOnce,
    /// 1: released once the broker acknowledges it.
    #[default]
    AtLeastOnce,
    /// 2: released once the broker has it and cannot take it twice.
    ExactlyOnce,
}

impl Config {
    /// Where clients of CoAP may publish to topics, or read them.
    pub(crate) fn bridges(&self) -> impl Iterator<Item = &PubSub> {
        self.sources.values().filter_map(|source| match &source.link {
            Link::Coap(link) => link.ps.as_ref(),
            Link::Serial(_)
            | Link::Udp(_)
            | Link::Tcp(_)
            | Link::TcpClient(_)
            | Link::CoapPoll(_)
            | Link::Http(_)
            | Link::Modbus(_) => None,
        })
    }
}

impl Gateway {
    /// Which times of devices can be right.
    pub(crate) fn device_clock(&self) -> DeviceClock {
        let year = i16::try_from(self.device_time_from).unwrap_or(i16::MAX);
        // Every year that the key takes has a first day.
        let seconds = jiff::civil::Date::new(year, 1, 1)
            .and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC))
            .map_or(0, |day| day.timestamp().as_second());
        DeviceClock {
            from: Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000)),
            ahead: self.device_time_ahead.duration(),
        }
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            id: Id::default(),
            state_dir: PathBuf::from("gateway-state"),
            topic_prefix: Id::default(),
            drain: Interval::seconds(5),
            clock: Clock::default(),
            clock_flag: None,
            device_time_from: 2020,
            device_time_ahead: Interval::seconds(24 * 60 * 60),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            quota: ByteSize::mib(1024),
            when_full: WhenFull::default(),
            min_free: ByteSize::mib(64),
            keep: Interval::seconds(3600),
            commit_interval: Interval::default(),
        }
    }
}

impl Broker {
    /// The client identifier of the gateway `id` at this broker.
    pub(crate) fn client_id_for(&self, id: &Id) -> String {
        self.client_id.replace("{gateway}", id.as_str())
    }
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

const fn default_connect_timeout() -> Interval {
    Interval::seconds(10)
}

const fn default_max_packet() -> ByteSize {
    ByteSize::kib(256)
}

const fn default_quarantine_after() -> u32 {
    5
}

const fn default_max_backoff() -> Interval {
    Interval::seconds(60)
}

const fn default_user_properties() -> bool {
    true
}

fn default_from() -> Vec<Pattern> {
    vec![Pattern::default()]
}
