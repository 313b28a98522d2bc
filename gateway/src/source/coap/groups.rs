//! The groups in which nodes look for servers: "All CoAP Nodes" (RFC 7252 §12.8).
//!
//! A group has a socket that is bound to its address, so that all it receives was sent to the
//! group, and the server's own socket receives nothing that was. Answers go out through that one.
//! Both have the same port, which the system allows only with SO_REUSEADDR; the server's has it for
//! that moment only, so that no other program can take the port as well.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::Id;

/// RFC 7252 §12.8
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 187);
/// RFC 7252 §12.8, on the link.
const LINK_GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfd);
/// RFC 7252 §12.8, in the site.
const SITE_GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfd);
/// Interfaces that are joined on, those with the lowest numbers; the kernel has a limit of 20 too.
const MAX_INTERFACES: usize = 16;
/// The longest request; a longer one is thrown away.
const MAX_REQUEST: usize = 1280;
/// Requests that wait for the server; then the kernel's buffer keeps them, and drops.
const QUEUE: usize = 16;
/// The pause after a group could not be read.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// IFF_LOOPBACK and IFF_MULTICAST
const LOOPBACK_OR_MULTICAST: u32 = 0x8 | 0x1000;

/// A request to a group.
pub(super) type GroupRequest = (SocketAddr, Vec<u8>);

/// Where requests to groups come from.
pub(super) struct Groups {
    sockets: Vec<UdpSocket>,
    /// Whether the server's socket is one of IPv6, for which clients of IPv4 are mapped.
    is_mapped: bool,
}

impl Groups {
    /// Sees to it that `socket` receives nothing that was sent to a group, and joins those of its
    /// address where that `is_wanted`. What cannot be joined is told, and is no reason not to start.
    pub(super) fn join(source: &Id, socket: &UdpSocket, is_wanted: bool) -> Self {
        let own = SockRef::from(socket);
        // Without this, groups that other programs have joined are heard as well.
        let _ = own.set_multicast_all_v4(false);
        let _ = own.set_multicast_all_v6(false);
        let mut groups = Self { sockets: Vec::new(), is_mapped: false };
        let address = match socket.local_addr() {
            Ok(address) if is_wanted => address,
            _ => return groups,
        };
        groups.is_mapped = address.is_ipv6();
        if let Err(error) = own.set_reuse_address(true) {
            warn!(%source, %address, %error, "cannot be found by multicast");
            return groups;
        }
        let mut failed = None;
        let mut joined = Vec::new();
        for wanted in wanted(address) {
            match wanted.open(address.port()) {
                Ok(socket) => {
                    joined.push(wanted.name());
                    groups.sockets.push(socket);
                }
                Err(error) => {
                    debug!(%source, group = %wanted.name(), %error, "cannot join");
                    failed = Some(error);
                }
            }
        }
        let _ = own.set_reuse_address(false);
        let joined = joined.join(" ");
        if groups.sockets.is_empty() {
            let error = failed.map_or_else(|| "no interface for it".to_owned(), |e| e.to_string());
            warn!(
                %source, %address, %error,
                "cannot be found by multicast; where that is not wanted, set `link.discovery = false`"
            );
        } else {
            info!(%source, %address, groups = joined, "can be found by multicast");
        }
        groups
    }

    /// The tasks that read the groups, and what they read.
    pub(super) fn listen(
        self,
        stop: &CancellationToken,
    ) -> (Vec<impl Future<Output = ()> + use<>>, mpsc::Receiver<GroupRequest>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let is_mapped = self.is_mapped;
        let task = |socket| listen(socket, is_mapped, sender.clone(), stop.clone());
        (self.sockets.into_iter().map(task).collect(), receiver)
    }
}

