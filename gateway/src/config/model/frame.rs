//! Frames: how bytes are cut.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{self, ByteSize, FrameSize, HexBytes, Interval};

/// How bytes become frames. On udp every datagram is cut for itself. A frame whose rest does not
/// come for `idle` is given up and counted, unless its type says otherwise.
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
    /// Bytes between a start and an end. Without `start`, each frame begins behind the last end.
    ///
    /// ```toml
    /// # <STX>{"device": "scale-1", "weight": 20.5}<ETX>
    /// [sources.between]
    /// link = { type = "serial", path = "/dev/ttyUSB1" }
    /// frame = { type = "delimited", start = "02", end = "03", strip = true }
    /// decode = { type = "json", device = "device" }
    /// ```
    Delimited(DelimitedFrame),
    /// So many bytes. Nothing in them says where a frame begins, so only a pause of `idle` does:
    /// choose it shorter than the pause between two frames.
    ///
    /// ```toml
    /// # +0020.50
    /// [sources.digits]
    /// link = { type = "serial", path = "/dev/ttyUSB2" }
    /// frame = { type = "fixed", size = 8, idle = "100ms" }
    /// decode = { type = "value", name = "weight", unit = "kg" }
    /// ```
    Fixed(FixedFrame),
    /// A length, and as many bytes.
    ///
    /// ```toml
    /// # 00 0b {"t": 21.5}
    /// [sources.counted]
    /// link = { type = "tcp", bind = "127.0.0.1:7010" }
    /// frame = { type = "length-prefixed", bytes = 2, strip = true }
    /// decode = { type = "json" }
    /// ```
    LengthPrefixed(LengthPrefixedFrame),
    /// Start bytes, a length, a checksum, end bytes: most sensors that send by themselves.
    /// Positions count from the first byte, which is 0; negative ones count from the end.
    ///
    /// ```toml
    /// # $ 04 21.5 checksum #
    /// [sources.described]
    /// link = { type = "serial", path = "/dev/ttyUSB3" }
    /// frame = { type = "template", start = "24", length = { at = 1, bytes = 1, adjust = 2 }, check = { type = "xor8", from = 1, to = -2, at = -2 }, end = "23", strip = true }
    /// decode = { type = "value", name = "temp", unit = "Cel" }
    /// ```
    Template(TemplateFrame),
    /// Consistent overhead byte stuffing, with a zero behind each frame.
    ///
    /// ```toml
    /// [sources.stuffed]
    /// link = { type = "serial", path = "/dev/ttyACM0", baud = 115200 }
    /// frame = { type = "cobs" }
    /// decode = { type = "senml" }
    /// ```
    Cobs(EncodedFrame),
    /// SLIP (RFC 1055).
    Slip(EncodedFrame),
    /// HDLC with byte stuffing and FCS-16, as PPP has it (RFC 1662). Frames come without the check
    /// sequence, and with address and control bytes where a device sends them.
    Hdlc(EncodedFrame),
    /// Requests and responses that pass on a Modbus line, with address and CRC: to listen in on a
    /// bus that has a master already. Function codes 1 to 8, 15 to 17, 22, 23 and exceptions.
    ModbusRtu(ModbusRtuFrame),
    /// What came without a pause: for programs that send no delimiter.
    ///
    /// ```toml
    /// # socket.sendall(b"Hello, World!")
    /// [sources.hello]
    /// link = { type = "tcp", bind = "127.0.0.1:8888", reply = true }
    /// frame = { type = "chunk" }
    /// decode = { type = "value", name = "text" }
    /// ```
    Chunk(ChunkFrame),
}

/// Text up to a line feed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct LinesFrame {
    /// Longest line, 1B to 1MiB; a longer one is thrown away up to its end and counted.
    #[serde(default)]
    pub(crate) max: FrameSize,
    /// Silence after which a line without an end is given up, 1ms to 1m.
    #[serde(default = "default_idle", deserialize_with = "values::span_ms::<_, 1, 60_000>")]
    pub(crate) idle: Interval,
}

/// One UDP datagram.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct DatagramFrame {
    /// Longest datagram, 1B to 1MiB; a longer one is refused and counted. The default takes every
    /// datagram that UDP can carry.
    pub(crate) max: FrameSize,
}

