//! A relay of datagrams with faults on the way.
//!
//! It stands in front of a server; each client gets a socket of its own towards it, as behind a NAT, and
//! an [`Impaired`] way in each direction. One task receives from the clients and owns the tasks that
//! serve one each; the [`UdpRelay`] owns that one, and dropping it ends them all.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proto::Rng;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::effect::Impairment;
use super::impaired::Impaired;
use crate::clock::Clock;
use crate::transport::socket_to;

/// Clients at a time; datagrams of one more are dropped.
const MAX_CLIENTS: usize = 1024;
/// Datagrams of a client that wait for their turn; one more is dropped, as a full socket would.
const MAX_INBOX: usize = 256;
/// How long a client keeps its socket without a datagram either way. An exchange of CoAP is over after
/// 247 s (RFC 7252 §4.8.2).
const IDLE: Duration = Duration::from_secs(300);
/// The largest datagram.
const MAX_DATAGRAM: usize = 65_536;

/// What a relay does.
#[derive(Debug)]
pub struct RelayConfig {
    /// The server.
    pub target: SocketAddr,
    /// What accidents are drawn from, together with the number of the client.
    pub seed: u64,
    /// Who is told of each datagram to the server. The relay waits while nobody takes it in.
    pub fates: Option<mpsc::Sender<Fate>>,
}

/// What is to become of a datagram to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// As the client sent it.
    pub datagram: Vec<u8>,
    /// Whether it arrives undamaged.
    pub arrives: bool,
}

