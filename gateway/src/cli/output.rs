//! Standard output and standard error.

use std::io::{self, IsTerminal as _, Write as _};

use crate::config::Report;
use crate::exit::Exit;

/// Standard output, locked. A reader that has enough, such as `head`, is a quiet end.
pub(crate) struct Output(io::BufWriter<io::StdoutLock<'static>>);

impl Output {
    /// Locks standard output.
    pub(crate) fn lock() -> Self {
        Self(io::BufWriter::new(io::stdout().lock()))
    }

    /// Writes a part of the data; how the command ends where no more can be written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        self.0.write_all(bytes).map_err(|error| unwritten(&error))
    }

    /// Writes a part of the data that somebody is waiting for.
    pub(crate) fn show(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        let written = self.0.write_all(bytes).and_then(|()| self.0.flush());
        written.map_err(|error| unwritten(&error))
    }

    /// Writes `text` and ends the command with `exit`, or with a failure where it cannot be
    /// written.
    pub(crate) fn finish(mut self, text: &str, exit: Exit) -> Exit {
        let written = self.0.write_all(text.as_bytes()).and_then(|()| self.0.flush());
        match written.map_err(|error| unwritten(&error)) {
            Err(Exit::Failure) => Exit::Failure,
            _ => exit,
        }
    }

    /// Writes `value` as JSON and ends the command with `exit`.
    pub(crate) fn finish_json(self, value: &serde_json::Value, exit: Exit) -> Exit {
        self.finish(&format!("{value:#}\n"), exit)
    }
}

/// How a command ends whose data could not be written.
fn unwritten(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Exit::Ok;
    }
    complain_text(&format!("error: cannot write to standard output: {error}\n"));
    Exit::Failure
}

/// Tells the problems of a configuration on standard error.
pub(crate) fn complain(report: &Report) -> Exit {
    complain_text(&report.render(is_colour_wanted() && io::stderr().is_terminal()));
    Exit::Config
}

/// Whether the user lets a terminal be coloured (no-color.org).
pub(super) fn is_colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Tells an error with its causes on standard error.
pub(crate) fn complain_of(error: &dyn std::error::Error) {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("\n  caused by: {cause}"));
        source = cause.source();
    }
    complain_text(&format!("{text}\n"));
}

/// Tells what does not keep a command from its work.
pub(super) fn remark(text: &str) {
    complain_text(&format!("warning: {text}\n"));
}

/// Tells what is wrong with the command line.
pub(crate) fn complain_usage(problem: &str) -> Exit {
    complain_text(&format!("error: {problem}\n"));
    Exit::Usage
}

/// Standard error is the last resort: where it is closed there is nobody to tell.
fn complain_text(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
