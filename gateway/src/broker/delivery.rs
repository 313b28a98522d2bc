//! Between the store and one broker: which record goes next, how fast, and what became of it.
//!
//! Time is an argument and there is no socket, so that a day of outage can be played in a moment;
//! only the store is waited for. The caller owns the connection: it calls
//! [`handle_connected`](Delivery::handle_connected) once for each, hands over what arrives, takes a
//! [`turn`](Delivery::turn) after everything that happens, sends what is in
//! [`outgoing`](Delivery::outgoing), and tells the [end](Delivery::handle_end).
//!
//! There is one rule instead of modes: the store is the only truth, and after any disconnect each
//! lane goes on from the oldest record that the broker has not acknowledged.
//!
//! # Lanes
//! Readings travel in [lanes](Lane), each in order. A broker without `live_first` routes has one.
//! With them it has a cursor of its own for their readings: when a connection begins, what waits
//! becomes the backlog lane, and new readings have a lane that goes first.
//!
//! Routes that aggregate have a cursor of their own, too: see [`windows`](super::windows).
//!
//! # What a broker does not take
//! A publish that is refused, too large, or that [ends connections](super::quarantine) again and
//! again becomes a dead letter: see [`burial`].

mod burial;
mod changes;

use std::sync::Arc;

use bytes::BytesMut;
use proto::{Instant, Timestamp};
use rumqttc::mqttbytes::QoS;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::again::{Again, Resend};
use super::feed::{Feed, Step};
use super::lane::{Lane, LaneId};
use super::quarantine::{Quarantine, Verdict};
use super::rate::Rate;
use super::session::{Event, Rejection, Session, SessionError, SessionOptions, Ticket};
use super::status::BrokerStatus;
use super::windows::{Due, WindowLane};
use crate::config::{Broker, Id};
use crate::pipeline::{LeftOut, NotSent, Publish, Recipient, Routes, Share};
use crate::store::{BrokerCursor, Spool, StoreError};

pub(super) use changes::Changes;

/// Bytes to send that are gathered before they are written.
const WRITE_AHEAD: usize = 64 * 1024;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one broker gets.
pub(super) struct Delivery {
    name: Id,
    session: Session,
    /// The highest quality of service of any route.
    qos: QoS,
    spool: Spool,
    head: watch::Receiver<u64>,
    ordered: CursorLane,
    live: Option<LiveFirst>,
    windows: Option<WindowLane>,
    /// When the next window is over.
    next_window: Option<Instant>,
    again: Again,
    rate: Rate,
    quarantine: Quarantine,
    /// Publishes of the record that was begun last, the next one at the end.
    work: Vec<Work>,
    refused: Vec<Refused>,
    /// Most publishes that a crash may repeat.
    window: u64,
    /// Since when the broker has accepted the connection.
    connected: Option<Instant>,
    status: Arc<BrokerStatus>,
}

/// A lane, and the cursor that it moves.
struct CursorLane {
    cursor: BrokerCursor,
    lane: Lane,
}

/// Readings of routes with `live_first`: the open end of their cursor, and its first gap.
struct LiveFirst {
    new: CursorLane,
    backlog: Lane,
}

struct Work {
    ticket: Ticket,
    publish: Publish,
    /// Whether it may have been sent before.
    again: bool,
}

/// A publish that the broker will not take.
struct Refused {
    ticket: Ticket,
    reason: &'static str,
    detail: String,
}

/// The key of the cursor for a broker's routes with `live_first`.
pub(crate) fn live_key(broker: &str) -> String {
    format!("{broker}/live")
}

/// The key of the cursor for a broker's routes that aggregate.
pub(crate) fn windows_key(broker: &str) -> String {
    format!("{broker}/windows")
}

