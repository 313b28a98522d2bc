//! P1 telegrams of smart meters: DSMR 2.2 to 5, and what Belgium, Luxembourg, Sweden and others made
//! of it (ESMR, e-MUCS).
//!
//! A telegram is `/`, an identification, a line for each object, `!` and from version 4 on a
//! CRC-16/ARC over all of it up to the `!`. The reader is lenient about how numbers are padded, and
//! strict about the checksum: a telegram that says its version, which those before 4 do not, has to
//! have one.
//!
//! Meters that are connected to the meter by M-Bus are devices of their own, with the time at which
//! they were read. Times are those of Central Europe, where all of these meters are.

use jiff::civil::{DateTime, Time};
use proto::checksum::Checksum;
use proto::{Number, Timestamp, Value};

use super::civil;
use super::draft::{DecodeError, Draft, field_error};
use super::obis::Obis;
use super::scalar::{from_hex, number, parse_value, printable, shifted};

const EXPECTED: &str = "a P1 telegram";
/// Objects that name the meter, the best first.
const METER_IDS: [[u8; 3]; 4] = [[96, 1, 1], [96, 1, 0], [96, 1, 255], [0, 0, 0]];
/// What tells about the telegram or the meter, and changes never: what an object of the gateway's
/// device would be, and lists of events of the past.
const NO_READINGS: [[u8; 3]; 9] = [
    [0, 2, 8],
    [1, 0, 0],
    [96, 1, 0],
    [96, 1, 1],
    [96, 1, 4],
    [96, 1, 255],
    [0, 0, 0],
    [24, 1, 0],
    [99, 97, 0],
];

/// Reads a telegram.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    let objects = objects(frame)?;
    let time = objects.iter().find(|object| object.is(0, [1, 0, 0]));
    let time = time.map(|object| object.time_at(0)).transpose()?;
    let meter = Meter { device: name(&objects), time, objects: &objects };
    let mut drafts = Vec::new();
    for object in &objects {
        drafts.extend(meter.draft(object)?);
    }
    Ok(drafts)
}

/// A line: a code and what stands in its parentheses.
struct Object<'a> {
    code: Obis,
    values: Vec<&'a str>,
}

/// The objects of a telegram whose checksum is right.
fn objects(frame: &[u8]) -> Result<Vec<Object<'_>>, DecodeError> {
    let syntax = |problem: String| DecodeError::Syntax { expected: EXPECTED, problem };
    let start = frame.iter().position(|byte| *byte == b'/');
    let start = start.ok_or_else(|| syntax("it does not begin with `/`".to_owned()))?;
    let frame = frame.get(start..).unwrap_or_default();
    let end = frame.iter().rposition(|byte| *byte == b'!');
    let end = end.ok_or_else(|| syntax("it does not end with `!`".to_owned()))?;
    let (covered, check) = frame.split_at_checked(end + 1).unwrap_or_default();
    let text = std::str::from_utf8(covered).map_err(|_| DecodeError::NotText)?;
    let found = check.get(..4).and_then(|check| std::str::from_utf8(check).ok());
    let found = found.and_then(|check| u32::from_str_radix(check, 16).ok());
    let expected = Checksum::Crc16Arc.of(covered);
    if let Some(found) = found.filter(|found| *found != expected) {
        return Err(DecodeError::Check { found, expected });
    }

    let mut objects: Vec<Object<'_>> = Vec::new();
    for line in text.trim_end_matches('!').lines().skip(1).map(str::trim) {
        let (code, values) = match line.find('(') {
            // DSMR 2.2 breaks the line before the value of a gas meter.
            Some(0) => ("", line),
            Some(at) => line.split_at_checked(at).unwrap_or_default(),
            None if line.is_empty() => continue,
            None => return Err(syntax(format!("the line `{}` has no value", short(line)))),
        };
        let values = values.split('(').skip(1).map(|value| value.trim_end().trim_end_matches(')'));
        match (code, objects.last_mut()) {
            ("", Some(object)) => object.values.extend(values),
            ("", None) => return Err(syntax("it begins with a value".to_owned())),
            (code, _) => {
                let code = Obis::parse(code)
                    .ok_or_else(|| syntax(format!("`{}` is not an OBIS code", short(code))))?;
                objects.push(Object { code, values: values.collect() });
            }
        }
    }
    let has_version = objects.iter().any(|object| object.code.quantity == [0, 2, 8]);
    if has_version && found.is_none() {
        return Err(DecodeError::Missing { field: "the checksum behind `!`".to_owned() });
    }
    Ok(objects)
}

/// What the meter calls itself.
fn name(objects: &[Object<'_>]) -> Option<String> {
    METER_IDS.into_iter().find_map(|id| {
        let object = objects.iter().find(|o| o.code.channel == 0 && o.code.quantity == id)?;
        identifier(object.values.first()?)
    })
}

/// An identifier: hexadecimal digits that stand for text, or text. Zeros alone are none.
fn identifier(text: &str) -> Option<String> {
    if text.bytes().all(|byte| byte == b'0') {
        return None;
    }
    let decoded = from_hex(text).and_then(|bytes| printable(&bytes).map(str::to_owned));
    // An identifier of digits alone is seldom meant as text.
    let decoded = decoded.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()));
    decoded.or_else(|| Some(text.to_owned())).filter(|name| !name.trim().is_empty())
}

