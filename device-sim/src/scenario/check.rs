//! What the keys of a scenario mean together: types become fleets that can be played.

mod commands;
mod fault;
mod payload;
mod registers;
mod signal;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use proto::link::Key;

use super::fleet::Fleet;
use super::model::{
    CycleConfig, Delivery, FleetConfig, Format, NodeConfig, ScenarioConfig, TargetConfig,
};
use super::values::{Numbered, SHORTEST};
use super::{DEFAULT_SEED, Scenario};
use crate::Via;
use crate::broker::topic;
use crate::device::{Cycle, Pace};
use crate::settings::findings::Findings;
use crate::settings::layer::{Aim, Layers};
use crate::settings::report::Problem;
use crate::settings::tree::KeyPath;
use crate::settings::{Id, Interval};
use crate::signal::Signal;
use crate::threshold::{Metric, Threshold, Thresholds};

/// The version of scenarios.
const VERSION: u32 = 1;
/// The most devices.
const MAX_DEVICES: u64 = 1_000_000;
const DEFAULT_BAUD: u32 = 9600;
const DEFAULT_TOPIC: &str = "devices/{device}";

/// The scenario; what is wrong with it goes to `findings`, and is left as if it were not there.
pub(super) fn check(
    config: ScenarioConfig,
    path: &Path,
    play: Play,
    layers: &Layers,
    findings: &mut Findings,
) -> Scenario {
    let folder = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let signals = BTreeMap::new();
    let mut check = Check { folder: &folder, play, layers, findings, signals };
    if config.version != VERSION {
        let expected = format!("expected {VERSION}: the only version that there is");
        check.refuse(["version"], "unknown version", expected);
    }
    if config.duration.duration() < SHORTEST {
        check.refuse(["duration"], "no time at all", "expected a duration of 1ms or more");
    }
    for (name, signal) in &config.signals {
        if let Some(signal) = check.signal(name, signal) {
            check.signals.insert(name.clone(), signal);
        }
    }
    check.target(&config.target);
    let mut fleets = Vec::new();
    for (name, fleet) in &config.fleets {
        fleets.extend(check.fleet(name, fleet, &config));
    }
    check.fleets(&config, &fleets);
    if let Some(verify) = &config.verify
        && !topic::is_valid_filter(&verify.topic)
    {
        let expected = "expected a topic such as \"site/+/+\": + is a whole level, # the last one";
        check.refuse(["verify", "topic"], "not a topic", expected);
    }
    if config.verify.is_some() && check.lacks("mqtt", config.target.mqtt.is_some()) {
        let title = "`verify` without a broker to look at";
        check.tell(["verify"], title, "add `mqtt = \"mqtt://127.0.0.1:1883\"` to [target]");
    }
    let faults = check.faults(&config);
    let commands = check.commands(&config, &fleets);
    let thresholds = config.thresholds.clone().unwrap_or_else(|| promised(&config));
    if let Err(error) = thresholds.check(config.faults.iter().map(|fault| fault.name.as_str())) {
        check.tell(["thresholds"], error.to_string(), "name faults of this scenario");
    }
    Scenario {
        name: config.name,
        seed: config.seed.unwrap_or(DEFAULT_SEED),
        duration: config.duration.duration(),
        start: config.start.map(super::values::CivilTime::timestamp),
        target: config.target,
        fleets,
        gateway: config.gateway,
        faults,
        verify: config.verify,
        commands,
        thresholds,
        folder,
    }
}

/// How a scenario is to be played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Play {
    /// With sockets and processes: what faults happen to is there.
    Real,
    /// Within a gateway, in virtual time.
    Rehearsed,
}

struct Check<'a> {
    folder: &'a Path,
    play: Play,
    layers: &'a Layers,
    findings: &'a mut Findings,
    /// The signals without a mistake.
    signals: BTreeMap<Id, Signal>,
}