impl Delivery {
    /// A broker that was not connected yet; `None` if the store does not know its lanes.
    pub(super) fn new(
        name: &Id,
        config: &Broker,
        gateway: &Id,
        status_topic: String,
        spool: Spool,
        routes: &Arc<Routes>,
        status: Arc<BrokerStatus>,
    ) -> Option<Self> {
        let username = config.username.clone();
        let password = config.password.as_ref().map(|p| p.expose().to_owned());
        let qos = routes.highest_qos(name.as_str());
        let session = Session::new(SessionOptions {
            protocol: config.protocol,
            client_id: config.client_id_for(gateway),
            login: username.map(|name| (name, password.unwrap_or_default())),
            keep_alive: config.keep_alive.duration(),
            ack_timeout: config.ack_timeout.duration(),
            window: config.window,
            max_packet: usize::try_from(config.max_packet.bytes()).unwrap_or(usize::MAX),
            qos,
            status_topic,
        });
        let recipient = |share| Recipient::new(name, config, share);
        let feed = |share| Feed::new(spool.clone(), Arc::clone(routes), recipient(share));
        let with_cursor = |key: &str, share| {
            Some(CursorLane { cursor: spool.cursor(key)?, lane: Lane::new(feed(share)) })
        };
        let has_live = routes.live_first(name.as_str()).is_some();
        let (ordered, live) = match has_live {
            false => (with_cursor(name.as_str(), Share::All)?, None),
            true => {
                let new = with_cursor(&live_key(name.as_str()), Share::LiveFirst)?;
                let backlog = Lane::new(feed(Share::LiveFirst));
                (with_cursor(name.as_str(), Share::Ordered)?, Some(LiveFirst { new, backlog }))
            }
        };
        let windows = match routes.windows(name.as_str()) {
            None => None,
            Some(_) => Some(WindowLane::new(
                spool.cursor(&windows_key(name.as_str()))?,
                feed(Share::Windows),
                Arc::clone(routes),
                recipient(Share::Windows),
            )),
        };
        Some(Self {
            session,
            qos,
            head: spool.head(),
            ordered,
            live,
            windows,
            next_window: None,
            again: Again::new(feed(Share::All)),
            rate: Rate::new(config.max_rate, config.max_bandwidth.map(|size| size.bytes())),
            quarantine: Quarantine::new(config.quarantine_after, config.window),
            work: Vec::new(),
            refused: Vec::new(),
            window: u64::from(config.window),
            connected: None,
            status,
            name: name.clone(),
            spool,
        })
    }

    /// When there may be more to publish, for as long as it [waits](Self::waits_for_more) for that.
    pub(super) fn changes(&self) -> Changes {
        let live = self.live.as_ref().map(|live| live.new.cursor.clone());
        let windows = self.windows.as_ref().map(|windows| windows.cursor.clone());
        Changes { head: self.head.clone(), cursors: (self.ordered.cursor.clone(), live, windows) }
    }

    /// The session, for what concerns the connection alone.
    pub(super) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What is to be sent.
    pub(super) fn outgoing(&mut self) -> &mut BytesMut {
        self.session.outgoing()
    }

    /// Whether more would be published at once.
    pub(super) fn waits_for_more(&self) -> bool {
        self.session.has_room(self.qos) && self.work.is_empty() && self.quarantine.has_room()
    }

    /// Takes a request to send something again.
    pub(super) fn resend(&mut self, resend: Resend) {
        self.again.push(resend);
    }

    /// A new transport is there.
    pub(super) fn handle_connected(&mut self, now: Instant) -> Result<(), SessionError> {
        self.connected = None;
        self.session.handle_connected(now)
    }

    /// Takes bytes from the broker; a turn is due.
    pub(super) fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SessionError> {
        self.session.handle_bytes(now, bytes)
    }

    /// Does what there is to do `now`: takes outcomes, publishes, puts away what was refused.
    pub(super) async fn turn(
        &mut self,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), DeliveryError> {
        self.session.handle_timeout(now)?;
        self.handle_events(now);
        self.release();
        self.read_windows(now, wall).await?;
        self.publish(now, wall).await?;
        // What is too large is refused at once.
        self.handle_events(now);
        self.bury(wall).await?;
        self.release();
        Ok(())
    }

