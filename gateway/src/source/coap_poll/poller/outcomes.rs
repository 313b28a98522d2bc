//! What comes of requests, and what becomes of their nodes then.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::Instant;
use proto::coap::{
    CallError, CallEvent, CallId, Code, FailReason, NodeEvent, Response, link_format,
};

use super::super::node::{Aim, Busy, MAX_FOUND};
use super::{Content, MAX_RESOURCES, NodeId, Output, Poller};

impl Poller {
    pub(super) fn handle_event(&mut self, event: NodeEvent<SocketAddr>) {
        let now = self.now;
        match event {
            NodeEvent::Call(CallEvent::Notification { call, response, .. }) => {
                self.handle_notification(call, response);
            }
            NodeEvent::Call(CallEvent::Response { call, from, response }) => {
                let Some((id, aim)) = self.calls.remove(&call) else {
                    let event = CallEvent::Response { call, from, response };
                    return self.outputs.push_back(Output::OfOrder(event));
                };
                self.free(id, call);
                self.end_order(id, aim, Ok(&response));
                self.handle_response(id, aim, call, response);
                self.schedule(id);
            }
            NodeEvent::Call(CallEvent::Failed { call, error }) => {
                let Some((id, aim)) = self.calls.remove(&call) else {
                    let event = CallEvent::Failed { call, error };
                    return self.outputs.push_back(Output::OfOrder(event));
                };
                self.free(id, call);
                self.handle_failed(id, aim, call, error);
                self.end_order(id, aim, Err(error));
                self.schedule(id);
            }
            // It has nothing to offer.
            NodeEvent::Request { ask, .. } => {
                self.coap.respond(now, ask, Response::new(Code::NOT_FOUND));
            }
            NodeEvent::Malformed { from, fault } => {
                let (node, why) = (from.to_string().into(), fault.to_string());
                self.outputs.push_back(Output::Failed { node, reason: "malformed", why });
            }
            NodeEvent::Call(event @ CallEvent::Acknowledged { .. }) => {
                self.outputs.push_back(Output::OfOrder(event));
            }
            NodeEvent::Unobserved { .. } => {}
        }
    }

    /// The request under way is answered: the node can be asked for something else.
    fn free(&mut self, id: NodeId, call: CallId) {
        if let Some(node) = self.nodes.get_mut(&id)
            && node.busy == Busy::Asked(call)
        {
            node.busy = Busy::No;
        }
    }

    fn handle_notification(&mut self, call: CallId, response: Response) {
        let Some(&(id, aim)) = self.calls.get(&call) else { return };
        self.free(id, call);
        self.handle_heard(id, Some(call));
        let Aim::Resource(key) = aim else { return };
        let resource = self.nodes.get_mut(&id).and_then(|node| node.resource(key));
        let Some(resource) = resource else { return };
        match resource.watch.replace(call) {
            None => self.stats.answered += 1,
            Some(_) => self.stats.notified += 1,
        }
        resource.due = Instant::FAR_FUTURE;
        self.end_order(id, aim, Ok(&response));
        self.take(id, key, response);
        self.schedule(id);
    }

    /// Takes the response that ends a call.
    fn handle_response(&mut self, id: NodeId, aim: Aim, call: CallId, response: Response) {
        let was_observed = self.end_watch(id, aim, call);
        self.handle_heard(id, None);
        if !response.code.is_success() {
            return self.handle_error(id, aim, was_observed, &response);
        }
        if !was_observed {
            self.stats.answered += 1;
        }
        match aim {
            Aim::Links => self.handle_links(id, &response),
            Aim::Resource(key) => {
                let now = self.now;
                if let Some(resource) = self.nodes.get_mut(&id).and_then(|n| n.resource(key)) {
                    resource.handle_not_observed(now);
                    resource.set_next(now);
                }
                self.take(id, key, response);
            }
        }
    }

