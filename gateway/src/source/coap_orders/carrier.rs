//! The task that carries the orders of a source out.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use proto::Value;
use proto::coap::OptionNumber;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::calls::Caller;
use super::outcome::Outcome;
use super::request::order_request;
use crate::commands::{Mailbox, Order, Orders};
use crate::config::{CoapMethod, CoapVia, Interval, NodeUrl, Via};

/// How often those devices are looked for that nobody knew the address of.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many of them at a time.
const LOOK_TURN: usize = 256;

/// Where the devices of a source are.
pub(in crate::source) trait Places: Send + Sync + 'static {
    /// Where a device is, as far as is known now.
    fn find(&self, device: &str) -> Option<Place>;

    /// Who sends to an address, and what it is called there; none where no socket gets there.
    fn reach(&self, address: SocketAddr) -> Option<(&Caller, SocketAddr)>;

    /// Who sends from the socket with this number.
    fn socket(&self, number: usize) -> Option<&Caller>;
}

/// Where a device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::source) enum Place {
    /// It has sent from there to the socket with this number.
    Heard { socket: usize, peer: SocketAddr },
    /// It is to be found there.
    Address(SocketAddr),
    /// The same, by the name of a host.
    Url(NodeUrl),
}

/// Ends with the order where its device is away.
type Carried = Pin<Box<dyn Future<Output = Option<Order>> + Send>>;

/// The orders of a source.
pub(in crate::source) struct Carrier<P> {
    places: Arc<P>,
    /// Where orders go whose devices ask for them.
    mailbox: Option<Mailbox>,
    orders: Orders,
    /// Those under way, at most one for a device.
    carried: FuturesUnordered<Carried>,
    /// Those whose device nobody knows the address of; the desk has a limit of them.
    away: VecDeque<Order>,
    look_at: Instant,
}

impl<P: Places> Carrier<P> {
    pub(in crate::source) fn new(places: Arc<P>, mailbox: Option<Mailbox>, orders: Orders) -> Self {
        let (carried, away) = (FuturesUnordered::new(), VecDeque::new());
        Self { places, mailbox, orders, carried, away, look_at: Instant::now() }
    }

    /// Runs until `stop` is cancelled. What is under way then is left to the desk.
    pub(in crate::source) async fn run(mut self, stop: CancellationToken) {
        loop {
            let look_at = self.look_at;
            tokio::select! {
                () = stop.cancelled() => return,
                Some(order) = self.orders.recv() => self.take(order),
                Some(away) = self.carried.next(), if !self.carried.is_empty() => {
                    self.away.extend(away);
                }
                () = sleep_until(look_at), if !self.away.is_empty() => self.look(),
            }
        }
    }

    fn take(&mut self, order: Order) {
        let operation = Arc::clone(&order.operation);
        match (&operation.via, &self.mailbox) {
            (Via::Coap(via), _) => match self.place(via, order.device()) {
                Ok(Some(place)) => self.carry(order, place),
                Ok(None) => self.carried.push(Box::pin(wait(order))),
                Err(why) => self.refuse(order, "address", why),
            },
            (Via::Fetch, Some(mailbox)) => {
                let mailbox = mailbox.clone();
                self.carried.push(Box::pin(async move {
                    mailbox.put(order).await;
                    None
                }));
            }
            // The checks of the configuration refuse them.
            (Via::Fetch | Via::Link(_) | Via::File(_) | Via::Send(_) | Via::Modbus(_), _) => {
                self.refuse(order, "not_here", "the source cannot tell its devices so".to_owned());
            }
        }
    }

    /// Where the device of an order is: as the operation says, or as is known.
    fn place(&self, via: &CoapVia, device: &str) -> Result<Option<Place>, String> {
        match &via.address {
            Some(template) => of_template(template, device).map(Some),
            None => Ok(self.places.find(device)),
        }
    }

    fn carry(&self, order: Order, place: Place) {
        let places = Arc::clone(&self.places);
        self.carried.push(Box::pin(async move {
            carry_out(order, place, places).await;
            None
        }));
    }

