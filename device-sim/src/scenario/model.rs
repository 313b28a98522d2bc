//! What a scenario can say, as types; what they mean together is checked in [`super::check`].
//!
//! The doc comments here are the descriptions of the schema and the hints of messages.

mod fleet;
mod payload;
mod signal;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{Address, BrokerAddress, CivilTime, PortName};
use crate::Via;
use crate::fault::FaultConfig;
use crate::settings::{Id, Interval};
use crate::threshold::Thresholds;

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
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<FaultConfig>,
    /// What is looked at on the far end; without it, nothing is.
    #[serde(default)]
    pub verify: Option<VerifyConfig>,
    /// What a run has to keep; without it, what [verify] promises. `lost = 0`, `duplicates = "< 0.1%"`,
    /// `latency.p99 = { max = "2s", except = ["broker down"] }`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub thresholds: Option<Thresholds>,
}

/// Where everything listens.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct TargetConfig {
    /// The broker at the far end, and of devices that speak MQTT: `mqtt://host:port`; `built-in` for
    /// one that the run brings along, `built-in:1883` for one on this port.
    #[serde(default)]
    pub mqtt: Option<BrokerAddress>,
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
    /// The link protocol over TCP.
    #[serde(default, rename = "link-tcp")]
    pub link_tcp: Option<Address>,
    /// The link protocol in datagrams.
    #[serde(default, rename = "link-udp")]
    pub link_udp: Option<Address>,
}

impl TargetConfig {
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
            Via::Serial => ("serial", None),
            Via::LinkSerial => ("link-serial", None),
            Via::Mqtt => ("mqtt", None),
        }
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
