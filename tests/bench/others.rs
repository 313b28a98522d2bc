//! How much of the machine others use while something is measured.

use std::fs;
use std::thread;
use std::time::Duration;

use super::Outcome;
use super::figure::number;
use super::process::own_ticks;

/// How long a look at the others takes before a run.
const LOOK: Duration = Duration::from_millis(300);
/// Looks until a run is made all the same.
const LOOKS: u32 = 200;

/// Processor time since the system's start, in ticks over all processors.
pub(crate) struct Others {
    total: u64,
    busy: u64,
    own: u64,
}

impl Others {
    /// From now on.
    pub(crate) fn watch() -> Outcome<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
        let ticks: Vec<u64> = line
            .ok_or("an unknown form of /proc/stat")?
            .split_whitespace()
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        // user, nice, system, idle, iowait, irq, softirq, and what the hypervisor took.
        let [_, _, _, idle, waiting, ..] = ticks[..] else {
            return Err("a short /proc/stat".into());
        };
        let total = ticks.iter().sum();
        Ok(Self { total, busy: total - idle - waiting, own: own_ticks()? })
    }

    /// Waits until what others use is little enough, or until patience ends.
    pub(crate) fn wait_until(is_calm: impl Fn(f64) -> bool) -> Outcome<()> {
        for _ in 0..LOOKS {
            let others = Self::watch()?;
            thread::sleep(LOOK);
            if is_calm(others.percent()?) {
                break;
            }
        }
        Ok(())
    }

    /// What was used until now by others than this process and its children that have ended, in
    /// percent of all processors. The kernel's own threads, which write to the disk, are others.
    pub(crate) fn percent(&self) -> Outcome<f64> {
        let now = Self::watch()?;
        let busy = now.busy.saturating_sub(self.busy);
        let own = now.own - self.own;
        let total = now.total.saturating_sub(self.total).max(1);
        Ok(100.0 * number(busy.saturating_sub(own)) / number(total))
    }
}
