//! How a report is written.

use std::fmt::Write as _;

use proto::senml::{self, Record};
use proto::{Reading, Value};

/// A form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Payload {
    /// The readings of one report, at least one. Where a form has room for one number and one time
    /// it takes those of the first reading; they are the same in all.
    pub fn encode(self, readings: &[Reading]) -> Vec<u8> {
        match self {
            Self::SenmlJson => senml::json::encode(&pack(readings)).into_bytes(),
            Self::SenmlCbor => senml::cbor::encode(&pack(readings)),
            Self::Json => json(readings).into_bytes(),
            Self::Keyvalue => keyvalue(readings).into_bytes(),
            Self::Csv => csv(readings).into_bytes(),
        }
    }

    /// Whether it has room for epoch and sequence.
    pub const fn is_numbered(self) -> bool {
        match self {
            Self::SenmlJson | Self::SenmlCbor => false,
            Self::Json | Self::Keyvalue | Self::Csv => true,
        }
    }
}

fn pack(readings: &[Reading]) -> Vec<Record> {
    readings.iter().map(Record::of_reading).collect()
}

fn json(readings: &[Reading]) -> String {
    let mut out = String::new();
    if let Some(reading) = readings.first() {
        push(&mut out, format_args!(r#"{{"device":{}"#, quoted(&reading.device)));
        push(&mut out, format_args!(r#","at":{}"#, reading.time.as_millis()));
        if let (Some(epoch), Some(sequence)) = (reading.epoch, reading.sequence) {
            push(&mut out, format_args!(r#","epoch":{epoch},"seq":{sequence}"#));
        }
    }
    for reading in readings {
        let value = match &reading.value {
            value @ (Value::Number(_) | Value::Boolean(_)) => plain(value),
            value @ (Value::Text(_) | Value::Bytes(_)) => quoted(&plain(value)),
        };
        push(&mut out, format_args!(",{}:{value}", quoted(&reading.name)));
    }
    out.push('}');
    out
}

fn keyvalue(readings: &[Reading]) -> String {
    let mut out = String::new();
    if let Some(reading) = readings.first() {
        push(&mut out, format_args!("id={} at={}", reading.device, reading.time.as_millis()));
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
        push(&mut out, format_args!("{};{epoch};{sequence}", reading.time.as_millis()));
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

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use proto::{TimeQuality, Timestamp};

    use super::*;

    fn readings() -> Vec<Reading> {
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
}
