//! What a request means: the resources of the gateway.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use proto::coap::content_format::{CBOR, TEXT_PLAIN};
use proto::coap::link_format::{Link, discover, parse};
use proto::coap::{Code, Delivery, Method, Request, Response};
use proto::{Reading, Timestamp};
use tokio::sync::OwnedSemaphorePermit;

use super::bridge::{Bridge, TopicView, Wanted};
use super::files::Files;
use super::latest::{Latest, View};
use super::posted;
use crate::broker::Board;
use crate::clock;
use crate::source::Context;
use crate::store::{Message, NotStored};

/// What `/.well-known/core` says of those that are always there (RFC 6690).
const LINKS: &str =
    "</r>;rt=\"gateway.readings\";ct=\"110 112 50\",</time>;rt=\"gateway.time\";ct=\"0 60\"";
/// What it says of topics, where there are any.
const TOPIC_LINKS: &str = "</ps>;rt=\"core.ps\";ct=40";
/// Seconds until a node should try again when the pipeline is full.
const BUSY_SECONDS: u32 = 2;
/// Seconds until a node should try again when the disk is full.
const FULL_SECONDS: u32 = 30;

static FIXED: LazyLock<Vec<Link>> = LazyLock::new(|| parse(LINKS).unwrap_or_default());
static TOPICS: LazyLock<Vec<Link>> = LazyLock::new(|| parse(TOPIC_LINKS).unwrap_or_default());

/// What a source serves, over all of its sockets.
pub(super) struct Resources {
    pub(super) context: Context,
    pub(super) latest: Latest,
    pub(super) files: Option<Arc<Files>>,
    pub(super) bridge: Option<Bridge>,
}

/// What to do with a request.
pub(super) enum Action {
    /// Answer it now.
    Respond(Response),
    /// Answer it with this, which can be observed.
    Show(Subject),
    /// Answer it when this is done.
    Await(Work),
}

/// What takes a while.
pub(super) enum Work {
    /// Bringing these to the disk.
    Store(Vec<Reading>),
    /// Bringing this message to the disk.
    Publish(Message),
    /// Learning what there is to see of a topic.
    Watch(TopicView, OwnedSemaphorePermit),
    /// Reading the file that this asks for.
    Load(Arc<Files>, Request),
    /// Listing the files among these links.
    List(Arc<Files>, Vec<Link>, Request),
}

/// What can be shown and observed.
#[derive(Clone)]
pub(super) enum Subject {
    Readings(View),
    Topic(TopicView),
}

/// All there is.
enum Resource<'a> {
    /// `/.well-known/core`
    Links,
    /// `/time`
    Time,
    /// `/r`
    Readings,
    /// `/r/{device}`
    Device(&'a str),
    /// `/r/{device}/{name}`
    Value { device: &'a str, name: &'a str },
    /// `/files/…`
    File,
    /// `/ps`
    Topics,
    /// `/ps/{topic…}`
    Topic(String),
}

impl<'a> Resource<'a> {
    fn of(request: &'a Request) -> Option<Self> {
        let mut segments = request.segments();
        let path = [segments.next(), segments.next(), segments.next(), segments.next()];
        Some(match path {
            [Some(".well-known"), Some("core"), None, None] => Self::Links,
            [Some("time"), None, None, None] => Self::Time,
            [Some("r"), None, None, None] => Self::Readings,
            [Some("r"), Some(device), None, None] => Self::Device(device),
            [Some("r"), Some(device), Some(name), None] => Self::Value { device, name },
            [Some("files"), Some(_), _, _] => Self::File,
            [Some("ps"), None, None, None] => Self::Topics,
            [Some("ps"), Some(_), _, _] => {
                Self::Topic(request.segments().skip(1).collect::<Vec<_>>().join("/"))
            }
            _ => return None,
        })
    }
}

impl Resources {
    /// What to do with `request` of `peer`.
    pub(super) fn handle(&self, peer: SocketAddr, request: &Request) -> Action {
        let action = match Resource::of(request) {
            Some(Resource::Links) => Ok(self.links(request)),
            Some(Resource::Time) => time(request, clock::wall()).map(Action::Respond),
            Some(Resource::Readings) => {
                self.post(request, "", |context| posted::pack(context, peer, request))
            }
            Some(Resource::Device(device)) => {
                View::of(request, device, None).map(Subject::Readings).map(Action::Show)
            }
            Some(Resource::Value { device, name }) if request.method == Method::Get => {
                View::of(request, device, Some(name)).map(Subject::Readings).map(Action::Show)
            }
            Some(Resource::Value { device, name }) => self.post(request, "GET, ", |context| {
                posted::value(context, peer, request, device, name)
            }),
            Some(Resource::File) => self.file(request),
            Some(Resource::Topics) => self.topics(request),
            Some(Resource::Topic(topic)) => self.topic(peer, &topic, request),
            None => Err(not_found()),
        };
        action.unwrap_or_else(Action::Respond)
    }

    fn post(
        &self,
        request: &Request,
        others: &str,
        readings: impl FnOnce(&Context) -> Result<Vec<Reading>, Response>,
    ) -> Result<Action, Response> {
        if !matches!(request.method, Method::Post | Method::Put) {
            return Err(not_allowed(&format!("{others}POST or PUT readings")));
        }
        readings(&self.context).map(|readings| Action::Await(Work::Store(readings)))
    }

    /// The folder is not read for a request that is refused in any case.
    fn links(&self, request: &Request) -> Action {
        let mut links = FIXED.clone();
        if let Some(bridge) = &self.bridge {
            links.extend_from_slice(&TOPICS);
            links.extend(bridge.links());
        }
        match &self.files {
            Some(files) if request.method == Method::Get => {
                Action::Await(Work::List(Arc::clone(files), links, request.clone()))
            }
            Some(_) | None => Action::Respond(discover(&links, request, Delivery::Unicast)),
        }
    }

