//! A fault that can happen.

use std::time::Duration;

use super::values::{Bandwidth, Delay, Place};
use crate::broker::{Switch, SwitchError};
use crate::scenario::values::Skew;

/// A fault whose mistakes are out.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What it is called.
    pub name: String,
    /// When it begins first.
    pub at: Duration,
    /// How long it lasts; `None` to the end.
    pub lasts: Option<Duration>,
    /// From one beginning to the next.
    pub every: Option<Duration>,
    /// Where.
    pub on: Place,
    /// What.
    pub effect: Effect,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Something on the way.
    Network(Impairment),
    /// Connections are refused.
    Refuse,
    /// Connections are reset.
    Cut,
    /// The built-in broker misbehaves.
    Broker(BrokerSwitch),
    /// The serial port is away.
    Unplug,
    /// The gateway is dead.
    Kill,
    /// The gateway stands still.
    Stop,
    /// The gateway ends and starts.
    Restart,
    /// The gateway's clock jumps.
    ClockStep(Skew),
    /// The file system of its state is full.
    DiskFull {
        /// The bytes that are left.
        free: u64,
    },
}

impl Effect {
    /// The key that asks for it.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Network(_) => "loss",
            Self::Refuse => "refuse",
            Self::Cut => "cut",
            Self::Broker(_) => "broker",
            Self::Unplug => "unplug",
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::ClockStep(_) => "clock_step",
            Self::DiskFull { .. } => "disk_full",
        }
    }

    /// The bytes that it leaves on a disk, if it is about that.
    pub const fn leaves(&self) -> Option<u64> {
        if let Self::DiskFull { free } = self { Some(*free) } else { None }
    }

    /// Whether it is over as soon as it has happened.
    pub const fn is_instantaneous(&self) -> bool {
        match self {
            Self::Cut | Self::Restart | Self::ClockStep(_) => true,
            Self::Broker(switch) => switch.off.is_none(),
            Self::Network(_) | Self::Refuse | Self::Unplug | Self::Kill | Self::Stop => false,
            Self::DiskFull { .. } => false,
        }
    }
}

/// A misbehaviour of the built-in broker, and what undoes it.
#[derive(Clone, Debug)]
pub struct BrokerSwitch {
    /// At the beginning.
    pub on: Switch,
    /// At the end; `None` for what is over at once.
    pub off: Option<Switch>,
}

impl BrokerSwitch {
    pub(super) fn parse(line: &str) -> Result<Self, SwitchError> {
        let on = line.parse()?;
        let name = line.split_whitespace().next().unwrap_or_default();
        // What cannot be switched off knows no such argument.
        Ok(Self { on, off: format!("{name} off").parse().ok() })
    }
}

/// How bad a way is. Shares are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// That a datagram does not arrive.
    pub loss: f64,
    /// That it arrives twice.
    pub duplicate: f64,
    /// That it is held back until it is overtaken.
    pub reorder: f64,
    /// That one of its bits is flipped.
    pub corrupt: f64,
    /// That its end is missing.
    pub truncate: f64,
    /// How long it takes.
    pub delay: Option<Delay>,
    /// How much passes.
    pub bandwidth: Option<Bandwidth>,
    /// Whether nothing passes.
    pub partition: bool,
}

impl Impairment {
    /// Both at a time: probabilities of either, the longer delay on average, the narrower bandwidth.
    pub fn and(self, other: Self) -> Self {
        let either = |a: f64, b: f64| 1.0 - (1.0 - a) * (1.0 - b);
        let slower = |a: &Delay, b: &Delay| a.mean().cmp(&b.mean());
        Self {
            loss: either(self.loss, other.loss),
            duplicate: either(self.duplicate, other.duplicate),
            reorder: either(self.reorder, other.reorder),
            corrupt: either(self.corrupt, other.corrupt),
            truncate: either(self.truncate, other.truncate),
            delay: self.delay.into_iter().chain(other.delay).max_by(slower),
            bandwidth: self
                .bandwidth
                .into_iter()
                .chain(other.bandwidth)
                .min_by_key(|bandwidth| bandwidth.bits_per_second()),
            partition: self.partition || other.partition,
        }
    }
}
