//! The loop around the gateway's end of the protocol: frames in, readings to the store, and
//! acknowledgements out when they are on disk. Commands go out between them, for those who [ask](super::calls).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use proto::Instant;
use proto::link::{Gateway, GatewayEvent, GatewayOutput, Report, Ticket};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::calls::{Ask, Calls};
use super::memory::Memory;
use super::ports::{Arrival, Outgoing, Peer};
use super::sample;
use crate::clock;
use crate::pipeline::Receipt;
use crate::source::Context;
use crate::store::{NotStored, Origin, Spool};

/// Frames of all ports that wait for the hub; then ports are not read.
pub(super) const QUEUE: usize = 1024;
/// Frames taken before other tasks get a turn.
const TURN: usize = 64;
/// What a node is told while there is no room.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How often what is known of the nodes is saved, where it has changed.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// The gateway's end for all nodes of a source.
pub(super) struct Hub {
    context: Arc<Context>,
    gateway: Gateway<Peer>,
    names: BTreeMap<u32, String>,
    memory: Memory,
    spool: Spool,
    arrivals: mpsc::Receiver<Arrival>,
    asks: mpsc::Receiver<Ask>,
    calls: Calls,
    ports: BTreeMap<u64, mpsc::Sender<Outgoing>>,
    pending: FuturesUnordered<Pending>,
    save_at: Instant,
    /// Until when nothing is due, as of the last [`step`](Self::step).
    wait: Instant,
}

/// A report on its way to the disk.
struct Pending {
    ticket: Ticket,
    receipt: Receipt,
}

impl Future for Pending {
    type Output = (Ticket, Result<(), NotStored>);

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let stored = ready!(Pin::new(&mut self.receipt).poll(task));
        Poll::Ready((self.ticket, stored.unwrap_or(Err(NotStored::Failed))))
    }
}

impl Hub {
    pub(super) fn new(
        context: Arc<Context>,
        gateway: Gateway<Peer>,
        names: BTreeMap<u32, String>,
        memory: Memory,
        spool: Spool,
        arrivals: mpsc::Receiver<Arrival>,
        asks: mpsc::Receiver<Ask>,
    ) -> Self {
        Self {
            context,
            gateway,
            names,
            memory,
            spool,
            arrivals,
            asks,
            calls: Calls::default(),
            ports: BTreeMap::new(),
            pending: FuturesUnordered::new(),
            save_at: clock::now() + SAVE_EVERY,
            wait: Instant::FAR_FUTURE,
        }
    }

