//! What registers mean: from the configuration to points of a master, and from their values to
//! readings. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::modbus::{DecodeError, Limits, Point, UnitConfig};
use proto::{Number, Value};

use crate::config::{Id, ModbusUnit, Register, UnitAddress};
use crate::decode::Draft;

/// The registers of a unit.
#[derive(Debug)]
pub(super) struct Registers {
    /// The name of the device.
    pub(super) device: String,
    /// In the order of the points.
    meanings: Vec<Meaning>,
}

/// What the value of a point means.
#[derive(Debug)]
struct Meaning {
    name: String,
    unit: Option<String>,
    scale: Option<Number>,
    offset: Option<Number>,
    codes: BTreeMap<i64, String>,
}

/// Why a value is no reading.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{name}`: {why}")]
pub(crate) struct NoReading {
    name: String,
    why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum Why {
    #[error("{0}")]
    Decode(DecodeError),
    #[error("with `scale` and `offset` it is larger than any number")]
    TooLarge,
}

impl NoReading {
    /// A short name to count by.
    pub(super) const fn reason(&self) -> &'static str {
        match self.why {
            Why::Decode(error) => error.reason(),
            Why::TooLarge => "too_large",
        }
    }
}

impl Registers {
    /// The registers of a unit of the source `id`, and what its master has to ask for.
    pub(super) fn new(
        id: &Id,
        address: UnitAddress,
        unit: &ModbusUnit,
        timeout: Duration,
    ) -> (Self, UnitConfig) {
        let mut points = Vec::new();
        let mut meanings = Vec::new();
        for (key, register) in &unit.registers {
            // The configuration was checked: every register has a format that fits its place.
            let Some(point) = point(unit, register) else { continue };
            points.push(point);
            meanings.push(Meaning {
                name: register.name.clone().unwrap_or_else(|| key.to_string()),
                unit: register.unit.clone(),
                scale: register.scale.map(|scale| scale.number()),
                offset: register.offset.map(|offset| offset.number()),
                codes: register
                    .values
                    .iter()
                    .map(|(c, text)| (c.integer(), text.clone()))
                    .collect(),
            });
        }
        let device = unit.device.clone().unwrap_or_else(|| format!("{id}-{address}"));
        let timeout = unit.timeout.map_or(timeout, |timeout| timeout.duration());
        let limits = Limits { gap: unit.max_gap, registers: unit.max_read };
        (Self { device, meanings }, UnitConfig { address: address.get(), timeout, points, limits })
    }

    /// The reading of the point at `index`.
    pub(super) fn draft(
        &self,
        index: usize,
        value: Result<Value, DecodeError>,
    ) -> Option<Result<Draft, NoReading>> {
        let meaning = self.meanings.get(index)?;
        let value = value.map_err(Why::Decode).and_then(|value| meaning.of(value));
        Some(match value {
            Ok(value) => Ok(Draft {
                device: Some(self.device.clone()),
                unit: meaning.unit.clone(),
                ..Draft::new(meaning.name.clone(), value)
            }),
            Err(why) => Err(NoReading { name: meaning.name.clone(), why }),
        })
    }
}

impl Meaning {
    fn of(&self, value: Value) -> Result<Value, Why> {
        let Value::Number(number) = value else { return Ok(value) };
        if !self.codes.is_empty() {
            let code = number.as_whole().and_then(|code| i64::try_from(code).ok());
            let text = code.and_then(|code| self.codes.get(&code)).cloned();
            return Ok(Value::Text(text.unwrap_or_else(|| number.to_string())));
        }
        let scaled = match self.scale {
            Some(scale) => number.checked_mul(scale).ok_or(Why::TooLarge)?,
            None => number,
        };
        let moved = match self.offset {
            Some(offset) => scaled.checked_add(offset).ok_or(Why::TooLarge)?,
            None => scaled,
        };
        Ok(Value::Number(moved))
    }
}

fn point(unit: &ModbusUnit, register: &Register) -> Option<Point> {
    let order = register.order.unwrap_or(unit.order).order();
    let interval = register.interval.unwrap_or(unit.interval).duration();
    Point::new(register.table(), register.at, register.format()?, order, interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> ModbusUnit {
        toml::from_str(text).unwrap()
    }

    /// The registers of a unit and what its master has to ask for.
    fn registers(text: &str) -> (Registers, UnitConfig) {
        let (id, address) = ("meter".parse().unwrap(), "7".parse().unwrap());
        Registers::new(&id, address, &unit(text), Duration::from_millis(500))
    }

    fn number(text: &str) -> Result<Value, DecodeError> {
        Ok(Value::Number(text.parse().unwrap()))
    }

    fn shown(registers: &Registers, index: usize, raw: &str) -> String {
        match registers.draft(index, number(raw)).unwrap().unwrap().value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Boolean(_) | Value::Bytes(_) => unreachable!("no such value goes in"),
        }
    }

    #[test]
    fn numbers_are_scaled_exactly_and_codes_have_their_text() {
        let (registers, config) = registers(
            r#"
[registers]
a = { at = 0, scale = 0.1, unit = "V" }
b = { at = 1, scale = 0.01, offset = -273.15 }
c = { at = 2, type = "i16", values = { 0 = "off", -1 = "broken" } }
d = { at = 3, type = "f32", scale = 1e308, name = "D.d" }
"#,
        );
        assert_eq!(shown(&registers, 0, "2301"), "230.1");
        assert_eq!(shown(&registers, 1, "29515"), "22.00");
        assert_eq!(shown(&registers, 2, "0"), "off");
        assert_eq!(shown(&registers, 2, "-1"), "broken");
        assert_eq!(shown(&registers, 2, "5"), "5");
        let draft = registers.draft(0, number("1")).unwrap().unwrap();
        assert_eq!((draft.device.as_deref(), draft.unit.as_deref()), (Some("meter-7"), Some("V")));
        let too_large = registers.draft(3, number("1e10")).unwrap().unwrap_err();
        assert_eq!(too_large.reason(), "too_large");
        assert!(too_large.to_string().starts_with("`D.d`"), "{too_large}");
        let nan = registers.draft(3, Err(DecodeError::NotANumber)).unwrap().unwrap_err();
        assert_eq!(nan.reason(), "not_a_number");
        assert_eq!((config.address, config.timeout), (7, Duration::from_millis(500)));
    }

    #[test]
    fn a_register_has_what_the_unit_says_where_it_says_nothing() {
        let (registers, config) = registers(
            r#"
device = "em24"
interval = "1s"
timeout = "2s"
order = "cdab"
max_gap = 3
max_read = 50
registers.a = { at = 0, type = "u32" }
registers.b = { at = 2, type = "u32", order = "abcd", interval = "5s" }
"#,
        );
        assert_eq!(registers.device, "em24");
        assert_eq!(config.timeout, Duration::from_secs(2));
        assert_eq!(config.limits, Limits { gap: 3, registers: 50 });
        let [a, b] = config.points.as_slice() else { panic!("two points") };
        assert_eq!((a.interval().as_secs(), b.interval().as_secs()), (1, 5));
        let one = |point: &Point| point.decode(point.read(), &[0, 1, 0, 0]).unwrap();
        assert_eq!(one(a), Value::Number(1.into()));
        assert_eq!(one(b), Value::Number(0x1_0000.into()));
    }
}
