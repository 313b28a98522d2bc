//! The task that accepts connections and owns their tasks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::core::ConnectionId;
use super::hub::{Event, MAX_BATCHES};
use super::mailbox::Mailbox;
use super::{Faults, Limits};
use crate::clock::Clock;
use crate::door::Door;

/// How long to wait when the system cannot accept, for instance without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the owner of the broker asks for.
#[derive(Debug)]
pub(super) enum Command {
    Down(oneshot::Sender<io::Result<()>>),
    Up(oneshot::Sender<io::Result<()>>),
}

pub(super) struct Listener {
    door: Door,
    connections: JoinSet<()>,
    next_id: u64,
    hub: mpsc::Sender<Event>,
    faults: Faults,
    limits: Limits,
    clock: Clock,
}

impl Listener {
    pub(super) fn new(
        door: Door,
        hub: mpsc::Sender<Event>,
        faults: Faults,
        limits: Limits,
        clock: Clock,
    ) -> Self {
        Self { door, connections: JoinSet::new(), next_id: 0, hub, faults, limits, clock }
    }

    /// Runs until the sender of `commands` is gone.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    None => return,
                    // Who asked may have stopped waiting; it is done all the same.
                    Some(Command::Down(done)) => drop(done.send(self.go_down().await)),
                    Some(Command::Up(done)) => drop(done.send(self.door.open())),
                },
                accepted = self.door.accept() => match accepted {
                    Ok(stream) => self.handle_accepted(stream).await,
                    Err(error) => {
                        tracing::error!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = self.connections.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "the task of a connection failed");
                },
            }
        }
    }

    async fn handle_accepted(&mut self, stream: TcpStream) {
        let plan = self.faults.watch();
        let (turn_away, cut_all, announced) = {
            let plan = plan.borrow();
            (plan.turn_away, plan.cut_all, plan.announced.within(&self.limits))
        };
        let full = self.connections.len() >= self.limits.max_connections;
        if full || turn_away {
            drop(stream);
            // Without a hub the broker is ending.
            let _ = self.hub.send(Event::TurnedAway).await;
            return;
        }
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let mailbox = Arc::new(Mailbox::default());
        if self.hub.send(Event::Opened(id, mailbox.clone(), announced)).await.is_err() {
            return;
        }
        let connection = Connection {
            id,
            mailbox,
            hub: self.hub.clone(),
            batches: Arc::new(Semaphore::new(MAX_BATCHES)),
            faults: self.faults.clone(),
            plan,
            cut_all,
            announced,
            limits: self.limits,
            clock: self.clock,
        };
        self.connections.spawn(connection.run(stream));
    }

    async fn go_down(&mut self) -> io::Result<()> {
        let closed = self.door.close();
        self.connections.shutdown().await;
        let (done, handled) = oneshot::channel();
        if self.hub.send(Event::Outage(done)).await.is_ok() {
            // An error means that the hub has ended, and every connection with it.
            let _ = handled.await;
        }
        closed
    }
}
