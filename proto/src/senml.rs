//! Sensor Measurement Lists (SenML, RFC 8428) as JSON and as CBOR.
//!
//! A *pack* is an array of *records*; a record is a map of *fields*. Base fields (`bn`, `bt`, `bu`,
//! `bv`, `bs`, `bver`) hold for their record and for those after it. What leaves [`json::decode`]
//! and [`cbor::decode`] is *resolved* (§4.6): every base field is applied, every time is absolute
//! to the nanosecond, and the records are in chronological order.
//!
//! # Design
//!
//! Decoding has three steps. The format turns one map into a `RawRecord` and knows nothing
//! of SenML but the labels' shapes; the `Resolver` applies the base fields and checks
//! the rules of §4; the pack is sorted. Encoding is the reverse: `Layout` decides which
//! fields a record needs beside those in force, and the format writes them.
//!
//! Numbers stay decimals on the way through JSON ([`Number`](crate::Number)), and base fields are
//! added to them exactly. CBOR carries binary floats; [`cbor`] says how they become decimals.
//!
//! A pack is used whole or not at all. It is refused when
//!
//! - it is not well-formed, or something follows it, or it has no record (§11);
//! - a field has another type than §4.3 says, or a label stands twice in a record;
//! - a record has two values, or neither a value nor a sum, unless base fields are all that it
//!   has: such a record is allowed, as in §5.1.7, and yields nothing;
//! - a label is unknown and ends in `_` (§4.4); other unknown fields are ignored;
//! - the version is greater than [`VERSION`], or changes within the pack (§4.4);
//! - a full name breaks §4.5.1;
//! - a number, a sum or a time is out of range, or a limit below is met.
//!
//! # Limits
//!
//! [`MAX_RECORDS`], [`MAX_NAME`], [`MAX_UNIT`] and [`MAX_DEPTH`] bound what one pack may cost: a
//! long base name or unit is copied into each record, so that without them a pack of 60 kB would
//! become 60 MB.

pub mod cbor;
mod error;
mod field;
pub mod json;
mod layout;
mod raw;
mod record;
mod resolve;
#[cfg(test)]
mod tests;

pub use error::{Error, Problem};
pub use record::{Record, TimeSource};

/// The version of SenML that is understood (RFC 8428 §4.4); older ones are read the same way.
pub const VERSION: u8 = 10;
/// The most records in a pack.
pub const MAX_RECORDS: usize = 1024;
/// The most bytes in a full name, base name included.
pub const MAX_NAME: usize = 1024;
/// The most bytes in a unit.
pub const MAX_UNIT: usize = 64;
/// The most arrays, maps and tags that the value of an ignored field may nest.
pub const MAX_DEPTH: usize = 16;

/// Times below this many seconds, 2^28, are relative to now (RFC 8428 §4.5.3), in nanoseconds.
const ABSOLUTE_FROM_NANOS: i64 = (1 << 28) * 1_000_000_000;
