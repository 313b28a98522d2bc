//! What the kernel says of a process or thread.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Outcome;
use super::figure::number;

/// Length of the kernel's clock tick as it shows it to programs (USER_HZ): 100 a second on every
/// Linux.
const TICK: Duration = Duration::from_millis(10);

/// Processor time that a process has used, in user and kernel mode.
pub(crate) fn cpu(process: u32) -> Outcome<Duration> {
    let [user, system, ..] = times(&format!("/proc/{process}/stat"))?;
    Ok(TICK * (user + system))
}

/// The same to the nanosecond, for a short run; threads that have ended do not count.
pub(crate) fn precise_cpu(process: u32) -> Outcome<Duration> {
    fs::read_dir(format!("/proc/{process}/task"))?.map(|task| on_cpu(&task?.path())).sum()
}

/// Processor time that the calling thread has used.
pub(crate) fn own_thread_cpu() -> Outcome<Duration> {
    on_cpu(Path::new("/proc/thread-self"))
}

/// Processor time that all threads of this process have used.
pub(crate) fn own_cpu() -> Outcome<Duration> {
    cpu(std::process::id())
}

/// The same of this process and of its children that have ended, in clock ticks.
pub(crate) fn own_ticks() -> Outcome<u64> {
    Ok(times("/proc/self/stat")?.into_iter().map(u64::from).sum())
}

/// Time on a processor, the first field of schedstat.
fn on_cpu(task: &Path) -> Outcome<Duration> {
    let stat = fs::read_to_string(task.join("schedstat"))?;
    let nanos = stat.split(' ').next().ok_or("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// User and system time, and that of children that have ended: fields 14 to 17.
fn times(path: &str) -> Outcome<[u32; 4]> {
    let stat = fs::read_to_string(path)?;
    // The name in parentheses may hold anything; the state follows it as field 3.
    let (_, rest) = stat.rsplit_once(") ").ok_or("an unknown form of stat")?;
    let mut fields = rest.split(' ').skip(11);
    let mut next = || -> Outcome<u32> { Ok(fields.next().ok_or("a short stat")?.parse()?) };
    Ok([next()?, next()?, next()?, next()?])
}

/// Whether a child has ended and was not waited for.
pub(crate) fn has_ended(process: u32) -> Outcome<bool> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    Ok(stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// Bytes that a process has caused to be written to a disk; its file system's journal is not among
/// them. They can also be asked of a child that has ended and was not waited for.
pub(crate) fn written_bytes(process: u32) -> Outcome<u64> {
    let io = fs::read_to_string(format!("/proc/{process}/io"))?;
    let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(bytes.ok_or("no write_bytes")?.parse()?)
}

/// Most memory that a process ever had resident, in MiB.
pub(crate) fn max_rss_mib(process: u32) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?;
    Ok(number(kib.parse()?) / 1024.0)
}
