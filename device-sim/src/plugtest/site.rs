//! The resources of the plugtests.

use std::time::Duration;

use proto::Instant;
use proto::coap::content_format::TEXT_PLAIN;
use proto::coap::link_format::{Link, discover};
use proto::coap::{Code, Delivery, Method, Request, ResourceId, Response};

use super::links;
use super::observable::Observable;
use super::representation::Representation;

/// The largest body that a resource takes; a larger one is 4.13.
pub const MAX_BODY: usize = 64 << 10;

/// application/xml (RFC 7252 §12.3)
const XML: u16 = 41;
/// Bytes of `/large`: a first block of 1024 and another one.
const LARGE: usize = 1280;
/// How much faster than others `/obs-pumping` is.
const PUMPING: u32 = 10;
/// The shortest interval, so that a mistaken one does not keep the server busy with itself.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// What becomes of a request.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// A response, ready.
    Now(Response),
    /// The same, of a resource that can be observed.
    Observable(ResourceId, Response),
    /// A response that takes time.
    After(Duration, Response),
}

/// All resources.
///
/// After [`handle_request`](Self::handle_request) and [`handle_timeout`](Self::handle_timeout),
/// which is due at [`next_at`](Self::next_at), call
/// [`poll_notification`](Self::poll_notification) until it gives nothing.
#[derive(Debug)]
pub(super) struct Site {
    links: Vec<Link>,
    path_links: Vec<Link>,
    separate_after: Duration,
    test: Option<Representation>,
    located: Option<Representation>,
    validate: Option<Representation>,
    created: Option<Representation>,
    large_update: Option<Representation>,
    large_created: Option<Representation>,
    observables: [(&'static str, Observable); 5],
}

impl Site {
    pub(super) fn new(now: Instant, interval: Duration, separate_after: Duration) -> Self {
        let interval = interval.max(MIN_INTERVAL);
        let fast = (interval / PUMPING).max(MIN_INTERVAL);
        Self {
            links: links::of_site(),
            path_links: links::of_path(),
            separate_after,
            test: Some(Representation::text("the default test resource")),
            located: None,
            validate: Some(Representation::text("the first version")),
            created: None,
            large_update: Some(large("large-update")),
            large_created: None,
            observables: [
                ("obs", Observable::new(ResourceId(0), now, interval)),
                ("obs-non", Observable::new(ResourceId(1), now, interval)),
                ("obs-large", Observable::large(ResourceId(2), now, interval)),
                ("obs-pumping", Observable::new(ResourceId(3), now, fast)),
                ("obs-reset", Observable::new(ResourceId(4), now, interval)),
            ],
        }
    }

    /// Executes a request.
    pub(super) fn handle_request(&mut self, request: &Request, delivery: Delivery) -> Reply {
        let segments: Vec<&str> = request.segments().collect();
        if let [name] = *segments.as_slice()
            && let Some((_, observable)) = self.observables.iter_mut().find(|(n, _)| *n == name)
        {
            if name == "obs-reset" && request.method == Method::Post {
                observable.reset();
                return Reply::Now(Response::new(Code::CHANGED));
            }
            return observable.handle_request(request);
        }
        Reply::Now(match *segments.as_slice() {
            [".well-known", "core"] => discover(&self.links, request, delivery),
            ["path"] => discover(&self.path_links, request, delivery),
            ["path", sub @ ("sub1" | "sub2" | "sub3")] => read(request, &Representation::text(sub)),
            ["test"] if request.method == Method::Post => {
                self.located = Some(Representation::of(request));
                Response::new(Code::CREATED).location_path("location1/location2/location3")
            }
            ["test"] => store(&mut self.test, request),
            ["location1", "location2", "location3"] => store(&mut self.located, request),
            ["seg1", "seg2", "seg3"] => read(request, &Representation::text("seg1/seg2/seg3")),
            ["query"] => {
                let lines: Vec<&str> = request.queries().collect();
                read(request, &Representation::text(lines.join("\n")))
            }
            ["separate"] => {
                let answer = read(request, &Representation::text("it took a while"));
                return Reply::After(self.separate_after, answer);
            }
            ["large"] => read(request, &large("large")),
            ["large-update"] => store(&mut self.large_update, request),
            ["large-create"] => post(request, || {
                self.large_created = Some(Representation::of(request));
                Response::new(Code::CREATED).location_path("large-create/1")
            }),
            ["large-create", "1"] => store(&mut self.large_created, request),
            ["large-post"] => post(request, || {
                let mut body = Representation::of(request);
                body.payload.make_ascii_uppercase();
                body.carried_by(Code::CHANGED)
            }),
            ["multi-format"] => multi_format(request),
            ["validate"] => store(&mut self.validate, request),
            ["create1"] => store(&mut self.created, request),
            ["location-query"] => post(request, || {
                Response::new(Code::CREATED)
                    .location_path("location-query")
                    .location_query("first=1")
                    .location_query("second=2")
            }),
            ["link1" | "link2" | "link3"] => read(request, &Representation::text("a link target")),
            _ => Response::new(Code::NOT_FOUND).diagnostic("see /.well-known/core"),
        })
    }

    /// Changes what is due to change.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.observables.iter_mut().for_each(|(_, observable)| observable.handle_timeout(now));
    }

    /// When the next change is.
    pub(super) fn next_at(&self) -> Instant {
        let all = self.observables.iter().map(|(_, observable)| observable.next_at());
        all.min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// A state that observers have to be told.
    pub(super) fn poll_notification(&mut self) -> Option<(ResourceId, Response)> {
        self.observables.iter_mut().find_map(|(_, observable)| observable.poll_notification())
    }
}

/// A resource that is only read.
fn read(request: &Request, representation: &Representation) -> Response {
    if request.method != Method::Get {
        return Response::new(Code::METHOD_NOT_ALLOWED);
    }
    representation.answer(request)
}

/// A resource that only takes what is posted.
fn post(request: &Request, execute: impl FnOnce() -> Response) -> Response {
    if request.method != Method::Post {
        return Response::new(Code::METHOD_NOT_ALLOWED);
    }
    execute()
}

/// A resource that is read, written and deleted, under conditions (RFC 7252 §5.10.8).
fn store(stored: &mut Option<Representation>, request: &Request) -> Response {
    if let Err(refusal) = request.check_conditions(Representation::target(stored.as_ref())) {
        return refusal;
    }
    match request.method {
        Method::Get => match stored {
            Some(representation) => representation.answer_tagged(request),
            None => Response::new(Code::NOT_FOUND),
        },
        Method::Put => {
            let before = stored.replace(Representation::of(request));
            Response::new(if before.is_some() { Code::CHANGED } else { Code::CREATED })
        }
        Method::Delete => {
            *stored = None;
            Response::new(Code::DELETED)
        }
        Method::Post | Method::Fetch | Method::Patch | Method::IPatch => {
            Response::new(Code::METHOD_NOT_ALLOWED)
        }
    }
}

fn multi_format(request: &Request) -> Response {
    let format = match request.negotiate(&[TEXT_PLAIN, XML]) {
        Ok(format) => format,
        Err(refusal) => return refusal,
    };
    let payload = if format == XML { "<format>xml</format>" } else { "text" };
    read(request, &Representation { format, payload: payload.into() })
}

/// Numbered lines, so that a block in the wrong place is seen.
fn large(name: &str) -> Representation {
    let lines = (0..).flat_map(|line| format!("{name} line {line}\n").into_bytes());
    Representation { format: TEXT_PLAIN, payload: lines.take(LARGE).collect() }
}