    /// The links of topics that have a state.
    fn topics(&self, request: &Request) -> Result<Action, Response> {
        let bridge = self.bridge.as_ref().ok_or_else(not_found)?;
        Ok(Action::Respond(discover(&bridge.links(), request, Delivery::Unicast)))
    }

    fn topic(&self, peer: SocketAddr, topic: &str, request: &Request) -> Result<Action, Response> {
        let bridge = self.bridge.as_ref().ok_or_else(not_found)?;
        let action = match request.method {
            Method::Get => bridge.want(topic, request).map(|wanted| match wanted {
                Wanted::Known(view) => Action::Show(Subject::Topic(view)),
                Wanted::Unknown(view, permit) => Action::Await(Work::Watch(view, permit)),
            }),
            Method::Put | Method::Post => {
                self.context.status.received(request.payload.len());
                bridge.message(topic, request).map(|message| Action::Await(Work::Publish(message)))
            }
            Method::Delete | Method::Fetch | Method::Patch | Method::IPatch => {
                Err(not_allowed("GET, PUT or POST a topic"))
            }
        };
        action.inspect_err(|response| {
            let reason = match response.code {
                Code::FORBIDDEN => "not_allowed",
                Code::SERVICE_UNAVAILABLE => "too_many_topics",
                _ => "bad_request",
            };
            let why = format!("{} {topic}", response.code);
            self.context.refuse(reason, peer, why, b"");
        })
    }

    /// The topics that can be watched.
    pub(super) fn board(&self) -> Option<&Board> {
        self.bridge.as_ref()?.board()
    }

    /// The answer to a request to see something.
    pub(super) fn show(&self, subject: &Subject) -> Response {
        match (subject, &self.bridge) {
            (Subject::Readings(view), _) => self.latest.show(view),
            (Subject::Topic(view), Some(bridge)) => bridge.show(view),
            (Subject::Topic(_), None) => not_found(),
        }
    }

    fn file(&self, request: &Request) -> Result<Action, Response> {
        let files = self.files.as_ref().ok_or_else(not_found)?;
        check_get(request)?;
        Ok(Action::Await(Work::Load(Arc::clone(files), request.clone())))
    }
}

/// The answer to a request for links where there are files too.
pub(super) fn links_with(mut links: Vec<Link>, files: Vec<Link>, request: &Request) -> Response {
    links.extend(files);
    discover(&links, request, Delivery::Unicast)
}

/// The answer when the readings are on disk.
pub(super) fn accepted() -> Response {
    Response::new(Code::CHANGED)
}

/// The answer when there is no room in the pipeline.
pub(super) fn busy() -> Response {
    Response::new(Code::SERVICE_UNAVAILABLE).max_age(BUSY_SECONDS).diagnostic("busy, try again")
}

/// The answer when the readings could not be stored.
pub(super) fn not_stored(why: NotStored) -> Response {
    let response = match why {
        NotStored::Full => Response::new(Code::SERVICE_UNAVAILABLE).max_age(FULL_SECONDS),
        NotStored::Failed => Response::new(Code::INTERNAL_SERVER_ERROR),
    };
    response.diagnostic(&why.to_string())
}

/// The answer where there is nothing.
pub(super) fn not_found() -> Response {
    Response::new(Code::NOT_FOUND).diagnostic("see /.well-known/core")
}

/// Refuses everything but a GET.
pub(super) fn check_get(request: &Request) -> Result<(), Response> {
    if request.method == Method::Get { Ok(()) } else { Err(not_allowed("GET")) }
}

fn not_allowed(methods: &str) -> Response {
    Response::new(Code::METHOD_NOT_ALLOWED).diagnostic(methods)
}

/// The gateway's time: seconds since 1970 as text, or as CBOR's tag 1 (RFC 8949 §3.4.2).
fn time(request: &Request, now: Timestamp) -> Result<Response, Response> {
    check_get(request)?;
    let format = request.negotiate(&[TEXT_PLAIN, CBOR])?;
    let millis = now.as_millis();
    let (seconds, millis) = (millis.div_euclid(1000), millis.rem_euclid(1000));
    let text = format!("{seconds}.{millis:03}");
    let payload = match text.parse::<f64>() {
        Ok(number) if format == CBOR => {
            const TAG_1_FLOAT: [u8; 2] = [0xc1, 0xfb];
            [&TAG_1_FLOAT[..], &number.to_be_bytes()].concat()
        }
        Ok(_) | Err(_) => text.into_bytes(),
    };
    Ok(Response::new(Code::CONTENT).content_format(format).max_age(0).payload(payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_links_are_links() {
        assert_eq!((FIXED.len(), TOPICS.len()), (2, 1));
    }

    #[test]
    fn the_time_is_text_or_cbor() {
        // RFC 8949 §3.4.2
        let get = Request::new(Method::Get);
        let now = Timestamp::from_nanos(1_732_198_755_250_000_000);
        let text = time(&get, now).unwrap();
        assert_eq!(
            (text.options.content_format(), text.payload),
            (Some(0), b"1732198755.250".to_vec())
        );
        let cbor = time(&get.clone().accept(CBOR), now).unwrap().payload;
        let mut decoder = minicbor::Decoder::new(&cbor);
        assert_eq!(decoder.tag().unwrap().as_u64(), 1);
        assert_eq!(decoder.f64().unwrap(), 1_732_198_755.25);
        assert_eq!(time(&get.accept(50), now).unwrap_err().code, Code::NOT_ACCEPTABLE);
    }
}
