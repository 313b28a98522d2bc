//! A lossy link between one client and the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proto::Rng;
use tokio::net::UdpSocket;

use super::server::Background;

/// That a datagram is lost.
const LOSS: f64 = 0.4;
/// Datagrams lost between two that reach the client, so that few retransmissions get past it.
const MAX_LOST: u32 = 2;

/// A relay; it ends when it is dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    lost: Arc<AtomicU32>,
    _background: Background,
}

impl Relay {
    /// A relay to `server` that loses what `seed` says.
    pub(crate) fn start(server: SocketAddr, seed: u64) -> Self {
        let lost = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&lost);
        let (address, background) = Background::start(move |address, stop| async move {
            let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            back.connect(server).await.unwrap();
            address.send(front.local_addr().unwrap()).unwrap();
            tokio::select! {
                () = run(front, back, Rng::new(seed), counter) => {}
                _ = stop => {}
            }
        });
        Self { address, lost, _background: background }
    }

    /// How many datagrams were lost.
    pub(crate) fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn run(front: UdpSocket, back: UdpSocket, mut rng: Rng, lost: Arc<AtomicU32>) {
    let (mut request, mut response) = ([0; 2048], [0; 2048]);
    let mut client = None;
    let mut lost_since = 0;
    let mut is_lost = |lost_since: &mut u32| {
        let is_lost = *lost_since < MAX_LOST && rng.chance(LOSS);
        *lost_since += u32::from(is_lost);
        lost.fetch_add(is_lost.into(), Ordering::Relaxed);
        is_lost
    };
    loop {
        tokio::select! {
            received = front.recv_from(&mut request) => {
                let (len, from) = received.unwrap();
                client = Some(from);
                if !is_lost(&mut lost_since) {
                    back.send(&request[..len]).await.unwrap();
                }
            }
            received = back.recv(&mut response) => {
                let len = received.unwrap();
                if let Some(client) = client && !is_lost(&mut lost_since) {
                    lost_since = 0;
                    front.send_to(&response[..len], client).await.unwrap();
                }
            }
        }
    }
}
