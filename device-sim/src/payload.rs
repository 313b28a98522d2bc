//! How a report is written.

mod telegram;
mod template;

use std::fmt::Write as _;
use std::sync::Arc;

use proto::senml::{self, Record};
use proto::{Reading, Timestamp, Value};

pub use telegram::Telegram;
pub use template::{BinaryTemplate, TemplateError, TextTemplate};

use self::template::is_dated;

/// A form of a report. A device without a clock leaves the time out where a form has room for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// A SenML pack as JSON (RFC 8428 §5).
    SenmlJson,
    /// A SenML pack as CBOR (RFC 8428 §6).
    SenmlCbor,
    /// `{"device":"th-1","at":1795214340123,"epoch":1,"seq":7,"temp":21.5}`
    Json,
    /// `id=th-1 at=1795214340123 boot=1 n=7 temp=21.5`
    Keyvalue,
    /// `1795214340123;1;7;21.5`: time, boot count, number, then the values in their order. The
    /// device is not in it.
    Csv,
    /// Text by a pattern.
    Text(Arc<TextTemplate>),
    /// Bytes by a pattern.
    Binary(Arc<BinaryTemplate>),
    /// A sentence of NMEA 0183, its body by a pattern.
    Nmea(Arc<TextTemplate>),
    /// A telegram of a smart meter.
    Dsmr(Arc<Telegram>),
}

impl Payload {
    /// The readings of one report, at least one. Where a form has room for one number and one time
    /// it takes those of the first reading; they are the same in all.
    pub fn encode(&self, readings: &[Reading]) -> Vec<u8> {
        match self {
            Self::SenmlJson => senml::json::encode(&pack(readings)).into_bytes(),
            Self::SenmlCbor => senml::cbor::encode(&pack(readings)),
            Self::Json => json(readings).into_bytes(),
            Self::Keyvalue => keyvalue(readings).into_bytes(),
            Self::Csv => csv(readings).into_bytes(),
            Self::Text(template) => template.fill(readings).into_bytes(),
            Self::Binary(template) => template.fill(readings),
            Self::Nmea(template) => template::sentence(template, readings).into_bytes(),
            Self::Dsmr(telegram) => telegram.fill(readings).into_bytes(),
        }
    }

    /// A report on a line of text or in a stream of bytes, with what ends it.
    pub fn encode_line(&self, readings: &[Reading]) -> Vec<u8> {
        let mut bytes = self.encode(readings);
        match self {
            Self::Binary(_) | Self::Nmea(_) | Self::Dsmr(_) => {}
            Self::SenmlJson | Self::SenmlCbor | Self::Json | Self::Keyvalue | Self::Csv => {
                bytes.push(b'\n');
            }
            Self::Text(_) if bytes.ends_with(b"\n") => {}
            Self::Text(_) => bytes.push(b'\n'),
        }
        bytes
    }

    /// Whether it has room for epoch and sequence.
    pub fn is_numbered(&self) -> bool {
        match self {
            Self::SenmlJson | Self::SenmlCbor | Self::Dsmr(_) => false,
            Self::Json | Self::Keyvalue | Self::Csv => true,
            Self::Text(template) | Self::Nmea(template) => template.is_numbered(),
            Self::Binary(template) => template.is_numbered(),
        }
    }

    /// Whether it has room for the time.
    pub fn has_time(&self) -> bool {
        match self {
            Self::SenmlJson | Self::SenmlCbor | Self::Dsmr(_) => true,
            Self::Json | Self::Keyvalue | Self::Csv => true,
            Self::Text(template) | Self::Nmea(template) => template.has_time(),
            Self::Binary(template) => template.has_time(),
        }
    }
}

fn pack(readings: &[Reading]) -> Vec<Record> {
    let record = |reading: &Reading| Record {
        // Before 2^28 a time is none (RFC 8428 §4.5.3), and is left out.
        time: if is_dated(readings) { reading.time } else { Timestamp::from_nanos(0) },
        ..Record::of_reading(reading)
    };
    readings.iter().map(record).collect()
}

