//! A stream whose failures say what the operator can do.
//!
//! Until the broker has sent a byte, its silence means something: it may want TLS where there is
//! none, or refuse the gateway's certificate, of which TLS 1.3 tells only after the handshake.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tls::Situation;

/// How a TLS record with an alert begins (RFC 8446 §5.1, §6): what a plain client gets from TLS.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// What the stream is made of.
#[derive(Debug)]
pub(super) enum Layer {
    /// TCP.
    Plain,
    /// TLS, and what is known about this connection of it.
    Tls(Situation),
}

/// A stream whose failures say what the operator can do.
#[derive(Debug)]
pub(super) struct Explained<S> {
    stream: S,
    layer: Layer,
    /// Whether the broker has sent something.
    is_answered: bool,
}

impl<S> Explained<S> {
    pub(super) const fn new(stream: S, layer: Layer) -> Self {
        Self { stream, layer, is_answered: false }
    }

    fn explain(&self, error: io::Error) -> io::Error {
        match &self.layer {
            Layer::Plain if !self.is_answered && error.kind() == ErrorKind::ConnectionReset => {
                unanswered()
            }
            Layer::Plain => error,
            Layer::Tls(situation) => situation.explain_io(error, self.is_answered),
        }
    }

    /// The broker closed the connection.
    fn closed(&self) -> io::Result<()> {
        if self.is_answered {
            return Ok(());
        }
        match &self.layer {
            Layer::Plain => Err(unanswered()),
            Layer::Tls(situation) => {
                Err(situation.explain_io(ErrorKind::UnexpectedEof.into(), false))
            }
        }
    }

    fn handle_first(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_first = !std::mem::replace(&mut self.is_answered, true);
        if is_first && matches!(self.layer, Layer::Plain) && bytes.starts_with(&TLS_ALERT) {
            let text = "this is a port of TLS: write mqtts:// in `url`";
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        Ok(())
    }
}

/// A plain broker that ends the connection without a byte.
fn unanswered() -> io::Error {
    let text = "closed without an answer; if this is a port of TLS, write mqtts:// in `url`";
    io::Error::new(ErrorKind::UnexpectedEof, text)
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buf));
        let bytes = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(match read {
            // TLS without a close_notify: MQTT knows by itself where a packet ends.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => this.closed(),
            Err(error) => Err(this.explain(error)),
            Ok(()) if bytes.is_empty() => this.closed(),
            Ok(()) => this.handle_first(bytes),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf));
        Poll::Ready(written.map_err(|error| this.explain(error)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = ready!(Pin::new(&mut this.stream).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| this.explain(error)))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    async fn first_answer(answer: &[u8]) -> io::Result<usize> {
        let (near, mut far) = duplex(64);
        far.write_all(answer).await.unwrap();
        drop(far);
        Explained::new(near, Layer::Plain).read(&mut [0; 64]).await
    }

    #[tokio::test]
    async fn the_first_answer_tells_a_port_of_tls() {
        for answer in [&b"\x15\x03\x01\x00\x02\x02\x46"[..], b""] {
            let error = first_answer(answer).await.unwrap_err().to_string();
            assert!(error.contains("write mqtts://"), "{answer:?}: {error}");
        }
        // CONNACK.
        assert_eq!(first_answer(b"\x20\x02\x00\x00").await.unwrap(), 4);
    }

    #[tokio::test]
    async fn an_end_after_an_answer_is_an_end() {
        let (near, mut far) = duplex(64);
        let mut stream = Explained::new(near, Layer::Plain);
        far.write_all(b"\x20\x02\x00\x00").await.unwrap();
        drop(far);
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 4);
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 0);
    }
}
