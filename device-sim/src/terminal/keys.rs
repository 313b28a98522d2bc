//! Keys of the terminal.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::task;

/// How long the reader looks for a key before it looks whether anybody still wants one.
const LOOK: Duration = Duration::from_millis(50);
/// Wishes that wait to be handled; further ones change nothing.
const MAX_WISHES: usize = 8;

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To end it.
    Quit,
    /// To see it in the new size.
    Redraw,
}

/// Reads keys on a thread of its own, until the receiver is gone or the terminal fails.
pub fn read() -> mpsc::Receiver<Wish> {
    let (sender, wishes) = mpsc::channel(MAX_WISHES);
    // It ends by itself, so nobody waits for it.
    drop(task::spawn_blocking(move || read_into(&sender)));
    wishes
}

fn read_into(sender: &mpsc::Sender<Wish>) -> io::Result<()> {
    while !sender.is_closed() {
        if event::poll(LOOK)?
            && let Some(wish) = wish(&event::read()?)
        {
            // When there is no room the same wish waits already.
            let _ = sender.try_send(wish);
        }
    }
    Ok(())
}

fn wish(event: &Event) -> Option<Wish> {
    match event {
        Event::Key(key) => {
            (key.kind != KeyEventKind::Release && is_quit(key)).then_some(Wish::Quit)
        }
        Event::Resize(..) => Some(Wish::Redraw),
        Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => None,
    }
}

/// In raw mode Ctrl-C is a key like any other.
fn is_quit(key: &KeyEvent) -> bool {
    let is_plain = matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc);
    is_plain || key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_end_programs_end_it() {
        let key = |code, modifiers| wish(&Event::Key(KeyEvent::new(code, modifiers)));
        for (code, modifiers) in [
            (KeyCode::Char('q'), KeyModifiers::NONE),
            (KeyCode::Char('Q'), KeyModifiers::SHIFT),
            (KeyCode::Esc, KeyModifiers::NONE),
            (KeyCode::Char('c'), KeyModifiers::CONTROL),
        ] {
            assert_eq!(key(code, modifiers), Some(Wish::Quit), "{code:?}");
        }
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(wish(&Event::Resize(10, 10)), Some(Wish::Redraw));
    }
}
