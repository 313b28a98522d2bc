//! Fleets: many devices of one kind.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess};
use serde::{Deserialize, Deserializer};

use super::super::values::{Numbered, Share, Skew};
use super::PayloadConfig;
use crate::Via;
use crate::settings::Interval;

/// Many devices of one kind.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct FleetConfig {
    /// How many, 1 to 1000000.
    pub count: u32,
    /// What they are called: `{n}` is the number of the device from 1, `{n:04}` the same with zeros
    /// before it. Without it, the name of the fleet, `-` and the number.
    #[serde(default)]
    pub id: Option<Numbered>,
    /// What they speak.
    pub via: Via,
    /// How often each reports: a duration, or `{ mean = "2s", jitter = "20%" }`.
    #[serde(default)]
    pub every: Option<EveryConfig>,
    /// Several reports at a time.
    #[serde(default)]
    pub burst: Option<BurstConfig>,
    /// Reports when a value has changed.
    #[serde(default)]
    pub on_change: Option<OnChangeConfig>,
    /// How many reports each sends before it is silent; without it, as many as there is time for.
    #[serde(default)]
    pub reports: Option<u64>,
    /// What is in a report.
    pub payload: PayloadConfig,
    /// The first device starts at once, the last one at the end of it. Without it, all start within
    /// their first interval.
    #[serde(default)]
    pub ramp: Option<RampConfig>,
    /// They go out of reach again and again, and forget nothing.
    #[serde(default)]
    pub churn: Option<CycleConfig>,
    /// They lose their power again and again: the boot count grows by one, and reports are counted
    /// from 1.
    #[serde(default)]
    pub reboot: Option<CycleConfig>,
    /// The boot count at the start; 1 without it.
    #[serde(default)]
    pub epoch: Option<u32>,
    /// What they know of the time.
    #[serde(default)]
    pub clock: Option<ClockConfig>,
    /// The topic of a report over MQTT, with `{device}` in it; `devices/{device}` without it.
    #[serde(default)]
    pub topic: Option<String>,
    /// The speed of a serial line in bits per second; 9600 without it.
    #[serde(default)]
    pub baud: Option<u32>,
    /// How nodes of the link protocol are numbered, and what they share with the gateway; the addresses
    /// of units on a Modbus bus.
    #[serde(default)]
    pub node: Option<NodeConfig>,
    /// What nodes of the link protocol make of commands; without it they obey.
    #[serde(default)]
    pub obeys: Option<ObeysConfig>,
}

/// What devices make of commands; what no share says is obeyed. Shares are 100% together at most.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub struct ObeysConfig {
    /// The share that is refused, and not carried out.
    #[serde(default)]
    pub refuse: Share,
    /// Commands that are carried out, and answered late.
    #[serde(default)]
    pub late: Option<LateConfig>,
    /// The share in the middle of which the device loses its power: it carries it out, and starts again
    /// before it has answered.
    #[serde(default)]
    pub die: Share,
}

/// Late answers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub struct LateConfig {
    /// The share of commands.
    pub share: Share,
    /// How late.
    pub by: Interval,
}

/// How often a device reports.
#[derive(Clone, Copy, Debug)]
pub struct EveryConfig {
    /// From one report to the next.
    pub mean: Interval,
    /// The part of it that a report is early or late at most.
    pub jitter: Share,
}

/// How often a device reports, and how evenly.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
struct EveryTable {
    /// From one report to the next.
    mean: Interval,
    /// The part of it that a report is early or late at most, up to 50%.
    #[serde(default)]
    jitter: Share,
}

impl<'de> Deserialize<'de> for EveryConfig {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = EveryConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "expected a duration such as \"2s\", or { mean = \"2s\", jitter = \"20%\" }",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<EveryConfig, E> {
                let mean = Interval::deserialize(de::value::StrDeserializer::new(text))?;
                Ok(EveryConfig { mean, jitter: Share::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EveryConfig, A::Error> {
                let EveryTable { mean, jitter } =
                    Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                Ok(EveryConfig { mean, jitter })
            }
        }
        de.deserialize_any(Visitor)
    }
}

impl JsonSchema for EveryConfig {
    fn schema_name() -> Cow<'static, str> {
        "every".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let choices =
            [generator.subschema_for::<Interval>(), generator.subschema_for::<EveryTable>()];
        json_schema!({ "anyOf": choices })
    }
}

/// Several reports at a time.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub struct BurstConfig {
    /// How many.
    pub count: u32,
    /// From the first of a burst to the first of the next.
    pub every: Interval,
    /// From one to the next; 1ms without it.
    #[serde(default)]
    pub gap: Option<Interval>,
}

/// Reports when a value has changed.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub struct OnChangeConfig {
    /// How often a device measures.
    pub look: Interval,
    /// The least change of a number that is one; any without it.
    #[serde(default)]
    pub by: f64,
    /// It reports after this time all the same.
    #[serde(default)]
    pub at_least: Option<Interval>,
}

/// How devices join.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub struct RampConfig {
    /// How long it takes until all are there.
    pub over: Interval,
    /// How they are spread over it.
    #[serde(default)]
    pub shape: RampShape,
}

/// How devices are spread over a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RampShape {
    /// Evenly.
    #[default]
    Linear,
}

/// Presence and absence in turn; where in it a device begins is drawn from its seed.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub struct CycleConfig {
    /// How long a device is there.
    pub up: Interval,
    /// How long it is not.
    pub down: Interval,
}

/// What devices know of the time.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub struct ClockConfig {
    /// How much their clocks are ahead, or behind with a minus before it.
    #[serde(default)]
    pub skew: Option<Skew>,
    /// Whether they have no clock, and send no time.
    #[serde(default)]
    pub none: bool,
}

/// Nodes of the link protocol, and units of Modbus.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct NodeConfig {
    /// The number of the first; 1 without it.
    #[serde(default)]
    pub first: Option<u32>,
    /// The gateway's file of keys: `number key name` in each line. Without it, frames have a checksum
    /// and no authentication.
    #[serde(default)]
    pub keys_file: Option<PathBuf>,
}
