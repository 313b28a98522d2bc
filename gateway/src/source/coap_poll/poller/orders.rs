//! What orders want of nodes. Requests go out beside what is polled, in their turn (NSTART = 1,
//! RFC 7252 §4.7), also to a node that is left alone because it did not answer. A resource that is to be
//! observed is from then on one as `link.resources` has them.

use std::net::SocketAddr;

use proto::Instant;
use proto::coap::{CallError, CallId, FailReason, Request, RequestError, Response};

use super::super::node::{Aim, MAX_FOUND};
use super::super::wanted::Wanted;
use super::{MAX_RESOURCES, NodeId, Output, Poller};
use crate::config::{NodeUrl, ResourcePath};
use crate::source::coap_orders::{Fault, Requests, Watched, Watching};

/// The node is asked no more.
const GONE: CallError = CallError::Exchange(FailReason::Cancelled);

impl Poller {
    /// Where the node with this name is.
    pub(in crate::source::coap_poll) fn url_of(&self, name: &str) -> Option<NodeUrl> {
        let id = self.by_name.get(name)?;
        self.nodes.get(id).map(|node| node.url.clone())
    }

    /// Begins to observe a resource: it is told when it is so, or why not.
    fn begin_watch(
        &mut self,
        now: Instant,
        id: NodeId,
        path: ResourcePath,
        number: u64,
    ) -> Watched {
        let has_room = self.resources < MAX_RESOURCES;
        let (interval, rng) = (self.interval, &mut self.rng);
        let Some(node) = self.nodes.get_mut(&id) else {
            return Watched::Ended(Some(Fault::NoRoom));
        };
        let known = node.resources.iter_mut().find(|resource| resource.path() == Some(&path));
        let key = match known {
            Some(resource) if resource.is_observed() => return Watched::Ended(None),
            Some(resource) => {
                resource.observe_now(now, number);
                resource.key
            }
            None => {
                if !has_room || node.resources.len() >= MAX_FOUND {
                    return Watched::Ended(Some(Fault::NoRoom));
                }
                let wanted = Wanted::ordered(path, interval);
                self.resources += 1;
                node.add_ordered(now, wanted, number, rng)
            }
        };
        self.watching.insert(number, (id, key));
        self.schedule(id);
        Watched::Waits
    }

    /// Observes a resource no more, and tells the node so (RFC 7641 §3.6).
    fn end_watch_of(&mut self, now: Instant, id: NodeId, path: &ResourcePath) -> Watched {
        let Some(node) = self.nodes.get(&id) else { return Watched::Ended(None) };
        let known = node.resources.iter().find(|resource| resource.path() == Some(path));
        let Some(resource) = known else { return Watched::Ended(None) };
        if !resource.is_ordered {
            return Watched::Ended(resource.is_observed().then_some(Fault::Configured));
        }
        let (key, watch) = (resource.key, resource.watch);
        self.remove_resource(id, key);
        self.schedule(id);
        let Some(call) = watch else { return Watched::Ended(None) };
        self.calls.remove(&call);
        self.coap.deregister(now, call);
        Watched::Call(call)
    }

    /// What came of a request for a resource is told, where an order wants that observed. What is not, and
    /// nobody else wants, is asked for no more.
    pub(super) fn end_order(&mut self, id: NodeId, aim: Aim, ended: Result<&Response, CallError>) {
        let Aim::Resource(key) = aim else { return };
        let resource = self.nodes.get_mut(&id).and_then(|node| node.resource(key));
        let Some(resource) = resource else { return };
        let Some(number) = resource.order.take() else { return };
        let (is_observed, is_ordered) = (resource.is_observed(), resource.is_ordered);
        self.watching.remove(&number);
        if is_ordered && !is_observed {
            self.remove_resource(id, key);
        }
        let ended = match ended {
            Ok(response) if response.code.is_success() && !is_observed => Err(Fault::NotObservable),
            Ok(response) => Ok(response.clone()),
            Err(error) => Err(error.into()),
        };
        self.outputs.push_back(Output::Watched(number, ended));
    }

    /// The orders of a node that is asked no more end without an answer.
    pub(super) fn end_orders(&mut self, id: NodeId) {
        let watching = std::mem::take(&mut self.watching);
        for (number, (of, key)) in watching {
            if of == id {
                self.outputs.push_back(Output::Watched(number, Err(GONE.into())));
            } else {
                self.watching.insert(number, (of, key));
            }
        }
    }

    fn remove_resource(&mut self, id: NodeId, key: u32) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let before = node.resources.len();
        node.resources.retain(|resource| resource.key != key);
        self.resources -= before - node.resources.len();
    }
}

impl Requests for Poller {
    fn request(
        &mut self,
        now: Instant,
        to: SocketAddr,
        request: Request,
    ) -> Result<CallId, RequestError> {
        self.now = now;
        self.coap.request(now, to, request)
    }

    fn cancel(&mut self, now: Instant, call: CallId) {
        self.now = now;
        self.coap.cancel(now, call);
    }

    fn watch(&mut self, now: Instant, watching: Watching) -> Watched {
        self.now = now;
        let Watching { number, device, path, begins } = watching;
        let Some(&id) = self.by_name.get(device.as_str()) else {
            return Watched::Ended(Some(GONE.into()));
        };
        if begins {
            self.begin_watch(now, id, path, number)
        } else {
            self.end_watch_of(now, id, &path)
        }
    }

    fn give_up_watch(&mut self, now: Instant, number: u64) {
        self.now = now;
        let Some((id, key)) = self.watching.remove(&number) else { return };
        let resource = self.nodes.get_mut(&id).and_then(|node| node.resource(key));
        let Some(resource) = resource else { return };
        resource.order = None;
        if resource.is_ordered && !resource.is_observed() {
            self.remove_resource(id, key);
            self.schedule(id);
        }
    }
}
