//! What a server does with the requests of its clients, whichever way they come: the loops for
//! datagrams and for connections differ only in their sockets.

use std::collections::BTreeSet;
use std::future;
use std::net::SocketAddr;
use std::sync::Arc;

use proto::Instant;
use proto::coap::{Ask, Node, Request, ResourceId, Response, StreamNode};
use tokio::sync::watch;

use super::latest::View;
use super::observed::Observed;
use super::pending::Pending;
use super::resources::{Action, Resources};
use crate::clock;
use crate::store::Origin;

/// What answers and notifies clients `P`.
pub(super) trait Replies<P> {
    fn respond(&mut self, now: Instant, ask: Ask<P>, response: Response);

    fn respond_observed(
        &mut self,
        now: Instant,
        ask: Ask<P>,
        resource: ResourceId,
        response: Response,
    );

    fn notify(&mut self, now: Instant, resource: ResourceId, response: Response);

    fn is_observed(&self, resource: ResourceId) -> bool;
}

/// The requests that are not answered yet, and what is observed.
pub(super) struct Serving<P> {
    resources: Arc<Resources>,
    pending: Pending<Ask<P>>,
    observed: Observed,
    newest: watch::Receiver<u64>,
    /// The number of the newest reading that observers were told.
    told: u64,
}

/// What there is to tell clients.
pub(super) enum News<P> {
    Answers(Vec<(Ask<P>, Response)>),
    /// What observers see may have changed.
    Readings,
}

impl<P: Unpin> Serving<P> {
    pub(super) fn new(resources: Arc<Resources>) -> Self {
        Self {
            pending: Pending::new(Arc::clone(&resources)),
            newest: resources.latest.newest(),
            observed: Observed::default(),
            told: 0,
            resources,
        }
    }

    /// Whether every request is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes a request. `origin` is what tells a retransmission, where there are any.
    pub(super) fn handle_request(
        &mut self,
        node: &mut impl Replies<P>,
        ask: Ask<P>,
        from: SocketAddr,
        origin: Option<Origin>,
        request: &Request,
    ) {
        let now = clock::now();
        match self.resources.handle(from, request) {
            Action::Respond(response) => node.respond(now, ask, response),
            Action::Show(view, response) => self.show(node, ask, &view, response),
            Action::Await(work) => {
                if let Some((ask, response)) = self.pending.start(ask, from, work, origin) {
                    node.respond(now, ask, response);
                }
            }
        }
    }

    /// Nobody observes this any more.
    pub(super) fn handle_unobserved(&mut self, resource: ResourceId) {
        self.observed.forget(resource);
    }

    /// Waits for what [`tell`](Self::tell) takes; nothing is lost where it is dropped.
    pub(super) async fn next(&mut self) -> News<P> {
        tokio::select! {
            answers = self.pending.settled(), if !self.pending.is_empty() => News::Answers(answers),
            // The sender lives as long as the resources.
            _ = self.newest.changed(), if !self.observed.is_empty() => News::Readings,
            else => future::pending().await,
        }
    }

    pub(super) fn tell(&mut self, node: &mut impl Replies<P>, news: News<P>) {
        let now = clock::now();
        match news {
            News::Answers(answers) => {
                for (ask, response) in answers {
                    node.respond(now, ask, response);
                }
            }
            News::Readings => self.notify(node),
        }
    }

    fn show(&mut self, node: &mut impl Replies<P>, ask: Ask<P>, view: &View, response: Response) {
        let now = clock::now();
        if !ask.observes() {
            return node.respond(now, ask, response);
        }
        if self.observed.is_empty() {
            self.told = *self.newest.borrow_and_update();
        }
        let id = self.observed.id(view);
        node.respond_observed(now, ask, id, response);
        // A limit, or Echo, may have been in the way.
        if !node.is_observed(id) {
            self.observed.forget(id);
        }
    }

    /// Tells observers what was stored since the last time.
    fn notify(&mut self, node: &mut impl Replies<P>) {
        let latest = &self.resources.latest;
        let mut affected = BTreeSet::new();
        latest.since(self.told, |reading| self.observed.add_affected(reading, &mut affected));
        self.told = *self.newest.borrow_and_update();
        for id in affected {
            if let Some(view) = self.observed.view(id) {
                node.notify(clock::now(), id, latest.show(view));
            }
        }
    }
}

impl Replies<SocketAddr> for Node<SocketAddr> {
    fn respond(&mut self, now: Instant, ask: Ask<SocketAddr>, response: Response) {
        self.respond(now, ask, response);
    }

    fn respond_observed(
        &mut self,
        now: Instant,
        ask: Ask<SocketAddr>,
        resource: ResourceId,
        response: Response,
    ) {
        self.respond_observed(now, ask, resource, response);
    }

    fn notify(&mut self, now: Instant, resource: ResourceId, response: Response) {
        self.notify(now, resource, response);
    }

    fn is_observed(&self, resource: ResourceId) -> bool {
        self.is_observed(resource)
    }
}

impl Replies<()> for StreamNode {
    fn respond(&mut self, now: Instant, ask: Ask<()>, response: Response) {
        self.respond(now, ask, response);
    }

    fn respond_observed(
        &mut self,
        now: Instant,
        ask: Ask<()>,
        resource: ResourceId,
        response: Response,
    ) {
        self.respond_observed(now, ask, resource, response);
    }

    fn notify(&mut self, now: Instant, resource: ResourceId, response: Response) {
        self.notify(now, resource, response);
    }

    fn is_observed(&self, resource: ResourceId) -> bool {
        self.is_observed(resource)
    }
}
