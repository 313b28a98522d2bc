//! Sources: a link, and how its bytes become frames.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{
    self, ByteSize, HexBytes, HostPort, Id, Interval, Network, Secret, UnitAddress,
};
use super::{CoapPollLink, Decode, Frame, ModbusLink, ModbusUnit};
use crate::pipeline::TopicFilter;

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
    /// How bytes become frames; by default lines, and datagrams for udp.
    #[serde(default)]
    pub(crate) frame: Option<Frame>,
    /// How a frame becomes readings; required but for coap, coap-poll and http, where the content
    /// format says it, and for modbus.
    #[serde(default)]
    pub(crate) decode: Option<Decode>,
    /// Units of a modbus link, by their address: which registers are read and what they mean. See
    /// docs/modbus.md.
    ///
    /// ```toml
    /// [sources.heat-pump]
    /// link = { type = "modbus", rtu_over_tcp = "192.0.2.8:4001" }
    ///
    /// [sources.heat-pump.units.12]
    /// device = "pump"
    /// interval = "30s"
    ///
    /// [sources.heat-pump.units.12.registers]
    /// flow = { at = 100, table = "input", type = "i16", scale = 0.1, unit = "Cel" }
    /// energy = { at = 110, type = "u32", order = "cdab", unit = "kWh", interval = "5m" }
    /// state = { at = 120, values = { 0 = "off", 1 = "heating", 2 = "defrosting" } }
    /// alarm = { at = 121, bit = 3 }
    /// ```
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) units: BTreeMap<UnitAddress, ModbusUnit>,
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
    /// A server that the gateway connects to: a device, or a converter with a serial line behind it.
    /// It is connected to again whenever the connection ends.
    ///
    /// ```toml
    /// [sources.converter]
    /// link = { type = "tcp-client", connect = "192.0.2.7:4001" }
    /// decode = { type = "json", device = "device" }
    /// ```
    TcpClient(TcpClientLink),
    /// A CoAP server (RFC 7252, RFC 8323): `/r` takes packs, `/r/{device}/{name}` takes plain values.
    ///
    /// ```toml
    /// [sources.node-lan]
    /// link = { type = "coap", bind = ["192.0.2.10:5684"], tcp = ["192.0.2.10:5684"] }
    /// ```
    Coap(CoapLink),
    /// CoAP nodes that are asked for their readings (RFC 7252), or observed (RFC 7641). See
    /// docs/coap-poll.md.
    ///
    /// ```toml
    /// [sources.plant.link]
    /// type = "coap-poll"
    /// nodes = { boiler = "coap://192.0.2.7", roof = "coap://roof.lan" }
    /// interval = "30s"
    ///
    /// [sources.plant.link.resources]
    /// temp = { path = "/sensors/temp", unit = "Cel", observe = true }
    /// meters = { discover = ["rt=meter*", "ct=112"], nodes = "boiler*", interval = "15m" }
    /// ```
    CoapPoll(CoapPollLink),
    /// An HTTP server (RFC 9110, RFC 9112): `POST /r` takes JSON and SenML, `POST /r/{device}/{name}`
    /// one value; a browser sees the last values of all devices. With `decode`, a body that is not
    /// SenML is one frame for that. See docs/http.md.
    ///
    /// ```toml
    /// [sources.web]
    /// link = { type = "http", bind = "127.0.0.1:8080" }
    /// ```
    Http(HttpLink),
    /// A Modbus master: it asks the units of a bus for registers that `units` describes. The bus is
    /// one of `tcp`, `rtu_over_tcp` and `serial`. See docs/modbus.md.
    ///
    /// ```toml
    /// [sources.meter]
    /// link = { type = "modbus", serial = "/dev/serial/by-id/usb-FTDI_bus-if00-port0", baud = 9600, parity = "none" }
    ///
    /// [sources.meter.units.1]
    /// device = "em21"
    /// registers.voltage = { at = 0, table = "input", type = "i32", order = "cdab", scale = 0.1, unit = "V" }
    /// ```
    Modbus(ModbusLink),
}

