//! What lies in the store: a reading or a message, as one CBOR array (RFC 8949).
//!
//! ```text
//! reading = [source, device, name, unit | null, value, time_ns, time_quality, epoch | null,
//!            sequence | null, received_ns, origin | null, moment?]
//! message = [source, null, broker, topic, payload, retain, content_type | null,
//!            received_ns, origin | null, (moment | null)?, correlation?]
//! value  = number: integer | 4([exponent, mantissa]) ; text: text ; boolean: bool ; bytes: bytes
//! origin = [peer, message_id, token] ; CoAP
//!        | [device, epoch, sequence] ; the link protocol
//! moment = [boot: 16 bytes, uptime_us]   only where the gateway's clock was not synchronised
//! ```
//! Fields may be added at the end; a reader skips what it does not know.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use minicbor::bytes::ByteSlice;
use minicbor::data::{IanaTag, Tag, Type};
use minicbor::{Decoder, Encoder};
use proto::link::Ticket;
use proto::{Instant, Number, Reading, TimeQuality, Timestamp, Value};

use crate::time_base::{BootId, Moment};

/// Fields of a reading, and of a message, without a moment.
const FIELDS: (u64, u64) = (11, 9);

/// A reading or a message, with its number and where it came from.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Record {
    /// The number that the store gave it.
    pub(crate) n: u64,
    /// Name of the source.
    pub(crate) source: Arc<str>,
    /// What it is about.
    pub(crate) content: Content,
    /// When it arrived, by the gateway's clock.
    pub(crate) received: Timestamp,
    /// The message it arrived in, where a retransmission of that message can be told.
    pub(crate) origin: Option<Origin>,
    /// When that was, whatever the gateway's clock said; only where it was not synchronised.
    pub(crate) moment: Option<Moment>,
}

/// What a record is about.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Content {
    /// A value, which the routes turn into messages.
    Reading(Reading),
    /// A message, which one broker gets as it is.
    Message(Message),
}

/// A message for one broker, whatever the routes say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    /// Name of the broker.
    pub(crate) broker: Arc<str>,
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// Whether the broker keeps it for new subscribers.
    pub(crate) retain: bool,
    /// Its MIME type, where that is known.
    pub(crate) content_type: Option<String>,
    /// Correlation Data (MQTT 5 §3.3.2.3.6).
    pub(crate) correlation: Option<Bytes>,
}

impl Record {
    /// The reading, where it is one.
    pub(crate) const fn reading(&self) -> Option<&Reading> {
        match &self.content {
            Content::Reading(reading) => Some(reading),
            Content::Message(_) => None,
        }
    }

    /// The message, where it is one.
    const fn message(&self) -> Option<&Message> {
        match &self.content {
            Content::Message(message) => Some(message),
            Content::Reading(_) => None,
        }
    }

    /// The record, about another reading.
    pub(crate) fn with(&self, reading: Reading) -> Self {
        Self {
            n: self.n,
            source: Arc::clone(&self.source),
            content: Content::Reading(reading),
            received: self.received,
            origin: self.origin.clone(),
            moment: self.moment,
        }
    }
}

/// What identifies a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Of CoAP (RFC 7252 §4.5).
    Coap { peer: SocketAddr, message_id: u16, token: Vec<u8> },
    /// Of the link protocol.
    Link(Ticket),
}

/// Bytes in the store are not a record.
#[derive(Debug, thiserror::Error)]
#[error("not a record: {0}")]
pub(crate) struct RecordError(&'static str);

impl RecordError {
    pub(super) fn cut() -> Self {
        Self("it ends too early")
    }
}

impl From<minicbor::decode::Error> for RecordError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self("not the expected CBOR")
    }
}

/// Appends a record's bytes; its number is not among them.
pub(super) fn encode(out: &mut Vec<u8>, record: &Record) {
    // Writing to a vector cannot fail.
    let _ = encode_fields(&mut Encoder::new(out), record);
}

type Encoded = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encode_fields(e: &mut Encoder<&mut Vec<u8>>, record: &Record) -> Encoded {
    let correlation = record.message().and_then(|message| message.correlation.as_ref());
    let more = match correlation {
        Some(_) => 2,
        None => u64::from(record.moment.is_some()),
    };
    match &record.content {
        Content::Reading(reading) => {
            e.array(FIELDS.0 + more)?.str(&record.source)?;
            encode_reading(e, reading)?;
        }
        Content::Message(message) => {
            e.array(FIELDS.1 + more)?.str(&record.source)?.null()?;
            encode_message(e, message)?;
        }
    }
    e.i64(record.received.as_nanos())?;
    match &record.origin {
        Some(Origin::Coap { peer, message_id, token }) => {
            e.array(3)?.str(&peer.to_string())?.u16(*message_id)?.bytes(token)?
        }
        Some(Origin::Link(Ticket { device, epoch, sequence })) => {
            e.array(3)?.u32(*device)?.u32(*epoch)?.u16(*sequence)?
        }
        None => e.null()?,
    };
    match &record.moment {
        Some(Moment { boot, uptime }) => {
            e.array(2)?.bytes(&boot.0)?.u64(uptime.as_micros())?;
        }
        None if correlation.is_some() => {
            e.null()?;
        }
        None => {}
    }
    if let Some(correlation) = correlation {
        e.bytes(correlation)?;
    }
    Ok(())
}

