//! Who observes which resource, and who has to be told what next (RFC 7641 §4).
//!
//! An observer is a peer with a token; it observes one resource. A resource has one state that all
//! its observers are brought to: [`notify`](Observers::notify) replaces it, and each observer gets
//! the latest one as soon as it may get a message. States in between are left out (§4.5.2 calls
//! that eventual consistency), so an observer that is slow costs no memory.
//!
//! An observer is in exactly one place:
//!
//! | Place | Means | Leaves it when |
//! |---|---|---|
//! | settled | has the latest state | the state changes: ready |
//! | ready | is to be told | [`poll_due`](Observers::poll_due) gives it out |
//! | waiting | the same, but its peer has not acknowledged another notification | that one ends: ready |
//! | in flight | was told in a Confirmable message | acknowledged: settled or ready; lost: it ends |
//!
//! So a change costs one step for each settled observer, and one for each message that is sent.
//! Observers that registered with a Confirmable request are told in Confirmable messages, the
//! others in Non-confirmable ones, but at least once a day in a Confirmable one (§4.5), and at once
//! if the caller does not trust their address (§7).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::fmt::Debug;
use core::time::Duration;

use super::super::arena::{Arena, Key, Links, List};
use super::super::{BlockSize, NotificationId, OptionNumber, Response, Token};
use super::SequenceNumber;
use crate::Instant;

/// Limits of [`Observers`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObserveConfig {
    /// Observers of all resources; a further registration is refused.
    pub max_observers: usize,
    /// The same for one peer.
    pub max_per_peer: usize,
    /// The longest time without a sign of life of an observer (RFC 7641 §4.5: 24 hours). Then it
    /// gets its state in a Confirmable message.
    pub confirm_interval: Duration,
}

impl Default for ObserveConfig {
    fn default() -> Self {
        Self {
            max_observers: 16_384,
            max_per_peer: 1024,
            confirm_interval: Duration::from_secs(24 * 3600),
        }
    }
}

/// A resource, by a number that the caller gave it. Two representations of one resource (formats,
/// queries) are two resources here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceId(pub u64);

/// Who asks to observe what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration<P> {
    /// The client.
    pub peer: P,
    /// The token of its request.
    pub token: Token,
    /// What it observes.
    pub resource: ResourceId,
    /// Whether its request was Confirmable, as the notifications will be.
    pub confirmable: bool,
    /// Whether the address is known to be the sender's. If it is not, the next notification has to
    /// be acknowledged (RFC 7641 §7).
    pub is_trusted: bool,
    /// Any number of the caller's, given back in [`Due`].
    pub mark: u64,
    /// The largest block for it.
    pub block_size: BlockSize,
}

/// A notification to send: [`handle_sent`](Observers::handle_sent) takes what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due<P> {
    observer: Key,
    /// To whom.
    pub to: P,
    /// The token of its request.
    pub token: Token,
    /// The state, with Observe unless it is an error; the same for all observers of a resource
    /// until it changes.
    pub response: Arc<Response>,
    /// In which kind of message.
    pub confirmable: bool,
    /// That of its registration.
    pub mark: u64,
    /// That of its registration.
    pub block_size: BlockSize,
}

/// The observers of all resources.
///
/// After every call of a method that takes `&mut self` call [`poll_due`](Self::poll_due), then
/// [`poll_forgotten`](Self::poll_forgotten) and [`poll_unobserved`](Self::poll_unobserved) until
/// they give nothing, and [`handle_timeout`](Self::handle_timeout) at [`next_at`](Self::next_at).
#[derive(Debug)]
pub struct Observers<P> {
    config: ObserveConfig,
    sequence: SequenceNumber,
    observers: Arena<Observer<P>>,
    by_identity: BTreeMap<(P, Token), Key>,
    by_notification: BTreeMap<NotificationId, Key>,
    resources: BTreeMap<ResourceId, Resource<P>>,
    peers: BTreeMap<P, Peer<P>>,
    ready: List<Observer<P>>,
    /// In the order of their last sign of life.
    by_age: List<Observer<P>>,
    unobserved: VecDeque<ResourceId>,
    forgotten: VecDeque<NotificationId>,
}

