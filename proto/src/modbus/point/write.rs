//! The request that writes a value: the inverse of [`Point::decode`].

use alloc::vec::Vec;

use crate::{Number, Value};

use super::super::{Request, Table};
use super::{Format, Point};

/// Why a value cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// Neither a number nor a boolean.
    #[error("a number is expected")]
    NotANumber,
    /// Neither a boolean nor 0 or 1.
    #[error("true or false is expected")]
    NotABit,
    /// No text.
    #[error("text is expected")]
    NotText,
    /// A number with a fraction, or out of range.
    #[error("a whole number from {min} to {max} is expected")]
    OutOfRange {
        /// The lowest that fits.
        min: i128,
        /// The highest that fits.
        max: i128,
    },
    /// A number beyond the largest float.
    #[error("it is too large for a float of its size")]
    TooLarge,
    /// More bytes than there are in its registers.
    #[error("text of at most {max} bytes is expected")]
    TooLong {
        /// Bytes that fit.
        max: usize,
    },
    /// A table that is read only, or a bit of a register, whose other bits nobody knows.
    #[error("it cannot be written")]
    ReadOnly,
}

impl Point {
    /// The request that makes it hold `value`: function 5 for a coil, 6 for a single register unless
    /// `multiple` is wanted, 16 for others.
    pub fn write(&self, value: &Value, multiple: bool) -> Result<Request, WriteError> {
        let address = self.read.address();
        match self.read.table() {
            Table::Coils => match value {
                Value::Boolean(on) => Ok(Request::WriteCoil { address, on: *on }),
                Value::Number(number) => match number.as_whole() {
                    Some(bit @ (0 | 1)) => Ok(Request::WriteCoil { address, on: bit == 1 }),
                    _ => Err(WriteError::NotABit),
                },
                Value::Text(_) | Value::Bytes(_) => Err(WriteError::NotABit),
            },
            Table::HoldingRegisters => {
                let words = self.words(value)?;
                Ok(match (words.as_slice(), multiple) {
                    ([value], false) => Request::WriteRegister { address, value: *value },
                    _ => Request::WriteRegisters { address, values: words },
                })
            }
            Table::DiscreteInputs | Table::InputRegisters => Err(WriteError::ReadOnly),
        }
    }

    fn words(&self, value: &Value) -> Result<Vec<u16>, WriteError> {
        if let Format::Text(registers) = self.format {
            return self.text_words(value, registers);
        }
        let number = match value {
            Value::Number(number) => *number,
            Value::Boolean(value) => Number::from(u64::from(*value)),
            Value::Text(_) | Value::Bytes(_) => return Err(WriteError::NotANumber),
        };
        self.check(number)?;
        // Bits of a register are all that has no numbers.
        let data = self.encode(number).ok_or(WriteError::ReadOnly)?;
        Ok(data.as_chunks::<2>().0.iter().copied().map(u16::from_be_bytes).collect())
    }

