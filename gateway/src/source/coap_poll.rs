//! A CoAP client (RFC 7252): nodes are asked for their readings, or observed (RFC 7641).
//!
//! [`poller`] decides whom to ask what and when; [`wanted`] is what was configured, [`node`] and
//! [`resource`] what is known of each node. Around that is the loop here, with [`sockets`], names
//! that are being [resolved](names), readings on their [way](handover) to the store, and a [`list`]
//! of nodes that may change.
//!
//! A notification is acknowledged when it arrives, by the messaging layer: before its readings are
//! on disk. What a crash takes in between comes again: the gateway registers anew after its start,
//! and the first notification is the state of the resource (RFC 7641 §1.3, eventual consistency).

mod handover;
mod list;
mod names;
mod node;
mod poller;
mod resource;
mod sockets;
mod wanted;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::Instant;
use tokio::sync::Notify;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::handover::Handover;
use self::list::NodeList;
use self::names::Names;
pub(crate) use self::node::NodeReport;
use self::poller::{AddError, Content, Output, PollConfig, Poller};
pub(crate) use self::poller::{MAX_NODES, MAX_RESOURCES};
use self::sockets::Sockets;
use self::wanted::Wanted;
use super::{Context, SourceError};
use crate::clock;
use crate::config::{CoapPollLink, ListedNode, NodeUrl};
use crate::decode::decode_resource;

/// A client of nodes.
pub(crate) struct CoapPollSource {
    context: Context,
    nodes: Arc<Nodes>,
    sockets: Sockets,
    names: Names,
    handover: Handover,
    list: Option<NodeList>,
    own_names: bool,
}

/// The nodes of a source while it runs. Others may add and remove some.
#[derive(Debug)]
pub(crate) struct Nodes {
    poller: Mutex<Poller>,
    changed: Notify,
}