    fn refuse(&self, order: Order, code: &'static str, why: String) {
        self.carried.push(Box::pin(async move {
            order.failed(code, why).await;
            None
        }));
    }

    /// Looks for devices that were away.
    fn look(&mut self) {
        self.look_at = Instant::now() + LOOK_INTERVAL;
        for _ in 0..self.away.len().min(LOOK_TURN) {
            let Some(order) = self.away.pop_front() else { return };
            if order.is_withdrawn() {
                continue;
            }
            match self.places.find(order.device()) {
                Some(place) => self.carry(order, place),
                None => self.away.push_back(order),
            }
        }
    }
}

/// The place that a template with `{device}` in it says.
fn of_template(template: &str, device: &str) -> Result<Place, String> {
    let url = template.replace("{device}", device);
    let url: NodeUrl = url.parse().map_err(|error| format!("{url}: {error}"))?;
    Ok(url.address().map_or(Place::Url(url), Place::Address))
}

/// Says that an order waits until its device is known.
async fn wait(order: Order) -> Option<Order> {
    let why = "the node has not registered, and nothing was heard of it";
    order.waiting("unknown_address", why).await;
    Some(order)
}

/// Carries an order out, and reports what came of it.
async fn carry_out(order: Order, place: Place, places: Arc<impl Places>) {
    let operation = Arc::clone(&order.operation);
    let Via::Coap(via) = &operation.via else { return };
    let mut request = order_request(via, &operation.value, order.device(), order.value.as_ref());
    let reached = match &place {
        Place::Heard { socket, peer } => places.socket(*socket).map(|caller| (caller, *peer)),
        Place::Address(address) => places.reach(*address),
        Place::Url(url) => {
            // RFC 7252 §6.4: a host that is a name is told. An address on a link is none.
            if !url.host().contains('%') {
                request = request.option(OptionNumber::URI_HOST, url.host().as_bytes());
            }
            match lookup_host((url.host(), url.port())).await {
                Ok(mut all) => all.find_map(|address| places.reach(address)),
                Err(error) => {
                    let why = format!("cannot resolve {}: {error}", url.host());
                    return order.unreachable("unresolved", why).await;
                }
            }
        }
    };
    let Some((caller, to)) = reached else {
        let why = format!("no socket of the source gets to {place}");
        return order.unreachable("no_route", why).await;
    };
    if !order.begin().await {
        return;
    }
    let call = match via.method {
        CoapMethod::Observe => {
            let begins = order.value == Some(Value::Boolean(true));
            caller.watch(order.device().to_owned(), via.path.clone(), begins).await
        }
        CoapMethod::Get
        | CoapMethod::Put
        | CoapMethod::Post
        | CoapMethod::Delete
        | CoapMethod::Fetch
        | CoapMethod::Patch
        | CoapMethod::Ipatch => caller.call(to, request).await,
    };
    // There is none when the source is stopping.
    let Some(mut call) = call else { return };
    let timeout = via.timeout.map(Interval::duration);
    let late_at = Instant::now() + timeout.unwrap_or_default();
    let mut is_delivered = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut call.ended => break ended,
            Ok(()) = &mut call.acknowledged, if !is_delivered => {
                is_delivered = true;
                order.delivered().await;
            }
            () = order.withdrawn() => return,
            () = sleep_until(late_at), if timeout.is_some() => {
                let why = format!("no answer within {:?}", timeout.unwrap_or_default());
                return order.unreachable("no_answer", why).await;
            }
        }
    };
    if let Ok(ended) = ended {
        Outcome::of(ended).report(order).await;
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Heard { peer: address, .. } | Self::Address(address) => address.fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_an_address_or_a_host() {
        let place = |template| of_template(template, "v1");
        assert_eq!(
            place("coap://192.0.2.7:61616"),
            Ok(Place::Address("192.0.2.7:61616".parse().unwrap()))
        );
        assert_eq!(place("coap://{device}.lan").unwrap().to_string(), "coap://v1.lan:5683");
        assert!(of_template("coap://{device}.lan", "x/y").is_err());
        assert!(of_template("coap://{device}.lan", "x@y").is_err());
    }
}
