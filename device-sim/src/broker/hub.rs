//! The task that owns the protocol state: events from the connections go in, packets come out into
//! their mailboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::Instant;
use rumqttc::mqttbytes::v4::ConnectReturnCode;
use tokio::sync::{mpsc, oneshot, watch};

use super::Counts;
use super::core::{ConnectionId, Core, Output};
use super::faults::{FaultPlan, Refusal};
use super::mailbox::{Mailbox, Posted};
use super::record::Recorder;
use super::wire::{Incoming, Outgoing, Violation};
use super::withhold::Withhold;
use crate::clock::Clock;

/// Events that wait for the hub; a connection that has one more waits.
pub(super) const MAX_EVENTS: usize = 256;
/// Events that are handled before the mailboxes are woken.
const EVENTS_PER_TURN: usize = 64;

/// What happens outside.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection was accepted.
    Opened(ConnectionId, Arc<Mailbox>),
    /// A connection was closed on arrival.
    TurnedAway,
    /// Packets that one read at `at` completed.
    Packets { id: ConnectionId, at: Instant, packets: Vec<Incoming> },
    /// What follows cannot be understood.
    Violated(ConnectionId, Violation),
    /// The connection is gone.
    Closed { id: ConnectionId, cut: bool },
    /// All connections were ended by the listener.
    Outage(oneshot::Sender<()>),
}

/// The core with everything it is connected to.
pub(super) struct Hub {
    core: Core,
    withhold: Withhold,
    recorder: Recorder,
    mailboxes: BTreeMap<ConnectionId, Post>,
    /// Connections that got something in this turn.
    dirty: Vec<ConnectionId>,
    plan: watch::Receiver<FaultPlan>,
    current: FaultPlan,
    counts: watch::Sender<Counts>,
    clock: Clock,
}

struct Post {
    mailbox: Arc<Mailbox>,
    dirty: bool,
}

impl Hub {
    pub(super) fn new(
        core: Core,
        recorder: Recorder,
        plan: watch::Receiver<FaultPlan>,
        counts: watch::Sender<Counts>,
        clock: Clock,
    ) -> Self {
        Self {
            core,
            withhold: Withhold::default(),
            recorder,
            mailboxes: BTreeMap::new(),
            dirty: Vec::new(),
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
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Opened(id, mailbox) => {
                self.mailboxes.insert(id, Post { mailbox, dirty: false });
                self.core.handle_opened(now, id);
            }
            Event::TurnedAway => {
                let counts = self.core.counts_mut();
                counts.accepted += 1;
                counts.turned_away += 1;
            }
            Event::Packets { id, at, packets } => {
                for packet in packets {
                    self.core.handle_packet(at, id, packet);
                    self.drain(now);
                }
            }
            Event::Violated(id, violation) => self.core.handle_violation(now, id, &violation),
            Event::Closed { id, cut } => {
                self.core.counts_mut().cuts += u64::from(cut);
                self.core.handle_closed(now, id);
                self.forget(id);
            }
            Event::Outage(done) => {
                self.core.handle_outage();
                self.drain(now);
                // The listener waits for this; when it does not any more, nobody needs it.
                let _ = done.send(());
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
                Output::Send(id, packet) => self.post(id, &packet),
                Output::Close(id) => self.forget(id),
                Output::Record(recorded) => self.recorder.push(recorded),
            }
        }
        self.drain_pubacks();
    }

    fn drain_pubacks(&mut self) {
        while let Some((id, packet_id)) = self.withhold.poll_puback() {
            self.core.counts_mut().pubacks += 1;
            self.post(id, &Outgoing::PubAck(packet_id));
        }
    }

    fn post(&mut self, id: ConnectionId, packet: &Outgoing) {
        let Some(post) = self.mailboxes.get_mut(&id) else { return };
        match post.mailbox.post(packet) {
            Ok(Posted::Kept) if !post.dirty => {
                post.dirty = true;
                self.dirty.push(id);
            }
            Ok(Posted::Kept) => {}
            Ok(Posted::Dropped) => {
                let counts = self.core.counts_mut();
                counts.deliveries -= 1;
                counts.dropped_unsent += 1;
            }
            Err(error) => tracing::error!(connection = id.0, %error, "packet cannot be encoded"),
        }
    }

    fn forget(&mut self, id: ConnectionId) {
        self.withhold.handle_closed(id);
        if let Some(post) = self.mailboxes.remove(&id) {
            post.mailbox.close();
        }
    }

    async fn finish_turn(&mut self) {
        let unrecorded = self.recorder.flush().await;
        let counts = self.core.counts_mut();
        counts.unrecorded += unrecorded;
        counts.pubacks_dropped = self.withhold.dropped();
        self.counts.send_replace(*counts);
        for id in self.dirty.drain(..) {
            if let Some(post) = self.mailboxes.get_mut(&id) {
                post.dirty = false;
                post.mailbox.wake();
            }
        }
    }
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
