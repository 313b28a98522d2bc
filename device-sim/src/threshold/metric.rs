//! What thresholds may be about.

use super::limit::Kind;

/// Something that is measured in a run. Their order is that of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// See [`Fleet::acknowledged`](crate::report::Fleet::acknowledged).
    Acknowledged,
    /// See [`Fleet::arrived`](crate::report::Fleet::arrived).
    Arrived,
    /// See [`Commands::done`](crate::report::Commands::done).
    CommandsDone,
    /// See [`Commands::expired`](crate::report::Commands::expired).
    CommandsExpired,
    /// See [`Commands::failed`](crate::report::Commands::failed).
    CommandsFailed,
    /// See [`Commands::false_done`](crate::report::Commands::false_done).
    CommandsFalseDone,
    /// See [`Commands::no_outcome`](crate::report::Commands::no_outcome).
    CommandsNoOutcome,
    /// See [`Commands::repeated`](crate::report::Commands::repeated).
    CommandsRepeated,
    /// See [`Commands::sent`](crate::report::Commands::sent).
    CommandsSent,
    /// See [`Commands::unasked`](crate::report::Commands::unasked).
    CommandsUnasked,
    /// See [`Commands::unknown`](crate::report::Commands::unknown).
    CommandsUnknown,
    /// See [`Fleet::duplicates`](crate::report::Fleet::duplicates).
    Duplicates,
    /// See [`Fleet::late`](crate::report::Fleet::late).
    Late,
    /// The longest latency.
    LatencyMax,
    /// The shortest.
    LatencyMin,
    /// That of half of all.
    LatencyP50,
    /// That of 90 %.
    LatencyP90,
    /// That of 95 %.
    LatencyP95,
    /// That of 99 %.
    LatencyP99,
    /// That of 99.9 %.
    LatencyP999,
    /// See [`Fleet::lost`](crate::report::Fleet::lost).
    Lost,
    /// See [`Fleet::out_of_order`](crate::report::Fleet::out_of_order).
    OutOfOrder,
    /// See [`Recovery::took`](crate::report::Recovery::took).
    Recovery,
    /// See [`Fleet::refused`](crate::report::Fleet::refused).
    Refused,
    /// See [`Fleet::unanswered`](crate::report::Fleet::unanswered).
    Unanswered,
    /// See [`Report::unknown`](crate::report::Report::unknown).
    Unknown,
    /// See [`Fleet::wrong_value`](crate::report::Fleet::wrong_value).
    WrongValue,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Acknowledged,
        Self::Arrived,
        Self::CommandsDone,
        Self::CommandsExpired,
        Self::CommandsFailed,
        Self::CommandsFalseDone,
        Self::CommandsNoOutcome,
        Self::CommandsRepeated,
        Self::CommandsSent,
        Self::CommandsUnasked,
        Self::CommandsUnknown,
        Self::Duplicates,
        Self::Late,
        Self::LatencyMax,
        Self::LatencyMin,
        Self::LatencyP50,
        Self::LatencyP90,
        Self::LatencyP95,
        Self::LatencyP99,
        Self::LatencyP999,
        Self::Lost,
        Self::OutOfOrder,
        Self::Recovery,
        Self::Refused,
        Self::Unanswered,
        Self::Unknown,
        Self::WrongValue,
    ];

    /// Its name in scenarios and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Arrived => "arrived",
            Self::CommandsDone => "commands.done",
            Self::CommandsExpired => "commands.expired",
            Self::CommandsFailed => "commands.failed",
            Self::CommandsFalseDone => "commands.false_done",
            Self::CommandsNoOutcome => "commands.no_outcome",
            Self::CommandsRepeated => "commands.repeated",
            Self::CommandsSent => "commands.sent",
            Self::CommandsUnasked => "commands.unasked",
            Self::CommandsUnknown => "commands.unknown",
            Self::Duplicates => "duplicates",
            Self::Late => "late",
            Self::LatencyMax => "latency.max",
            Self::LatencyMin => "latency.min",
            Self::LatencyP50 => "latency.p50",
            Self::LatencyP90 => "latency.p90",
            Self::LatencyP95 => "latency.p95",
            Self::LatencyP99 => "latency.p99",
            Self::LatencyP999 => "latency.p999",
            Self::Lost => "lost",
            Self::OutOfOrder => "out_of_order",
            Self::Recovery => "recovery",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::Unknown => "unknown",
            Self::WrongValue => "wrong_value",
        }
    }

    /// The metric of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Whether it is known by fault.
    pub(super) fn has_phases(self) -> bool {
        self.kind() == Kind::Duration
    }

    /// What its limit is made of.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::LatencyMax
            | Self::LatencyMin
            | Self::LatencyP50
            | Self::LatencyP90
            | Self::LatencyP95
            | Self::LatencyP99
            | Self::LatencyP999
            | Self::Recovery => Kind::Duration,
            Self::CommandsSent | Self::CommandsUnasked | Self::Unknown => Kind::Count,
            Self::Acknowledged
            | Self::Arrived
            | Self::CommandsDone
            | Self::CommandsExpired
            | Self::CommandsFailed
            | Self::CommandsFalseDone
            | Self::CommandsNoOutcome
            | Self::CommandsRepeated
            | Self::CommandsUnknown
            | Self::Duplicates
            | Self::Late
            | Self::Lost
            | Self::OutOfOrder
            | Self::Refused
            | Self::Unanswered
            | Self::WrongValue => Kind::CountOrShare,
        }
    }
}
