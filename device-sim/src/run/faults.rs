//! What the faults of a scenario happen to, and their driver.
//!
//! A relay is put on a way only where some fault names it: one for each device that sends datagrams, so
//! that its accidents do not depend on other devices, and one for all connections of a fleet or to the
//! broker. At the end of the run everything is made well again, before what is on its way is waited for.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use proto::Instant;
use tokio::sync::{mpsc, watch};

use super::RunError;
use super::disk::Disk;
use super::gateway::Order;
use crate::Via;
use crate::broker;
use crate::clock::Clock;
use crate::fault::{Effect, Fate, Fault, FaultPlan, Impairment, Place, RelayConfig, UdpRelay};
use crate::proxy::Proxy;
use crate::report::Span;
use crate::scenario::{Planned, Scenario};

/// Fates that a device has not looked at; then its relay waits.
const MAX_FATES: usize = 256;

/// The faults of a run.
pub(super) struct Faults {
    plan: FaultPlan,
    ways: Vec<Way>,
    broker: Option<broker::Faults>,
    gateway: Option<mpsc::Sender<Order>>,
    /// Where the gateway keeps its state, where that is to be full.
    disk: Option<Disk>,
}

/// A way with faults on it.
struct Way {
    /// What faults call it.
    places: Vec<Place>,
    shell: Shell,
}

enum Shell {
    Datagrams(UdpRelay),
    Connections(Proxy),
    Port(watch::Sender<bool>),
}

/// What is different for a device whose way has faults.
#[derive(Default)]
pub(super) struct Detour {
    /// Where it sends to instead.
    pub(super) address: Option<SocketAddr>,
    /// What becomes of what it sends.
    pub(super) fates: Option<mpsc::Receiver<Fate>>,
    /// Whether its port is plugged in.
    pub(super) plug: Option<watch::Receiver<bool>>,
}

/// Whether something has to stand in front of the broker.
pub(super) fn is_before_broker(scenario: &Scenario) -> bool {
    scenario.faults.iter().any(|fault| fault.on == Place::Broker && is_on_the_way(&fault.effect))
}

/// Sockets on the way of a device of this fleet, besides its own.
pub(super) fn sockets_on_the_way(scenario: &Scenario, fleet: &str) -> u64 {
    let is_here = |fault: &Fault| matches!(&fault.on, Place::Fleet(id) if id.as_str() == fleet);
    if scenario.faults.iter().any(is_here) { 2 } else { 0 }
}

const fn is_on_the_way(effect: &Effect) -> bool {
    match effect {
        Effect::Network(_) | Effect::Refuse | Effect::Cut | Effect::Unplug => true,
        Effect::Broker(_) | Effect::Kill | Effect::Stop | Effect::Restart => false,
        Effect::ClockStep(_) | Effect::DiskFull { .. } => false,
    }
}

impl Faults {
    /// Those of `scenario`, in a broker of this run if there is one.
    pub(super) fn new(scenario: &Scenario, broker: Option<broker::Faults>) -> Self {
        let plan = FaultPlan::new(scenario.faults.clone(), scenario.seed, scenario.duration);
        Self { plan, ways: Vec::new(), broker, gateway: None, disk: None }
    }

