//! The requests of orders at one socket: what its loop is asked to send, and whom it tells what came of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proto::Instant;
use proto::coap::{CallError, CallEvent, CallId, Code, Node, Request, RequestError, Response};
use tokio::sync::{mpsc, oneshot};

use crate::config::ResourcePath;

/// Requests that wait for a loop; whoever has another one waits too.
const ASKED: usize = 64;

/// Why a request has no response.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(in crate::source) enum Fault {
    #[error(transparent)]
    Call(#[from] CallError),
    /// It answers, and tells nothing later.
    #[error("the node does not let this resource be observed")]
    NotObservable,
    /// The operator wants it.
    #[error("`link.resources` wants this resource; an order cannot end that")]
    Configured,
    #[error("the source observes nothing that it is ordered to")]
    NotHere,
    #[error("the source has no room for another resource to observe")]
    NoRoom,
}

/// What comes of a request, or of a wish to observe.
pub(in crate::source) type Ended = Result<Response, Fault>;

/// A wish to observe a resource, or to observe it no more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::source) struct Watching {
    /// What the wish is called.
    pub(in crate::source) number: u64,
    pub(in crate::source) device: String,
    pub(in crate::source) path: ResourcePath,
    pub(in crate::source) begins: bool,
}

/// What a wish to observe leads to.
#[derive(PartialEq, Debug)]
pub(in crate::source) enum Watched {
    /// The core tells it by its number later.
    Waits,
    /// It is this request.
    Call(CallId),
    /// Nothing is to be done, or can be; without a fault it is so already.
    Ended(Option<Fault>),
}

/// Sends requests: the core of a loop.
pub(in crate::source) trait Requests {
    fn request(
        &mut self,
        now: Instant,
        to: SocketAddr,
        request: Request,
    ) -> Result<CallId, RequestError>;

    fn cancel(&mut self, now: Instant, call: CallId);

    /// Begins or ends to observe a resource, whose states become readings.
    fn watch(&mut self, _: Instant, _: Watching) -> Watched {
        Watched::Ended(Some(Fault::NotHere))
    }

    /// Wants no more what waits with this number.
    fn give_up_watch(&mut self, _: Instant, _: u64) {}
}

/// What a loop is asked.
pub(in crate::source) enum Asked {
    /// To send a request.
    Request { to: SocketAddr, request: Request, told: Told },
    /// To observe something, or not to any more.
    Watch { device: String, path: ResourcePath, begins: bool, told: Told },
    /// Not to wait for its answer any more, nor to send it again.
    GiveUp { number: u64 },
}

/// Whom to tell what came of a request.
pub(in crate::source) struct Told {
    number: u64,
    acknowledged: Option<oneshot::Sender<()>>,
    ended: oneshot::Sender<Ended>,
}

/// Asks a loop.
#[derive(Clone)]
pub(in crate::source) struct Caller {
    asked: mpsc::Sender<Asked>,
    last: Arc<AtomicU64>,
}

/// A request under way; given up where it is dropped.
pub(in crate::source) struct Call {
    number: u64,
    asked: mpsc::Sender<Asked>,
    /// Resolves where the node has the request, and answers it later.
    pub(super) acknowledged: oneshot::Receiver<()>,
    pub(super) ended: oneshot::Receiver<Ended>,
}

/// The requests of a loop.
pub(in crate::source) struct Calls {
    asked: mpsc::Receiver<Asked>,
    open: BTreeMap<CallId, Told>,
    by_number: BTreeMap<u64, CallId>,
    watching: BTreeMap<u64, Told>,
}

impl Caller {
    /// Has a request sent; `None` when the source is stopping.
    pub(super) async fn call(&self, to: SocketAddr, request: Request) -> Option<Call> {
        self.ask(|told| Asked::Request { to, request, told }).await
    }

    /// Has a resource of a device observed, or not any more; the same.
    pub(super) async fn watch(
        &self,
        device: String,
        path: ResourcePath,
        begins: bool,
    ) -> Option<Call> {
        self.ask(|told| Asked::Watch { device, path, begins, told }).await
    }

    async fn ask(&self, what: impl FnOnce(Told) -> Asked) -> Option<Call> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let (acknowledging, acknowledged) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let told = Told { number, acknowledged: Some(acknowledging), ended: ending };
        self.asked.send(what(told)).await.ok()?;
        Some(Call { number, asked: self.asked.clone(), acknowledged, ended })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Where there is no room CoAP gives it up some time later.
        let _ = self.asked.try_send(Asked::GiveUp { number: self.number });
    }
}

impl Calls {
    /// None yet, and who asks for them.
    pub(in crate::source) fn new() -> (Caller, Self) {
        let (asking, asked) = mpsc::channel(ASKED);
        let caller = Caller { asked: asking, last: Arc::default() };
        let (open, by_number, watching) = Default::default();
        (caller, Self { asked, open, by_number, watching })
    }

    /// Waits for what [`handle_asked`](Self::handle_asked) takes; for ever where nobody asks.
    pub(in crate::source) async fn asked(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }

