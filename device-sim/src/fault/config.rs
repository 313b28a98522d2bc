//! A fault as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{Bandwidth, Delay, Place};
use crate::scenario::values::{Share, Skew};
use crate::settings::{ByteSize, Interval};

/// Something that goes wrong. It does one thing; several keys of a network can be together.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct FaultConfig {
    /// What it is called in reports and thresholds; no two have the same name.
    pub name: String,
    /// When it begins, since the start of the run.
    pub at: Interval,
    /// How long it lasts; without it, to the end of the run. Not for what is over at once: cut,
    /// restart, clock_step, and words of the broker that cannot be switched off.
    #[serde(default, rename = "for")]
    pub lasts: Option<Interval>,
    /// From one beginning to the next; without it, it happens once.
    #[serde(default)]
    pub every: Option<Interval>,
    /// Where: the name of a fleet, for the way of its devices to the gateway; `target.mqtt`, `gateway`,
    /// or `serial:PATH`.
    pub on: Place,
    /// The share of datagrams that never arrive.
    #[serde(default)]
    pub loss: Option<Share>,
    /// The share of datagrams that arrive twice.
    #[serde(default)]
    pub duplicate: Option<Share>,
    /// The share of datagrams that are held back until another one has overtaken them, or 100 ms.
    #[serde(default)]
    pub reorder: Option<Share>,
    /// The share of datagrams in which one bit is flipped; of connections, the share of blocks of 64
    /// bytes.
    #[serde(default)]
    pub corrupt: Option<Share>,
    /// The share of datagrams whose end is missing.
    #[serde(default)]
    pub truncate: Option<Share>,
    /// How much later all arrives: a duration, or mean and p99 of a log-normal distribution.
    #[serde(default)]
    pub delay: Option<Delay>,
    /// How much passes in a second in each direction: "9600 bit/s", "1 MB/s".
    #[serde(default)]
    pub bandwidth: Option<Bandwidth>,
    /// Nothing passes.
    #[serde(default)]
    pub partition: bool,
    /// New connections are refused; open ones stay.
    #[serde(default)]
    pub refuse: bool,
    /// Every open connection is reset, at once.
    #[serde(default)]
    pub cut: bool,
    /// A misbehaviour of the built-in broker, in the words of `device-sim broker --help`, for instance
    /// `drop-pubacks 3` or `lose-sessions on`.
    #[serde(default)]
    pub broker: Option<String>,
    /// The serial port is pulled out, and plugged in at the end.
    #[serde(default)]
    pub unplug: bool,
    /// The gateway is killed (SIGKILL), and started again at the end.
    #[serde(default)]
    pub kill: bool,
    /// The gateway is stopped (SIGSTOP), and goes on at the end (SIGCONT).
    #[serde(default)]
    pub stop: bool,
    /// The gateway is told to end (SIGTERM), and started again.
    #[serde(default)]
    pub restart: bool,
    /// The file system of the gateway's `state_dir` has no room but for `free`, until the end. It has to
    /// be a small one, of less than 1 GiB in all.
    #[serde(default)]
    pub disk_full: bool,
    /// With `disk_full`, how many bytes are left: "256KiB"; none without it.
    #[serde(default)]
    pub free: Option<ByteSize>,
    /// The clock of the gateway jumps by so much: "1h", "-90s". It has to run under libfaketime.
    #[serde(default)]
    pub clock_step: Option<Skew>,
}
