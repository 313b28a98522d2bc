//! The `binary` decoder: fields by their place.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{self, Code, Decimal};
use super::{Endian, TimeUnit};

/// Fields by their place in the frame.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct BinaryDecode {
    /// Order of the bytes of a number, where a field says nothing else.
    pub(crate) endian: Endian,
    /// What stands in every frame: tables with the keys below.
    pub(crate) fields: Vec<BinaryField>,
    /// Kinds of frames, where a device sends several: the first one that fits is taken, and a frame
    /// that none fits is refused.
    pub(crate) messages: Vec<BinaryMessage>,
    /// What stands one after another up to the end of the frame, in any number: values with a byte in
    /// front that tells what they are, as Cayenne LPP and type-length-value formats have it.
    pub(crate) items: Option<BinaryItems>,
    /// Name of the field that is the device's name.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) device: Option<String>,
    /// Name of the field that is the time: a number since 1970 in `time_unit`.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) time: Option<String>,
    /// Unit of that time.
    pub(crate) time_unit: TimeUnit,
    /// Name of the field that is the device's sequence number.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) seq: Option<String>,
    /// Name of the field that is the device's boot count.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) epoch: Option<String>,
}

/// A kind of frames.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct BinaryMessage {
    /// What tells it from others.
    pub(crate) when: BinaryWhen,
    /// What stands in it besides the fields of every frame: tables with the keys below.
    #[serde(default)]
    pub(crate) fields: Vec<BinaryField>,
}

/// Values that tell what they are, one after another up to the end of the frame. Places in them count
/// from the first byte of each.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct BinaryItems {
    /// Where the first one begins.
    #[serde(default)]
    pub(crate) at: u16,
    /// Where in each stands a byte that tells it from others of its kind. It goes behind the names of
    /// readings: `temp_3`.
    #[serde(default)]
    pub(crate) channel: Option<u8>,
    /// Where in each stands a byte that says how many more follow. With it no kind has a `size`, and
    /// what is of no kind is left out; without it a frame with such an item is refused.
    #[serde(default)]
    pub(crate) length: Option<u8>,
    /// Kinds of items: the first one that fits is taken.
    pub(crate) kinds: Vec<BinaryItem>,
}

/// A kind of items.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct BinaryItem {
    /// What tells it from others.
    pub(crate) when: BinaryWhen,
    /// How many bytes it has, 1 to 65535, with all that stands in front of its value.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(crate) size: Option<u16>,
    /// What stands in it: tables with the keys below. Its values are readings, and never identify the
    /// frame.
    #[serde(default)]
    pub(crate) fields: Vec<BinaryField>,
}

/// An integer that a kind of frames, or of items, has.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct BinaryWhen {
    /// Where it stands; negative places count from the end.
    pub(crate) at: i16,
    /// How it is written: an integer.
    #[serde(default = "default_when", rename = "type")]
    pub(crate) kind: BinaryType,
    /// What it is.
    pub(crate) equals: i64,
}

/// A value in a frame.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct BinaryField {
    /// Name of the reading.
    #[serde(deserialize_with = "values::filled")]
    #[schemars(length(min = 1))]
    pub(crate) name: String,
    /// Its first byte: the frame begins with 0, and negative places count from its end.
    pub(crate) at: i16,
    /// How it is written.
    #[serde(rename = "type")]
    pub(crate) kind: BinaryType,
    /// How many bytes it takes: 1 to 8 for `bcd`, which needs it, and for `bool`, where it is 1; up
    /// to 65535 for `text`, `hex` and `bytes`, which reach to the end of the frame without it.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 1, 65_535>")]
    #[schemars(range(min = 1))]
    pub(crate) bytes: Option<u16>,
    /// Order of its bytes; that of the decoder where it is not there.
    #[serde(default)]
    pub(crate) endian: Option<Endian>,
    /// The lowest bit of it, of an integer or `bool` that is a part of its bytes, 0 to 63; 0 is the
    /// lowest of all.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 0, 63>")]
    #[schemars(range(max = 63))]
    pub(crate) bit: Option<u8>,
    /// How many bits it has, 1 to 64; 1 where only `bit` is there.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 1, 64>")]
    #[schemars(range(min = 1, max = 64))]
    pub(crate) bits: Option<u8>,
    /// What a number is multiplied with, exactly: 1236 × 0.1 is 123.6.
    #[serde(default)]
    pub(crate) scale: Option<Decimal>,
    /// What is added then.
    #[serde(default)]
    pub(crate) offset: Option<Decimal>,
    /// Unit of the value, by SenML's names where it has one: `Cel`, `%RH`, `ppm`.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) unit: Option<String>,
    /// What stands there where the device has no value, as its data sheet writes it: `[0x8000]`. -1
    /// is all bits of an integer. NaN and infinities of floats are no values in any case.
    #[serde(default)]
    pub(crate) absent: Vec<i64>,
    /// What the values of an integer mean, as in `{ 0 = "off", 1 = "on" }`: then the reading is text,
    /// and a value without a meaning its digits.
    #[serde(default)]
    pub(crate) values: BTreeMap<Code, String>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BinaryType {
    /// An integer of 1 byte without a sign.
    U8,
    /// 2 bytes.
    U16,
    /// 3 bytes.
    U24,
    /// 4 bytes.
    U32,
    /// 6 bytes.
    U48,
    /// 8 bytes.
    U64,
    /// An integer of 1 byte in two's complement.
    I8,
    /// 2 bytes.
    I16,
    /// 3 bytes.
    I24,
    /// 4 bytes.
    I32,
    /// 6 bytes.
    I48,
    /// 8 bytes.
    I64,
    /// IEEE 754, 4 bytes.
    F32,
    /// IEEE 754, 8 bytes.
    F64,
    /// Whether any bit is set.
    Bool,
    /// Two decimal digits a byte.
    Bcd,
    /// UTF-8 up to a zero, if there is one.
    Text,
    /// Bytes as text: `a160`.
    Hex,
    /// Bytes.
    Bytes,
}

const fn default_when() -> BinaryType {
    BinaryType::U8
}
