//! Payloads: each a CBOR map (RFC 8949) with integer keys; what is not known is skipped.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::convert::Infallible;
use core::time::Duration;

use minicbor::{Decoder, Encoder};

use super::Fault;

/// Most channels of a node.
pub const MAX_CHANNELS: usize = 32;
/// The longest name of a channel, in bytes.
pub const MAX_NAME: usize = 64;
/// The longest unit of a channel, in bytes.
pub const MAX_UNIT: usize = 32;
/// The longest uptime, about 8,900 years: it can be added to any other time here.
const MAX_UPTIME_MS: u64 = 1 << 48;
/// Exponents beyond this are no sensor's.
const MAX_EXPONENT: i8 = 30;

/// One column of a node's table: what the integers of DATA mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Channel {
    /// Name of the reading.
    pub name: String,
    /// SenML unit (RFC 8428 §12.1), where there is one.
    pub unit: Option<String>,
    /// The value is the integer times ten to the power of this.
    pub exponent: i8,
}

/// `{0: uptime_ms, 1: [[name, unit, exponent], …], 2: first, 3: command}`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Time since the node started, when this was sent.
    pub uptime: Duration,
    /// Its channels.
    pub channels: Vec<Channel>,
    /// The lowest sequence number that it may still send; those before are settled, or given up.
    pub first: u16,
    /// The number of the last command that it took in this epoch.
    pub command: u16,
}

/// `{0: uptime_ms, 1: {channel: integer, …}}`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    /// Time since the node started, when this was measured.
    pub uptime: Duration,
    /// Values by the index of their channel.
    pub values: Vec<(u8, i64)>,
}

/// Why a gateway does not take what a node sends.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Status {
    /// It does.
    #[default]
    Ok,
    /// It has no room: to be sent again after this time.
    Busy(Duration),
    /// It does not know the node's table, or where it is: HELLO first.
    HelloWanted,
    /// It cannot make sense of the DATA with this number, and never will: not to be sent again.
    Refused(u16),
}

/// `{0: bitmap, 1: status, 2: retry_after_ms, 3: refused}`; what is zero is left out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ack {
    /// Bit `i`: the number `i + 1` after the header's is durable as well.
    pub bitmap: u32,
    /// Whether the gateway takes more.
    pub status: Status,
}

/// `{0: unix_ms, 1: uptime_ms}`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Time {
    /// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds, when this was sent.
    pub unix_ms: u64,
    /// The uptime in the frame that asked: it tells an answer from a replay.
    pub uptime: Duration,
}

pub(super) type Encoded = Result<(), minicbor::encode::Error<Infallible>>;

/// A map written with `write`.
pub(super) fn map(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Encoded) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a vector cannot fail.
    let _ = write(&mut Encoder::new(&mut out));
    out
}

/// Gives each key of the one map in `payload` to `read`, which takes its value or leaves it.
pub(super) fn read_map<'a>(
    payload: &'a [u8],
    mut read: impl FnMut(u64, &mut Decoder<'a>) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let mut d = Decoder::new(payload);
    let pairs = d.map()?.ok_or(INDEFINITE)?;
    for _ in 0..pairs {
        let key = d.u64()?;
        if !read(key, &mut d)? {
            d.skip()?;
        }
    }
    if d.position() == payload.len() { Ok(()) } else { Err(Fault::Payload("bytes behind it")) }
}

pub(super) const INDEFINITE: Fault = Fault::Payload("an indefinite length");

