//! Nodes that speak the link protocol, over serial, TCP or UDP: they are acknowledged when their
//! readings are on disk.
//!
//! [`ports`] carries frames, whatever they come over; [`hub`] is the loop around
//! [`proto::link::Gateway`]; [`memory`] is what it knows over a restart; [`stepped`] is all of it for a
//! rehearsal. [`orders`] has what nodes are told: [`calls`] is its way to the hub, [`payload`] what is in it,
//! [`download`] files.

mod calls;
mod download;
mod hub;
mod memory;
mod orders;
mod payload;
mod ports;
mod sample;
mod stepped;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::calls::{Caller, caller};
use self::hub::{Hub, QUEUE};
use self::memory::Memory;
use self::orders::carry_out;
use self::ports::{Carrier, PortSide};
pub(crate) use self::sample::{LinkPiece, link_pieces};
pub(super) use self::stepped::SteppedLink;
use super::clients::{Clients, listen};
use super::udp::bind_udp;
use super::{Context, SourceError, Surroundings};
use crate::clock;
use crate::commands::Orders;
use crate::config::{Link, LinkDecode};
use crate::supervisor::Supervisor;

/// A link with nodes on it.
pub(crate) struct LinkSource {
    context: Arc<Context>,
    carrier: Carrier,
    hub: Hub,
    side: PortSide,
    orders: Option<(Orders, Caller)>,
}

impl LinkSource {
    /// Opens the link, and reads what was stored of its nodes before anything can be released.
    pub(super) async fn open(
        context: Context,
        link: &Link,
        decode: &LinkDecode,
        surroundings: &Surroundings,
        orders: Option<Orders>,
    ) -> Result<Self, SourceError> {
        let Surroundings { state_dir, spool, .. } = surroundings;
        let keys = sample::keys(decode)
            .map_err(|source| SourceError::Keys { name: context.name.to_string(), source })?;
        let carrier = open(&context, link)?;
        let context = Arc::new(context);
        let mut memory = Memory::load(state_dir, &context.name);
        if let Err(error) = memory.catch_up(spool).await {
            warn!(source = %context.name, %error, "cannot tell which reports were stored before the start");
        }
        let (mut gateway, names) = sample::gateway(keys);
        for (device, replay) in memory.replays() {
            gateway.restore(clock::now(), device, replay);
        }
        let (sender, arrivals) = mpsc::channel(QUEUE);
        let side = PortSide { context: Arc::clone(&context), arrivals: sender };
        let (caller, asks) = caller();
        let hub =
            Hub::new(Arc::clone(&context), gateway, names, memory, spool.clone(), arrivals, asks);
        let orders = orders.map(|orders| (orders, caller));
        Ok(Self { context, carrier, hub, side, orders })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        let name = &self.context.name;
        let mut tasks: Supervisor<()> = Supervisor::new();
        // Ports outlive the hub's last acknowledgements: they end when it does.
        let closed = CancellationToken::new();
        if let Some((orders, caller)) = self.orders {
            let stop = stop.clone();
            tasks.start(format!("link {name} orders"), carry_out(orders, caller, stop));
        }
        let (hub, hub_stop, close) = (self.hub, stop, closed.clone());
        tasks.start(format!("link {name}"), async move {
            hub.run(hub_stop).await;
            close.cancel();
        });
        tasks.start(format!("link {name} ports"), self.carrier.run(self.side, closed));
        while tasks.next_end().await.is_some() {}
    }
}

fn open(context: &Context, link: &Link) -> Result<Carrier, SourceError> {
    Ok(match link {
        Link::Serial(serial) => Carrier::Serial(serial.clone()),
        Link::Udp(udp) => {
            let receive_buffer = usize::try_from(udp.receive_buffer.bytes()).unwrap_or(usize::MAX);
            let socket = bind_udp(udp.bind, receive_buffer);
            let socket = socket.map_err(|e| context.bind_error("link.bind", udp.bind, e))?;
            let address = socket.local_addr().unwrap_or(udp.bind);
            info!(source = %context.name, %address, "listening for nodes over UDP");
            context.status.set_listening(vec![address]);
            Carrier::Udp(socket)
        }
        Link::Tcp(tcp) => {
            let listener = listen(tcp.bind);
            let listener = listener.map_err(|e| context.bind_error("link.bind", tcp.bind, e))?;
            let address = listener.local_addr().unwrap_or(tcp.bind);
            info!(source = %context.name, %address, "listening for nodes over TCP");
            context.status.set_listening(vec![address]);
            Carrier::Tcp(Clients::new(vec![listener], tcp.max_clients))
        }
        // A configuration that says so is refused before.
        Link::TcpClient(_)
        | Link::Coap(_)
        | Link::CoapPoll(_)
        | Link::Http(_)
        | Link::Modbus(_) => {
            return Err(SourceError::Carrier { name: context.name.to_string() });
        }
    })
}