/// Bytes between a start and an end.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct DelimitedFrame {
    /// What a frame begins with, 1 to 16 bytes. What comes before it is thrown away and counted.
    #[serde(default)]
    pub(crate) start: Option<HexBytes>,
    /// What it ends with, 1 to 16 bytes.
    pub(crate) end: HexBytes,
    /// Bytes behind the end that belong to the frame, such as a checksum: 0 to 64.
    #[serde(default, deserialize_with = "values::whole::<_, _, 0, 64>")]
    #[schemars(range(max = 64))]
    pub(crate) tail: u8,
    /// Hand on only what stands between start and end.
    #[serde(default)]
    pub(crate) strip: bool,
    /// Longest frame with all of that, 1B to 1MiB; a longer one is counted and thrown away up to the
    /// next start, or to the end where there is no start.
    #[serde(default)]
    pub(crate) max: FrameSize,
    /// Silence after which a frame without an end is given up, 1ms to 1m.
    #[serde(default = "default_idle", deserialize_with = "values::span_ms::<_, 1, 60_000>")]
    pub(crate) idle: Interval,
}

/// So many bytes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct FixedFrame {
    /// Bytes of a frame, 1B to 1MiB.
    pub(crate) size: FrameSize,
    /// Silence after which the next byte begins a frame, 1ms to 1m.
    #[serde(default = "default_idle", deserialize_with = "values::span_ms::<_, 1, 60_000>")]
    pub(crate) idle: Interval,
}

/// A length, and as many bytes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct LengthPrefixedFrame {
    /// Bytes in front of the length, 0 to 255.
    #[serde(default)]
    pub(crate) at: u8,
    /// Bytes of the length: 1, 2 or 4.
    pub(crate) bytes: LengthBytes,
    /// Order of those bytes.
    #[serde(default)]
    pub(crate) endian: Endian,
    /// Bytes in front of what the length counts, 1 to 255: by default those up to the end of the
    /// length.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 1, 255>")]
    #[schemars(range(min = 1))]
    pub(crate) header: Option<u8>,
    /// What the length counts.
    #[serde(default)]
    pub(crate) counts: Counts,
    /// Added to the length, where it counts something else, -32768 to 32767.
    #[serde(default)]
    pub(crate) adjust: i16,
    /// Hand on only what stands behind the header.
    #[serde(default)]
    pub(crate) strip: bool,
    /// Longest frame with its header, 1B to 1MiB; a longer one is passed over and counted.
    #[serde(default)]
    pub(crate) max: FrameSize,
    /// Silence after which a frame whose rest does not come is given up, and after which the next
    /// byte begins a frame, 1ms to 1m.
    #[serde(default = "default_idle", deserialize_with = "values::span_ms::<_, 1, 60_000>")]
    pub(crate) idle: Interval,
}

/// Start bytes, a length, a checksum, end bytes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct TemplateFrame {
    /// What a frame begins with, 1 to 16 bytes. What comes before it is thrown away and counted.
    pub(crate) start: HexBytes,
    /// How long a frame is: `fixed`, or `at` and `bytes`.
    pub(crate) length: TemplateLength,
    /// Its checksum. Where it is wrong the search goes on with the next byte.
    #[serde(default)]
    pub(crate) check: Option<TemplateCheck>,
    /// What it ends with, 1 to 16 bytes, behind a checksum too.
    #[serde(default)]
    pub(crate) end: Option<HexBytes>,
    /// Hand on only what stands behind start and length, and before checksum and end.
    #[serde(default)]
    pub(crate) strip: bool,
    /// Longest frame, 1B to 4KiB; a longer one is counted, and the search goes on with the next
    /// byte.
    #[serde(default = "default_template_max", deserialize_with = "values::size::<_, 1, 0x1000>")]
    pub(crate) max: ByteSize,
    /// Silence after which a frame whose rest does not come is given up and searched for others,
    /// 1ms to 1m.
    #[serde(default = "default_idle", deserialize_with = "values::span_ms::<_, 1, 60_000>")]
    pub(crate) idle: Interval,
}

