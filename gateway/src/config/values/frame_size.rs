//! How long a frame may be.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

use super::ByteSize;

/// The most bytes that one frame can have: 1 byte to 1 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FrameSize(ByteSize);

impl FrameSize {
    const MAX: u64 = 1 << 20;

    /// The number of bytes.
    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.0.bytes()).unwrap_or(usize::MAX)
    }
}

impl Default for FrameSize {
    /// 64 KiB takes every UDP datagram (at most 65 507 bytes).
    fn default() -> Self {
        Self(ByteSize::kib(64))
    }
}

impl<'de> Deserialize<'de> for FrameSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::size::<_, 1, { Self::MAX }>(deserializer).map(Self)
    }
}

impl JsonSchema for FrameSize {
    fn schema_name() -> Cow<'static, str> {
        "frame bytes".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = ByteSize::json_schema(generator);
        schema.insert("minimum".to_owned(), 1.into());
        schema.insert("maximum".to_owned(), Self::MAX.into());
        schema
    }
}
