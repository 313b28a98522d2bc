//! Signals: what devices measure.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::values::{Scalar, Share};
use crate::settings::Interval;

/// How a quantity behaves; each device has its own course of it, drawn from its seed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(tag = "type")]
pub enum SignalConfig {
    /// Always the same number, boolean or text.
    Constant(ConstantConfig),
    /// A wave, as a temperature over the day.
    Sine(SineConfig),
    /// High and low in turn.
    Square(SquareConfig),
    /// From one value to another, again and again.
    Ramp(RampSignalConfig),
    /// Small steps at random between two bounds.
    Walk(WalkConfig),
    /// Normally distributed values.
    Gauss(GaussConfig),
    /// A column of a CSV file, one value after the other.
    Replay(ReplayConfig),
    /// A meter that counts up.
    Counter(CounterConfig),
    /// One of several values, at random or in turn.
    Enum(EnumConfig),
    /// Text, in which `{count}` is the number of the value and `{hex}` eight random digits.
    Text(TextConfig),
}

/// Always the same.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct ConstantConfig {
    /// A number, a boolean or text.
    pub value: Scalar,
}

/// A wave.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct SineConfig {
    /// The middle.
    pub mean: f64,
    /// The distance of the highest value from it.
    pub amplitude: f64,
    /// From one highest value to the next.
    pub period: Interval,
    /// The most that a value is off, up or down.
    #[serde(default)]
    pub noise: f64,
}

/// High and low in turn.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct SquareConfig {
    /// The lower value.
    pub low: f64,
    /// The higher value.
    pub high: f64,
    /// From one rise to the next.
    pub period: Interval,
    /// The part of the period that is high; without it, half.
    #[serde(default)]
    pub duty: Option<Share>,
}

/// From one value to another.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct RampSignalConfig {
    /// The value at the start.
    pub from: f64,
    /// The value at the end.
    pub to: f64,
    /// How long it takes; then it starts again.
    pub period: Interval,
}

/// Small steps at random.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct WalkConfig {
    /// The value that the first one is near.
    pub start: f64,
    /// The most that changes from one value to the next.
    pub step: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
}

/// Normally distributed values.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct GaussConfig {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// The least value.
    #[serde(default)]
    pub min: Option<f64>,
    /// The greatest value.
    #[serde(default)]
    pub max: Option<f64>,
}

/// A column of a CSV file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct ReplayConfig {
    /// The file, with the names of its columns in the first line. What is relative is so to the
    /// scenario's folder.
    pub file: PathBuf,
    /// The name of the column.
    pub column: String,
    /// Whether it starts again at the end; else the last value stays.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
}

/// A meter that counts up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct CounterConfig {
    /// The first value.
    #[serde(default)]
    pub start: f64,
    /// What each following value is more; 1 without it.
    #[serde(default)]
    pub step: Option<f64>,
}

/// One of several values.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct EnumConfig {
    /// The values: numbers, booleans or texts.
    pub values: Vec<Scalar>,
    /// How often each comes, in proportion, in their order; without it, each as often.
    #[serde(default)]
    pub weights: Option<Vec<f64>>,
    /// Whether they come in turn instead.
    #[serde(default)]
    pub in_turn: bool,
}

/// Text.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct TextConfig {
    /// The text with its fields.
    pub template: String,
}
