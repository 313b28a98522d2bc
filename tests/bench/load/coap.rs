//! Confirmable POSTs of plain values (RFC 7252), each answered by a piggybacked response.
//!
//! The datagrams are made by hand, with a message id and a token of their own each: the generator
//! costs little beside what it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::DEVICES;
use crate::Outcome;
use crate::ledger::Ledger;

/// Client sockets; the server tells peers apart by address.
const SOCKETS: u32 = 8;
/// Longest wait for an answer: before the first retransmission, of which there are none here.
const PATIENCE: Duration = Duration::from_secs(5);
/// ACK, token of four bytes, 2.04: how every answer has to begin (RFC 7252 §3).
const CHANGED: [u8; 2] = [0x64, 0x44];

/// How fast to send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CoapLoad {
    /// As fast as answers come, with so many requests without one.
    Window(u32),
    /// One request in so long, whatever comes.
    Every(Duration),
}

impl CoapLoad {
    /// Posts every reading.
    pub(crate) fn send(self, ledger: &Arc<Ledger>, to: SocketAddr) -> Outcome<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.send_all(ledger, to))
    }

    async fn send_all(self, ledger: &Arc<Ledger>, to: SocketAddr) -> Outcome<()> {
        let mut clients = JoinSet::new();
        for number in 0..SOCKETS {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            socket.connect(to).await?;
            let step = usize::try_from(SOCKETS)?;
            let indexes = ledger.indexes().skip(usize::try_from(number)?).step_by(step);
            let client = Client { ledger: Arc::clone(ledger), socket };
            match self {
                Self::Window(window) => clients.spawn(client.in_window(indexes, window / SOCKETS)),
                Self::Every(pause) => {
                    // The sockets take turns.
                    let ticks = interval_at(Instant::now() + pause * number, pause * SOCKETS);
                    clients.spawn(client.paced(indexes, ticks))
                }
            };
        }
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// One socket.
struct Client {
    ledger: Arc<Ledger>,
    socket: UdpSocket,
}

impl Client {
    async fn in_window(self, mut indexes: impl Iterator<Item = u32>, window: u32) -> Outcome<()> {
        let mut waiting = 0;
        for index in indexes.by_ref().take(usize::try_from(window)?) {
            self.post(index).await?;
            waiting += 1;
        }
        while waiting > 0 {
            self.receive().await?;
            match indexes.next() {
                Some(index) => self.post(index).await?,
                None => waiting -= 1,
            }
        }
        Ok(())
    }

    async fn paced(self, indexes: impl Iterator<Item = u32>, mut ticks: Interval) -> Outcome<()> {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut indexes = indexes.peekable();
        let mut waiting = 0;
        while waiting > 0 || indexes.peek().is_some() {
            tokio::select! {
                _ = ticks.tick(), if indexes.peek().is_some() => {
                    if let Some(index) = indexes.next() {
                        self.post(index).await?;
                        waiting += 1;
                    }
                }
                received = self.receive(), if waiting > 0 => {
                    received?;
                    waiting -= 1;
                }
            }
        }
        Ok(())
    }

    async fn post(&self, index: u32) -> Outcome<()> {
        self.ledger.handle_sent(index);
        self.socket.send(&post(index)).await?;
        Ok(())
    }

    async fn receive(&self) -> Outcome<()> {
        let mut buffer = [0; 64];
        let received = timeout(PATIENCE, self.socket.recv(&mut buffer)).await;
        let len = received.map_err(|_| format!("no answer: {}", self.ledger.state()))??;
        let answer = buffer.get(..len).unwrap_or_default();
        match (answer.get(..2), answer.get(4..8)) {
            (Some(head), Some(token)) if head == CHANGED => {
                self.ledger.handle_answered(u32::from_be_bytes(token.try_into()?));
                Ok(())
            }
            _ => Err(format!("not a 2.04: {answer:02x?}").into()),
        }
    }
}

/// POST `/r/th-0001/value` of the index as text, with the index as token.
fn post(index: u32) -> Vec<u8> {
    let [_, _, high, low] = index.to_be_bytes();
    let mut message = vec![0x44, 0x02, high, low];
    message.extend_from_slice(&index.to_be_bytes());
    // Uri-Path is option 11: the first one has the delta, the others have 0 (RFC 7252 §3.1).
    message.extend_from_slice(b"\xb1r\x07");
    message.extend_from_slice(format!("th-{:04}", index % DEVICES).as_bytes());
    message.extend_from_slice(b"\x05value\xff");
    message.extend_from_slice(index.to_string().as_bytes());
    message
}

/// The index in such a message, from its token.
pub(crate) fn reading_index(message: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(message.get(4..8)?.try_into().ok()?))
}