impl From<minicbor::decode::Error> for Fault {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Payload("not the expected CBOR")
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn uptime(d: &mut Decoder<'_>) -> Result<Duration, Fault> {
    match d.u64()? {
        ms @ ..=MAX_UPTIME_MS => Ok(Duration::from_millis(ms)),
        _ => Err(Fault::Payload("an uptime that nothing reaches")),
    }
}

impl Hello {
    /// Its payload.
    pub fn encode(&self) -> Vec<u8> {
        map(|e| {
            let has_command = self.command > 0;
            e.map(if has_command { 4 } else { 3 })?.u8(0)?.u64(millis(self.uptime))?;
            e.u8(1)?.array(self.channels.len() as u64)?;
            for channel in &self.channels {
                e.array(3)?.str(&channel.name)?.str(channel.unit.as_deref().unwrap_or_default())?;
                e.i8(channel.exponent)?;
            }
            e.u8(2)?.u16(self.first)?;
            if has_command {
                e.u8(3)?.u16(self.command)?;
            }
            Ok(())
        })
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, Fault> {
        let (mut at, mut channels, mut first, mut command) = (None, None, 1, 0);
        read_map(payload, |key, d| {
            match key {
                0 => at = Some(uptime(d)?),
                1 => channels = Some(table(d)?),
                2 => first = d.u16()?,
                3 => command = d.u16()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let (Some(uptime), Some(channels)) = (at, channels) else {
            return Err(Fault::Payload("no uptime, or no channels"));
        };
        if first == 0 {
            return Err(Fault::Payload("sequence numbers begin with 1"));
        }
        Ok(Self { uptime, channels, first, command })
    }
}

fn table(d: &mut Decoder<'_>) -> Result<Vec<Channel>, Fault> {
    let count = d.array()?.ok_or(INDEFINITE)?;
    let count = usize::try_from(count).ok().filter(|count| (1..=MAX_CHANNELS).contains(count));
    let count = count.ok_or(Fault::Payload("no channels, or too many"))?;
    (0..count).map(|_| channel(d)).collect()
}

fn channel(d: &mut Decoder<'_>) -> Result<Channel, Fault> {
    if d.array()? != Some(3) {
        return Err(Fault::Payload("a channel is a name, a unit and an exponent"));
    }
    let (name, unit, exponent) = (d.str()?, d.str()?, d.i8()?);
    let is_text = |text: &str, max| text.len() <= max && !text.chars().any(char::is_control);
    if name.is_empty() || !is_text(name, MAX_NAME) || !is_text(unit, MAX_UNIT) {
        return Err(Fault::Payload("a name or unit that is none"));
    }
    if exponent.unsigned_abs() > MAX_EXPONENT.unsigned_abs() {
        return Err(Fault::Payload("an exponent out of range"));
    }
    let unit = (!unit.is_empty()).then(|| unit.to_string());
    Ok(Channel { name: name.to_string(), unit, exponent })
}

impl Data {
    /// Its payload.
    pub fn encode(&self) -> Vec<u8> {
        map(|e| {
            e.map(2)?.u8(0)?.u64(millis(self.uptime))?.u8(1)?.map(self.values.len() as u64)?;
            for (channel, value) in &self.values {
                e.u8(*channel)?.i64(*value)?;
            }
            Ok(())
        })
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, Fault> {
        let (mut at, mut values) = (None, Vec::new());
        read_map(payload, |key, d| {
            match key {
                0 => at = Some(uptime(d)?),
                1 => values = pairs(d)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        match at {
            Some(uptime) if !values.is_empty() => Ok(Self { uptime, values }),
            Some(_) | None => Err(Fault::Payload("no uptime, or no values")),
        }
    }
}

fn pairs(d: &mut Decoder<'_>) -> Result<Vec<(u8, i64)>, Fault> {
    let count = d.map()?.ok_or(INDEFINITE)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= MAX_CHANNELS);
    let count = count.ok_or(Fault::Payload("more values than channels"))?;
    (0..count).map(|_| Ok((d.u8()?, d.i64()?))).collect()
}

impl Ack {
    /// Its payload.
    pub fn encode(&self) -> Vec<u8> {
        let (status, retry_after, refused) = match self.status {
            Status::Ok => (0, 0, 0),
            Status::Busy(after) => (1, u32::try_from(after.as_millis()).unwrap_or(u32::MAX), 0),
            Status::HelloWanted => (2, 0, 0),
            Status::Refused(sequence) => (3, 0, sequence.into()),
        };
        let fields = [self.bitmap, status, retry_after, refused];
        let fields = (0_u8..).zip(fields).filter(|(_, value)| *value > 0);
        map(|e| {
            e.map(fields.clone().count() as u64)?;
            for (key, value) in fields {
                e.u8(key)?.u32(value)?;
            }
            Ok(())
        })
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, Fault> {
        let (mut bitmap, mut status, mut retry_after, mut refused) = (0, 0, 0, 0);
        read_map(payload, |key, d| {
            match key {
                0 => bitmap = d.u32()?,
                1 => status = d.u32()?,
                2 => retry_after = d.u32()?,
                3 => refused = d.u16()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let status = match status {
            0 => Status::Ok,
            1 => Status::Busy(Duration::from_millis(retry_after.into())),
            2 => Status::HelloWanted,
            3 => Status::Refused(refused),
            _ => return Err(Fault::Payload("an unknown status")),
        };
        Ok(Self { bitmap, status })
    }
}

impl Time {
    /// Its payload.
    pub fn encode(&self) -> Vec<u8> {
        map(|e| {
            e.map(2)?.u8(0)?.u64(self.unix_ms)?.u8(1)?.u64(millis(self.uptime))?;
            Ok(())
        })
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, Fault> {
        let (mut unix_ms, mut at) = (None, None);
        read_map(payload, |key, d| {
            match key {
                0 => unix_ms = Some(d.u64()?),
                1 => at = Some(uptime(d)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        match (unix_ms, at) {
            (Some(unix_ms), Some(uptime)) => Ok(Self { unix_ms, uptime }),
            _ => Err(Fault::Payload("no time, or no uptime")),
        }
    }
}
