//! A terminal in full-screen mode, and its keys.

mod keys;

use std::io;

use ratatui::{DefaultTerminal, Frame};

pub use keys::{Wish, read};

/// A terminal that is as it was when this is dropped, also after a panic.
#[derive(Debug)]
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When standard output is none.
    pub fn enter() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    /// Draws it anew.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = ratatui::try_restore();
    }
}