impl Link {
    /// Who is listened to; everybody where it is empty.
    pub(crate) fn allow(&self) -> &[Network] {
        match self {
            Self::Udp(link) => &link.allow,
            Self::Tcp(link) => &link.allow,
            Self::Coap(link) => &link.allow,
            Self::Http(link) => &link.allow,
            Self::Serial(_) | Self::TcpClient(_) | Self::CoapPoll(_) | Self::Modbus(_) => &[],
        }
    }
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
    /// Parity bit of a character.
    #[serde(default)]
    pub(crate) parity: Parity,
    /// Stop bits: 1 or 2.
    #[serde(default)]
    pub(crate) stop_bits: StopBits,
    /// Time after opening during which input is thrown away, 0s to 1m: an Arduino resets when it is
    /// opened.
    #[serde(default, deserialize_with = "values::span::<_, 0, 60>")]
    pub(crate) open_delay: Interval,
    /// Half-duplex RS-485 on a port whose driver switches the transmitter by RTS: `{}` with the
    /// usual timing. An adapter that switches by itself, as most USB ones do, needs none.
    #[serde(default)]
    pub(crate) rs485: Option<Rs485>,
    /// What is sent to a device that only answers; without it, nothing is.
    #[serde(default)]
    pub(crate) poll: Option<Poll>,
}

/// A request that is sent again and again, to a device that only answers.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Poll {
    /// The request, 1 to 16 bytes.
    pub(crate) send: HexBytes,
    /// How often it is sent, 1s to 1h; the first time when the link is open.
    #[serde(default = "default_every", deserialize_with = "values::span::<_, 1, 3_600>")]
    pub(crate) every: Interval,
}

/// Half-duplex RS-485.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Rs485 {
    /// RTS is low while the port sends.
    pub(crate) invert_rts: bool,
    /// Time between RTS and the first bit, 0ms to 100ms.
    #[serde(deserialize_with = "values::span_ms::<_, 0, 100>")]
    pub(crate) delay_before: Interval,
    /// Time between the last bit and RTS, 0ms to 100ms.
    #[serde(deserialize_with = "values::span_ms::<_, 0, 100>")]
    pub(crate) delay_after: Interval,
    /// Switch a terminating resistor on, where the driver can.
    pub(crate) terminate: bool,
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
    /// Multicast groups to join, such as `["224.0.1.187"]`. Broadcasts are heard without it, on
    /// `0.0.0.0` as well as on the broadcast address.
    #[serde(default, deserialize_with = "values::groups")]
    #[schemars(with = "Vec<values::Group>")]
    pub(crate) groups: Vec<IpAddr>,
    /// Network interface on which to join them, such as `"eth0"`; by default the system chooses one
    /// by its routes.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) interface: Option<String>,
    /// Senders that are listened to, such as `["192.0.2.0/24", "2001:db8::7"]`; others are refused
    /// and counted. Without it, everybody is.
    #[serde(default)]
    pub(crate) allow: Vec<Network>,
    /// What is sent to devices that only answer; without it, nothing is.
    #[serde(default)]
    pub(crate) poll: Option<UdpPoll>,
}

/// A request that is sent again and again, to devices that only answer.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct UdpPoll {
    /// The request, 1 to 16 bytes.
    pub(crate) send: HexBytes,
    /// How often it is sent, 1s to 1h; the first time when the socket is open.
    #[serde(default = "default_every", deserialize_with = "values::span::<_, 1, 3_600>")]
    pub(crate) every: Interval,
    /// Addresses and ports of the devices, of the family of `bind`.
    #[serde(deserialize_with = "values::addresses")]
    #[schemars(with = "Vec<values::Address>", length(min = 1))]
    pub(crate) to: Vec<SocketAddr>,
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
    /// Most clients at a time, 1 to 65535; one more is closed at once and counted.
    #[serde(
        default = "default_max_clients",
        deserialize_with = "values::whole::<_, _, 1, 65_535>"
    )]
    #[schemars(range(min = 1))]
    pub(crate) max_clients: u16,
    /// Clients that may connect, such as `["192.0.2.0/24", "2001:db8::7"]`; others are refused
    /// and counted. Without it, everybody may.
    #[serde(default)]
    pub(crate) allow: Vec<Network>,
}