    /// Runs until `stop` is cancelled and every report that was taken is answered.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let wait = self.drain().unwrap_or(Instant::FAR_FUTURE);
            let stopping = stop.is_cancelled();
            if stopping && self.pending.is_empty() {
                break;
            }
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                settled = self.pending.next(), if !self.pending.is_empty() => self.settle(settled),
                arrival = self.arrivals.recv(), if !stopping => self.take_turn(arrival),
                Some(ask) = self.asks.recv(), if !stopping => self.take_ask(ask),
                () = sleep_until(clock::deadline(wait)), if wait < Instant::FAR_FUTURE => {
                    self.gateway.handle_timeout(clock::now());
                }
                () = sleep_until(clock::deadline(self.save_at)) => {
                    self.calls.forget_gone();
                    self.save().await;
                    self.save_at = clock::now() + SAVE_EVERY;
                }
            }
        }
        self.save().await;
    }

    /// Does what is due, for who plays it by the step; whether there was something.
    pub(super) fn step(&mut self) -> bool {
        let settled = self.pending.next().now_or_never().flatten();
        let is_due = self.wait <= clock::now();
        let has_moved = settled.is_some() || is_due;
        self.settle(settled);
        if is_due {
            self.gateway.handle_timeout(clock::now());
        }
        self.wait = self.drain().unwrap_or(Instant::FAR_FUTURE);
        has_moved
    }

    /// When the next step is due.
    pub(super) const fn wait(&self) -> Instant {
        self.wait
    }

    fn take_turn(&mut self, mut arrival: Option<Arrival>) {
        for _ in 0..TURN {
            let Some(next) = arrival else { return };
            self.take(next);
            arrival = self.arrivals.try_recv().ok();
        }
        if let Some(next) = arrival {
            self.take(next);
        }
    }

    /// Takes what a port tells.
    pub(super) fn take(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Opened { port, outgoing } => drop(self.ports.insert(port, outgoing)),
            Arrival::Closed { port } => {
                self.ports.remove(&port);
                self.gateway.handle_gone(|peer| peer.port == port);
            }
            Arrival::Frame { peer, bytes } => {
                self.context.status.received(bytes.len());
                self.gateway.handle_frame(clock::now(), clock::wall(), peer, &bytes);
                // Reports are handed in one by one, so that a full queue is noticed at once.
                self.drain_events();
            }
        }
    }

    fn take_ask(&mut self, ask: Ask) {
        let (names, reader) = (&self.names, &self.context.reader);
        let name = |device| sample::name(device, names, reader);
        self.calls.handle(clock::now(), ask, &mut self.gateway, name);
    }

    /// Takes a receipt, and those that are there with it: the receipts of a commit come together,
    /// and a node is told of them in one frame.
    fn settle(&mut self, first: Option<(Ticket, Result<(), NotStored>)>) {
        let mut settled = first;
        while let Some((ticket, outcome)) = settled {
            match outcome {
                Ok(()) => self.gateway.handle_durable(ticket),
                Err(why) => {
                    self.context.not_stored(why);
                    self.gateway.handle_refused(ticket, RETRY_AFTER);
                }
            }
            settled = self.pending.next().now_or_never().flatten();
        }
    }

    /// Does what the protocol wants done; the time until which it waits.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.gateway.poll_output() {
                GatewayOutput::Transmit { peer, frame } => self.transmit(&peer, frame),
                GatewayOutput::Event(event) => self.handle_event(event),
                GatewayOutput::Wait(until) => return until,
            }
        }
    }

    /// The same, as long as acknowledgements need not be kept back to be put together.
    fn drain_events(&mut self) {
        while let Some(output) = self.gateway.poll_queued() {
            match output {
                GatewayOutput::Transmit { peer, frame } => self.transmit(&peer, frame),
                GatewayOutput::Event(event) => self.handle_event(event),
                GatewayOutput::Wait(_) => return,
            }
        }
    }

    fn transmit(&self, peer: &Peer, frame: Vec<u8>) {
        let sent = self.ports.get(&peer.port).map(|port| port.try_send((peer.address, frame)));
        if !matches!(sent, Some(Ok(()))) {
            debug!(source = %self.context.name, %peer, "an answer was dropped: the node asks again");
        }
    }

    fn handle_event(&mut self, event: GatewayEvent<Peer>) {
        match event {
            GatewayEvent::Report(report) => self.submit(report),
            GatewayEvent::Opened { peer, device, epoch } => {
                info!(source = %self.context.name, %peer, device = %self.name(device), epoch, "a node has come");
            }
            GatewayEvent::Reached { device } => {
                self.calls.handle_reached(&self.gateway, device, &self.name(device));
            }
            GatewayEvent::Lost { device, reports } => {
                let name = self.name(device);
                warn!(source = %self.context.name, device = %name, reports, "the node gave up reports");
                let example = || format!("{name}: {reports} reports were given up by the node");
                self.context.status.refused.add("lost", reports.into(), example);
            }
            GatewayEvent::Refused { peer, device, fault } => match device {
                Some(device) => {
                    let why = format!("device {device}: {fault}");
                    self.context.refuse(fault.name(), peer, why, b"");
                }
                None => self.context.refuse(fault.name(), peer, fault, b""),
            },
            GatewayEvent::Command { device, number, outcome } => {
                debug!(source = %self.context.name, device, number, ?outcome, "a command has ended");
                self.calls.handle_end(device, number, outcome);
                self.calls.handle_reached(&self.gateway, device, &self.name(device));
            }
        }
    }

    fn submit(&mut self, report: Report<Peer>) {
        let (peer, ticket) = (report.peer.clone(), report.ticket);
        let now = clock::wall();
        let readings = sample::readings(report, &self.name(ticket.device), now);
        self.context.status.decoded(&readings, &peer, now);
        match self.context.inlet.try_submit(readings, Some(Origin::Link(ticket))) {
            Ok(receipt) => self.pending.push(Pending { ticket, receipt }),
            Err(busy) => {
                self.context.refuse("busy", peer, busy, b"");
                self.gateway.handle_refused(ticket, RETRY_AFTER);
            }
        }
    }

    fn name(&self, device: u32) -> String {
        sample::name(device, &self.names, &self.context.reader)
    }

    pub(super) async fn save(&mut self) {
        let caught_up = self.memory.catch_up(&self.spool).await;
        if let Err(error) = caught_up {
            warn!(source = %self.context.name, %error, "cannot see what was stored of the nodes");
        }
        self.memory.follow(&self.gateway.replays().collect());
        if let Err(error) = self.memory.save().await {
            warn!(source = %self.context.name, %error, "cannot save what is known of the nodes; it is found in the store as long as that keeps the readings");
        }
    }
}
