//! One line per report over a connection, and one reply line for each.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use futures_util::StreamExt as _;
use proto::{Instant, Reading};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;

use super::reconnect::Reconnect;
use super::{PATIENCE, Surroundings};
use crate::Via;
use crate::device::Device;
use crate::payload::Payload;

/// The reply that means that the readings of a line were taken.
pub const TAKEN: &str = "ok";
/// The longest reply line.
const MAX_REPLY: usize = 1024;
/// Lines without a reply; then nothing more is written until one comes.
pub const MAX_OPEN: usize = 256;

/// Lines over a connection.
#[derive(Clone, Debug)]
pub struct TcpUplink {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// What is in a line.
    pub payload: Payload,
}

impl TcpUplink {
    /// Connects again whenever the connection is gone. Lines that had no reply are not written
    /// again: the device forgets them, and the gateway owes nothing.
    pub(super) async fn run(
        self,
        mut device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) {
        let mut reconnect = Reconnect::new(self.gateway);
        while let Some(stream) = reconnect.next(device.id(), &surroundings, &stop).await {
            let mut open = VecDeque::new();
            let served = self.serve(stream, &mut device, &surroundings, &stop, &mut open).await;
            open.iter().for_each(|readings| surroundings.ledger.handle_unanswered(readings));
            if let Err(error) = served {
                tracing::debug!(device = device.id(), %error, "no connection");
            }
        }
    }

    /// Until the connection ends, the device goes away, or `stop` and the last reply.
    async fn serve(
        &self,
        mut stream: TcpStream,
        device: &mut Device,
        surroundings: &Surroundings,
        stop: &CancellationToken,
        open: &mut VecDeque<Vec<Reading>>,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let clock = surroundings.clock;
        let (reader, mut writer) = stream.split();
        let mut replies = FramedRead::new(reader, LinesCodec::new_with_max_length(MAX_REPLY));
        let mut leave_at = Instant::FAR_FUTURE;
        let mut has_sent = false;
        loop {
            let stopping = stop.is_cancelled();
            if stopping && (open.is_empty() || clock.now() >= leave_at) {
                return Ok(());
            }
            let may_write = !stopping && open.len() < MAX_OPEN;
            tokio::select! {
                () = stop.cancelled(), if !stopping => leave_at = clock.now() + PATIENCE,
                () = clock.sleep_until(leave_at), if stopping => {}
                () = clock.sleep_until(device.poll_timeout()), if may_write => {
                    if device.is_back() && has_sent {
                        return Ok(());
                    }
                    has_sent = true;
                    if let Some(readings) = surroundings.take_due(device, Via::Tcp) {
                        let line = self.payload.encode_line(&readings);
                        open.push_back(readings);
                        writer.write_all(&line).await?;
                    }
                }
                reply = replies.next() => {
                    let reply = reply.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
                    let Some(readings) = open.pop_front() else { continue };
                    if reply == TAKEN {
                        surroundings.ledger.handle_acknowledged(&readings);
                    } else {
                        tracing::debug!(device = device.id(), %reply, "refused");
                        surroundings.ledger.handle_refused(&readings);
                    }
                }
            }
        }
    }
}
