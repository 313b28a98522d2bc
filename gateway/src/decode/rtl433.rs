//! Radio sensors that rtl_433 receives: its JSON, as it is or in syslog messages (RFC 5424), which
//! `rtl_433 -F syslog:gateway:7433` sends over UDP.
//!
//! The device is model, channel and id, as in rtl_433's own topics. A member is named without its
//! unit: `temperature_C` is the reading `temperature` in `Cel`. Without a time with a zone in it, the
//! time is that of the syslog header, and else the gateway's.

use std::collections::BTreeMap;

use proto::{Timestamp, Value};
use serde_json::value::RawValue;

use super::draft::{DecodeError, Draft, Identity};
use super::scalar::from_json;

/// Members that name the device.
const DEVICE: [&str; 4] = ["model", "subtype", "channel", "id"];
/// Members that say how a message was received.
const NO_READINGS: [&str; 5] = ["time", "mic", "mod", "protocol", "raw_msg"];
/// How members end that have a unit, and the unit by RFC 8428 and RFC 8798.
const UNITS: [(&str, &str); 22] = [
    ("_ug_m3", "ug/m3"),
    ("_km_h", "km/h"),
    ("_m_s", "m/s"),
    ("_mi_h", "mi/h"),
    ("_mm_h", "mm/h"),
    ("_kWh", "kWh"),
    ("_kPa", "kPa"),
    ("_hPa", "hPa"),
    ("_PSI", "psi"),
    ("_ppm", "ppm"),
    ("_lux", "lx"),
    ("_deg", "deg"),
    ("_mV", "mV"),
    ("_kW", "kW"),
    ("_dB", "dB"),
    ("_Hz", "Hz"),
    ("_mm", "mm"),
    ("_C", "Cel"),
    ("_F", "degF"),
    ("_V", "V"),
    ("_A", "A"),
    ("_W", "W"),
];

/// Reads a message.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    let text = std::str::from_utf8(frame).map_err(|_| DecodeError::NotText)?.trim();
    let (sent, json) = match text.starts_with('<') {
        true => syslog(text)?,
        false => (None, text),
    };
    let object: BTreeMap<String, &RawValue> = serde_json::from_str(json).map_err(|error| {
        DecodeError::Syntax { expected: "a JSON object of rtl_433", problem: error.to_string() }
    })?;
    let parts = DEVICE.iter().filter_map(|key| plain(from_json(object.get(*key)?)?));
    let device = Some(parts.collect::<Vec<_>>().join("-")).filter(|name| !name.is_empty());
    let time = object.get("time").and_then(|raw| from_json(raw)).and_then(plain);
    let time = time.and_then(|time| rfc3339(&time)).or(sent);
    let identity = Identity { device, time, ..Identity::default() };
    let drafts = object.iter().filter_map(|(key, raw)| {
        let is_identity = DEVICE.contains(&&**key) || NO_READINGS.contains(&&**key);
        let value = from_json(raw).filter(|_| !is_identity)?;
        let (name, unit) = quantity(key);
        let unit = unit.filter(|_| matches!(value, Value::Number(_))).map(str::to_owned);
        Some(Draft { unit, ..identity.draft(name, value) })
    });
    Ok(drafts.collect())
}

/// The time and the text of a syslog message (RFC 5424 §6): priority and version, time, host,
/// program, process, kind, structured data, text.
fn syslog(message: &str) -> Result<(Option<Timestamp>, &str), DecodeError> {
    let fields: Vec<_> = message.splitn(8, ' ').collect();
    match fields[..] {
        [priority, time, _, _, _, _, "-", text] if priority.ends_with(">1") => {
            Ok((rfc3339(time), text.trim_start_matches('\u{feff}')))
        }
        _ => Err(DecodeError::Syntax {
            expected: "a syslog message",
            problem: "it does not begin with the header of RFC 5424".to_owned(),
        }),
    }
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

fn plain(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Boolean(_) | Value::Bytes(_) => None,
    }
}

/// The name of a member without its unit.
fn quantity(key: &str) -> (&str, Option<&'static str>) {
    if key == "humidity" {
        return (key, Some("%RH"));
    }
    UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((key.strip_suffix(suffix)?, Some(*unit))))
        .filter(|(name, _)| !name.is_empty())
        .unwrap_or((key, None))
}
