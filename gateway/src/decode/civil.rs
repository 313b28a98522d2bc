//! Dates and times as devices write them: by the calendar, and where they say it, their zone.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use proto::Timestamp;

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// A time so many hours ahead of UTC.
pub(super) fn timestamp(time: DateTime, hours_ahead: i8) -> Option<Timestamp> {
    let offset = Offset::from_hours(hours_ahead).ok()?;
    let nanos = offset.to_timestamp(time).ok()?.as_nanosecond();
    i64::try_from(nanos).ok().map(Timestamp::from_nanos)
}

/// Two digits a number: `190320` is 19, 3, 20.
pub(super) fn pairs<const N: usize>(digits: &str) -> Option<[i8; N]> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let mut numbers = [0; N];
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (number, pair) in numbers.iter_mut().zip(pairs) {
        for digit in pair {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            *number = *number * 10 + i8::try_from(digit).ok()?;
        }
    }
    Some(numbers)
}

/// The day of a year of this century.
pub(super) fn date(year: i8, month: i8, day: i8) -> Option<Date> {
    Date::new(2000 + i16::from(year), month, day).ok()
}

/// A UTC time of day on the day that brings it closest to `now`.
pub(super) fn nearest(time: Time, now: Timestamp) -> Option<Timestamp> {
    let midnight = now.as_nanos() - now.as_nanos().rem_euclid(NANOS_PER_DAY);
    let today = timestamp(DateTime::from_parts(Date::new(1970, 1, 1).ok()?, time), 0)?;
    [-1, 0, 1]
        .into_iter()
        .filter_map(|day| midnight.checked_add(today.as_nanos())?.checked_add(day * NANOS_PER_DAY))
        .min_by_key(|nanos| nanos.abs_diff(now.as_nanos()))
        .map(Timestamp::from_nanos)
}

/// Hours that clocks of Central Europe are ahead of UTC, at a time that they show: the last Sunday
/// of March to that of October is summer (Directive 2000/84/EC). The hour that comes twice counts
/// as summer.
pub(super) fn central_european(time: DateTime) -> Option<i8> {
    let change = |month, hour| {
        let last = Date::new(time.year(), month, 31).ok()?;
        let days = i64::from(last.weekday().to_sunday_zero_offset());
        Some(
            DateTime::from_parts(last, Time::new(hour, 0, 0, 0).ok()?)
                - jiff::Span::new().days(days),
        )
    };
    let is_summer = change(3, 2)? <= time && time < change(10, 3)?;
    Some(if is_summer { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_nanos(i64::try_from(time.as_nanosecond()).unwrap())
    }

    #[test]
    fn a_time_of_day_is_on_the_day_that_is_nearest() {
        let late = Time::new(23, 59, 59, 0).unwrap();
        let midnight = at("2026-11-21T00:00:01Z");
        assert_eq!(nearest(late, midnight), Some(at("2026-11-20T23:59:59Z")));
        let early = Time::new(0, 0, 1, 0).unwrap();
        assert_eq!(nearest(early, at("2026-11-20T23:59:58Z")), Some(at("2026-11-21T00:00:01Z")));
        assert_eq!(nearest(early, at("2026-11-20T08:00:00Z")), Some(at("2026-11-20T00:00:01Z")));
    }

    #[test]
    fn summer_begins_and_ends_on_the_last_sunday() {
        for (time, hours) in [
            ("2026-03-29T01:59:59", 1),
            ("2026-03-29T03:00:00", 2),
            ("2026-10-25T01:59:59", 2),
            ("2026-10-25T03:00:00", 1),
            ("2016-11-07T19:00:00", 1),
            ("2022-09-01T15:22:01", 2),
        ] {
            assert_eq!(central_european(time.parse().unwrap()), Some(hours), "{time}");
        }
    }

    #[test]
    fn pairs_are_digits_alone() {
        assert_eq!(pairs::<3>("190320"), Some([19, 3, 20]));
        for text in ["19032", "1903200", "19 320", "19-320", ""] {
            assert_eq!(pairs::<3>(text), None, "{text}");
        }
    }
}