async fn listen(
    socket: UdpSocket,
    is_mapped: bool,
    requests: mpsc::Sender<GroupRequest>,
    stop: CancellationToken,
) {
    let mut buffer = vec![0; MAX_REQUEST + 1];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((len, _)) if len > MAX_REQUEST => {}
            Ok((len, peer)) => {
                let peer = match peer.ip() {
                    IpAddr::V4(ip) if is_mapped => {
                        SocketAddr::new(ip.to_ipv6_mapped().into(), peer.port())
                    }
                    IpAddr::V4(_) | IpAddr::V6(_) => peer,
                };
                let datagram = buffer.get(..len).unwrap_or_default().to_vec();
                if requests.send((peer, datagram)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                debug!(%error, "cannot read from a group");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// A group and where to join it.
enum Wanted {
    /// On interfaces, by their numbers or one by its address.
    V4(Vec<InterfaceIndexOrAddress>),
    /// On one link.
    Link(u32),
    /// In the site, on interfaces.
    Site(Vec<u32>),
}

/// The groups of a server's address.
fn wanted(address: SocketAddr) -> Vec<Wanted> {
    let all = interfaces;
    let v4 = |numbers: &[u32]| {
        let on = numbers.iter().map(|number| InterfaceIndexOrAddress::Index(*number));
        Wanted::V4(on.collect())
    };
    let v6 = |numbers: Vec<u32>| {
        let links = numbers.iter().copied().map(Wanted::Link).collect::<Vec<_>>();
        links.into_iter().chain([Wanted::Site(numbers)])
    };
    match address {
        SocketAddr::V4(any) if any.ip().is_unspecified() => vec![v4(&all())],
        SocketAddr::V4(one) => {
            vec![Wanted::V4(vec![InterfaceIndexOrAddress::Address(*one.ip())])]
        }
        SocketAddr::V6(any) if any.ip().is_unspecified() => {
            let numbers = all();
            Vec::from_iter([v4(&numbers)].into_iter().chain(v6(numbers)))
        }
        SocketAddr::V6(one) => v6(interface_of(one).into_iter().collect()).collect(),
    }
}

impl Wanted {
    fn name(&self) -> String {
        match self {
            Self::V4(_) => GROUP_V4.to_string(),
            Self::Link(number) => format!("{LINK_GROUP_V6}%{number}"),
            Self::Site(_) => SITE_GROUP_V6.to_string(),
        }
    }

    fn open(&self, port: u16) -> io::Result<UdpSocket> {
        match self {
            Self::V4(on) => {
                let socket = bound(SocketAddr::from((GROUP_V4, port)))?;
                socket.set_multicast_all_v4(false)?;
                joined(socket, on, |socket, on| socket.join_multicast_v4_n(&GROUP_V4, on))
            }
            Self::Link(number) => {
                let group = SocketAddrV6::new(LINK_GROUP_V6, port, 0, *number);
                let socket = bound(group.into())?;
                joined(socket, &[*number], |socket, on| {
                    socket.join_multicast_v6(&LINK_GROUP_V6, *on)
                })
            }
            Self::Site(numbers) => {
                let socket = bound(SocketAddr::from((SITE_GROUP_V6, port)))?;
                socket.set_multicast_all_v6(false)?;
                joined(socket, numbers, |socket, on| socket.join_multicast_v6(&SITE_GROUP_V6, *on))
            }
        }
    }
}

fn bound(group: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    if group.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&group.into())?;
    Ok(socket)
}

/// A socket that has joined on at least one interface.
fn joined<T>(
    socket: Socket,
    on: &[T],
    join: impl Fn(&Socket, &T) -> io::Result<()>,
) -> io::Result<UdpSocket> {
    let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
    for interface in on {
        let joined = join(&socket, interface);
        if joined.is_ok() || outcome.is_err() {
            outcome = joined;
        }
    }
    outcome.and_then(|()| UdpSocket::from_std(socket.into()))
}

/// The numbers of all interfaces that can have groups, whether they are up now or not.
fn interfaces() -> Vec<u32> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut numbers: Vec<_> = entries
        .filter_map(|entry| {
            let read = |name| fs::read_to_string(entry.path().join(name)).ok();
            let flags = read("flags")?;
            let flags = u32::from_str_radix(flags.trim().strip_prefix("0x")?, 16).ok()?;
            let number = read("ifindex")?.trim().parse().ok()?;
            (flags & LOOPBACK_OR_MULTICAST != 0).then_some(number)
        })
        .collect();
    numbers.sort_unstable();
    numbers.truncate(MAX_INTERFACES);
    numbers
}

/// The number of the interface that has an address.
fn interface_of(address: SocketAddrV6) -> Option<u32> {
    if address.scope_id() != 0 {
        return Some(address.scope_id());
    }
    // Address, interface, length of the prefix, scope, flags and name; all but the last in
    // hexadecimal.
    let table = fs::read_to_string("/proc/net/if_inet6").ok()?;
    let wanted = format!("{:032x}", address.ip().to_bits());
    let mut fields = table.lines().map(str::split_whitespace);
    let mut found = fields.find_map(|mut line| (line.next() == Some(&wanted)).then_some(line))?;
    u32::from_str_radix(found.next()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(address: &str) -> Vec<String> {
        wanted(address.parse().unwrap()).iter().map(Wanted::name).collect()
    }

    #[test]
    fn an_address_has_the_groups_of_its_family_on_its_interfaces() {
        // RFC 7252 §12.8
        assert_eq!(names("0.0.0.0:5683"), ["224.0.1.187"]);
        assert_eq!(names("127.0.0.1:5683"), ["224.0.1.187"]);
        assert_eq!(names("[fe80::1%7]:5683"), ["ff02::fd%7", "ff05::fd"]);
        let all = names("[::]:5683");
        assert_eq!((&*all[0], &**all.last().unwrap()), ("224.0.1.187", "ff05::fd"));
        assert!(all.contains(&"ff02::fd%1".to_owned()), "the loopback interface: {all:?}");
    }

    #[test]
    fn a_port_with_groups_is_still_of_one_program() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let name: Id = "coap".parse().unwrap();
            let groups = Groups::join(&name, &socket, true);
            assert_eq!(groups.sockets.len(), 1);
            let address = socket.local_addr().unwrap();
            let other = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
            other.set_reuse_address(true).unwrap();
            let taken = other.bind(&address.into()).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        });
    }
}
