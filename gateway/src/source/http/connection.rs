//! One connection: hyper on a socket that does not wait for ever.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Timer;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};
use tracing::debug;

use super::resources::Resources;

/// Bytes of the head of a request, and of a body that are read at a time: a longer head is answered
/// with 431 (RFC 6585 §5).
const MAX_HEAD: usize = 16 * 1024;
/// Lines of a head; the same.
const MAX_LINES: usize = 64;
/// How long a client may take to close its side. Closing before it has would throw away what it was
/// sent last, where it is still sending (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
/// How long requests that are under way at the end may take.
const GRACE: Duration = Duration::from_secs(5);

/// Runs until the connection is closed, or until the gateway stops and what is under way is answered.
/// `timer` ends what takes too long before there is a request.
pub(super) async fn serve(
    resources: Arc<Resources>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    timer: impl Timer + Send + Sync + 'static,
) {
    let name = &resources.context.name;
    debug!(source = %name, %peer, "connected");
    let service = service_fn(|request| {
        let resources = &resources;
        async move { Ok::<_, Infallible>(resources.answer(peer, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(timer)
        .header_read_timeout(resources.timeout)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_LINES);
    let io = TokioIo::new(Patient::new(stream, resources.timeout));
    let mut connection = pin!(builder.serve_connection(io, service));
    let end = tokio::select! {
        end = connection.as_mut() => end,
        () = resources.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = &end {
        if error.is_parse() {
            resources.context.refuse("malformed", peer, error, b"");
        } else if is_stalled(error) {
            resources.context.refuse("slow_client", peer, "it does not take its answer", b"");
        }
    }
    debug!(source = %name, %peer, error = ?end.err(), "disconnected");
}

fn is_stalled(error: &hyper::Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

/// A stream whose writes fail when the client takes nothing for a while, and whose end waits a moment
/// for the client's.
struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Set while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Set once this side is closed.
    lingers: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stalled: None, lingers: None }
    }

    fn poll_written<T>(
        &mut self,
        task: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(task));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(task, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.poll_written(task, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(task);
        self.poll_written(task, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(task))?;
        }
        // First the time, so that a client that goes on sending cannot stretch it.
        let lingers = self.lingers.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if lingers.as_mut().poll(task).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(task, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
