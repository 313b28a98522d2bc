//! CoIoT: what Shelly devices of the first generation say about themselves, by multicast.
//!
//! A CoAP message of code 0.30 to 224.0.1.187, port 5683, or to the gateway's address where that is
//! set in the device. Option 3332 holds the device, `SHSW-25#AABBCC112233#2`; the payload is
//! `{"G":[[0,1101,1],[0,4101,42.5]]}`: channel, sensor, value. The sensors are those of the second
//! version of the protocol (firmware 1.8 and later); those of the first have their numbers for names.

use proto::Value;
use proto::coap::Message;
use serde_json::value::RawValue;

use super::draft::{DecodeError, Draft};
use super::scalar::from_json;

/// "Global device identification" (CoIoT for Shelly devices, §3.1).
const DEVICE_OPTION: u16 = 3332;
/// 0.30, in the notation of RFC 7252 §3.
const STATUS: u8 = 30;

/// Reads a status message.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    let syntax = |problem: String| DecodeError::Syntax { expected: "a CoIoT message", problem };
    let message = Message::parse(frame).map_err(|error| syntax(error.fault.to_string()))?;
    let code = message.code();
    if code.as_byte() != STATUS {
        return Err(DecodeError::Unsupported { what: "code", name: code.to_string() });
    }
    let device = message.options().find(|(number, _)| number.0 == DEVICE_OPTION);
    let (_, device) =
        device.ok_or_else(|| DecodeError::Missing { field: "option 3332".to_owned() })?;
    let device = std::str::from_utf8(device).map_err(|_| DecodeError::NotText)?;
    let device = match device.split('#').collect::<Vec<_>>()[..] {
        [model, id, ..] => format!("{model}-{id}"),
        _ => device.to_owned(),
    };
    let payload = std::str::from_utf8(message.payload()).map_err(|_| DecodeError::NotText)?;
    let status: Status<'_> =
        serde_json::from_str(payload).map_err(|error| syntax(error.to_string()))?;
    let mut drafts = Vec::new();
    for Sensor(_, id, value) in status.values {
        if let Some(draft) = draft(id, value) {
            drafts.push(Draft { device: Some(device.clone()), ..draft });
        }
    }
    Ok(drafts)
}

#[derive(serde::Deserialize)]
struct Status<'a> {
    #[serde(rename = "G", borrow)]
    values: Vec<Sensor<'a>>,
}

#[derive(serde::Deserialize)]
struct Sensor<'a>(
    #[expect(dead_code, reason = "sensors differ by number alone")] u32,
    u32,
    #[serde(borrow)] &'a RawValue,
);

/// How a sensor's value is to be read, besides its name and unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// -1 is none.
    Number,
    /// 999 is none.
    Temperature,
    /// 0 or 1; -1 is none.
    Switch,
    /// Text or numbers as they are.
    Plain,
}

/// The reading of a sensor. Its second digit counts relays, meters and lights of a device: 4201 is
/// the power of the second meter, `power_2`.
fn draft(id: u32, raw: &RawValue) -> Option<Draft> {
    let (group, channel, sensor) = (id / 1000, id / 100 % 10, id % 100);
    let (name, unit, kind) = match (group, sensor) {
        _ if channel == 0 || group == 0 => (None, "", Kind::Plain),
        (1, 1) => (Some("output"), "", Kind::Switch),
        (1, 2) => (Some("roller"), "", Kind::Plain),
        (1, 3) => (Some("roller_position"), "%", Kind::Number),
        (2, 1) => (Some("input"), "", Kind::Switch),
        (2, 2) => (Some("input_event"), "", Kind::Plain),
        (2, 3) => (Some("input_events"), "count", Kind::Number),
        (3, 1) => (Some("temperature"), "Cel", Kind::Temperature),
        (3, 3) => (Some("humidity"), "%RH", Kind::Temperature),
        (3, 4) => (Some("device_temperature"), "Cel", Kind::Temperature),
        // The same in degrees Fahrenheit.
        (3, 2 | 5) => return None,
        (3, 6) => (Some("luminosity"), "lx", Kind::Number),
        (3, 11) => (Some("battery"), "%EL", Kind::Number),
        (3, 12) => (Some("charger"), "", Kind::Switch),
        (3, 15) => (Some("sensor_error"), "", Kind::Switch),
        (4, 1 | 5) => (Some("power"), "W", Kind::Number),
        // Watt minutes.
        (4, 3) => (Some("energy"), "Wmin", Kind::Number),
        (4, 6) => (Some("energy"), "Wh", Kind::Number),
        (4, 7) => (Some("energy_returned"), "Wh", Kind::Number),
        (4, 8) => (Some("voltage"), "V", Kind::Number),
        (4, 9) => (Some("current"), "A", Kind::Number),
        (4, 10) => (Some("power_factor"), "", Kind::Plain),
        (5, 1) => (Some("brightness"), "%", Kind::Number),
        (5, 2) => (Some("gain"), "%", Kind::Number),
        (5, 3) => (Some("color_temperature"), "K", Kind::Number),
        (5, 5) => (Some("red"), "", Kind::Number),
        (5, 6) => (Some("green"), "", Kind::Number),
        (5, 7) => (Some("blue"), "", Kind::Number),
        (5, 8) => (Some("white"), "", Kind::Number),
        (6, 1) => (Some("over_temperature"), "", Kind::Switch),
        (6, 2) => (Some("over_power"), "", Kind::Switch),
        (6, 6) => (Some("flood"), "", Kind::Switch),
        (6, 7) => (Some("motion"), "", Kind::Switch),
        (6, 9) => (Some("over_power_value"), "W", Kind::Number),
        (9, 1) => (Some("mode"), "", Kind::Plain),
        (9, 2) => (Some("wake_up_event"), "", Kind::Plain),
        (9, 3) => (Some("configuration_changes"), "count", Kind::Number),
        _ => (None, "", Kind::Plain),
    };
    let value = value(kind, raw)?;
    let name = match name {
        Some(name) if channel > 1 => format!("{name}_{channel}"),
        Some(name) => name.to_owned(),
        None => id.to_string(),
    };
    let unit = (!unit.is_empty()).then(|| unit.to_owned());
    Some(Draft { unit, ..Draft::new(name, value) })
}

fn value(kind: Kind, raw: &RawValue) -> Option<Value> {
    // Why a device woke up is a list of reasons.
    if raw.get().starts_with('[') {
        let reasons: Vec<String> = serde_json::from_str(raw.get()).ok()?;
        return Some(Value::Text(reasons.join(",")));
    }
    let value = from_json(raw)?;
    let Value::Number(number) = value else { return Some(value) };
    match (kind, number.as_whole()) {
        (Kind::Number | Kind::Switch, Some(-1)) | (Kind::Temperature, Some(999)) => None,
        (Kind::Switch, Some(switch @ (0 | 1))) => Some(Value::Boolean(switch == 1)),
        _ => Some(value),
    }
}