#[derive(Debug)]
struct Observer<P> {
    registration: Registration<P>,
    /// Whether the next one is.
    confirm_next: bool,
    /// Which state it was told last.
    state: u64,
    /// Whether that was an error.
    is_ending: bool,
    place: Place,
    notification: Option<NotificationId>,
    alive_at: Instant,
    by_place: Links,
    by_age: Links,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Settled,
    Ready,
    Waiting,
    InFlight,
}

#[derive(Debug)]
struct Resource<P> {
    observers: usize,
    settled: List<Observer<P>>,
    /// Counts the changes.
    state: u64,
    response: Arc<Response>,
}

#[derive(Debug)]
struct Peer<P> {
    observers: usize,
    /// Whether a Confirmable notification is under way (RFC 7641 §4.5.1).
    is_busy: bool,
    waiting: List<Observer<P>>,
}

impl<P: Copy + Ord + Debug> Observers<P> {
    /// No observers.
    pub fn new(config: ObserveConfig) -> Self {
        Self {
            config,
            sequence: SequenceNumber::default(),
            observers: Arena::new(),
            by_identity: BTreeMap::new(),
            by_notification: BTreeMap::new(),
            resources: BTreeMap::new(),
            peers: BTreeMap::new(),
            ready: List::new(|observer| &mut observer.by_place),
            by_age: List::new(|observer| &mut observer.by_age),
            unobserved: VecDeque::new(),
            forgotten: VecDeque::new(),
        }
    }

    /// Adds an observer that is being answered with `response`, the current state of `resource`.
    /// An observer with the same identity is replaced (RFC 7641 §4.1).
    ///
    /// The number is for the option Observe of the answer. `None`: a limit is met, and the answer
    /// has to be one without Observe.
    pub fn register(
        &mut self,
        now: Instant,
        registration: Registration<P>,
        response: &Response,
    ) -> Option<SequenceNumber> {
        let Registration { peer, token, resource, is_trusted, .. } = registration;
        self.deregister((peer, token));
        let of_peer = self.peers.get(&peer).map_or(0, |peer| peer.observers);
        if self.observers.len() >= self.config.max_observers || of_peer >= self.config.max_per_peer
        {
            return None;
        }
        self.sequence = self.sequence.next();
        let sequence = self.sequence;
        let state = || Arc::new(with_observe(response.clone(), sequence));
        let entry = self.resources.entry(resource).or_insert_with(|| Resource {
            observers: 0,
            settled: List::new(|observer| &mut observer.by_place),
            state: 0,
            response: state(),
        });
        // After an error the resource starts anew.
        if !entry.response.code.is_success() {
            entry.response = state();
            entry.state += 1;
        }
        entry.observers += 1;
        let state = entry.state;
        let key = self.observers.insert(Observer {
            registration,
            confirm_next: !is_trusted,
            state,
            is_ending: false,
            place: Place::Settled,
            notification: None,
            alive_at: now,
            by_place: Links::default(),
            by_age: Links::default(),
        });
        entry.settled.push_back(&mut self.observers, key);
        self.by_age.push_back(&mut self.observers, key);
        self.by_identity.insert((peer, token), key);
        let peer = self.peers.entry(peer).or_insert_with(|| Peer {
            observers: 0,
            is_busy: false,
            waiting: List::new(|observer| &mut observer.by_place),
        });
        peer.observers += 1;
        Some(sequence)
    }

    /// Ends an observation; whether there was one.
    pub fn deregister(&mut self, identity: (P, Token)) -> bool {
        let key = self.by_identity.get(&identity).copied();
        key.is_some_and(|key| self.remove(key).is_some())
    }

