//! A value as a request of Modbus, and what is read back as a value: the inverse of what registers mean.

use std::time::Duration;

use proto::modbus::{DecodeError, Point, Request, Table, WriteError};
use proto::{Number, Value};

use super::super::super::values::unscaled;
use super::super::{Register, RegisterOrder, RegisterTable};
use super::ModbusVia;

/// Why a value cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Unwritable {
    #[error("without `scale` and `offset` it is no number")]
    Scale,
    #[error("{0}")]
    Write(#[from] WriteError),
    #[error("{0}, after `scale` and `offset`")]
    Scaled(WriteError),
}

impl ModbusVia {
    /// Where it is, in a unit of this order.
    pub(crate) fn point(&self, order: RegisterOrder) -> Option<Point> {
        let table = if self.coil { RegisterTable::Coil } else { RegisterTable::Holding };
        let register = Register {
            at: self.at,
            table,
            kind: self.kind,
            bit: None,
            length: self.length,
            order: self.order,
            scale: None,
            offset: None,
            unit: None,
            values: Default::default(),
            interval: None,
            name: None,
        };
        let order = self.order.unwrap_or(order).order();
        // Nobody reads it again and again.
        Point::new(register.table(), self.at, register.format()?, order, Duration::ZERO)
    }

    /// The request that makes it so.
    pub(crate) fn request(&self, point: &Point, value: &Value) -> Result<Request, Unwritable> {
        let is_scaled = self.scale.is_some() || self.offset.is_some();
        match value {
            Value::Number(number) if point.read().table() != Table::Coils => {
                let raw = unscaled(*number, self.scale, self.offset).ok_or(Unwritable::Scale)?;
                let request = point.write(&Value::Number(raw), self.multiple);
                request.map_err(|why| match is_scaled {
                    true => Unwritable::Scaled(why),
                    false => Unwritable::Write(why),
                })
            }
            Value::Number(_) | Value::Boolean(_) | Value::Text(_) | Value::Bytes(_) => {
                Ok(point.write(value, self.multiple)?)
            }
        }
    }

    /// The value in the `data` of a read of the point; a number with its scale and offset.
    pub(crate) fn value(&self, point: &Point, data: &[u8]) -> Result<Value, DecodeError> {
        let value = point.decode(point.read(), data)?;
        let Value::Number(raw) = value else { return Ok(value) };
        let scaled = match self.scale {
            Some(scale) => raw.checked_mul(scale.number()),
            None => Some(raw),
        };
        let moved = match self.offset {
            Some(offset) => scaled.and_then(|scaled| scaled.checked_add(offset.number())),
            None => scaled,
        };
        moved.map(Number::trimmed).map(Value::Number).ok_or(DecodeError::NotANumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &str) -> (ModbusVia, Point) {
        let via: ModbusVia = toml::from_str(text).unwrap();
        let point = via.point(RegisterOrder::Abcd).unwrap();
        (via, point)
    }

    fn number(text: &str) -> Value {
        Value::Number(text.parse().unwrap())
    }

    #[test]
    fn a_number_is_scaled_exactly_and_comes_back_as_it_was() {
        let (via, point) = via("at = 3\nscale = 0.1\noffset = -50");
        let request = via.request(&point, &number("21.5")).unwrap();
        assert_eq!(request, Request::WriteRegister { address: 3, value: 715 });
        assert_eq!(via.value(&point, &715_u16.to_be_bytes()).unwrap(), number("21.5"));
        let error = via.request(&point, &number("21.57")).unwrap_err().to_string();
        assert_eq!(error, "a whole number from 0 to 65535 is expected, after `scale` and `offset`");
        assert!(via.request(&point, &number("-50.1")).is_err());
        assert!(via.request(&point, &number("7000")).is_err());
    }

    #[test]
    fn each_kind_of_place_takes_its_kind_of_value() {
        let (coil, point) = via("at = 1\ncoil = true");
        let on = coil.request(&point, &Value::Boolean(true)).unwrap();
        assert_eq!(on, Request::WriteCoil { address: 1, on: true });
        assert!(coil.request(&point, &number("2")).is_err());
        assert_eq!(coil.value(&point, &[1]).unwrap(), Value::Boolean(true));
        let (float, point) = via("at = 1\nholds = \"f32\"\norder = \"cdab\"");
        let request = float.request(&point, &number("123.456")).unwrap();
        let values = vec![0xe979, 0x42f6];
        assert_eq!(request, Request::WriteRegisters { address: 1, values });
        let (text, point) = via("at = 1\nholds = \"string\"\nlength = 2");
        let request = text.request(&point, &Value::Text("abc".into())).unwrap();
        let values = vec![0x6162, 0x6300];
        assert_eq!(request, Request::WriteRegisters { address: 1, values });
        let (several, point) = via("at = 1\nmultiple = true");
        let request = several.request(&point, &number("7")).unwrap();
        assert_eq!(request, Request::WriteRegisters { address: 1, values: vec![7] });
    }

    #[test]
    fn what_contradicts_itself_is_no_place() {
        for text in [
            "at = 1\ncoil = true\nholds = \"u16\"",
            "at = 1\nholds = \"bool\"",
            "at = 1\nholds = \"string\"",
            "at = 1\nlength = 2",
            "at = 65535\nholds = \"f32\"",
        ] {
            let via: ModbusVia = toml::from_str(text).unwrap();
            assert!(via.point(RegisterOrder::Abcd).is_none(), "{text}");
        }
    }
}