fn encode_message(e: &mut Encoder<&mut Vec<u8>>, message: &Message) -> Encoded {
    e.str(&message.broker)?.str(&message.topic)?.bytes(&message.payload)?.bool(message.retain)?;
    match &message.content_type {
        Some(content_type) => e.str(content_type)?,
        None => e.null()?,
    };
    Ok(())
}

fn encode_reading(e: &mut Encoder<&mut Vec<u8>>, reading: &Reading) -> Encoded {
    e.str(&reading.device)?.str(&reading.name)?;
    match &reading.unit {
        Some(unit) => e.str(unit)?,
        None => e.null()?,
    };
    encode_value(e, &reading.value)?;
    e.i64(reading.time.as_nanos())?.u8(match reading.time_quality {
        TimeQuality::Device => 0,
        TimeQuality::Gateway => 1,
        TimeQuality::Estimated => 2,
    })?;
    match reading.epoch {
        Some(epoch) => e.u32(epoch)?,
        None => e.null()?,
    };
    match reading.sequence {
        Some(sequence) => e.u64(sequence)?,
        None => e.null()?,
    };
    Ok(())
}

fn encode_value(e: &mut Encoder<&mut Vec<u8>>, value: &Value) -> Encoded {
    match value {
        Value::Number(number) => {
            let mantissa = number.mantissa();
            if number.exponent() != 0 || i64::try_from(mantissa).is_err() {
                e.tag(IanaTag::Decimal)?.array(2)?.i32(number.exponent())?;
            }
            match i64::try_from(mantissa) {
                Ok(small) => e.i64(small)?,
                Err(_) => e.bytes(&mantissa.to_be_bytes())?,
            };
        }
        Value::Text(text) => {
            e.str(text)?;
        }
        Value::Boolean(boolean) => {
            e.bool(*boolean)?;
        }
        Value::Bytes(bytes) => {
            e.bytes(bytes)?;
        }
    }
    Ok(())
}

/// Reads one record.
pub(super) fn decode(n: u64, bytes: &[u8], sources: &mut Names) -> Result<Record, RecordError> {
    let mut d = Decoder::new(bytes);
    let fields = d.array()?.unwrap_or(u64::MAX);
    let source = sources.shared(d.str()?);
    let is_message = d.datatype()? == Type::Null;
    let without = if is_message { FIELDS.1 } else { FIELDS.0 };
    if fields < without {
        return Err(RecordError("fields are missing"));
    }
    let mut content = match is_message {
        true => Content::Message(decode_message(&mut d)?),
        false => Content::Reading(decode_reading(&mut d)?),
    };
    let received = Timestamp::from_nanos(d.i64()?);
    let origin = decode_origin(&mut d)?;
    let moment = if fields > without { decode_moment(&mut d)? } else { None };
    if let Content::Message(message) = &mut content
        && fields > without + 1
    {
        message.correlation =
            d.decode::<Option<&ByteSlice>>()?.map(|bytes| Bytes::copy_from_slice(bytes));
    }
    Ok(Record { n, source, content, received, origin, moment })
}

fn decode_message(d: &mut Decoder<'_>) -> Result<Message, RecordError> {
    d.null()?;
    Ok(Message {
        broker: d.str()?.into(),
        topic: d.str()?.to_owned(),
        payload: Bytes::copy_from_slice(d.bytes()?),
        retain: d.bool()?,
        content_type: d.decode::<Option<&str>>()?.map(str::to_owned),
        correlation: None,
    })
}

fn decode_reading(d: &mut Decoder<'_>) -> Result<Reading, RecordError> {
    Ok(Reading {
        device: d.str()?.to_owned(),
        name: d.str()?.to_owned(),
        unit: d.decode::<Option<&str>>()?.map(str::to_owned),
        value: decode_value(d)?,
        time: Timestamp::from_nanos(d.i64()?),
        time_quality: match d.u8()? {
            0 => TimeQuality::Device,
            1 => TimeQuality::Gateway,
            _ => TimeQuality::Estimated,
        },
        epoch: d.decode()?,
        sequence: d.decode()?,
    })
}

fn decode_value(d: &mut Decoder<'_>) -> Result<Value, RecordError> {
    let kind = d.datatype()?;
    Ok(if kind == Type::Tag {
        Value::Number(decode_decimal(d)?)
    } else if kind == Type::String {
        Value::Text(d.str()?.to_owned())
    } else if kind == Type::Bool {
        Value::Boolean(d.bool()?)
    } else if kind == Type::Bytes {
        Value::Bytes(d.bytes()?.to_vec())
    } else {
        Value::Number(Number::from(d.i64()?))
    })
}

