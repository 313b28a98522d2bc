//! A CoAP client (RFC 7252): nodes are asked for their readings, or observed (RFC 7641).
//!
//! [`poller`] decides whom to ask what and when; [`wanted`] is what was configured, [`node`] and
//! [`resource`] what is known of each node. Around that is the loop here, with [`sockets`], names
//! that are being [resolved](names), readings on their [way](handover) to the store, and the nodes
//! that come and go: those of a [`list`], and those that have [`registered`]. Orders to nodes find
//! them at their [`places`].
//!
//! A notification is acknowledged when it arrives, by the messaging layer: before its readings are
//! on disk. What a crash takes in between comes again: the gateway registers anew after its start,
//! and the first notification is the state of the resource (RFC 7641 §1.3, eventual consistency).

mod handover;
mod list;
mod names;
mod node;
mod places;
mod poller;
mod registered;
mod resource;
mod sample;
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
use self::places::AskedNodes;
use self::poller::{AddError, Content, Output, PollConfig, Poller};
pub(crate) use self::poller::{MAX_NODES, MAX_RESOURCES};
use self::registered::Registered;
pub(crate) use self::sample::{Sample, representation_readings};
use self::sockets::Sockets;
use self::wanted::Wanted;
use super::coap_orders::{Calls, Carrier};
use super::{Context, SourceError, Surroundings};
use crate::clock;
use crate::commands::Orders;
use crate::config::{CoapPollLink, NodeUrl};
use crate::supervisor::Supervisor;

/// A client of nodes.
pub(crate) struct CoapPollSource {
    context: Context,
    nodes: Arc<Nodes>,
    sockets: Sockets,
    names: Names,
    handover: Handover,
    list: Option<NodeList>,
    listed: BTreeMap<String, NodeUrl>,
    registrations: Option<Registered>,
    registered: BTreeMap<String, NodeUrl>,
    own_names: bool,
    /// The requests of orders.
    calls: Calls,
    carrier: Option<Carrier<AskedNodes>>,
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
        surroundings: &Surroundings,
        orders: Option<Orders>,
        seed: u64,
    ) -> Result<Self, SourceError> {
        let sockets = Sockets::open()
            .map_err(|(address, source)| context.bind_error("link", address, source))?;
        context.status.set_listening(sockets.addresses());
        let max_body = usize::try_from(link.max_body.bytes()).unwrap_or(usize::MAX);
        let (max_backoff, interval) = (link.max_backoff.duration(), link.interval.duration());
        let config = PollConfig { max_backoff, max_body, interval };
        let poller = Poller::new(&config, Wanted::all(link), seed);
        let nodes = Arc::new(Nodes { poller: Mutex::new(poller), changed: Notify::new() });
        for (name, url) in &link.nodes {
            nodes.add_or_warn(&context, name.as_str(), url);
        }
        let mut listed = BTreeMap::new();
        let in_list = link.listed.iter().map(|node| (node.name.clone(), node.url.clone()));
        nodes.replace(&context, &mut listed, in_list.collect());
        let count = link.nodes.len() + listed.len();
        info!(source = %context.name, nodes = count, "asking CoAP nodes");
        context.status.set_nodes(Arc::clone(&nodes));
        let list = link.node_list.as_ref().map(|file| NodeList::new(file, link.nodes.keys()));
        let registrations = link.registered.as_ref();
        let registrations = registrations.map(|at| Registered::at(at, &surroundings.nodes));
        let (caller, calls) = Calls::new();
        let carrier = orders.map(|orders| {
            let (nodes, families) = (Arc::clone(&nodes), sockets.families());
            Carrier::new(Arc::new(AskedNodes { nodes, families, caller }), None, orders)
        });
        Ok(Self {
            calls,
            carrier,
            listed,
            registrations,
            registered: BTreeMap::new(),
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
        let mut carriers: Supervisor<()> = Supervisor::new();
        if let Some(carrier) = self.carrier.take() {
            let name = format!("coap {} orders", self.context.name);
            carriers.start(name, carrier.run(stop.clone()));
        }
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
                asked = self.calls.asked() => {
                    self.calls.handle_asked(clock::now(), &mut *self.nodes.lock(), asked);
                }
                listed = NodeList::changed(&mut self.list) => {
                    let listed = listed.into_iter().map(|node| (node.name, node.url)).collect();
                    self.nodes.replace(&self.context, &mut self.listed, listed);
                }
                registered = Registered::changed(&mut self.registrations) => {
                    self.nodes.replace(&self.context, &mut self.registered, registered);
                }
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
        while carriers.next_end().await.is_some() {}
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
                // What no order waits for was given up.
                Output::OfOrder(event) => drop(self.calls.handle_event(event)),
                Output::Watched(number, ended) => self.calls.handle_watched(number, ended),
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
        let sent = (representation.format, payload.as_slice());
        let Some(drafts) = sample::decode(sent, &name, &wanted, self.own_names, now) else {
            self.context.status.received(payload.len());
            let format = representation.format.unwrap_or_default();
            let why = format!("{name}: Content-Format {format} is none that holds readings");
            self.context.refuse("content_format", &device, &why, &payload);
            return self.nodes.lock().handle_unreadable(node, &why);
        };
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

    /// Asks those that are `wanted` instead of those that were `known` from the same place.
    fn replace(
        &self,
        context: &Context,
        known: &mut BTreeMap<String, NodeUrl>,
        wanted: BTreeMap<String, NodeUrl>,
    ) {
        let before = known.len();
        known.retain(|name, url| {
            let stays = wanted.get(name) == Some(url);
            if !stays {
                self.remove(name);
            }
            stays
        });
        let removed = before - known.len();
        let new = wanted.into_iter().filter(|(name, _)| !known.contains_key(name));
        let added: Vec<_> =
            new.filter(|(name, url)| self.add_or_warn(context, name, url)).collect();
        if added.len() + removed > 0 {
            info!(source = %context.name, added = added.len(), removed, "other nodes are asked");
        }
        known.extend(added);
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
