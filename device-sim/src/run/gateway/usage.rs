//! What a process took, as Linux says in `/proc`; nothing elsewhere.

use std::fs;

use crate::report::Resources;

/// Length of the kernel's clock tick as it shows it to programs (USER_HZ): 100 a second on every Linux.
const TICK_US: u64 = 10_000;

/// What a process took, over all its lives.
#[derive(Debug, Default)]
pub(super) struct Usage {
    before: Resources,
    now: Resources,
}

impl Usage {
    /// Another life begins.
    pub(super) fn begin(&mut self) {
        self.before = self.total();
        self.now = Resources::default();
    }

    /// Looks at the process.
    pub(super) fn sample(&mut self, process: u32) {
        let read = |name| fs::read_to_string(format!("/proc/{process}/{name}")).ok();
        if let Some(bytes) = read("status").and_then(|status| high_water(&status)) {
            self.now.max_rss_bytes = bytes;
        }
        if let Some(cpu_us) = read("stat").and_then(|stat| cpu(&stat)) {
            self.now.cpu_us = cpu_us;
        }
    }

    pub(super) fn total(&self) -> Resources {
        Resources {
            max_rss_bytes: self.before.max_rss_bytes.max(self.now.max_rss_bytes),
            cpu_us: self.before.cpu_us + self.now.cpu_us,
        }
    }
}

/// The most memory so far.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Time in user and kernel mode, fields 14 and 15.
fn cpu(stat: &str) -> Option<u64> {
    // The name in parentheses may hold anything; the state follows it as field 3.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut ticks = rest.split(' ').skip(11).map(str::parse::<u64>);
    let sum = ticks.next()?.ok()? + ticks.next()?.ok()?;
    sum.checked_mul(TICK_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_highest_and_time_the_sum_over_all_lives() {
        let status = "Name:\tgateway\nVmPeak:\t  90000 kB\nVmHWM:\t   14336 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(high_water(status), Some(14_680_064));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 12 34 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu(stat), Some(460_000));
        let life = |max_rss_bytes, cpu_us| Resources { max_rss_bytes, cpu_us };
        let mut usage = Usage { now: life(5, 10), ..Usage::default() };
        usage.begin();
        assert_eq!(usage.total(), life(5, 10));
        usage.now = life(3, 20);
        assert_eq!(usage.total(), life(5, 30));
        usage.sample(std::process::id());
        assert!(usage.total().max_rss_bytes > 5);
    }
}
