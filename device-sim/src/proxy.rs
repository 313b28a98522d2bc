//! A TCP proxy that injures the connections through it.
//!
//! It knows no protocol: it stands in front of a broker, or anything else, and cuts, refuses,
//! delays or redirects. One task accepts and owns the tasks of the connections; the [`Proxy`] owns
//! that one, and dropping it ends them all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proto::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::door::Door;

/// Connections at a time; one more is closed on arrival.
const MAX_CONNECTIONS: usize = 20_000;
/// Reads of one direction that are on their way; beyond, the proxy stops reading.
const MAX_CHUNKS: usize = 1024;
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
    delay: Duration,
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
        let door = Door::bind("127.0.0.1:0").await?;
        let address = door.address();
        let plan = Plan { target, delay: Duration::ZERO, cut_after: None, cut_all: 0, cuts: 0 };
        let plan = Arc::new(watch::Sender::new(plan));
        let (orders, inbox) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(door, plan.clone(), inbox));
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

    /// Forwards every byte so much later, in both directions; zero turns it off. Bytes that are on
    /// their way keep their time, and no byte overtakes another one.
    pub fn set_delay(&self, delay: Duration) {
        self.plan.send_modify(|plan| plan.delay = delay);
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

async fn listen(mut door: Door, plan: Arc<watch::Sender<Plan>>, mut orders: mpsc::Receiver<Order>) {
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
                    connections.spawn(forward(client, plan, watch, cut_all));
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
        ended = both(&mut client, &mut server, &plan) => ended.unwrap_or_else(|error| {
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
) -> io::Result<bool> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_reader, client_writer) = client.split();
    let (server_reader, server_writer) = server.split();
    let up = pump(client_reader, server_writer, plan, true);
    let down = pump(server_reader, client_writer, plan, false);
    tokio::pin!(up, down);
    tokio::select! {
        cut = &mut up => if cut? { Ok(true) } else { down.await },
        cut = &mut down => if cut? { Ok(true) } else { up.await },
    }
}

/// Forwards one direction to its end; `true` when it was cut there.
async fn pump(
    reader: ReadHalf<'_>,
    writer: WriteHalf<'_>,
    plan: &watch::Sender<Plan>,
    counted: bool,
) -> io::Result<bool> {
    let clock = Clock::start();
    let (chunks, inbox) = mpsc::channel(MAX_CHUNKS);
    let (cut, ()) = tokio::try_join!(
        take_in(reader, chunks, plan, counted, &clock),
        give_out(writer, inbox, &clock)
    )?;
    Ok(cut)
}

async fn take_in(
    mut reader: ReadHalf<'_>,
    chunks: mpsc::Sender<(Instant, BytesMut)>,
    plan: &watch::Sender<Plan>,
    counted: bool,
    clock: &Clock,
) -> io::Result<bool> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        let received = (&mut reader).take(as_u64(CHUNK)).read_buf(&mut buffer).await?;
        if received == 0 {
            return Ok(false);
        }
        let cut_at = if counted { spend(plan, received) } else { None };
        let chunk = buffer.split_to(cut_at.unwrap_or(received));
        let due = clock.now() + plan.borrow().delay;
        if chunks.send((due, chunk)).await.is_err() {
            return Ok(false);
        }
        if cut_at.is_some() {
            return Ok(true);
        }
    }
}

async fn give_out(
    mut writer: WriteHalf<'_>,
    mut chunks: mpsc::Receiver<(Instant, BytesMut)>,
    clock: &Clock,
) -> io::Result<()> {
    while let Some((due, chunk)) = chunks.recv().await {
        if due > clock.now() {
            clock.sleep_until(due).await;
        }
        writer.write_all(&chunk).await?;
    }
    writer.shutdown().await
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