impl CoapPollSource {
    pub(super) fn open(
        context: Context,
        link: &CoapPollLink,
        seed: u64,
    ) -> Result<Self, SourceError> {
        let sockets = Sockets::open()
            .map_err(|(address, source)| context.bind_error("link", address, source))?;
        context.status.set_listening(sockets.addresses());
        let max_body = usize::try_from(link.max_body.bytes()).unwrap_or(usize::MAX);
        let config = PollConfig { max_backoff: link.max_backoff.duration(), max_body };
        let poller = Poller::new(&config, Wanted::all(link), seed);
        let nodes = Arc::new(Nodes { poller: Mutex::new(poller), changed: Notify::new() });
        for (name, url) in link.all_nodes() {
            nodes.add_or_warn(&context, name, url);
        }
        info!(source = %context.name, nodes = link.all_nodes().count(), "asking CoAP nodes");
        context.status.set_nodes(Arc::clone(&nodes));
        let list = link.node_list.as_ref().map(|file| NodeList::new(file, link.nodes.keys()));
        Ok(Self {
            names: Names::new(sockets.families()),
            handover: Handover::new(context.inlet.clone()),
            own_names: link.own_names,
            context,
            nodes,
            sockets,
            list,
        })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// Runs until `stop` is cancelled and what was received is settled.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let wait = self.drain().await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.sockets.readable() => {
                    self.sockets.receive(|from, datagram| {
                        self.nodes.lock().handle_datagram(clock::now(), from, datagram);
                    });
                }
                (node, address) = self.names.resolved() => {
                    self.nodes.lock().handle_resolved(clock::now(), node, address);
                }
                settled = self.handover.settled() => self.handle_settled(settled),
                listed = NodeList::changed(&mut self.list) => self.handle_list(&listed),
                () = self.nodes.changed.notified() => {}
                () = sleep_until(clock::deadline(wait.unwrap_or(Instant::FAR_FUTURE))),
                    if wait.is_some() => {
                    self.slow_down();
                    self.nodes.lock().handle_timeout(clock::now());
                }
            }
        }
        while !self.handover.is_empty() {
            let settled = self.handover.settled().await;
            self.handle_settled(settled);
        }
    }

    /// Sends what is to be sent and handles what came of requests; the time until which there is
    /// nothing to do.
    async fn drain(&mut self) -> Option<Instant> {
        loop {
            let output = self.nodes.lock().poll_output();
            match output {
                Output::Transmit { to, datagram } => {
                    if let Err(error) = self.sockets.send(to, &datagram).await {
                        self.context.refuse("not_sent", to, error, b"");
                    }
                }
                Output::Resolve(lookup) => self.names.resolve(lookup),
                Output::Content(content) => self.take(content),
                Output::Failed { node, reason, why } => {
                    self.context.refuse(reason, node, why, b"");
                }
                Output::Wait(until) => return until,
            }
        }
    }

    /// Hands the readings of a representation to the store.
    fn take(&mut self, content: Content) {
        let Content { node, device, name, wanted, representation } = content;
        let (now, payload) = (clock::wall(), representation.payload);
        let names = (name.as_str(), wanted.unit.as_deref());
        let Some(drafts) = decode_resource(representation.format, &payload, names, now) else {
            self.context.status.received(payload.len());
            let format = representation.format.unwrap_or_default();
            let why = format!("{name}: Content-Format {format} is none that holds readings");
            self.context.refuse("content_format", &device, &why, &payload);
            return self.nodes.lock().handle_unreadable(node, &why);
        };
        let drafts = drafts.map(|mut drafts| {
            if !self.own_names {
                drafts.iter_mut().for_each(|draft| draft.device = None);
            }
            drafts
        });
        match self.context.complete(drafts, now, &device, || device.to_string(), &payload) {
            Ok(readings) => {
                if let Err(lost) = self.handover.submit(readings, payload.len()) {
                    self.context.refuse("busy", &device, lost, &payload);
                }
                self.slow_down();
            }
            Err(error) => {
                self.nodes.lock().handle_unreadable(node, &format!("{name}: {error}"));
            }
        }
    }

    fn handle_settled(&self, settled: handover::Settled) {
        for why in settled.not_stored {
            self.context.not_stored(why);
            self.nodes.lock().handle_no_room(clock::now(), handover::FULL_PAUSE);
        }
        self.slow_down();
    }

    /// Asks for nothing more while there is something that waits for room.
    fn slow_down(&self) {
        if self.handover.is_waiting() {
            self.nodes.lock().handle_no_room(clock::now(), handover::BUSY_PAUSE);
        }
    }

    /// Asks the nodes of a list that was changed, and no longer those that are gone from it.
    fn handle_list(&self, listed: &[ListedNode]) {
        let Some(list) = &self.list else { return };
        let wanted: BTreeMap<&str, &NodeUrl> =
            listed.iter().map(|node| (node.name.as_str(), &node.url)).collect();
        let known: BTreeMap<String, NodeUrl> = {
            let poller = self.nodes.lock();
            let known = poller.nodes().filter(|(name, _)| !list.is_configured(name));
            known.map(|(name, url)| (name.to_owned(), url.clone())).collect()
        };
        let gone = known.iter().filter(|(name, url)| wanted.get(name.as_str()) != Some(url));
        let removed = gone.filter(|(name, _)| self.nodes.remove(name)).count();
        let new = wanted.iter().filter(|(name, url)| known.get(**name) != Some(**url));
        let added =
            new.filter(|(name, url)| self.nodes.add_or_warn(&self.context, name, url)).count();
        if added + removed > 0 {
            info!(source = %self.context.name, added, removed, "the list of nodes has changed");
        }
    }
}

impl Nodes {
    /// Asks another node from now on, for what is configured for nodes with its name.
    fn add(&self, name: &str, url: NodeUrl) -> Result<(), AddError> {
        self.lock().handle_node_added(clock::now(), name, url)?;
        self.changed.notify_one();
        Ok(())
    }

    /// Asks a node no more; whether there was one with this name.
    fn remove(&self, name: &str) -> bool {
        let removed = self.lock().handle_node_removed(clock::now(), name);
        self.changed.notify_one();
        removed
    }

    /// What the operator sees of each.
    pub(super) fn reports(&self) -> BTreeMap<String, NodeReport> {
        self.lock().reports(clock::now())
    }

    fn add_or_warn(&self, context: &Context, name: &str, url: &NodeUrl) -> bool {
        let added = self.add(name, url.clone());
        if let Err(error) = &added {
            warn!(source = %context.name, node = name, %error, "cannot ask a node");
            context.refuse("not_asked", name, error, b"");
        }
        added.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Poller> {
        self.poller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
