//! Where the nodes of a client are, for orders to them.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Nodes;
use super::sockets::Families;
use crate::source::coap_orders::{Caller, Place, Places};

/// The nodes that are asked, and who sends to them.
pub(super) struct AskedNodes {
    pub(super) nodes: Arc<Nodes>,
    pub(super) families: Families,
    pub(super) caller: Caller,
}

impl Places for AskedNodes {
    fn find(&self, device: &str) -> Option<Place> {
        let url = self.nodes.lock().url_of(device)?;
        Some(url.address().map_or(Place::Url(url), Place::Address))
    }

    fn reach(&self, address: SocketAddr) -> Option<(&Caller, SocketAddr)> {
        self.families.reach(&address).then_some((&self.caller, address))
    }

    fn socket(&self, _: usize) -> Option<&Caller> {
        Some(&self.caller)
    }
}
