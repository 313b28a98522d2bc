//! A frame: header, payload, trailer.
//!
//! ```text
//! 0   version << 4 | type
//! 1   flags
//! 2   device    u32, little endian like all that follow
//! 6   epoch     u32
//! 10  sequence  u16
//! 12  payload   one CBOR map
//! ..  CRC-16/IBM-SDLC of all before it, or the first 8 bytes of its HMAC-SHA-256
//! ```

use alloc::vec::Vec;

use super::Fault;
use super::crc::crc;
use super::key::{CODE_BYTES, Key};

/// The version of the protocol.
pub const VERSION: u8 = 1;
/// The longest frame, from its header to its trailer.
pub const MAX_FRAME: usize = 1024;
/// Bytes of a header.
const HEADER_BYTES: usize = 12;
/// Bytes of a checksum.
const CRC_BYTES: usize = 2;
/// The longest payload that fits with either trailer.
pub const MAX_PAYLOAD: usize = MAX_FRAME - HEADER_BYTES - CODE_BYTES;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A node introduces itself, with its table of channels.
    Hello,
    /// Readings of a node.
    Data,
    /// What of them is durable.
    Ack,
    /// A command for a node.
    Command,
    /// What became of it.
    Response,
    /// The time, for a node.
    Time,
}

/// What a frame asks for and is; other bits are zero when sent and ignored when received.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags {
    /// The sender wants an ACK, and sends the frame again without one.
    pub ack_requested: bool,
    /// It was sent before.
    pub retransmit: bool,
    /// The sender wants the time.
    pub time_wanted: bool,
}

const ACK_REQUESTED: u8 = 0x01;
const AUTHENTICATED: u8 = 0x02;
const RETRANSMIT: u8 = 0x04;
const TIME_WANTED: u8 = 0x08;

/// What every frame begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// What it asks for.
    pub flags: Flags,
    /// The node's number, in both directions.
    pub device: u32,
    /// The node's boot count, in both directions.
    pub epoch: u32,
    /// The number of a DATA, CMD or RSP; in an ACK the number up to which all are settled.
    pub sequence: u16,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Data => 2,
            Self::Ack => 3,
            Self::Command => 4,
            Self::Response => 5,
            Self::Time => 6,
        }
    }

    const fn of_number(number: u8) -> Result<Self, Fault> {
        Ok(match number {
            1 => Self::Hello,
            2 => Self::Data,
            3 => Self::Ack,
            4 => Self::Command,
            5 => Self::Response,
            6 => Self::Time,
            other => return Err(Fault::Kind(other)),
        })
    }
}

impl Header {
    /// The frame with this header, closed by a checksum, or by a code where there is a `key`.
    pub fn seal(self, payload: &[u8], key: Option<&Key>) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len() + CODE_BYTES);
        let flags = [
            (self.flags.ack_requested, ACK_REQUESTED),
            (key.is_some(), AUTHENTICATED),
            (self.flags.retransmit, RETRANSMIT),
            (self.flags.time_wanted, TIME_WANTED),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, bit)| all | bit);
        frame.extend([VERSION << 4 | self.kind.number(), flags]);
        frame.extend(self.device.to_le_bytes());
        frame.extend(self.epoch.to_le_bytes());
        frame.extend(self.sequence.to_le_bytes());
        frame.extend(payload);
        match key {
            Some(key) => frame.extend(key.code(&frame)),
            None => frame.extend(crc(&frame).to_le_bytes()),
        }
        frame
    }

    fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Self, Fault> {
        let [first, flags, d0, d1, d2, d3, e0, e1, e2, e3, s0, s1] = bytes;
        if first >> 4 != VERSION {
            return Err(Fault::Version(first >> 4));
        }
        Ok(Self {
            kind: Kind::of_number(first & 0x0f)?,
            flags: Flags {
                ack_requested: flags & ACK_REQUESTED != 0,
                retransmit: flags & RETRANSMIT != 0,
                time_wanted: flags & TIME_WANTED != 0,
            },
            device: u32::from_le_bytes([d0, d1, d2, d3]),
            epoch: u32::from_le_bytes([e0, e1, e2, e3]),
            sequence: u16::from_le_bytes([s0, s1]),
        })
    }
}

/// A frame of which only the form is known to be right.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a> {
    header: Header,
    body: &'a [u8],
    payload: &'a [u8],
    /// The authentication code; none where a checksum was there, which was right.
    code: Option<&'a [u8]>,
}

/// A frame whose trailer is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// Reads a frame, and checks its checksum if it has one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.len() > MAX_FRAME {
            return Err(Fault::Long);
        }
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Fault::Short)?;
        let is_authenticated = header.get(1).is_some_and(|flags| flags & AUTHENTICATED != 0);
        let header = Header::parse(*header)?;
        let trailer = if is_authenticated { CODE_BYTES } else { CRC_BYTES };
        let end = bytes.len().checked_sub(trailer).ok_or(Fault::Short)?;
        let (body, trailer) = bytes.split_at_checked(end).ok_or(Fault::Short)?;
        let payload = body.get(HEADER_BYTES..).ok_or(Fault::Short)?;
        if !is_authenticated && trailer != crc(body).to_le_bytes() {
            return Err(Fault::Checksum);
        }
        Ok(Self { header, body, payload, code: is_authenticated.then_some(trailer) })
    }

    /// Who claims to have sent it, or to whom it is addressed.
    pub const fn device(&self) -> u32 {
        self.header.device
    }

    /// The frame, if its code is right. Without a key, a frame has a checksum; with one, it has a
    /// code: an attacker must not choose.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(self, key: Option<&Key>) -> Result<Frame<'a>, Fault> {
        match (key, self.code) {
            (None, None) => {}
            (Some(key), Some(code)) if key.verifies(self.body, code) => {}
            (Some(_), Some(_)) => return Err(Fault::Code),
            (Some(_), None) => return Err(Fault::Unauthenticated),
            (None, Some(_)) => return Err(Fault::NoKey),
        }
        Ok(Frame { header: self.header, payload: self.payload })
    }
}
