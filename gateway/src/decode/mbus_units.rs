//! What an M-Bus record is: value information, VIF and its extensions (EN 13757-3 §6.4).

use proto::{Number, Value};

use super::scalar::shifted;

/// What a record measures, and how its number becomes a value.
#[derive(Debug)]
pub(super) struct Quantity {
    pub(super) name: String,
    pub(super) unit: Option<String>,
    power: i32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Number,
    /// An identifier, whose bytes are one number without a sign.
    Unsigned,
    /// Bits, as a number without a sign.
    Flags,
    /// Type G, or F with four bytes.
    Date,
}

/// The quantity of a VIF and its extensions; `text` is the unit of a VIF in plain text. What is not
/// known has its bytes for a name, so that it stands for nothing else.
pub(super) fn quantity(vif: u8, extensions: &[u8], text: Option<String>) -> Quantity {
    let (known, code, rest) = match (vif, extensions) {
        (0x7d, [code, rest @ ..]) => (extension_fd(*code), format!("fd{code:02x}"), rest),
        (0x7b, [code, rest @ ..]) => (extension_fb(*code), format!("fb{code:02x}"), rest),
        (vif, rest) => (primary(vif), format!("{vif:02x}"), rest),
    };
    let (name, unit, power, kind) = known.unwrap_or(("", "", 0, Kind::Number));
    let mut quantity = match text {
        Some(text) => {
            let (name, unit) = plain(text.trim());
            Quantity { name, unit: Some(unit), power: 0, kind: Kind::Number }
        }
        None => {
            let name = if name.is_empty() { format!("vif.{code}") } else { name.to_owned() };
            let unit = (!unit.is_empty()).then(|| unit.to_owned());
            Quantity { name, unit, power, kind }
        }
    };
    for extension in rest {
        match extension {
            // A factor of 10^-6 to 10, and of 1000.
            0x70..=0x77 => quantity.power += i32::from(extension & 7) - 6,
            0x7d => quantity.power += 3,
            // Counted only in one direction.
            0x3b => quantity.name.push_str(".forward"),
            0x3c => quantity.name.push_str(".backward"),
            other => quantity.name.push_str(&format!(".vife{other:02x}")),
        }
    }
    quantity
}

impl Quantity {
    /// The value of a number.
    pub(super) fn value(&self, number: Number) -> Option<Value> {
        match self.kind {
            Kind::Number | Kind::Flags => shifted(number, self.power).map(Value::Number),
            Kind::Unsigned => Some(Value::Text(number.to_string())),
            Kind::Date => None,
        }
    }

    /// The value of a whole number of one to 15 bytes, the lowest first.
    pub(super) fn of_bytes(&self, bytes: &[u8]) -> Option<Value> {
        let signed = self.kind == Kind::Number;
        let negative = signed && bytes.last()? & 0x80 != 0;
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
        match self.kind {
            Kind::Number | Kind::Unsigned | Kind::Flags => {
                self.value(Number::from_decimal(i128::from_le_bytes(wide), 0)?)
            }
            Kind::Date => date(bytes).map(Value::Text),
        }
    }
}

/// A date, with a time where there are four bytes (EN 13757-3 annex A, types G and F); 0 and all
/// bits set are how meters say that there is none.
fn date(bytes: &[u8]) -> Option<String> {
    let (time, [low, high]) = match *bytes {
        [low, high] => (None, [low, high]),
        [minute, hour, low, high] => (Some((hour & 0x1f, minute)), [low, high]),
        _ => return None,
    };
    let (day, month) = (low & 0x1f, high & 0x0f);
    let year = 2000 + u16::from(low >> 5 | (high & 0xf0) >> 1);
    if !(1..=31).contains(&day) || !(1..=12).contains(&month) || year > 2099 {
        return None;
    }
    match time {
        None => Some(format!("{year}-{month:02}-{day:02}")),
        // The top bit says that the time is not valid.
        Some((hour @ 0..=23, minute @ 0..=59)) => {
            Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}"))
        }
        Some((hour @ 0..=23, minute)) if minute & 0xc0 == 0x40 => {
            let minute = minute & 0x3f;
            Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}"))
        }
        Some(_) => None,
    }
}

/// A unit in plain text, and what is measured in it.
fn plain(unit: &str) -> (String, String) {
    let (name, unit) = match unit {
        "%RH" => ("humidity", "%RH"),
        "" => ("value", ""),
        other => ("value", other),
    };
    (name.to_owned(), unit.to_owned())
}

