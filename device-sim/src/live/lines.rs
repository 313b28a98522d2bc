//! Progress where there is no terminal to draw on: a line every few seconds, and what happened.

use std::time::Duration;

use super::{LogLine, Progress, Stage};
use crate::report::text::{count, duration};

/// What was written already.
#[derive(Debug)]
pub(super) struct Lines {
    every: Duration,
    next: Duration,
    /// The newest that was written.
    logged: Option<LogLine>,
}

impl Lines {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, next: every, logged: None }
    }

    /// What there is to write now, if anything.
    pub(super) fn handle_progress(&mut self, progress: &Progress) -> String {
        let known = progress.log.iter().rposition(|line| Some(line) == self.logged.as_ref());
        let mut text = String::new();
        for line in progress.log.iter().skip(known.map_or(0, |known| known + 1)) {
            text.push_str(&format!("{:>7}  {}\n", seconds(line.at), line.text));
            self.logged = Some(line.clone());
        }
        if progress.elapsed >= self.next {
            self.next = progress.elapsed + self.every;
            text.push_str(&line(progress));
            text.push('\n');
        }
        text
    }
}

/// How it stands, in a line.
pub fn line(progress: &Progress) -> String {
    let sum = |of: fn(&super::FleetProgress) -> u64| count(progress.fleets.iter().map(of).sum());
    let what = match progress.stage {
        Stage::Sending => format!("{} left", duration(whole(progress.left()))),
        Stage::Settling => "waiting for what is on its way".to_owned(),
    };
    let faults: Vec<_> = progress.faults.iter().map(|(name, _)| name.as_str()).collect();
    let faults =
        if faults.is_empty() { String::new() } else { format!("  [{}]", faults.join(", ")) };
    format!(
        "{:>7}  {} sent, {} arrived, {} on the way, {} lost, {what}{faults}",
        seconds(progress.elapsed),
        sum(|fleet| fleet.sent),
        sum(|fleet| fleet.arrived),
        sum(|fleet| fleet.on_the_way),
        sum(|fleet| fleet.lost),
    )
}

fn seconds(at: Duration) -> String {
    format!("{:.1}s", at.as_secs_f64())
}

/// Without what nobody reads.
pub(super) const fn whole(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}
