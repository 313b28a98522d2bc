//! The task that takes what arrives and shows it.
//!
//! It is also what carries arrivals into the ledger, so it goes on to the end of the record, whatever
//! becomes of the terminal.

use std::io::{self, Write as _};
use std::time::Duration;

use device_sim::SharedLedger;
use device_sim::broker::Recorded;
use device_sim::clock::Clock;
use device_sim::terminal::{self, Screen, Wish};
use tokio::sync::mpsc;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Entry, civil};
use super::screen::{self, Palette};

/// How often the screen is drawn: often enough to be live, rarely enough to be read.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);

/// What is shown while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// A live view on the terminal.
    Live {
        /// Whether in colour.
        colour: bool,
    },
    /// A line per arrival.
    Lines,
    /// Nothing.
    Nothing,
}

/// The display.
pub(super) struct Display {
    pub(super) board: Board,
    pub(super) ledger: SharedLedger,
    pub(super) clock: Clock,
    pub(super) inbox: mpsc::Receiver<Recorded>,
    /// Cancelled when the user wants to end it.
    pub(super) stop: CancellationToken,
}

impl Display {
    /// Runs until the record ends.
    pub(super) async fn run(mut self, show: Show) -> io::Result<()> {
        let shown = match show {
            Show::Live { colour } => self.live(&Palette::new(colour)).await,
            Show::Lines => self.lines().await,
            Show::Nothing => Ok(()),
        };
        if shown.is_err() {
            self.stop.cancel();
        }
        while self.next().await.is_some() {}
        match shown {
            // A reader that has enough, such as `head`, is a quiet end.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            shown => shown,
        }
    }

    async fn lines(&mut self) -> io::Result<()> {
        while let Some(entry) = self.next().await {
            if let Some(Entry { at, topic, value, unit }) = entry {
                let time = civil(self.clock.civil_origin(), at);
                let line = format!("{time}  {topic:<24}  {value:>9} {unit}");
                writeln!(io::stdout().lock(), "{}", line.trim_end())?;
            }
        }
        Ok(())
    }

    async fn live(&mut self, palette: &Palette) -> io::Result<()> {
        let mut screen = Screen::enter()?;
        let mut wishes = terminal::read();
        let mut tick = interval(DRAW_INTERVAL);
        loop {
            tokio::select! {
                next = self.next() => if next.is_none() {
                    return Ok(());
                },
                _ = tick.tick() => self.draw(&mut screen, palette)?,
                Some(wish) = wishes.recv() => {
                    if wish == Wish::Quit {
                        self.stop.cancel();
                    }
                    self.draw(&mut screen, palette)?;
                }
            }
        }
    }

    fn draw(&mut self, screen: &mut Screen, palette: &Palette) -> io::Result<()> {
        let now = self.clock.now();
        self.board.stopping = self.stop.is_cancelled();
        let verdict = self.ledger.progress(now);
        let origin = self.clock.civil_origin();
        screen.draw(|frame| screen::draw(frame, &self.board, &verdict, now, origin, palette))
    }

    /// The next message of the record, if it is a reading; `None` when the record ends.
    async fn next(&mut self) -> Option<Option<Entry>> {
        let recorded = self.inbox.recv().await?;
        let (arrival, entry) = match self.board.handle_recorded(&recorded) {
            Some((arrival, entry)) => (arrival, entry),
            None => return Some(None),
        };
        self.ledger.handle_arrived(recorded.at, &arrival);
        Some(Some(entry))
    }
}