    /// The state of a resource changed to `response`, which is without Observe. An error ends the
    /// observation of everybody who gets it (RFC 7641 §4.2).
    pub fn notify(&mut self, resource: ResourceId, response: Response) {
        let Some(entry) = self.resources.get_mut(&resource) else { return };
        self.sequence = self.sequence.next();
        entry.state += 1;
        entry.response = Arc::new(with_observe(response, self.sequence));
        while let Some(key) = entry.settled.first() {
            entry.settled.remove(&mut self.observers, key);
            self.ready.push_back(&mut self.observers, key);
            if let Some(observer) = self.observers.get_mut(key) {
                observer.place = Place::Ready;
            }
        }
    }

    /// The next notification to send; what became of it goes to
    /// [`handle_sent`](Self::handle_sent) before the next call.
    pub fn poll_due(&mut self) -> Option<Due<P>> {
        loop {
            let key = self.ready.first()?;
            self.ready.remove(&mut self.observers, key);
            let observer = self.observers.get_mut(key)?;
            let Registration { peer: to, token, resource, confirmable, mark, block_size, .. } =
                observer.registration;
            let response = Arc::clone(&self.resources.get(&resource)?.response);
            // An error is the last that the observer hears.
            let is_last = !response.code.is_success();
            let confirmable = confirmable || observer.confirm_next || is_last;
            let peer = self.peers.get_mut(&to)?;
            if confirmable && peer.is_busy {
                observer.place = Place::Waiting;
                peer.waiting.push_back(&mut self.observers, key);
                continue;
            }
            peer.is_busy |= confirmable;
            observer.place = Place::InFlight;
            if let Some(superseded) = observer.notification.take() {
                self.by_notification.remove(&superseded);
                self.forgotten.push_back(superseded);
            }
            let observer = key;
            return Some(Due { observer, to, token, response, confirmable, mark, block_size });
        }
    }

    /// What became of a notification: what it was sent as, or `None` if it could not be sent.
    /// That ends the observation: the client will register anew when Max-Age is over.
    pub fn handle_sent(&mut self, due: &Due<P>, sent: Option<NotificationId>) {
        let key = due.observer;
        let Some(observer) = self.observers.get_mut(key) else { return };
        let Some(resource) = self.resources.get_mut(&observer.registration.resource) else {
            return;
        };
        observer.state = resource.state;
        observer.is_ending = !due.response.code.is_success();
        observer.confirm_next &= !due.confirmable;
        observer.notification = sent;
        if let Some(id) = sent {
            self.by_notification.insert(id, key);
        }
        if !due.confirmable {
            observer.place = Place::Settled;
            resource.settled.push_back(&mut self.observers, key);
        }
        if sent.is_none() {
            self.remove(key);
        }
    }

    /// A Confirmable notification was acknowledged.
    pub fn handle_delivered(&mut self, now: Instant, id: NotificationId) {
        let Some(key) = self.by_notification.remove(&id) else { return };
        let Some(observer) = self.observers.get_mut(key) else { return };
        observer.notification = None;
        observer.alive_at = now;
        let Registration { peer, resource, .. } = observer.registration;
        let told = observer.state;
        if observer.is_ending {
            self.remove(key);
            return;
        }
        self.by_age.remove(&mut self.observers, key);
        self.by_age.push_back(&mut self.observers, key);
        // Those that wait come first, or a state that changes often would keep them waiting.
        self.free_peer(peer);
        let Some(entry) = self.resources.get_mut(&resource) else { return };
        let place = if entry.state == told { Place::Settled } else { Place::Ready };
        match place {
            Place::Settled => entry.settled.push_back(&mut self.observers, key),
            Place::Ready | Place::Waiting | Place::InFlight => {
                self.ready.push_back(&mut self.observers, key);
            }
        }
        if let Some(observer) = self.observers.get_mut(key) {
            observer.place = place;
        }
    }

    /// A notification was rejected or not acknowledged: the observer is gone (RFC 7641 §4.5).
    pub fn handle_undelivered(&mut self, id: NotificationId) {
        if let Some(key) = self.by_notification.remove(&id) {
            self.remove(key);
        }
    }

