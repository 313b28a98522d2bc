//! Nodes that register at a CoAP source (RFC 9176), as nodes to be asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{Id, NodeUrl};
use crate::nodes::{Node, Nodes};

/// The registrations at one source.
pub(super) struct Registered {
    source: Id,
    nodes: Arc<Nodes>,
    changes: watch::Receiver<u64>,
}

impl Registered {
    /// Those at `source`; the first ones are told as a change.
    pub(super) fn at(source: &Id, nodes: &Arc<Nodes>) -> Self {
        let mut changes = nodes.changes();
        changes.mark_changed();
        Self { source: source.clone(), nodes: Arc::clone(nodes), changes }
    }

    /// Waits for a change, and says who is registered then; for ever where there is nothing to
    /// watch.
    pub(super) async fn changed(registered: &mut Option<Self>) -> BTreeMap<String, NodeUrl> {
        let Some(registered) = registered else { return std::future::pending().await };
        if registered.changes.changed().await.is_err() {
            // The gateway is stopping.
            return std::future::pending().await;
        }
        let here = |node: &Node| node.source == registered.source;
        let nodes = registered.nodes.registered().into_iter().filter(here);
        nodes.filter_map(|node| Some((node.name.clone(), url(&node)?))).collect()
    }
}

/// Where to ask a node; none where it is not CoAP over UDP.
fn url(node: &Node) -> Option<NodeUrl> {
    match node.address {
        Some(address) => Some(NodeUrl::of(address)),
        None => node.base.parse().ok(),
    }
}