    /// Takes the representation of a resource.
    fn take(&mut self, id: NodeId, key: u32, response: Response) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let device = Arc::clone(&node.name);
        let Some(resource) = node.resource(key) else { return };
        let code = response.code;
        match resource.handle_success(response) {
            Some(representation) => {
                let (name, wanted) = (resource.name(), Arc::clone(&resource.wanted));
                let content = Content { node: id, device, name, wanted, representation };
                self.outputs.push_back(Output::Content(content));
            }
            None => {
                resource.forget();
                let why = format!("{}: {code} is no representation", resource.name());
                node.note_why(&why);
                let reason = "unexpected";
                self.outputs.push_back(Output::Failed { node: device, reason, why });
            }
        }
    }

    /// Takes an error, which came in time or ended an observation.
    fn handle_error(&mut self, id: NodeId, aim: Aim, was_observed: bool, response: &Response) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let reason = match response.code {
            Code::TOO_MANY_REQUESTS | Code::SERVICE_UNAVAILABLE => "node_busy",
            Code::NOT_FOUND => "not_found",
            _ => "error_response",
        };
        node.set_next(now, aim, false);
        if let Some(pause) = response.retry_after() {
            node.handle_busy(now, pause);
        }
        if let Aim::Resource(key) = aim {
            if let Some(resource) = node.resource(key) {
                resource.forget();
            }
            if response.code == Code::NOT_FOUND {
                node.want_links(now);
            }
        }
        let text = std::str::from_utf8(&response.payload).unwrap_or_default();
        let colon = if text.is_empty() { "" } else { ": " };
        let what = self.describe(id, aim);
        let why = format!("{what}: {}{colon}{text}", response.code);
        if was_observed {
            // The request was answered long ago.
            self.tell(id, reason, why);
        } else {
            self.fail(id, reason, why);
        }
    }

    /// Takes the end of a call without a response.
    fn handle_failed(&mut self, id: NodeId, aim: Aim, call: CallId, error: CallError) {
        let was_observed = self.end_watch(id, aim, call);
        let now = self.now;
        let (reason, is_silent) = reason(error);
        let why = format!("{}: {error}", self.describe(id, aim));
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if is_silent {
            node.handle_silence(now, self.max_backoff, &mut self.rng);
        }
        node.set_next(now, aim, is_silent);
        if was_observed {
            self.tell(id, reason, why);
        } else {
            self.fail(id, reason, why);
        }
    }

    fn handle_links(&mut self, id: NodeId, response: &Response) {
        let now = self.now;
        let text = std::str::from_utf8(&response.payload).map_err(|_| "not UTF-8".to_owned());
        let links = text.and_then(|text| link_format::parse(text).map_err(|e| e.to_string()));
        let links = match links {
            Ok(links) => links,
            Err(error) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.set_next(now, Aim::Links, false);
                }
                let why = format!("{}: {error}", self.describe(id, Aim::Links));
                return self.tell(id, "links", why);
            }
        };
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let before = node.resources.len();
        let (gone, surplus) = node.handle_links(now, &links, &mut self.rng);
        let room = MAX_RESOURCES.saturating_sub(self.resources - before);
        let no_room = node.resources.len().saturating_sub(room);
        node.resources.truncate(room);
        self.resources = self.resources - before + node.resources.len();
        let is_empty = node.resources.is_empty();
        for call in gone {
            self.give_up(call);
        }
        if surplus + no_room > 0 {
            let why = format!(
                "{} of its resources are not asked for: {MAX_FOUND} of a node are, and {MAX_RESOURCES} of all",
                surplus + no_room
            );
            self.tell(id, "too_many_resources", why);
        }
        if is_empty {
            let why = format!("none of its {} links is one that is wanted", links.len());
            self.tell(id, "nothing_found", why);
        }
    }

    /// The node is there. If it was not before, it may have been restarted, and then it does not
    /// know any more who observes it, but for the observation that it was heard by.
    fn handle_heard(&mut self, id: NodeId, alive: Option<CallId>) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if !node.handle_heard(now) {
            return;
        }
        node.want_links(now);
        let mut ended = Vec::new();
        for resource in &mut node.resources {
            if resource.watch.is_some() && resource.watch == alive {
                continue;
            }
            resource.start_over(now);
            if let Some(call) = resource.watch.take() {
                resource.due = now;
                ended.push(call);
            }
        }
        for call in ended {
            self.give_up(call);
        }
    }

    /// Notes that a call is over; whether it was an observation.
    fn end_watch(&mut self, id: NodeId, aim: Aim, call: CallId) -> bool {
        let Aim::Resource(key) = aim else { return false };
        let resource = self.nodes.get_mut(&id).and_then(|node| node.resource(key));
        resource.is_some_and(|resource| resource.watch.take_if(|watch| *watch == call).is_some())
    }

    /// Ends a call whose outcome nobody wants.
    pub(super) fn give_up(&mut self, call: CallId) {
        if self.calls.remove(&call).is_some() {
            self.coap.cancel(self.now, call);
        }
    }

    /// A request had no use.
    pub(super) fn fail(&mut self, id: NodeId, reason: &'static str, why: String) {
        self.stats.failed += 1;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.count_failure();
        }
        self.tell(id, reason, why);
    }

    /// Something is wrong.
    fn tell(&mut self, id: NodeId, reason: &'static str, why: String) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.note_why(&why);
            let node = Arc::clone(&node.name);
            self.outputs.push_back(Output::Failed { node, reason, why });
        }
    }

    /// What a request was for.
    fn describe(&mut self, id: NodeId, aim: Aim) -> String {
        match aim {
            Aim::Links => ".well-known/core".to_owned(),
            Aim::Resource(key) => {
                let resource = self.nodes.get_mut(&id).and_then(|node| node.resource(key));
                resource.and_then(|r| r.path().map(ToString::to_string)).unwrap_or_default()
            }
        }
    }
}

/// A short name to count by, and whether the node is not there.
fn reason(error: CallError) -> (&'static str, bool) {
    match error {
        CallError::Exchange(FailReason::Timeout) => ("timeout", true),
        CallError::Exchange(FailReason::NoResponse) => ("no_response", true),
        CallError::Exchange(FailReason::Reset) => ("reset", true),
        CallError::Exchange(FailReason::UnrecognisedOption) => ("unrecognised_option", false),
        CallError::Exchange(
            FailReason::Cancelled | FailReason::Aborted | FailReason::ConnectionLost,
        )
        | CallError::Request(_) => ("not_sent", true),
        CallError::Upload(_) | CallError::Download(_) => ("blocks", false),
        CallError::Changed => ("changed", false),
    }
}
