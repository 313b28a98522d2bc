//! Finding the gateway by multicast (RFC 7252 §8), by libcoap's client and single datagrams.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use proto::coap::{Message, MessageType};
use socket2::{Domain, SockRef, Socket, Type};

use crate::coap::libcoap_answer;
use crate::harness::clock::Deadline;
use crate::harness::gateway::Gateway;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 187);
/// RFC 7252 §8.2: DEFAULT_LEISURE is 5 s; the rest is for a slow machine.
const LEISURE: Duration = Duration::from_secs(8);
const NON: u8 = 0x51;
const CON: u8 = 0x41;

fn gateway(bind: &str, keys: &str) -> Gateway {
    Gateway::start(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"{bind}\"]{keys} }}\n\
         [brokers.none]\nurl = \"mqtt://127.0.0.1:1\"\n[routes.all]\n"
    ))
}

/// A GET for `/.well-known/core` with a token of one byte and options after the path.
fn discover(kind: u8, token: u8, more: &[u8]) -> Vec<u8> {
    let path = b"\xbb.well-known\x04core";
    [&[kind, 1, 0, token, token], &path[..], more].concat()
}

/// A socket whose requests to groups go out on the loopback interface.
fn loopback() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket
}

/// What comes within the leisure, or the first so many: type, token, code and payload.
fn answers(
    socket: &UdpSocket,
    from: SocketAddr,
    most: usize,
) -> Vec<(MessageType, u8, String, String)> {
    let deadline = Deadline::after(LEISURE);
    let mut answers = Vec::new();
    let mut buffer = [0; 2048];
    while answers.len() < most && !deadline.has_passed() {
        socket.set_read_timeout(Some(deadline.left())).unwrap();
        let Ok((len, peer)) = socket.recv_from(&mut buffer) else { break };
        assert_eq!(peer, from, "the server's own address");
        let message = Message::parse(&buffer[..len]).unwrap();
        let token = message.token().first().copied().unwrap_or(0);
        let text = String::from_utf8(message.payload().to_vec()).unwrap();
        answers.push((message.kind(), token, message.code().to_string(), text));
    }
    answers
}

#[test]
fn a_group_is_answered_within_the_leisure_and_hears_no_errors() {
    // RFC 7252 §8.1, §8.2; RFC 6690 §4.1
    let gateway = gateway("127.0.0.1:0", "");
    let address = gateway.address("nodes");
    let group = SocketAddr::from((GROUP, address.port()));
    let socket = loopback();
    let send = |datagram: &[u8]| assert!(socket.send_to(datagram, group).is_ok());
    // Uri-Query (15) after Uri-Path (11).
    send(&discover(NON, 1, b"\x4d"));
    send(&discover(NON, 2, b"\x47rt=none"));
    send(&discover(CON, 3, b""));
    send(&[&[NON, 1, 0, 4, 4][..], b"\xb4none"].concat());
    send(&[0x40, 0, 0, 5]);
    send(&[&[NON, 2, 0, 6, 6][..], b"\xb2rd\x44ep=n\xff</a>"].concat());
    send(b"\x51");
    send(&discover(NON, 7, b""));
    send(&discover(NON, 8, b"\x4brt=core.rd*"));
    let mut answers = answers(&socket, address, usize::MAX);
    answers.sort_by_key(|(_, token, ..)| *token);
    let [all, filtered] = &answers[..] else { panic!("{answers:?}") };
    for (answer, token) in [(all, 7), (filtered, 8)] {
        assert_eq!(answer.0, MessageType::NonConfirmable);
        assert_eq!((answer.1, &*answer.2), (token, "2.05"));
    }
    assert!(all.3.contains("</r>;rt=\"gateway.readings\""), "{}", all.3);
    assert!(filtered.3.starts_with("</rd>;rt=\"core.rd\""), "{}", filtered.3);
}

#[test]
fn libcoap_finds_the_gateway() {
    let gateway = gateway("127.0.0.1:0", "");
    let port = gateway.address("nodes").port();
    // With this source address it goes out on the loopback interface.
    let uri = format!("coap://{GROUP}:{port}/.well-known/core");
    let answer = libcoap_answer(&uri, &["-N", "-a", "127.0.0.1", "-B", "8"]);
    assert_eq!(answer.code, "2.05");
    assert!(answer.text.contains("</r>;rt=\"gateway.readings\""), "{}", answer.text);
}

#[test]
fn a_server_of_both_families_is_found_by_ipv4() {
    let gateway = gateway("[::]:0", "");
    let port = gateway.address("nodes").port();
    let socket = loopback();
    socket.send_to(&discover(NON, 1, b""), (GROUP, port)).unwrap();
    let answers = answers(&socket, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 1);
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn a_server_is_found_on_its_link_by_ipv6() {
    // RFC 7252 §12.8. The loopback interface has no route to ff02::/16; this takes the first one
    // that has a link-local address.
    let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let link_local = table.lines().find(|line| line.starts_with("fe80"));
    let Some(line) = link_local else { return eprintln!("no link-local address: not tested") };
    let mut fields = line.split_whitespace();
    let ip = u128::from_str_radix(fields.next().unwrap(), 16).unwrap();
    let interface = u32::from_str_radix(fields.next().unwrap(), 16).unwrap();
    let gateway = gateway("[::]:0", "");
    let port = gateway.address("nodes").port();
    let from = SocketAddrV6::new(ip.into(), port, 0, interface);
    for group in ["ff02::fd", "ff05::fd"] {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_multicast_if_v6(interface).unwrap();
        socket.bind(&SocketAddrV6::new(ip.into(), 0, 0, interface).into()).unwrap();
        let socket = UdpSocket::from(socket);
        let group = SocketAddrV6::new(group.parse().unwrap(), port, 0, interface);
        socket.send_to(&discover(NON, 1, b""), group).unwrap();
        let answers = answers(&socket, from.into(), 1);
        assert_eq!(answers.len(), 1, "{group}: {answers:?}");
    }
}

#[test]
fn a_server_that_is_not_to_be_found_is_silent() {
    let gateway = gateway("0.0.0.0:0", ", discovery = false");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.address("nodes").port()));
    let socket = loopback();
    // Another program in the group does not make the gateway hear it.
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).unwrap();
    socket.send_to(&discover(NON, 1, b""), (GROUP, address.port())).unwrap();
    assert_eq!(answers(&socket, address, usize::MAX), []);
}
