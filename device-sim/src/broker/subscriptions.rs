//! Who is subscribed to what: a tree with one node per topic level, so that a publish costs the
//! levels of its topic and not the number of subscriptions.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::str::Split;

use super::session::SessionId;
use super::{QoS, topic};

/// The deepest filter that is accepted; it bounds the recursion over the tree.
pub(super) const MAX_LEVELS: usize = 128;

/// What a client asked for with a filter (MQTT 5 §3.8.2.1.2, §3.8.3.1). MQTT 3.1.1 knows the QoS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) qos: QoS,
    /// Not what the client itself publishes.
    pub(super) no_local: bool,
    /// With the retain flag of the publish.
    pub(super) retain_as_published: bool,
    pub(super) id: Option<NonZeroU32>,
}

impl From<QoS> for Subscription {
    fn from(qos: QoS) -> Self {
        Self { qos, no_local: false, retain_as_published: false, id: None }
    }
}

/// A subscription that a message matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) session: SessionId,
    /// Numbers the shared ones, each of which is a delivery of its own; zero for all others.
    share: u32,
    pub(super) subscription: Subscription,
}

impl Selected {
    /// Whether both are satisfied by one delivery.
    pub(super) fn same_delivery(&self, other: &Self) -> bool {
        (self.session, self.share) == (other.session, other.share)
    }
}

/// The subscriptions of every session.
#[derive(Default)]
pub(super) struct Subscriptions {
    root: Node,
}

#[derive(Default)]
struct Node {
    subscribers: BTreeMap<SessionId, Subscription>,
    shares: BTreeMap<Box<str>, Share>,
    children: BTreeMap<Box<str>, Node>,
}

/// The members of a shared subscription, who get its messages in turn (MQTT 5 §4.8.2).
#[derive(Default)]
struct Share {
    members: BTreeMap<SessionId, Subscription>,
    /// Who got the last message.
    last: Option<SessionId>,
}

impl Subscriptions {
    /// Whether the tree takes `filter`.
    pub(super) fn accepts(filter: &str) -> bool {
        filter.split('/').count() <= MAX_LEVELS
    }

    /// Adds a subscription, or replaces the same one (§3.8.4).
    pub(super) fn insert(&mut self, filter: &str, session: SessionId, subscription: Subscription) {
        let (share, filter) = topic::split_share(filter);
        let mut node = &mut self.root;
        for level in filter.split('/') {
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            let Some(child) = node.children.get_mut(level) else { return };
            node = child;
        }
        let subscribers = match share {
            Some(name) => &mut node.shares.entry(name.into()).or_default().members,
            None => &mut node.subscribers,
        };
        subscribers.insert(session, subscription);
    }

    /// Removes a subscription and the nodes that only it needed.
    pub(super) fn remove(&mut self, filter: &str, session: SessionId) {
        let (share, filter) = topic::split_share(filter);
        self.root.remove(&mut filter.split('/'), share, session);
    }

    /// Replaces `into` with every subscription that `topic` matches, those of one delivery next to
    /// each other. Of a shared one it is the next member that `is_connected`; while none is, the
    /// next one.
    pub(super) fn select(
        &mut self,
        topic: &str,
        is_connected: impl Fn(SessionId) -> bool,
        into: &mut Vec<Selected>,
    ) {
        into.clear();
        if self.root.children.is_empty() {
            return;
        }
        let mut selection = Selection { is_connected, shares: 0, into };
        self.root.select(topic.split('/'), !topic.starts_with('$'), &mut selection);
        into.sort_by_key(|selected| (selected.session, selected.share));
    }
}

/// What a walk over the tree collects.
struct Selection<'a, F> {
    is_connected: F,
    shares: u32,
    into: &'a mut Vec<Selected>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.shares.is_empty() && self.children.is_empty()
    }

    fn remove(&mut self, levels: &mut Split<'_, char>, share: Option<&str>, session: SessionId) {
        let Some(level) = levels.next() else {
            match share {
                Some(name) => self.leave(name, session),
                None => drop(self.subscribers.remove(&session)),
            }
            return;
        };
        let Some(child) = self.children.get_mut(level) else { return };
        child.remove(levels, share, session);
        if child.is_empty() {
            self.children.remove(level);
        }
    }

    fn leave(&mut self, name: &str, session: SessionId) {
        let Some(share) = self.shares.get_mut(name) else { return };
        share.members.remove(&session);
        if share.members.is_empty() {
            self.shares.remove(name);
        }
    }

    fn select<F: Fn(SessionId) -> bool>(
        &mut self,
        mut levels: Split<'_, char>,
        wildcards: bool,
        selection: &mut Selection<'_, F>,
    ) {
        if wildcards && let Some(rest) = self.children.get_mut("#") {
            rest.collect(selection);
        }
        let Some(level) = levels.next() else {
            self.collect(selection);
            return;
        };
        if wildcards && let Some(any) = self.children.get_mut("+") {
            any.select(levels.clone(), true, selection);
        }
        if let Some(named) = self.children.get_mut(level) {
            named.select(levels, true, selection);
        }
    }

    fn collect<F: Fn(SessionId) -> bool>(&mut self, selection: &mut Selection<'_, F>) {
        let all = self.subscribers.iter();
        selection.into.extend(all.map(|(&session, &subscription)| Selected {
            session,
            share: 0,
            subscription,
        }));
        for share in self.shares.values_mut() {
            if let Some((session, subscription)) = share.next(&selection.is_connected) {
                selection.shares += 1;
                let share = selection.shares;
                selection.into.push(Selected { session, share, subscription });
            }
        }
    }
}