/// A server that the gateway connects to.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct TcpClientLink {
    /// Host and port.
    pub(crate) connect: HostPort,
    /// Longest pause between two attempts to connect, 1s to 1h; the first is 200 ms.
    #[serde(default = "default_max_backoff", deserialize_with = "values::span::<_, 1, 3_600>")]
    pub(crate) max_backoff: Interval,
    /// Whether the server may be within a frame when it is connected to, as a converter with a
    /// serial line behind it is: then what comes before the first delimiter, or before a pause, is
    /// thrown away and counted. False for a server that begins with a frame.
    #[serde(default = "default_mid_stream")]
    pub(crate) mid_stream: bool,
    /// What is sent to a device that only answers; without it, nothing is.
    #[serde(default)]
    pub(crate) poll: Option<Poll>,
}

/// A CoAP server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct CoapLink {
    /// Addresses and ports to listen on for UDP.
    #[serde(default = "default_coap_bind", deserialize_with = "values::addresses")]
    #[schemars(with = "Vec<values::Address>", length(min = 1))]
    pub(crate) bind: Vec<SocketAddr>,
    /// Addresses and ports to accept TCP connections on (RFC 8323), such as `["[::]:5683"]`, with
    /// the same resources; without it, none are.
    #[serde(default, deserialize_with = "values::any_addresses")]
    #[schemars(with = "Vec<values::Address>")]
    pub(crate) tcp: Vec<SocketAddr>,
    /// Most TCP clients at a time, 1 to 65535; one more is closed at once and counted.
    #[serde(
        default = "default_max_coap_clients",
        deserialize_with = "values::whole::<_, _, 1, 65_535>"
    )]
    #[schemars(range(min = 1))]
    pub(crate) max_clients: u16,
    /// Longest wait for the disk before an empty acknowledgement tells the device that its answer
    /// follows: 0ms to 1900ms, below CoAP's ACK_TIMEOUT of 2 s (RFC 7252 §4.8).
    #[serde(
        default = "default_separate_after",
        deserialize_with = "values::span_ms::<_, 0, 1900>"
    )]
    pub(crate) separate_after: Interval,
    /// Answer nodes that look for a server by multicast, on the port of `bind`: 224.0.1.187, ff02::fd
    /// and ff05::fd (RFC 7252 §8) on the interfaces of that address.
    #[serde(default = "default_true")]
    pub(crate) discovery: bool,
    /// Keep a resource directory (RFC 9176): nodes register as `/rd`, and are listed by
    /// `gateway devices`.
    #[serde(default = "default_true")]
    pub(crate) directory: bool,
    /// A folder whose files nodes may read as `/files/…`, such as `"/srv/firmware"`: files of up to
    /// 1 MiB, no links that lead out of it. Without it, none are served.
    #[serde(default, deserialize_with = "values::path_option")]
    pub(crate) files: Option<PathBuf>,
    /// Lets nodes write files with PUT, as in `uploads = {}` for these limits; without it, none may.
    /// It needs `files`.
    #[serde(default)]
    pub(crate) uploads: Option<Uploads>,
    /// Most requests a second of one client, by its IP address, 1 to 1000000; more are answered
    /// 4.29 with Max-Age (RFC 8516) and counted. Without it, there is no limit.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) max_rate: Option<u32>,
    /// How many times as large as its request an answer over UDP may be before the client has
    /// proved its address with Echo (RFC 9175), 1 to 65535: more than 3 only where nobody can forge
    /// addresses, for clients without Echo.
    #[serde(
        default = "default_amplification",
        deserialize_with = "values::whole::<_, _, 1, 65_535>"
    )]
    #[schemars(range(min = 1))]
    pub(crate) amplification: u16,
    /// Senders that are listened to, such as `["192.0.2.0/24", "2001:db8::7"]`; others are refused
    /// and counted. Without it, everybody is.
    #[serde(default)]
    pub(crate) allow: Vec<Network>,
    /// Topics of a broker as resources `/ps/{topic…}`; without it there are none. See docs/coap.md.
    ///
    /// ```toml
    /// [brokers.site]
    /// url = "mqtt://broker.example"
    ///
    /// [sources.room-nodes]
    /// link = { type = "coap", bind = ["192.0.2.10:5685"], ps = { broker = "site", publish = ["room/+/set"], subscribe = ["room/#"] } }
    /// ```
    #[serde(default)]
    pub(crate) ps: Option<PubSub>,
}

