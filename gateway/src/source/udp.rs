//! Datagrams.

mod answers;
mod calls;

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proto::frame::{Framer, Pause};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Interval, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::answers::{Answer, Answers};
use self::calls::Calls;
use super::ear::Offered;
use super::framed::due_every;
use super::{Context, SourceError};
use crate::clock;
use crate::commands::Orders;
use crate::config::{UdpLink, UdpPoll};
use crate::store::NotStored;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken before other tasks get a turn.
const TURN: usize = 64;
/// Turns that a stopping source takes to empty its socket, while devices may go on to send.
const LAST_TURNS: usize = 1024;
/// How often the kernel is asked for what it dropped.
const DROP_CHECK: Duration = Duration::from_secs(2);
/// How long the answer to a request of `poll` may take before an order is sent all the same.
const POLL_PATIENCE: Duration = Duration::from_secs(1);

/// A UDP socket.
pub(crate) struct UdpSource {
    context: Context,
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    poll: Option<UdpPoll>,
    orders: Option<Orders>,
}

/// What goes on at a socket.
struct Traffic {
    framer: Framer,
    answers: Answers,
    calls: Calls,
}

impl UdpSource {
    pub(super) fn open(
        context: Context,
        link: &UdpLink,
        orders: Option<Orders>,
    ) -> Result<Self, SourceError> {
        let receive_buffer = usize::try_from(link.receive_buffer.bytes()).unwrap_or(usize::MAX);
        let sharing = if link.groups.is_empty() { Sharing::No } else { Sharing::Groups };
        let socket = bind_shared(link.bind, receive_buffer, sharing);
        let socket = socket.map_err(|source| context.bind_error("link.bind", link.bind, source))?;
        for group in &link.groups {
            join(&socket, *group, link.interface.as_deref()).map_err(|source| {
                let hint = group_hint(&source, link.interface.as_deref());
                SourceError::Group { name: context.name.to_string(), group: *group, hint, source }
            })?;
            info!(source = %context.name, %group, "joined the group");
        }
        let address = socket.local_addr().unwrap_or(link.bind);
        info!(source = %context.name, %address, "listening for UDP");
        context.status.set_listening(vec![address]);
        Ok(Self { context, socket: socket.into(), address, poll: link.poll.clone(), orders })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut traffic = Traffic {
            framer: self.context.cutting.framer(),
            answers: Answers::default(),
            calls: Calls::new(Arc::clone(&self.socket), self.orders.take()),
        };
        let mut drop_check = interval(DROP_CHECK);
        let mut request = self.poll.as_ref().map(|poll| due_every(poll.every.duration()));
        let mut dropped = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = drop_check.tick() => self.count_dropped(&mut dropped),
                () = due(&mut request) => self.ask(&mut traffic.calls),
                Some(stored) = traffic.answers.next(), if !traffic.answers.is_empty() => {
                    self.answer(stored);
                }
                () = traffic.calls.go_on() => {}
                ready = self.socket.readable() => match ready {
                    Ok(()) => drop(self.receive(&mut buffer, &mut traffic).await),
                    Err(error) => self.warn_of(&error),
                },
            }
        }
        // What has arrived before the stop is not lost with the socket.
        for _ in 0..LAST_TURNS {
            if !self.receive(&mut buffer, &mut traffic).await {
                break;
            }
        }
        while let Some(stored) = traffic.answers.next().await {
            self.answer(stored);
        }
        self.count_dropped(&mut dropped);
    }

    /// Sends the request to every device. A datagram may be lost in any case, so one that cannot be
    /// sent is counted, and it is tried again when the next one is due.
    fn ask(&self, calls: &mut Calls) {
        let Some(poll) = &self.poll else { return };
        let until = clock::now() + POLL_PATIENCE.min(poll.every.duration());
        for device in &poll.to {
            if !calls.may_poll(*device, until) {
                continue;
            }
            if let Err(error) = self.socket.try_send_to(poll.send.bytes(), *device) {
                self.context.refuse("not_sent", device.ip().to_canonical(), error, b"");
            }
        }
    }

    /// Takes what has arrived, for one turn; whether there may be more.
    async fn receive(&self, buffer: &mut [u8], traffic: &mut Traffic) -> bool {
        for _ in 0..TURN {
            match self.socket.try_recv_from(buffer) {
                Ok((_, peer)) if !self.context.allows(peer) => {}
                Ok((len, peer)) => {
                    let datagram = buffer.get(..len).unwrap_or_default();
                    self.handle_datagram(datagram, peer, traffic).await;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    self.warn_of(&error);
                    return false;
                }
            }
        }
        true
    }

    fn warn_of(&self, error: &std::io::Error) {
        warn!(source = %self.context.name, %error, "cannot receive");
    }

    /// While the pipeline is full the kernel's buffer takes the burst; what it drops is counted.
    async fn handle_datagram(&self, datagram: &[u8], peer: SocketAddr, traffic: &mut Traffic) {
        let ip = peer.ip().to_canonical();
        let Traffic { framer, answers, calls } = traffic;
        match self.context.cutting.whole(datagram) {
            Some(Ok(datagram)) => match self.context.reader.answer(datagram) {
                Some(answer) => self.take_answered(datagram, (peer, answer), answers).await,
                None => self.take_frame(datagram, peer, calls).await,
            },
            Some(Err(error)) => self.context.unframed(error, ip),
            None => {
                framer.handle_bytes(datagram);
                framer.handle_pause(Pause::Datagram);
                while let Some(frame) = framer.poll_frame() {
                    match frame {
                        Ok(frame) => self.take_frame(frame, peer, calls).await,
                        Err(error) => self.context.unframed(error, ip),
                    }
                }
            }
        }
    }

    async fn take_frame(&self, frame: &[u8], peer: SocketAddr, calls: &mut Calls) {
        if calls.offer(frame, peer) == Offered::IsTaken {
            return;
        }
        if let Ok(readings) = self.context.decode(frame, peer.ip().to_canonical()) {
            calls.note(&readings, peer);
            // It fails only when the gateway is stopping.
            let _ = self.context.inlet.submit_unacknowledged(readings).await;
        }
    }

    /// Takes a datagram that is acknowledged; one that cannot be read is not.
    async fn take_answered(&self, datagram: &[u8], answer: Answer, answers: &mut Answers) {
        match self.context.decode(datagram, answer.0.ip().to_canonical()) {
            Ok(readings) => {
                while answers.is_full() {
                    if let Some(stored) = answers.next().await {
                        self.answer(stored);
                    }
                }
                // It fails only when the gateway is stopping.
                if let Ok(receipt) = self.context.inlet.submit(readings).await {
                    answers.add(receipt, answer);
                }
            }
            Err(error) if error.is_routine() => self.answer(Ok(answer)),
            Err(_) => {}
        }
    }

    /// Sends an answer, or counts why there is none.
    fn answer(&self, stored: Result<Answer, NotStored>) {
        match stored {
            Ok((peer, answer)) => {
                if let Err(error) = self.socket.try_send_to(&answer, peer) {
                    self.context
                        .status
                        .refused
                        .count("not_answered", || format!("{peer}: {error}"));
                }
            }
            Err(why) => self.context.not_stored(why),
        }
    }

    fn count_dropped(&self, known: &mut u64) {
        let Some(dropped) = kernel_drops(self.address) else { return };
        if dropped > *known {
            let new = dropped - *known;
            warn!(source = %self.context.name, datagrams = new, "the kernel's receive buffer was full; see `link.receive_buffer`");
            let example = || "the kernel's receive buffer was full".to_owned();
            self.context.status.refused.add("receive_buffer_full", new, example);
            *known = dropped;
        }
    }
}

