//! What a scenario can say, as types; what they mean together is checked in `super::check`.
//!
//! The doc comments here are the descriptions of the schema and the hints of messages.

mod commands;
mod fleet;
mod payload;
mod signal;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{Address, BrokerAddress, CivilTime, PortName};
use crate::Via;
use crate::fault::FaultConfig;
use crate::settings::{Id, Interval};
use crate::threshold::Thresholds;

pub use commands::*;
pub use fleet::*;
pub use payload::*;
pub use signal::*;

/// A scenario as it is written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct ScenarioConfig {
    /// The version of this form: 1.
    pub version: u32,
    /// What it is called in reports.
    pub name: String,
    /// What all that is random is drawn from; 1 without it. The same seed gives the same payloads and
    /// the same faults.
    #[serde(default)]
    pub seed: Option<u64>,
    /// How long devices send.
    pub duration: Interval,
    /// What the clocks of devices show at the start; without it, the real time. With it, payloads are
    /// the same in each run to the last byte.
    #[serde(default)]
    pub start: Option<CivilTime>,
    /// Where everything listens.
    #[serde(default)]
    pub target: TargetConfig,
    /// What devices measure, by name.
    #[serde(default)]
    pub signals: BTreeMap<Id, SignalConfig>,
    /// Devices, by the name of their fleet.
    pub fleets: BTreeMap<Id, FleetConfig>,
    /// The gateway, for a run that starts it itself.
    #[serde(default)]
    pub gateway: Option<GatewayConfig>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<FaultConfig>,
    /// What is looked at on the far end; without it, nothing is.
    #[serde(default)]
    pub verify: Option<VerifyConfig>,
    /// Commands that the run asks for.
    #[serde(default)]
    pub commands: Option<CommandsConfig>,
    /// What a run has to keep; without it, what `verify` promises. `lost = 0`, `duplicates = "< 0.1%"`,
    /// `latency.p99 = { max = "2s", except = ["broker down"] }`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub thresholds: Option<Thresholds>,
}

/// The gateway, for a run that starts it itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct GatewayConfig {
    /// Its configuration; what is relative is so to the scenario.
    pub config: PathBuf,
    /// The program, relative too; without it, `gateway` beside this program, else one that is found.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// The name in `brokers` of its configuration that `target.mqtt` is: it is given the URL, that of what
    /// a fault puts in front of the broker. Without it, it connects to where its configuration says.
    #[serde(default)]
    pub broker: Option<Id>,
}

/// Where everything listens.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct TargetConfig {
    /// The broker at the far end, and of devices that speak MQTT: `mqtt://host:port`; `built-in` for
    /// one that the run brings along, `built-in:1883` for one on this port.
    #[serde(default)]
    pub mqtt: Option<BrokerAddress>,
    /// The user name at that broker; an empty one is none.
    #[serde(default)]
    pub username: Option<String>,
    /// The password of that user; `"${MQTT_PASSWORD}"` keeps it out of the file.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub password: Option<Password>,
    /// Where a fault on `target.mqtt` stands in front of the broker: `127.0.0.1:1884`, to which the
    /// gateway connects. Not needed for a gateway that this run starts, nor for `built-in:PORT`, whose
    /// port it takes.
    #[serde(default, rename = "mqtt-relay")]
    pub mqtt_relay: Option<Address>,
    /// The broker to which devices publish, where that is not `mqtt`: one whose bridge is tried.
    #[serde(default, rename = "mqtt-devices")]
    pub mqtt_devices: Option<Address>,
    /// CoAP over UDP: `host:port` or `coap://host:port/path`; the path is `r` without one.
    #[serde(default)]
    pub coap: Option<Address>,
    /// CoAP over TCP, the same.
    #[serde(default, rename = "coap-tcp")]
    pub coap_tcp: Option<Address>,
    /// Datagrams.
    #[serde(default)]
    pub udp: Option<Address>,
    /// Lines over TCP, each answered with `ok`.
    #[serde(default)]
    pub tcp: Option<Address>,
    /// HTTP: `http://host:port/path`; the path is `r` without one.
    #[serde(default)]
    pub http: Option<Address>,
    /// The serial port that the gateway opens, made by this run: `pty:run/ttyGW`, or with `{n}` for
    /// each device of a fleet its own.
    #[serde(default)]
    pub serial: Option<PortName>,
    /// The same for the link protocol.
    #[serde(default, rename = "link-serial")]
    pub link_serial: Option<PortName>,
    /// Modbus TCP: where the run listens, and the gateway asks its units.
    #[serde(default)]
    pub modbus: Option<Address>,
    /// The link protocol over TCP.
    #[serde(default, rename = "link-tcp")]
    pub link_tcp: Option<Address>,
    /// The link protocol in datagrams.
    #[serde(default, rename = "link-udp")]
    pub link_udp: Option<Address>,
}

impl TargetConfig {
    /// The user name and password at the broker, where there is a user.
    pub fn login(&self) -> Option<(String, String)> {
        let password = self.password.as_ref().map(|password| password.0.clone());
        let user = self.username.clone().filter(|user| !user.is_empty());
        user.map(|user| (user, password.unwrap_or_default()))
    }

    /// The ports of a fleet that speaks this over serial lines.
    pub const fn port_of(&self, via: Via) -> Option<&PortName> {
        match via {
            Via::Serial => self.serial.as_ref(),
            Via::LinkSerial => self.link_serial.as_ref(),
            Via::Coap | Via::CoapTcp | Via::Udp | Via::Tcp | Via::Http | Via::Mqtt => None,
            Via::LinkTcp | Via::LinkUdp | Via::Modbus => None,
        }
    }

    /// Where a fleet that speaks this has its address, and the address.
    pub fn address_of(&self, via: Via) -> (&'static str, Option<&Address>) {
        match via {
            Via::Coap => ("coap", self.coap.as_ref()),
            Via::CoapTcp => ("coap-tcp", self.coap_tcp.as_ref()),
            Via::Udp => ("udp", self.udp.as_ref()),
            Via::Tcp => ("tcp", self.tcp.as_ref()),
            Via::Http => ("http", self.http.as_ref()),
            Via::LinkTcp => ("link-tcp", self.link_tcp.as_ref()),
            Via::LinkUdp => ("link-udp", self.link_udp.as_ref()),
            Via::Modbus => ("modbus", self.modbus.as_ref()),
            Via::Serial => ("serial", None),
            Via::LinkSerial => ("link-serial", None),
            Via::Mqtt => ("mqtt-devices", self.mqtt_devices.as_ref()),
        }
    }
}

/// A password; it is not shown.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// What is looked at on the far end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct VerifyConfig {
    /// The topics with the gateway's payload `json`; `+` and `#` stand for levels.
    pub topic: String,
    /// What is promised.
    #[serde(default)]
    pub delivery: Delivery,
    /// How long to wait at the end for what is still on its way; 15s without it.
    #[serde(default)]
    pub settle: Option<Interval>,
}

/// What is promised: it decides what a run without thresholds has to reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Nothing is doubled; what is lost is counted only.
    AtMostOnce,
    /// Nothing that was accepted is lost.
    #[default]
    AtLeastOnce,
    /// Neither.
    ExactlyOnce,
}
