//! Who is subscribed to what: a tree with one node per topic level, so that a publish costs the
//! levels of its topic and not the number of subscriptions.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::str::Split;

use super::QoS;
use super::session::SessionId;

/// The deepest filter that is accepted; it bounds the recursion over the tree.
pub(super) const MAX_LEVELS: usize = 128;

/// The subscriptions of every session.
#[derive(Default)]
pub(super) struct Subscriptions {
    root: Node,
}

#[derive(Default)]
struct Node {
    subscribers: BTreeMap<SessionId, QoS>,
    children: BTreeMap<Box<str>, Node>,
}

impl Subscriptions {
    /// Whether the tree takes `filter`.
    pub(super) fn accepts(filter: &str) -> bool {
        filter.split('/').count() <= MAX_LEVELS
    }

    /// Adds a subscription, or replaces the QoS of the same one (§3.8.4).
    pub(super) fn insert(&mut self, filter: &str, session: SessionId, qos: QoS) {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            let Some(child) = node.children.get_mut(level) else { return };
            node = child;
        }
        node.subscribers.insert(session, qos);
    }

    /// Removes a subscription and the nodes that only it needed.
    pub(super) fn remove(&mut self, filter: &str, session: SessionId) {
        self.root.remove(&mut filter.split('/'), session);
    }

    /// Replaces `into` with the sessions that `topic` goes to, each once and with the highest QoS
    /// that any of its matching subscriptions has (§3.3.5).
    pub(super) fn select(&self, topic: &str, into: &mut Vec<(SessionId, QoS)>) {
        into.clear();
        if self.root.children.is_empty() {
            return;
        }
        self.root.select(topic.split('/'), !topic.starts_with('$'), into);
        into.sort_unstable_by_key(|&(session, qos)| (session, Reverse(qos as u8)));
        into.dedup_by_key(|&mut (session, _)| session);
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.children.is_empty()
    }

    fn remove(&mut self, levels: &mut Split<'_, char>, session: SessionId) {
        let Some(level) = levels.next() else {
            self.subscribers.remove(&session);
            return;
        };
        let Some(child) = self.children.get_mut(level) else { return };
        child.remove(levels, session);
        if child.is_empty() {
            self.children.remove(level);
        }
    }

    fn select(
        &self,
        mut levels: Split<'_, char>,
        wildcards: bool,
        into: &mut Vec<(SessionId, QoS)>,
    ) {
        if wildcards && let Some(rest) = self.children.get("#") {
            into.extend(rest.subscribers.iter().map(|(&session, &qos)| (session, qos)));
        }
        let Some(level) = levels.next() else {
            into.extend(self.subscribers.iter().map(|(&session, &qos)| (session, qos)));
            return;
        };
        if wildcards && let Some(any) = self.children.get("+") {
            any.select(levels.clone(), true, into);
        }
        if let Some(named) = self.children.get(level) {
            named.select(levels, true, into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::topic;

    fn selected(tree: &Subscriptions, topic: &str) -> Vec<(SessionId, QoS)> {
        let mut into = Vec::new();
        tree.select(topic, &mut into);
        into
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
            tree.insert(filter, SessionId(n as u64), QoS::AtMostOnce);
        }
        for name in paths(&["", "a", "b", "$a"]).iter().filter(|name| topic::is_valid_topic(name)) {
            let expected: Vec<u64> = (0..)
                .zip(&filters)
                .filter(|(_, filter)| topic::matches(filter, name))
                .map(|(n, _)| n)
                .collect();
            let found: Vec<u64> = selected(&tree, name).into_iter().map(|(id, _)| id.0).collect();
            assert_eq!(found, expected, "{name}");
        }
        for (n, filter) in filters.iter().enumerate() {
            tree.remove(filter, SessionId(n as u64));
        }
        assert!(tree.root.is_empty(), "removing every subscription leaves no node");
    }

    #[test]
    fn overlapping_subscriptions_deliver_once_at_the_highest_qos() {
        // MQTT 3.1.1 §3.3.5 [MQTT-3.3.5-1]
        let mut tree = Subscriptions::default();
        tree.insert("a/#", SessionId(1), QoS::AtMostOnce);
        tree.insert("a/+", SessionId(1), QoS::ExactlyOnce);
        tree.insert("a/b", SessionId(1), QoS::AtLeastOnce);
        tree.insert("a/b", SessionId(2), QoS::AtLeastOnce);
        assert_eq!(
            selected(&tree, "a/b"),
            [(SessionId(1), QoS::ExactlyOnce), (SessionId(2), QoS::AtLeastOnce)]
        );
    }

    #[test]
    fn same_filter_again_replaces_the_subscription() {
        // MQTT 3.1.1 §3.8.4 [MQTT-3.8.4-3]
        let mut tree = Subscriptions::default();
        tree.insert("a", SessionId(1), QoS::AtLeastOnce);
        tree.insert("a", SessionId(1), QoS::AtMostOnce);
        assert_eq!(selected(&tree, "a"), [(SessionId(1), QoS::AtMostOnce)]);
    }

    #[test]
    fn deepest_filter_is_bounded() {
        assert!(Subscriptions::accepts(&"/".repeat(MAX_LEVELS - 1)));
        assert!(!Subscriptions::accepts(&"/".repeat(MAX_LEVELS)));
    }
}
