//! Orders as datagrams: several at a time, one at a time to each address.
//!
//! They go to the address that the operation names, or to the one that readings of the device came from
//! last. A datagram from where an answer is waited for is looked at before anything else.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use proto::{Instant, Reading};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::commands::{Order, Orders};
use crate::config::{HostPort, Via};
use crate::source::ear::{Ear, Offered};
use crate::source::exchange::{begin, conclude};
use crate::source::inbox::Inbox;
use crate::source::recent::Recent;

/// Orders under way at a time; the next ones wait.
const MAX_CALLS: usize = 256;
/// How long the address of a name may take to be found.
const LOOKUP_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// Orders, and those that are under way.
pub(super) struct Calls {
    socket: Arc<UdpSocket>,
    inbox: Inbox,
    /// Where devices were heard of.
    places: Recent<SocketAddr>,
    /// Who is being talked to.
    ears: HashMap<SocketAddr, Arc<Ear>>,
    /// Who was asked by `poll`, and until when the answer may come.
    polled: HashMap<SocketAddr, Instant>,
    steps: FuturesUnordered<Pin<Box<dyn Future<Output = Step> + Send>>>,
}

/// What has come to its end.
enum Step {
    /// An order's address is known.
    Found(Order, SocketAddr),
    /// It was told that an order waits until its device is heard of.
    Waits(Order),
    /// An order to this address.
    Ended(SocketAddr),
    /// An order that has no address.
    Nowhere,
}

impl Calls {
    pub(super) fn new(socket: Arc<UdpSocket>, orders: Option<Orders>) -> Self {
        Self {
            socket,
            inbox: Inbox::new(orders),
            places: Recent::default(),
            ears: HashMap::new(),
            polled: HashMap::new(),
            steps: FuturesUnordered::new(),
        }
    }

    /// Waits until something is to be done, and does it. Nothing is lost when it is not waited for any
    /// more.
    pub(super) async fn go_on(&mut self) {
        let has_room = self.steps.len() < MAX_CALLS && !self.inbox.is_full();
        tokio::select! {
            order = self.inbox.arrival(), if has_room => self.take(order),
            Some(step) = self.steps.next(), if !self.steps.is_empty() => match step {
                Step::Found(order, address) => self.call(order, address),
                Step::Waits(order) if self.places.get(order.device()).is_some() => self.take(order),
                Step::Waits(order) => self.inbox.keep(order),
                Step::Ended(address) => {
                    self.ears.remove(&address);
                    self.try_held();
                }
                Step::Nowhere => {}
            },
            // All that is kept waits to be heard of, and no more can be.
            else => std::future::pending().await,
        }
    }

    /// Readings came from an address.
    pub(super) fn note(&mut self, readings: &[Reading], peer: SocketAddr) {
        if !self.inbox.is_open() {
            return;
        }
        let mut is_new = false;
        for of_one in readings.chunk_by(|one, next| one.device == next.device) {
            let Some(reading) = of_one.first() else { continue };
            let mut is_known = true;
            let place = self.places.hear(&reading.device, || {
                is_known = false;
                peer
            });
            is_new |= !is_known;
            if let Some(place) = place {
                *place = peer;
            }
        }
        if is_new {
            self.try_held();
        }
    }

    /// Whether a frame from there is an answer, and no reading.
    pub(super) fn offer(&mut self, frame: &[u8], peer: SocketAddr) -> Offered {
        if self.ears.is_empty() && self.polled.is_empty() {
            return Offered::GoesOn;
        }
        self.polled.remove(&canonical(peer));
        match self.ears.get(&canonical(peer)) {
            Some(ear) => ear.offer(frame),
            None => Offered::GoesOn,
        }
    }

    /// Whether a request of `poll` may go there, because no answer to an order is waited for from there;
    /// its answer may come until then.
    pub(super) fn may_poll(&mut self, address: SocketAddr, until: Instant) -> bool {
        let address = canonical(address);
        if self.ears.contains_key(&address) {
            return false;
        }
        if self.inbox.is_open() {
            self.polled.insert(address, until);
        }
        true
    }

    fn take(&mut self, order: Order) {
        if order.is_withdrawn() {
            return;
        }
        let to = place_of(&order).cloned();
        match (to, self.places.get(order.device()).copied()) {
            (Some(to), _) => self.steps.push(Box::pin(async move {
                match find(&to).await {
                    Ok(address) => Step::Found(order, address),
                    Err(why) => {
                        order.unreachable("no_address", why).await;
                        Step::Nowhere
                    }
                }
            })),
            (None, Some(address)) => self.call(order, address),
            (None, None) => self.steps.push(Box::pin(async move {
                order.waiting("not_heard", "it has not sent a reading since the start").await;
                Step::Waits(order)
            })),
        }
    }

    fn call(&mut self, order: Order, address: SocketAddr) {
        let address = canonical(address);
        if self.ears.contains_key(&address) {
            return self.inbox.keep(order);
        }
        let ear = Arc::new(Ear::default());
        self.ears.insert(address, Arc::clone(&ear));
        if let Some(until) = self.polled.remove(&address) {
            ear.expect(until);
        }
        let socket = Arc::clone(&self.socket);
        self.steps.push(Box::pin(async move {
            ear.silence().await;
            let mut order = Some(order);
            if let Some(message) = begin(&mut order).await {
                match socket.send_to(&message.bytes, reachable(&socket, address)).await {
                    Ok(_) => conclude(&mut order, message, &ear).await,
                    Err(error) => {
                        if let Some(order) = order.take() {
                            order.unreachable("not_sent", error).await;
                        }
                    }
                }
            }
            Step::Ended(address)
        }));
    }

    /// Those that wait may go by now.
    fn try_held(&mut self) {
        for order in self.inbox.take_held() {
            let is_known = self.places.get(order.device()).is_some();
            // The others were told to wait already.
            match is_known || place_of(&order).is_some() {
                true => self.take(order),
                false => self.inbox.keep(order),
            }
        }
    }
}

/// Where an operation says that its datagrams go.
fn place_of(order: &Order) -> Option<&HostPort> {
    let Via::Send(via) = &order.operation.via else { return None };
    via.to.as_ref()
}

async fn find(to: &HostPort) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("{to} has no address"));
    let found = timeout(LOOKUP_TIME, lookup_host((to.host(), to.port()))).await;
    found.map_err(|_| none())??.next().ok_or_else(none)
}

/// An address as it is without an IPv6 socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// An address as an IPv6 socket needs it.
fn reachable(socket: &UdpSocket, address: SocketAddr) -> SocketAddr {
    let is_ipv6 = socket.local_addr().is_ok_and(|local| local.is_ipv6());
    match address {
        SocketAddr::V4(v4) if is_ipv6 => {
            SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_by_whichever_socket_it_was_heard() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:5000".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.1:5000".parse().unwrap());
        let scoped: SocketAddr = "[fe80::1%3]:5000".parse().unwrap();
        assert_eq!(canonical(scoped), scoped);
    }
}
