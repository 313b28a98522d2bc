//! What a CMD asks for, and what an RSP answers.
//!
//! ```text
//! CMD  {0: code, 1: value, 2: id}              a value; `1` is left out where there is none
//!      {0: code, 1: {0: name, 1: size, 2: sha256}, 2: id}      a file is announced
//!      {0: code, 3: offset, 4: bytes}          a block of it
//! RSP  {0: status, 1: result, 2: detail, 3: offset, 4: most}
//! ```

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};

use super::Fault;
use super::file::{Offer, SHA256_BYTES};
use super::message::{Encoded, INDEFINITE, map, read_map};
use crate::{Number, Value};

/// A decimal fraction (RFC 8949 §3.4.4).
const DECIMAL: Tag = Tag::new(4);

/// What a CMD asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Which operation of the node.
    pub code: u16,
    /// With what.
    pub argument: Argument,
    /// What the command is called by who has asked for it; empty where nobody has.
    pub id: String,
}

/// What a CMD gives its operation.
#[derive(Clone, PartialEq, Debug)]
pub enum Argument {
    /// Nothing.
    None,
    /// A value.
    Value(Value),
    /// A file that the node is to ask for.
    Offer(Offer),
    /// A part of that file.
    Block {
        /// Where it begins.
        offset: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reply {
    /// Whether it has done it.
    pub status: ReplyStatus,
    /// What came of it: one CBOR item.
    pub result: Option<Vec<u8>>,
    /// For people.
    pub detail: Option<String>,
    /// The part of a file that it wants next.
    pub wanted: Option<Wanted>,
}

/// Which part of a file a node wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// From here on.
    pub offset: u32,
    /// The most bytes that it takes at a time, where it has a limit of its own.
    pub most: Option<u32>,
}

/// What a node says of a command.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ReplyStatus {
    /// It has done it.
    #[default]
    Done,
    /// It has no such operation.
    UnknownCode,
    /// The value is none that the operation takes.
    BadValue,
    /// It tried, in vain.
    Failed,
    /// It wants more of the file.
    More,
    /// The file has another checksum than was announced, and is thrown away.
    Checksum,
    /// Another reason, which operator and firmware have agreed.
    Other(u32),
}

impl ReplyStatus {
    const fn number(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::UnknownCode => 1,
            Self::BadValue => 2,
            Self::Failed => 3,
            Self::More => 4,
            Self::Checksum => 5,
            Self::Other(number) => number,
        }
    }

    const fn of_number(number: u32) -> Self {
        match number {
            0 => Self::Done,
            1 => Self::UnknownCode,
            2 => Self::BadValue,
            3 => Self::Failed,
            4 => Self::More,
            5 => Self::Checksum,
            other => Self::Other(other),
        }
    }
}