    /// Whether there is room for a number as it is.
    fn check(&self, number: Number) -> Result<(), WriteError> {
        let bits = 16 * u32::from(self.format.count());
        let integer = |min: i128, max: i128| {
            let is_inside = number.as_whole().is_some_and(|whole| (min..=max).contains(&whole));
            if is_inside { Ok(()) } else { Err(WriteError::OutOfRange { min, max }) }
        };
        let float = |max: f64| {
            let is_inside = number.as_f64().abs() <= max;
            if is_inside { Ok(()) } else { Err(WriteError::TooLarge) }
        };
        match self.format {
            Format::U16 | Format::U32 | Format::U64 => integer(0, (1 << bits) - 1),
            Format::I16 | Format::I32 | Format::I64 => {
                integer(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
            }
            Format::F32 => float(f32::MAX.into()),
            Format::F64 => float(f64::MAX),
            Format::Bool | Format::Bit(_) | Format::Text(_) => Ok(()),
        }
    }

    /// Words of a text stay in their order; what it does not fill is zero.
    fn text_words(&self, value: &Value, registers: u16) -> Result<Vec<u16>, WriteError> {
        let Value::Text(text) = value else { return Err(WriteError::NotText) };
        let max = usize::from(registers) * 2;
        if text.len() > max {
            return Err(WriteError::TooLong { max });
        }
        let mut bytes = text.clone().into_bytes();
        bytes.resize(max, 0);
        Ok(bytes.as_chunks::<2>().0.iter().map(|word| self.word(*word)).collect())
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::super::super::Order;
    use super::*;

    const ORDERS: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];

    fn point(format: Format, order: Order) -> Point {
        let table = if format == Format::Bool { Table::Coils } else { Table::HoldingRegisters };
        Point::new(table, 7, format, order, Duration::from_secs(1)).unwrap()
    }

    fn number(text: &str) -> Value {
        Value::Number(text.parse().unwrap())
    }

    /// The data of a read of what a request has written.
    fn written(request: &Request) -> Vec<u8> {
        match request {
            Request::WriteRegister { value, .. } => value.to_be_bytes().into(),
            Request::WriteRegisters { values, .. } => {
                values.iter().flat_map(|value| value.to_be_bytes()).collect()
            }
            Request::WriteCoil { on, .. } => alloc::vec![u8::from(*on)],
            Request::Read(_) | Request::WriteCoils { .. } => unreachable!("no such request"),
        }
    }

    #[test]
    fn one_register_is_function_6_and_more_are_16() {
        let one = point(Format::U16, Order::Abcd);
        let request = one.write(&number("215.0"), false).unwrap();
        assert_eq!(request, Request::WriteRegister { address: 7, value: 215 });
        let request = one.write(&number("215"), true).unwrap();
        assert_eq!(request, Request::WriteRegisters { address: 7, values: [215].into() });
        let two = point(Format::F32, Order::Cdab).write(&number("123.456"), false).unwrap();
        assert_eq!(two, Request::WriteRegisters { address: 7, values: [0xe979, 0x42f6].into() });
        let coil = point(Format::Bool, Order::Abcd).write(&Value::Boolean(true), false).unwrap();
        assert_eq!(coil.encode().unwrap(), [5, 0, 7, 0xff, 0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let write = |format, value: &Value| point(format, Order::Abcd).write(value, false);
        let range = |min, max| Err(WriteError::OutOfRange { min, max });
        assert_eq!(write(Format::U16, &number("65536")), range(0, 65_535));
        assert_eq!(write(Format::U16, &number("-1")), range(0, 65_535));
        assert_eq!(write(Format::U16, &number("21.5")), range(0, 65_535));
        assert_eq!(write(Format::I16, &number("32768")), range(-32_768, 32_767));
        assert!(write(Format::U64, &number("18446744073709551615")).is_ok());
        assert!(write(Format::U64, &number("18446744073709551616")).is_err());
        assert!(write(Format::I64, &number("-9223372036854775808")).is_ok());
        assert_eq!(write(Format::F32, &number("1e39")), Err(WriteError::TooLarge));
        assert_eq!(write(Format::U16, &Value::Text("1".into())), Err(WriteError::NotANumber));
        assert_eq!(write(Format::Bool, &number("2")), Err(WriteError::NotABit));
        assert_eq!(write(Format::Bit(3), &Value::Boolean(true)), Err(WriteError::ReadOnly));
        let long = Value::Text("EM24-".into());
        assert_eq!(write(Format::Text(2), &long), Err(WriteError::TooLong { max: 4 }));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(raw: i64, order in 0_usize..4, which in 0_usize..9) {
            let (format, value) = match which {
                0 => (Format::U16, Number::from(raw.cast_unsigned() & 0xffff)),
                1 => (Format::U32, Number::from(raw.cast_unsigned() & 0xffff_ffff)),
                2 => (Format::U64, Number::from(raw.cast_unsigned())),
                3 => (Format::I16, Number::from(raw % 0x8000)),
                4 => (Format::I32, Number::from(raw % 0x8000_0000)),
                5 => (Format::I64, Number::from(raw)),
                6 => (Format::F32, Number::from(raw % 0x100_0000)),
                7 => (Format::F64, Number::from(raw % 0x100_0000_0000)),
                _ => (Format::Bool, Number::from(raw & 1)),
            };
            let value = if format == Format::Bool {
                Value::Boolean(value.as_whole() == Some(1))
            } else {
                Value::Number(value)
            };
            let point = point(format, ORDERS[order]);
            let request = point.write(&value, false).unwrap();
            let read = point.decode(point.read(), &written(&request)).unwrap();
            match (&read, &value) {
                (Value::Number(read), Value::Number(value)) => prop_assert!(read.compare(*value).is_eq()),
                _ => prop_assert_eq!(&read, &value),
            }
        }

        #[test]
        fn text_reads_back(text in "[!-~]{0,8}", order in 0_usize..4) {
            let point = point(Format::Text(4), ORDERS[order]);
            let request = point.write(&Value::Text(text.clone()), false).unwrap();
            let read = point.decode(point.read(), &written(&request)).unwrap();
            prop_assert_eq!(read, Value::Text(text));
        }
    }
}
