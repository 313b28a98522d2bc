//! The way of each device: its target's address, and the transport that fits.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::faults::Detour;
use super::reach::{self, ReachError};
use crate::Via;
use crate::broker::Broker;
use crate::device::DeviceConfig;
use crate::scenario::values::{Address, BrokerAddress, PortName};
use crate::scenario::{Planned, Scenario};
use crate::transport::{
    Attendance, CoapTcpUplink, CoapUplink, Duty, HttpUplink, LinkCarrier, LinkIdentity, LinkUplink,
    ModbusBus, MqttUplink, SerialPort, SerialUplink, TcpUplink, TransportError, UdpUplink, Uplink,
};

/// The resource that takes reports where the target has no path.
const PATH: &str = "r";

/// Where everything listens, with names resolved.
pub(super) struct Targets {
    addresses: BTreeMap<Via, Target>,
    serial: Option<PortName>,
    link_serial: Option<PortName>,
    /// Where the gateway asks units.
    modbus: Option<ModbusBus>,
    /// The user name and password at the broker.
    login: Option<(String, String)>,
    /// What nodes share that are told something.
    attendance: Attendance,
}

#[derive(Clone, Debug)]
struct Target {
    key: &'static str,
    address: SocketAddr,
    host: String,
    path: String,
}

impl Targets {
    /// Looks up the names of what the fleets of a scenario talk to.
    pub(super) async fn resolve(
        scenario: &Scenario,
        broker: Option<&Broker>,
    ) -> Result<Self, ReachError> {
        let mut addresses = BTreeMap::new();
        for via in scenario.fleets.iter().map(|fleet| fleet.via()) {
            let (key, address) = scenario.target.address_of(via);
            let target = match (address, via, &scenario.target.mqtt, broker) {
                (Some(address), ..) => resolve(key, address).await?,
                (None, Via::Mqtt, Some(BrokerAddress::At(address)), _) => {
                    resolve("mqtt", address).await?
                }
                (None, Via::Mqtt, _, Some(broker)) => {
                    let (address, path) = (broker.address(), String::new());
                    Target { key: "mqtt", address, host: address.to_string(), path }
                }
                (None, ..) => continue,
            };
            addresses.insert(via, target);
        }
        let modbus = match addresses.get(&Via::Modbus) {
            Some(Target { key, address, .. }) => {
                Some(ModbusBus::listen(*address).await.map_err(|source| ReachError::Listen {
                    key,
                    address: *address,
                    source,
                })?)
            }
            None => None,
        };
        let (serial, link_serial) =
            (scenario.target.serial.clone(), scenario.target.link_serial.clone());
        let (login, attendance) = (scenario.target.login(), Attendance::default());
        Ok(Self { addresses, serial, link_serial, modbus, login, attendance })
    }

    /// Whether somebody listens there, as far as that can be seen.
    pub(super) async fn reach(&self, scenario: &Scenario) -> Result<(), ReachError> {
        for (via, Target { key, address, .. }) in &self.addresses {
            match via {
                Via::Coap => reach::ping(key, *address).await?,
                Via::CoapTcp | Via::Tcp | Via::Http | Via::LinkTcp | Via::Mqtt => {
                    reach::connect(key, *address).await?;
                }
                // Nobody answers, or what is there connects to us.
                Via::Udp | Via::LinkUdp | Via::Serial | Via::LinkSerial | Via::Modbus => {}
            }
        }
        tracing::debug!(scenario = scenario.name, "everything is there");
        Ok(())
    }

    /// Until when nodes are there for commands, and what they note of them.
    pub(super) const fn attendance(&self) -> &Attendance {
        &self.attendance
    }

    /// Where a device sends to.
    pub(super) fn address(&self, via: Via) -> Option<SocketAddr> {
        self.addresses.get(&via).map(|target| target.address)
    }

    /// Where the port of a device is.
    pub(super) fn port(&self, planned: &Planned, folder: &Path) -> Option<PathBuf> {
        let name = match planned.via {
            Via::Serial => self.serial.as_ref(),
            Via::LinkSerial => self.link_serial.as_ref(),
            Via::Coap | Via::CoapTcp | Via::Udp | Via::Tcp | Via::Http | Via::Mqtt => None,
            Via::LinkTcp | Via::LinkUdp | Via::Modbus => None,
        };
        name.map(|name| name.path(folder, planned.number))
    }