/// How long a frame is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct TemplateLength {
    /// Bytes of every frame, start and end included: 1 to 4096.
    #[serde(deserialize_with = "values::whole_option::<_, _, 1, 4096>")]
    #[schemars(range(min = 1, max = 4096))]
    pub(crate) fixed: Option<u16>,
    /// Where the length stands, 0 to 255.
    pub(crate) at: Option<u8>,
    /// Bytes of the length: 1, 2 or 4.
    pub(crate) bytes: Option<LengthBytes>,
    /// Order of those bytes.
    pub(crate) endian: Endian,
    /// Bytes in front of what the length counts, 1 to 255: by default those up to the end of the
    /// length.
    #[serde(deserialize_with = "values::whole_option::<_, _, 1, 255>")]
    #[schemars(range(min = 1))]
    pub(crate) header: Option<u8>,
    /// What the length counts.
    pub(crate) counts: Counts,
    /// Added to the length, where it counts something else, -32768 to 32767.
    pub(crate) adjust: i16,
}

/// A checksum.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct TemplateCheck {
    /// Which one.
    #[serde(rename = "type")]
    pub(crate) checksum: Checksum,
    /// First byte that it covers.
    #[serde(default)]
    pub(crate) from: i16,
    /// First byte behind those.
    pub(crate) to: i16,
    /// Where it stands.
    pub(crate) at: i16,
    /// Order of its bytes.
    #[serde(default)]
    pub(crate) endian: Endian,
}

/// Frames with an encoding of their own.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct EncodedFrame {
    /// Longest frame when it is decoded, 1B to 1MiB; a longer one is thrown away up to its end and
    /// counted.
    #[serde(default)]
    pub(crate) max: FrameSize,
    /// Silence after which a frame without an end is given up, 1ms to 1m.
    #[serde(default = "default_idle", deserialize_with = "values::span_ms::<_, 1, 60_000>")]
    pub(crate) idle: Interval,
}

/// Frames on a Modbus line.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ModbusRtuFrame {
    /// Silence after which a frame whose rest does not come is given up and searched for others,
    /// 1ms to 1m: shorter than a master waits before it asks again.
    #[serde(default = "default_pause", deserialize_with = "values::span_ms::<_, 1, 60_000>")]
    pub(crate) idle: Interval,
}

/// What came without a pause.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ChunkFrame {
    /// Most bytes that come without a pause, 1B to 1MiB; more are thrown away up to the pause and
    /// counted.
    #[serde(default)]
    pub(crate) max: FrameSize,
    /// Silence that ends a frame, 1ms to 1m. The end of a connection ends one as well.
    #[serde(default = "default_pause", deserialize_with = "values::span_ms::<_, 1, 60_000>")]
    pub(crate) idle: Interval,
}

/// Bytes of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LengthBytes {
    /// 1
    One,
    /// 2
    Two,
    /// 4
    Four,
}

/// Order of the bytes of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Endian {
    /// The most significant byte first.
    #[default]
    Big,
    /// The least significant byte first, as Modbus has its CRC.
    Little,
}

/// What a length counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Counts {
    /// The bytes behind the header.
    #[default]
    Rest,
    /// All bytes of the frame, with its header.
    Whole,
}

/// A checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Checksum {
    /// The sum of the bytes, 1 byte.
    Sum8,
    /// The sum's two's complement, 1 byte.
    #[serde(rename = "sum8-negated")]
    Sum8Negated,
    /// The sum's ones' complement, 1 byte.
    #[serde(rename = "sum8-inverted")]
    Sum8Inverted,
    /// The sum of the bytes, 2 bytes.
    Sum16,
    /// The exclusive or of the bytes, 1 byte.
    Xor8,
    /// CRC-16/MODBUS, 2 bytes.
    #[serde(rename = "crc16-modbus")]
    Crc16Modbus,
    /// CRC-16/IBM-3740, also called CCITT-FALSE, 2 bytes.
    #[serde(rename = "crc16-ccitt")]
    Crc16Ccitt,
    /// CRC-16/XMODEM, 2 bytes.
    #[serde(rename = "crc16-xmodem")]
    Crc16Xmodem,
    /// CRC-16/IBM-SDLC, also called X-25, 2 bytes.
    #[serde(rename = "crc16-x25")]
    Crc16X25,
    /// CRC-16/ARC, 2 bytes.
    #[serde(rename = "crc16-arc")]
    Crc16Arc,
    /// CRC-32/ISO-HDLC, 4 bytes.
    Crc32,
}

pub(crate) const fn default_idle() -> Interval {
    Interval::seconds(5)
}

const fn default_pause() -> Interval {
    Interval::millis(50)
}

const fn default_template_max() -> ByteSize {
    ByteSize::kib(1)
}