    /// When which fault is there.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.plan.spans()
    }

    /// From now on the gateway is told of its faults.
    pub(super) fn command(&mut self, gateway: mpsc::Sender<Order>) {
        self.gateway = Some(gateway);
    }

    /// From now on this is the disk that can be full.
    pub(super) fn fill(&mut self, disk: Disk) {
        self.disk = Some(disk);
    }

    /// Stands in front of the broker; where the gateway has to connect to.
    pub(super) async fn stand_before_broker(
        &mut self,
        bind: &str,
        broker: SocketAddr,
    ) -> io::Result<SocketAddr> {
        self.connections(bind, Place::Broker, broker).await
    }

    /// The way of a device, to a target that is an address or a port at `path`.
    pub(super) async fn detour(
        &mut self,
        scenario: &Scenario,
        planned: &Planned,
        target: Option<SocketAddr>,
        path: Option<&Path>,
    ) -> io::Result<Detour> {
        let mut places: Vec<_> = planned.fleet.parse().ok().map(Place::Fleet).into_iter().collect();
        if let Some(path) = path {
            let path = path.strip_prefix(&scenario.folder).unwrap_or(path);
            places.push(Place::Serial(path.to_owned()));
        }
        places.retain(|place| scenario.faults.iter().any(|fault| fault.on == *place));
        let Some(place) = places.first().cloned() else { return Ok(Detour::default()) };
        match (planned.via, target) {
            (Via::Coap | Via::Udp | Via::LinkUdp, Some(target)) => {
                let (sender, fates) = mpsc::channel(MAX_FATES);
                let is_asked = planned.via == Via::Udp;
                let seed = self.plan.seed_of(&place, planned.number);
                let config = RelayConfig { target, seed, fates: is_asked.then_some(sender) };
                let relay = UdpRelay::start(config).await?;
                let address = Some(relay.address());
                self.ways.push(Way { places, shell: Shell::Datagrams(relay) });
                Ok(Detour { address, fates: is_asked.then_some(fates), plug: None })
            }
            (Via::CoapTcp | Via::Tcp | Via::Http | Via::Mqtt | Via::LinkTcp, Some(target)) => {
                let address = self.connections("127.0.0.1:0", place, target).await?;
                Ok(Detour { address: Some(address), ..Detour::default() })
            }
            (Via::Serial | Via::LinkSerial, _) => {
                let (sender, plug) = watch::channel(true);
                self.ways.push(Way { places, shell: Shell::Port(sender) });
                Ok(Detour { plug: Some(plug), ..Detour::default() })
            }
            // No fault is on the way of who is asked.
            (Via::Modbus, _) | (_, None) => Ok(Detour::default()),
        }
    }

    /// The proxy at a place, which is there once.
    async fn connections(
        &mut self,
        bind: &str,
        place: Place,
        target: SocketAddr,
    ) -> io::Result<SocketAddr> {
        for way in &self.ways {
            if let Shell::Connections(proxy) = &way.shell
                && way.places.contains(&place)
            {
                return Ok(proxy.address());
            }
        }
        let proxy = Proxy::bind(bind, target, self.plan.seed_of(&place, 0)).await?;
        let address = proxy.address();
        self.ways.push(Way { places: vec![place], shell: Shell::Connections(proxy) });
        Ok(address)
    }

    /// Lets faults begin and end; it ends only when that fails.
    pub(super) async fn run(&mut self, clock: &Clock) -> RunError {
        loop {
            clock.sleep_until(self.plan.poll_timeout()).await;
            let change = self.plan.poll_change(clock.now());
            let Some(change) =
                change.map(|change| (change.at, change.begins, change.fault.clone()))
            else {
                continue;
            };
            let (at, begins, fault) = change;
            tracing::info!(name = fault.name, begins, "fault");
            if let Err(error) = self.change(at, begins, &fault).await {
                return error;
            }
        }
    }

    /// Makes everything well again.
    pub(super) async fn end(&mut self) -> Result<(), RunError> {
        for way in &self.ways {
            way.set(Impairment::default(), false, true).await.map_err(RunError::Way)?;
        }
        if let Some(disk) = &mut self.disk {
            disk.leave(None).await?;
        }
        if let Some(broker) = &self.broker {
            broker.clear();
        }
        self.order(Order::Continue).await;
        self.order(Order::Start).await;
        Ok(())
    }

    async fn change(&mut self, at: Instant, begins: bool, fault: &Fault) -> Result<(), RunError> {
        let others = |same: fn(&Effect) -> bool| {
            self.plan.active(at).any(|other| other.on == fault.on && same(&other.effect))
        };
        match &fault.effect {
            Effect::Network(_) | Effect::Refuse | Effect::Unplug => {
                for way in self.ways.iter().filter(|way| way.places.contains(&fault.on)) {
                    let there = |same: fn(&Effect) -> bool| {
                        let mut active = self.plan.active(at);
                        active.any(|fault| way.places.contains(&fault.on) && same(&fault.effect))
                    };
                    let impairment = self.plan.impairment(at, &fault.on);
                    let refuses = there(|effect| matches!(effect, Effect::Refuse));
                    let is_out = there(|effect| matches!(effect, Effect::Unplug));
                    way.set(impairment, refuses, !is_out).await.map_err(RunError::Way)?;
                }
            }
            Effect::Cut => {
                for way in self.ways.iter().filter(|way| way.places.contains(&fault.on)) {
                    if let Shell::Connections(proxy) = &way.shell {
                        proxy.cut_all();
                    }
                }
            }
            Effect::Broker(switch) => {
                let switch = if begins { Some(&switch.on) } else { switch.off.as_ref() };
                if let (Some(broker), Some(switch)) = (&self.broker, switch) {
                    switch.apply(broker);
                }
            }
            Effect::Kill if begins => self.order(Order::Kill).await,
            Effect::Kill if others(|effect| matches!(effect, Effect::Kill)) => {}
            Effect::Kill => self.order(Order::Start).await,
            Effect::Stop if begins => self.order(Order::Stop).await,
            Effect::Stop if others(|effect| matches!(effect, Effect::Stop)) => {}
            Effect::Stop => self.order(Order::Continue).await,
            Effect::Restart => self.order(Order::Restart).await,
            Effect::ClockStep(by) => self.order(Order::StepClock(by.nanos())).await,
            Effect::DiskFull { .. } => {
                let free = self.plan.active(at).filter_map(|fault| fault.effect.leaves()).min();
                if let Some(disk) = &mut self.disk {
                    disk.leave(free).await?;
                }
            }
        }
        Ok(())
    }

    /// Whoever keeps the gateway tells the run when it has failed.
    async fn order(&self, order: Order) {
        if let Some(gateway) = &self.gateway {
            let _ = gateway.send(order).await;
        }
    }
}

impl Way {
    async fn set(&self, impairment: Impairment, refuses: bool, plugged: bool) -> io::Result<()> {
        match &self.shell {
            Shell::Datagrams(relay) => relay.set_impairment(impairment),
            Shell::Connections(proxy) => {
                proxy.set_impairment(impairment);
                proxy.refuse(refuses).await?;
            }
            Shell::Port(plug) => drop(plug.send_replace(plugged)),
        }
        Ok(())
    }
}
