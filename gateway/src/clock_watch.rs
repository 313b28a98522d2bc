//! Whether the machine's clock is synchronised.
//!
//! What is asked, in this order, where `gateway.clock` is `auto`:
//!
//! 1. `gateway.clock_flag`, a file that is there once the clock is right: nothing else then.
//! 2. The file that systemd-timesyncd makes.
//! 3. `timedatectl`, which tells what the kernel was told by any service, where systemd runs.
//! 4. Where nobody answers, a clock that says a year in which this gateway existed is trusted.
//!
//! Once it is synchronised it stays so until the machine is started again: without a service that goes on
//! a clock drifts by seconds a day, and what it says is better than any estimate.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use proto::{Instant, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock;
use crate::config::{Clock, Gateway};
use crate::store::Spool;

/// The file of systemd-timesyncd, which its folder is there for while it runs.
const TIMESYNCD: &str = "/run/systemd/timesync";
const TIMESYNCD_FLAG: &str = "synchronized";
/// The folder that says that systemd runs: sd_booted(3).
const SYSTEMD: &str = "/run/systemd/system";
/// The pause between two looks at the files and the clocks.
const LOOK: Duration = Duration::from_secs(1);
/// The pause between two questions to `timedatectl`.
const ASK: Duration = Duration::from_secs(30);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two looks whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// 2026-01-01T00:00:00Z.
const GATEWAY_EXISTS: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

/// Looks after the clock.
pub(crate) struct ClockWatch {
    rule: Rule,
    spool: Spool,
    /// What `timedatectl` said last, if it says anything, and when to ask again.
    service: Option<bool>,
    ask_at: Instant,
}

enum Rule {
    Trusted,
    Flag(PathBuf),
    Auto,
}

/// What there is to see.
#[derive(Clone, Copy, Debug)]
struct Signs {
    timesyncd_flag: bool,
    has_timesyncd: bool,
    service: Option<bool>,
    wall: Timestamp,
}

impl ClockWatch {
    pub(crate) fn new(gateway: &Gateway, spool: Spool) -> Self {
        let rule = match (gateway.clock, &gateway.clock_flag) {
            (Clock::Trusted, _) => Rule::Trusted,
            (Clock::Auto, Some(flag)) => Rule::Flag(flag.clone()),
            (Clock::Auto, None) => Rule::Auto,
        };
        Self { rule, spool, service: None, ask_at: Instant::ZERO }
    }

    /// Looks, and tells the store.
    pub(crate) async fn look(&mut self) {
        let is_synchronised = match &self.rule {
            Rule::Trusted => true,
            Rule::Flag(flag) => flag.exists(),
            Rule::Auto => self.signs().await.are_good(),
        };
        self.spool.observe_clock(is_synchronised);
    }

    /// Looks once a second.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.look().await,
            }
        }
    }

    async fn signs(&mut self) -> Signs {
        let timesyncd_flag = Path::new(TIMESYNCD).join(TIMESYNCD_FLAG).exists();
        let now = clock::now();
        let is_of_use = !timesyncd_flag && Path::new(SYSTEMD).exists();
        // Also when it was synchronised before: the store remembers that.
        if is_of_use && self.service != Some(true) && now >= self.ask_at {
            self.ask_at = now + ASK;
            let asked = tokio::task::spawn_blocking(|| ask("timedatectl")).await;
            self.service = asked.ok().flatten();
            debug!(synchronised = ?self.service, "asked timedatectl");
        }
        let has_timesyncd = Path::new(TIMESYNCD).exists();
        Signs { timesyncd_flag, has_timesyncd, service: self.service, wall: clock::wall() }
    }
}

impl Signs {
    fn are_good(self) -> bool {
        match (self.timesyncd_flag, self.service) {
            (true, _) => true,
            (false, Some(service)) => service,
            (false, None) if self.has_timesyncd => false,
            (false, None) => self.wall >= GATEWAY_EXISTS,
        }
    }
}

/// What `program` says, which is `timedatectl` but in tests.
fn ask(program: &str) -> Option<bool> {
    let mut child = Command::new(program)
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let until = clock::now() + PATIENCE;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if clock::now() < until => thread::sleep(POLL),
            Ok(None) | Err(_) => break false,
        }
    };
    if !ended {
        // It may have ended by itself; what is left of it is taken away in any case.
        let _ = child.kill();
        let _ = child.wait();
        return None;
    }
    let mut said = [0; 8];
    let count = child.stdout.as_mut()?.read(&mut said).ok()?;
    match said.get(..count)?.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::tests::Folder;

    #[test]
    fn who_answers_first_is_believed() {
        let year = |nanos| Timestamp::from_nanos(nanos);
        let none = Signs {
            timesyncd_flag: false,
            has_timesyncd: false,
            service: None,
            wall: GATEWAY_EXISTS,
        };
        assert!(none.are_good(), "nobody can be asked");
        assert!(!Signs { wall: year(0), ..none }.are_good(), "1970");
        assert!(!Signs { has_timesyncd: true, ..none }.are_good());
        assert!(!Signs { service: Some(false), ..none }.are_good());
        assert!(Signs { service: Some(true), wall: year(0), ..none }.are_good());
        assert!(Signs { timesyncd_flag: true, service: Some(false), ..none }.are_good());
    }

    #[test]
    fn what_timedatectl_prints_is_understood_and_a_failure_is_no_answer() {
        let folder = Folder::new();
        let program = folder.0.join("timedatectl");
        for (script, said) in [
            ("echo yes", Some(true)),
            ("echo no", Some(false)),
            ("echo perhaps", None),
            ("echo yes; exit 1", None),
        ] {
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(ask(program.to_str().unwrap()), said, "{script}");
        }
        assert_eq!(ask("/nowhere/timedatectl"), None);
    }
}
