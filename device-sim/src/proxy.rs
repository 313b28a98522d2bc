//! A TCP proxy that injures the connections through it.
//!
//! It knows no protocol: it stands in front of a broker, or anything else, and cuts, refuses,
//! redirects or impairs, as an [`ImpairedStream`] in each direction decides. One task accepts and owns the tasks of the connections; the [`Proxy`] owns
//! that one, and dropping it ends them all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proto::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::door::Door;
use crate::fault::{Delay, ImpairedStream, Impairment};

/// Connections at a time; one more is closed on arrival.
const MAX_CONNECTIONS: usize = 20_000;
const CHUNK: usize = 16 << 10;
/// How long to wait when the system cannot accept, for instance without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running proxy. Dropping it ends it and every connection through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    plan: Arc<watch::Sender<Plan>>,
    orders: mpsc::Sender<Order>,
    tasks: JoinSet<()>,
}

/// Opens or closes the port.
#[derive(Debug)]
struct Order {
    open: bool,
    done: oneshot::Sender<io::Result<()>>,
}

#[derive(Clone, Debug)]
struct Plan {
    target: SocketAddr,
    impairment: Impairment,
    /// Bytes towards the target until the cut.
    cut_after: Option<u64>,
    /// Counts [`Proxy::cut_all`].
    cut_all: u64,
    /// Connections that were cut.
    cuts: u64,
}

impl Proxy {
    /// Listens on a free port of the loopback and forwards to `target`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        Self::bind("127.0.0.1:0", target, 0).await
    }

    /// Listens on `address`. What is impaired is drawn from `seed` and the number of the connection.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn bind(address: &str, target: SocketAddr, seed: u64) -> io::Result<Self> {
        let door = Door::bind(address).await?;
        let address = door.address();
        let impairment = Impairment::default();
        let plan = Plan { target, impairment, cut_after: None, cut_all: 0, cuts: 0 };
        let plan = Arc::new(watch::Sender::new(plan));
        let (orders, inbox) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(door, plan.clone(), inbox, Rng::new(seed)));
        Ok(Self { address, plan, orders, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects to `target` from now on; open connections stay where they are.
    pub fn retarget(&self, target: SocketAddr) {
        self.plan.send_modify(|plan| plan.target = target);
    }

    /// Forwards every byte so much later, in both directions, an hour at most; zero turns it off. Bytes
    /// that are on their way keep their time, and no byte overtakes another one.
    pub fn set_delay(&self, delay: Duration) {
        let delay = Some(Delay::constant(delay)).filter(|_| !delay.is_zero());
        self.set_impairment(Impairment { delay, ..Impairment::default() });
    }

    /// Makes every connection better or worse, in both directions. Of the shares only that of
    /// `corrupt` counts.
    pub fn set_impairment(&self, impairment: Impairment) {
        self.plan.send_modify(|plan| plan.impairment = impairment);
    }

    /// Resets every open connection, now. What is on its way is lost.
    pub fn cut_all(&self) {
        self.plan.send_modify(|plan| plan.cut_all += 1);
    }

    /// Cuts one connection: the one that carries the `bytes`th byte towards the target, counted
    /// from now over all connections, and right behind that byte. It happens once.
    pub fn cut_after_bytes(&self, bytes: u64) {
        self.plan.send_modify(|plan| plan.cut_after = Some(bytes));
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.plan.borrow().cuts
    }

    /// Closes the port, so that new connections are refused, or opens the same one again. Open
    /// connections stay.
    ///
    /// # Errors
    /// When the system does not close or open the port.
    pub async fn refuse(&self, on: bool) -> io::Result<()> {
        let ended = || io::Error::other("the proxy has ended");
        let (done, answer) = oneshot::channel();
        self.orders.send(Order { open: !on, done }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Ends it and waits for that.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn listen(
    mut door: Door,
    plan: Arc<watch::Sender<Plan>>,
    mut orders: mpsc::Receiver<Order>,
    mut seeds: Rng,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(Order { open, done }) = order else { return };
                // Who asked may have stopped waiting; it is done all the same.
                let _ = done.send(if open { door.open() } else { door.close() });
            }
            accepted = door.accept() => match accepted {
                Ok(client) if connections.len() < MAX_CONNECTIONS => {
                    let plan = plan.clone();
                    let watch = plan.subscribe();
                    let cut_all = plan.borrow().cut_all;
                    connections.spawn(forward(client, plan, watch, cut_all, seeds.next_u64()));
                }
                Ok(_) => tracing::warn!("too many connections: closing a new one"),
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "the task of a connection failed");
            },
        }
    }
}

