//! One POST per report over a connection that stays open (RFC 9112).

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use proto::Reading;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::reconnect::Reconnect;
use super::{PATIENCE, Surroundings};
use crate::Via;
use crate::device::Device;
use crate::payload::Payload;

/// Posts to a gateway.
#[derive(Clone, Debug)]
pub struct HttpUplink {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// What it is called there: a host and a port.
    pub host: String,
    /// The resource that takes reports.
    pub path: String,
    /// What is in them.
    pub payload: Payload,
}

impl HttpUplink {
    /// Connects again whenever the connection is gone. A report whose answer was lost with it is not
    /// posted again: the device forgets it, and the gateway owes nothing.
    pub(super) async fn run(
        self,
        mut device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) {
        let mut reconnect = Reconnect::new(self.gateway);
        while let Some(stream) = reconnect.next(device.id(), &surroundings, &stop).await {
            if let Err(error) = self.serve(stream, &mut device, &surroundings, &stop).await {
                tracing::debug!(device = device.id(), %error, "no connection");
            }
        }
    }

    /// Until the connection ends, the device goes away, or `stop`.
    async fn serve(
        &self,
        stream: TcpStream,
        device: &mut Device,
        surroundings: &Surroundings,
        stop: &CancellationToken,
    ) -> hyper::Result<()> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "requests may wait for each other");
        }
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::pin!(connection);
        let clock = surroundings.clock;
        let mut has_sent = false;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                ended = &mut connection => return ended,
                () = clock.sleep_until(device.poll_timeout()) => {}
            }
            if device.is_back() && has_sent {
                return Ok(());
            }
            let Some(readings) = surroundings.take_due(device, Via::Http) else { continue };
            has_sent = true;
            let Ok(request) = self.request(&readings) else {
                surroundings.ledger.handle_unanswered(&readings);
                continue;
            };
            let give_up = clock.sleep_until(clock.now() + PATIENCE);
            tokio::select! {
                answer = requests.send_request(request) => match answer {
                    Ok(answer) if answer.status().is_success() => {
                        surroundings.ledger.handle_acknowledged(&readings);
                    }
                    Ok(answer) => {
                        tracing::debug!(device = device.id(), status = %answer.status(), "refused");
                        surroundings.ledger.handle_refused(&readings);
                    }
                    Err(error) => {
                        surroundings.ledger.handle_unanswered(&readings);
                        return Err(error);
                    }
                },
                ended = &mut connection => {
                    surroundings.ledger.handle_unanswered(&readings);
                    return ended;
                }
                () = give_up => {
                    surroundings.ledger.handle_unanswered(&readings);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn request(&self, readings: &[Reading]) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        Request::post(format!("/{}", self.path))
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, media_type(&self.payload))
            .body(Full::new(self.payload.encode(readings).into()))
    }
}

/// What a payload is called (RFC 8428 §12.3 for SenML).
pub const fn media_type(payload: &Payload) -> &'static str {
    match payload {
        Payload::SenmlJson => "application/senml+json",
        Payload::SenmlCbor => "application/senml+cbor",
        Payload::Json => "application/json",
        Payload::Csv => "text/csv",
        Payload::Binary(_) => "application/octet-stream",
        Payload::Keyvalue | Payload::Text(_) | Payload::Nmea(_) | Payload::Dsmr(_) => "text/plain",
    }
}
