//! Requests (AP §6.1 to §6.6, §6.11, §6.12).

use alloc::vec::Vec;

use super::{Exception, Fault};

/// In the function code of an exception response (AP §4.1).
pub(super) const EXCEPTION: u8 = 0x80;
/// Addresses of a table.
const ADDRESSES: u32 = 0x1_0000;
/// Most coils of one write (AP §6.11).
const MAX_WRITE_COILS: usize = 0x7b0;
/// Most registers of one write (AP §6.12).
const MAX_WRITE_REGISTERS: usize = 0x7b;
/// A coil that is to be on (AP §6.5).
const ON: u16 = 0xff00;

/// One of the primary tables (AP §4.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Table {
    /// Bits that can be written.
    Coils,
    /// Bits that cannot.
    DiscreteInputs,
    /// 16 bits that can be written.
    HoldingRegisters,
    /// 16 bits that cannot.
    InputRegisters,
}

impl Table {
    /// The function that reads it.
    #[must_use]
    pub const fn read_function(self) -> u8 {
        match self {
            Self::Coils => 1,
            Self::DiscreteInputs => 2,
            Self::HoldingRegisters => 3,
            Self::InputRegisters => 4,
        }
    }

    /// Whether it holds bits, not registers.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }

    /// The most that one request may read (AP §6.1 to §6.4).
    #[must_use]
    pub const fn max_read(self) -> u16 {
        if self.is_bits() { 2000 } else { 125 }
    }
}

/// Consecutive bits or registers of a table: at least one, no more than a request may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    table: Table,
    address: u16,
    count: u16,
}

impl Read {
    /// `count` from `address` on; `None` where a request cannot ask for that.
    #[must_use]
    pub fn new(table: Table, address: u16, count: u16) -> Option<Self> {
        let is_inside = u32::from(address) + u32::from(count) <= ADDRESSES;
        let is_right = count > 0 && count <= table.max_read() && is_inside;
        is_right.then_some(Self { table, address, count })
    }

    /// The table.
    #[must_use]
    pub const fn table(self) -> Table {
        self.table
    }

    /// The first address, from 0.
    #[must_use]
    pub const fn address(self) -> u16 {
        self.address
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }

    /// The address after the last one.
    #[must_use]
    pub fn end(self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }

    /// Bytes of the data in the response.
    #[must_use]
    pub fn data_len(self) -> usize {
        let count = usize::from(self.count);
        if self.table.is_bits() { count.div_ceil(8) } else { count * 2 }
    }
}

/// What a client asks of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Functions 1 to 4.
    Read(Read),
    /// Function 5.
    WriteCoil {
        /// Where.
        address: u16,
        /// What.
        on: bool,
    },
    /// Function 6.
    WriteRegister {
        /// Where.
        address: u16,
        /// What.
        value: u16,
    },
    /// Function 15.
    WriteCoils {
        /// Where the first one goes.
        address: u16,
        /// 1 to 1968 of them.
        values: Vec<bool>,
    },
    /// Function 16.
    WriteRegisters {
        /// Where the first one goes.
        address: u16,
        /// 1 to 123 of them.
        values: Vec<u16>,
    },
}

/// More or fewer values than a request can carry, or addresses that do not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a request writes 1 to 1968 coils or 1 to 123 registers, at addresses up to 65535")]
pub struct OutOfRange;

impl Request {
    /// The function code.
    #[must_use]
    pub const fn function(&self) -> u8 {
        match self {
            Self::Read(read) => read.table.read_function(),
            Self::WriteCoil { .. } => 5,
            Self::WriteRegister { .. } => 6,
            Self::WriteCoils { .. } => 15,
            Self::WriteRegisters { .. } => 16,
        }
    }

