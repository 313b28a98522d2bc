//! What a server does with the requests of its clients, whichever way they come: the loops for
//! datagrams and for connections differ only in their sockets.

use std::collections::BTreeSet;
use std::future::{self, Future};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use proto::Instant;
use proto::coap::{Ask, Node, Request, ResourceId, Response, StreamNode};
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::fetched::OrderView;
use super::observed::Observed;
use super::pending::{Pending, Reply};
use super::registered::Look;
use super::resources::{Action, Resources, Sender, Subject};
use crate::broker::Board;
use crate::clock;
use crate::commands::{Mailbox, Pending as Order};
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
    /// Changes of topics.
    topics: Option<watch::Receiver<u64>>,
    /// The number of the newest change of a topic that observers were told.
    told_topic: u64,
    /// Orders that may have come.
    orders: Option<watch::Receiver<u64>>,
    /// Orders that observers are to be told, once it is on disk that they were given.
    giving: FuturesUnordered<Giving>,
    registrations: watch::Receiver<u64>,
    /// When observers of lookups can be told next, where there is something to tell.
    lookups_due: Option<Instant>,
    lookups_told: Instant,
}

/// An order that an observer is to be told, or none any more.
type Giving = Pin<Box<dyn Future<Output = Given> + Send>>;
type Given = (ResourceId, OrderView, Option<Order>);

/// A simple registration, for which the sender has to be asked for its resources (RFC 9176 §5.1).
pub(super) struct Fetch<P> {
    pub(super) ask: Ask<P>,
    pub(super) sender: Sender,
    pub(super) request: Request,
}

/// What there is to tell clients.
pub(super) enum News<P> {
    Answers(Vec<(Ask<P>, Reply)>),
    /// What observers see may have changed.
    Readings,
    /// So may topics.
    Topics,
    /// So may what lookups find.
    Lookups,
    /// So may orders.
    Orders,
    /// An order is given.
    Given(Given),
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
            topics: resources.board().map(Board::changes),
            orders: resources.mailbox().map(Mailbox::changes),
            giving: FuturesUnordered::new(),
            told_topic: 0,
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
            Action::Show(subject, response) => self.show(node, ask, subject, response),
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
            () = changed(&mut self.topics), if !self.observed.is_empty() => News::Topics,
            () = changed(&mut self.orders), if self.observed.has_orders() => News::Orders,
            Some(given) = self.giving.next(), if !self.giving.is_empty() => News::Given(given),
            () = next_lookups(&mut self.registrations, &mut self.lookups_due, self.lookups_told),
                if self.observed.has_lookups() => News::Lookups,
            else => future::pending().await,
        }
    }

    pub(super) fn tell(&mut self, node: &mut impl Replies<P>, news: News<P>) {
        let now = clock::now();
        match news {
            News::Answers(answers) => {
                for (ask, reply) in answers {
                    match reply {
                        Reply::Respond(response) => node.respond(now, ask, response),
                        Reply::Show(subject) => {
                            let response = self.resources.show(&subject);
                            self.show(node, ask, subject, response);
                        }
                        Reply::Order(view, order) => self.order(node, ask, &view, order.as_ref()),
                    }
                }
            }
            News::Orders => self.give_orders(),
            News::Given((id, view, order)) => {
                self.observed.set_told(id, order.as_ref().map(|order| order.id.as_str()));
                node.notify(now, id, view.show(order.as_ref()));
            }
            News::Readings => self.notify_readings(node),
            News::Topics => self.notify_topics(node),
            News::Lookups => {
                (self.lookups_due, self.lookups_told) = (None, now);
                let look = |look: &Look| self.resources.look(look);
                for (id, response) in self.observed.changed_lookups(look) {
                    node.notify(now, id, response);
                }
            }
        }
    }

    fn show(
        &mut self,
        node: &mut impl Replies<P>,
        ask: Ask<P>,
        subject: Subject,
        response: Response,
    ) {
        if !ask.observes() || !response.code.is_success() {
            return node.respond(clock::now(), ask, response);
        }
        if self.observed.is_empty() {
            self.told = *self.newest.borrow_and_update();
            let board = self.resources.board();
            self.told_topic = board.map_or(0, |board| board.since(u64::MAX, |_| {}));
        }
        let id = self.observed.id(&subject.fixed(&response));
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

    fn order(
        &mut self,
        node: &mut impl Replies<P>,
        ask: Ask<P>,
        view: &OrderView,
        order: Option<&Order>,
    ) {
        let response = view.show(order);
        if !ask.observes() {
            return node.respond(clock::now(), ask, response);
        }
        let id = self.observed.order_id(view, order.map(|order| order.id.as_str()));
        self.begin(node, ask, id, response);
    }

    /// Gives observers the orders that they do not know.
    fn give_orders(&mut self) {
        let Some(mailbox) = self.resources.mailbox().cloned() else { return };
        for (id, view) in self.observed.changed_orders(|device| mailbox.id(device)) {
            let mailbox = mailbox.clone();
            self.giving.push(Box::pin(async move {
                let order = mailbox.take(&view.device).await;
                (id, view, order)
            }));
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
    fn notify_readings(&mut self, node: &mut impl Replies<P>) {
        let latest = &self.resources.latest;
        let mut affected = BTreeSet::new();
        latest.since(self.told, |reading| self.observed.add_affected(reading, &mut affected));
        self.told = *self.newest.borrow_and_update();
        self.notify(node, affected);
    }

    /// Tells observers which topics have changed since the last time.
    fn notify_topics(&mut self, node: &mut impl Replies<P>) {
        let Some(board) = self.resources.board() else { return };
        let mut affected = BTreeSet::new();
        let see = |topic: &str| self.observed.add_topic(topic, &mut affected);
        self.told_topic = board.since(self.told_topic, see);
        self.notify(node, affected);
    }

    fn notify(&self, node: &mut impl Replies<P>, affected: BTreeSet<ResourceId>) {
        for id in affected {
            if let Some(subject) = self.observed.subject(id) {
                node.notify(clock::now(), id, self.resources.show(subject));
            }
        }
    }
}

/// Waits for a change, for ever where there can be none.
async fn changed(changes: &mut Option<watch::Receiver<u64>>) {
    match changes {
        // The sender lives as long as the board.
        Some(changes) => drop(changes.changed().await),
        None => future::pending().await,
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
