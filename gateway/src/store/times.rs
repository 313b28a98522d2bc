//! When the records of the store happened: the [`TimeBase`], kept beside it in `boots`.
//!
//! The file has a line for each boot, the oldest first, and is replaced as a whole when a boot begins, its
//! clock is synchronised or set, or a boot is not needed any more: some times per boot.
//!
//! ```text
//! boot first known|claimed start_ns last_us crc
//! ```
//!
//! A line that is not what was written is left out: what belongs to that boot keeps its place in the
//! order, and stays an estimate.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::{Instant, TimeQuality, Timestamp};
use tracing::{info, warn};

use super::record::{Content, Record};
use crate::clock;
use crate::time_base::{Boot, BootId, Clocks, Moment, Start, TimeBase};

/// Its name in the state directory, and that of the one that replaces it.
const FILE: &str = "boots";
const PARTIAL: &str = "boots.partial";

/// The time base, for any task.
#[derive(Debug, Default)]
pub(crate) struct Times {
    base: Mutex<TimeBase>,
    /// Where the file is; without one everything is forgotten at the end.
    directory: Option<PathBuf>,
    is_unsaved: AtomicBool,
    has_warned: AtomicBool,
}

/// Where the machine's clock stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct ClockStatus {
    /// Whether it is synchronised, or trusted.
    pub(crate) synchronised: bool,
    /// Since when, where it became so while the gateway ran.
    pub(crate) since: Option<String>,
    /// Steps of it since the start.
    pub(crate) steps: u64,
    /// Records whose time will be exact once it is synchronised.
    pub(crate) waiting: u64,
}

