//! SenML as JSON, `application/senml+json` (RFC 8428 §5).
//!
//! Numbers are read and written with the digits that arrived. Text is UTF-8; data is base64url
//! without padding.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::layout::{Datum, Layout};
use super::raw::{Label, RawRecord, Source};
use super::resolve::Resolver;
use super::{Error, MAX_DEPTH, Problem, Record};
use crate::base64;
use crate::{Number, Timestamp};

/// Reads a pack that arrived at `now` and resolves it, in chronological order.
///
/// # Errors
///
/// The first reason why the pack must not be used; see [`senml`](super).
pub fn decode(text: &[u8], now: Timestamp) -> Result<Vec<Record>, Error> {
    let mut resolver = Resolver::new(now);
    let mut json = serde_json::Deserializer::from_slice(text);
    Pack(&mut resolver)
        .deserialize(&mut json)
        .and_then(|outcome| json.end().map(|()| outcome))
        .map_err(|error| refused(&error, "an array of records"))??;
    resolver.finish()
}

/// Writes records, in the order given, as the most compact pack.
///
/// Every time is written as absolute, whatever its source, except one before
/// 1978-07-04T21:24:16Z, which SenML cannot say: that record goes without a time. The records have
/// to be valid, and between one and [`MAX_RECORDS`](super::MAX_RECORDS), for a receiver to take
/// them.
pub fn encode(records: &[Record]) -> String {
    let mut out = String::from("[");
    for (index, fields) in Layout::new(records).enumerate() {
        out.push_str(if index == 0 { "{" } else { ",{" });
        for (position, (field, datum)) in fields.into_iter().enumerate() {
            out.push_str(if position == 0 { "\"" } else { ",\"" });
            out.push_str(field.text());
            out.push_str("\":");
            push_datum(&mut out, datum);
        }
        out.push('}');
    }
    out.push(']');
    out
}

/// Reads the array. The outer error is the format's, the inner one SenML's; the array is read to
/// its end in any case, so that text that is not JSON is called that.
struct Pack<'r>(&'r mut Resolver);

impl<'de> DeserializeSeed<'de> for Pack<'_> {
    type Value = Result<(), Error>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Pack<'_> {
    type Value = Result<(), Error>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<Self::Value, A::Error> {
        let mut outcome = Ok(());
        while let Some(text) = records.next_element::<&RawValue>()? {
            if outcome.is_ok() {
                outcome = self.0.read(|record| read_record(text, record));
            }
        }
        Ok(outcome)
    }
}

fn read_record(text: &RawValue, record: &mut RawRecord) -> Result<(), Error> {
    serde_json::Deserializer::from_str(text.get())
        .deserialize_map(Fields(record))
        .map_err(|error| refused(&error, "a record, which is a map of fields"))?
}

/// Reads one map. The errors are as in [`Pack`].
struct Fields<'r>(&'r mut RawRecord);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Result<(), Error>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut outcome = Ok(());
        while let Some((label, text)) = fields.next_entry::<String, &RawValue>()? {
            if outcome.is_ok() {
                outcome = self.0.read(Label::Text(label), text);
            }
        }
        Ok(outcome)
    }
}

fn refused(error: &serde_json::Error, expected: &'static str) -> Error {
    if error.is_data() { Problem::Expected(expected).into() } else { syntax(error).into() }
}

fn syntax(error: &serde_json::Error) -> Problem {
    Problem::Syntax { format: "JSON", detail: error.to_string() }
}

impl Source for &RawValue {
    fn text(self) -> Result<String, Problem> {
        if !self.get().starts_with('"') {
            return Err(Problem::Expected("text"));
        }
        serde_json::from_str(self.get()).map_err(|error| syntax(&error))
    }

    fn number(self) -> Result<Number, Problem> {
        if !self.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return Err(Problem::Expected("a number"));
        }
        self.get().parse().map_err(|_| Problem::Expected("a number that a double can hold"))
    }

    fn boolean(self) -> Result<bool, Problem> {
        self.get().parse().map_err(|_| Problem::Expected("true or false"))
    }

    fn bytes(self) -> Result<Vec<u8>, Problem> {
        let problem = Problem::Expected("base64url text without padding");
        self.text().ok().and_then(|text| base64::decode(&text)).ok_or(problem)
    }

    fn version(self) -> Result<u64, Problem> {
        let whole = self.number()?.as_whole();
        whole.and_then(|version| version.try_into().ok()).ok_or(Problem::Version)
    }

    fn ignore(self) -> Result<(), Problem> {
        if nesting(self.get()) > MAX_DEPTH { Err(Problem::TooDeep) } else { Ok(()) }
    }
}

/// The most arrays and maps that are open at once, in well-formed JSON.
fn nesting(json: &str) -> usize {
    let mut open = 0_usize;
    let mut deepest = 0;
    let mut in_text = false;
    let mut is_escaped = false;
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => open += 1,
            b']' | b'}' if !in_text => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

fn push_datum(out: &mut String, datum: Datum<'_>) {
    match datum {
        Datum::Text(text) => push_text(out, text),
        Datum::Number(number) | Datum::Seconds(number) => push_display(out, number),
        Datum::Boolean(boolean) => push_display(out, boolean),
        Datum::Bytes(bytes) => {
            out.push('"');
            base64::encode(bytes, out);
            out.push('"');
        }
    }
}

/// RFC 8259 §7: only these must be escaped.
fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' => push_display(out, format_args!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn push_display(out: &mut String, value: impl fmt::Display) {
    // Cannot fail: a string takes everything.
    let _ = write!(out, "{value}");
}