    pub(in crate::source) fn handle_asked(
        &mut self,
        now: Instant,
        core: &mut impl Requests,
        asked: Asked,
    ) {
        match asked {
            Asked::Request { to, request, told } => match core.request(now, to, request) {
                Ok(call) => self.insert(call, told),
                Err(error) => told.end(Err(CallError::from(error).into())),
            },
            Asked::Watch { device, path, begins, told } => {
                let watching = Watching { number: told.number, device, path, begins };
                match core.watch(now, watching) {
                    Watched::Waits => drop(self.watching.insert(told.number, told)),
                    Watched::Call(call) => self.insert(call, told),
                    Watched::Ended(None) => told.end(Ok(Response::new(Code::VALID))),
                    Watched::Ended(Some(fault)) => told.end(Err(fault)),
                }
            }
            Asked::GiveUp { number } => {
                if let Some(call) = self.by_number.remove(&number) {
                    self.open.remove(&call);
                    core.cancel(now, call);
                }
                if self.watching.remove(&number).is_some() {
                    core.give_up_watch(now, number);
                }
            }
        }
    }

    fn insert(&mut self, call: CallId, told: Told) {
        self.by_number.insert(told.number, call);
        self.open.insert(call, told);
    }

    /// Takes what came of a wish to observe.
    pub(in crate::source) fn handle_watched(&mut self, number: u64, ended: Ended) {
        if let Some(told) = self.watching.remove(&number) {
            told.end(ended);
        }
    }

    /// Takes what came of a request, unless it is of somebody else: then it is given back.
    pub(in crate::source) fn handle_event(
        &mut self,
        event: CallEvent<SocketAddr>,
    ) -> Option<CallEvent<SocketAddr>> {
        let (call, ended) = match event {
            CallEvent::Acknowledged { call } => {
                let told = self.open.get_mut(&call);
                match told.map(|told| told.acknowledged.take()) {
                    Some(acknowledged) => {
                        // Who has asked may be gone.
                        acknowledged.map(|acknowledged| acknowledged.send(()));
                        return None;
                    }
                    None => return Some(CallEvent::Acknowledged { call }),
                }
            }
            event @ CallEvent::Notification { .. } => return Some(event),
            CallEvent::Response { call, from, response } => match self.open.contains_key(&call) {
                true => (call, Ok(response)),
                false => return Some(CallEvent::Response { call, from, response }),
            },
            CallEvent::Failed { call, error } => match self.open.contains_key(&call) {
                true => (call, Err(error)),
                false => return Some(CallEvent::Failed { call, error }),
            },
        };
        let told = self.open.remove(&call)?;
        self.by_number.remove(&told.number);
        told.end(ended.map_err(Fault::from));
        None
    }
}

impl Told {
    fn end(self, ended: Ended) {
        // Who has asked may be gone.
        let _ = self.ended.send(ended);
    }
}

impl Requests for Node<SocketAddr> {
    fn request(
        &mut self,
        now: Instant,
        to: SocketAddr,
        request: Request,
    ) -> Result<CallId, RequestError> {
        self.request(now, to, request)
    }

    fn cancel(&mut self, now: Instant, call: CallId) {
        self.cancel(now, call);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proto::coap::{FailReason, Method, NodeConfig};

    use super::*;

    /// A core that sends nothing.
    struct Silent {
        node: Node<SocketAddr>,
        given_up: Vec<CallId>,
    }

    impl Requests for Silent {
        fn request(
            &mut self,
            now: Instant,
            to: SocketAddr,
            request: Request,
        ) -> Result<CallId, RequestError> {
            self.node.request(now, to, request)
        }

        fn cancel(&mut self, _: Instant, call: CallId) {
            self.given_up.push(call);
        }
    }

    #[test]
    fn each_caller_is_told_what_came_of_its_own_request() {
        let (caller, mut calls) = Calls::new();
        let mut core = Silent { node: Node::new(NodeConfig::default(), 1), given_up: Vec::new() };
        let peer: SocketAddr = "127.0.0.1:5683".parse().unwrap();
        let request =
            || caller.call(peer, Request::new(Method::Get)).now_or_never().unwrap().unwrap();
        let (mut first, mut second, third) = (request(), request(), request());
        let mut ids = Vec::new();
        for _ in 0..3 {
            let asked = calls.asked().now_or_never().unwrap();
            calls.handle_asked(Instant::ZERO, &mut core, asked);
            ids.extend(
                calls.open.keys().filter(|id| !ids.contains(*id)).copied().collect::<Vec<_>>(),
            );
        }
        let event = CallEvent::Acknowledged { call: ids[1] };
        assert_eq!(calls.handle_event(event), None);
        assert_eq!(
            (second.acknowledged.try_recv(), first.acknowledged.try_recv().ok()),
            (Ok(()), None)
        );
        let error = CallError::Exchange(FailReason::Timeout);
        assert_eq!(calls.handle_event(CallEvent::Failed { call: ids[0], error }), None);
        assert_eq!(first.ended.try_recv(), Ok(Err(Fault::Call(error))));

        // Whoever does not wait any more has it given up.
        drop(third);
        let asked = calls.asked().now_or_never().unwrap();
        calls.handle_asked(Instant::ZERO, &mut core, asked);
        assert_eq!(core.given_up, [ids[2]]);
        let foreign = CallEvent::Failed { call: ids[2], error };
        assert_eq!(calls.handle_event(foreign.clone()), Some(foreign), "it is of nobody here");
        assert_eq!((calls.open.len(), calls.by_number.len()), (1, 1));
    }
}
