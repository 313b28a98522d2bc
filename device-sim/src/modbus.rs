//! A unit of a Modbus bus as a pure machine: its registers hold what a [`Device`] measures when it is
//! asked.
//!
//! The gateway is the master, so it decides when something is measured: a request measures every value
//! of which it reads a register, and what is answered whole is a reading. Integers hold a value times
//! 10 to the power of its decimals, as meters do: 230.1 with one decimal is 2301.
//!
//! What a unit does not have it refuses as devices do: exception 1 for a function, 2 for an address.

use std::sync::Arc;
use std::time::Duration;

use proto::modbus::{Exception, Format, Order, Point, Read, Request, Response, Table};
use proto::{Instant, Number, Reading, Value};

use crate::device::Device;

/// Where a value lies, and how; the channel of the device has the same position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    point: Point,
    /// Digits after the decimal point that integers hold.
    decimals: u8,
    is_float: bool,
}

impl Register {
    /// `None` where the table ends before the value does, or is one of bits, or the value no number.
    pub fn new(
        table: Table,
        address: u16,
        format: Format,
        order: Order,
        decimals: u8,
    ) -> Option<Self> {
        // How often it is read is the master's business.
        let point = Point::new(table, address, format, order, Duration::ZERO)?;
        let is_float = matches!(format, Format::F32 | Format::F64);
        point.encode(Number::from(0_u64))?;
        Some(Self { point, decimals, is_float })
    }

    /// Whether both have a register.
    pub fn overlaps(&self, other: &Self) -> bool {
        overlap(self.point.read(), other.point.read())
    }

    /// The bytes for a value, and the value that they stand for.
    fn hold(&self, value: &Value) -> Option<(Vec<u8>, Value)> {
        let number = match value {
            Value::Number(number) => *number,
            Value::Boolean(is_on) => Number::from(u64::from(*is_on)),
            Value::Text(_) | Value::Bytes(_) => return None,
        };
        let decimals = if self.is_float { 0 } else { i32::from(self.decimals) };
        let raw =
            Number::from_decimal(number.mantissa(), number.exponent().checked_add(decimals)?)?;
        let bytes = self.point.encode(raw)?;
        let held = match self.point.decode(self.point.read(), &bytes) {
            Ok(Value::Number(held)) => held,
            Ok(_) | Err(_) => return None,
        };
        let exponent = held.exponent().checked_sub(decimals)?;
        let held = Number::from_decimal(held.mantissa(), exponent)?;
        Some((bytes, Value::Number(held)))
    }
}

/// What a unit says.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The protocol data unit.
    pub pdu: Vec<u8>,
    /// What is in it.
    pub readings: Vec<Reading>,
}

/// A unit.
#[derive(Debug)]
pub struct Slave {
    device: Device,
    registers: Arc<[Register]>,
}

impl Slave {
    /// A unit with the registers for the channels of `device`, in their order.
    pub const fn new(device: Device, registers: Arc<[Register]>) -> Self {
        Self { device, registers }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        self.device.id()
    }

    /// Answers a request, a protocol data unit.
    pub fn handle_request(&mut self, now: Instant, pdu: &[u8]) -> Answer {
        let refuse = |exception: Exception| {
            let function = pdu.first().copied().unwrap_or_default();
            Answer { pdu: exception.encode(function), readings: Vec::new() }
        };
        match Request::decode(pdu) {
            Ok(Request::Read(read)) if !read.table().is_bits() => match self.read(now, read) {
                Some(answer) => answer,
                None => refuse(Exception::ILLEGAL_DATA_ADDRESS),
            },
            Ok(_) => refuse(Exception::ILLEGAL_FUNCTION),
            Err(exception) => refuse(exception),
        }
    }

    /// `None` where there is an address without a register.
    fn read(&mut self, now: Instant, read: Read) -> Option<Answer> {
        let registers = Arc::clone(&self.registers);
        let touched = |register: &Register| overlap(register.point.read(), read);
        let is_there = |address: u16| {
            let one = Read::new(read.table(), address, 1);
            one.is_some_and(|one| registers.iter().any(|at| overlap(at.point.read(), one)))
        };
        if !(read.address()..).take(usize::from(read.count())).all(is_there) {
            return None;
        }
        let mut data: Vec<[u8; 2]> = vec![[0; 2]; usize::from(read.count())];
        let measured = self.device.measure(now, |at| registers.get(at).is_some_and(touched));
        let mut readings = Vec::new();
        let asked = registers.iter().filter(|register| touched(register));
        for (register, mut reading) in asked.zip(measured) {
            let (bytes, held) = register.hold(&reading.value)?;
            let at = register.point.read();
            let words = bytes.as_chunks::<2>().0.iter().copied();
            for (address, word) in (u32::from(at.address())..).zip(words) {
                let offset = address.checked_sub(u32::from(read.address()));
                let place = offset.and_then(|offset| data.get_mut(usize::try_from(offset).ok()?));
                if let Some(place) = place {
                    *place = word;
                }
            }
            if read.address() <= at.address() && at.end() <= read.end() {
                reading.value = held;
                readings.push(reading);
            }
        }
        let values = data.into_iter().map(u16::from_be_bytes).collect();
        let pdu = Response::Registers(values).encode(&Request::Read(read));
        Some(Answer { pdu, readings })
    }
}

fn overlap(a: Read, b: Read) -> bool {
    a.table() == b.table() && u32::from(a.address()) < b.end() && u32::from(b.address()) < a.end()
}

#[cfg(test)]
mod tests;
