//! Clients that connect and send frames.

mod roads;

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::frame::FrameError;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::roads::{Dispatcher, Road, Roads};
use super::clients::{Clients, listen};
use super::ear::{Ear, Offered};
use super::framed::Framed;
use super::speaker::Speaker;
use super::{Context, SourceError};
use crate::commands::Orders;
use crate::config::TcpLink;
use crate::frame::Unframed;
use crate::pipeline::Receipt;
use crate::store::NotStored;

/// Frames of one client that wait for their reply; then it is not read until one is settled.
const PENDING_REPLIES: usize = 512;
/// A client that takes no replies for this long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A TCP listener.
pub(crate) struct TcpSource {
    context: Arc<Context>,
    clients: Clients,
    reply: bool,
    roads: Arc<Roads>,
    dispatcher: Dispatcher,
}

impl TcpSource {
    pub(super) fn open(
        context: Context,
        link: &TcpLink,
        orders: Option<Orders>,
    ) -> Result<Self, SourceError> {
        let listener = listen(link.bind);
        let listener =
            listener.map_err(|source| context.bind_error("link.bind", link.bind, source))?;
        let address = listener.local_addr().unwrap_or(link.bind);
        info!(source = %context.name, %address, "listening for TCP");
        context.status.set_listening(vec![address]);
        let clients = Clients::new(vec![listener], link.max_clients);
        let (roads, dispatcher) = Roads::new(orders);
        let (context, roads) = (context.into(), roads.into());
        Ok(Self { context, clients, reply: link.reply, roads, dispatcher })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        let Self { context, clients, reply, roads, dispatcher } = self;
        let serve = |stream, peer| {
            let (context, roads) = (Arc::clone(&context), Arc::clone(&roads));
            let (road, orders) = Roads::open();
            let client = Client { context, peer, reply, roads, road, ear: Ear::default() };
            client.run(stream, orders, stop.clone())
        };
        tokio::select! {
            () = clients.run(&context, &stop, serve) => {}
            never = dispatcher.run(&roads) => match never {},
        }
    }
}

/// One connection.
struct Client {
    context: Arc<Context>,
    peer: SocketAddr,
    reply: bool,
    roads: Arc<Roads>,
    /// The one to this client.
    road: Road,
    ear: Ear,
}

/// A reply in the order of the frames.
enum Reply {
    Waiting(Receipt),
    Ready(String),
}

impl Client {
    async fn run(self, mut stream: TcpStream, orders: Orders, stop: CancellationToken) {
        debug!(source = %self.context.name, peer = %self.peer, "connected");
        let mut framed = Framed::new(self.context.cutting.framer(), &self.context.cutting);
        let (reader, writer) = stream.split();
        let writer = Mutex::new(writer);
        let mut speaker = Speaker::new(Some(orders), None);
        let end = tokio::select! {
            end = self.serve(reader, &writer, &mut framed, stop) => end,
            end = speaker.speak(&writer, &self.ear) => Err(end),
        };
        if let Err(error) = &end {
            debug!(source = %self.context.name, peer = %self.peer, %error, "disconnected");
        }
        speaker.handle_gone("the connection has ended").await;
        for order in speaker.close() {
            self.roads.give_back(order).await;
        }
        // Without an end half a number is a wrong one; what needs no end is whole now.
        framed.end();
        while let Some(frame) = framed.poll_frame() {
            self.context.take(frame, self.peer.ip().to_canonical()).await;
        }
    }

    async fn serve(
        &self,
        mut reader: ReadHalf<'_>,
        writer: &Mutex<WriteHalf<'_>>,
        framed: &mut Framed,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let mut replies: VecDeque<Reply> = VecDeque::new();
        let mut open = true;
        while open || !replies.is_empty() {
            tokio::select! {
                () = stop.cancelled(), if open => open = false,
                read = framed.fill(&mut reader), if open && replies.len() < PENDING_REPLIES => {
                    open = read?;
                    if !open {
                        framed.end();
                    }
                    while let Some(frame) = framed.poll_frame() {
                        let reply = self.handle_frame(frame).await;
                        replies.extend(reply.filter(|_| self.reply));
                    }
                }
                line = next_reply(&mut replies), if !replies.is_empty() => {
                    replies.pop_front();
                    let text = self.gather(line, &mut replies);
                    let mut writer = writer.lock().await;
                    timeout(WRITE_TIMEOUT, writer.write_all(text.as_bytes())).await??;
                }
            }
        }
        Ok(())
    }

    async fn handle_frame(&self, frame: Result<&[u8], FrameError>) -> Option<Reply> {
        let refused = |why: &dyn Display| Some(Reply::Ready(format!("error: {why}\n")));
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.context.unframed(error, self.peer);
                // Bytes between frames were not meant to be one.
                let is_frame = !matches!(error, FrameError::Resync { .. });
                return refused(&Unframed(error)).filter(|_| is_frame);
            }
        };
        if self.ear.offer(frame) == Offered::IsTaken {
            return None;
        }
        let readings = match self.context.decode(frame, self.peer.ip().to_canonical()) {
            Ok(readings) => readings,
            Err(error) => return refused(&error),
        };
        self.roads.note(&readings, &self.road);
        // Waiting for room here stops the reading, and the client feels it.
        match self.context.inlet.submit(readings).await {
            Ok(receipt) => Some(Reply::Waiting(receipt)),
            Err(busy) => refused(&busy),
        }
    }

    /// The text of a settled reply and of those behind it that are settled too.
    fn gather(&self, first: ReplyLine, replies: &mut VecDeque<Reply>) -> String {
        let mut text = self.line(first);
        while let Some(reply) = replies.front_mut() {
            let line = match reply {
                Reply::Ready(line) => ReplyLine::Text(std::mem::take(line)),
                Reply::Waiting(receipt) => match receipt.try_recv() {
                    Ok(outcome) => ReplyLine::Outcome(outcome),
                    Err(_) => break,
                },
            };
            replies.pop_front();
            text.push_str(&self.line(line));
        }
        text
    }

    fn line(&self, line: ReplyLine) -> String {
        match line {
            ReplyLine::Text(text) => text,
            ReplyLine::Outcome(Ok(())) => "ok\n".to_owned(),
            ReplyLine::Outcome(Err(why)) => {
                self.context.not_stored(why);
                format!("error: {why}\n")
            }
        }
    }
}

/// What a reply has become.
enum ReplyLine {
    Text(String),
    Outcome(Result<(), NotStored>),
}

/// Waits for the first reply; it stays at the front, so that giving up loses nothing.
async fn next_reply(replies: &mut VecDeque<Reply>) -> ReplyLine {
    match replies.front_mut() {
        Some(Reply::Ready(line)) => ReplyLine::Text(std::mem::take(line)),
        Some(Reply::Waiting(receipt)) => {
            let outcome = receipt.await;
            ReplyLine::Outcome(outcome.unwrap_or(Err(NotStored::Failed)))
        }
        None => std::future::pending().await,
    }
}