impl Share {
    fn next(
        &mut self,
        is_connected: impl Fn(SessionId) -> bool,
    ) -> Option<(SessionId, Subscription)> {
        let in_turn = || {
            let behind = self.members.iter().filter(|&(&id, _)| Some(id) > self.last);
            let again = self.members.iter().filter(|&(&id, _)| Some(id) <= self.last);
            behind.chain(again)
        };
        let connected = in_turn().find(|&(&id, _)| is_connected(id));
        let next = connected.or_else(|| in_turn().next()).map(|(&id, &all)| (id, all));
        self.last = next.map(|(id, _)| id);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::topic;

    fn selected(tree: &mut Subscriptions, topic: &str) -> Vec<(SessionId, QoS)> {
        let mut into = Vec::new();
        tree.select(topic, |_| true, &mut into);
        into.into_iter().map(|one| (one.session, one.subscription.qos)).collect()
    }

    /// Every path of up to three levels over `alphabet`.
    fn paths(alphabet: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = alphabet.iter().map(|&level| level.to_owned()).collect();
        let mut last = all.clone();
        for _ in 0..2 {
            last = last
                .iter()
                .flat_map(|path| alphabet.iter().map(move |level| format!("{path}/{level}")))
                .collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    #[test]
    fn tree_selects_exactly_what_the_matching_function_says() {
        let filters: Vec<String> = paths(&["", "a", "b", "$a", "+", "#"])
            .into_iter()
            .filter(|filter| topic::is_valid_filter(filter))
            .collect();
        let mut tree = Subscriptions::default();
        for (n, filter) in filters.iter().enumerate() {
            tree.insert(filter, SessionId(n as u64), QoS::AtMostOnce.into());
        }
        for name in paths(&["", "a", "b", "$a"]).iter().filter(|name| topic::is_valid_topic(name)) {
            let expected: Vec<u64> = (0..)
                .zip(&filters)
                .filter(|(_, filter)| topic::matches(filter, name))
                .map(|(n, _)| n)
                .collect();
            let found: Vec<u64> =
                selected(&mut tree, name).into_iter().map(|(id, _)| id.0).collect();
            assert_eq!(found, expected, "{name}");
        }
        for (n, filter) in filters.iter().enumerate() {
            tree.remove(filter, SessionId(n as u64));
        }
        assert!(tree.root.is_empty(), "removing every subscription leaves no node");
    }

    #[test]
    fn overlapping_subscriptions_of_a_session_are_one_delivery() {
        // MQTT 3.1.1 §3.3.5 [MQTT-3.3.5-1], MQTT 5 §3.3.4 [MQTT-3.3.4-2]
        let mut tree = Subscriptions::default();
        tree.insert("a/#", SessionId(1), QoS::AtMostOnce.into());
        tree.insert("a/b", SessionId(2), QoS::AtLeastOnce.into());
        tree.insert("a/+", SessionId(1), QoS::ExactlyOnce.into());
        tree.insert("$share/g/a/b", SessionId(1), QoS::AtLeastOnce.into());
        let mut into = Vec::new();
        tree.select("a/b", |_| true, &mut into);
        let deliveries = into.chunk_by(Selected::same_delivery);
        let deliveries: Vec<_> = deliveries.map(|all| (all[0].session, all.len())).collect();
        let (one, other) = (SessionId(1), SessionId(2));
        assert_eq!(deliveries, [(one, 2), (one, 1), (other, 1)], "a shared one is on its own");
    }

    #[test]
    fn members_of_a_share_take_turns_while_they_are_connected() {
        // MQTT 5 §4.8.2
        let mut tree = Subscriptions::default();
        for id in 1..=3 {
            tree.insert("$share/g/a/+", SessionId(id), QoS::AtLeastOnce.into());
        }
        tree.insert("$share/other/a/b", SessionId(9), QoS::AtLeastOnce.into());
        let mut next = |connected: &[u64]| {
            let mut into = Vec::new();
            tree.select("a/b", |id| connected.contains(&id.0), &mut into);
            into.into_iter().map(|one| one.session.0).collect::<Vec<_>>()
        };
        let all = [1, 2, 3, 9];
        assert_eq!(
            [next(&all), next(&all), next(&all), next(&all)],
            [[1, 9], [2, 9], [3, 9], [1, 9]]
        );
        assert_eq!([next(&[1, 3]), next(&[1, 3])], [[3, 9], [1, 9]], "the second is away");
        assert_eq!([next(&[]), next(&[])], [[2, 9], [3, 9]], "it waits in the sessions");
    }

    #[test]
    fn share_ends_with_its_last_member() {
        let mut tree = Subscriptions::default();
        tree.insert("$share/g/a", SessionId(1), QoS::AtLeastOnce.into());
        tree.insert("a", SessionId(1), QoS::AtLeastOnce.into());
        tree.remove("a", SessionId(1));
        assert_eq!(selected(&mut tree, "a").len(), 1);
        tree.remove("$share/g/a", SessionId(1));
        assert!(tree.root.is_empty());
    }

    #[test]
    fn same_filter_again_replaces_the_subscription() {
        // MQTT 3.1.1 §3.8.4 [MQTT-3.8.4-3]
        let mut tree = Subscriptions::default();
        tree.insert("a", SessionId(1), QoS::AtLeastOnce.into());
        tree.insert("a", SessionId(1), QoS::AtMostOnce.into());
        assert_eq!(selected(&mut tree, "a"), [(SessionId(1), QoS::AtMostOnce)]);
    }

    #[test]
    fn deepest_filter_is_bounded() {
        assert!(Subscriptions::accepts(&"/".repeat(MAX_LEVELS - 1)));
        assert!(!Subscriptions::accepts(&"/".repeat(MAX_LEVELS)));
    }
}
