//! MQTT in a WebSocket (MQTT 3.1.1 §6, RFC 6455): binary frames are a stream of bytes.
//!
//! Packets need not be aligned with frames, so what is written goes into frames as it comes, and what
//! is in frames is read as one stream. Pings are answered while reading.

#![expect(clippy::wildcard_enum_match_arm, reason = "the errors of the library may grow")]

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes as Payload, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::config::BrokerUrl;

/// The subprotocol (MQTT 3.1.1 §6).
const SUBPROTOCOL: &str = "mqtt";
/// The largest frame that is taken; brokers put some packets into one.
const MAX_INCOMING: usize = 1024 * 1024;
/// The largest frame that is sent.
const MAX_OUTGOING: usize = 16 * 1024;
/// What is gathered before it is written, if nobody flushes.
const BUFFER: usize = 16 * 1024;

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebSocketError {
    #[error("the WebSocket was refused with HTTP status {0}{1}")]
    Status(StatusCode, &'static str),
    #[error(
        "the server does not offer MQTT (`Sec-WebSocket-Protocol: {SUBPROTOCOL}`) there: correct the path in `url`"
    )]
    Subprotocol,
    #[error("the server closed the connection in the WebSocket's handshake")]
    Closed,
    #[error("the WebSocket's handshake failed")]
    Broken(#[source] io::Error),
    #[error("what answers is no WebSocket: {0}")]
    Other(String),
}

/// A WebSocket as a stream of bytes.
pub(super) struct WebSocket<S> {
    frames: WebSocketStream<S>,
    /// What is left of the last frame.
    unread: Bytes,
    /// Whether the end was said to the broker.
    is_closed: bool,
}

/// Does the handshake on `stream`.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    url: &BrokerUrl,
) -> Result<WebSocket<S>, WebSocketError> {
    let uri = url.to_string().parse();
    let uri = uri.map_err(|_| WebSocketError::Other(format!("{url} is no URI")))?;
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(4 * BUFFER)
        .max_frame_size(Some(MAX_INCOMING))
        .max_message_size(Some(MAX_INCOMING));
    let (frames, _) = client_async_with_config(request, stream, Some(config)).await?;
    Ok(WebSocket { frames, unread: Bytes::new(), is_closed: false })
}

impl From<Error> for WebSocketError {
    fn from(error: Error) -> Self {
        match error {
            Error::Http(response) => {
                let advice = match response.status() {
                    StatusCode::NOT_FOUND => ": correct the path in `url`",
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": it is not for everyone",
                    _ => "",
                };
                Self::Status(response.status(), advice)
            }
            Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => Self::Subprotocol,
            Error::Protocol(ProtocolError::HandshakeIncomplete) => Self::Closed,
            Error::Io(error) if error.kind() == ErrorKind::ConnectionReset => Self::Closed,
            Error::Io(error) => Self::Broken(error),
            other => Self::Other(other.to_string()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.unread.has_remaining() {
            match ready!(Pin::new(&mut this.frames).poll_next(cx)) {
                Some(Ok(Message::Binary(payload))) => this.unread = payload,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                // MQTT 3.1.1 §6.0: [MQTT-6.0.0-1].
                Some(Ok(Message::Text(_))) => {
                    let text = "the broker sent text in the WebSocket, which MQTT is not";
                    return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, text)));
                }
                Some(Ok(Message::Close(frame))) => return Poll::Ready(closed(frame)),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let frames = &mut self.get_mut().frames;
        ready!(Pin::new(&mut *frames).poll_ready(cx)).map_err(broken)?;
        let part = buf.get(..MAX_OUTGOING).unwrap_or(buf);
        let message = Message::Binary(Payload::copy_from_slice(part));
        Pin::new(frames).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().frames).poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_closed {
            ready!(Pin::new(&mut this.frames).poll_close(cx)).map_err(broken)?;
            this.is_closed = true;
        }
        Pin::new(this.frames.get_mut()).poll_shutdown(cx)
    }
}

/// The broker ended the WebSocket: an end of the stream, or an error where it says why.
fn closed(frame: Option<CloseFrame>) -> io::Result<()> {
    match frame {
        Some(frame) if !frame.reason.is_empty() => {
            let text = format!("the broker closed the WebSocket: {} {}", frame.code, frame.reason);
            Err(io::Error::new(ErrorKind::ConnectionAborted, text))
        }
        Some(_) | None => Ok(()),
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            ErrorKind::UnexpectedEof.into()
        }
        other => io::Error::new(ErrorKind::InvalidData, other),
    }
}

#[cfg(test)]
mod tests;