impl Times {
    /// What the file in `directory` says, which is nothing where it is missing; `newest` is the newest
    /// record of the store.
    pub(super) fn open(directory: &Path, newest: Option<&Record>) -> Self {
        let text = match fs::read_to_string(directory.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                warn!(%error, file = FILE, "cannot read when the machine was started; times of \
                       readings that wait may stay estimates");
                String::new()
            }
        };
        let mut base = TimeBase::new(text.lines().filter_map(parse).collect());
        if let Some(Record { n, received, moment, .. }) = newest {
            base.handle_newest(*n, *received, *moment);
        }
        Self { base: base.into(), directory: Some(directory.to_owned()), ..Self::default() }
    }

    /// What the clocks say now, and whether the civil one is synchronised; `next` is the number that the
    /// next record gets.
    pub(super) fn observe(&self, now: Clocks, is_synchronised: bool, next: u64) {
        let mut base = self.base();
        let (was_synchronised, steps) = (base.is_synchronised(), base.steps());
        if base.observe(now, is_synchronised, next) {
            self.is_unsaved.store(true, Ordering::Relaxed);
        }
        if base.steps() > steps {
            info!("the machine's clock was set");
        }
        match (was_synchronised, base.is_synchronised()) {
            (false, true) => info!("the machine's clock is synchronised: what waits gets its time"),
            (true, false) => {
                warn!("the machine's clock is not synchronised: times are estimates until it is")
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Whether the machine's clock is right, as far as anybody can tell.
    pub(crate) fn is_synchronised(&self) -> bool {
        self.base().is_synchronised()
    }

    /// What a record that arrives now keeps besides its civil time, if anything.
    pub(crate) fn stamp(&self, now: Moment) -> Option<Moment> {
        self.base().stamp(now)
    }

    /// A record with the times that are known of it by now, and the time against which its age is to be
    /// measured, where the machine's clock says `wall`.
    pub(crate) fn settle<'a>(
        &self,
        record: &'a Record,
        wall: Timestamp,
    ) -> (Cow<'a, Record>, Timestamp) {
        let base = self.base();
        let Some(moment) = record.moment else {
            let now = match base.is_synchronised() {
                true => wall,
                false => base.now(Clocks { wall, moment: clock::moment() }),
            };
            return (Cow::Borrowed(record), now);
        };
        let dated = base.date(moment, record.received);
        let age = base.age(moment, clock::moment());
        let moved = dated.time.as_nanos().saturating_sub(record.received.as_nanos());
        let mut settled = Record { received: dated.time, moment: None, ..record.clone() };
        let mut now = later(dated.time, age);
        if let Content::Reading(reading) = &mut settled.content {
            match reading.time_quality {
                TimeQuality::Estimated => {
                    let time = reading.time.as_nanos().saturating_add(moved);
                    reading.time = Timestamp::from_nanos(time).whole_millis();
                    if dated.is_known {
                        reading.time_quality = TimeQuality::Gateway;
                    }
                }
                // The device's own time stays, and is only as old as is known for certain.
                TimeQuality::Device | TimeQuality::Gateway => {
                    now = match base.is_synchronised() {
                        true => wall,
                        false => later(reading.time, age),
                    }
                }
            }
        }
        (Cow::Owned(settled), now)
    }

    /// How long a record has been in the store at the least, where the machine's clock says `wall`.
    pub(crate) fn age(&self, record: &Record, wall: Timestamp) -> Duration {
        match record.moment {
            Some(moment) => self.base().age(moment, clock::moment()),
            None => {
                let (_, now) = self.settle(record, wall);
                let nanos = now.as_nanos().saturating_sub(record.received.as_nanos());
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
            }
        }
    }

    /// The time against which the age of what a right clock has dated is to be measured, where the
    /// machine's clock says `wall`.
    pub(super) fn now(&self, wall: Timestamp) -> Timestamp {
        let base = self.base();
        match base.is_synchronised() {
            true => wall,
            false => base.now(Clocks { wall, moment: clock::moment() }),
        }
    }

    /// Forgets what only concerns records below `released`, and writes the file where it is not what is
    /// known.
    pub(super) fn save(&self, released: u64) {
        let boots = {
            let mut base = self.base();
            let has_forgotten = base.forget_before(released);
            if !self.is_unsaved.swap(false, Ordering::Relaxed) && !has_forgotten {
                return;
            }
            base.boots().to_vec()
        };
        match self.write(&boots) {
            Ok(()) => self.has_warned.store(false, Ordering::Relaxed),
            Err(error) => {
                self.is_unsaved.store(true, Ordering::Relaxed);
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    warn!(%error, file = FILE, "cannot write when the machine was started; it is \
                           tried again every second");
                }
            }
        }
    }

    /// How the clock stands, in a store whose records from `released` up to `head` wait.
    pub(super) fn status(&self, released: u64, head: u64) -> ClockStatus {
        let base = self.base();
        let waiting =
            base.undated_since().map_or(0, |first| head.saturating_sub(first.max(released)));
        ClockStatus {
            synchronised: base.is_synchronised(),
            since: base.synchronised_since().and_then(text),
            steps: base.steps(),
            waiting,
        }
    }

    fn write(&self, boots: &[Boot]) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let partial = directory.join(PARTIAL);
        let mut file = File::create(&partial)?;
        let lines: String = boots.iter().map(line).collect();
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        fs::rename(partial, directory.join(FILE))?;
        File::open(directory)?.sync_all()
    }

    fn base(&self) -> MutexGuard<'_, TimeBase> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(time.as_nanos().saturating_add(nanos))
}

