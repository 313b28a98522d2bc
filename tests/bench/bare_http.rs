//! The least that takes posts: a hyper server that reads each body and answers 202. Nothing is
//! read of it but the number that the ledger knows a reading by, nothing is passed on, and what is
//! kept is a piece of a plain file.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Outcome;
use super::ledger::Ledger;
use super::log::{Entry, Log};
use super::process::own_thread_cpu;

/// A server on a thread and a runtime of its own.
pub(crate) struct BareHttp {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Outcome<Duration>>,
    log: Option<Log>,
}

/// What every connection has.
#[derive(Clone)]
struct Service {
    ledger: Arc<Ledger>,
    log: Option<mpsc::SyncSender<Entry>>,
}

impl BareHttp {
    /// Starts it; one with a folder answers when its file is synced.
    pub(crate) fn start(ledger: &Arc<Ledger>, dir: Option<&Path>) -> Outcome<Self> {
        let log = dir.map(Log::create).transpose()?;
        let inlet = log.as_ref().map(|log| log.inlet.clone());
        let service = Service { ledger: Arc::clone(ledger), log: inlet };
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                serve(listener, &service, stopped).await?;
                own_thread_cpu()
            })
        });
        Ok(Self { address, stop, thread, log })
    }

    /// Ends it; the processor time that it has used.
    pub(crate) fn stop(self) -> Outcome<Duration> {
        self.stop.send(()).map_err(|()| "the server ended early")?;
        let network = self.thread.join().map_err(|_| "the server panicked")??;
        Ok(network + self.log.map(Log::stop).transpose()?.unwrap_or_default())
    }
}

async fn serve(
    listener: TcpListener,
    service: &Service,
    mut stop: oneshot::Receiver<()>,
) -> Outcome<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => return Ok(()),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn(service.clone().answer_all(stream));
            }
        }
    }
}

impl Service {
    /// Until the client closes the connection. An error is the client's too, as a missing answer.
    async fn answer_all(self, stream: TcpStream) {
        let service = service_fn(|request| self.answer(request));
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Outcome<Response<Full<Bytes>>> {
        let body = request.into_body().collect().await?.to_bytes();
        self.ledger.handle_arrived(&body, self.ledger.clock().now());
        if let Some(log) = &self.log {
            let (synced, is_synced) = oneshot::channel();
            log.send(Entry { bytes: body, synced })?;
            is_synced.await?;
        }
        let mut response = Response::new(Full::from(r#"{"readings":1}"#));
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }
}
