//! Says what a fleet is: each method is a key of a scenario, with its checks and messages.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use config::Value;

use super::{Fleet, FleetError};
use crate::Via;
use crate::scenario::model::TargetConfig;
use crate::scenario::{SUBJECT, Scenario};
use crate::settings::findings::Findings;
use crate::settings::layer::{Layer, Layers, Origin};
use crate::settings::report::{Place, Problem};
use crate::settings::toml_file::parse_value;
use crate::settings::tree::KeyPath;

/// What it is called, and what its devices are called with a number behind it.
const NAME: &str = "fleet";
/// What is measured where nothing is said.
const READING: &str = "count";
/// How long a fleet has that ends by itself or is stopped: a year, the longest duration.
const LONGEST: &str = "8760h";

/// A fleet that is to be described; see [`Fleet`] for an example. What is said twice counts as it was
/// said last, and every mistake is told by [`FleetBuilder::start`].
#[derive(Debug)]
#[must_use = "a fleet sends nothing before it is started"]
pub struct FleetBuilder {
    layers: Layers,
    findings: Findings,
    measures: bool,
    has_end: bool,
}

impl FleetBuilder {
    pub(super) fn new() -> Self {
        let (layers, findings) = (Layers::default(), Findings::new(SUBJECT));
        let builder = Self { layers, findings, measures: false, has_end: false };
        builder
            .assign("version", ["version"], 1)
            .assign("name", ["name"], NAME)
            .assign("lasting", ["duration"], LONGEST)
            .fleet("count", "count", 1)
    }

    /// How many devices; one without it.
    pub fn count(self, devices: u32) -> Self {
        self.fleet("count", "count", i64::from(devices))
    }

    /// What they are called; `{n}` is the number of the device from 1. Without it, `fleet-{n}`.
    pub fn id(self, pattern: &str) -> Self {
        self.fleet("id", "id", pattern)
    }

    /// What values and times are drawn from; 1 without it.
    pub fn seed(self, seed: u32) -> Self {
        self.assign("seed", ["seed"], i64::from(seed))
    }

    /// What devices speak, and where it is listened for, as `target` of a scenario has it: `host:port`,
    /// `pty:PATH` for a serial port that is made.
    pub fn via(self, via: Via, address: impl Display) -> Self {
        let (target, _) = TargetConfig::default().address_of(via);
        self.fleet("via", "via", via.name()).assign("via", ["target", target], address.to_string())
    }

    /// How often each device reports.
    pub fn every(self, interval: Duration) -> Self {
        self.fleet("every", "every", written(interval))
    }

    /// Adds to each report a reading with this name and signal, written as in a scenario:
    /// `{ type = "sine", mean = 21, amplitude = 4, period = "1h" }`. Without any, devices count.
    pub fn measures(mut self, reading: &str, signal: &str) -> Self {
        self.measures = true;
        self.assign_toml("measures", ["signals", reading], signal).assign(
            "measures",
            ["fleets", NAME, "payload", reading],
            reading,
        )
    }

    /// How reports are written: `json`, `senml-cbor` and others; without it, as is usual for what
    /// devices speak.
    pub fn format(self, format: &str) -> Self {
        self.assign("format", ["fleets", NAME, "payload", "format"], format)
    }

    /// Writes reports by a template of text, with `{device}`, `{epoch}`, `{seq}`, `{time}` and the names
    /// of readings in it.
    pub fn template(self, template: &str) -> Self {
        self.format("text").assign("template", ["fleets", NAME, "payload", "template"], template)
    }

    /// Any other key of a fleet and its value, as they stand in a scenario:
    /// `.with("churn", r#"{ up = "5s", down = "1s" }"#)`.
    pub fn with(self, key: &str, value: &str) -> Self {
        let name = format!("with({key:?})");
        self.assign_toml(&name, ["fleets", NAME, key], value)
    }

    /// Each device sends so many reports. Without this and [`lasting`](Self::lasting) they send until
    /// they are stopped or verified.
    pub fn reports(mut self, each: u32) -> Self {
        self.has_end = true;
        self.fleet("reports", "reports", i64::from(each))
    }

    /// Devices send for so long.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.has_end = true;
        self.assign("lasting", ["duration"], written(duration))
    }

    /// The broker at which readings are looked for, and the topics there with the gateway's payload
    /// `json`. Devices that speak MQTT publish to the same broker: it is the `target.mqtt` of a
    /// scenario.
    pub fn far_end(self, broker: impl Display, topic: &str) -> Self {
        self.assign("far_end", ["target", "mqtt"], broker.to_string()).assign(
            "far_end",
            ["verify", "topic"],
            topic,
        )
    }

    /// Who we are at that broker.
    pub fn login(self, user: &str, password: &str) -> Self {
        self.assign("login", ["target", "username"], user).assign(
            "login",
            ["target", "password"],
            password,
        )
    }

    /// How long the far end has at the end to see what was accepted; 15 s without it.
    pub fn settle(self, duration: Duration) -> Self {
        self.assign("settle", ["verify", "settle"], written(duration))
    }

    /// Connects to the far end and starts the devices; returns when they send.
    ///
    /// # Errors
    /// When something that was said cannot be, or what is needed is not there.
    pub async fn start(self) -> Result<Fleet, FleetError> {
        let has_end = self.has_end;
        Fleet::start(self.scenario()?, has_end).await
    }

    /// The scenario of this fleet.
    fn scenario(mut self) -> Result<Scenario, FleetError> {
        if !self.measures {
            self = self.measures(READING, "{ type = \"counter\" }");
        }
        if self.layers.written(&KeyPath::of(["verify", "topic"])).is_none() {
            let help =
                "say where readings arrive: .far_end(\"mqtt://127.0.0.1:1883\", \"site/+/+\")";
            self.findings.add(Problem::nowhere("nobody looks what arrives").help(help));
        }
        let scenario = Scenario::of_layers(&self.layers, Path::new(""), self.findings);
        scenario.map_err(|report| FleetError::Settings(Box::new(report)))
    }

    fn fleet(self, method: &str, key: &str, value: impl Into<Value>) -> Self {
        self.assign(method, ["fleets", NAME, key], value)
    }

    /// Sets the value at `keys`, which messages place at `method`.
    fn assign<'k>(
        mut self,
        method: &str,
        keys: impl IntoIterator<Item = &'k str>,
        value: impl Into<Value>,
    ) -> Self {
        let path = KeyPath::of(keys);
        let origin = Origin::Text { name: place(method), path: path.clone() };
        self.layers.push(Layer::assignment(origin, &path, value.into()));
        self
    }

    /// The same with a value of TOML.
    fn assign_toml<'k>(
        mut self,
        method: &str,
        keys: impl IntoIterator<Item = &'k str>,
        text: &str,
    ) -> Self {
        let Some(value) = parse_value(text) else {
            let path = KeyPath::of(keys);
            let place = Place::Named { layer: self.layers.next_position(), name: place(method) };
            let problem = Problem::new(format!("`{text}` is no value of TOML"), place);
            self.findings.fail(path, problem.help("write it as after `=` in a scenario"));
            return self;
        };
        self.assign(method, keys, value)
    }
}

fn place(method: &str) -> String {
    format!("Fleet::builder().{method}")
}

/// As scenarios write it; they know whole microseconds.
fn written(duration: Duration) -> String {
    format!("{}us", duration.as_micros())
}
