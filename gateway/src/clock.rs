//! The one place where time enters.
//!
//! In a rehearsal it enters from the one who plays it: [`rehearse`] takes the machine's clocks away from
//! the whole process, before anything has read them, and time goes on when it is told to.

#![expect(clippy::disallowed_methods, reason = "this is the file that reads the clocks")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use proto::{Instant, Timestamp};
use rustix::time::{ClockId, clock_gettime};

use crate::time_base::{BootId, Clocks, Moment};

/// Where the kernel names the boot, as a UUID.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

static REHEARSED: OnceLock<Rehearsed> = OnceLock::new();
static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
static BOOT: OnceLock<BootId> = OnceLock::new();

/// Times that are told.
struct Rehearsed {
    /// Monotonic, in microseconds.
    elapsed: AtomicU64,
    /// Civil time when that was 0, in nanoseconds.
    origin: AtomicI64,
}

/// Who tells the time of a rehearsal.
#[derive(Debug)]
pub(crate) struct Metronome(());

/// From now on it is `origin` in this process, and time stands still until it is told to go on; `None`
/// where somebody tells it already.
pub(crate) fn rehearse(origin: Timestamp) -> Option<Metronome> {
    let origin = AtomicI64::new(origin.as_nanos());
    REHEARSED.set(Rehearsed { elapsed: AtomicU64::new(0), origin }).ok().map(|()| Metronome(()))
}

impl Metronome {
    /// It is `now`, since the beginning.
    pub(crate) fn advance(&self, now: Instant) {
        if let Some(rehearsed) = REHEARSED.get() {
            rehearsed.elapsed.fetch_max(now.as_micros(), Ordering::SeqCst);
        }
    }

    /// Civil time jumps by so many nanoseconds.
    pub(crate) fn step(&self, nanos: i64) {
        if let Some(rehearsed) = REHEARSED.get() {
            rehearsed.origin.fetch_add(nanos, Ordering::SeqCst);
        }
    }
}

impl Rehearsed {
    fn now(&self) -> Instant {
        Instant::from_micros(self.elapsed.load(Ordering::SeqCst))
    }

    fn wall(&self) -> Timestamp {
        let elapsed = i64::try_from(self.now().as_micros()).unwrap_or(i64::MAX);
        let origin = self.origin.load(Ordering::SeqCst);
        Timestamp::from_nanos(origin.saturating_add(elapsed.saturating_mul(1000)))
    }
}

/// Monotonic time since the first call in this process.
pub(crate) fn now() -> Instant {
    if let Some(rehearsed) = REHEARSED.get() {
        return rehearsed.now();
    }
    let elapsed = ORIGIN.get_or_init(std::time::Instant::now).elapsed();
    Instant::ZERO + elapsed
}

/// The point of tokio's clock at which `instant` is reached.
pub(crate) fn deadline(instant: Instant) -> tokio::time::Instant {
    tokio::time::Instant::now() + instant.saturating_since(now())
}

/// Civil time, by the machine's clock.
pub(crate) fn wall() -> Timestamp {
    if let Some(rehearsed) = REHEARSED.get() {
        return rehearsed.wall();
    }
    let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
    };
    Timestamp::from_nanos(nanos)
}

/// Time since the machine's boot, sleep included, and which boot that is.
pub(crate) fn moment() -> Moment {
    if let Some(rehearsed) = REHEARSED.get() {
        return Moment { boot: UNNAMED, uptime: rehearsed.now() };
    }
    let boot =
        *BOOT.get_or_init(|| std::fs::read_to_string(BOOT_ID).map_or(UNNAMED, |id| boot(&id)));
    let since = clock_gettime(ClockId::Boottime);
    let micros = since.tv_sec.saturating_mul(1_000_000).saturating_add(since.tv_nsec / 1000);
    Moment { boot, uptime: Instant::from_micros(u64::try_from(micros).unwrap_or(0)) }
}

/// All of them together.
pub(crate) fn all() -> Clocks {
    Clocks { moment: moment(), wall: wall() }
}

/// The boot of a kernel that does not name it.
const UNNAMED: BootId = BootId([0xff; 16]);

fn boot(uuid: &str) -> BootId {
    let digits = uuid.chars().filter_map(|c| c.to_digit(16));
    digits
        .fold(None, |id: Option<u128>, digit| {
            Some(id.unwrap_or(0).wrapping_shl(4) | u128::from(digit))
        })
        .map_or(UNNAMED, |id| BootId(id.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_the_kernels_name_for_it() {
        let id = boot("0123abcd-4567-89ef-0123-456789abcdef\n");
        assert_eq!(id.0[..4], [0x01, 0x23, 0xab, 0xcd]);
        assert_eq!(id.0[12..], [0x89, 0xab, 0xcd, 0xef]);
        assert_eq!(boot(""), UNNAMED);
        assert!(moment().uptime > Instant::ZERO);
    }
}
