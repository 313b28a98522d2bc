//! Datagrams without an answer, as fast as they arrive at the far end.

use std::net::{SocketAddr, UdpSocket};

use crate::Outcome;
use crate::ledger::Ledger;

/// Most readings between sender and broker: what fits into the receive buffer (4 MiB, at less than
/// 1 KiB a datagram as the kernel counts), so that a datagram that is lost is the gateway's fault.
const OUTSTANDING: u64 = 4000;

/// Sends every reading as one datagram.
pub(crate) fn send_datagrams(ledger: &Ledger, to: SocketAddr) -> Outcome<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    for index in ledger.indexes() {
        ledger.wait_for_room(OUTSTANDING)?;
        let datagram = super::json(index);
        ledger.handle_sent(index);
        socket.send(datagram.as_bytes())?;
    }
    Ok(())
}
