//! The protocol of Semtech's UDP packet forwarder, which most LoRa gateways speak (PROTOCOL.TXT of
//! `packet_forwarder`, versions 1 and 2).
//!
//! The device is the radio gateway, by its EUI. A packet that it received becomes readings of signal
//! and payload, with the time of the packet; packets with a wrong CRC are left out. The payload stays
//! encrypted: who has the keys can read it behind the broker.
//!
//! PUSH_DATA and PULL_DATA are acknowledged; the former when its readings are on disk.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use proto::{Timestamp, Value, base64};
use serde_json::value::RawValue;

use super::civil;
use super::draft::{DecodeError, Draft, Identity, field_error};
use super::scalar::from_json;

const PUSH_DATA: u8 = 0;
const PUSH_ACK: u8 = 1;
const PULL_DATA: u8 = 2;
const PULL_ACK: u8 = 4;
const TX_ACK: u8 = 5;

type Object<'a> = BTreeMap<String, &'a RawValue>;

/// What a datagram of a forwarder begins with: version, token, kind, EUI.
struct Header<'a> {
    version: u8,
    token: [u8; 2],
    kind: u8,
    body: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (&[version, high, low, kind], body) = datagram.split_first_chunk()?;
        matches!(version, 1 | 2).then_some(Self { version, token: [high, low], kind, body })
    }
}

/// What acknowledges a datagram, if it wants to be (§3.3, §5.3).
pub(super) fn answer(datagram: &[u8]) -> Option<Vec<u8>> {
    let Header { version, token: [high, low], kind, .. } = Header::parse(datagram)?;
    let kind = match kind {
        PUSH_DATA => PUSH_ACK,
        PULL_DATA => PULL_ACK,
        _ => return None,
    };
    Some(vec![version, high, low, kind])
}

/// Reads a datagram.
pub(super) fn decode(datagram: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    let syntax =
        |problem: String| DecodeError::Syntax { expected: "a LoRa gateway's datagram", problem };
    let header = Header::parse(datagram)
        .ok_or_else(|| syntax("it does not begin with a version, a token and a kind".to_owned()))?;
    let routine = |what: &str| DecodeError::Routine { what: what.to_owned() };
    match header.kind {
        PUSH_DATA => {}
        PULL_DATA => return Err(routine("PULL_DATA")),
        TX_ACK => return Err(routine("TX_ACK")),
        kind => return Err(DecodeError::Unsupported { what: "kind", name: kind.to_string() }),
    }
    let (eui, json) = header
        .body
        .split_first_chunk::<8>()
        .ok_or_else(|| syntax("it ends within the EUI".to_owned()))?;
    let device: String = eui.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = std::str::from_utf8(json).map_err(|_| DecodeError::NotText)?;
    let pushed: Pushed<'_> =
        serde_json::from_str(text).map_err(|error| syntax(error.to_string()))?;
    let identity = Identity { device: Some(device), ..Identity::default() };
    let mut drafts = Vec::new();
    for packet in &pushed.rxpk {
        drafts.extend(packet_drafts(packet, &identity)?);
    }
    if let Some(stat) = &pushed.stat {
        drafts.extend(stat_drafts(stat, &identity));
    }
    if drafts.is_empty() { Err(routine("PUSH_DATA of damaged packets")) } else { Ok(drafts) }
}

#[derive(serde::Deserialize)]
struct Pushed<'a> {
    #[serde(default, borrow)]
    rxpk: Vec<Object<'a>>,
    #[serde(default, borrow)]
    stat: Option<Object<'a>>,
}

/// A packet that was received (§4, `rxpk`).
fn packet_drafts(packet: &Object<'_>, identity: &Identity) -> Result<Vec<Draft>, DecodeError> {
    let is_damaged = packet.get("stat").is_some_and(|stat| stat.get() == "-1");
    if is_damaged {
        return Ok(Vec::new());
    }
    let identity =
        Identity { time: text(packet, "time").and_then(|t| utc(&t)), ..identity.clone() };
    let fields = [
        ("rssi", "rssi", "dBm"),
        ("snr", "lsnr", "dB"),
        ("frequency", "freq", "MHz"),
        ("data_rate", "datr", ""),
    ];
    let mut drafts = drafts(packet, &fields, &identity);
    if let Some(data) = text(packet, "data") {
        // Forwarders differ in the alphabet, and in whether there is padding.
        let url_safe = data.trim_end_matches('=').replace('+', "-").replace('/', "_");
        let payload =
            base64::decode(&url_safe).ok_or_else(|| field_error("data", &data, "base64"))?;
        drafts.push(identity.draft("payload", Value::Bytes(payload)));
    }
    Ok(drafts)
}

/// How the gateway is (§4, `stat`).
fn stat_drafts(stat: &Object<'_>, identity: &Identity) -> Vec<Draft> {
    let identity = Identity { time: text(stat, "time").and_then(|t| utc(&t)), ..identity.clone() };
    let fields = [
        ("latitude", "lati", "lat"),
        ("longitude", "long", "lon"),
        ("altitude", "alti", "m"),
        ("packets_received", "rxnb", "count"),
        ("packets_intact", "rxok", "count"),
        ("packets_forwarded", "rxfw", "count"),
        ("acknowledged", "ackr", "%"),
        ("datagrams_down", "dwnb", "count"),
        ("packets_sent", "txnb", "count"),
        ("temperature", "temp", "Cel"),
    ];
    drafts(stat, &fields, &identity)
}

/// Readings of the members that are there: name, member, unit.
fn drafts(object: &Object<'_>, fields: &[(&str, &str, &str)], identity: &Identity) -> Vec<Draft> {
    let draft = |(name, member, unit): &(&str, &str, &str)| {
        let value = from_json(object.get(*member)?)?;
        let unit = (!unit.is_empty()).then(|| (*unit).to_owned());
        Some(Draft { unit, ..identity.draft(name, value) })
    };
    fields.iter().filter_map(draft).collect()
}

fn text(object: &Object<'_>, member: &str) -> Option<String> {
    match from_json(object.get(member)?)? {
        Value::Text(text) => Some(text),
        Value::Number(_) | Value::Boolean(_) | Value::Bytes(_) => None,
    }
}

/// `2013-03-31T16:21:17.528002Z`, or `2014-01-12 08:59:28 GMT`.
fn utc(text: &str) -> Option<Timestamp> {
    let text = text.trim_end_matches(['Z', 'G', 'M', 'T', 'U', 'C']).trim();
    civil::timestamp(text.parse::<DateTime>().ok()?, 0)
}
