//! The task that owns the protocol state: events from the connections go in, packets come out into
//! their mailboxes.
//!
//! It works in turns. The packets of a turn reach the mailboxes only after its messages were
//! recorded, so nothing is acknowledged that the record does not have.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use proto::Instant;
use rumqttc::mqttbytes::v4::ConnectReturnCode;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::core::{ConnectionId, Core, Output};
use super::faults::{FaultPlan, Refusal};
use super::mailbox::Mailbox;
use super::record::Recorder;
use super::wire::{self, Incoming, Outgoing, Violation};
use super::withhold::Withhold;
use super::{Counts, Limits, QoS};
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
    /// A connection was accepted.
    Opened(ConnectionId, Arc<Mailbox>),
    /// A connection was closed on arrival.
    TurnedAway,
    /// Packets that one read completed.
    Packets(ConnectionId, Batch),
    /// What follows cannot be understood.
    Violated(ConnectionId, Violation),
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
    /// One of the connection's [`MAX_BATCHES`].
    pub(super) permit: OwnedSemaphorePermit,
}

/// The core with everything it is connected to.
pub(super) struct Hub {
    core: Core,
    withhold: Withhold,
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
    clock: Clock,
}

/// One connection, seen from here.
struct Peer {
    mailbox: Arc<Mailbox>,
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
        clock: Clock,
    ) -> Self {
        Self {
            core,
            withhold: Withhold::default(),
            recorder,
            peers: BTreeMap::new(),
            leaving: Vec::new(),
            outage: None,
            max_unsent: limits.max_unsent,
            plan,
            current: FaultPlan::default(),
            counts,
            clock,
        }
    }

    /// Runs until every sender of `events` is gone.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut turn = Vec::with_capacity(EVENTS_PER_TURN);
        loop {
            let deadline = self.poll_timeout();
            let open = tokio::select! {
                received = events.recv_many(&mut turn, EVENTS_PER_TURN) => received > 0,
                changed = self.plan.changed() => changed.is_ok(),
                () = self.clock.sleep_until(deadline) => true,
            };
            if !open {
                return;
            }
            let now = self.clock.now();
            self.handle_plan(now);
            for event in turn.drain(..) {
                self.handle_event(now, event);
            }
            self.handle_timeout(now);
            self.finish_turn().await;
            tokio::task::yield_now().await;
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Opened(id, mailbox) => {
                let packets = BytesMut::new();
                self.peers.insert(id, Peer { mailbox, packets, closing: false, leaving: false });
                self.core.handle_opened(now, id);
            }
            Event::TurnedAway => {
                let counts = self.core.counts_mut();
                counts.accepted += 1;
                counts.turned_away += 1;
            }
            Event::Packets(id, Batch { at, packets, permit }) => {
                for packet in packets {
                    self.core.handle_packet(at, id, packet);
                    self.drain(now);
                }
                drop(permit);
            }
            Event::Violated(id, violation) => self.core.handle_violation(now, id, &violation),
            Event::Closed { id, cut } => {
                self.core.counts_mut().cuts += u64::from(cut);
                self.core.handle_closed(now, id);
                self.withhold.handle_closed(id);
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
        self.core.set_refusal(plan.refusal.map(refusal_code));
        self.withhold.handle_plan(&plan);
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
        self.withhold.handle_timeout(now);
        self.drain(now);
    }

    fn poll_timeout(&self) -> Instant {
        let silence =
            if self.current.stall { Instant::FAR_FUTURE } else { self.core.poll_timeout() };
        silence.min(self.withhold.poll_timeout())
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(id, Outgoing::PubAck(packet_id)) => {
                    self.withhold.handle_puback(now, id, packet_id);
                    self.drain_pubacks();
                }
                Output::Send(id, packet) => self.send(id, &packet),
                Output::Close(id) => self.close(id),
                Output::Record(recorded) => self.recorder.push(recorded),
            }
        }
        self.drain_pubacks();
    }

    fn drain_pubacks(&mut self) {
        while let Some((id, packet_id)) = self.withhold.poll_puback() {
            self.core.counts_mut().pubacks += 1;
            self.send(id, &Outgoing::PubAck(packet_id));
        }
    }

    fn send(&mut self, id: ConnectionId, packet: &Outgoing) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if is_droppable(packet) && peer.mailbox.len() + peer.packets.len() >= self.max_unsent {
            let counts = self.core.counts_mut();
            counts.deliveries -= 1;
            counts.dropped_unsent += 1;
        } else if let Err(error) = wire::encode(packet, &mut peer.packets) {
            tracing::error!(connection = id.0, %error, "packet cannot be encoded");
        } else {
            leave(&mut self.leaving, id, peer);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.withhold.handle_closed(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.closing = true;
            leave(&mut self.leaving, id, peer);
        }
    }

    async fn finish_turn(&mut self) {
        let unrecorded = self.recorder.flush().await;
        let counts = self.core.counts_mut();
        counts.unrecorded += unrecorded;
        counts.pubacks_dropped = self.withhold.dropped();
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

fn leave(leaving: &mut Vec<ConnectionId>, id: ConnectionId, peer: &mut Peer) {
    if !peer.leaving {
        peer.leaving = true;
        leaving.push(id);
    }
}

/// QoS 0 may be lost; everything else is bounded by the window of the session, and by not reading
/// from a client that does not read.
fn is_droppable(packet: &Outgoing) -> bool {
    matches!(packet, Outgoing::Publish { message, .. } if message.qos == QoS::AtMostOnce)
}

fn refusal_code(refusal: Refusal) -> ConnectReturnCode {
    match refusal {
        Refusal::ProtocolVersion => ConnectReturnCode::RefusedProtocolVersion,
        Refusal::ClientId => ConnectReturnCode::BadClientId,
        Refusal::ServerUnavailable => ConnectReturnCode::ServiceUnavailable,
        Refusal::BadLogin => ConnectReturnCode::BadUserNamePassword,
        Refusal::NotAuthorized => ConnectReturnCode::NotAuthorized,
    }
}