    /// The protocol data unit.
    pub fn encode(&self) -> Result<Vec<u8>, OutOfRange> {
        let mut pdu = Vec::with_capacity(8);
        pdu.push(self.function());
        match self {
            Self::Read(read) => put(&mut pdu, [read.address, read.count]),
            Self::WriteCoil { address, on } => {
                put(&mut pdu, [*address, if *on { ON } else { 0 }]);
            }
            Self::WriteRegister { address, value } => put(&mut pdu, [*address, *value]),
            Self::WriteCoils { address, values } => {
                let count = count(*address, values.len(), MAX_WRITE_COILS)?;
                put(&mut pdu, [*address, count]);
                put_counted(&mut pdu, &packed(values));
            }
            Self::WriteRegisters { address, values } => {
                let count = count(*address, values.len(), MAX_WRITE_REGISTERS)?;
                put(&mut pdu, [*address, count]);
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
                put_counted(&mut pdu, &bytes);
            }
        }
        Ok(pdu)
    }

    /// What a server was asked; else the exception that it answers with (AP §6, the state diagrams).
    pub fn decode(pdu: &[u8]) -> Result<Self, Exception> {
        let (&function, rest) = pdu.split_first().ok_or(Exception::ILLEGAL_FUNCTION)?;
        if !matches!(function, 1..=6 | 15 | 16) {
            return Err(Exception::ILLEGAL_FUNCTION);
        }
        let illegal = Exception::ILLEGAL_DATA_VALUE;
        let (&[a, b, c, d], data) = rest.split_first_chunk().ok_or(illegal)?;
        let (address, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let read = |table: Table| {
            if second == 0 || second > table.max_read() || !data.is_empty() {
                return Err(illegal);
            }
            let read = Read::new(table, address, second);
            read.map(Self::Read).ok_or(Exception::ILLEGAL_DATA_ADDRESS)
        };
        let counted = |max: usize, bytes: usize| match data.split_first() {
            Some((&len, values)) if usize::from(len) == bytes && values.len() == bytes => {
                let is_count = (1..=max).contains(&usize::from(second));
                let values = is_count.then_some(values).ok_or(illegal)?;
                let is_inside = u32::from(address) + u32::from(second) <= ADDRESSES;
                is_inside.then_some(values).ok_or(Exception::ILLEGAL_DATA_ADDRESS)
            }
            _ => Err(illegal),
        };
        match function {
            1 => read(Table::Coils),
            2 => read(Table::DiscreteInputs),
            3 => read(Table::HoldingRegisters),
            4 => read(Table::InputRegisters),
            5 | 6 if !data.is_empty() => Err(illegal),
            5 if second == ON || second == 0 => Ok(Self::WriteCoil { address, on: second == ON }),
            5 => Err(illegal),
            6 => Ok(Self::WriteRegister { address, value: second }),
            15 => {
                let bytes = counted(MAX_WRITE_COILS, usize::from(second).div_ceil(8))?;
                let values = (0..usize::from(second)).map(|index| bit(bytes, index));
                Ok(Self::WriteCoils { address, values: values.collect() })
            }
            _ => {
                let bytes = counted(MAX_WRITE_REGISTERS, usize::from(second) * 2)?;
                let (words, _) = bytes.as_chunks::<2>();
                let values = words.iter().map(|word| u16::from_be_bytes(*word)).collect();
                Ok(Self::WriteRegisters { address, values })
            }
        }
    }

    /// How long the protocol data unit of the response is, if it is no exception.
    #[must_use]
    pub fn response_len(&self) -> usize {
        match self {
            Self::Read(read) => 2 + read.data_len(),
            Self::WriteCoil { .. }
            | Self::WriteRegister { .. }
            | Self::WriteCoils { .. }
            | Self::WriteRegisters { .. } => 5,
        }
    }

    /// The data that a response brings: bits or registers as they are on the wire, nothing for a
    /// write that is confirmed.
    pub fn parse_response<'a>(&self, pdu: &'a [u8]) -> Result<&'a [u8], Fault> {
        let expected = self.function();
        match pdu {
            [function, code] if *function == expected | EXCEPTION => {
                return Err(Fault::Exception(Exception(*code)));
            }
            [function, ..] if *function != expected => {
                return Err(Fault::Function { found: *function, expected });
            }
            _ => {}
        }
        let length = Fault::Length { found: pdu.len(), expected: self.response_len() };
        if pdu.len() != self.response_len() {
            return Err(length);
        }
        if let Self::Read(read) = self {
            return match pdu {
                [_, len, data @ ..] if usize::from(*len) == read.data_len() => Ok(data),
                _ => Err(length),
            };
        }
        // The first five bytes of a write are what its response repeats.
        let is_echo = self.encode().is_ok_and(|request| request.get(..5) == Some(pdu));
        if is_echo { Ok(&[]) } else { Err(Fault::Echo) }
    }
}