struct Meter<'a> {
    device: Option<String>,
    time: Option<Timestamp>,
    objects: &'a [Object<'a>],
}

impl Meter<'_> {
    /// The reading of an object, if it is one.
    fn draft(&self, object: &Object<'_>) -> Result<Option<Draft>, DecodeError> {
        let code = object.code;
        if let (0, 1..=8, [24, 2 | 3, part]) = (code.medium, code.channel, code.quantity) {
            return self.sub_meter(object, part).map(Some);
        }
        let is_text = code.quantity == [96, 13, 0] || code.quantity == [96, 13, 1];
        let [value] = object.values[..] else { return Ok(None) };
        if NO_READINGS.contains(&code.quantity) || value.is_empty() {
            return Ok(None);
        }
        let device = match code.medium {
            0 if code.channel > 0 => self.sub_meter_name(code.channel),
            _ => self.device.clone(),
        };
        let (value, unit) = match value.split_once('*') {
            _ if is_text => match from_hex(value) {
                Some(bytes) => (Value::Text(String::from_utf8_lossy(&bytes).into_owned()), None),
                None => (Value::Text(value.to_owned()), None),
            },
            Some((value, unit)) => {
                let (value, unit) = quantity(&code.to_string(), value, unit)?;
                (Value::Number(value), Some(unit))
            }
            None => (parse_value(value), None),
        };
        Ok(Some(Draft { device, unit, time: self.time, ..Draft::new(code.name(), value) }))
    }

    /// What a connected meter has counted: `24.2.1(time)(value*unit)`, and before DSMR 4
    /// `24.3.0(time)(…)(…)(…)(code)(unit)(value)`.
    fn sub_meter(&self, object: &Object<'_>, part: u8) -> Result<Draft, DecodeError> {
        let field = object.code.to_string();
        let missing = || DecodeError::Missing { field: field.clone() };
        let (value, unit) = match object.values[..] {
            [_, value] => value.split_once('*').ok_or_else(missing)?,
            [_, _, _, _, _, unit, value] => (value, unit),
            _ => return Err(missing()),
        };
        let (value, unit) = quantity(&field, value, unit)?;
        let name = match (&*unit, part) {
            ("J", _) => "energy",
            // 24.2.3 is the volume at no reference temperature.
            ("m3", 3) => "volume_uncorrected",
            _ => "volume",
        };
        let device = self.sub_meter_name(object.code.channel);
        let time = Some(object.time_at(0)?);
        Ok(Draft { device, unit: Some(unit), time, ..Draft::new(name, Value::Number(value)) })
    }

    /// What a connected meter calls itself; without a name it has that of the meter, and its channel.
    fn sub_meter_name(&self, channel: u8) -> Option<String> {
        let own = self.objects.iter().find(|object| {
            object.code.channel == channel
                && matches!(object.code.quantity, [96, 1, 0 | 1] | [42, 0, 0])
        });
        let own = own.and_then(|object| identifier(object.values.first()?));
        own.or_else(|| Some(format!("{}-{channel}", self.device.as_ref()?)))
    }
}

impl Object<'_> {
    fn is(&self, medium: u8, quantity: [u8; 3]) -> bool {
        self.code.medium == medium && self.code.quantity == quantity
    }

    /// `190320181403W`: S is summer, W winter; the meters before DSMR 4 do not say which.
    fn time_at(&self, at: usize) -> Result<Timestamp, DecodeError> {
        let text = self.values.get(at).copied().unwrap_or_default();
        time(text).ok_or_else(|| {
            field_error(&self.code.to_string(), text, "a time such as 190320181403W")
        })
    }
}

fn time(text: &str) -> Option<Timestamp> {
    let (digits, hours) = match text.strip_suffix(['S', 'W']) {
        Some(digits) => (digits, Some(if text.ends_with('S') { 2 } else { 1 })),
        None => (text, None),
    };
    let [year, month, day, hour, minute, second] = civil::pairs(digits)?;
    let time = Time::new(hour, minute, second, 0).ok()?;
    let time = DateTime::from_parts(civil::date(year, month, day)?, time);
    civil::timestamp(time, hours.or_else(|| civil::central_european(time))?)
}

/// A number with its unit, by the names of RFC 8428 and RFC 8798.
fn quantity(field: &str, value: &str, unit: &str) -> Result<(Number, String), DecodeError> {
    let value = number(field, value)?;
    let (unit, power) = match unit {
        "GJ" => ("J", 9),
        "MJ" => ("J", 6),
        unit => (unit, 0),
    };
    let value =
        shifted(value, power).ok_or_else(|| field_error(field, unit, "a smaller number"))?;
    Ok((value, unit.to_owned()))
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}
