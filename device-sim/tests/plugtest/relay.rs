//! A lossy link between clients and the server.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use device_sim::fault::{Impairment, RelayConfig, UdpRelay};

use super::server::Background;

/// That a datagram is lost.
const LOSS: f64 = 0.25;

/// A relay; it ends when it is dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    relay: Arc<OnceLock<UdpRelay>>,
    _background: Background,
}

impl Relay {
    /// A relay to `server` that loses what `seed` says.
    pub(crate) fn start(server: SocketAddr, seed: u64) -> Self {
        let relay = Arc::new(OnceLock::new());
        let started = Arc::clone(&relay);
        let (address, background) = Background::start(move |address, stop| async move {
            let config = RelayConfig { target: server, seed, fates: None };
            let relay = UdpRelay::start(config).await.unwrap();
            relay.set_impairment(Impairment { loss: LOSS, ..Impairment::default() });
            address.send(relay.address()).unwrap();
            started.set(relay).unwrap();
            // An error says that the test is over, and nothing else is ever sent.
            let _ = stop.await;
        });
        Self { address, relay, _background: background }
    }

    /// How many datagrams were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.relay.get().map_or(0, UdpRelay::taken)
    }
}
