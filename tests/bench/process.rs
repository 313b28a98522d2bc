//! What the kernel says of a process or thread.

use std::fs;
use std::time::Duration;

use super::Outcome;
use super::figure::number;

/// Length of the kernel's clock tick as it shows it to programs (USER_HZ): 100 a second on every
/// Linux.
const TICK: Duration = Duration::from_millis(10);

/// Processor time that a process has used, in user and kernel mode.
pub(crate) fn cpu(process: u32) -> Outcome<Duration> {
    cpu_in(&format!("/proc/{process}/stat"))
}

/// Processor time that the calling thread has used.
pub(crate) fn own_thread_cpu() -> Outcome<Duration> {
    cpu_in("/proc/thread-self/stat")
}

fn cpu_in(path: &str) -> Outcome<Duration> {
    let stat = fs::read_to_string(path)?;
    // The name in parentheses may hold anything; the state follows it as field 3.
    let (_, rest) = stat.rsplit_once(") ").ok_or("an unknown form of stat")?;
    let mut fields = rest.split(' ').skip(11);
    let mut ticks = || -> Outcome<u32> { Ok(fields.next().ok_or("a short stat")?.parse()?) };
    Ok(TICK * (ticks()? + ticks()?))
}

/// Most memory that a process ever had resident, in MiB.
pub(crate) fn max_rss_mib(process: u32) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?;
    Ok(number(kib.parse()?) / 1024.0)
}
