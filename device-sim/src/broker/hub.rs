//! The task that owns the protocol state: events from the connections go in, packets come out into
//! their mailboxes.
//!
//! It works in turns. The packets of a turn reach the mailboxes only after its messages were
//! recorded, so nothing is acknowledged that the record does not have.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use proto::Instant;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::core::{ConnectionId, Core, Output};
use super::faults::FaultPlan;
use super::mailbox::Mailbox;
use super::record::Recorder;
use super::wire::{self, Ack, Connect, Incoming, Outgoing, Version, Violation};
use super::withhold::Withhold;
use super::{Announced, Counts, Limits, QoS, Reason};
use crate::clock::Clock;

/// Events that wait for the hub; a connection that has one more waits.
pub(super) const MAX_EVENTS: usize = 256;
/// Batches of one connection that wait for the hub; it reads on when one was handled, so that the
/// acknowledgements of a subscriber do not queue behind everything that a fast publisher sends.
pub(super) const MAX_BATCHES: usize = 2;
/// Events that are handled before the answers leave.
const EVENTS_PER_TURN: usize = 16;

/// What happens outside.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection was accepted; what it is told if it speaks MQTT 5.
    Opened(ConnectionId, Arc<Mailbox>, Announced),
    /// A connection was closed on arrival.
    TurnedAway,
    /// Packets that one read completed.
    Packets(ConnectionId, Batch),
    /// What follows cannot be understood.
    Violated(ConnectionId, Violation),
    /// A fault ends the connection.
    Goodbye(ConnectionId, Reason),
    /// The connection is gone.
    Closed { id: ConnectionId, cut: bool },
    /// All connections were ended by the listener.
    Outage(oneshot::Sender<()>),
}

/// Packets that were read together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) at: Instant,
    pub(super) packets: Vec<Incoming>,
    /// One of the connection's [`MAX_BATCHES`], where it has a task of its own.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// The core with everything it is connected to.
pub(super) struct Hub {
    core: Core,
    pubacks: Withhold,
    pubrecs: Withhold,
    pubcomps: Withhold,
    recorder: Recorder,
    peers: BTreeMap<ConnectionId, Peer>,
    /// What leaves at the end of this turn: who gets what.
    leaving: Vec<ConnectionId>,
    /// Whom to tell at the end of this turn that nobody is connected any more.
    outage: Option<oneshot::Sender<()>>,
    max_unsent: usize,
    plan: watch::Receiver<FaultPlan>,
    current: FaultPlan,
    counts: watch::Sender<Counts>,
}

/// One connection, seen from here.
struct Peer {
    mailbox: Arc<Mailbox>,
    version: Version,
    /// The longest packet that it takes (MQTT 5 §3.1.2.11.4).
    max_packet: usize,
    /// Whether the core counts what it has not acknowledged.
    has_receive_maximum: bool,
    /// What it gets at the end of this turn.
    packets: BytesMut,
    /// Whether it ends with that.
    closing: bool,
    /// Whether it is among those that get something at the end of this turn.
    leaving: bool,
}

impl Hub {
    pub(super) fn new(
        core: Core,
        recorder: Recorder,
        plan: watch::Receiver<FaultPlan>,
        counts: watch::Sender<Counts>,
        limits: &Limits,
    ) -> Self {
        Self {
            core,
            pubacks: Withhold::default(),
            pubrecs: Withhold::default(),
            pubcomps: Withhold::default(),
            recorder,
            peers: BTreeMap::new(),
            leaving: Vec::new(),
            outage: None,
            max_unsent: limits.max_unsent,
            plan,
            current: FaultPlan::default(),
            counts,
        }
    }

