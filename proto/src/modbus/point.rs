//! Values in registers.
//!
//! The standard says that a register is sent with its high byte first (AP §4.2), and nothing about
//! values that are longer. Devices differ in both, so the order is said for each.

mod write;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::{Number, Value};

use super::request::bit;
use super::{Read, Table};

pub use write::WriteError;

/// How many bits a register has.
const REGISTER_BITS: u8 = 16;

/// What registers hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A coil or a discrete input.
    Bool,
    /// A bit of a register; 0 is the lowest.
    Bit(u8),
    /// 16 bits without a sign.
    U16,
    /// 16 bits, two's complement.
    I16,
    /// 32 bits without a sign.
    U32,
    /// 32 bits, two's complement.
    I32,
    /// 64 bits without a sign.
    U64,
    /// 64 bits, two's complement.
    I64,
    /// IEEE 754, single precision.
    F32,
    /// IEEE 754, double precision.
    F64,
    /// Text in so many registers, up to a zero byte and without spaces at its end.
    Text(u16),
}

impl Format {
    /// Registers or bits that it takes.
    #[must_use]
    pub const fn count(self) -> u16 {
        match self {
            Self::Bool | Self::Bit(_) | Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
            Self::Text(registers) => registers,
        }
    }
}

/// In which order the bytes of a value come, as they are named for 32 bits of which A is the
/// highest byte.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Order {
    /// High word first, high byte first.
    #[default]
    Abcd,
    /// Low word first, high byte first.
    Cdab,
    /// High word first, low byte first.
    Badc,
    /// Low word first, low byte first.
    Dcba,
}

impl Order {
    const fn has_low_word_first(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba)
    }

    const fn has_low_byte_first(self) -> bool {
        matches!(self, Self::Badc | Self::Dcba)
    }
}

/// Why registers hold no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// A float that is infinite or none.
    #[error("it is not a number: see `type` and `order`, or the device has no value")]
    NotANumber,
    /// Text that is not UTF-8.
    #[error("it is not text: see `type` and `order`")]
    NotText,
}

impl DecodeError {
    /// A short name to count by.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotANumber => "not_a_number",
            Self::NotText => "not_text",
        }
    }
}

/// A value of a unit, and how often it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    read: Read,
    format: Format,
    order: Order,
    interval: Duration,
}

impl Point {
    /// `None` where the table cannot hold it or one request cannot read it.
    #[must_use]
    pub fn new(
        table: Table,
        address: u16,
        format: Format,
        order: Order,
        interval: Duration,
    ) -> Option<Self> {
        let is_inside = !matches!(format, Format::Bit(bit) if bit >= REGISTER_BITS);
        let fits = table.is_bits() == (format == Format::Bool) && is_inside;
        let read = Read::new(table, address, format.count())?;
        // An interval of nothing would leave no time for others.
        let interval = interval.max(Duration::from_millis(1));
        fits.then_some(Self { read, format, order, interval })
    }

    /// Where it is.
    #[must_use]
    pub const fn read(&self) -> Read {
        self.read
    }

    /// Time between two reads.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Its value in the `data` of a `read` that covers it.
    pub fn decode(&self, read: Read, data: &[u8]) -> Result<Value, DecodeError> {
        let offset = usize::from(self.read.address().saturating_sub(read.address()));
        if self.format == Format::Bool {
            return Ok(Value::Boolean(bit(data, offset)));
        }
        let (start, len) = (offset * 2, usize::from(self.read.count()) * 2);
        self.value(data.get(start..start + len).unwrap_or_default())
    }