/// RFC 3339 in UTC, to the second.
fn text(time: Timestamp) -> Option<String> {
    let seconds = time.as_millis().div_euclid(1000);
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

fn line(boot: &Boot) -> String {
    let (kind, start) = match boot.start {
        Start::Known(start) => ("known", start),
        Start::Claimed(start) => ("claimed", start),
    };
    let id = u128::from_be_bytes(boot.id.0);
    let text =
        format!("{id:032x} {} {kind} {} {}", boot.first, start.as_nanos(), boot.last.as_micros());
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

fn parse(line: &str) -> Option<Boot> {
    let (text, crc) = line.rsplit_once(' ')?;
    if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(text.as_bytes())) {
        return None;
    }
    let mut fields = text.split(' ');
    let id = u128::from_str_radix(fields.next()?, 16).ok()?;
    let first = fields.next()?.parse().ok()?;
    let kind = fields.next()?;
    let start = Timestamp::from_nanos(fields.next()?.parse().ok()?);
    let start = if kind == "known" { Start::Known(start) } else { Start::Claimed(start) };
    let last = Instant::from_micros(fields.next()?.parse().ok()?);
    Some(Boot { id: BootId(id.to_be_bytes()), first, start, last })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Folder, record};

    const SECOND: i64 = 1_000_000_000;
    const NOW: i64 = 1_795_214_340 * SECOND;

    /// The clocks when a minute of this machine's boot had passed.
    fn clocks(wall: i64) -> Clocks {
        let moment = Moment { uptime: Instant::from_micros(60_000_000), ..clock::moment() };
        Clocks { moment, wall: Timestamp::from_nanos(wall) }
    }

    /// A reading that arrived at that time by a clock that began with 1970.
    fn undated() -> Record {
        let mut record = record("d", 1);
        record.received = Timestamp::from_nanos(60 * SECOND);
        record.moment = Some(clocks(0).moment);
        if let Content::Reading(reading) = &mut record.content {
            reading.time = record.received;
            reading.time_quality = TimeQuality::Estimated;
        }
        record
    }

    #[test]
    fn what_is_remembered_survives_a_restart_and_what_is_damaged_is_left_out() {
        let folder = Folder::new();
        let times = Times::open(folder.path(), None);
        times.observe(clocks(60 * SECOND), false, 1);
        assert!(!times.is_synchronised());
        times.save(1);
        let newest = Record { n: 9, ..undated() };
        let again = Times::open(folder.path(), Some(&newest));
        assert!(!again.is_synchronised());
        again.observe(clocks(NOW), true, 10);
        again.save(1);
        let boots = again.base().boots().to_vec();
        assert_eq!(boots.len(), 1);
        assert_eq!(boots[0].last, clocks(0).moment.uptime);
        let again = Times::open(folder.path(), None);
        assert_eq!(again.base().boots(), boots);
        assert!(again.is_synchronised());

        let path = folder.path().join(FILE);
        let damaged = fs::read_to_string(&path).unwrap().replace("known", "claimed");
        fs::write(path, damaged + "x\n\n").unwrap();
        assert!(Times::open(folder.path(), None).base().boots().is_empty());
    }

    #[test]
    fn a_reading_is_an_estimate_until_the_clock_is_synchronised() {
        let folder = Folder::new();
        let times = Times::open(folder.path(), None);
        times.observe(clocks(60 * SECOND), false, 1);
        let record = undated();
        let (settled, _) = times.settle(&record, Timestamp::from_nanos(NOW));
        let reading = settled.reading().unwrap();
        assert_eq!(reading.time_quality, TimeQuality::Estimated);
        assert_eq!(reading.time, Timestamp::from_nanos(60 * SECOND));
        assert_eq!(times.status(0, 2).waiting, 1);
        times.observe(clocks(NOW), true, 2);
        let (settled, _) = times.settle(&record, Timestamp::from_nanos(NOW));
        let reading = settled.reading().unwrap();
        assert_eq!(reading.time_quality, TimeQuality::Gateway);
        assert_eq!((reading.time, settled.received), (Timestamp::from_nanos(NOW), reading.time));
        assert_eq!(
            times.status(0, 2),
            ClockStatus {
                synchronised: true,
                since: Some("2026-11-20T22:39:00Z".to_owned()),
                steps: 1,
                waiting: 0,
            }
        );
    }

    #[test]
    fn a_devices_own_time_stays_and_no_step_makes_it_old() {
        let folder = Folder::new();
        let times = Times::open(folder.path(), None);
        times.observe(clocks(60 * SECOND), false, 1);
        let mut record = undated();
        if let Content::Reading(reading) = &mut record.content {
            reading.time = Timestamp::from_nanos(NOW);
            reading.time_quality = TimeQuality::Device;
        }
        let year = 365 * 86_400 * SECOND;
        let (settled, now) = times.settle(&record, Timestamp::from_nanos(NOW + year));
        assert_eq!(settled.reading(), record.reading());
        let certain = times.age(&record, Timestamp::from_nanos(NOW + year));
        assert!(now.as_nanos() - NOW <= i64::try_from(certain.as_nanos()).unwrap());
    }
}
