//! What is known of topics that somebody watches: one subscription and the latest state for each.
//!
//! Time is an argument and there is no broker in it. Whoever wants to see a topic
//! [watches](Topics::watch) it; the first one brings about a subscription
//! ([`poll_subscribe`](Topics::poll_subscribe)), the others share it. It ends
//! ([`poll_unsubscribe`](Topics::poll_unsubscribe)) [`LINGER`] after the last one has gone, so that
//! a client that asks again and again does not subscribe again and again.
//!
//! # State
//! The state of a topic is its latest message, live or retained. It stays while the broker is away,
//! and is brought up to date by the subscription that follows: the retained message comes with it.
//! That there is no retained message is told by nothing in MQTT but the absence of one: a topic is
//! known to have no state [`RETAINED_WAIT`] after it was subscribed.
//!
//! # Limits
//! | Limit | Met |
//! |---|---|
//! | [`MAX_TOPICS`] | the one that nobody watches for the longest time gives way, else no more can be watched |
//! | [`MAX_BYTES`] of states | the state is too large to be known |
//! | [`MAX_LEAVING`] subscriptions that are to be ended | no more can be watched |

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::Instant;

/// Most topics that are watched, or were a moment ago.
const MAX_TOPICS: usize = 1024;
/// Most bytes of states.
const MAX_BYTES: usize = 8 << 20;
/// Most subscriptions that wait to be ended.
const MAX_LEAVING: usize = 1024;
/// How long a topic stays subscribed that nobody watches.
const LINGER: Duration = Duration::from_secs(10);
/// How long after a subscription its retained message may come.
const RETAINED_WAIT: Duration = Duration::from_millis(500);
/// How long somebody waits for the broker to subscribe a topic.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(5);
/// How long after a refusal a topic is subscribed again, if it is still watched.
const REFUSED_WAIT: Duration = Duration::from_secs(30);

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TopicState {
    /// Its latest message.
    Known(Arc<TopicMessage>),
    /// It has none that the broker keeps.
    Nothing,
    /// That is not known yet; it may be until then.
    Waiting(Instant),
    /// The latest message is larger than the gateway takes.
    TooLarge,
    /// The broker does not let us subscribe.
    Refused(Arc<Refusal>),
    /// The broker cannot be asked.
    Unreachable,
}

/// A message without its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicMessage {
    pub(crate) payload: Bytes,
    /// MIME type; only in MQTT 5.
    pub(crate) content_type: Option<String>,
}

/// Why a subscription was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Whether it is a matter of permission, not of the moment.
    pub(crate) is_forbidden: bool,
    /// In words.
    pub(crate) detail: String,
}

/// There is no room for another topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_TOPICS} topics are watched already")]
pub(crate) struct TooManyTopics;

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TopicCounts {
    pub(super) topics: usize,
    pub(super) watchers: usize,
    pub(super) bytes: usize,
}

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// It was never tried to the end.
    Beginning,
    Up,
    Down,
}

