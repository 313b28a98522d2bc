//! The demo's devices: a kind for each transport, spread evenly.

use std::net::SocketAddr;
use std::time::Duration;

use device_sim::Via;
use device_sim::device::{Channel, Device, DeviceClock, DeviceConfig, Schedule};
use device_sim::payload::Payload;
use device_sim::signal::Signal;
use device_sim::transport::{
    CoapTcpUplink, CoapUplink, LinkCarrier, LinkIdentity, LinkUplink, SerialPort, SerialUplink,
    Surroundings, TcpUplink, TransportError, UdpUplink, Uplink,
};
use proto::link::Key;
use proto::{Instant, Rng, Timestamp};
use tokio_util::sync::CancellationToken;

use super::{DemoError, Options};
use crate::status::Report;
use crate::supervisor::{Ended, Supervisor};

/// Speed of the serial lines.
pub(super) const BAUD: u32 = 9600;
/// What a line of a serial device has after time, boot count and number.
pub(super) const METER_COLUMNS: [&str; 2] = ["power", "energy"];
/// From one peak of a value to the next: short, so that something moves.
const PERIOD: Duration = Duration::from_secs(40);
/// What the devices speak, one after the other.
pub(super) const SPOKEN: [Via; 8] = [
    Via::Coap,
    Via::CoapTcp,
    Via::Udp,
    Via::Tcp,
    Via::Serial,
    Via::LinkSerial,
    Via::LinkTcp,
    Via::LinkUdp,
];
/// A device's boot count.
const EPOCH: u32 = 1;

/// The name of the serial device with this number.
pub(super) fn serial_device(number: usize) -> String {
    format!("meter-{number:02}")
}

/// Which devices there will be.
pub(super) struct Plan(Vec<Planned>);

/// A device before it has a way to the gateway.
pub(super) struct Planned {
    pub(super) via: Via,
    pub(super) device: DeviceConfig,
    payload: Payload,
    node: LinkNode,
    seed: u64,
}

/// What a node of the link protocol shares with the gateway.
struct LinkNode {
    number: u32,
    key: [u8; 32],
}

/// The serial ports, in the order of their devices.
pub(super) struct Ports {
    pub(super) lines: Vec<SerialPort>,
    pub(super) links: Vec<SerialPort>,
}

impl Plan {
    /// As many as the options want, one transport after the other.
    pub(super) fn new(options: &Options, origin: Timestamp) -> Self {
        let mut seeds = Rng::new(options.seed);
        let vias = SPOKEN.into_iter().cycle();
        let planned = (0..options.devices).zip(vias).filter_map(|(index, via)| {
            let number = usize::from(index) / SPOKEN.len() + 1;
            let (id, payload, channels) = kind(via, number)?;
            let from = options.every * u32::from(index) / u32::from(options.devices.max(1));
            let device = DeviceConfig {
                id,
                channels,
                schedule: Schedule::every(Instant::ZERO + from, options.every),
                epoch: (payload.is_numbered() || via.is_link()).then_some(EPOCH),
                clock: DeviceClock::new(origin),
                seed: seeds.next_u64(),
            };
            let seed = seeds.next_u64();
            let node = LinkNode {
                number: u32::from(index) + 1,
                key: std::array::from_fn({
                    let mut bytes = Rng::new(seed);
                    move |_| bytes.next_u64().to_le_bytes()[0]
                }),
            };
            Some(Planned { via, device, payload, node, seed })
        });
        Self(planned.collect())
    }

    /// How many of them speak this.
    pub(super) fn count(&self, via: Via) -> usize {
        self.0.iter().filter(|planned| planned.via == via).count()
    }

