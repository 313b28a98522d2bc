//! An HTTP server without sockets and tasks: hyper on streams in memory, which goes on by the step.
//!
//! What ends by the clock does not end here: connections that are idle, and bodies that come slowly.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use tokio::io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf, duplex};

use super::resources::Resources;
use super::{connection, serves};
use crate::config::HttpLink;
use crate::source::Context;
use crate::source::stepped::{Signal, Told};

/// Bytes that wait in each direction of a stream.
const ROOM: usize = 64 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 4096;

/// A server.
pub(in crate::source) struct SteppedHttp {
    resources: Arc<Resources>,
    clients: BTreeMap<SocketAddr, Client>,
    outgoing: Vec<Told>,
}

/// One that is connected.
struct Client {
    served: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
    stream: DuplexStream,
    /// What it has sent and hyper has not read yet.
    unread: Vec<u8>,
}

impl SteppedHttp {
    pub(in crate::source) fn new(context: Context, link: &HttpLink) -> Self {
        let resources = Arc::new(serves(context, link, Arc::default(), false));
        Self { resources, clients: BTreeMap::new(), outgoing: Vec::new() }
    }

    pub(in crate::source) fn context(&self) -> &Context {
        &self.resources.context
    }

    pub(in crate::source) fn handle_signal(&mut self, peer: SocketAddr, signal: &Signal) {
        match signal {
            Signal::Connected => {
                let (stream, far) = duplex(ROOM);
                let served = connection::serve(Arc::clone(&self.resources), far, peer, Endless);
                let (served, unread) = (Box::pin(served), Vec::new());
                self.clients.insert(peer, Client { served, is_over: false, stream, unread });
            }
            Signal::Bytes(bytes) => {
                if let Some(client) = self.clients.get_mut(&peer) {
                    client.unread.extend_from_slice(bytes);
                }
            }
            Signal::Closed => drop(self.clients.remove(&peer)),
        }
    }

    /// Reads, answers what is on disk by now, and writes; whether there was something to do.
    pub(in crate::source) fn step(&mut self) -> bool {
        let before = self.outgoing.len();
        let (outgoing, mut has_moved) = (&mut self.outgoing, false);
        self.clients.retain(|peer, client| {
            has_moved |= client.step(*peer, outgoing);
            !client.is_over
        });
        has_moved || self.outgoing.len() > before
    }

    pub(in crate::source) fn poll_answers(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.outgoing)
    }
}

impl Client {
    fn step(&mut self, peer: SocketAddr, outgoing: &mut Vec<Told>) -> bool {
        let mut task = TaskContext::from_waker(Waker::noop());
        let mut has_moved = false;
        loop {
            let written = self.write(&mut task);
            self.is_over |= !self.is_over && self.served.as_mut().poll(&mut task).is_ready();
            let bytes = self.read(&mut task);
            has_moved |= written || bytes.is_some();
            match bytes {
                Some(bytes) if bytes.is_empty() => self.is_over = true,
                Some(bytes) => outgoing.push((peer, Signal::Bytes(bytes))),
                None if written && !self.is_over => {}
                None => break,
            }
            if self.is_over {
                break;
            }
        }
        if self.is_over {
            outgoing.push((peer, Signal::Closed));
        }
        has_moved
    }

    /// Whether hyper has room for anything that was sent.
    fn write(&mut self, task: &mut TaskContext<'_>) -> bool {
        if self.unread.is_empty() {
            return false;
        }
        match Pin::new(&mut self.stream).poll_write(task, &self.unread) {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.unread.drain(..count);
                true
            }
            // Hyper reads no more.
            Poll::Ready(Ok(_) | Err(_)) => {
                self.unread.clear();
                false
            }
            Poll::Pending => false,
        }
    }

    /// What hyper has written; nothing at all in it at the end.
    fn read(&mut self, task: &mut TaskContext<'_>) -> Option<Vec<u8>> {
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(task, &mut buffer) {
            Poll::Ready(Ok(())) => Some(buffer.filled().to_vec()),
            Poll::Ready(Err(_)) => Some(Vec::new()),
            Poll::Pending => None,
        }
    }
}

/// A timer for what never takes too long.
#[derive(Clone, Copy, Debug)]
struct Endless;

/// It never ends.
struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for Never {}

impl Timer for Endless {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Never)
    }

    fn sleep_until(&self, _: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Never)
    }
}