/// The bit at `index`, low bits first (AP §6.1); none is off.
pub(super) fn bit(bytes: &[u8], index: usize) -> bool {
    bytes.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// Bits as bytes, low bits first.
pub(super) fn packed(bits: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| {
        bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at)
    };
    bits.chunks(8).map(byte).collect()
}

/// A byte that says how many follow, and those.
pub(super) fn put_counted(pdu: &mut Vec<u8>, bytes: &[u8]) {
    pdu.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    pdu.extend_from_slice(bytes);
}

fn put(pdu: &mut Vec<u8>, words: [u16; 2]) {
    pdu.extend(words.into_iter().flat_map(u16::to_be_bytes));
}

fn count(address: u16, len: usize, max: usize) -> Result<u16, OutOfRange> {
    let count = u16::try_from(len).map_err(|_| OutOfRange)?;
    let is_inside = u32::from(address) + u32::from(count) <= ADDRESSES;
    ((1..=max).contains(&len) && is_inside).then_some(count).ok_or(OutOfRange)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::Response;
    use super::*;

    fn read(table: Table, address: u16, count: u16) -> Request {
        Request::Read(Read::new(table, address, count).unwrap())
    }

    /// The examples of AP: §6.1, §6.2, §6.3, §6.4, §6.5, §6.6, §6.11 and §6.12, each a request and its
    /// response.
    #[test]
    fn the_examples_of_the_standard_are_read_and_written() {
        let bits = |bytes: &[u8], count| (0..count).map(|at| bit(bytes, at)).collect();
        let examples: [(&[u8], Request, &[u8], Response); 8] = [
            (
                &[0x01, 0x00, 0x13, 0x00, 0x13],
                read(Table::Coils, 0x13, 19),
                &[0x01, 0x03, 0xcd, 0x6b, 0x05],
                Response::Bits(bits(&[0xcd, 0x6b, 0x05], 19)),
            ),
            (
                &[0x02, 0x00, 0xc4, 0x00, 0x16],
                read(Table::DiscreteInputs, 0xc4, 22),
                &[0x02, 0x03, 0xac, 0xdb, 0x35],
                Response::Bits(bits(&[0xac, 0xdb, 0x35], 22)),
            ),
            (
                &[0x03, 0x00, 0x6b, 0x00, 0x03],
                read(Table::HoldingRegisters, 0x6b, 3),
                &[0x03, 0x06, 0x02, 0x2b, 0x00, 0x00, 0x00, 0x64],
                Response::Registers(vec![555, 0, 100]),
            ),
            (
                &[0x04, 0x00, 0x08, 0x00, 0x01],
                read(Table::InputRegisters, 8, 1),
                &[0x04, 0x02, 0x00, 0x0a],
                Response::Registers(vec![10]),
            ),
            (
                &[0x05, 0x00, 0xac, 0xff, 0x00],
                Request::WriteCoil { address: 0xac, on: true },
                &[0x05, 0x00, 0xac, 0xff, 0x00],
                Response::Written,
            ),
            (
                &[0x06, 0x00, 0x01, 0x00, 0x03],
                Request::WriteRegister { address: 1, value: 3 },
                &[0x06, 0x00, 0x01, 0x00, 0x03],
                Response::Written,
            ),
            (
                &[0x0f, 0x00, 0x13, 0x00, 0x0a, 0x02, 0xcd, 0x01],
                Request::WriteCoils { address: 0x13, values: bits(&[0xcd, 0x01], 10) },
                &[0x0f, 0x00, 0x13, 0x00, 0x0a],
                Response::Written,
            ),
            (
                &[0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0a, 0x01, 0x02],
                Request::WriteRegisters { address: 1, values: vec![0x000a, 0x0102] },
                &[0x10, 0x00, 0x01, 0x00, 0x02],
                Response::Written,
            ),
        ];
        for (pdu, request, answer, response) in examples {
            assert_eq!(request.encode().as_deref(), Ok(pdu));
            assert_eq!(Request::decode(pdu), Ok(request.clone()));
            assert_eq!(response.encode(&request), answer);
            assert_eq!(request.response_len(), answer.len());
            let data = request.parse_response(answer).unwrap();
            let is_read = matches!(request, Request::Read(_));
            assert_eq!(data, if is_read { &answer[2..] } else { &[][..] });
        }
    }

    /// AP §7: the example of an exception response.
    #[test]
    fn an_answer_that_does_not_fit_says_why() {
        let request = read(Table::Coils, 0x04a1, 1);
        let illegal = Fault::Exception(Exception::ILLEGAL_DATA_ADDRESS);
        assert_eq!(request.parse_response(&[0x81, 0x02]), Err(illegal));
        let function = Fault::Function { found: 3, expected: 1 };
        assert_eq!(request.parse_response(&[3, 2, 0, 1]), Err(function));
        let length = |found| Err(Fault::Length { found, expected: 3 });
        assert_eq!(request.parse_response(&[1, 2, 0, 1]), length(4));
        assert_eq!(request.parse_response(&[1, 2, 0]), length(3));
        assert_eq!(request.parse_response(&[]), length(0));
        let write = Request::WriteRegister { address: 1, value: 3 };
        assert_eq!(write.parse_response(&[6, 0, 1, 0, 4]), Err(Fault::Echo));
    }

    #[test]
    fn a_request_beyond_the_limits_is_not_made_and_not_taken() {
        assert_eq!(Read::new(Table::HoldingRegisters, 0, 126), None);
        assert_eq!(Read::new(Table::Coils, 0, 2001), None);
        assert_eq!(Read::new(Table::Coils, 0, 0), None);
        assert_eq!(Read::new(Table::HoldingRegisters, 65_535, 2), None);
        assert!(Read::new(Table::HoldingRegisters, 65_535, 1).is_some());
        let coils = |len| Request::WriteCoils { address: 0, values: vec![true; len] }.encode();
        assert!(coils(1968).is_ok() && coils(1969).is_err() && coils(0).is_err());
        let registers = |len| Request::WriteRegisters { address: 0, values: vec![7; len] }.encode();
        assert!(registers(123).is_ok() && registers(124).is_err() && registers(0).is_err());
        let edge = Request::WriteRegisters { address: 65_535, values: vec![1, 2] };
        assert_eq!(edge.encode(), Err(OutOfRange));

        for (pdu, exception) in [
            (&[][..], Exception::ILLEGAL_FUNCTION),
            (&[0x2b, 0x0e, 1, 0], Exception::ILLEGAL_FUNCTION),
            (&[3, 0, 0], Exception::ILLEGAL_DATA_VALUE),
            (&[3, 0, 0, 0, 126], Exception::ILLEGAL_DATA_VALUE),
            (&[3, 0xff, 0xff, 0, 2], Exception::ILLEGAL_DATA_ADDRESS),
            (&[5, 0, 0, 0, 1], Exception::ILLEGAL_DATA_VALUE),
            (&[6, 0, 0, 0, 1, 0], Exception::ILLEGAL_DATA_VALUE),
            (&[16, 0, 0, 0, 1, 3, 0, 0, 0], Exception::ILLEGAL_DATA_VALUE),
            (&[16, 0xff, 0xff, 0, 2, 4, 0, 0, 0, 0], Exception::ILLEGAL_DATA_ADDRESS),
        ] {
            assert_eq!(Request::decode(pdu), Err(exception), "{pdu:02x?}");
        }
    }
}
