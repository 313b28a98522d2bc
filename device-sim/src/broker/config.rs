//! What the owner of a broker chooses.

use std::fmt;
use std::time::Duration;

use super::Recording;
use crate::clock::Clock;

/// How a broker is started.
#[derive(Debug)]
pub struct BrokerConfig {
    /// `address:port`; port 0 takes a free one.
    pub bind: String,
    /// What every client has to present; `None` lets everybody in.
    pub login: Option<Login>,
    /// What happens to arriving messages besides their delivery.
    pub recording: Recording,
    /// The limit of every queue and map.
    pub limits: Limits,
    /// What stamps the recorded messages.
    pub clock: Clock,
}

impl Default for BrokerConfig {
    /// A free port on loopback, no login, and a record of the first million messages.
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:0".to_owned(),
            login: None,
            recording: Recording::default(),
            limits: Limits::default(),
            clock: Clock::start(),
        }
    }
}

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password: any bytes (MQTT 3.1.1 §3.1.3.5).
    pub password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The limits of a broker, and what happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest packet in bytes, without its fixed header; a longer one closes the connection. MQTT 5
    /// clients are told.
    pub max_packet: usize,
    /// Connections at a time; one more is accepted and closed.
    pub max_connections: usize,
    /// Sessions, connected or kept; one more is refused: server unavailable.
    pub max_sessions: usize,
    /// Subscriptions of one session; one more gets SUBACK failure.
    pub max_subscriptions: usize,
    /// Retained messages; one more topic is delivered but not retained, and counted.
    pub max_retained: usize,
    /// Unacknowledged deliveries of QoS 1 and 2 to one client, at least 1; more are queued.
    pub max_inflight: usize,
    /// Queued deliveries of QoS 1 and 2 to one client; the newest beyond are dropped and counted.
    pub max_queued: usize,
    /// Bytes that wait for one client's socket, besides those that are being written: QoS 0 beyond
    /// is dropped and counted. With so many bytes unsent nothing more is read from that client,
    /// which its keep-alive takes for silence.
    pub max_unsent: usize,
    /// Topic aliases of one MQTT 5 client, which is told; a higher one closes the connection.
    pub max_topic_aliases: u16,
    /// How long a connection may take to send its CONNECT.
    pub connect_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet: 16 << 20,
            max_connections: 20_000,
            max_sessions: 100_000,
            max_subscriptions: 10_000,
            max_retained: 100_000,
            max_inflight: 1000,
            max_queued: 100_000,
            max_unsent: 4 << 20,
            max_topic_aliases: 100,
            connect_timeout: Duration::from_secs(10),
        }
    }
}
