//! Faults: whether they make sense, and whether what they are to happen to is part of this run.

use super::{Check, Play};
use crate::Via;
use crate::fault::{self, Effect, Fault, Place};
use crate::scenario::model::ScenarioConfig;
use crate::scenario::values::{BrokerAddress, PortName};
use crate::settings::tree::KeyPath;

impl Check<'_> {
    pub(super) fn faults(&mut self, config: &ScenarioConfig) -> Vec<Fault> {
        // What an entry does is not known when something in it is wrong, nor which one it is.
        if self.findings.failed(&KeyPath::of(["faults"])) {
            return Vec::new();
        }
        let of_fleet = |name: &str| config.fleets.iter().find(|(id, _)| id.as_str() == name);
        let via_of = |name: &str| of_fleet(name).map(|(_, fleet)| fleet.via);
        let at = |index, key| KeyPath::of(["faults"]).index(index).key(key);
        let duration = config.duration.duration();
        let faults = match fault::check(&config.faults, duration, via_of) {
            Ok(faults) => faults,
            Err(errors) => {
                for error in errors {
                    self.tell_at(&at(error.index, error.key), error.title, error.help);
                }
                return Vec::new();
            }
        };
        // Whether it can be disturbed is not known of a broker that is wrong.
        let is_known = |fault: &Fault| {
            fault.on != Place::Broker || !self.findings.failed(&KeyPath::of(["target", "mqtt"]))
        };
        let known: Vec<_> =
            faults.iter().enumerate().filter(|(_, fault)| is_known(fault)).collect();
        for (index, fault) in known {
            if let (Play::Real, Some((key, title, help))) = (self.play, missing(fault, config)) {
                self.tell_at(&at(index, key), title, help);
            }
        }
        faults
    }
}

/// What a fault needs and a run does not have: the key, what is wrong, what to write.
fn missing(fault: &Fault, config: &ScenarioConfig) -> Option<(&'static str, String, &'static str)> {
    let mqtt = config.target.mqtt.as_ref();
    match (&fault.on, &fault.effect) {
        (Place::Gateway, _) if config.gateway.is_none() => {
            let help = "let the run start the gateway: [gateway] with `config = \"gateway.toml\"`";
            Some(("on", "there is no gateway to do this to".to_owned(), help))
        }
        (Place::Broker, Effect::Broker(_)) if !matches!(mqtt, Some(BrokerAddress::BuiltIn(_))) => {
            let help = "write `mqtt = \"built-in\"` in [target]";
            Some(("broker", "only a built-in broker misbehaves".to_owned(), help))
        }
        (Place::Broker, _) if mqtt.is_none() => {
            let help = "add `mqtt = \"mqtt://127.0.0.1:1883\"` to [target]";
            Some(("on", "there is no broker".to_owned(), help))
        }
        (Place::Broker, Effect::Network(_) | Effect::Refuse | Effect::Cut) => {
            let gateway = config.gateway.as_ref();
            let is_reached = gateway.is_some_and(|gateway| gateway.broker.is_some())
                || config.target.mqtt_relay.is_some()
                || matches!(mqtt, Some(BrokerAddress::BuiltIn(port)) if *port != 0);
            let help = "let the gateway connect to another port, and name it in [target]: \
                        `mqtt-relay = \"127.0.0.1:1884\"`";
            (!is_reached).then(|| ("on", "nothing stands in front of the broker".to_owned(), help))
        }
        (Place::Serial(path), _) => {
            let is_port = |port: Option<&PortName>, count| {
                port.is_some_and(|port| (1..=count).any(|n| *path == port.path("".as_ref(), n)))
            };
            let is_there = config.fleets.values().any(|fleet| match fleet.via {
                Via::Serial => is_port(config.target.serial.as_ref(), fleet.count),
                Via::LinkSerial => is_port(config.target.link_serial.as_ref(), fleet.count),
                Via::Coap | Via::CoapTcp | Via::Udp | Via::Tcp | Via::Http | Via::Mqtt => false,
                Via::LinkTcp | Via::LinkUdp | Via::Modbus => false,
            });
            let title = format!("no device has the port {}", path.display());
            let help = "name a port as [target] has it, without `pty:` and with the number";
            (!is_there).then_some(("on", title, help))
        }
        (Place::Fleet(_) | Place::Broker | Place::Gateway, _) => None,
    }
}