    /// Runs until every sender of `events` is gone.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>, clock: Clock) {
        let mut turn = Vec::with_capacity(EVENTS_PER_TURN);
        loop {
            let deadline = self.poll_timeout();
            let open = tokio::select! {
                received = events.recv_many(&mut turn, EVENTS_PER_TURN) => received > 0,
                changed = self.plan.changed() => changed.is_ok(),
                () = clock.sleep_until(deadline) => true,
            };
            if !open {
                return;
            }
            self.turn(clock.now(), turn.drain(..)).await;
            tokio::task::yield_now().await;
        }
    }

    /// Takes what has happened and what is due by `now`; the answers leave at its end.
    pub(super) async fn turn(&mut self, now: Instant, events: impl IntoIterator<Item = Event>) {
        self.handle_plan(now);
        for event in events {
            self.handle_event(now, event);
        }
        self.handle_timeout(now);
        self.finish_turn().await;
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Opened(id, mailbox, announced) => {
                self.peers.insert(id, Peer::new(mailbox, &announced));
                self.core.handle_opened(now, id, announced);
            }
            Event::TurnedAway => {
                let counts = self.core.counts_mut();
                counts.accepted += 1;
                counts.turned_away += 1;
            }
            Event::Packets(id, Batch { at, packets, permit }) => {
                for packet in packets {
                    if let Incoming::Connect(connect) = &packet {
                        self.introduce(id, connect);
                    }
                    self.core.handle_packet(at, id, packet);
                    self.drain(now);
                }
                drop(permit);
            }
            Event::Violated(id, violation) => self.core.handle_violation(now, id, &violation),
            Event::Goodbye(id, reason) => self.core.handle_goodbye(now, id, reason),
            Event::Closed { id, cut } => {
                self.core.counts_mut().cuts += u64::from(cut);
                self.core.handle_closed(now, id);
                self.forget_withheld(id);
                self.peers.remove(&id);
            }
            Event::Outage(done) => {
                self.core.handle_outage();
                self.outage = Some(done);
            }
        }
        self.drain(now);
    }

    fn handle_plan(&mut self, now: Instant) {
        if *self.plan.borrow_and_update() == self.current {
            return;
        }
        let plan = self.plan.borrow().clone();
        self.core.handle_plan(&plan);
        self.pubacks.handle_plan(plan.pubacks);
        self.pubrecs.handle_plan(plan.pubrecs);
        self.pubcomps.handle_plan(plan.pubcomps);
        if plan.forget != self.current.forget {
            self.core.handle_amnesia();
        }
        if self.current.stall && !plan.stall {
            self.core.handle_resume(now);
        }
        self.current = plan;
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if !self.current.stall {
            self.core.handle_timeout(now);
        }
        self.pubacks.handle_timeout(now);
        self.pubrecs.handle_timeout(now);
        self.pubcomps.handle_timeout(now);
        self.drain(now);
    }

    /// When a turn is due without an event.
    pub(super) fn poll_timeout(&self) -> Instant {
        let silence =
            if self.current.stall { Instant::FAR_FUTURE } else { self.core.poll_timeout() };
        let withheld = [&self.pubacks, &self.pubrecs, &self.pubcomps];
        withheld.iter().map(|kind| kind.poll_timeout()).fold(silence, Instant::min)
    }

    fn drain(&mut self, now: Instant) {
        loop {
            self.drain_acks();
            let Some(output) = self.core.poll_output() else { return };
            match output {
                Output::Send(id, Outgoing::PubAck(ack)) => self.pubacks.handle_ack(now, id, ack),
                Output::Send(id, Outgoing::PubRec(ack)) => self.pubrecs.handle_ack(now, id, ack),
                Output::Send(id, Outgoing::PubComp(ack)) => self.pubcomps.handle_ack(now, id, ack),
                Output::Send(id, packet) => self.send(id, &packet),
                Output::Close(id) => self.close(id),
                Output::Record(recorded) => self.recorder.push(recorded),
            }
        }
    }

    fn drain_acks(&mut self) {
        while let Some((id, ack)) = self.pubacks.poll_ack() {
            self.core.counts_mut().pubacks += 1;
            self.send_last(id, &Outgoing::PubAck(ack), ack);
        }
        while let Some((id, ack)) = self.pubrecs.poll_ack() {
            if ack.reason.is_error() {
                self.send_last(id, &Outgoing::PubRec(ack), ack);
            } else {
                self.send(id, &Outgoing::PubRec(ack));
            }
        }
        while let Some((id, ack)) = self.pubcomps.poll_ack() {
            self.send_last(id, &Outgoing::PubComp(ack), ack);
        }
    }

    /// Sends the packet that ends an exchange.
    fn send_last(&mut self, id: ConnectionId, packet: &Outgoing, ack: Ack) {
        self.send(id, packet);
        if self.peers.get(&id).is_some_and(|peer| peer.has_receive_maximum) {
            self.core.handle_acknowledged(id, ack.packet_id);
        }
    }

    fn send(&mut self, id: ConnectionId, packet: &Outgoing) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if is_droppable(packet) && peer.mailbox.len() + peer.packets.len() >= self.max_unsent {
            let counts = self.core.counts_mut();
            counts.deliveries -= 1;
            counts.dropped_unsent += 1;
            return;
        }
        let start = peer.packets.len();
        if let Err(error) = wire::encode(packet, peer.version, &mut peer.packets) {
            tracing::error!(connection = id.0, %error, "packet cannot be encoded");
        } else if peer.packets.len() - start > peer.max_packet {
            peer.packets.truncate(start);
            self.handle_oversize(id, packet);
        } else {
            leave(&mut self.leaving, id, peer);
        }
    }

    /// A packet is longer than the client takes (MQTT 5 §3.1.2.11.4 [MQTT-3.1.2-24, -25]). A
    /// message is dropped; without any other packet the client cannot go on.
    fn handle_oversize(&mut self, id: ConnectionId, packet: &Outgoing) {
        if let Outgoing::Publish { packet_id, dup, .. } = packet {
            self.core.counts_mut().deliveries -= u64::from(!dup);
            self.core.handle_undeliverable(id, *packet_id);
        } else {
            tracing::warn!(connection = id.0, "the client's maximum packet size is too small");
            self.core.handle_closed(Instant::ZERO, id);
            self.close(id);
        }
    }

    /// What CONNECT says about the packets that its client takes.
    fn introduce(&mut self, id: ConnectionId, connect: &Connect) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.version = connect.version;
        if let Some(maximum) = connect.maximum_packet_size {
            peer.max_packet = usize::try_from(maximum.get()).unwrap_or(usize::MAX);
        }
    }

    fn forget_withheld(&mut self, id: ConnectionId) {
        for kind in [&mut self.pubacks, &mut self.pubrecs, &mut self.pubcomps] {
            kind.handle_closed(id);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.forget_withheld(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.closing = true;
            leave(&mut self.leaving, id, peer);
        }
    }

    async fn finish_turn(&mut self) {
        let unrecorded = self.recorder.flush().await;
        let counts = self.core.counts_mut();
        counts.unrecorded += unrecorded;
        counts.pubacks_dropped = self.pubacks.dropped();
        counts.qos2_dropped = self.pubrecs.dropped() + self.pubcomps.dropped();
        self.counts.send_replace(*counts);
        for id in self.leaving.drain(..) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.leaving = false;
            peer.mailbox.put(peer.packets.split(), peer.closing);
            if peer.closing {
                self.peers.remove(&id);
            }
        }
        if let Some(done) = self.outage.take() {
            // The listener waits for this; when it does not any more, nobody needs it.
            let _ = done.send(());
        }
    }
}

impl Peer {
    fn new(mailbox: Arc<Mailbox>, announced: &Announced) -> Self {
        Self {
            mailbox,
            version: Version::default(),
            max_packet: usize::MAX,
            has_receive_maximum: announced.receive_maximum.is_some(),
            packets: BytesMut::new(),
            closing: false,
            leaving: false,
        }
    }
}

fn leave(leaving: &mut Vec<ConnectionId>, id: ConnectionId, peer: &mut Peer) {
    if !peer.leaving {
        peer.leaving = true;
        leaving.push(id);
    }
}

/// QoS 0 may be lost; everything else is bounded by the window of the session, and by not reading
/// from a client that does not read.
fn is_droppable(packet: &Outgoing) -> bool {
    match packet {
        Outgoing::Publish { delivery, .. } => delivery.message.qos == QoS::AtMostOnce,
        Outgoing::ConnAck(_)
        | Outgoing::PubAck(_)
        | Outgoing::PubRec(_)
        | Outgoing::PubRel(_)
        | Outgoing::PubComp(_)
        | Outgoing::SubAck { .. }
        | Outgoing::UnsubAck { .. }
        | Outgoing::PingResp
        | Outgoing::Disconnect(_) => false,
    }
}
