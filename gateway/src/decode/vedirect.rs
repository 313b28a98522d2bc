//! VE.Direct's text mode: battery monitors, solar chargers and inverters ("VE.Direct Protocol",
//! Victron Energy, version 3.33).
//!
//! A block is fields of a label and a value; the sum of its bytes is 0 modulo 256. The frame
//! `ve-direct` cuts blocks and takes out what a device says in HEX mode. Values are whole numbers of
//! small units, and become those of larger ones where RFC 8798 has no name for the small one.

use proto::Value;
use proto::checksum::Checksum;

use super::draft::{DecodeError, Draft, field_error};
use super::scalar::{number, parse_value, shifted};

/// What a value is.
enum Kind {
    /// A number × 10^power of a unit.
    Number(i32, &'static str),
    /// `ON` or `OFF`.
    Switch,
    /// Bits in hexadecimal, `0x00000001`.
    Bits,
}

use Kind::{Bits, Number, Switch};

/// Fields, with the names of the readings (tables of "Field descriptions").
const FIELDS: [(&str, &str, Kind); 58] = [
    ("V", "battery_voltage", Number(0, "mV")),
    ("V2", "battery_voltage_2", Number(0, "mV")),
    ("V3", "battery_voltage_3", Number(0, "mV")),
    ("VS", "starter_voltage", Number(0, "mV")),
    ("VM", "mid_voltage", Number(0, "mV")),
    ("DM", "mid_deviation", Number(0, "/1000")),
    ("VPV", "panel_voltage", Number(0, "mV")),
    ("PPV", "panel_power", Number(0, "W")),
    ("I", "battery_current", Number(0, "mA")),
    ("I2", "battery_current_2", Number(0, "mA")),
    ("I3", "battery_current_3", Number(0, "mA")),
    ("IL", "load_current", Number(0, "mA")),
    ("LOAD", "load", Switch),
    ("T", "battery_temperature", Number(0, "Cel")),
    ("P", "power", Number(0, "W")),
    ("CE", "consumed_charge", Number(-3, "Ah")),
    ("SOC", "state_of_charge", Number(-1, "%EL")),
    ("TTG", "time_to_go", Number(0, "min")),
    ("Alarm", "alarm", Switch),
    ("Relay", "relay", Switch),
    ("AR", "alarm_reason", Number(0, "")),
    ("OR", "off_reason", Bits),
    ("WARN", "warning_reason", Number(0, "")),
    ("H1", "deepest_discharge", Number(-3, "Ah")),
    ("H2", "last_discharge", Number(-3, "Ah")),
    ("H3", "average_discharge", Number(-3, "Ah")),
    ("H4", "charge_cycles", Number(0, "count")),
    ("H5", "full_discharges", Number(0, "count")),
    ("H6", "drawn_charge", Number(-3, "Ah")),
    ("H7", "lowest_battery_voltage", Number(0, "mV")),
    ("H8", "highest_battery_voltage", Number(0, "mV")),
    ("H9", "since_full_charge", Number(0, "s")),
    ("H10", "synchronizations", Number(0, "count")),
    ("H11", "low_voltage_alarms", Number(0, "count")),
    ("H12", "high_voltage_alarms", Number(0, "count")),
    ("H13", "low_starter_voltage_alarms", Number(0, "count")),
    ("H14", "high_starter_voltage_alarms", Number(0, "count")),
    ("H15", "lowest_starter_voltage", Number(0, "mV")),
    ("H16", "highest_starter_voltage", Number(0, "mV")),
    ("H17", "discharged_energy", Number(-2, "kWh")),
    ("H18", "charged_energy", Number(-2, "kWh")),
    ("H19", "yield_total", Number(-2, "kWh")),
    ("H20", "yield_today", Number(-2, "kWh")),
    ("H21", "highest_power_today", Number(0, "W")),
    ("H22", "yield_yesterday", Number(-2, "kWh")),
    ("H23", "highest_power_yesterday", Number(0, "W")),
    ("ERR", "error", Number(0, "")),
    ("CS", "state", Number(0, "")),
    ("MODE", "mode", Number(0, "")),
    ("MPPT", "tracker", Number(0, "")),
    ("MON", "monitor_mode", Number(0, "")),
    ("HSDS", "day", Number(0, "")),
    ("AC_OUT_V", "ac_voltage", Number(-2, "V")),
    ("AC_OUT_I", "ac_current", Number(-1, "A")),
    ("AC_OUT_S", "ac_apparent_power", Number(0, "VA")),
    ("DC_IN_V", "dc_voltage", Number(-2, "V")),
    ("DC_IN_I", "dc_current", Number(-1, "A")),
    ("DC_IN_P", "dc_power", Number(0, "W")),
];

/// What names the device or never changes.
const NO_READINGS: [&str; 6] = ["PID", "FW", "FWE", "SER#", "BMV", "Checksum"];

/// Reads a block.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    let syntax = |problem: &str| {
        let problem = problem.to_owned();
        DecodeError::Syntax { expected: "a VE.Direct block", problem }
    };
    let end = frame.len().saturating_sub(1);
    let text = frame.get(..end).unwrap_or_default();
    if !text.ends_with(b"\r\nChecksum\t") {
        return Err(syntax("it does not end with the field `Checksum`"));
    }
    let sum = Checksum::Sum8.of(frame);
    if sum != 0 {
        return Err(DecodeError::Check { found: sum, expected: 0 });
    }
    let text = std::str::from_utf8(text).map_err(|_| DecodeError::NotText)?;
    let fields = text.split("\r\n").filter(|field| !field.is_empty());
    let fields: Vec<_> = fields.filter_map(|field| field.split_once('\t')).collect();
    let serial = fields.iter().find(|(label, _)| *label == "SER#");
    let device = serial.map(|(_, serial)| (*serial).to_owned());
    let mut drafts = Vec::new();
    for (label, value) in fields {
        // What a device does not know it says as dashes, and a time without an end as -1.
        let is_unknown = value == "---" || (label, value) == ("TTG", "-1");
        if !is_unknown && !NO_READINGS.contains(&label) {
            drafts.push(Draft { device: device.clone(), ..draft(label, value)? });
        }
    }
    Ok(drafts)
}

/// A field; one that came later than version 3.33 has its label as its name.
fn draft(label: &str, value: &str) -> Result<Draft, DecodeError> {
    let Some((_, name, kind)) = FIELDS.iter().find(|(known, ..)| *known == label) else {
        return Ok(Draft::new(label, parse_value(value)));
    };
    let (read, unit) = match kind {
        Number(power, unit) => {
            let number = shifted(number(label, value)?, *power);
            (number.map(Value::Number), Some(*unit).filter(|unit| !unit.is_empty()))
        }
        Switch => match &*value.to_ascii_uppercase() {
            "ON" => (Some(Value::Boolean(true)), None),
            "OFF" => (Some(Value::Boolean(false)), None),
            _ => return Err(field_error(label, value, "ON or OFF")),
        },
        Bits => {
            let bits = value.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
            let bits = bits.and_then(|bits| proto::Number::from_decimal(bits.into(), 0));
            (bits.map(Value::Number), None)
        }
    };
    let value = read.ok_or_else(|| field_error(label, value, "a number in its range"))?;
    Ok(Draft { unit: unit.map(str::to_owned), ..Draft::new(*name, value) })
}
