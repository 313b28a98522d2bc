//! What a request means.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Version};
use proto::Reading;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::body::{Bodies, Body};
use super::commands::Commands;
use super::events::Watchers;
use super::media::Media;
use super::posted::{self, NO_SUCH_PATH, Posted};
use super::refusal::Refusal;
use super::target::Target;
use super::{page, shown};
use crate::clock;
use crate::source::Context;
use crate::source::latest::Latest;
use crate::store::NotStored;

/// How long a client waits for the disk before it is told to send again: what it has sent may have
/// been stored, or may be yet.
const STORE_TIME: Duration = Duration::from_secs(60);

/// An answer to a request.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What a source serves, over all of its connections.
pub(super) struct Resources {
    pub(super) context: Context,
    pub(super) latest: Arc<Latest>,
    pub(super) access: Access,
    pub(super) bodies: Bodies,
    pub(super) watchers: Watchers,
    /// Those that devices fetch, where any are configured.
    pub(super) commands: Option<Commands>,
    /// How long a client may take for anything.
    pub(super) timeout: Duration,
    /// The gateway stops.
    pub(super) stop: CancellationToken,
}

impl Resources {
    /// Does what a client of `peer` wants, and answers when it is done.
    pub(super) async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Answer {
        let answer = self.handle(peer, request).await;
        let mut answer = answer.unwrap_or_else(|refusal| {
            if let Some(reason) = refusal.reason {
                self.context.refuse(reason, peer, &refusal.why, b"");
            }
            refusal.into_answer()
        });
        let headers = answer.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        answer
    }

    async fn handle(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Answer, Refusal> {
        // RFC 9112 §3.2
        let hosts = request.headers().get_all(header::HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            return Err(Refusal::malformed("a request has one Host (RFC 9112 §3.2)"));
        }
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let target = Target::of(path).ok_or_else(|| Refusal::not_found(NO_SUCH_PATH))?;
        let accept = request.headers().get(header::ACCEPT);
        let accept = accept.map(|accept| accept.to_str().unwrap_or_default());
        match (request.method(), &target) {
            (&Method::OPTIONS, _) => Ok(options(target.methods())),
            (&Method::GET | &Method::HEAD, Target::Page(name)) => Ok(page::part(name)),
            (&Method::GET | &Method::HEAD, Target::Ping) => Ok(pong()),
            (&Method::GET | &Method::HEAD, Target::Events) => {
                self.access.check_token(request.headers())?;
                self.watchers.watch(Arc::clone(&self.latest), self.stop.clone())
            }
            (
                &Method::GET | &Method::HEAD,
                Target::Readings | Target::Device(_) | Target::Value { .. },
            ) => {
                self.access.check_token(request.headers())?;
                shown::show(&self.latest, &target, accept)
            }
            (
                &Method::POST | &Method::PUT,
                Target::Readings | Target::Device(_) | Target::Value { .. },
            )
            | (&Method::POST, Target::Write { .. }) => self.post(peer, request, &target).await,
            (&Method::GET, Target::Command { device, wait }) => {
                self.access.check_token(request.headers())?;
                self.commands()?.ask(device, wait.as_deref()).await
            }
            (&Method::POST, Target::Outcome { device, id }) => {
                let (_, body) = self.receive(request).await?;
                self.commands()?.answer(device, id, &body.bytes).await
            }
            _ => Err(Refusal::not_allowed(target.methods())),
        }
    }

    async fn post(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
        target: &Target,
    ) -> Result<Answer, Refusal> {
        let (headers, body) = self.receive(request).await?;
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.map(|value| value.to_str().unwrap_or("?"));
        let (now, media, bytes) = (clock::wall(), Media::of(content_type), &body.bytes);
        let reader = &self.context.reader;
        let parts = posted::parts(Posted { reader, now, media, bytes }.drafts(target)?)?;
        self.context.status.received(bytes.len());
        let peer = peer.ip().to_canonical();
        let settle = |part| self.context.settle(part, now, peer, || peer.to_string(), bytes);
        let parts = parts.into_iter().map(settle).collect::<Result<Vec<_>, _>>();
        let parts = parts.map_err(|error| Refusal::decode(&error))?;
        let count: usize = parts.iter().map(Vec::len).sum();
        let has_command = self.commands.as_ref().is_some_and(|commands| {
            let devices = parts.iter().flatten().map(|reading| reading.device.as_str());
            commands.has_any(devices)
        });
        self.store(parts).await?;
        let says_nothing = matches!(target, Target::Write { .. });
        Ok(if says_nothing { empty() } else { accepted(count, has_command) })
    }

    /// The head and the body of a request that changes something, if it may.
    async fn receive(&self, request: Request<Incoming>) -> Result<(HeaderMap, Body), Refusal> {
        let (head, body) = request.into_parts();
        self.access.check_token(&head.headers)?;
        Access::check_origin(&head.headers)?;
        let body = tokio::select! {
            body = self.bodies.receive(&head.headers, body) => body?,
            () = self.stop.cancelled() => return Err(Refusal::busy("the gateway is stopping")),
        };
        Ok((head.headers, body))
    }

    fn commands(&self) -> Result<&Commands, Refusal> {
        let none = || Refusal::not_found("no operation of this source is fetched");
        self.commands.as_ref().ok_or_else(none)
    }

    /// Waits until everything is on disk.
    async fn store(&self, parts: Vec<Vec<Reading>>) -> Result<(), Refusal> {
        let mut receipts = Vec::with_capacity(parts.len());
        for part in parts {
            // What is begun goes on as soon as there is room.
            let receipt = match receipts.is_empty() {
                true => self.context.inlet.try_submit(part, None),
                false => self.context.inlet.submit(part).await,
            };
            receipts.push(receipt.map_err(Refusal::busy)?);
        }
        let settled = timeout(STORE_TIME, async {
            for receipt in receipts {
                receipt.await.unwrap_or(Err(NotStored::Failed))?;
            }
            Ok(())
        });
        match settled.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => {
                self.context.not_stored(why);
                Err(Refusal::not_stored(why))
            }
            Err(_) => Err(Refusal::busy("the disk takes long; send it again")),
        }
    }
}

/// An answer with a body.
pub(super) fn content(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
}

/// The answer when so many readings are on disk; it says whether a command waits for their device.
fn accepted(readings: usize, has_command: bool) -> Answer {
    let command = if has_command { ",\"command\":true" } else { "" };
    let mut answer = content("application/json", format!("{{\"readings\":{readings}{command}}}\n"));
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

/// The answer that says nothing but that it is done.
pub(super) fn empty() -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// The answer to a client of InfluxDB that asks who is there; some end without a version.
fn pong() -> Answer {
    const VERSION: &str = concat!("gateway ", env!("CARGO_PKG_VERSION"));
    let mut answer = empty();
    let version = HeaderName::from_static("x-influxdb-version");
    answer.headers_mut().insert(version, HeaderValue::from_static(VERSION));
    answer
}

/// What a path has (RFC 9110 §9.3.7). Pages of other servers are allowed nothing, so that nothing is
/// said of them.
fn options(methods: &'static str) -> Answer {
    let mut answer = empty();
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}