    /// A key for each, which those use that speak the link protocol, as the gateway's `keys_file` has them.
    pub(super) fn keys(&self) -> String {
        let line = |planned: &Planned| {
            let node = &planned.node;
            let key: String = node.key.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{} {key} {}\n", node.number, planned.device.id)
        };
        self.0.iter().map(line).collect()
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Planned> {
        self.0.iter()
    }
}

/// What the device with this number is called, sends and measures; `None` for what the demo does not
/// play.
fn kind(via: Via, number: usize) -> Option<(String, Payload, Vec<Channel>)> {
    let sine = |mean, amplitude, noise| Signal::Sine { mean, amplitude, period: PERIOD, noise };
    let walk = |start, step, min, max| Signal::Walk { start, step, min, max };
    Some(match via {
        Via::Coap => {
            let is_cbor = number % 2 == 1;
            let payload = if is_cbor { Payload::SenmlCbor } else { Payload::SenmlJson };
            let channels = vec![
                channel("temp", "Cel", 2, sine(21.0, 4.0, 0.2)),
                channel("hum", "%RH", 1, walk(55.0, 1.0, 20.0, 95.0)),
            ];
            (format!("th-{number:02}"), payload, channels)
        }
        Via::CoapTcp => {
            let channels = vec![
                channel("co2", "ppm", 0, walk(620.0, 15.0, 400.0, 2000.0)),
                channel("noise", "dB", 1, sine(42.0, 6.0, 1.5)),
            ];
            (format!("room-{number:02}"), Payload::SenmlCbor, channels)
        }
        Via::Udp => {
            let channels = vec![
                channel("wind", "m/s", 1, walk(6.0, 1.5, 0.0, 25.0)),
                channel("pressure", "hPa", 1, walk(1013.0, 0.5, 960.0, 1050.0)),
            ];
            (format!("wx-{number:02}"), Payload::Keyvalue, channels)
        }
        Via::Tcp => {
            let channels = vec![
                channel("flow", "l/s", 2, sine(2.5, 1.5, 0.1)),
                channel("level", "%", 1, walk(60.0, 2.0, 0.0, 100.0)),
            ];
            (format!("pump-{number:02}"), Payload::Json, channels)
        }
        Via::Serial => {
            let [power, energy] = METER_COLUMNS;
            let channels = vec![
                channel(power, "W", 0, sine(420.0, 180.0, 25.0)),
                channel(energy, "kWh", 3, Signal::Counter { start: 1204.5, step: 0.001 }),
            ];
            (serial_device(number), Payload::Csv, channels)
        }
        // Its frames are its payload.
        Via::LinkSerial => {
            let channels = vec![
                channel("accel", "m/s2", 2, sine(1.2, 0.8, 0.1)),
                channel("speed", "1/min", 0, walk(1450.0, 10.0, 1200.0, 1500.0)),
            ];
            (format!("motor-{number:02}"), Payload::SenmlCbor, channels)
        }
        Via::LinkTcp => {
            let channels = vec![
                channel("voltage", "V", 1, walk(230.0, 0.5, 220.0, 240.0)),
                channel("current", "A", 2, sine(4.0, 2.0, 0.2)),
            ];
            (format!("panel-{number:02}"), Payload::SenmlCbor, channels)
        }
        Via::LinkUdp => {
            let channels = vec![
                channel("moisture", "%", 1, walk(35.0, 1.0, 5.0, 60.0)),
                channel("soil", "Cel", 2, sine(14.0, 2.0, 0.1)),
            ];
            (format!("soil-{number:02}"), Payload::SenmlCbor, channels)
        }
        Via::Http | Via::Mqtt | Via::Modbus => return None,
    })
}

fn channel(name: &str, unit: &str, decimals: u8, signal: Signal) -> Channel {
    Channel { name: name.to_owned(), unit: Some(unit.to_owned()), signal, decimals }
}

/// The devices while they send.
pub(super) struct Fleet {
    devices: Supervisor<Result<Option<SerialPort>, TransportError>>,
    stop: CancellationToken,
}

impl Fleet {
    /// Starts all of them; `gateway` says where it listens, `ports` are those it opens.
    pub(super) fn start(
        plan: Plan,
        ports: Ports,
        gateway: &Report,
        surroundings: &Surroundings,
    ) -> Result<Self, DemoError> {
        let source =
            |name: &'static str| gateway.sources.get(name).ok_or(DemoError::NoAddress(name));
        let first = |name, addresses: &[SocketAddr]| {
            addresses.first().copied().ok_or(DemoError::NoAddress(name))
        };
        let coap = first("coap", &source("coap")?.addresses)?;
        let coap_tcp = first("coap", &source("coap")?.tcp_addresses)?;
        let udp = first("udp", &source("udp")?.addresses)?;
        let tcp = first("tcp", &source("tcp")?.addresses)?;
        let link_tcp = first("link-tcp", &source("link-tcp")?.addresses)?;
        let link_udp = first("link-udp", &source("link-udp")?.addresses)?;
        let stop = CancellationToken::new();
        let mut devices = Supervisor::new();
        let (mut lines, mut links) = (ports.lines.into_iter(), ports.links.into_iter());
        for Planned { via, device, payload, node, seed } in plan.0 {
            let epoch = device.epoch;
            let link = |carrier| {
                let (device, key) = (node.number, Some(Key::new(&node.key)));
                let epoch = epoch.unwrap_or(1);
                let identity =
                    LinkIdentity { device, key, epoch, restart_every: None, seed, duty: None };
                Uplink::Link(LinkUplink { carrier, identity })
            };
            let uplink = match via {
                Via::Coap => {
                    Uplink::Coap(CoapUplink { gateway: coap, path: "r".to_owned(), payload, seed })
                }
                Via::CoapTcp => {
                    let (gateway, path) = (coap_tcp, "r".to_owned());
                    Uplink::CoapTcp(CoapTcpUplink { gateway, path, payload })
                }
                Via::Udp => Uplink::Udp(UdpUplink { gateway: udp, payload, fates: None }),
                Via::Tcp => Uplink::Tcp(TcpUplink { gateway: tcp, payload }),
                Via::Serial => {
                    let port = lines.next().ok_or(DemoError::NoAddress("serial"))?;
                    Uplink::Serial(SerialUplink { port, payload, baud: BAUD })
                }
                Via::LinkSerial => {
                    let port = links.next().ok_or(DemoError::NoAddress("link-serial"))?;
                    link(LinkCarrier::Serial { port, baud: BAUD })
                }
                Via::LinkTcp => link(LinkCarrier::Tcp(link_tcp)),
                Via::LinkUdp => link(LinkCarrier::Udp(link_udp)),
                Via::Http | Via::Mqtt | Via::Modbus => {
                    return Err(DemoError::NoAddress(via.name()));
                }
            };
            let name = format!("device {}", device.id);
            let running = uplink.run(Device::new(device), surroundings.clone(), stop.clone());
            devices.start(name, running);
        }
        Ok(Self { devices, stop })
    }

    /// Waits for a device to end, which none does by itself.
    pub(super) async fn failed(&mut self) -> DemoError {
        match self.devices.next_end().await {
            Some(Ended { outcome: Ok(Err(error)), .. }) => error.into(),
            Some(_) | None => DemoError::DeviceEnded,
        }
    }

    /// Stops all of them and waits for their answers; their serial ports stay plugged in.
    pub(super) async fn stop(mut self) -> Result<Vec<SerialPort>, DemoError> {
        self.stop.cancel();
        let mut ports = Vec::new();
        let mut failed = None;
        while let Some(end) = self.devices.next_end().await {
            match end.outcome {
                Ok(Ok(port)) => ports.extend(port),
                Ok(Err(error)) => failed = Some(error.into()),
                Err(_) => failed = Some(DemoError::DeviceEnded),
            }
        }
        failed.map_or(Ok(ports), Err)
    }
}
