//! SML, the Smart Message Language of German meters (BSI TR-03109-1, version 1.04).
//!
//! A file is messages one after the other, each with a CRC-16/X-25, or with CRC-16/KERMIT by meters
//! that took it from another standard. The readings are the entries of GetListResponse. The frame
//! `sml` hands on the file without its transport; where that is still there, as in a datagram that a
//! meter's reader passed on, it is taken off here.
//!
//! The device is the server's identification, as it is printed on the meter where it has the form of
//! DIN 43863-5.

use proto::checksum::Checksum;
use proto::frame::sml::unwrap;
use proto::{Number, Value};

use super::draft::{DecodeError, Draft};
use super::obis::Obis;
use super::scalar::printable;

/// Lists within lists; a GetListResponse has five.
const MAX_DEPTH: usize = 10;
const GET_LIST_RESPONSE: u64 = 0x0701;

/// Reads a file.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    let unwrapped;
    let file = match unwrap(frame) {
        Some(Ok(file)) => {
            unwrapped = file;
            &unwrapped
        }
        Some(Err(error)) => return Err(syntax(error.to_string())),
        None => frame,
    };
    let (mut drafts, mut messages) = (Vec::new(), 0_u32);
    let mut reader = Reader { bytes: file, at: 0 };
    // What fills up the last group of four bytes is zeros.
    while reader.rest().iter().any(|byte| *byte != 0) {
        reader.skip_zeros();
        let list = reader.message()?;
        messages += 1;
        if let Some(entries) = List::of(&list) {
            drafts.extend(entries.drafts());
        }
    }
    match messages {
        0 => Err(DecodeError::Empty),
        _ if drafts.is_empty() => Err(DecodeError::Routine { what: "the file".to_owned() }),
        _ => Ok(drafts),
    }
}

/// A value of the encoding.
#[derive(Debug)]
enum Element<'a> {
    Octets(&'a [u8]),
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    List(Vec<Element<'a>>),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn skip_zeros(&mut self) {
        self.at += self.rest().iter().take_while(|byte| **byte == 0).count();
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.rest().get(..len);
        self.at = self.at.saturating_add(len);
        taken.ok_or_else(|| syntax("it ends within a value".to_owned()))
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.take(1).map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    /// The body of a message whose checksum is right.
    fn message(&mut self) -> Result<Element<'a>, DecodeError> {
        let start = self.at;
        let broken = || syntax(format!("no message stands at byte {start}"));
        // Transaction, group, what to do after an error, body, checksum, end.
        if self.byte()? != 0x76 {
            return Err(broken());
        }
        for _ in 0..3 {
            self.element(1)?;
        }
        let body = self.element(1)?;
        let covered = self.bytes.get(start..self.at).unwrap_or_default();
        let Element::Unsigned(found) = self.element(1)? else { return Err(broken()) };
        // It is sent low byte first, as a number whose high byte comes first.
        let found = u16::try_from(found).map_err(|_| broken())?.swap_bytes().into();
        let expected = Checksum::Crc16X25.of(covered);
        if found != expected && found != Checksum::Crc16Kermit.of(covered) {
            return Err(DecodeError::Check { found, expected });
        }
        match self.byte()? {
            0 => Ok(body),
            _ => Err(broken()),
        }
    }

    fn element(&mut self, depth: usize) -> Result<Element<'a>, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(syntax(format!("more than {MAX_DEPTH} lists within lists")));
        }
        let first = self.byte()?;
        let (kind, mut len, mut header) = (first >> 4 & 7, usize::from(first & 0x0f), 1);
        let mut more = first & 0x80 != 0;
        while more {
            let next = self.byte()?;
            more = next & 0x80 != 0;
            len = len.saturating_mul(16).saturating_add(usize::from(next & 0x0f));
            header += 1;
        }
        if kind == 7 {
            let mut elements = Vec::new();
            // Each takes a byte at least, so that a length that lies ends at the end.
            for _ in 0..len {
                elements.push(self.element(depth + 1)?);
            }
            return Ok(Element::List(elements));
        }
        let len = len.checked_sub(header);
        let content = self.take(len.ok_or_else(|| syntax("a length is too short".to_owned()))?)?;
        match kind {
            0 => Ok(Element::Octets(content)),
            4 => Ok(Element::Boolean(content.iter().any(|byte| *byte != 0))),
            5 | 6 => integer(kind == 5, content),
            _ => Err(syntax(format!("there is no type {kind}"))),
        }
    }
}

