//! Values that tell what they are, one after another.

use std::borrow::Cow;

use proto::Value;
use proto::binary::Field;

use super::{Named, Role};
use crate::config::{BinaryItems, Endian};
use crate::decode::draft::{DecodeError, MAX_READINGS};

/// How the rest of a frame is cut and read.
#[derive(Debug)]
pub(super) struct Items {
    start: usize,
    channel: Option<usize>,
    length: Option<usize>,
    kinds: Vec<Kind>,
}

#[derive(Debug)]
struct Kind {
    tag: Field,
    equals: i64,
    /// Where no byte says it; the checks of a configuration want one of both.
    size: usize,
    fields: Vec<Named>,
}

impl Items {
    pub(super) fn new(config: &BinaryItems, endian: Endian) -> Self {
        let kinds = config.kinds.iter().map(|kind| Kind {
            tag: kind.when.field(endian),
            equals: kind.when.equals,
            size: kind.size.unwrap_or(1).max(1).into(),
            fields: kind
                .fields
                .iter()
                .map(|field| Named {
                    name: field.name.clone(),
                    unit: field.unit.clone(),
                    role: Role::Reading,
                    field: field.field(endian),
                })
                .collect(),
        });
        Self {
            start: config.at.into(),
            channel: config.channel.map(usize::from),
            length: config.length.map(usize::from),
            kinds: kinds.collect(),
        }
    }

    /// Adds the values of all items in `frame`.
    pub(super) fn read<'a>(
        &'a self,
        frame: &[u8],
        values: &mut Vec<(Cow<'a, str>, &'a Named, Value)>,
    ) -> Result<(), DecodeError> {
        let mut at = self.start;
        while let Some(rest) = frame.get(at..).filter(|rest| !rest.is_empty()) {
            let end = || DecodeError::ItemEnd { at };
            let told = match self.length {
                Some(place) => {
                    let follow = usize::from(*rest.get(place).ok_or_else(end)?);
                    Some(rest.get(..place + 1 + follow).ok_or_else(end)?)
                }
                None => None,
            };
            let kind = |item: &[u8]| self.kinds.iter().find(|kind| kind.tag.is(item, kind.equals));
            let (kind, item) = match told {
                Some(item) => (kind(item), item),
                None => {
                    let kind = kind(rest).ok_or(DecodeError::Item { at })?;
                    (Some(kind), rest.get(..kind.size).ok_or_else(end)?)
                }
            };
            let channel = match self.channel {
                Some(place) => Some(*item.get(place).ok_or_else(end)?),
                None => None,
            };
            for named in kind.iter().flat_map(|kind| &kind.fields) {
                let Some(value) = named.read(item)? else { continue };
                if values.len() >= MAX_READINGS {
                    return Err(DecodeError::TooMany);
                }
                values.push((named.name_in(channel), named, value));
            }
            at += item.len();
        }
        Ok(())
    }
}

impl Named {
    /// Its name, with the channel behind it.
    fn name_in(&self, channel: Option<u8>) -> Cow<'_, str> {
        match channel {
            Some(channel) => format!("{}_{channel}", self.name).into(),
            None => self.name.as_str().into(),
        }
    }
}
