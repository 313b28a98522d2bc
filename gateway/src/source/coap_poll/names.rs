//! Host names of nodes on their way to addresses.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::net::lookup_host;

use super::poller::{Lookup, NodeId};
use super::sockets::Families;

/// Names that are resolved at a time; the others wait. A node has at most one.
const MAX_RESOLVING: usize = 16;

type Resolving = Pin<Box<dyn Future<Output = Resolved> + Send>>;
type Resolved = (NodeId, Result<SocketAddr, String>);

/// Names that are being resolved, and those that wait for it.
pub(super) struct Names {
    families: Families,
    waiting: VecDeque<Lookup>,
    resolving: FuturesUnordered<Resolving>,
}

impl Names {
    /// For addresses of these families.
    pub(super) fn new(families: Families) -> Self {
        Self { families, waiting: VecDeque::new(), resolving: FuturesUnordered::new() }
    }

    /// Resolves a name in its turn.
    pub(super) fn resolve(&mut self, lookup: Lookup) {
        self.waiting.push_back(lookup);
        self.start();
    }

    /// Waits for the next address; for ever where no name is being resolved.
    pub(super) async fn resolved(&mut self) -> Resolved {
        match self.resolving.next().await {
            Some(resolved) => {
                self.start();
                resolved
            }
            None => std::future::pending().await,
        }
    }

    fn start(&mut self) {
        while self.resolving.len() < MAX_RESOLVING
            && let Some(lookup) = self.waiting.pop_front()
        {
            let families = self.families;
            self.resolving.push(Box::pin(async move {
                let Lookup { node, host, port, turn } = lookup;
                let address = match lookup_host((host.as_str(), port)).await {
                    Ok(all) => {
                        let reached: Vec<_> = all.filter(|a| families.reach(a)).collect();
                        let chosen = reached.get(turn % reached.len().max(1));
                        chosen
                            .copied()
                            .ok_or_else(|| format!("{host} has no address that can be reached"))
                    }
                    Err(error) => Err(format!("cannot resolve {host}: {error}")),
                };
                (node, address)
            }));
        }
    }
}