    /// Asks those for a sign of life that gave none for `confirm_interval`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.by_age.first()
            && let Some(observer) = self.observers.get_mut(key)
            && observer.alive_at + self.config.confirm_interval <= now
        {
            observer.alive_at = now;
            observer.confirm_next = true;
            let (place, resource) = (observer.place, observer.registration.resource);
            self.by_age.remove(&mut self.observers, key);
            self.by_age.push_back(&mut self.observers, key);
            if place == Place::Settled
                && let Some(entry) = self.resources.get_mut(&resource)
            {
                entry.settled.remove(&mut self.observers, key);
                self.ready.push_back(&mut self.observers, key);
                if let Some(observer) = self.observers.get_mut(key) {
                    observer.place = Place::Ready;
                }
            }
        }
    }

    /// When somebody is to be asked for a sign of life next.
    pub fn next_at(&self) -> Option<Instant> {
        let observer = self.observers.get(self.by_age.first()?)?;
        Some(observer.alive_at + self.config.confirm_interval)
    }

    /// A notification that nothing depends on any more: a newer one follows, or the observer is
    /// gone. For [`forget_notification`](super::super::Endpoint::forget_notification).
    pub fn poll_forgotten(&mut self) -> Option<NotificationId> {
        self.forgotten.pop_front()
    }

    /// Whether anybody observes a resource.
    pub fn is_observed(&self, resource: ResourceId) -> bool {
        self.resources.contains_key(&resource)
    }

    /// A resource that nobody observes any more.
    pub fn poll_unobserved(&mut self) -> Option<ResourceId> {
        loop {
            let resource = self.unobserved.pop_front()?;
            if !self.resources.contains_key(&resource) {
                return Some(resource);
            }
        }
    }

    /// How many observers there are.
    pub const fn len(&self) -> usize {
        self.observers.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove(&mut self, key: Key) -> Option<()> {
        let observer = self.observers.get(key)?;
        let (place, Registration { peer, token, resource, .. }) =
            (observer.place, observer.registration);
        match place {
            Place::Ready => {
                self.ready.remove(&mut self.observers, key);
                // It may have been the one that the others wait for.
                if !self.peers.get(&peer)?.is_busy {
                    self.free_peer(peer);
                }
            }
            Place::Settled => {
                self.resources.get_mut(&resource)?.settled.remove(&mut self.observers, key);
            }
            Place::Waiting => {
                self.peers.get_mut(&peer)?.waiting.remove(&mut self.observers, key);
            }
            Place::InFlight => self.free_peer(peer),
        }
        self.by_age.remove(&mut self.observers, key);
        let observer = self.observers.remove(key)?;
        self.by_identity.remove(&(peer, token));
        if let Some(notification) = observer.notification {
            self.by_notification.remove(&notification);
            self.forgotten.push_back(notification);
        }
        let entry = self.peers.get_mut(&peer)?;
        entry.observers -= 1;
        if entry.observers == 0 {
            self.peers.remove(&peer);
        }
        let entry = self.resources.get_mut(&resource)?;
        entry.observers -= 1;
        if entry.observers == 0 {
            self.resources.remove(&resource);
            self.unobserved.push_back(resource);
        }
        Some(())
    }

    /// The peer's Confirmable notification is over: the next observer there may be told.
    fn free_peer(&mut self, peer: P) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.is_busy = false;
        let Some(key) = entry.waiting.first() else { return };
        entry.waiting.remove(&mut self.observers, key);
        self.ready.push_back(&mut self.observers, key);
        if let Some(observer) = self.observers.get_mut(key) {
            observer.place = Place::Ready;
        }
    }
}

/// A success with its number, an error as it is.
fn with_observe(mut response: Response, sequence: SequenceNumber) -> Response {
    if response.code.is_success() {
        response.options.push_uint(OptionNumber::OBSERVE, sequence.value());
    }
    response
}

#[cfg(test)]
mod tests;