/// Of one to eight bytes.
fn integer(signed: bool, content: &[u8]) -> Result<Element<'_>, DecodeError> {
    let negative = signed && content.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut bytes = [if negative { 0xff } else { 0 }; 8];
    let place = 8_usize.checked_sub(content.len()).and_then(|start| bytes.get_mut(start..));
    match place {
        Some(place) if !content.is_empty() => place.copy_from_slice(content),
        _ => return Err(syntax(format!("an integer of {} bytes", content.len()))),
    }
    let (integer, unsigned) = (i64::from_be_bytes(bytes), u64::from_be_bytes(bytes));
    Ok(if signed { Element::Integer(integer) } else { Element::Unsigned(unsigned) })
}

impl<'a> Element<'a> {
    fn octets(&self) -> Option<&'a [u8]> {
        if let Self::Octets(octets) = self { Some(octets) } else { None }
    }

    fn items(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    fn number(&self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some((*integer).into()),
            Self::Unsigned(unsigned) => Some((*unsigned).into()),
            Self::Octets(_) | Self::Boolean(_) | Self::List(_) => None,
        }
    }
}

/// A GetListResponse.
struct List<'m> {
    device: Option<String>,
    entries: &'m [Element<'m>],
}

impl<'m> List<'m> {
    /// The body of a message, if it is one.
    fn of(body: &'m Element<'m>) -> Option<Self> {
        let [tag, content] = body.items()? else { return None };
        if tag.number() != Some(GET_LIST_RESPONSE.into()) {
            return None;
        }
        let [_, server, _, _, entries, ..] = content.items()? else { return None };
        Some(Self { device: server.octets().and_then(server_name), entries: entries.items()? })
    }

    fn drafts(&self) -> impl Iterator<Item = Draft> {
        self.entries.iter().filter_map(|entry| self.draft(entry))
    }

    /// An entry: code, status, time, unit, scaler, value, signature. Those that are no measurement,
    /// such as the meter's public key, are left out.
    fn draft(&self, entry: &Element<'_>) -> Option<Draft> {
        let [code, _, _, unit, scaler, value, ..] = entry.items()? else { return None };
        let code = Obis::from_bytes(code.octets()?.try_into().ok()?);
        let value = match value {
            Element::Integer(_) | Element::Unsigned(_) => {
                let scaler = scaler.number().unwrap_or(0).try_into().ok()?;
                Value::Number(Number::from_decimal(value.number()?, scaler)?)
            }
            Element::Boolean(value) => Value::Boolean(*value),
            // The identification is the device already.
            Element::Octets(_) if matches!(code.quantity, [96, 1, _] | [0, 0, _]) => return None,
            Element::Octets(text) => Value::Text(printable(text)?.to_owned()),
            Element::List(_) => return None,
        };
        let unit = unit.number().and_then(unit_name).map(str::to_owned);
        Some(Draft { device: self.device.clone(), unit, ..Draft::new(code.name(), value) })
    }
}

/// `1ISK0070409925`: medium, manufacturer, block and number (DIN 43863-5), which begins with the
/// length 10 of the identification; others as text, or in hexadecimal.
fn server_name(server: &[u8]) -> Option<String> {
    match *server {
        [] => None,
        [0x0a, medium, a, b, c, block, n3, n2, n1, n0]
            if [a, b, c].iter().all(u8::is_ascii_uppercase) && medium < 10 =>
        {
            let [a, b, c] = [a, b, c].map(char::from);
            let number = u32::from_be_bytes([n3, n2, n1, n0]);
            Some(format!("{medium}{a}{b}{c}{block:02X}{number:08}"))
        }
        _ => match printable(server) {
            Some(name) => Some(name.to_owned()),
            None => Some(server.iter().map(|byte| format!("{byte:02x}")).collect()),
        },
    }
}

/// The unit of a code of DLMS (IEC 62056-6-2, table 4), by the names of RFC 8428 and RFC 8798.
const fn unit_name(code: i128) -> Option<&'static str> {
    Some(match code {
        8 => "deg",
        9 => "Cel",
        13 | 14 => "m3",
        19 => "l",
        27 => "W",
        28 => "VA",
        29 => "var",
        30 => "Wh",
        31 => "VAh",
        32 => "varh",
        33 => "A",
        35 => "V",
        44 => "Hz",
        _ => return None,
    })
}

fn syntax(problem: String) -> DecodeError {
    DecodeError::Syntax { expected: "an SML file", problem }
}