fn decode_decimal(d: &mut Decoder<'_>) -> Result<Number, RecordError> {
    if d.tag()? != Tag::from(IanaTag::Decimal) || d.array()? != Some(2) {
        return Err(RecordError("a value with an unknown tag"));
    }
    let exponent = d.i32()?;
    let mantissa = if d.datatype()? == Type::Bytes {
        let bytes = d.bytes()?.try_into().map_err(|_| RecordError("a mantissa's length"))?;
        i128::from_be_bytes(bytes)
    } else {
        i128::from(d.i64()?)
    };
    Number::from_decimal(mantissa, exponent).ok_or(RecordError("an exponent out of range"))
}

fn decode_origin(d: &mut Decoder<'_>) -> Result<Option<Origin>, RecordError> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    d.array()?;
    Ok(Some(if d.datatype()? == Type::String {
        Origin::Coap {
            peer: d.str()?.parse().map_err(|_| RecordError("a peer that is no address"))?,
            message_id: d.u16()?,
            token: d.bytes()?.to_vec(),
        }
    } else {
        Origin::Link(Ticket { device: d.u32()?, epoch: d.u32()?, sequence: d.u16()? })
    }))
}

fn decode_moment(d: &mut Decoder<'_>) -> Result<Option<Moment>, RecordError> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    d.array()?;
    let boot = d.bytes()?.try_into().map_err(|_| RecordError("a boot's length"))?;
    Ok(Some(Moment { boot: BootId(boot), uptime: Instant::from_micros(d.u64()?) }))
}

/// Shares the text of source names, which repeat in every record.
#[derive(Default)]
pub(super) struct Names(Option<Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *name => Arc::clone(last),
            _ => {
                let shared: Arc<str> = name.into();
                self.0 = Some(Arc::clone(&shared));
                shared
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            (any::<i128>(), -400..=400i32)
                .prop_map(|(m, e)| Value::Number(Number::from_decimal(m, e).unwrap())),
            any::<i64>().prop_map(|i| Value::Number(i.into())),
            ".*".prop_map(Value::Text),
            any::<bool>().prop_map(Value::Boolean),
            any::<Vec<u8>>().prop_map(Value::Bytes),
        ]
    }

    fn moments() -> impl Strategy<Value = Option<Moment>> {
        proptest::option::of(any::<([u8; 16], u64)>().prop_map(|(boot, uptime)| Moment {
            boot: BootId(boot),
            uptime: Instant::from_micros(uptime),
        }))
    }

    /// It reads back, and no part of it is a record.
    fn check(record: &Record) {
        let mut bytes = Vec::new();
        encode(&mut bytes, record);
        assert_eq!(&decode(7, &bytes, &mut Names::default()).unwrap(), record);
        for end in 0..bytes.len() {
            assert!(decode(7, &bytes[..end], &mut Names::default()).is_err());
        }
    }

    fn origins() -> impl Strategy<Value = Origin> {
        prop_oneof![
            any::<(([u8; 4], u16), u16, Vec<u8>)>().prop_map(|(peer, message_id, token)| {
                Origin::Coap { peer: peer.into(), message_id, token }
            }),
            any::<(u32, u32, u16)>().prop_map(|(device, epoch, sequence)| {
                Origin::Link(Ticket { device, epoch, sequence })
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_record_reads_back(
            names in (".+", ".+", ".*"),
            value in values(),
            times in any::<(i64, i64)>(),
            identity in any::<(Option<u32>, Option<u64>)>(),
            origin in proptest::option::of(origins()),
            moment in moments(),
        ) {
            let reading = Reading {
                device: names.0, name: names.1, unit: Some(names.2).filter(|u| !u.is_empty()), value,
                time: Timestamp::from_nanos(times.0), time_quality: TimeQuality::Estimated,
                epoch: identity.0, sequence: identity.1,
            };
            check(&Record {
                n: 7,
                source: "s".into(),
                content: Content::Reading(reading),
                received: Timestamp::from_nanos(times.1),
                origin,
                moment,
            });
        }

        #[test]
        fn a_message_reads_back(
            topic in ".+",
            payload in any::<Vec<u8>>(),
            retain in any::<bool>(),
            content_type in proptest::option::of(".*"),
            correlation in proptest::option::of(any::<Vec<u8>>()),
            moment in moments(),
        ) {
            let correlation = correlation.map(Bytes::from);
            let message =
                Message { broker: "b".into(), topic, payload: payload.into(), retain, content_type, correlation };
            check(&Record {
                n: 7,
                source: "s".into(),
                content: Content::Message(message),
                received: Timestamp::from_nanos(1),
                origin: None,
                moment,
            });
        }

        #[test]
        fn a_record_of_a_synchronised_clock_is_what_older_gateways_wrote(time in any::<i64>()) {
            let record = crate::store::tests::record("d", 1);
            let mut bytes = Vec::new();
            encode(&mut bytes, &Record { received: Timestamp::from_nanos(time), ..record });
            // An array of eleven (RFC 8949 §3).
            prop_assert_eq!(bytes[0], 0x80 | 11);
        }

        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = decode(1, &bytes, &mut Names::default());
        }
    }
}