    /// The registers that hold a number, as a server sends them. Integers are rounded, and what has no
    /// room is cut to the nearest that has; `None` for bits and text.
    #[must_use]
    pub fn encode(&self, number: Number) -> Option<Vec<u8>> {
        let bits = u32::from(self.format.count()) * u32::from(REGISTER_BITS);
        let whole = |least: i128, most: i128| {
            let saturated = if number.mantissa() < 0 { least } else { most };
            number.scaled_to_integer(0).unwrap_or(saturated).clamp(least, most)
        };
        let raw = match self.format {
            Format::U16 | Format::U32 | Format::U64 => whole(0, (1 << bits) - 1),
            Format::I16 | Format::I32 | Format::I64 => {
                whole(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
            }
            Format::F32 => single(number.as_f64()).to_bits().into(),
            Format::F64 => number.as_f64().to_bits().into(),
            Format::Bool | Format::Bit(_) | Format::Text(_) => return None,
        };
        let bytes = raw.to_be_bytes();
        let used = bytes.len() - usize::from(self.format.count()) * 2;
        let (words, _) = bytes.get(used..)?.as_chunks::<2>();
        let mut words: Vec<u16> = words.iter().map(|word| self.word(*word)).collect();
        if self.order.has_low_word_first() {
            words.reverse();
        }
        Some(words.into_iter().flat_map(u16::to_be_bytes).collect())
    }

    fn value(&self, data: &[u8]) -> Result<Value, DecodeError> {
        if matches!(self.format, Format::Text(_)) {
            return self.text(data);
        }
        let (words, _) = data.as_chunks::<2>();
        let word = |index: usize| {
            let index = match self.order.has_low_word_first() {
                true => words.len() - 1 - index,
                false => index,
            };
            self.word(words.get(index).copied().unwrap_or_default())
        };
        let raw = (0..words.len()).fold(0, |raw, index| raw << 16 | u64::from(word(index)));
        let unused =
            u32::from(u16::from(REGISTER_BITS) * (4_u16.saturating_sub(self.format.count())));
        let signed = (raw << unused).cast_signed() >> unused;
        let number = match self.format {
            Format::Bool => return Ok(Value::Boolean(raw != 0)),
            Format::Bit(bit) => return Ok(Value::Boolean(raw >> bit & 1 == 1)),
            Format::U16 | Format::U32 | Format::U64 | Format::Text(_) => Some(Number::from(raw)),
            Format::I16 | Format::I32 | Format::I64 => Some(Number::from(signed)),
            Format::F32 => Number::from_f32(f32::from_bits(u32::try_from(raw).unwrap_or(u32::MAX))),
            Format::F64 => Number::from_f64(f64::from_bits(raw)),
        };
        number.map(Value::Number).ok_or(DecodeError::NotANumber)
    }

    /// Words of a text stay in their order, whatever that of numbers is.
    fn text(&self, data: &[u8]) -> Result<Value, DecodeError> {
        let (words, _) = data.as_chunks::<2>();
        let bytes = words.iter().flat_map(|word| self.word(*word).to_be_bytes());
        let mut bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        bytes.truncate(bytes.trim_ascii_end().len());
        String::from_utf8(bytes).map(Value::Text).map_err(|_| DecodeError::NotText)
    }

    fn word(&self, bytes: [u8; 2]) -> u16 {
        match self.order.has_low_byte_first() {
            true => u16::from_le_bytes(bytes),
            false => u16::from_be_bytes(bytes),
        }
    }
}

/// The nearest single; beyond the largest one, that.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
const fn single(number: f64) -> f32 {
    (number as f32).clamp(f32::MIN, f32::MAX)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    fn value(format: Format, order: Order, data: &[u8]) -> Result<Value, DecodeError> {
        let second = Duration::from_secs(1);
        let point = Point::new(Table::HoldingRegisters, 7, format, order, second).unwrap();
        // Two registers before it, one after it.
        let read = Read::new(Table::HoldingRegisters, 5, format.count() + 3).unwrap();
        let around = [&[0xee; 4], data, &[0xee; 2]].concat();
        point.decode(read, &around)
    }

    fn shown(format: Format, order: Order, data: &[u8]) -> alloc::string::String {
        match value(format, order, data).unwrap() {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Boolean(value) => value.to_string(),
            Value::Bytes(_) => unreachable!("registers hold no bytes"),
        }
    }

    #[test]
    fn each_type_is_read_in_each_order() {
        for (order, four, eight) in [
            (
                Order::Abcd,
                [0x42, 0xf6, 0xe9, 0x79],
                [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0],
            ),
            (
                Order::Cdab,
                [0xe9, 0x79, 0x42, 0xf6],
                [0xde, 0xf0, 0x9a, 0xbc, 0x56, 0x78, 0x12, 0x34],
            ),
            (
                Order::Badc,
                [0xf6, 0x42, 0x79, 0xe9],
                [0x34, 0x12, 0x78, 0x56, 0xbc, 0x9a, 0xf0, 0xde],
            ),
            (
                Order::Dcba,
                [0x79, 0xe9, 0xf6, 0x42],
                [0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12],
            ),
        ] {
            assert_eq!(shown(Format::F32, order, &four), "123.456");
            assert_eq!(shown(Format::U32, order, &four), 0x42f6_e979_u32.to_string());
            assert_eq!(shown(Format::U64, order, &eight), 0x1234_5678_9abc_def0_u64.to_string());
        }
        assert_eq!(shown(Format::F64, Order::Abcd, &(-1.5_f64).to_be_bytes()), "-1.5");
        assert_eq!(shown(Format::I16, Order::Abcd, &(-2_i16).to_be_bytes()), "-2");
        assert_eq!(shown(Format::U16, Order::Abcd, &[0xff, 0xfe]), "65534");
        assert_eq!(shown(Format::I16, Order::Badc, &(-2_i16).to_le_bytes()), "-2");
        assert_eq!(shown(Format::I32, Order::Abcd, &(-70_000_i32).to_be_bytes()), "-70000");
        assert_eq!(shown(Format::I64, Order::Abcd, &i64::MIN.to_be_bytes()), i64::MIN.to_string());
        assert_eq!(shown(Format::Bit(8), Order::Abcd, &[1, 0]), "true");
        assert_eq!(shown(Format::Bit(0), Order::Abcd, &[1, 0]), "false");
        assert_eq!(shown(Format::Bit(0), Order::Badc, &[1, 0]), "true");
    }

    #[test]
    fn what_a_server_writes_reads_back() {
        let second = Duration::from_secs(1);
        let held = |format, order, number: &str| {
            let point = Point::new(Table::InputRegisters, 7, format, order, second).unwrap();
            let data = point.encode(number.parse().unwrap()).unwrap();
            assert_eq!(data.len(), usize::from(format.count()) * 2);
            shown(format, order, &data)
        };
        for order in [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba] {
            for (format, least, most) in [
                (Format::U16, "0", "65535"),
                (Format::I16, "-32768", "32767"),
                (Format::U32, "0", "4294967295"),
                (Format::I32, "-2147483648", "2147483647"),
                (Format::U64, "0", "18446744073709551615"),
                (Format::I64, "-9223372036854775808", "9223372036854775807"),
            ] {
                assert_eq!(held(format, order, "1234"), "1234");
                assert_eq!(held(format, order, "1234.5"), "1235");
                assert_eq!(held(format, order, "-1e30"), least);
                assert_eq!(held(format, order, "1e30"), most);
                assert_eq!(held(format, order, "-1e60"), least, "more than an integer of 128 bits");
            }
            assert_eq!(held(Format::F32, order, "123.456"), "123.456");
            assert_eq!(held(Format::F64, order, "-1.5e-7").parse::<f64>().unwrap(), -1.5e-7);
        }
        // AP §4.2: the high byte first.
        let point = Point::new(Table::InputRegisters, 7, Format::U32, Order::Cdab, second).unwrap();
        assert_eq!(point.encode(Number::from(0x0102_0304_u64)), Some(vec![3, 4, 1, 2]));
        let text = Point::new(Table::InputRegisters, 7, Format::Text(2), Order::Abcd, second);
        assert_eq!(text.unwrap().encode(Number::from(1_u64)), None);
    }

    #[test]
    fn text_ends_at_a_zero_and_without_spaces() {
        assert_eq!(shown(Format::Text(3), Order::Abcd, b"EM24\0x"), "EM24");
        assert_eq!(shown(Format::Text(2), Order::Cdab, b"v1  "), "v1");
        assert_eq!(shown(Format::Text(2), Order::Badc, b"ME42"), "EM24");
        let broken = value(Format::Text(1), Order::Abcd, &[0xff, 0x20]);
        assert_eq!(broken, Err(DecodeError::NotText));
    }

    #[test]
    fn a_float_that_is_none_is_no_value() {
        let nan = value(Format::F32, Order::Abcd, &[0x7f, 0xc0, 0, 0]);
        assert_eq!(nan, Err(DecodeError::NotANumber));
    }

    #[test]
    fn bits_of_a_table_are_found_at_their_place() {
        let second = Duration::from_secs(1);
        let read = Read::new(Table::Coils, 0x13, 19).unwrap();
        // AP §6.1: coils 20 to 38 of the example.
        let at = |address| {
            let point = Point::new(Table::Coils, address, Format::Bool, Order::Abcd, second);
            point.unwrap().decode(read, &[0xcd, 0x6b, 0x05]).unwrap()
        };
        let seen = [0x13, 0x14, 0x15, 0x1a, 0x25].map(at);
        assert_eq!(seen, [true, false, true, true, true].map(Value::Boolean));
    }

    #[test]
    fn a_point_fits_its_table() {
        let second = Duration::from_secs(1);
        let point =
            |table, address, format| Point::new(table, address, format, Order::Abcd, second);
        assert!(point(Table::Coils, 0, Format::U16).is_none());
        assert!(point(Table::InputRegisters, 0, Format::Bool).is_none());
        assert!(point(Table::InputRegisters, 0, Format::Bit(16)).is_none());
        assert!(point(Table::InputRegisters, 65_535, Format::U32).is_none());
        assert!(point(Table::InputRegisters, 0, Format::Text(126)).is_none());
        assert!(point(Table::InputRegisters, 65_534, Format::U32).is_some());
    }
}