fn json(readings: &[Reading]) -> String {
    let mut out = String::new();
    if let Some(reading) = readings.first() {
        push(&mut out, format_args!(r#"{{"device":{}"#, quoted(&reading.device)));
        if is_dated(readings) {
            push(&mut out, format_args!(r#","at":{}"#, reading.time.as_millis()));
        }
        if let (Some(epoch), Some(sequence)) = (reading.epoch, reading.sequence) {
            push(&mut out, format_args!(r#","epoch":{epoch},"seq":{sequence}"#));
        }
    }
    for reading in readings {
        let value = json_value(&reading.value);
        push(&mut out, format_args!(",{}:{value}", quoted(&reading.name)));
    }
    out.push('}');
    out
}

fn keyvalue(readings: &[Reading]) -> String {
    let mut out = String::new();
    if let Some(reading) = readings.first() {
        push(&mut out, format_args!("id={}", reading.device));
        if is_dated(readings) {
            push(&mut out, format_args!(" at={}", reading.time.as_millis()));
        }
        if let (Some(epoch), Some(sequence)) = (reading.epoch, reading.sequence) {
            push(&mut out, format_args!(" boot={epoch} n={sequence}"));
        }
    }
    for reading in readings {
        push(&mut out, format_args!(" {}={}", reading.name, plain(&reading.value)));
    }
    out
}

fn csv(readings: &[Reading]) -> String {
    let mut out = String::new();
    if let Some(reading) = readings.first() {
        let (epoch, sequence) = (reading.epoch.unwrap_or(0), reading.sequence.unwrap_or(0));
        if is_dated(readings) {
            push(&mut out, format_args!("{}", reading.time.as_millis()));
        }
        push(&mut out, format_args!(";{epoch};{sequence}"));
    }
    for reading in readings {
        push(&mut out, format_args!(";{}", plain(&reading.value)));
    }
    out
}

pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => {
            let mut text = String::new();
            proto::base64::encode(bytes, &mut text);
            text
        }
    }
}

/// A value as JSON has it; a number keeps its digits.
pub(crate) fn json_value(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::Boolean(_) => plain(value),
        Value::Text(_) | Value::Bytes(_) => quoted(&plain(value)),
    }
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use proto::TimeQuality;

    use super::*;

    pub(super) fn readings() -> Vec<Reading> {
        let reading = |name: &str, value: &str| Reading {
            device: "th-1".to_owned(),
            name: name.to_owned(),
            unit: Some("Cel".to_owned()),
            value: Value::Number(value.parse().unwrap()),
            time: Timestamp::from_nanos(1_795_214_340_123_000_000),
            time_quality: TimeQuality::Device,
            epoch: Some(1),
            sequence: Some(7),
        };
        vec![reading("temp", "21.50"), reading("dew", "-3")]
    }

    #[test]
    fn text_forms_have_identity_time_and_values() {
        let text = |payload: Payload| String::from_utf8(payload.encode(&readings())).unwrap();
        assert_eq!(
            text(Payload::Json),
            r#"{"device":"th-1","at":1795214340123,"epoch":1,"seq":7,"temp":21.50,"dew":-3}"#
        );
        assert_eq!(
            text(Payload::Keyvalue),
            "id=th-1 at=1795214340123 boot=1 n=7 temp=21.50 dew=-3"
        );
        assert_eq!(text(Payload::Csv), "1795214340123;1;7;21.50;-3");
    }

    #[test]
    fn packs_read_back_with_their_times() {
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let json = senml::json::decode(&Payload::SenmlJson.encode(&readings()), now).unwrap();
        let cbor = senml::cbor::decode(&Payload::SenmlCbor.encode(&readings()), now).unwrap();
        for pack in [json, cbor] {
            assert_eq!(pack.len(), 2);
            for (record, reading) in pack.iter().zip(readings()) {
                assert_eq!(record.full_name(), format!("th-1/{}", reading.name));
                assert_eq!(record.time, reading.time);
            }
        }
    }

    #[test]
    fn a_device_without_a_clock_sends_no_time() {
        let mut readings = readings();
        readings.iter_mut().for_each(|reading| reading.time_quality = TimeQuality::Gateway);
        let text = |payload: Payload| String::from_utf8(payload.encode(&readings)).unwrap();
        assert_eq!(
            text(Payload::Json),
            r#"{"device":"th-1","epoch":1,"seq":7,"temp":21.50,"dew":-3}"#
        );
        assert_eq!(text(Payload::Keyvalue), "id=th-1 boot=1 n=7 temp=21.50 dew=-3");
        assert_eq!(text(Payload::Csv), ";1;7;21.50;-3");
        assert!(!text(Payload::SenmlJson).contains("\"bt\""), "{}", text(Payload::SenmlJson));
    }

    #[test]
    fn a_line_has_one_end() {
        let line = |payload: Payload| payload.encode_line(&readings());
        assert!(line(Payload::Csv).ends_with(b"-3\n"));
        let text = |text: &str| Payload::Text(Arc::new(text.parse().unwrap()));
        assert_eq!(line(text("{temp}")), b"21.50\n");
        assert_eq!(line(text("{temp}\r\n")), b"21.50\r\n");
        assert_eq!(line(Payload::Binary(Arc::new("0a0b".parse().unwrap()))), [0x0a, 0x0b]);
    }
}
