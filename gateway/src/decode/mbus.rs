//! Wired M-Bus: the answers of heat, water, gas and electricity meters (EN 13757-2, EN 13757-3).
//!
//! A long frame `68 L L 68 C A CI … CS 16` holds records, and each of them says how it is encoded
//! (DIF), what it is (VIF), and of which time, tariff or part of the meter. What sets two records of
//! a meter apart is in the reading's name, so that none stands for another:
//! `energy`, `energy.storage1` (of an earlier day), `energy.tariff2`, `power.max`. The device is
//! manufacturer and number, as they stand on the meter: `ELV-54000834`.

use proto::checksum::Checksum;
use proto::{Number, Value};

use super::draft::{DecodeError, Draft};
use super::mbus_units::{Quantity, quantity};
use super::scalar::times;

/// Extensions of a DIF or VIF (EN 13757-3 §6.3.5, §6.4.2).
const MAX_EXTENSIONS: usize = 10;
const EXTENSION: u8 = 0x80;
/// Bytes of a long frame around those that it counts.
const AROUND: usize = 6;

/// Reads a long frame.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    let mut bytes = Bytes(user_data(frame)?);
    let [_, _, info] = bytes.take::<3>()?;
    let (device, status) = match info {
        0x72 => {
            let [i0, i1, i2, i3, m0, m1, _, _, _, status, _, _] = bytes.take::<12>()?;
            (Some(name([i3, i2, i1, i0], u16::from_le_bytes([m0, m1]))), status)
        }
        0x7a => {
            let [_, status, _, _] = bytes.take::<4>()?;
            (None, status)
        }
        0x78 => (None, 0),
        other => {
            let name = format!("{other:02x}");
            return Err(DecodeError::Unsupported { what: "control information", name });
        }
    };
    let mut drafts = vec![Draft::new("status", Value::Number(whole(status.into())))];
    while let Some(record) = Record::read(&mut bytes)? {
        drafts.extend(record.draft());
    }
    tell_apart(&mut drafts);
    Ok(drafts.into_iter().map(|draft| Draft { device: device.clone(), ..draft }).collect())
}

/// What stands between the header and the checksum.
fn user_data(frame: &[u8]) -> Result<&[u8], DecodeError> {
    let &[0x68, length, again, 0x68, .., check, 0x16] = frame else {
        return Err(match frame {
            [0xe5] => DecodeError::Routine { what: "an acknowledgement".to_owned() },
            [0x10, ..] => DecodeError::Routine { what: "a short frame".to_owned() },
            _ => syntax("it is not 68 L L 68 … 16"),
        });
    };
    if length != again || frame.len() != usize::from(length) + AROUND {
        return Err(syntax("its length is another one than it says"));
    }
    let data = frame.get(4..frame.len() - 2).unwrap_or_default();
    let (found, expected) = (check.into(), Checksum::Sum8.of(data));
    if found != expected {
        return Err(DecodeError::Check { found, expected });
    }
    Ok(data)
}

/// `ELV-54000834`; the manufacturer's letters have five bits each (EN 62056-21).
fn name(number: [u8; 4], manufacturer: u16) -> String {
    let letter = |shift: u16| {
        let letter = u8::try_from(manufacturer >> shift & 0x1f).unwrap_or_default();
        char::from(b'@' + letter)
    };
    let number: String = number.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{}{}{}-{number}", letter(10), letter(5), letter(0))
}

/// Readings of the same name get the numbers 2, 3, ….
fn tell_apart(drafts: &mut [Draft]) {
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for draft in drafts {
        let times = seen.entry(draft.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            draft.name = format!("{}.{times}", draft.name);
        }
    }
}

/// A record of a meter.
struct Record<'a> {
    data: Data<'a>,
    /// 1 is the highest value, 2 the lowest, 3 one during an error.
    function: u8,
    storage: u64,
    tariff: u64,
    unit: u64,
    quantity: Quantity,
}

/// The value of a record, as it is encoded.
enum Data<'a> {
    None,
    Number(Number),
    Bytes(&'a [u8]),
    Text(&'a [u8]),
}

impl Data<'_> {
    fn negated(self) -> Self {
        if let Self::Number(number) = self {
            return times(number, -1, 0).map_or(Self::None, Self::Number);
        }
        self
    }
}

impl<'a> Record<'a> {
    /// The next record, if there is one more.
    fn read(bytes: &mut Bytes<'a>) -> Result<Option<Self>, DecodeError> {
        let dif = loop {
            match bytes.first() {
                // Idle filler.
                Some(0x2f) => bytes.take::<1>()?,
                // The manufacturer's own, up to the end; more in another frame; nothing.
                None | Some(0x0f | 0x1f | 0x7f) => return Ok(None),
                Some(dif) => {
                    bytes.take::<1>()?;
                    break dif;
                }
            };
        };
        let (mut storage, mut tariff, mut unit) = (u64::from(dif >> 6 & 1), 0, 0);
        let mut more = dif & EXTENSION != 0;
        let mut count = 0_u32;
        while more {
            let [dife] = bytes.take::<1>()?;
            count = bytes.extension(count)?;
            let part = count - 1;
            storage |= u64::from(dife & 0x0f) << (4 * part + 1);
            tariff |= u64::from(dife >> 4 & 3) << (2 * part);
            unit |= u64::from(dife >> 6 & 1) << part;
            more = dife & EXTENSION != 0;
        }
        let quantity = Self::quantity(bytes)?;
        let data = bytes.data(dif & 0x0f)?;
        let function = dif >> 4 & 3;
        Ok(Some(Self { data, function, storage, tariff, unit, quantity }))
    }