/// Waits until a request is due; for ever where none is sent.
async fn due(request: &mut Option<Interval>) {
    match request {
        Some(request) => drop(request.tick().await),
        None => std::future::pending().await,
    }
}

/// Whether other programs may have a socket at the same port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    No,
    /// Each of them gets what is sent to a group.
    Groups,
}

/// A UDP socket with a receive buffer of at least that many bytes, where the system allows it.
pub(super) fn bind_udp(address: SocketAddr, receive_buffer: usize) -> io::Result<UdpSocket> {
    bind_shared(address, receive_buffer, Sharing::No)
}

fn bind_shared(
    address: SocketAddr,
    receive_buffer: usize,
    sharing: Sharing,
) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(sharing == Sharing::Groups)?;
    // The kernel caps it at net.core.rmem_max; less is no reason not to start.
    let _ = socket.set_recv_buffer_size(receive_buffer);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Joins a multicast group, on an interface or on the one that the system chooses.
fn join(socket: &UdpSocket, group: IpAddr, interface: Option<&str>) -> io::Result<()> {
    let index = interface.map_or(Ok(0), interface_index)?;
    let socket = SockRef::from(socket);
    match group {
        IpAddr::V4(group) => {
            // Else it would hear groups that other programs have joined.
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
        }
        IpAddr::V6(group) => {
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&group, index)
        }
    }
}

/// The number of a network interface (netdevice(7)), from sysfs.
fn interface_index(name: &str) -> io::Result<u32> {
    let not_found = || io::Error::new(io::ErrorKind::NotFound, "there is no such interface");
    if name.contains(['/', '.']) {
        return Err(not_found());
    }
    let text = fs::read_to_string(format!("/sys/class/net/{name}/ifindex"));
    text.map_err(|_| not_found())?.trim().parse().map_err(|_| not_found())
}

/// What to do when a group cannot be joined.
fn group_hint(error: &io::Error, interface: Option<&str>) -> String {
    match (error.kind(), interface) {
        (io::ErrorKind::NotFound, Some(name)) => {
            format!(
                "the interface {name} is not there; see `ip link`, and correct `link.interface`"
            )
        }
        (_, None) => "no interface has a route for it; name one in `link.interface`".to_owned(),
        (_, Some(name)) => format!("is {name} up, and can it do multicast? see `ip link`"),
    }
}

/// Datagrams that the kernel dropped at the socket bound to `address`, from /proc/net/udp.
fn kernel_drops(address: SocketAddr) -> Option<u64> {
    let table = if address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    let table = std::fs::read_to_string(table).ok()?;
    let port = format!(":{:04X}", address.port());
    table
        .lines()
        .skip(1)
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)))
        .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
        .next()
}
