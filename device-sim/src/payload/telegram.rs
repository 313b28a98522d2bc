//! P1 telegrams of DSMR 5, as smart meters in the Netherlands and elsewhere send them.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use proto::Reading;
use proto::checksum::Checksum;

/// The clocks of Central Europe (Directive 2000/84/EC).
const CENTRAL_EUROPE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// The codes of a telegram's objects: the name of a channel and its OBIS code, such as `1-0:1.7.0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telegram(pub Vec<(String, String)>);

impl Telegram {
    /// A telegram with the readings of one report; an object has the unit of its channel.
    pub(super) fn fill(&self, readings: &[Reading]) -> String {
        let mut out = "/ISK5\\2M550T-1012\r\n\r\n1-3:0.2.8(50)\r\n".to_owned();
        if let Some(first) = readings.first() {
            if let Some(time) = civil(first.time.as_millis()) {
                push(&mut out, format_args!("0-0:1.0.0({time})\r\n"));
            }
            out.push_str("0-0:96.1.1(");
            first.device.bytes().for_each(|byte| push(&mut out, format_args!("{byte:02X}")));
            out.push_str(")\r\n");
        }
        for (name, code) in &self.0 {
            let Some(reading) = readings.iter().find(|reading| reading.name == *name) else {
                continue;
            };
            let value = super::plain(&reading.value);
            match &reading.unit {
                Some(unit) => push(&mut out, format_args!("{code}({value}*{unit})\r\n")),
                None => push(&mut out, format_args!("{code}({value})\r\n")),
            }
        }
        out.push('!');
        let check = Checksum::Crc16Arc.of(out.as_bytes());
        push(&mut out, format_args!("{check:04X}\r\n"));
        out
    }
}

/// The time as meters show it: `YYMMDDhhmmss`, and `S` in summer or `W` in winter.
fn civil(millis: i64) -> Option<String> {
    let zone = TimeZone::posix(CENTRAL_EUROPE).ok()?;
    let time = jiff::Timestamp::from_millisecond(millis).ok()?;
    let season = if zone.to_offset_info(time).dst().is_dst() { 'S' } else { 'W' };
    Some(format!("{}{season}", time.to_zoned(zone).strftime("%y%m%d%H%M%S")))
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::super::tests::readings;
    use super::*;

    #[test]
    fn a_telegram_has_time_meter_objects_and_checksum() {
        let mut readings = readings();
        readings[0].unit = Some("kW".to_owned());
        let telegram = Telegram(vec![("temp".to_owned(), "1-0:1.7.0".to_owned())]).fill(&readings);
        assert_eq!(
            telegram,
            "/ISK5\\2M550T-1012\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(261120233900W)\r\n\
             0-0:96.1.1(74682D31)\r\n1-0:1.7.0(21.50*kW)\r\n!7E09\r\n"
        );
    }

    #[test]
    fn summer_begins_and_ends_as_the_directive_says() {
        let at = |text: &str| civil(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        assert_eq!(at("2026-03-29T00:59:59Z").as_deref(), Some("260329015959W"));
        assert_eq!(at("2026-03-29T01:00:00Z").as_deref(), Some("260329030000S"));
        assert_eq!(at("2026-10-25T00:59:59Z").as_deref(), Some("261025025959S"));
        assert_eq!(at("2026-10-25T01:00:00Z").as_deref(), Some("261025020000W"));
    }
}
