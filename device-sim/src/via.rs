//! The ways from a device to a gateway.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a device speaks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// Confirmable CoAP requests, each acknowledged.
    Coap,
    /// CoAP requests over a connection, each acknowledged.
    #[serde(rename = "coap+tcp")]
    CoapTcp,
    /// Datagrams, without an answer.
    Udp,
    /// Lines over a connection, each with a reply line.
    Tcp,
    /// Lines on a serial port, without an answer.
    Serial,
    /// The link protocol on a serial port.
    #[serde(rename = "link-serial")]
    LinkSerial,
    /// The link protocol over a connection.
    #[serde(rename = "link-tcp")]
    LinkTcp,
    /// The link protocol in datagrams.
    #[serde(rename = "link-udp")]
    LinkUdp,
    /// Requests over HTTP, each answered.
    Http,
    /// Messages to a broker by the device itself, each acknowledged.
    Mqtt,
    /// Registers that a Modbus master reads over TCP, without an acknowledgement.
    Modbus,
}

impl Via {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Coap,
        Self::CoapTcp,
        Self::Udp,
        Self::Tcp,
        Self::Serial,
        Self::LinkSerial,
        Self::LinkTcp,
        Self::LinkUdp,
        Self::Http,
        Self::Mqtt,
        Self::Modbus,
    ];

    /// Its name in scenarios and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coap => "coap",
            Self::CoapTcp => "coap+tcp",
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Serial => "serial",
            Self::LinkSerial => "link-serial",
            Self::LinkTcp => "link-tcp",
            Self::LinkUdp => "link-udp",
            Self::Http => "http",
            Self::Mqtt => "mqtt",
            Self::Modbus => "modbus",
        }
    }

    /// Whether it is the link protocol, which has frames and numbers of its own.
    pub const fn is_link(self) -> bool {
        matches!(self, Self::LinkSerial | Self::LinkTcp | Self::LinkUdp)
    }

    /// Whether a device is told that its reading was taken.
    pub const fn acknowledges(self) -> bool {
        match self {
            Self::Coap | Self::CoapTcp | Self::Tcp | Self::Http | Self::Mqtt => true,
            Self::LinkSerial | Self::LinkTcp | Self::LinkUdp => true,
            Self::Udp | Self::Serial | Self::Modbus => false,
        }
    }

    /// Whether it sends only what it is asked for. Then nothing in a reading says which one it is but its
    /// value and its order.
    pub const fn is_asked(self) -> bool {
        matches!(self, Self::Modbus)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
