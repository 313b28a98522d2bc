//! What is shown while a scenario runs: a live view on a terminal, else a line now and then.
//!
//! Whoever runs it hands over a [`Progress`] from time to time, which holds all that is shown; the
//! newest replaces those that were not shown yet. The view ends with the sender, and `q`, Ctrl-C or a
//! signal ask the run to stop.

mod lines;
mod screen;
mod sparkline;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use lines::line;
pub use screen::{Palette, draw};

use crate::report::Colour;
use crate::terminal::{self, Screen, Wish};

/// How often a line is written where there is no live view.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// What is known of a run that goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The name of the scenario.
    pub scenario: String,
    /// Since it began.
    pub elapsed: Duration,
    /// How long devices send in all.
    pub duration: Duration,
    /// What it does: sends, waits for what is on its way, ends.
    pub stage: Stage,
    /// Each fleet.
    pub fleets: Vec<FleetProgress>,
    /// The names of faults that are active, and how long they still are.
    pub faults: Vec<(String, Duration)>,
    /// What happened, the oldest first.
    pub log: Vec<LogLine>,
}

/// What a run does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Devices send.
    #[default]
    Sending,
    /// Nothing more is sent, and what is on its way arrives.
    Settling,
}

/// A fleet in a run that goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetProgress {
    /// Its name.
    pub name: String,
    /// What its devices speak.
    pub via: String,
    /// How many devices.
    pub devices: u64,
    /// Sent in the last whole second.
    pub sent_per_second: u64,
    /// Arrived in the last whole second.
    pub arrived_per_second: u64,
    /// Measured so far.
    pub generated: u64,
    /// Sent so far.
    pub sent: u64,
    /// Arrived so far.
    pub arrived: u64,
    /// Neither arrived nor given up.
    pub on_the_way: u64,
    /// Given up.
    pub lost: u64,
    /// Of each of the last seconds the longest latency of what arrived in it, the oldest first;
    /// `None` where nothing did.
    pub latencies: Vec<Option<Duration>>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogLine {
    /// When, since the run began.
    pub at: Duration,
    /// What.
    pub text: String,
    /// Whether it is a failure.
    pub is_bad: bool,
}

impl Progress {
    /// How long devices still send.
    pub fn left(&self) -> Duration {
        self.duration.saturating_sub(self.elapsed)
    }
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// On the whole terminal.
    Live(Colour),
    /// A line every few seconds.
    Lines,
    /// Not at all.
    Nothing,
}

impl Show {
    /// A live view where standard output is a terminal, in colour unless `NO_COLOR` is set.
    pub fn for_stdout() -> Self {
        match io::stdout().is_terminal() {
            true => Self::Live(Colour::for_stdout()),
            false => Self::Lines,
        }
    }
}

/// Shows `progress` until its sender is gone; cancels `stop` when the user, or a signal, wants an end.
///
/// # Errors
/// When there is no terminal, or no handler of signals.
pub async fn show(
    mut progress: watch::Receiver<Progress>,
    show: Show,
    stop: CancellationToken,
) -> io::Result<()> {
    // Whatever happens to the view, a signal ends the run in order, and the terminal is restored.
    let [mut interrupt, mut terminate, mut hangup] = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    let shown = async {
        let shown = match show {
            Show::Live(colour) => live(&mut progress, &Palette::new(colour), &stop).await,
            Show::Lines => write_lines(&mut progress).await,
            Show::Nothing => Ok(()),
        };
        // A view that failed does not end the run, nor does one whose reader has enough.
        while progress.changed().await.is_ok() {}
        shown
    };
    tokio::pin!(shown);
    loop {
        tokio::select! {
            shown = &mut shown => return match shown {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                shown => shown,
            },
            _ = interrupt.recv() => stop.cancel(),
            _ = terminate.recv() => stop.cancel(),
            _ = hangup.recv() => stop.cancel(),
        }
    }
}

async fn live(
    progress: &mut watch::Receiver<Progress>,
    palette: &Palette,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut screen = Screen::enter()?;
    let mut wishes = terminal::read();
    loop {
        let snapshot = progress.borrow_and_update().clone();
        screen.draw(|frame| draw(frame, &snapshot, stop.is_cancelled(), palette))?;
        tokio::select! {
            changed = progress.changed() => if changed.is_err() {
                return Ok(());
            },
            Some(wish) = wishes.recv() => if wish == Wish::Quit {
                stop.cancel();
            },
        }
    }
}

async fn write_lines(progress: &mut watch::Receiver<Progress>) -> io::Result<()> {
    let mut lines = lines::Lines::new(LINE_INTERVAL);
    while progress.changed().await.is_ok() {
        let text = lines.handle_progress(&progress.borrow_and_update());
        if !text.is_empty() {
            io::Write::write_all(&mut io::stdout().lock(), text.as_bytes())?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