    /// What a record is: VIF and its extensions.
    fn quantity(bytes: &mut Bytes<'a>) -> Result<Quantity, DecodeError> {
        let [vif] = bytes.take::<1>()?;
        let mut extensions = Vec::new();
        let mut text = None;
        if vif & !EXTENSION == 0x7c {
            // The unit in plain text, its last letter first.
            let [len] = bytes.take::<1>()?;
            let letters = bytes.slice(len.into())?.iter().rev();
            text = Some(letters.map(|byte| char::from(*byte)).collect::<String>());
        }
        let mut more = vif & EXTENSION != 0;
        while more {
            let [vife] = bytes.take::<1>()?;
            if extensions.len() == MAX_EXTENSIONS {
                return Err(syntax("it has more extensions than there may be"));
            }
            extensions.push(vife & !EXTENSION);
            more = vife & EXTENSION != 0;
        }
        Ok(quantity(vif & !EXTENSION, &extensions, text))
    }

    /// The reading; `None` where the record has no value, or none of its encoding.
    fn draft(self) -> Option<Draft> {
        let value = match self.data {
            Data::None => return None,
            Data::Number(number) => self.quantity.value(number)?,
            Data::Bytes(bytes) => self.quantity.of_bytes(bytes)?,
            Data::Text(text) => Value::Text(latin_1_reversed(text)),
        };
        let mut name = self.quantity.name;
        name.push_str(match self.function {
            1 => ".max",
            2 => ".min",
            3 => ".error",
            _ => "",
        });
        for (what, number) in
            [("storage", self.storage), ("tariff", self.tariff), ("unit", self.unit)]
        {
            if number > 0 {
                name.push_str(&format!(".{what}{number}"));
            }
        }
        let unit = matches!(value, Value::Number(_)).then_some(self.quantity.unit).flatten();
        Some(Draft { unit, ..Draft::new(name, value) })
    }
}

/// What is not read yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn first(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.0.split_at_checked(len);
        let (taken, rest) = taken.ok_or_else(|| syntax("it ends within a record"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.slice(N)?;
        taken.try_into().map_err(|_| syntax("it ends within a record"))
    }

    /// One extension more of a DIF.
    fn extension(&self, count: u32) -> Result<u32, DecodeError> {
        let is_allowed = usize::try_from(count).is_ok_and(|count| count < MAX_EXTENSIONS);
        is_allowed
            .then_some(count + 1)
            .ok_or_else(|| syntax("it has more extensions than there may be"))
    }

    /// The data of a record, as the lower half of its DIF says (EN 13757-3 table 4).
    fn data(&mut self, field: u8) -> Result<Data<'a>, DecodeError> {
        Ok(match field {
            0 | 8 => Data::None,
            1..=4 => Data::Bytes(self.slice(field.into())?),
            5 => {
                Number::from_f32(f32::from_le_bytes(self.take()?)).map_or(Data::None, Data::Number)
            }
            6 => Data::Bytes(self.slice(6)?),
            7 => Data::Bytes(self.slice(8)?),
            9..=12 => bcd(self.slice(usize::from(field) - 8)?),
            14 => bcd(self.slice(6)?),
            13 => {
                let [length] = self.take()?;
                match length {
                    0..=0xbf => Data::Text(self.slice(length.into())?),
                    0xc0..=0xc9 => bcd(self.slice(usize::from(length) - 0xc0)?),
                    0xd0..=0xd9 => bcd(self.slice(usize::from(length) - 0xd0)?).negated(),
                    0xe0..=0xef => Data::Bytes(self.slice(usize::from(length) - 0xe0)?),
                    _ => return Err(syntax("it has data of a length that means nothing")),
                }
            }
            _ => return Err(syntax("it has data of a kind that means nothing")),
        })
    }
}

/// Two digits a byte, the lowest first; F at the top is a minus, and other letters are how meters
/// say that there is no value.
fn bcd(bytes: &[u8]) -> Data<'_> {
    let (mut number, mut negative) = (0_i128, false);
    for (at, byte) in bytes.iter().rev().enumerate() {
        for (digit, is_top) in [(byte >> 4, at == 0), (byte & 0x0f, false)] {
            match digit {
                0..=9 => number = number * 10 + i128::from(digit),
                0x0f if is_top => negative = true,
                _ => return Data::None,
            }
        }
    }
    Data::Number(whole(if negative { -number } else { number }))
}

fn whole(number: i128) -> Number {
    Number::from_decimal(number, 0).unwrap_or(Number::from(0_u8))
}

fn latin_1_reversed(text: &[u8]) -> String {
    text.iter().rev().map(|byte| char::from(*byte)).filter(|c| !c.is_control()).collect()
}

fn syntax(problem: &str) -> DecodeError {
    DecodeError::Syntax { expected: "an M-Bus frame", problem: problem.to_owned() }
}