/// What nodes may do in the folder `files` besides reading it. The limits are for all files in it,
/// whoever put them there.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Uploads {
    /// Most bytes of all files, 1KiB to 1TiB; what would be more is answered 4.13.
    #[serde(
        default = "default_upload_bytes",
        deserialize_with = "values::size::<_, 0x400, 0x100_0000_0000>"
    )]
    pub(crate) max_bytes: ByteSize,
    /// Most files, 1 to 65535; one more is answered 4.03.
    #[serde(
        default = "default_upload_files",
        deserialize_with = "values::whole::<_, _, 1, 65_535>"
    )]
    #[schemars(range(min = 1))]
    pub(crate) max_files: u16,
    /// Whether nodes may also delete files.
    #[serde(default)]
    pub(crate) delete: bool,
}

/// Topics of a broker as resources.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct PubSub {
    /// Name of the broker.
    pub(crate) broker: Id,
    /// Filters for the topics that clients may publish to, with MQTT's wildcards; a topic that
    /// starts with `$` needs a filter that does. Without any, nothing may be published.
    #[serde(default)]
    pub(crate) publish: Vec<TopicFilter>,
    /// The same for the topics that clients may read and observe.
    #[serde(default)]
    pub(crate) subscribe: Vec<TopicFilter>,
    /// Content-Format of messages that do not say what they are, 0 to 65535: all of MQTT 3.1.1.
    /// Without it they have none.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 0, 65_535>")]
    #[schemars(range(max = 65_535))]
    pub(crate) content_format: Option<u16>,
}

/// An HTTP server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct HttpLink {
    /// Address and port to listen on. Whoever reaches it can post and see readings, if there is no
    /// token.
    #[serde(deserialize_with = "values::address")]
    #[schemars(with = "values::Address")]
    pub(crate) bind: SocketAddr,
    /// What clients have to send as `Authorization: Bearer …`; better in a file of its own:
    /// `token_file`. Without either, nobody is asked.
    #[serde(default)]
    pub(crate) token: Option<Secret>,
    /// File that holds the token; a line end at its end is dropped. A relative path is looked for in
    /// systemd's `CREDENTIALS_DIRECTORY`, then beside the file that names it.
    #[serde(default, deserialize_with = "values::path_option")]
    pub(crate) token_file: Option<PathBuf>,
    /// Most clients at a time, 1 to 65535; one more is closed at once and counted.
    #[serde(
        default = "default_max_http_clients",
        deserialize_with = "values::whole::<_, _, 1, 65_535>"
    )]
    #[schemars(range(min = 1))]
    pub(crate) max_clients: u16,
    /// Largest body of a request, 1KiB to 4MiB, also when it is unpacked; a larger one is answered
    /// with 413.
    #[serde(
        default = "default_max_body",
        deserialize_with = "values::size::<_, 0x400, 0x40_0000>"
    )]
    pub(crate) max_body: ByteSize,
    /// Longest time in which a request has to arrive, and in which a client has to take its answer;
    /// a connection without requests is closed after it: 1s to 10m.
    #[serde(default = "default_timeout", deserialize_with = "values::span::<_, 1, 600>")]
    pub(crate) timeout: Interval,
    /// Clients that may connect, such as `["192.0.2.0/24", "2001:db8::7"]`; others are refused
    /// and counted. Without it, everybody may.
    #[serde(default)]
    pub(crate) allow: Vec<Network>,
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

const fn default_baud() -> u32 {
    9_600
}

const fn default_receive_buffer() -> ByteSize {
    ByteSize::mib(4)
}

const fn default_max_backoff() -> Interval {
    Interval::seconds(30)
}

const fn default_every() -> Interval {
    Interval::seconds(10)
}

const fn default_mid_stream() -> bool {
    true
}

const fn default_max_clients() -> u16 {
    64
}

fn default_coap_bind() -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5683))]
}

const fn default_max_coap_clients() -> u16 {
    256
}

const fn default_max_http_clients() -> u16 {
    256
}

const fn default_max_body() -> ByteSize {
    ByteSize::mib(1)
}

const fn default_timeout() -> Interval {
    Interval::seconds(30)
}

const fn default_true() -> bool {
    true
}

const fn default_upload_bytes() -> ByteSize {
    ByteSize::mib(64)
}

const fn default_upload_files() -> u16 {
    1024
}

const fn default_amplification() -> u16 {
    3
}

const fn default_separate_after() -> Interval {
    Interval::millis(500)
}