impl Check<'_> {
    /// Tells what is wrong with a value.
    fn refuse<'k>(
        &mut self,
        keys: impl IntoIterator<Item = &'k str>,
        title: impl Into<String>,
        expected: impl AsRef<str>,
    ) {
        let path = KeyPath::of(keys);
        if !self.findings.failed(&path) {
            let place = self.layers.place(&path, Aim::Value);
            self.findings.fail(path, Problem::new(title, place).expected(expected));
        }
    }

    /// Tells what is wrong with a table, and what to do. More can be wrong in it.
    fn tell<'k>(
        &mut self,
        keys: impl IntoIterator<Item = &'k str>,
        title: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.tell_at(&KeyPath::of(keys), title, help);
    }

    fn tell_at(&mut self, path: &KeyPath, title: impl Into<String>, help: impl Into<String>) {
        if !self.findings.failed(path) {
            let place = self.layers.place(path, Aim::Key);
            self.findings.add(Problem::new(title, place).help(help));
        }
    }

    /// Whether a key of `target` is not there, rather than wrong, which is told already.
    fn lacks(&self, key: &str, is_there: bool) -> bool {
        !is_there && !self.findings.failed(&KeyPath::of(["target", key]))
    }

    /// Schemes say what a key says; another one is a mistake.
    fn target(&mut self, target: &TargetConfig) {
        if target.password.is_some() && target.username.is_none() {
            let help =
                "add `username` to [target]: a password is that of a user (MQTT 3.1.1 §3.1.2.9)";
            self.tell(["target", "password"], "a password without a user", help);
        }
        for via in Via::ALL {
            let (key, Some(address)) = target.address_of(via) else { continue };
            let expected = match key {
                "coap-tcp" => "coap+tcp",
                "mqtt-devices" => "mqtt",
                same => same,
            };
            if let Some(scheme) = address.scheme()
                && scheme != expected
            {
                let title = format!("`{scheme}://` under `{key}`");
                let expected = format!("expected `{expected}://`, or a host and a port alone");
                self.refuse(["target", key], title, expected);
            }
        }
    }

    fn fleet(&mut self, id: &Id, config: &FleetConfig, whole: &ScenarioConfig) -> Option<Fleet> {
        let name = id.as_str();
        let before = self.findings.count();
        if config.count == 0 || u64::from(config.count) > MAX_DEVICES {
            let expected = format!("expected 1 to {MAX_DEVICES} devices");
            self.refuse(["fleets", name, "count"], "no such number of devices", expected);
        }
        let pace = match config.via.is_asked() {
            true => self.asked(name, config),
            false => self.pace(name, config),
        };
        self.listener(name, config, &whole.target);
        let format = config.payload.format.unwrap_or_else(|| payload::usual(config.via));
        self.format(name, config.via, format);
        let channels = self.channels(name, &config.payload, format);
        let registers = self.registers(name, &config.payload, format);
        let payload = self.payload(name, &config.payload, format);
        let clock = config.clock.unwrap_or_default();
        if clock.none && clock.skew.is_some() {
            let help = "leave out `skew` or `none`: a clock that is not there is not wrong";
            self.tell(["fleets", name, "clock"], "a clock that is wrong and not there", help);
        }
        for (key, cycle) in [("churn", config.churn), ("reboot", config.reboot)] {
            self.cycle(name, key, cycle);
        }
        if config.reports == Some(0) {
            let expected = "expected 1 or more, or no `reports` for as many as there is time for";
            self.refuse(["fleets", name, "reports"], "no report at all", expected);
        }
        if let Some(topic) = &config.topic
            && (config.via != Via::Mqtt || !topic::is_valid_topic(topic))
        {
            let expected = "expected a topic without + and #, for a fleet with `via = \"mqtt\"`";
            self.refuse(["fleets", name, "topic"], "not a topic", expected);
        }
        let node = config.node.clone().unwrap_or_default();
        let keys = self.keys(name, config, &node);
        let obeys = self.obeys(name, config);
        let (payload, pace) = (payload?, pace?);
        let is_numbered = payload.is_numbered() || config.via.is_link() || config.via.is_asked();
        if whole.verify.is_some() && !is_numbered && (clock.none || !payload.has_time()) {
            let title = format!("readings of `{name}` cannot be told apart at the far end");
            let help = "let them carry a time, or `{epoch}` and `{seq}` in a pattern";
            self.tell(["fleets", name, "payload"], title, help);
        }
        if self.findings.count() > before {
            return None;
        }
        let is_telegram = format == Format::Dsmr;
        let resolution = if is_telegram { Duration::from_secs(1) } else { SHORTEST };
        Some(Fleet {
            name: name.to_owned(),
            count: config.count,
            id: config.id.clone().unwrap_or_else(|| Numbered::of_fleet(name)),
            via: config.via,
            channels,
            payload,
            pace,
            ramp: config.ramp.map(|ramp| ramp.over.duration()),
            churn: config.churn.map(cycle),
            reboot: config.reboot.map(cycle),
            reports: config.reports,
            epoch: is_numbered.then(|| config.epoch.unwrap_or(1)),
            skew: clock.skew.map_or(0, super::values::Skew::nanos),
            has_clock: !clock.none,
            resolution,
            topic: config.topic.clone().unwrap_or_else(|| DEFAULT_TOPIC.to_owned()),
            baud: config.baud.unwrap_or(DEFAULT_BAUD),
            first_node: node.first.unwrap_or(1),
            keys,
            obeys,
            registers: registers.into(),
        })
    }

    fn pace(&mut self, name: &str, config: &FleetConfig) -> Option<Pace> {
        let paces = [
            ("every", config.every.is_some()),
            ("burst", config.burst.is_some()),
            ("on_change", config.on_change.is_some()),
        ];
        let chosen: Vec<_> =
            paces.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect();
        let [key] = chosen.as_slice() else {
            let title = match chosen.is_empty() {
                true => format!("`{name}` does not say when it reports"),
                false => format!("`{name}` says more than once when it reports"),
            };
            let help = "write one of `every = \"2s\"`, `burst = { count = 10, every = \"1m\" }` and \
                        `on_change = { look = \"1s\" }`";
            self.tell(["fleets", name], title, help);
            return None;
        };
        let mut shortest = |interval: Interval, inner: &str| {
            let is_long = interval.duration() >= SHORTEST;
            if !is_long {
                let keys = ["fleets", name, key, inner];
                let given = if inner == "mean" && !self.has(keys) { 3 } else { 4 };
                let keys = keys.into_iter().take(given);
                self.refuse(keys, "too short a time", "expected 1ms or more");
            }
            is_long.then(|| interval.duration())
        };
        if let Some(every) = config.every {
            let mean = shortest(every.mean, "mean")?;
            let jitter = every.jitter.part();
            if jitter > 0.5 {
                let keys = ["fleets", name, "every", "jitter"];
                self.refuse(
                    keys,
                    "too much jitter",
                    "expected 50% at most: reports keep their order",
                );
                return None;
            }
            return Some(Pace::Every { mean, jitter });
        }
        if let Some(burst) = config.burst {
            let every = shortest(burst.every, "every")?;
            let gap = burst.gap.map_or(SHORTEST, Interval::duration).max(SHORTEST);
            if burst.count == 0 || gap.checked_mul(burst.count).is_none_or(|length| length > every)
            {
                let keys = ["fleets", name, "burst", "count"];
                let expected =
                    "expected 1 or more, and with `gap` between them no longer than `every`";
                self.refuse(keys, "a burst that does not fit", expected);
                return None;
            }
            return Some(Pace::Burst { count: burst.count, gap, every });
        }
        let change = config.on_change?;
        let look = shortest(change.look, "look")?;
        let at_least = change.at_least.map(Interval::duration);
        Some(Pace::OnChange { look, by: change.by, at_least })
    }

    fn has(&self, keys: [&str; 4]) -> bool {
        self.layers.written(&KeyPath::of(keys)).is_some()
    }

    /// Whether there is somebody to talk to.
    fn listener(&mut self, name: &str, config: &FleetConfig, target: &TargetConfig) {
        let port = match config.via {
            Via::Serial => Some(("serial", &target.serial)),
            Via::LinkSerial => Some(("link-serial", &target.link_serial)),
            Via::Coap | Via::CoapTcp | Via::Udp | Via::Tcp | Via::Http | Via::Mqtt => None,
            Via::LinkTcp | Via::LinkUdp | Via::Modbus => None,
        };
        let (key, is_there) = match port {
            Some((key, port)) => (key, port.is_some()),
            None if config.via == Via::Mqtt => {
                ("mqtt", target.mqtt.is_some() || target.mqtt_devices.is_some())
            }
            None => {
                let (key, address) = target.address_of(config.via);
                (key, address.is_some())
            }
        };
        if self.lacks(key, is_there) {
            let title = format!("`{name}` has nobody to talk to: there is no `target.{key}`");
            let help = match port {
                Some(_) => format!("add `{key} = \"pty:run/ttyGW{{n}}\"` to [target]"),
                None => format!("add `{key} = \"127.0.0.1:…\"` to [target]"),
            };
            self.tell(["fleets", name, "via"], title, help);
        }
        if let Some((key, Some(path))) = port
            && config.count > 1
            && !path.has_number()
        {
            let title = format!("{} devices of `{name}` on one port", config.count);
            let help = format!("write `{{n}}` into `target.{key}`, or `count = 1`");
            self.tell(["fleets", name, "count"], title, help);
        }
    }

    fn cycle(&mut self, name: &str, key: &str, cycle: Option<CycleConfig>) {
        if cycle.is_some_and(|cycle| cycle.up.duration() < SHORTEST) {
            self.refuse(["fleets", name, key, "up"], "never there", "expected 1ms or more");
        }
    }

    fn keys(&mut self, name: &str, config: &FleetConfig, node: &NodeConfig) -> Vec<(u32, Key)> {
        let has_nodes = config.via.is_link() || (config.via.is_asked() && node.keys_file.is_none());
        if config.node.is_some() && !has_nodes {
            let help = "leave it out: only nodes of the link protocol have numbers and keys";
            self.tell(["fleets", name, "node"], format!("`{}` has no nodes", config.via), help);
        }
        let Some(file) = &node.keys_file else { return Vec::new() };
        let at = ["fleets", name, "node", "keys_file"];
        let text = match fs::read_to_string(self.folder.join(file)) {
            Ok(text) => text,
            Err(error) => {
                let why = crate::settings::report::reason(&error);
                self.refuse(at, format!("cannot read the keys: {why}"), "");
                return Vec::new();
            }
        };
        let mut keys: Vec<(u32, Key)> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let Some(entry) = key_line(text) else {
                // The line is not shown: it may hold a key.
                let expected =
                    "expected a number, a key of 64 hexadecimal digits, and maybe a name";
                self.refuse(at, format!("line {line} is no key"), expected);
                return Vec::new();
            };
            keys.push(entry);
        }
        keys.sort_by_key(|(node, _)| *node);
        keys
    }

    /// What the fleets are together.
    fn fleets(&mut self, config: &ScenarioConfig, fleets: &[Fleet]) {
        if config.fleets.is_empty() && !self.findings.failed(&KeyPath::of(["fleets"])) {
            let help = "add a fleet: [fleets.bench]";
            self.tell(["fleets"], "there are no devices", help);
        }
        let total: u64 = config.fleets.values().map(|fleet| u64::from(fleet.count)).sum();
        if total > MAX_DEVICES {
            let help = format!("a scenario has {MAX_DEVICES} devices at most");
            self.tell(["fleets"], format!("{total} devices"), help);
            return;
        }
        self.units(fleets);
        let mut names = BTreeSet::new();
        for fleet in fleets {
            let doubled = (1..=fleet.count()).map(|number| fleet.id(number));
            let doubled = doubled.into_iter().find(|id| !names.insert(id.clone()));
            if let Some(id) = doubled {
                let expected =
                    "expected a name for each device, such as \"th-{n:04}\", in all fleets";
                let title = format!("two devices are called `{id}`");
                self.refuse(["fleets", fleet.name(), "id"], title, expected);
            }
        }
    }
}