/// All topics.
#[derive(Debug)]
pub(super) struct Topics {
    entries: HashMap<Arc<str>, Entry>,
    link: Link,
    /// Topics to subscribe; some of them may be gone, or subscribed.
    wanted: VecDeque<Arc<str>>,
    /// Topics whose subscription is to end.
    leaving: VecDeque<Arc<str>>,
    /// The number of the latest change of each topic that has changed.
    changes: BTreeMap<u64, Arc<str>>,
    last_change: u64,
    bytes: usize,
    watchers: usize,
    /// Nothing is due before this.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    watchers: usize,
    /// Since when nobody watches it.
    idle_since: Instant,
    standing: Standing,
    latest: Latest,
    /// The number of its latest change.
    change: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// To be subscribed, or asked for, since then.
    Asked(Instant),
    Granted(Instant),
    Refused(Instant, Arc<Refusal>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Latest {
    None,
    Message(Arc<TopicMessage>),
    TooLarge,
}

impl Topics {
    pub(super) fn new() -> Self {
        Self {
            entries: HashMap::new(),
            link: Link::Beginning,
            wanted: VecDeque::new(),
            leaving: VecDeque::new(),
            changes: BTreeMap::new(),
            last_change: 0,
            bytes: 0,
            watchers: 0,
            due: None,
        }
    }

    /// One more watches a topic; true if it has to be subscribed for that.
    pub(super) fn watch(&mut self, topic: &str, now: Instant) -> Result<bool, TooManyTopics> {
        if self.entries.contains_key(topic) {
            self.watch_again(topic);
            return Ok(false);
        }
        if self.entries.len() >= MAX_TOPICS {
            let idle = self.entries.iter().filter(|(_, entry)| entry.watchers == 0);
            let oldest = idle.min_by_key(|(_, entry)| entry.idle_since);
            let oldest = oldest.map(|(topic, _)| Arc::clone(topic)).ok_or(TooManyTopics)?;
            if self.leaving.len() >= MAX_LEAVING {
                return Err(TooManyTopics);
            }
            self.leave(&oldest);
        }
        let topic: Arc<str> = topic.into();
        // What is subscribed and subscribed again has its retained message sent again.
        self.leaving.retain(|leaving| *leaving != topic);
        self.wanted.push_back(Arc::clone(&topic));
        self.watchers += 1;
        let entry = Entry {
            watchers: 1,
            idle_since: now,
            standing: Standing::Asked(now),
            latest: Latest::None,
            change: None,
        };
        self.entries.insert(topic, entry);
        Ok(true)
    }

    /// One more watches a topic that is watched.
    pub(super) fn watch_again(&mut self, topic: &str) {
        if let Some(entry) = self.entries.get_mut(topic) {
            entry.watchers += 1;
            self.watchers += 1;
        }
    }

    /// One of those who watch it watches it no more.
    pub(super) fn unwatch(&mut self, topic: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(topic) {
            entry.watchers -= 1;
            entry.idle_since = now;
            self.watchers -= 1;
            if entry.watchers == 0 {
                self.is_due_by(now + LINGER);
            }
        }
    }

    fn is_due_by(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// What is known of a topic that is watched.
    pub(super) fn state(&self, topic: &str, now: Instant) -> TopicState {
        let Some(entry) = self.entries.get(topic) else { return TopicState::Unreachable };
        match &entry.latest {
            Latest::Message(message) => return TopicState::Known(Arc::clone(message)),
            Latest::TooLarge => return TopicState::TooLarge,
            Latest::None => {}
        }
        match &entry.standing {
            _ if self.link == Link::Down => TopicState::Unreachable,
            Standing::Asked(since) if now < *since + SUBSCRIBE_WAIT => {
                TopicState::Waiting(*since + SUBSCRIBE_WAIT)
            }
            Standing::Asked(_) => TopicState::Unreachable,
            Standing::Granted(since) if now < *since + RETAINED_WAIT => {
                TopicState::Waiting(*since + RETAINED_WAIT)
            }
            Standing::Granted(_) => TopicState::Nothing,
            Standing::Refused(_, refusal) => TopicState::Refused(Arc::clone(refusal)),
        }
    }

    /// Calls `see` with the topics whose state has changed after the change with this number;
    /// returns the number of the last one.
    pub(super) fn since(&self, seen: u64, mut see: impl FnMut(&str)) -> u64 {
        for topic in self.changes.range(seen.saturating_add(1)..).map(|(_, topic)| topic) {
            see(topic);
        }
        self.last_change
    }

    /// Topics that have a state.
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        let known = |entry: &Entry| matches!(entry.latest, Latest::Message(_));
        self.entries.iter().filter(move |(_, entry)| known(entry)).map(|(topic, _)| &**topic)
    }

    pub(super) fn counts(&self) -> TopicCounts {
        let (topics, watchers) = (self.entries.len(), self.watchers);
        TopicCounts { topics, watchers, bytes: self.bytes }
    }

    /// The broker has accepted the connection: everything is to be subscribed.
    pub(super) fn handle_connected(&mut self, now: Instant) {
        self.link = Link::Up;
        self.leaving.clear();
        self.wanted = self.entries.keys().cloned().collect();
        for entry in self.entries.values_mut() {
            entry.standing = Standing::Asked(now);
        }
    }

    /// The connection has ended, or did not come about.
    pub(super) fn handle_end(&mut self) {
        self.link = Link::Down;
        self.leaving.clear();
        self.is_due_by(Instant::ZERO);
        self.wanted.clear();
    }

    /// The next topic to subscribe.
    pub(super) fn poll_subscribe(&mut self) -> Option<Arc<str>> {
        if self.link != Link::Up {
            return None;
        }
        loop {
            let topic = self.wanted.pop_front()?;
            let entry = self.entries.get(&topic);
            if entry.is_some_and(|entry| matches!(entry.standing, Standing::Asked(_))) {
                return Some(topic);
            }
        }
    }

    /// The next topic whose subscription is to be ended; before any is subscribed.
    pub(super) fn poll_unsubscribe(&mut self) -> Option<Arc<str>> {
        if self.leaving.len() >= MAX_LEAVING {
            // There was no room for others, and is now.
            self.is_due_by(Instant::ZERO);
        }
        self.leaving.pop_front()
    }

    /// The broker has subscribed a topic.
    pub(super) fn handle_granted(&mut self, topic: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(topic) {
            entry.standing = Standing::Granted(now);
        }
    }

    /// The broker does not subscribe a topic.
    pub(super) fn handle_refused(&mut self, topic: &str, refusal: Refusal, now: Instant) {
        if let Some(entry) = self.entries.get_mut(topic) {
            entry.standing = Standing::Refused(now, Arc::new(refusal));
            self.is_due_by(now + REFUSED_WAIT);
        }
    }

    /// A message to a topic has come; false if there is no room for it.
    pub(super) fn handle_message(
        &mut self,
        topic: &str,
        message: TopicMessage,
        is_retained: bool,
    ) -> bool {
        let Some((topic, entry)) = self.entries.get_key_value(topic) else { return true };
        let before = match &entry.latest {
            // The broker sends what it keeps with each subscription.
            Latest::Message(known) if is_retained && **known == message => return true,
            Latest::Message(known) => known.size(),
            Latest::None | Latest::TooLarge => 0,
        };
        let topic = Arc::clone(topic);
        let fits = self.bytes - before + message.size() <= MAX_BYTES;
        let latest = if fits { Latest::Message(Arc::new(message)) } else { Latest::TooLarge };
        self.change(&topic, latest);
        fits
    }

    /// A message to a topic has come that is too large.
    pub(super) fn handle_oversize(&mut self, topic: &str) {
        if let Some((topic, _)) = self.entries.get_key_value(topic) {
            self.change(&Arc::clone(topic), Latest::TooLarge);
        }
    }

    /// Does what is due `now`: ends what nobody watches, asks again for what was refused.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let mut idle = Vec::new();
        for (topic, entry) in &mut self.entries {
            if entry.watchers == 0 && now >= entry.idle_since + LINGER {
                idle.push(Arc::clone(topic));
            } else if let Standing::Refused(since, _) = entry.standing
                && now >= since + REFUSED_WAIT
                && self.link == Link::Up
            {
                entry.standing = Standing::Asked(now);
                self.wanted.push_back(Arc::clone(topic));
            }
        }
        for topic in idle {
            if self.leaving.len() < MAX_LEAVING {
                self.leave(&topic);
            }
        }
        self.due = self.next_due();
    }

    /// When [`handle_timeout`](Self::handle_timeout) may have something to do.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn next_due(&self) -> Option<Instant> {
        let may_leave = self.leaving.len() < MAX_LEAVING;
        let due = |entry: &Entry| match entry.standing {
            _ if entry.watchers == 0 && may_leave => Some(entry.idle_since + LINGER),
            Standing::Refused(since, _) if self.link == Link::Up => Some(since + REFUSED_WAIT),
            Standing::Asked(_) | Standing::Granted(_) | Standing::Refused(..) => None,
        };
        self.entries.values().filter_map(due).min()
    }

    fn change(&mut self, topic: &Arc<str>, latest: Latest) {
        let Some(entry) = self.entries.get_mut(topic) else { return };
        self.last_change += 1;
        self.bytes -= entry.latest.size();
        self.bytes += latest.size();
        entry.latest = latest;
        let before = entry.change.replace(self.last_change);
        if let Some(before) = before {
            self.changes.remove(&before);
        }
        self.changes.insert(self.last_change, Arc::clone(topic));
    }

    /// Forgets a topic.
    fn leave(&mut self, topic: &Arc<str>) {
        let Some(entry) = self.entries.remove(topic) else { return };
        self.bytes -= entry.latest.size();
        if let Some(change) = entry.change {
            self.changes.remove(&change);
        }
        if self.link == Link::Up {
            self.leaving.push_back(Arc::clone(topic));
        }
    }
}

impl Latest {
    fn size(&self) -> usize {
        match self {
            Self::Message(message) => message.size(),
            Self::None | Self::TooLarge => 0,
        }
    }
}

impl TopicMessage {
    fn size(&self) -> usize {
        self.payload.len() + self.content_type.as_ref().map_or(0, String::len)
    }
}

#[cfg(test)]
mod tests;
