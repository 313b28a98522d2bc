//! Which source each device feeds, and which broker is the far end: by what the scenario calls its
//! targets, and where the configuration listens.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, absolute};

use device_sim::Via;
use device_sim::fault::{Effect, Fault, Place};
use device_sim::scenario::values::{Address, BrokerAddress};
use device_sim::scenario::{Fleet, Scenario};

use crate::config::{Config, Id, Link, Source};
use crate::source::SteppedSource;

/// What a scenario has to do with a configuration.
pub(super) struct Ways {
    /// The source of each device, by fleet and number.
    sources: BTreeMap<(String, u32), Id>,
    /// The broker that is looked at, and that faults of `target.mqtt` concern.
    pub(super) far_end: Id,
}

impl Ways {
    /// Finds them.
    ///
    /// # Errors
    /// Everything that cannot be found, or cannot be played.
    pub(super) fn find(config: &Config, scenario: &Scenario) -> Result<Self, Vec<String>> {
        let (mut sources, mut problems) = (BTreeMap::new(), Vec::new());
        for fleet in &scenario.fleets {
            for number in numbers(scenario, fleet) {
                match source_of(config, scenario, fleet, number) {
                    Ok(source) => drop(sources.insert((fleet.name().to_owned(), number), source)),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        problems.extend(scenario.faults.iter().filter_map(|fault| unplayable(fault, scenario)));
        match (far_end(config, scenario), problems.is_empty()) {
            (Ok(far_end), true) => Ok(Self { sources, far_end }),
            (Ok(_), false) => Err(problems),
            (Err(problem), _) => {
                problems.push(problem);
                Err(problems)
            }
        }
    }

    /// The source of a device.
    pub(super) fn source_of(&self, fleet: &str, number: u32) -> Option<&Id> {
        let of = |number| self.sources.get(&(fleet.to_owned(), number));
        of(number).or_else(|| of(1))
    }

    /// The source of each fleet; of one whose devices have a port each, that of the first.
    pub(super) fn by_fleet(&self) -> BTreeMap<String, String> {
        let first = self.sources.iter().filter(|((_, number), _)| *number == 1);
        first.map(|((fleet, _), source)| (fleet.clone(), source.to_string())).collect()
    }
}

/// The devices of a fleet that may have a source of their own: the first one stands for the others
/// where they share it.
fn numbers(scenario: &Scenario, fleet: &Fleet) -> std::ops::RangeInclusive<u32> {
    let has_ports = fleet.via() == Via::Serial
        && scenario.target.serial.as_ref().is_some_and(|port| port.has_number());
    1..=if has_ports { fleet.count() } else { 1 }
}

fn source_of(
    config: &Config,
    scenario: &Scenario,
    fleet: &Fleet,
    number: u32,
) -> Result<Id, String> {
    let (name, via) = (fleet.name(), fleet.via());
    if !matches!(via, Via::Coap | Via::Udp | Via::Tcp | Via::Serial) {
        return Err(format!(
            "fleet `{name}` speaks {via}, which a rehearsal cannot play: it plays coap, udp, tcp and \
             serial; play it with `device-sim run` against a gateway that runs"
        ));
    }
    let (key, address) = scenario.target.address_of(via);
    let port = scenario.target.serial.as_ref().filter(|_| via == Via::Serial);
    let port = port.map(|port| port.path(&scenario.folder, number));
    let target: &dyn Display = match (&address, &port) {
        (Some(address), _) => address,
        (None, Some(port)) => &port.display().to_string(),
        (None, None) => return Err(format!("fleet `{name}` has no `target.{key}`")),
    };
    let of_kind = config
        .sources
        .iter()
        .filter(|(_, source)| SteppedSource::can_play(source) && is_of_kind(via, source));
    let listens = |source: &Source| match (address, &port) {
        (Some(address), _) => binds(source).iter().any(|bind| is_at(address, *bind)),
        (None, Some(port)) => is_port(source, port),
        (None, None) => false,
    };
    let (there, elsewhere): (Vec<_>, Vec<_>) = of_kind.partition(|(_, source)| listens(source));
    match there.as_slice() {
        [(source, _)] => Ok((*source).clone()),
        [] => {
            let others: Vec<_> = elsewhere
                .iter()
                .map(|(id, source)| format!("`{id}` at {}", place(source)))
                .collect();
            let others = match others.is_empty() {
                true => format!("there is no {via} source at all"),
                false => format!("there is {}", others.join(", ")),
            };
            Err(format!(
                "fleet `{name}` sends to `target.{key}` = {target}, where no {via} source of the \
                 configuration listens: {others}"
            ))
        }
        several => {
            let names: Vec<_> = several.iter().map(|(id, _)| format!("`{id}`")).collect();
            Err(format!(
                "fleet `{name}` sends to `target.{key}` = {target}, where several sources listen: {}; \
                 write an address that only one of them has",
                names.join(", ")
            ))
        }
    }
}

const fn is_of_kind(via: Via, source: &Source) -> bool {
    matches!(
        (via, &source.link),
        (Via::Coap, Link::Coap(_))
            | (Via::Udp, Link::Udp(_))
            | (Via::Tcp, Link::Tcp(_))
            | (Via::Serial, Link::Serial(_))
    )
}

fn binds(source: &Source) -> Vec<SocketAddr> {
    match &source.link {
        Link::Coap(link) => link.bind.clone(),
        Link::Udp(link) => vec![link.bind],
        Link::Tcp(link) => vec![link.bind],
        Link::Serial(_)
        | Link::TcpClient(_)
        | Link::CoapPoll(_)
        | Link::Http(_)
        | Link::Modbus(_) => Vec::new(),
    }
}

/// Whether what is sent to an address arrives there; a name may stand for any address.
fn is_at(address: &Address, bind: SocketAddr) -> bool {
    let host = address.host().parse::<IpAddr>().ok();
    bind.port() == address.port()
        && (bind.ip().is_unspecified() || host.is_none_or(|host| bind.ip() == host))
}

fn is_port(source: &Source, port: &Path) -> bool {
    let Link::Serial(link) = &source.link else { return false };
    let same = |a: &Path, b: &Path| absolute(a).ok() == absolute(b).ok();
    same(&link.path, port)
}

fn place(source: &Source) -> String {
    if let Link::Serial(link) = &source.link {
        return link.path.display().to_string();
    }
    binds(source).iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ")
}

/// The broker that the scenario means.
fn far_end(config: &Config, scenario: &Scenario) -> Result<Id, String> {
    let names = || config.brokers.keys().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let mut brokers = config.brokers.iter();
    match (brokers.next(), brokers.next(), &scenario.target.mqtt) {
        (None, ..) => Err("the configuration has no broker".to_owned()),
        (Some((only, _)), None, _) => Ok(only.clone()),
        (Some(_), Some(_), Some(BrokerAddress::At(address))) => {
            let there = config.brokers.iter().filter(|(_, broker)| {
                let mut urls = broker.url.iter();
                urls.any(|url| url.host() == address.host() && url.port() == address.port())
            });
            let there: Vec<_> = there.map(|(id, _)| id.clone()).collect();
            match <[Id; 1]>::try_from(there) {
                Ok([id]) => Ok(id),
                Err(_) => Err(format!(
                    "`target.mqtt` = {address} is not the address of exactly one of the brokers {}: \
                     write that of the one which is to be looked at",
                    names()
                )),
            }
        }
        (Some(_), Some(_), _) => Err(format!(
            "the configuration has several brokers, {}: write the address of the one which is to be \
             looked at as `target.mqtt`",
            names()
        )),
    }
}

/// Why a fault cannot be played, if it cannot.
fn unplayable(fault: &Fault, scenario: &Scenario) -> Option<String> {
    let via = match &fault.on {
        Place::Fleet(name) => {
            scenario.fleets.iter().find(|fleet| fleet.name() == name.as_str()).map(Fleet::via)
        }
        Place::Broker | Place::Gateway | Place::Serial(_) => None,
    };
    let is_played = match (&fault.on, &fault.effect) {
        (Place::Fleet(_), Effect::Network(_)) => matches!(via, Some(Via::Coap | Via::Udp)),
        (Place::Broker, Effect::Network(impairment)) => impairment.corrupt == 0.0,
        // The disk of this machine is not the gateway's.
        (_, Effect::DiskFull { .. }) => false,
        (Place::Broker, _) | (Place::Gateway, _) => true,
        (Place::Fleet(_) | Place::Serial(_), _) => false,
    };
    (!is_played).then(|| {
        format!(
            "fault `{}`: a rehearsal cannot play `{}` on {}; it plays what happens to datagrams of coap \
             and udp fleets, to `target.mqtt` (but `corrupt`), and to the gateway (but `disk_full`)",
            fault.name,
            fault.effect.key(),
            fault.on
        )
    })
}