/// A running relay. Dropping it ends it.
#[derive(Debug)]
pub struct UdpRelay {
    address: SocketAddr,
    impairment: watch::Sender<Impairment>,
    taken: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl UdpRelay {
    /// Listens on a free port of the loopback.
    ///
    /// # Errors
    /// When none can be bound.
    pub async fn start(config: RelayConfig) -> io::Result<Self> {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let address = front.local_addr()?;
        let (impairment, changes) = watch::channel(Impairment::default());
        let (count, taken) = watch::channel(0);
        let front = Front {
            socket: front,
            seeds: Rng::new(config.seed),
            config,
            changes,
            taken: Arc::new(count),
            inboxes: BTreeMap::new(),
            clients: JoinSet::new(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(front.run());
        Ok(Self { address, impairment, taken, _tasks: tasks })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes all ways better or worse, in both directions, for what is sent from now on.
    pub fn set_impairment(&self, impairment: Impairment) {
        self.impairment.send_replace(impairment);
    }

    /// Datagrams of either direction that did not arrive undamaged.
    pub fn taken(&self) -> u64 {
        *self.taken.borrow()
    }
}

/// The side of the clients.
struct Front {
    socket: Arc<UdpSocket>,
    config: RelayConfig,
    seeds: Rng,
    changes: watch::Receiver<Impairment>,
    taken: Arc<watch::Sender<u64>>,
    inboxes: BTreeMap<SocketAddr, mpsc::Sender<BytesMut>>,
    /// Each ends with the address of its client.
    clients: JoinSet<SocketAddr>,
}

impl Front {
    async fn run(mut self) {
        loop {
            tokio::select! {
                ready = self.socket.readable() => if let Err(error) = ready.and_then(|()| self.receive()) {
                    // The answer of the system to an earlier datagram.
                    tracing::debug!(%error, "nothing received");
                },
                Some(ended) = self.clients.join_next() => match ended {
                    Ok(client) => if self.inboxes.get(&client).is_some_and(mpsc::Sender::is_closed) {
                        self.inboxes.remove(&client);
                    },
                    Err(error) => tracing::error!(%error, "the task of a client failed"),
                },
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut datagram = BytesMut::with_capacity(MAX_DATAGRAM);
        let (_, from) = match self.socket.try_recv_buf_from(&mut datagram) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            received => received?,
        };
        let inbox = match self.inboxes.get(&from).filter(|inbox| !inbox.is_closed()) {
            Some(inbox) => inbox.clone(),
            None if self.inboxes.len() >= MAX_CLIENTS => {
                tracing::warn!(%from, "too many clients: dropping the datagram of a new one");
                return Ok(());
            }
            None => self.admit(from),
        };
        if inbox.try_send(datagram).is_err() {
            tracing::debug!(%from, "dropping a datagram: more come than can be passed on");
        }
        Ok(())
    }

    fn admit(&mut self, client: SocketAddr) -> mpsc::Sender<BytesMut> {
        let (inbox, datagrams) = mpsc::channel(MAX_INBOX);
        let served = Client {
            client,
            target: self.config.target,
            front: Arc::clone(&self.socket),
            datagrams,
            changes: self.changes.clone(),
            taken: Arc::clone(&self.taken),
            fates: self.config.fates.clone(),
            up: Impaired::new(self.seeds.next_u64()),
            down: Impaired::new(self.seeds.next_u64()),
        };
        self.clients.spawn(async move {
            if let Err(error) = served.run().await {
                tracing::error!(%client, %error, "no socket for a client of the relay");
            }
            client
        });
        self.inboxes.insert(client, inbox.clone());
        inbox
    }
}

/// One client and its ways.
struct Client {
    client: SocketAddr,
    target: SocketAddr,
    front: Arc<UdpSocket>,
    datagrams: mpsc::Receiver<BytesMut>,
    changes: watch::Receiver<Impairment>,
    taken: Arc<watch::Sender<u64>>,
    fates: Option<mpsc::Sender<Fate>>,
    up: Impaired<()>,
    down: Impaired<()>,
}

impl Client {
    /// Until it is idle, or the relay ends.
    async fn run(mut self) -> io::Result<()> {
        let (clock, back) = (Clock::start(), socket_to(self.target).await?);
        let mut idle_at = clock.now() + IDLE;
        loop {
            self.deliver(&back, &clock).await;
            let next = self.up.poll_timeout().min(self.down.poll_timeout());
            tokio::select! {
                datagram = self.datagrams.recv() => {
                    let Some(datagram) = datagram else { return Ok(()) };
                    idle_at = clock.now() + IDLE;
                    self.change();
                    let arrives = self.up.handle_datagram(clock.now(), (), (), &datagram);
                    self.count(arrives);
                    if let Some(fates) = &self.fates {
                        // Who does not want to know any more has gone.
                        let _ = fates.send(Fate { datagram: datagram.to_vec(), arrives }).await;
                    }
                }
                ready = back.readable() => {
                    let mut datagram = BytesMut::with_capacity(MAX_DATAGRAM);
                    // An error is the answer of the system to an earlier datagram.
                    if ready.and_then(|()| back.try_recv_buf(&mut datagram)).is_ok() {
                        idle_at = clock.now() + IDLE;
                        self.change();
                        let arrives = self.down.handle_datagram(clock.now(), (), (), &datagram);
                        self.count(arrives);
                    }
                }
                () = clock.sleep_until(next) => {}
                () = clock.sleep_until(idle_at) => return Ok(()),
                // It is looked at with the next datagram. An error means that the relay is ending.
                changed = self.changes.changed() => if changed.is_err() {
                    return Ok(());
                },
            }
        }
    }

    fn change(&mut self) {
        let impairment = *self.changes.borrow_and_update();
        self.up.set_impairment(impairment);
        self.down.set_impairment(impairment);
    }

    fn count(&self, arrives: bool) {
        if !arrives {
            self.taken.send_modify(|taken| *taken += 1);
        }
    }

    /// Sends what has arrived. That nobody is there is not for the sender to know.
    async fn deliver(&mut self, back: &UdpSocket, clock: &Clock) {
        while let Some(datagram) = self.up.poll_delivery(clock.now()) {
            if let Err(error) = back.send(&datagram.bytes).await {
                tracing::debug!(target = %self.target, %error, "cannot send");
            }
        }
        while let Some(datagram) = self.down.poll_delivery(clock.now()) {
            if let Err(error) = self.front.send_to(&datagram.bytes, self.client).await {
                tracing::debug!(client = %self.client, %error, "cannot send");
            }
        }
    }
}