    /// When the next turn is due if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        let held_back = self.waits_for_more() && !self.is_done();
        let deadline = match self.rate.ready_at() {
            ready if held_back && ready > Instant::ZERO => self.session.deadline().min(ready),
            _ => self.session.deadline(),
        };
        match self.next_window.filter(|_| self.waits_for_more()) {
            Some(window) => deadline.min(window),
            None => deadline,
        }
    }

    /// The connection has ended: outcomes that came before still count. Returns since when the
    /// broker had accepted it.
    pub(super) async fn handle_end(
        &mut self,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Option<Instant>, StoreError> {
        self.handle_events(now);
        let connected = self.connected.take();
        // What was never accepted has not shown any reading to the broker.
        let verdict = connected.map_or(Verdict::GoOn, |_| self.quarantine.handle_end());
        match verdict {
            Verdict::GoOn => {}
            Verdict::EndSession => self.session.forget(),
            Verdict::PutAside(ticket) => {
                warn!(broker = %self.name, n = ticket.n, "connections end at this reading: it becomes a dead letter");
                let detail = "connections ended again and again while it was under way".to_owned();
                self.refused.push(Refused { ticket, reason: "ends_connections", detail });
            }
        }
        self.bury(wall).await?;
        self.release();
        Ok(connected)
    }

    /// How many records are not acknowledged, in the lane that has most of them.
    pub(super) fn pending(&self) -> u64 {
        self.cursors().map(BrokerCursor::pending).max().unwrap_or(0)
    }

    /// Whether everything that is stored is acknowledged and nothing is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.is_done() && self.session.is_idle() && self.work.is_empty()
    }

    /// Whether everything that is stored is acknowledged.
    pub(super) fn is_done(&self) -> bool {
        let head = *self.head.borrow();
        let mut records = self.cursors_of_records();
        records.all(|cursor| cursor.next() >= head)
            && self.windows.as_ref().is_none_or(|windows| windows.is_done(head))
    }

    fn handle_events(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected { resumed } => {
                    if !resumed {
                        self.rewind();
                    }
                    self.connected = Some(now);
                    self.status.handle_connected();
                    self.tell_terms(resumed);
                }
                Event::Acknowledged(ticket) => {
                    self.quarantine.handle_acknowledged(ticket.whole());
                    self.settle(ticket);
                }
                Event::Rejected(ticket, Rejection { reason, detail }) => {
                    self.refused.push(Refused { ticket, reason, detail });
                }
                Event::StatusRejected(Rejection { detail, .. }) => {
                    warn!(broker = %self.name, detail, "the broker does not take the gateway's status");
                }
            }
        }
        let (published, acknowledged) = self.session.take_counts();
        self.status.add(published, acknowledged);
    }

    /// Every lane goes on from what is not acknowledged.
    fn rewind(&mut self) {
        self.work.clear();
        self.refused.clear();
        self.quarantine.clear();
        self.ordered.lane.start(self.ordered.cursor.next(), None);
        self.again.rewind();
        if let Some(windows) = &mut self.windows {
            windows.rewind();
        }
        let Some(LiveFirst { new, backlog }) = &mut self.live else { return };
        // With too many gaps, what waits goes out before what comes: later, but not lost.
        if !new.cursor.skip_to(*self.head.borrow()) {
            debug!(broker = %self.name, "too many outages at once to let new readings go first");
        }
        let progress = new.cursor.progress();
        new.lane.start(progress.next(), None);
        let gap = progress.gaps().first().cloned().unwrap_or(0..0);
        backlog.start(gap.start, Some(gap.end));
    }

    /// Says what the broker's terms change.
    fn tell_terms(&self, resumed: bool) {
        let pending = self.ordered.cursor.pending();
        info!(broker = %self.name, url = %self.status.url(), pending, resumed, "connected");
        let terms = self.session.terms();
        if let Some(client_id) = &terms.client_id {
            info!(broker = %self.name, client_id, "the broker chose another client identifier");
        }
        if terms.max_qos < self.qos {
            let (to, from) = (terms.max_qos as u8, self.qos as u8);
            info!(broker = %self.name, from, to, "the broker wants a lower quality of service");
        }
        if !terms.retain {
            warn!(broker = %self.name, "the broker does not retain messages: `retain` is left off");
        }
    }

    /// Takes what was stored into its windows.
    async fn read_windows(&mut self, now: Instant, wall: Timestamp) -> Result<(), StoreError> {
        let Some(windows) = &mut self.windows else { return Ok(()) };
        let head = *self.head.borrow();
        let left = windows.read(head, wall).await?;
        self.next_window = match windows.can_read(head) {
            true => Some(now),
            false => windows.next_due(wall).map(|left| now + left),
        };
        self.tell_not_sent(left);
        Ok(())
    }

    /// Publishes as long as there is room and something to publish, and the limits allow it.
    async fn publish(&mut self, now: Instant, wall: Timestamp) -> Result<(), DeliveryError> {
        let unsaved = self.unsaved();
        let mut wants_save = false;
        while self.session.is_connected() && self.session.outgoing().len() < WRITE_AHEAD {
            let session = &self.session;
            if let Some(work) = self.work.pop_if(|work| session.has_room(work.publish.qos)) {
                let Work { ticket, publish, again } = work;
                self.rate.take(now, publish.size());
                self.session.publish(now, ticket, publish, again)?;
                continue;
            }
            let is_held = !self.work.is_empty() || !self.quarantine.has_room();
            if is_held || self.rate.ready_at() > now {
                break;
            }
            let exposed = unsaved + self.under_way();
            if !wants_save && exposed >= self.window / 2 && unsaved > 0 {
                wants_save = true;
                self.ordered.cursor.request_save();
            }
            if exposed >= self.window {
                break;
            }
            if self.begin_window(wall) {
                continue;
            }
            let Some(id) = self.next_lane() else { break };
            let Some(lane) = self.lane(id) else { break };
            let Some(step) = lane.next(wall).await? else { break };
            self.begin(id, step);
        }
        Ok(())
    }

    /// The most urgent lane that has something to send.
    fn next_lane(&mut self) -> Option<LaneId> {
        let head = *self.head.borrow_and_update();
        if let Some(LiveFirst { new, backlog }) = &mut self.live {
            let floor = new.cursor.floor();
            new.lane.skip_below(floor);
            backlog.skip_below(floor);
        }
        self.ordered.lane.skip_below(self.ordered.cursor.floor());
        self.again.stop_if_unwanted();
        LaneId::BY_URGENCY
            .into_iter()
            .find(|id| self.lane(*id).is_some_and(|lane| lane.has_more(head)))
    }

    fn lane(&mut self, id: LaneId) -> Option<&mut Lane> {
        match id {
            LaneId::Live => self.live.as_mut().map(|live| &mut live.new.lane),
            LaneId::Ordered => Some(&mut self.ordered.lane),
            LaneId::Backlog => self.live.as_mut().map(|live| &mut live.backlog),
            LaneId::Again => Some(self.again.lane()),
            LaneId::Windows => None,
        }
    }

    /// Prepares the publishes of the next window that is over, if there is one.
    fn begin_window(&mut self, wall: Timestamp) -> bool {
        let head = *self.head.borrow();
        let due = self.windows.as_mut().and_then(|windows| windows.next(head, wall));
        let Some(Due { id, publishes, not_sent, again }) = due else { return false };
        self.tell_not_sent(not_sent);
        self.prepare(Ticket { lane: LaneId::Windows.number(), part: 0, n: id }, publishes, again);
        true
    }

    /// Prepares the publishes of a record.
    fn begin(&mut self, id: LaneId, step: Step) {
        let Step { n, publishes, not_sent } = step;
        self.tell_not_sent(not_sent);
        let outcomes = publishes.len();
        let again = self.lane(id).is_some_and(|lane| lane.begin(n, outcomes));
        if id == LaneId::Again {
            self.again.handle_begin(n, outcomes);
        }
        self.prepare(Ticket { lane: id.number(), part: 0, n }, publishes, again);
    }

    /// Publishes of one number go out next.
    fn prepare(&mut self, whole: Ticket, publishes: Vec<(u8, Publish)>, again: bool) {
        self.quarantine.handle_begin(whole, publishes.len());
        self.work.extend(publishes.into_iter().map(|(part, publish)| Work {
            ticket: Ticket { part, ..whole },
            publish,
            again,
        }));
        self.work.reverse();
    }

    /// Counts what is not published.
    fn tell_not_sent(&self, not_sent: Vec<(NotSent, String)>) {
        for (NotSent { why, .. }, example) in not_sent {
            match why {
                LeftOut::Meant(reason) => self.status.left_out.count(reason, || example),
                LeftOut::Failed(reason, why) => {
                    debug!(broker = %self.name, example, why, "not published");
                    self.status.refused.count(reason, || format!("{example}: {why}"));
                }
            }
        }
    }

    /// Records that are released, but not in the cursors that are on disk. A crash repeats them and
    /// those [under way](Self::under_way), so that together they may be at most `window`.
    fn unsaved(&self) -> u64 {
        let unsaved = |c: &BrokerCursor| c.released_count().saturating_sub(c.saved_count());
        self.cursors().map(unsaved).sum()
    }

    /// Records that were given and are not settled, in the lanes that have a cursor.
    fn under_way(&self) -> u64 {
        let mut under_way = self.ordered.lane.under_way();
        if let Some(LiveFirst { new, backlog }) = &self.live {
            under_way += new.lane.under_way() + backlog.under_way();
        }
        under_way += self.windows.as_ref().map_or(0, WindowLane::exposed);
        under_way
    }

    fn settle(&mut self, ticket: Ticket) {
        let id = LaneId::of(ticket.lane);
        if let (Some(LaneId::Windows), Some(windows)) = (id, &mut self.windows) {
            if !windows.settle(ticket.n) {
                debug!(broker = %self.name, "an outcome of a window that nothing waits for");
            }
            return;
        }
        let lane = id.and_then(|id| self.lane(id));
        if !lane.is_some_and(|lane| lane.settle(ticket.n)) {
            debug!(broker = %self.name, n = ticket.n, "an outcome that nothing waits for");
        }
        if id == Some(LaneId::Again) {
            self.again.handle_settled();
        }
    }

    /// Moves the cursors up to what is acknowledged.
    fn release(&mut self) {
        self.ordered.cursor.release_open(self.ordered.lane.released());
        if let Some(windows) = &mut self.windows {
            windows.release();
        }
        let Some(LiveFirst { new, backlog }) = &mut self.live else { return };
        new.cursor.release_open(new.lane.released());
        new.cursor.release_gap(backlog.released());
        if backlog.is_over()
            && let Some(gap) = new.cursor.progress().gaps().first()
        {
            backlog.start(gap.start, Some(gap.end));
        }
    }

    fn cursors(&self) -> impl Iterator<Item = &BrokerCursor> {
        let windows = self.windows.as_ref().map(|windows| &windows.cursor);
        self.cursors_of_records().chain(windows)
    }

    /// The cursors of lanes whose records are published as they are.
    fn cursors_of_records(&self) -> impl Iterator<Item = &BrokerCursor> {
        let live = self.live.as_ref().map(|live| &live.new.cursor);
        std::iter::once(&self.ordered.cursor).chain(live)
    }
}

#[cfg(test)]
mod tests;
