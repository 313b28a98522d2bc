//! Devices whose clock cannot be right: what they sent is dated by its arrival.
//!
//! A board without a battery counts from 1970 or 2000 after each start, and one whose time was set wrong can
//! be years ahead. Such a clock still tells how far its readings lie apart. So of the readings of a device
//! that arrive together the newest one is as old as the message, and the others keep their distance to it.
//! That it was so is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::{Reading, TimeQuality, Timestamp};

/// Which times of devices can be right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceClock {
    /// None is earlier.
    pub(crate) from: Timestamp,
    /// None is further ahead of the gateway's clock.
    pub(crate) ahead: Duration,
}

impl DeviceClock {
    /// Dates the readings anew that arrived together at `arrival` and whose times cannot be right, and
    /// calls `tell` with each of them and a reason. Where the gateway's own clock is not synchronised,
    /// nobody can tell that a device's is ahead.
    pub(crate) fn correct(
        &self,
        readings: &mut [Reading],
        arrival: Timestamp,
        is_synchronised: bool,
        mut tell: impl FnMut(&Reading, &'static str),
    ) {
        let limit = is_synchronised.then(|| nanos(self.ahead).saturating_add(arrival.as_nanos()));
        let reason = |reading: &Reading| match reading.time_quality {
            TimeQuality::Device if reading.time < self.from => Some("too_early"),
            TimeQuality::Device => {
                limit.filter(|limit| reading.time.as_nanos() > *limit).map(|_| "ahead")
            }
            TimeQuality::Gateway | TimeQuality::Estimated => None,
        };
        let mut newest = BTreeMap::<String, Timestamp>::new();
        for reading in readings.iter() {
            if let Some(reason) = reason(reading) {
                tell(reading, reason);
                match newest.get_mut(&reading.device) {
                    Some(newest) => *newest = reading.time.max(*newest),
                    None => drop(newest.insert(reading.device.clone(), reading.time)),
                }
            }
        }
        for reading in readings {
            if let (Some(_), Some(newest)) = (reason(reading), newest.get(&reading.device)) {
                let ago = newest.as_nanos().saturating_sub(reading.time.as_nanos());
                let time = Timestamp::from_nanos(arrival.as_nanos().saturating_sub(ago));
                reading.time = time.whole_millis();
                reading.time_quality = TimeQuality::Gateway;
            }
        }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::record;

    const SECOND: i64 = 1_000_000_000;
    const NOW: i64 = 1_795_214_340 * SECOND;
    const CLOCK: DeviceClock = DeviceClock {
        from: Timestamp::from_nanos(1_577_836_800 * SECOND),
        ahead: Duration::from_secs(86_400),
    };

    fn reading(device: &str, time: i64) -> Reading {
        let reading = record(device, 1).reading().unwrap().clone();
        Reading { time: Timestamp::from_nanos(time), time_quality: TimeQuality::Device, ..reading }
    }

    /// The times that come of it, with whether they are the device's, and how many were told.
    fn corrected(mut readings: Vec<Reading>, is_synchronised: bool) -> (Vec<(i64, bool)>, usize) {
        let mut told = 0;
        let now = Timestamp::from_nanos(NOW);
        CLOCK.correct(&mut readings, now, is_synchronised, |_, _| told += 1);
        let time = |r: &Reading| (r.time.as_nanos(), r.time_quality == TimeQuality::Device);
        (readings.iter().map(time).collect(), told)
    }

    #[test]
    fn what_can_be_right_stays() {
        for time in [CLOCK.from.as_nanos(), NOW - 5 * SECOND, NOW + 86_400 * SECOND] {
            assert_eq!(corrected(vec![reading("d", time)], true), (vec![(time, true)], 0));
        }
    }

    #[test]
    fn times_since_a_devices_start_keep_their_distances() {
        let readings = [10, 70, 40].map(|uptime| reading("d", uptime * SECOND)).to_vec();
        let expected = [60, 0, 30].map(|ago| (NOW - ago * SECOND, false)).to_vec();
        for is_synchronised in [true, false] {
            assert_eq!(corrected(readings.clone(), is_synchronised), (expected.clone(), 3));
        }
    }

    #[test]
    fn each_device_has_a_clock_of_its_own() {
        let readings = vec![reading("a", SECOND), reading("b", 500 * SECOND), reading("a", NOW)];
        let expected = vec![(NOW, false), (NOW, false), (NOW, true)];
        assert_eq!(corrected(readings, true), (expected, 2));
    }

    #[test]
    fn a_device_that_is_ahead_is_dated_by_its_arrival_where_that_is_known() {
        let ahead = NOW + 86_401 * SECOND;
        assert_eq!(corrected(vec![reading("d", ahead)], true), (vec![(NOW, false)], 1));
        assert_eq!(corrected(vec![reading("d", ahead)], false), (vec![(ahead, true)], 0));
    }
}
