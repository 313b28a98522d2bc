//! How the process ends: one place for all exit codes.

use std::process::ExitCode;

/// An exit code with a meaning that scripts can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It worked.
    Ok,
    /// It did not work.
    Failure,
    /// The command line is wrong.
    Usage,
    /// A peer cannot be reached.
    Unreachable,
    /// The configuration is wrong.
    Config,
    /// A threshold was missed.
    Threshold,
}

impl Exit {
    /// All of them, in the order of their codes.
    const ALL: [Self; 6] =
        [Self::Ok, Self::Failure, Self::Usage, Self::Unreachable, Self::Config, Self::Threshold];

    /// The number: by sysexits.h where it has one.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Unreachable => 69,
            Self::Config => 78,
            Self::Threshold => 99,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failure => "failure",
            Self::Usage => "usage",
            Self::Unreachable => "a peer is unreachable",
            Self::Config => "bad configuration",
            Self::Threshold => "a threshold was missed",
        }
    }

    /// The line of the help text.
    pub(crate) fn help() -> String {
        let codes = Self::ALL.map(|exit| format!("{} {}", exit.code(), exit.meaning()));
        format!("Exit codes: {}", codes.join(", "))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
