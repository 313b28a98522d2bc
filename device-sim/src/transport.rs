//! How a device reaches a gateway: short shells around the pure [`Device`].
//!
//! Each sends what is due, tells the ledger *before* it writes, and tells it again when the gateway
//! has answered. When it is stopped it sends nothing more and waits for the answers that are still to
//! come, `PATIENCE` at most.
//!
//! A new one is a file here and a variant of [`Uplink`] with its arms.

mod coap;
mod coap_tcp;
mod http;
mod link;
mod modbus;
mod mqtt;
mod reconnect;
mod serial;
mod tcp;
mod udp;

use std::io;
use std::time::Duration;

use proto::{Instant, Reading};
use tokio_util::sync::CancellationToken;

pub use coap::{CoapUplink, report as coap_report};
pub use coap_tcp::CoapTcpUplink;
pub use http::{HttpUplink, media_type};
pub use link::{
    Attendance, Duty, LinkCarrier, LinkCore, LinkEvent, LinkIdentity, LinkOutput, LinkUplink,
    link_framer, stuffed,
};
pub use modbus::{ModbusBus, ModbusUplink};
pub use mqtt::MqttUplink;
pub use reconnect::Pause;
pub use serial::{SerialPort, SerialUplink, Written, time_of};
pub use tcp::{MAX_OPEN, TAKEN, TcpUplink};
pub use udp::UdpUplink;
pub(crate) use udp::socket_to;

use crate::Via;
use crate::clock::Clock;
use crate::device::{Device, Report};
use crate::ledger::SharedLedger;

/// How long a device that was stopped waits for answers.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The way of one device to its gateway.
#[derive(Debug)]
pub enum Uplink {
    /// Confirmable requests.
    Coap(CoapUplink),
    /// Requests over a connection.
    CoapTcp(CoapTcpUplink),
    /// Datagrams.
    Udp(UdpUplink),
    /// Lines over a connection.
    Tcp(TcpUplink),
    /// Lines on a pseudo-terminal.
    Serial(SerialUplink),
    /// Frames of the link protocol, acknowledged from the gateway's disk.
    Link(LinkUplink),
    /// Posts over a connection.
    Http(HttpUplink),
    /// Messages to a broker.
    Mqtt(MqttUplink),
    /// Answers on a bus.
    Modbus(ModbusUplink),
}

/// Why a device cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// There is no socket for it.
    #[error("a simulated device has no socket")]
    Socket(#[source] io::Error),
    /// There is no pseudo-terminal for it.
    #[error("cannot make a pseudo-terminal at {path}")]
    Pseudoterminal {
        /// Where it was to be found.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What a shell shares with all others.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where it is written down.
    pub ledger: SharedLedger,
    /// The time.
    pub clock: Clock,
}

impl Uplink {
    /// What it speaks.
    pub const fn via(&self) -> Via {
        match self {
            Self::Coap(_) => Via::Coap,
            Self::CoapTcp(_) => Via::CoapTcp,
            Self::Udp(_) => Via::Udp,
            Self::Tcp(_) => Via::Tcp,
            Self::Serial(_) => Via::Serial,
            Self::Link(uplink) => uplink.via(),
            Self::Http(_) => Via::Http,
            Self::Mqtt(_) => Via::Mqtt,
            Self::Modbus(_) => Via::Modbus,
        }
    }

    /// Lets `device` send until `stop`. What it returns stays plugged in until it is dropped: a
    /// serial port that is unplugged takes with it what the gateway has not read.
    ///
    /// # Errors
    /// When the system does not give it what it needs.
    pub async fn run(
        self,
        device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) -> Result<Option<SerialPort>, TransportError> {
        match self {
            Self::Coap(uplink) => uplink.run(device, surroundings, stop).await.map(|()| None),
            Self::CoapTcp(uplink) => {
                uplink.run(device, surroundings, stop).await;
                Ok(None)
            }
            Self::Udp(uplink) => uplink.run(device, surroundings, stop).await.map(|()| None),
            Self::Tcp(uplink) => {
                uplink.run(device, surroundings, stop).await;
                Ok(None)
            }
            Self::Serial(uplink) => Ok(Some(uplink.run(device, surroundings, stop).await)),
            Self::Link(uplink) => uplink.run(device, surroundings, stop).await,
            Self::Http(uplink) => {
                uplink.run(device, surroundings, stop).await;
                Ok(None)
            }
            Self::Mqtt(uplink) => {
                uplink.run(device, surroundings, stop).await;
                Ok(None)
            }
            Self::Modbus(uplink) => {
                uplink.run(device, surroundings, stop).await;
                Ok(None)
            }
        }
    }
}

impl Surroundings {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Takes the next report that is due and writes it down as sent.
    fn take_due(&self, device: &mut Device, via: Via) -> Option<Vec<Reading>> {
        let Report { due, readings } = device.poll_report(self.now())?;
        self.ledger.handle_sent(due, via, &readings);
        Some(readings)
    }
}
