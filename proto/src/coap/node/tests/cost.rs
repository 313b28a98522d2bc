//! Not checks: what a request costs a node, without a socket.
//!
//! `cargo test -p proto --release --lib cost -- --ignored --nocapture`; with `valgrind
//! --tool=callgrind` before the test's program it is counted in instructions.

extern crate std;

use core::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::coap::content_format::TEXT_PLAIN;

const REQUESTS: u32 = 200_000;

/// Requests of so many peers in turns, each answered at once; nanoseconds for each of them.
#[expect(clippy::disallowed_methods, reason = "a measurement needs the real clock")]
fn cost(peers: u32) -> f64 {
    let options = Request::new(Method::Get).path("time").options;
    let request =
        encode::message(CON, Method::Get.code(), 0, Token::EMPTY, &options, b"", 100).unwrap();
    let mut node = Node::new(NodeConfig::default(), 1);
    let start = std::time::Instant::now();
    for number in 0..REQUESTS {
        let now = Instant::ZERO + start.elapsed();
        let address = Ipv4Addr::from_bits(0x7f00_0001 + number % peers / 100);
        let from = SocketAddr::from((address, u16::try_from(40_000 + number % 100).unwrap()));
        let mut datagram = request.clone();
        encode::set_message_id(&mut datagram, u16::try_from(number / peers % 65_536).unwrap());
        node.handle_datagram(now, from, &datagram, Delivery::Unicast);
        loop {
            match node.poll_output() {
                NodeOutput::Event(NodeEvent::Request { ask, .. }) => {
                    let time = Response::new(Code::CONTENT).content_format(TEXT_PLAIN);
                    node.respond(now, ask, time.max_age(0).payload("1732198755.250"));
                }
                NodeOutput::Transmit { datagram, .. } => assert!(datagram.len() > 14),
                NodeOutput::Event(other) => panic!("{other:?}"),
                NodeOutput::Wait(_) => break,
            }
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS)
}

#[test]
#[ignore = "a measurement, not a check"]
fn cost_with_one_peer() {
    std::println!("{:.0} ns with 1 peer", cost(1));
}

#[test]
#[ignore = "a measurement, not a check"]
fn cost_with_10_000_peers() {
    std::println!("{:.0} ns with 10,000 peers", cost(10_000));
}
