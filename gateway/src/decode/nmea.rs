//! NMEA 0183: sentences of GPS receivers, wind and weather instruments.
//!
//! A sentence is `$`, talker and type, fields between commas, `*` and the exclusive or of all that
//! stands between. One without a checksum is refused, because a digit that was damaged on a serial
//! line is still a number. Most sentences hold a time of day without a date: it is taken to be on
//! the day that brings it closest to the gateway's clock.

use jiff::civil::{DateTime, Time};
use proto::checksum::Checksum;
use proto::{Number, Timestamp, Value};

use super::civil;
use super::draft::{DecodeError, Draft, Identity, field_error};
use super::scalar::{number, times};

const EXPECTED: &str = "an NMEA 0183 sentence";
/// A knot in thousandths of a kilometre an hour.
const KNOT: i128 = 1852;
/// A mile an hour in millionths of a kilometre an hour.
const MILE: i128 = 1_609_344;
/// Most digits of a minute's fraction; a micrometre has eight.
const MAX_PLACES: u32 = 12;

/// Reads the sentences of a frame, one a line.
pub(super) fn decode(frame: &[u8], now: Timestamp) -> Result<Vec<Draft>, DecodeError> {
    let text = std::str::from_utf8(frame).map_err(|_| DecodeError::NotText)?;
    let mut drafts = Vec::new();
    let mut silent = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match Sentence::parse(line, now)?.read() {
            Ok(found) => drafts.extend(found),
            Err(error @ (DecodeError::Routine { .. } | DecodeError::Unsupported { .. })) => {
                silent = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match silent {
        Some(error) if drafts.is_empty() => Err(error),
        _ => Ok(drafts),
    }
}

/// A sentence, and the readings that were found in it.
struct Sentence<'a> {
    talker: &'a str,
    kind: &'a str,
    fields: Vec<&'a str>,
    now: Timestamp,
    identity: Identity,
    drafts: Vec<Draft>,
}

impl<'a> Sentence<'a> {
    fn parse(line: &'a str, now: Timestamp) -> Result<Self, DecodeError> {
        let syntax = |problem: &str| {
            let problem = problem.to_owned();
            DecodeError::Syntax { expected: EXPECTED, problem }
        };
        let inner = line.strip_prefix('$').ok_or_else(|| syntax("it does not begin with `$`"))?;
        let (body, check) =
            inner.split_once('*').ok_or_else(|| syntax("it has no checksum behind a `*`"))?;
        let found = (check.len() == 2).then(|| u32::from_str_radix(check, 16).ok()).flatten();
        let found = found.ok_or_else(|| syntax("its checksum is not two hexadecimal digits"))?;
        let expected = Checksum::Xor8.of(body.as_bytes());
        if found != expected {
            return Err(DecodeError::Check { found, expected });
        }
        let mut fields = body.split(',');
        let address = fields.next().unwrap_or_default();
        let is_known = address.len() == 5 && address.is_ascii() && !address.starts_with('P');
        let Some((talker, kind)) = address.split_at_checked(2).filter(|_| is_known) else {
            return Err(DecodeError::Unsupported { what: "sentence", name: short(address) });
        };
        let fields = fields.map(str::trim).collect();
        let (identity, drafts) = (Identity::default(), Vec::new());
        Ok(Self { talker, kind, fields, now, identity, drafts })
    }

    /// The readings, by the type of the sentence.
    fn read(mut self) -> Result<Vec<Draft>, DecodeError> {
        match self.kind {
            "GGA" => self.gga()?,
            "RMC" => self.rmc()?,
            "GLL" => self.gll()?,
            "VTG" => {
                self.number("course", 0, "deg")?;
                self.number("speed", 6, "km/h")?;
            }
            "GSA" => self.gsa()?,
            "GSV" if self.field(1) != "1" => return Err(self.routine()),
            "GSV" => {
                let name = format!("{}.satellites_in_view", self.talker.to_lowercase());
                self.number(&name, 2, "count")?;
            }
            "HDT" => self.number("heading", 0, "deg")?,
            "MWV" => self.mwv()?,
            "MDA" => self.mda()?,
            "MTW" => self.number("water_temperature", 0, "Cel")?,
            "DPT" => self.number("depth", 0, "m")?,
            "DBT" => self.number("depth", 2, "m")?,
            "VHW" => {
                self.number("heading", 0, "deg")?;
                self.number("water_speed", 6, "km/h")?;
            }
            "XDR" => self.xdr()?,
            "ZDA" => return Err(self.routine()),
            _ => {
                let name = format!("{}{}", self.talker, self.kind);
                return Err(DecodeError::Unsupported { what: "sentence", name });
            }
        }
        if self.drafts.is_empty() { Err(self.routine()) } else { Ok(self.drafts) }
    }

    /// Position, height and quality of a fix.
    fn gga(&mut self) -> Result<(), DecodeError> {
        self.time_of_day(0)?;
        if self.field(5) != "0" {
            self.position(1)?;
            self.number("altitude", 8, "m")?;
            self.number("geoid_separation", 10, "m")?;
            self.number("hdop", 7, "")?;
        }
        self.number("fix_quality", 5, "")?;
        self.number("satellites", 6, "count")
    }

    /// Position, speed and date; what a receiver marks as void is left out.
    fn rmc(&mut self) -> Result<(), DecodeError> {
        self.time_of_day(0)?;
        if let (Some(time), [day, month, year]) = (self.clock(0)?, self.numbers(8)?) {
            // Receivers whose count of weeks overflowed say years of the last century.
            let date = if year < 80 { civil::date(year, month, day) } else { None };
            let time = date.and_then(|d| civil::timestamp(DateTime::from_parts(d, time), 0));
            self.identity.time = time.or(self.identity.time);
        }
        let valid = self.valid(1);
        if valid {
            self.position(2)?;
            self.scaled("speed", 6, KNOT, -3, "km/h")?;
            self.number("course", 7, "deg")?;
        }
        self.add("valid", Value::Boolean(valid), "");
        Ok(())
    }

    /// Position alone.
    fn gll(&mut self) -> Result<(), DecodeError> {
        self.time_of_day(4)?;
        let valid = self.valid(5);
        if valid {
            self.position(0)?;
        }
        self.add("valid", Value::Boolean(valid), "");
        Ok(())
    }

    /// Satellites in use, and how well they stand.
    fn gsa(&mut self) -> Result<(), DecodeError> {
        self.number("fix_mode", 1, "")?;
        let used = (2..14).filter(|at| !self.field(*at).is_empty()).count();
        let used = i128::try_from(used).ok().and_then(|used| Number::from_decimal(used, 0));
        if let Some(used) = used {
            self.add("satellites_used", Value::Number(used), "count");
        }
        self.number("pdop", 14, "")?;
        self.number("hdop", 15, "")?;
        self.number("vdop", 16, "")
    }

    /// Wind: relative to the ship, or true.
    fn mwv(&mut self) -> Result<(), DecodeError> {
        if !self.valid(4) {
            return Ok(());
        }
        let kind = if self.field(1) == "T" { "true" } else { "apparent" };
        self.number(&format!("{kind}_wind_angle"), 0, "deg")?;
        let name = format!("{kind}_wind_speed");
        match self.field(3) {
            "N" => self.scaled(&name, 2, KNOT, -3, "km/h"),
            "K" => self.number(&name, 2, "km/h"),
            "M" => self.number(&name, 2, "m/s"),
            "S" => self.scaled(&name, 2, MILE, -6, "km/h"),
            other => Err(field_error("wind speed unit", other, "N, K, M or S")),
        }
    }

    /// Weather, all in one.
    fn mda(&mut self) -> Result<(), DecodeError> {
        self.scaled("pressure", 2, 1, 3, "hPa")?;
        self.number("air_temperature", 4, "Cel")?;
        self.number("water_temperature", 6, "Cel")?;
        self.number("humidity", 8, "%RH")?;
        self.number("dew_point", 10, "Cel")?;
        self.number("wind_direction", 12, "deg")?;
        self.number("wind_direction_magnetic", 14, "deg")?;
        self.number("wind_speed", 18, "m/s")
    }

    /// Transducers: type, value, unit and name of each.
    fn xdr(&mut self) -> Result<(), DecodeError> {
        for at in (0..self.fields.len()).step_by(4) {
            let (kind, unit, name) = (self.field(at), self.field(at + 2), self.field(at + 3));
            let name = if name.is_empty() { kind } else { name }.to_owned();
            let (power, unit) = match (kind, unit) {
                (_, "C") => (0, "Cel"),
                ("H", "P") => (0, "%RH"),
                (_, "P") => (0, "Pa"),
                (_, "B") => (3, "hPa"),
                (_, "D") => (0, "deg"),
                (_, "R") => (0, "1/min"),
                (_, "M") => (0, "m"),
                (_, other) => (0, other),
            };
            self.scaled(&name, at + 1, 1, power, unit)?;
        }
        Ok(())
    }

    fn field(&self, at: usize) -> &'a str {
        self.fields.get(at).copied().unwrap_or_default()
    }

    fn valid(&self, at: usize) -> bool {
        self.field(at) == "A"
    }

    fn add(&mut self, name: &str, value: Value, unit: &str) {
        let unit = (!unit.is_empty()).then(|| unit.to_owned());
        self.drafts.push(Draft { unit, ..self.identity.draft(name, value) });
    }

    /// The number of a field, unless that is empty.
    fn number(&mut self, name: &str, at: usize, unit: &str) -> Result<(), DecodeError> {
        self.scaled(name, at, 1, 0, unit)
    }

    /// The same × `factor` × 10^`power`.
    fn scaled(
        &mut self,
        name: &str,
        at: usize,
        factor: i128,
        power: i32,
        unit: &str,
    ) -> Result<(), DecodeError> {
        let text = self.field(at);
        if text.is_empty() {
            return Ok(());
        }
        let value = times(number(name, text)?, factor, power);
        let value = value.ok_or_else(|| field_error(name, text, "a number of fewer digits"))?;
        self.add(name, Value::Number(value), unit);
        Ok(())
    }

    /// Latitude and longitude in four fields from `at` on.
    fn position(&mut self, at: usize) -> Result<(), DecodeError> {
        for (name, unit, at, signs, limit) in
            [("latitude", "lat", at, ["N", "S"], 90), ("longitude", "lon", at + 2, ["E", "W"], 180)]
        {
            let (text, sign) = (self.field(at), self.field(at + 1));
            if text.is_empty() {
                continue;
            }
            let expected = "degrees and minutes such as 4807.038, and N, S, E or W";
            let degrees = degrees(text, limit).filter(|_| signs.contains(&sign));
            let degrees = degrees.ok_or_else(|| field_error(name, text, expected))?;
            let factor = if matches!(sign, "S" | "W") { -1 } else { 1 };
            let degrees = times(degrees, factor, 0).unwrap_or(degrees);
            self.add(name, Value::Number(degrees), unit);
        }
        Ok(())
    }

    fn time_of_day(&mut self, at: usize) -> Result<(), DecodeError> {
        self.identity.time = self.clock(at)?.and_then(|time| civil::nearest(time, self.now));
        Ok(())
    }

    /// `hhmmss` with a fraction, if it is there.
    fn clock(&self, at: usize) -> Result<Option<Time>, DecodeError> {
        let text = self.field(at);
        if text.is_empty() {
            return Ok(None);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let nanos =
            fraction.get(..9.min(fraction.len())).filter(|f| f.bytes().all(|b| b.is_ascii_digit()));
        let nanos = nanos.and_then(|digits| format!("{digits:0<9}").parse().ok());
        let time = civil::pairs::<3>(whole).zip(nanos);
        let time = time.and_then(|([hour, minute, second], nanos)| {
            // A leap second is the end of the one before it.
            Time::new(hour, minute, second.min(59), nanos).ok()
        });
        time.map(Some)
            .ok_or_else(|| field_error("time", text, "hhmmss, with or without a fraction"))
    }

    /// Three numbers of two digits; zeros where the field is empty.
    fn numbers(&self, at: usize) -> Result<[i8; 3], DecodeError> {
        let text = self.field(at);
        if text.is_empty() {
            return Ok([0; 3]);
        }
        civil::pairs(text).ok_or_else(|| field_error("date", text, "ddmmyy"))
    }

    fn routine(&self) -> DecodeError {
        DecodeError::Routine { what: format!("{}{}", self.talker, self.kind) }
    }
}

/// Degrees from degrees and minutes, `4807.038`, with as many digits as a minute's fraction is
/// worth.
fn degrees(text: &str, limit: i128) -> Option<Number> {
    let number = number("", text).ok().filter(|number| number.mantissa() >= 0)?;
    let places = u32::try_from(number.exponent().checked_neg()?).ok()?;
    if places > MAX_PLACES {
        return None;
    }
    let one = 10_i128.pow(places);
    let (degrees, minutes) = (number.mantissa() / one / 100, number.mantissa() % (one * 100));
    if minutes >= one * 60 || degrees > limit {
        return None;
    }
    let sum = degrees * one * 100 + (minutes * 100 + 30) / 60;
    let degrees = Number::from_decimal(sum, number.exponent() - 2)?;
    (sum <= limit * one * 100).then_some(degrees)
}

fn short(text: &str) -> String {
    text.chars().take(10).collect()
}
