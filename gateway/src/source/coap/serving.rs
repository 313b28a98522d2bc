//! What a server does with the requests of its clients, whichever way they come: the loops for
//! datagrams and for connections differ only in their sockets.

use std::collections::BTreeSet;
use std::future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::Instant;
use proto::coap::{Ask, Node, Request, ResourceId, Response, StreamNode};
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::latest::View;
use super::observed::Observed;
use super::pending::Pending;
use super::registered::Look;
use super::resources::{Action, Resources, Sender};
use crate::clock;
use crate::store::Origin;

/// The shortest time between two notifications of who is registered: what changes meanwhile goes
/// together.
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);

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
    registrations: watch::Receiver<u64>,
    /// When observers of lookups can be told next, where there is something to tell.
    lookups_due: Option<Instant>,
    lookups_told: Instant,
}

/// A simple registration, for which the sender has to be asked for its resources (RFC 9176 §5.1).
pub(super) struct Fetch<P> {
    pub(super) ask: Ask<P>,
    pub(super) sender: Sender,
    pub(super) request: Request,
}

/// What there is to tell clients.
pub(super) enum News<P> {
    Answers(Vec<(Ask<P>, Response)>),
    /// What observers see may have changed.
    Readings,
    /// So may what lookups find.
    Lookups,
}

impl<P: Unpin> Serving<P> {
    pub(super) fn new(resources: Arc<Resources>) -> Self {
        let registrations = match &resources.registered {
            Some(registered) => registered.nodes().changes(),
            // No change comes where there is no directory.
            None => watch::channel(0).1,
        };
        Self {
            registrations,
            lookups_due: None,
            lookups_told: Instant::ZERO,
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

    /// Takes a request, and gives it back where the sender has to be asked first. `origin` is what
    /// tells a retransmission, where there are any.
    #[must_use]
    pub(super) fn handle_request(
        &mut self,
        node: &mut impl Replies<P>,
        ask: Ask<P>,
        sender: Sender,
        origin: Option<Origin>,
        request: &Request,
    ) -> Option<Fetch<P>> {
        let now = clock::now();
        match self.resources.handle(sender, request) {
            Action::Respond(response) => node.respond(now, ask, response),
            Action::Show(view, response) => self.show(node, ask, &view, response),
            Action::Look(look) => self.look(node, ask, &look),
            Action::Fetch(request) => return Some(Fetch { ask, sender, request }),
            Action::Await(work) => {
                if let Some((ask, response)) = self.pending.start(ask, sender.peer, work, origin) {
                    node.respond(now, ask, response);
                }
            }
        }
        None
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
            () = next_lookups(&mut self.registrations, &mut self.lookups_due, self.lookups_told),
                if self.observed.has_lookups() => News::Lookups,
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
            News::Lookups => {
                (self.lookups_due, self.lookups_told) = (None, now);
                let look = |look: &Look| self.resources.look(look);
                for (id, response) in self.observed.changed_lookups(look) {
                    node.notify(now, id, response);
                }
            }
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
        self.begin(node, ask, id, response);
    }

    fn look(&mut self, node: &mut impl Replies<P>, ask: Ask<P>, look: &Look) {
        let response = self.resources.look(look);
        let wanted = ask.observes() && response.code.is_success();
        let id = wanted.then(|| self.observed.lookup_id(look, &response)).flatten();
        match id {
            Some(id) => self.begin(node, ask, id, response),
            None => node.respond(clock::now(), ask, response),
        }
    }

    /// Answers with what is observed from now on.
    fn begin(
        &mut self,
        node: &mut impl Replies<P>,
        ask: Ask<P>,
        id: ResourceId,
        response: Response,
    ) {
        node.respond_observed(clock::now(), ask, id, response);
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

/// Waits until observers of lookups can be told of a change.
async fn next_lookups(
    registrations: &mut watch::Receiver<u64>,
    due: &mut Option<Instant>,
    told: Instant,
) {
    let at = match *due {
        Some(at) => at,
        // The sender lives as long as the resources.
        None if registrations.changed().await.is_ok() => *due.insert(told + LOOKUP_PAUSE),
        None => future::pending().await,
    };
    sleep_until(clock::deadline(at)).await;
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