type Known = (&'static str, &'static str, i32, Kind);

/// EN 13757-3 table 10; units by RFC 8428 and RFC 8798 where they have them.
fn primary(vif: u8) -> Option<Known> {
    let number = |name, unit, power| Some((name, unit, power, Kind::Number));
    let (n, quarter) = (i32::from(vif & 7), i32::from(vif & 3));
    let span = |name| match vif & 3 {
        0 => number(name, "s", 0),
        1 => number(name, "min", 0),
        2 => number(name, "h", 0),
        _ => number(name, "d", 0),
    };
    match vif {
        0x00..=0x07 => number("energy", "Wh", n - 3),
        0x08..=0x0f => number("energy", "J", n),
        0x10..=0x17 => number("volume", "m3", n - 6),
        0x18..=0x1f => number("mass", "kg", n - 3),
        0x20..=0x23 => span("on_time"),
        0x24..=0x27 => span("operating_time"),
        0x28..=0x2f => number("power", "W", n - 3),
        0x30..=0x37 => number("power", "J/h", n),
        0x38..=0x3f => number("volume_flow", "m3/h", n - 6),
        0x40..=0x47 => number("volume_flow", "m3/min", n - 7),
        0x48..=0x4f => number("volume_flow", "m3/s", n - 9),
        0x50..=0x57 => number("mass_flow", "kg/h", n - 3),
        0x58..=0x5b => number("flow_temperature", "Cel", quarter - 3),
        0x5c..=0x5f => number("return_temperature", "Cel", quarter - 3),
        0x60..=0x63 => number("temperature_difference", "K", quarter - 3),
        0x64..=0x67 => number("external_temperature", "Cel", quarter - 3),
        // Bars.
        0x68..=0x6b => number("pressure", "hPa", quarter),
        0x6c => Some(("date", "", 0, Kind::Date)),
        0x6d => Some(("time", "", 0, Kind::Date)),
        0x6e => number("heat_cost", "", 0),
        0x70..=0x73 => span("averaging_duration"),
        0x74..=0x77 => span("actuality_duration"),
        0x78 => Some(("fabrication_number", "", 0, Kind::Unsigned)),
        0x79 => Some(("identification", "", 0, Kind::Unsigned)),
        0x7a => number("bus_address", "", 0),
        _ => None,
    }
}

/// EN 13757-3 table 14.
fn extension_fd(code: u8) -> Option<Known> {
    let number = |name, unit, power| Some((name, unit, power, Kind::Number));
    let unsigned = |name| Some((name, "", 0, Kind::Unsigned));
    let flags = |name| Some((name, "", 0, Kind::Flags));
    let nibble = i32::from(code & 0x0f);
    match code {
        0x08 => number("access_number", "", 0),
        0x0a => unsigned("manufacturer"),
        0x0b => unsigned("parameter_set"),
        0x0c => unsigned("model_version"),
        0x0d => unsigned("hardware_version"),
        0x0e => unsigned("firmware_version"),
        0x0f => unsigned("software_version"),
        0x11 => unsigned("customer"),
        0x17 => flags("error_flags"),
        0x1a => flags("digital_output"),
        0x1b => flags("digital_input"),
        0x3a => number("value", "", 0),
        0x40..=0x4f => number("voltage", "V", nibble - 9),
        0x50..=0x5f => number("current", "A", nibble - 12),
        0x60 => number("resets", "count", 0),
        0x61 => number("cumulations", "count", 0),
        0x74 => number("battery_life", "d", 0),
        _ => None,
    }
}

/// EN 13757-3 table 12.
fn extension_fb(code: u8) -> Option<Known> {
    let number = |name, unit, power| Some((name, unit, power, Kind::Number));
    let (bit, quarter) = (i32::from(code & 1), i32::from(code & 3));
    match code {
        // Megawatt hours, gigajoules, tonnes and megawatts.
        0x00 | 0x01 => number("energy", "Wh", bit + 5),
        0x08 | 0x09 => number("energy", "J", bit + 8),
        0x10 | 0x11 => number("volume", "m3", bit + 2),
        0x18 | 0x19 => number("mass", "kg", bit + 5),
        0x1a | 0x1b => number("humidity", "%RH", bit - 1),
        0x28 | 0x29 => number("power", "W", bit + 5),
        0x74..=0x77 => number("cold_warm_temperature_limit", "Cel", quarter - 3),
        _ => None,
    }
}