/// What a scenario without thresholds has to keep: nothing without a far end to look at.
fn promised(config: &ScenarioConfig) -> Thresholds {
    let readings = config.verify.as_ref().map(|verify| verify.delivery.thresholds());
    let readings = readings.iter().flat_map(Thresholds::iter);
    let readings = readings.map(|(metric, threshold)| (metric, threshold.clone()));
    let commands: &[Metric] = match config.commands {
        Some(_) => &[Metric::CommandsNoOutcome, Metric::CommandsFalseDone],
        None => &[],
    };
    Thresholds::new(readings.chain(commands.iter().map(|metric| (*metric, Threshold::none()))))
}

impl Delivery {
    /// What a run has to keep that promises this.
    pub fn thresholds(self) -> Thresholds {
        let metrics: &[Metric] = match self {
            Self::AtMostOnce => &[Metric::Duplicates, Metric::Refused, Metric::WrongValue],
            Self::AtLeastOnce => &[Metric::Lost, Metric::Refused, Metric::WrongValue],
            Self::ExactlyOnce => {
                &[Metric::Lost, Metric::Duplicates, Metric::Refused, Metric::WrongValue]
            }
        };
        Thresholds::new(metrics.iter().map(|metric| (*metric, Threshold::none())))
    }
}

fn cycle(config: CycleConfig) -> Cycle {
    Cycle { up: config.up.duration(), down: config.down.duration() }
}

/// A line of the gateway's file of keys: the number of a node, its key, and maybe its name.
fn key_line(text: &str) -> Option<(u32, Key)> {
    let mut words = text.split_whitespace();
    let node = words.next()?.parse().ok()?;
    let digits = words.next()?.as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    Some((node, Key::new(bytes?.as_slice().try_into().ok()?)))
}