    /// What carries the reports of a device on its way, and the device.
    pub(super) fn uplink(
        &self,
        planned: Planned,
        folder: &Path,
        detour: Detour,
    ) -> Result<(Uplink, DeviceConfig), TransportError> {
        let path = self.port(&planned, folder);
        let Planned { via, device, payload, seed, topic, baud, node, .. } = planned;
        let epoch = device.epoch;
        let missing = || TransportError::Socket(std::io::ErrorKind::AddrNotAvailable.into());
        let Detour { address: instead, fates, plug } = detour;
        let port = || {
            let path = path.ok_or_else(missing)?;
            if let Some(parent) = path.parent() {
                // What is wrong with it shows when the port is made.
                let _ = fs::create_dir_all(parent);
            }
            let mut port = SerialPort::plug_in(&path)?;
            if let Some(plug) = plug {
                port.follow(plug);
            }
            Ok::<_, TransportError>(port)
        };
        let target = || {
            let mut target = self.addresses.get(&via).cloned().ok_or_else(missing)?;
            target.address = instead.unwrap_or(target.address);
            Ok::<_, TransportError>(target)
        };
        let link = |carrier| {
            let (device, key) = node.clone();
            let (epoch, restart_every) = (epoch.unwrap_or(1), planned.restart_every);
            let (obeys, attendance) = (planned.obeys, self.attendance.clone());
            let duty = Some(Box::new(Duty { obeys, seed, attendance }));
            let identity = LinkIdentity { device, key, epoch, restart_every, seed, duty };
            Uplink::Link(LinkUplink { carrier, identity })
        };
        let uplink = match via {
            Via::Coap => {
                let Target { address: gateway, path, .. } = target()?;
                Uplink::Coap(CoapUplink { gateway, path, payload, seed })
            }
            Via::CoapTcp => {
                let Target { address: gateway, path, .. } = target()?;
                Uplink::CoapTcp(CoapTcpUplink { gateway, path, payload })
            }
            Via::Udp => Uplink::Udp(UdpUplink { gateway: target()?.address, payload, fates }),
            Via::Tcp => Uplink::Tcp(TcpUplink { gateway: target()?.address, payload }),
            Via::Http => {
                let Target { address: gateway, host, path, .. } = target()?;
                Uplink::Http(HttpUplink { gateway, host, path, payload })
            }
            Via::Mqtt => {
                let (broker, login) = (target()?.address, self.login.clone());
                Uplink::Mqtt(MqttUplink { broker, login, topic, payload })
            }
            Via::Modbus => {
                let bus = self.modbus.as_ref().ok_or_else(missing)?;
                let address = u8::try_from(node.0).map_err(|_| missing())?;
                Uplink::Modbus(bus.uplink(address, planned.registers))
            }
            Via::Serial => Uplink::Serial(SerialUplink { port: port()?, payload, baud }),
            Via::LinkSerial => link(LinkCarrier::Serial { port: port()?, baud }),
            Via::LinkTcp => link(LinkCarrier::Tcp(target()?.address)),
            Via::LinkUdp => link(LinkCarrier::Udp(target()?.address)),
        };
        Ok((uplink, device))
    }
}

/// The address of a target.
pub(super) async fn address_of(
    key: &'static str,
    address: &Address,
) -> Result<SocketAddr, ReachError> {
    resolve(key, address).await.map(|target| target.address)
}

async fn resolve(key: &'static str, address: &Address) -> Result<Target, ReachError> {
    let host = address.host().to_owned();
    let found = tokio::net::lookup_host((address.host(), address.port())).await;
    let missing = |source| ReachError::Name { key, host: host.clone(), source };
    let found = found.map_err(missing)?.next();
    let found = found.ok_or_else(|| missing(std::io::ErrorKind::NotFound.into()))?;
    let path = if address.path().is_empty() { PATH } else { address.path() };
    let host = match host.contains(':') {
        true => format!("[{host}]:{}", address.port()),
        false => format!("{host}:{}", address.port()),
    };
    Ok(Target { key, address: found, host, path: path.to_owned() })
}
