//! A lossy link between one client and the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proto::Rng;
use tokio::net::UdpSocket;

use super::server::Background;

/// That a datagram is lost.
const LOSS: f64 = 0.4;
/// So that every exchange ends: the retransmissions get past this, both ways.
const MAX_LOST_IN_A_ROW: u32 = 2;

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
    // Of both ways together, because a lost response costs a request too.
    let mut in_a_row = 0;
    let mut is_lost = || {
        let is_lost = in_a_row < MAX_LOST_IN_A_ROW && rng.chance(LOSS);
        in_a_row = if is_lost { in_a_row + 1 } else { 0 };
        lost.fetch_add(is_lost.into(), Ordering::Relaxed);
        is_lost
    };
    loop {
        tokio::select! {
            received = front.recv_from(&mut request) => {
                let (len, from) = received.unwrap();
                client = Some(from);
                if !is_lost() {
                    back.send(&request[..len]).await.unwrap();
                }
            }
            received = back.recv(&mut response) => {
                let len = received.unwrap();
                if let Some(client) = client && !is_lost() {
                    front.send_to(&response[..len], client).await.unwrap();
                }
            }
        }
    }
}