async fn forward(
    mut client: TcpStream,
    plan: Arc<watch::Sender<Plan>>,
    mut watch: watch::Receiver<Plan>,
    cut_all: u64,
    seed: u64,
) {
    let target = plan.borrow().target;
    let mut server = match TcpStream::connect(target).await {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(%target, %error, "no connection to the target");
            return;
        }
    };
    let cut = tokio::select! {
        ended = both(&mut client, &mut server, &plan, seed) => ended.unwrap_or_else(|error| {
            tracing::debug!(%error, "connection lost");
            false
        }),
        // An error means that the proxy is ending.
        _ = watch.wait_for(|plan| plan.cut_all != cut_all) => {
            for stream in [&client, &server] {
                if let Err(error) = stream.set_zero_linger() {
                    tracing::debug!(%error, "closing instead of resetting");
                }
            }
            true
        }
    };
    drop((client, server));
    if cut {
        plan.send_modify(|plan| plan.cuts += 1);
    }
}

/// Forwards in both directions until both have ended, or one was cut: then it is `true`.
async fn both(
    client: &mut TcpStream,
    server: &mut TcpStream,
    plan: &watch::Sender<Plan>,
    seed: u64,
) -> io::Result<bool> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut seeds = Rng::new(seed);
    let (client_reader, client_writer) = client.split();
    let (server_reader, server_writer) = server.split();
    let up = ImpairedStream::new(seeds.next_u64());
    let down = ImpairedStream::new(seeds.next_u64());
    let up = pump(client_reader, server_writer, plan, up, true);
    let down = pump(server_reader, client_writer, plan, down, false);
    tokio::pin!(up, down);
    tokio::select! {
        cut = &mut up => if cut? { Ok(true) } else { down.await },
        cut = &mut down => if cut? { Ok(true) } else { up.await },
    }
}

/// Forwards one direction to its end; `true` when it was cut there.
async fn pump(
    mut reader: ReadHalf<'_>,
    mut writer: WriteHalf<'_>,
    plan: &watch::Sender<Plan>,
    mut way: ImpairedStream,
    counted: bool,
) -> io::Result<bool> {
    let (clock, mut changes) = (Clock::start(), plan.subscribe());
    let mut buffer = BytesMut::new();
    // Whether no more comes, and whether that is because of a cut.
    let (mut ended, mut cut) = (false, false);
    loop {
        way.set_impairment(changes.borrow_and_update().impairment);
        while let Some(bytes) = way.poll_delivery(clock.now()) {
            writer.write_all(&bytes).await?;
        }
        if ended && way.is_empty() {
            writer.shutdown().await?;
            return Ok(cut);
        }
        buffer.reserve(CHUNK);
        let mut chunk = (&mut reader).take(as_u64(CHUNK));
        tokio::select! {
            received = chunk.read_buf(&mut buffer), if !ended && way.has_room() => {
                let received = received?;
                let cut_at = if counted { spend(plan, received) } else { None };
                let bytes = buffer.split_to(cut_at.unwrap_or(received)).freeze();
                cut = cut_at.is_some();
                ended = received == 0 || cut;
                // It may have changed while these were waited for.
                way.set_impairment(plan.borrow().impairment);
                way.handle_bytes(clock.now(), bytes);
            }
            () = clock.sleep_until(way.poll_timeout()) => {}
            // An error means that the proxy is ending.
            changed = changes.changed() => if changed.is_err() {
                return Ok(false);
            },
        }
    }
}

/// Counts `bytes` towards the cut; the number of bytes before it, when it is among them.
fn spend(plan: &watch::Sender<Plan>, bytes: usize) -> Option<usize> {
    let mut cut_at = None;
    plan.send_if_modified(|plan| {
        let Some(left) = plan.cut_after else { return false };
        if left <= as_u64(bytes) {
            cut_at = usize::try_from(left).ok();
            plan.cut_after = None;
        } else {
            plan.cut_after = Some(left - as_u64(bytes));
        }
        false
    });
    cut_at
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