impl Call {
    /// Its payload; `None` where the value is a number that CBOR's integers cannot say.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if let Argument::Value(Value::Number(number)) = &self.argument {
            i64::try_from(number.as_integer().unwrap_or(number.mantissa())).ok()?;
        }
        let has_argument = match self.argument {
            Argument::None => 0,
            Argument::Value(_) | Argument::Offer(_) => 1,
            Argument::Block { .. } => 2,
        };
        Some(map(|e| {
            e.map(1 + has_argument + u64::from(!self.id.is_empty()))?.u8(0)?.u16(self.code)?;
            match &self.argument {
                Argument::None | Argument::Block { .. } => {}
                Argument::Value(value) => encode_value(e.u8(1)?, value)?,
                Argument::Offer(Offer { name, size, sha256 }) => {
                    e.u8(1)?.map(3)?.u8(0)?.str(name)?.u8(1)?.u32(*size)?.u8(2)?.bytes(sha256)?;
                }
            }
            if !self.id.is_empty() {
                e.u8(2)?.str(&self.id)?;
            }
            if let Argument::Block { offset, bytes } = &self.argument {
                e.u8(3)?.u32(*offset)?.u8(4)?.bytes(bytes)?;
            }
            Ok(())
        }))
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, Fault> {
        let (mut code, mut argument, mut id) = (None, Argument::None, String::new());
        let (mut from, mut block) = (None, None);
        read_map(payload, |key, d| {
            match key {
                0 => code = Some(d.u16()?),
                1 => argument = decode_argument(d)?,
                2 => id = d.str()?.to_string(),
                3 => from = Some(d.u32()?),
                4 => block = Some(d.bytes()?.to_vec()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if let (Some(offset), Some(bytes)) = (from, block) {
            argument = Argument::Block { offset, bytes };
        }
        let code = code.ok_or(Fault::Payload("no code of an operation"))?;
        Ok(Self { code, argument, id })
    }
}

impl Reply {
    /// A state without anything to say of it.
    pub fn of(status: ReplyStatus) -> Self {
        Self { status, ..Self::default() }
    }

    /// With a value that came of it.
    pub fn with(self, value: &Value) -> Self {
        Self { result: Some(map(|e| encode_value(e, value))), ..self }
    }

    /// Its payload.
    pub fn encode(&self) -> Vec<u8> {
        let most = self.wanted.and_then(|wanted| wanted.most);
        let members = [self.result.is_some(), self.detail.is_some(), self.wanted.is_some()];
        let members = members.iter().filter(|is_there| **is_there).count() as u64;
        let result = self.result.as_deref().unwrap_or_default();
        let head = map(|e| {
            e.map(1 + members + u64::from(most.is_some()))?.u8(0)?.u32(self.status.number())?;
            if !result.is_empty() {
                e.u8(1)?;
            }
            Ok(())
        });
        let tail = map(|e| {
            if let Some(detail) = &self.detail {
                e.u8(2)?.str(detail)?;
            }
            if let Some(wanted) = self.wanted {
                e.u8(3)?.u32(wanted.offset)?;
            }
            if let Some(most) = most {
                e.u8(4)?.u32(most)?;
            }
            Ok(())
        });
        [&head, result, &tail].concat()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, Fault> {
        let (mut status, mut result, mut detail) = (None, None, None);
        let (mut offset, mut most) = (None, None);
        read_map(payload, |key, d| {
            match key {
                0 => status = Some(ReplyStatus::of_number(d.u32()?)),
                1 => {
                    let from = d.position();
                    d.skip()?;
                    result = payload.get(from..d.position()).map(<[u8]>::to_vec);
                }
                2 => detail = Some(d.str()?.to_string()),
                3 => offset = Some(d.u32()?),
                4 => most = Some(d.u32()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let status = status.ok_or(Fault::Payload("no status"))?;
        let wanted = offset.map(|offset| Wanted { offset, most });
        Ok(Self { status, result, detail, wanted })
    }
}

/// A number that is not whole is a decimal fraction, so that a node needs no floats and keeps every digit.
fn encode_value(e: &mut Encoder<&mut Vec<u8>>, value: &Value) -> Encoded {
    match value {
        Value::Number(number) => {
            let whole = number.as_integer().and_then(|whole| i64::try_from(whole).ok());
            match (whole, i64::try_from(number.mantissa())) {
                (Some(whole), _) => e.i64(whole)?,
                (None, Ok(mantissa)) => {
                    e.tag(DECIMAL)?.array(2)?.i32(number.exponent())?.i64(mantissa)?
                }
                // What a command cannot say, no answer says either.
                (None, Err(_)) => e.null()?,
            }
        }
        Value::Boolean(value) => e.bool(*value)?,
        Value::Text(text) => e.str(text)?,
        Value::Bytes(bytes) => e.bytes(bytes)?,
    };
    Ok(())
}

fn decode_argument(d: &mut Decoder<'_>) -> Result<Argument, Fault> {
    if d.datatype()? != Type::Map {
        return decode_value(d).map(Argument::Value);
    }
    let (mut name, mut size, mut sha256) = (None, None, None);
    let pairs = d.map()?.ok_or(INDEFINITE)?;
    for _ in 0..pairs {
        match d.u64()? {
            0 => name = Some(d.str()?.to_string()),
            1 => size = Some(d.u32()?),
            2 => sha256 = <[u8; SHA256_BYTES]>::try_from(d.bytes()?).ok(),
            _ => d.skip()?,
        }
    }
    match (name, size, sha256) {
        (Some(name), Some(size), Some(sha256)) => Ok(Argument::Offer(Offer { name, size, sha256 })),
        _ => Err(Fault::Payload("a file has a name, a size and a checksum")),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what is not named is no value")]
fn decode_value(d: &mut Decoder<'_>) -> Result<Value, Fault> {
    let number = |number: Option<Number>| {
        number.map(Value::Number).ok_or(Fault::Payload("a number out of range"))
    };
    match d.datatype()? {
        Type::Bool => Ok(Value::Boolean(d.bool()?)),
        Type::String => Ok(Value::Text(d.str()?.to_string())),
        Type::Bytes => Ok(Value::Bytes(d.bytes()?.to_vec())),
        Type::Tag if d.tag()? == DECIMAL && d.array()? == Some(2) => {
            let exponent = d.i32()?;
            number(Number::from_decimal(d.i64()?.into(), exponent))
        }
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => number(Number::from_decimal(d.int()?.into(), 0)),
        _ => Err(Fault::Payload("a value that is none of a command")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn call(argument: Argument) -> Call {
        Call { code: 7, argument, id: "42".to_string() }
    }

    fn number(text: &str) -> Argument {
        Argument::Value(Value::Number(text.parse().unwrap()))
    }

    #[test]
    fn what_is_asked_reads_back() {
        let offer = Offer { name: "a.bin".to_string(), size: 70_000, sha256: [7; SHA256_BYTES] };
        let arguments = [
            Argument::None,
            number("-3"),
            number("21.50"),
            number("1e40"),
            Argument::Value(Value::Boolean(true)),
            Argument::Value(Value::Text("open".to_string())),
            Argument::Value(Value::Bytes(vec![0, 255])),
            Argument::Offer(offer),
            Argument::Block { offset: 512, bytes: vec![1; 512] },
        ];
        for argument in arguments {
            let call = call(argument);
            assert_eq!(Call::decode(&call.encode().unwrap()), Ok(call.clone()), "{call:?}");
        }
        let call = Call { id: String::new(), ..call(Argument::None) };
        assert_eq!(call.encode().unwrap(), [0xa1, 0, 7]);
    }

    #[test]
    fn a_number_keeps_its_digits_and_one_that_cannot_is_not_sent() {
        // {0: 7, 1: 4([-1, 215]), 2: "42"}
        let expected = [0xa3, 0, 7, 1, 0xc4, 0x82, 0x20, 0x18, 0xd7, 2, 0x62, b'4', b'2'];
        assert_eq!(call(number("21.5")).encode().unwrap(), expected);
        assert_eq!(call(number("1234567890123456789.5")).encode(), None);
    }

    #[test]
    fn answers_read_back_and_unknown_keys_are_skipped() {
        let wanted = |most| Some(Wanted { offset: 70_000, most });
        let replies = [
            Reply::default(),
            Reply::of(ReplyStatus::Other(99)),
            Reply::default().with(&Value::Boolean(true)),
            Reply { detail: Some("jammed".to_string()), ..Reply::of(ReplyStatus::Failed) },
            Reply { wanted: wanted(None), ..Reply::of(ReplyStatus::More) },
            Reply { wanted: wanted(Some(64)), ..Reply::of(ReplyStatus::More) },
        ];
        for reply in replies {
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply.clone()), "{reply:?}");
        }
        // {0: 0, 1: {"a": [1, 2]}, 9: "later"}
        let more = b"\xa3\x00\x00\x01\xa1\x61a\x82\x01\x02\x09\x65later";
        assert_eq!(Reply::decode(more).unwrap().result.unwrap(), b"\xa1\x61a\x82\x01\x02");
        assert_eq!(Reply::decode(&[0xa0]), Err(Fault::Payload("no status")));
        assert!(Reply::decode(&[0xa1, 0, 0, 0]).is_err(), "bytes behind it");
    }

    #[test]
    fn damaged_payloads_are_refused_and_never_panic() {
        let offer = Offer { name: "a".to_string(), size: 1, sha256: [1; SHA256_BYTES] };
        for argument in [Argument::Offer(offer), number("21.5")] {
            let payload = call(argument).encode().unwrap();
            for end in 0..payload.len() {
                assert!(Call::decode(&payload[..end]).is_err(), "{end}");
            }
            for at in 0..payload.len() {
                for change in 1..=255 {
                    let mut mutant = payload.clone();
                    mutant[at] ^= change;
                    let _ = (Call::decode(&mutant), Reply::decode(&mutant));
                }
            }
        }
    }
}
