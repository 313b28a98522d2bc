//! Frames whose fields have their places, as configured: the fields are those of [`proto::binary`].

mod items;

use std::borrow::Cow;

use proto::Value;
use proto::binary::{Bits, Field, Kind};

use self::items::Items;
use super::draft::{DecodeError, Draft, Identity, field_error, whole};
use super::time;
use crate::config::{BinaryDecode, BinaryField, BinaryType, BinaryWhen, Endian, TimeUnit};

/// A frame is a reading for each of its fields that is there and identifies nothing.
#[derive(Debug)]
pub(crate) struct BinaryDecoder {
    fields: Vec<Named>,
    messages: Vec<Message>,
    items: Option<Items>,
    time_unit: TimeUnit,
}

/// A kind of frames.
#[derive(Debug)]
struct Message {
    tag: Field,
    equals: i64,
    fields: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    name: String,
    unit: Option<String>,
    role: Role,
    field: Field,
}

/// What a field is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Reading,
    Device,
    Time,
    Sequence,
    Epoch,
}

impl BinaryDecoder {
    pub(super) fn new(config: &BinaryDecode) -> Self {
        let named = |field: &BinaryField| Named {
            name: field.name.clone(),
            unit: field.unit.clone(),
            role: Role::of(&field.name, config),
            field: field.field(config.endian),
        };
        let messages = config.messages.iter().map(|message| Message {
            tag: message.when.field(config.endian),
            equals: message.when.equals,
            fields: message.fields.iter().map(named).collect(),
        });
        Self {
            fields: config.fields.iter().map(named).collect(),
            messages: messages.collect(),
            items: config.items.as_ref().map(|items| Items::new(items, config.endian)),
            time_unit: config.time_unit,
        }
    }

    pub(super) fn decode(&self, frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
        let message = self.messages.iter().find(|message| message.tag.is(frame, message.equals));
        if message.is_none() && !self.messages.is_empty() {
            return Err(DecodeError::Message);
        }
        let mut identity = Identity::default();
        let mut values: Vec<(Cow<'_, str>, &Named, Value)> = Vec::new();
        for named in self.fields.iter().chain(message.iter().flat_map(|kind| &kind.fields)) {
            match named.read(frame)? {
                None => {}
                Some(value) if named.role == Role::Reading => {
                    values.push((named.name.as_str().into(), named, value));
                }
                Some(value) => self.identify(&mut identity, named, &value)?,
            }
        }
        if let Some(items) = &self.items {
            items.read(frame, &mut values)?;
        }
        let draft = |(name, named, value): (Cow<'_, str>, &Named, Value)| Draft {
            unit: named.unit.clone(),
            ..identity.draft(&name, value)
        };
        Ok(values.into_iter().map(draft).collect())
    }

    fn identify(
        &self,
        identity: &mut Identity,
        named: &Named,
        value: &Value,
    ) -> Result<(), DecodeError> {
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.clone(),
            Value::Boolean(_) | Value::Bytes(_) => {
                return Err(field_error(&named.name, "", "a number or text"));
            }
        };
        match named.role {
            Role::Reading => {}
            Role::Device => identity.device = Some(text).filter(|text| !text.is_empty()),
            Role::Time => identity.time = Some(time::parse(&named.name, &text, self.time_unit)?),
            Role::Sequence => identity.sequence = Some(whole(&named.name, &text)?),
            Role::Epoch => identity.epoch = Some(whole(&named.name, &text)?),
        }
        Ok(())
    }
}

impl Named {
    fn read(&self, frame: &[u8]) -> Result<Option<Value>, DecodeError> {
        let place = |problem| DecodeError::Place { field: self.name.clone(), problem };
        self.field.read(frame).map_err(place)
    }
}

impl Role {
    fn of(name: &str, config: &BinaryDecode) -> Self {
        let BinaryDecode { device, time, seq, epoch, .. } = config;
        let roles = [
            (device, Self::Device),
            (time, Self::Time),
            (seq, Self::Sequence),
            (epoch, Self::Epoch),
        ];
        let role = roles.into_iter().find(|(field, _)| field.as_deref() == Some(name));
        role.map_or(Self::Reading, |(_, role)| role)
    }
}

impl BinaryField {
    /// As it is read.
    pub(crate) fn field(&self, endian: Endian) -> Field {
        let endian = self.endian.unwrap_or(endian).into();
        let bits = match (self.bit, self.bits) {
            (None, None) => None,
            (first, count) => Some(Bits { first: first.unwrap_or(0), count: count.unwrap_or(1) }),
        };
        let meanings = self.values.iter().map(|(code, text)| (code.integer(), text.clone()));
        Field {
            bits,
            scale: self.scale.map(|scale| scale.number()),
            offset: self.offset.map(|offset| offset.number()),
            absent: self.absent.clone(),
            meanings: meanings.collect(),
            ..Field::new(self.at.into(), self.kind.kind(self.bytes), endian)
        }
    }
}

impl BinaryWhen {
    /// The integer that tells one kind from another.
    pub(crate) fn field(&self, endian: Endian) -> Field {
        Field::new(self.at.into(), self.kind.kind(None), endian.into())
    }
}

impl BinaryType {
    /// How it is written, in so many bytes where it does not say that itself.
    pub(crate) fn kind(self, bytes: Option<u16>) -> Kind {
        // More than 8 bytes are refused by the checks of a configuration.
        let width = bytes.and_then(|bytes| u8::try_from(bytes).ok()).unwrap_or(1);
        match self {
            Self::U8 => Kind::Unsigned(1),
            Self::U16 => Kind::Unsigned(2),
            Self::U24 => Kind::Unsigned(3),
            Self::U32 => Kind::Unsigned(4),
            Self::U48 => Kind::Unsigned(6),
            Self::U64 => Kind::Unsigned(8),
            Self::I8 => Kind::Signed(1),
            Self::I16 => Kind::Signed(2),
            Self::I24 => Kind::Signed(3),
            Self::I32 => Kind::Signed(4),
            Self::I48 => Kind::Signed(6),
            Self::I64 => Kind::Signed(8),
            Self::F32 => Kind::Float32,
            Self::F64 => Kind::Float64,
            Self::Bool => Kind::Boolean(width),
            Self::Bcd => Kind::Bcd(width),
            Self::Text => Kind::Text(bytes),
            Self::Hex => Kind::Hex(bytes),
            Self::Bytes => Kind::Bytes(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
