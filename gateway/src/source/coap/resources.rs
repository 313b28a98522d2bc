//! What a request means: the resources of the gateway.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proto::coap::content_format::{CBOR, TEXT_PLAIN};
use proto::coap::directory::{Lookup, Simple};
use proto::coap::link_format::{Link, discover, parse};
use proto::coap::{Code, Delivery, ETag, Method, OptionNumber, Request, Response, Target};
use proto::{Reading, Timestamp};
use tokio::sync::OwnedSemaphorePermit;

use super::bridge::{Bridge, TopicView, Wanted};
use super::fetched::{ORDERS, OrderView};
use super::files::Files;
use super::orders::NodeOrders;
use super::posted;
use super::rates::Rates;
use super::registered::{Look, Registered};
use super::view::{self, View};
use crate::broker::Board;
use crate::clock;
use crate::commands::{Answered, Mailbox};
use crate::decode::{DecodeError, Draft, Reader};
use crate::source::Context;
use crate::source::latest::Latest;
use crate::store::{Message, NotStored};

/// What `/.well-known/core` says of those that are always there (RFC 6690).
const LINKS: &str =
    "</r>;rt=\"gateway.readings\";ct=\"110 112 50\",</time>;rt=\"gateway.time\";ct=\"0 60\"";
/// The same for the resource directory (RFC 9176 §4.3).
const DIRECTORY_LINKS: &str = "</rd>;rt=\"core.rd\";ct=40,\
    </rd-lookup/ep>;rt=\"core.rd-lookup-ep\";ct=40;obs,\
    </rd-lookup/res>;rt=\"core.rd-lookup-res\";ct=40;obs";
/// Seconds until a node should try again when the pipeline is full.
const BUSY_SECONDS: u32 = 2;
/// Seconds until a node should try again when the disk is full.
const FULL_SECONDS: u32 = 30;

/// The same for topics (draft-ietf-core-coap-pubsub-20).
const TOPIC_LINKS: &str = "</ps>;rt=\"core.ps\";ct=40";

/// The same for orders that nodes ask for.
const ORDER_LINKS: &str = "</cmd>;rt=\"gateway.order\";ct=\"50 60\";obs";

static FIXED: LazyLock<Vec<Link>> = LazyLock::new(|| parse(LINKS).unwrap_or_default());
static DIRECTORY: LazyLock<Vec<Link>> =
    LazyLock::new(|| parse(DIRECTORY_LINKS).unwrap_or_default());
static TOPICS: LazyLock<Vec<Link>> = LazyLock::new(|| parse(TOPIC_LINKS).unwrap_or_default());
static ORDER: LazyLock<Vec<Link>> = LazyLock::new(|| parse(ORDER_LINKS).unwrap_or_default());

/// What a source serves, over all of its sockets.
pub(super) struct Resources {
    pub(super) context: Context,
    pub(super) latest: Latest,
    pub(super) files: Option<Arc<Files>>,
    pub(super) rates: Option<Rates>,
    pub(super) registered: Option<Registered>,
    pub(super) bridge: Option<Bridge>,
    /// Where there is something that devices can be told to do.
    pub(super) node_orders: Option<NodeOrders>,
}

/// Who makes a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) peer: SocketAddr,
    pub(super) way: Way,
    /// The number of the socket to which it came.
    pub(super) socket: usize,
}

/// How a request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Over UDP.
    Datagram(Delivery),
    /// Over TCP.
    Stream,
}

impl Way {
    pub(super) const fn delivery(self) -> Delivery {
        match self {
            Self::Datagram(delivery) => delivery,
            Self::Stream => Delivery::Unicast,
        }
    }
}

/// What to do with a request.
pub(super) enum Action {
    /// Answer it now.
    Respond(Response),
    /// Answer it with this, which can be observed.
    Show(Subject, Response),
    /// Answer it with these links, which can be observed.
    Look(Look),
    /// Answer it when the sender has said what resources it has.
    Fetch(Request),
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
    /// Reading or writing the file that this is about.
    Serve(Arc<Files>, Request),
    /// Listing the files among the links.
    List(Arc<Files>, Request, Delivery),
    /// Taking the order that is wanted.
    Order(Mailbox, OrderView),
    /// Bringing to the disk what became of the order of a device with this identifier.
    Outcome(Mailbox, String, String, Answered),
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
    /// `/rd`
    Directory,
    /// `/rd/{id}`
    Registration(&'a str),
    /// `/rd-lookup/ep`, `/rd-lookup/res`
    Lookup(Lookup),
    /// `/.well-known/rd`
    Simple,
    /// `/cmd`, `/cmd/{device}`
    Order(Option<&'a str>),
    /// `/cmd/{device}/{id}`
    Outcome { device: &'a str, id: &'a str },
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
            [Some("rd"), None, None, None] => Self::Directory,
            [Some("rd"), Some(id), None, None] => Self::Registration(id),
            [Some("rd-lookup"), Some("ep"), None, None] => Self::Lookup(Lookup::Endpoints),
            [Some("rd-lookup"), Some("res"), None, None] => Self::Lookup(Lookup::Resources),
            [Some(".well-known"), Some("rd"), None, None] => Self::Simple,
            [Some(ORDERS), device, None, None] => Self::Order(device),
            [Some(ORDERS), Some(device), Some(id), None] => Self::Outcome { device, id },
            _ => return None,
        })
    }
}

impl Resources {
    /// What to do with a request.
    pub(super) fn handle(&self, sender: Sender, request: &Request) -> Action {
        if let Some(rates) = &self.rates
            && let Err(wait) = rates.admit(clock::now(), sender.peer.ip().to_canonical())
        {
            let why = "more than `link.max_rate`";
            self.context.refuse("too_many_requests", sender.peer, why, b"");
            return Action::Respond(too_many(wait));
        }
        let action = match Resource::of(request) {
            Some(Resource::Links) => self.links(request, sender.way.delivery()),
            Some(Resource::Time) => time(request, clock::wall()).map(Action::Respond),
            Some(Resource::Readings) => self.post(request, "", || {
                request.check_conditions(Target::Present(None))?;
                let now = clock::wall();
                self.complete(sender, request, now, posted::pack(request, now)?)
            }),
            Some(Resource::Device(device)) => self.readings(request, device, None),
            Some(Resource::Value { device, name }) if request.method == Method::Get => {
                self.readings(request, device, Some(name))
            }
            Some(Resource::Value { device, name }) => self.post(request, "GET, ", || {
                view::check_conditions(&self.latest, request, device, name)?;
                let drafts = posted::value(request, device, name)?;
                self.complete(sender, request, clock::wall(), drafts)
            }),
            Some(Resource::File) => self.file(request),
            Some(Resource::Directory) => self.directory(sender).map(|registered| {
                let response = registered.register(sender, request);
                self.note(sender, registered);
                Action::Respond(response)
            }),
            Some(Resource::Registration(id)) => self.directory(sender).map(|registered| {
                let response = registered.change(sender, id, request);
                self.note(sender, registered);
                Action::Respond(response)
            }),
            Some(Resource::Order(device)) => self.order(sender, device, request),
            Some(Resource::Outcome { device, id }) => self.outcome(sender, device, id, request),
            Some(Resource::Lookup(what)) => {
                let registered = self.registered.as_ref().ok_or_else(not_found);
                registered.map(|_| Action::Look(Look::new(what, sender, request)))
            }
            Some(Resource::Simple) => self.directory(sender).map(|registered| {
                match registered.register_simply(sender, request) {
                    Simple::Answer(response) => Action::Respond(response),
                    Simple::Fetch => Action::Fetch(request.clone()),
                }
            }),
            Some(Resource::Topics) => self.topics(request, sender.way.delivery()),
            Some(Resource::Topic(topic)) => self.topic(sender.peer, &topic, request),
            None => Err(not_found()),
        };
        action.unwrap_or_else(Action::Respond)
    }

    fn complete(
        &self,
        sender: Sender,
        request: &Request,
        now: Timestamp,
        drafts: Result<Vec<Draft>, DecodeError>,
    ) -> Result<Vec<Reading>, Response> {
        let peer = sender.peer.ip().to_canonical();
        let name = || self.name_of(sender);
        let readings = self.context.complete(drafts, now, peer, name, &request.payload);
        if let (Some(node_orders), Ok(readings)) = (&self.node_orders, &readings) {
            node_orders.note_readings(sender, readings);
        }
        readings.map_err(|error| posted::bad_request(&error))
    }

    /// The last readings of a device, or of one name.
    fn readings(
        &self,
        request: &Request,
        device: &str,
        name: Option<&str>,
    ) -> Result<Action, Response> {
        let view = View::of(request, device, name)?;
        let response = view.show(&self.latest);
        let Some(etag) = response.options.etag() else { return Err(response) };
        request.check_conditions(Target::Present(Some(etag)))?;
        // An observer gets the state itself: later ones follow from it.
        let observes = request.options.first(OptionNumber::OBSERVE).is_some();
        match request.still_valid(etag).filter(|_| !observes) {
            Some(valid) => Err(valid),
            None => Ok(Action::Show(Subject::Readings(view), response)),
        }
    }

    fn post(
        &self,
        request: &Request,
        others: &str,
        readings: impl FnOnce() -> Result<Vec<Reading>, Response>,
    ) -> Result<Action, Response> {
        if !matches!(request.method, Method::Post | Method::Put) {
            return Err(not_allowed(&format!("{others}POST or PUT readings")));
        }
        readings().map(|readings| Action::Await(Work::Store(readings)))
    }

    /// The folder is not read for a request that is refused in any case.
    fn links(&self, request: &Request, delivery: Delivery) -> Result<Action, Response> {
        request.check_conditions(Target::Present(None))?;
        Ok(match &self.files {
            Some(files) if request.method == Method::Get => {
                Action::Await(Work::List(Arc::clone(files), request.clone(), delivery))
            }
            Some(_) | None => Action::Respond(self.links_with(Vec::new(), request, delivery)),
        })
    }

    /// The answer to a request for links where there are files too.
    pub(super) fn links_with(
        &self,
        files: Vec<Link>,
        request: &Request,
        delivery: Delivery,
    ) -> Response {
        let mut links = FIXED.clone();
        if self.registered.is_some() {
            links.extend_from_slice(&DIRECTORY);
        }
        if let Some(bridge) = &self.bridge {
            links.extend_from_slice(&TOPICS);
            links.extend(bridge.links());
        }
        if self.mailbox().is_some() {
            links.extend_from_slice(&ORDER);
        }
        links.extend(files);
        let response = discover(&links, request, delivery);
        if response.code != Code::CONTENT {
            return response;
        }
        let etag = ETag::of(response.options.content_format(), &response.payload);
        request.still_valid(etag).unwrap_or_else(|| response.etag(etag))
    }

    /// The directory, for a request that changes it: one to a group is for all of its members, and
    /// nobody can have registered with them all.
    fn directory(&self, sender: Sender) -> Result<&Registered, Response> {
        let registered = self.registered.as_ref();
        registered.filter(|_| sender.way.delivery() == Delivery::Unicast).ok_or_else(not_found)
    }

    /// A node that has registered can be told something from the socket to which it has sent that.
    pub(super) fn note(&self, sender: Sender, registered: &Registered) {
        if let Some(node_orders) = &self.node_orders
            && let Some(device) = registered.name_of(sender)
        {
            node_orders.note(sender, &device);
        }
    }

    /// The answer to a lookup.
    pub(super) fn look(&self, look: &Look) -> Response {
        self.registered.as_ref().map_or_else(not_found, |registered| registered.look(look))
    }

    /// The name of the device that sends and does not name itself: that of its registration, or
    /// its address.
    pub(super) fn name_of(&self, sender: Sender) -> String {
        let registered = self.registered.as_ref().and_then(|nodes| nodes.name_of(sender));
        registered.unwrap_or_else(|| sender.peer.ip().to_canonical().to_string())
    }

    /// The links of topics that have a state.
    fn topics(&self, request: &Request, delivery: Delivery) -> Result<Action, Response> {
        let bridge = self.bridge.as_ref().ok_or_else(not_found)?;
        request.check_conditions(Target::Present(None))?;
        Ok(Action::Respond(discover(&bridge.links(), request, delivery)))
    }

    fn topic(&self, peer: SocketAddr, topic: &str, request: &Request) -> Result<Action, Response> {
        let bridge = self.bridge.as_ref().ok_or_else(not_found)?;
        Bridge::check_conditions(request)?;
        let action = match request.method {
            Method::Get => bridge.want(topic, request).map(|wanted| match wanted {
                Wanted::Known(view) => {
                    let response = bridge.show(&view);
                    Action::Show(Subject::Topic(view), response)
                }
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
            (Subject::Readings(view), _) => view.show(&self.latest),
            (Subject::Topic(view), Some(bridge)) => bridge.show(view),
            (Subject::Topic(_), None) => not_found(),
        }
    }

    fn file(&self, request: &Request) -> Result<Action, Response> {
        let files = self.files.as_ref().ok_or_else(not_found)?;
        files.check_method(request.method).map_err(not_allowed)?;
        Ok(Action::Await(Work::Serve(Arc::clone(files), request.clone())))
    }
}

/// The readings of a request that posts some, by what it says alone, or the answer that refuses it.
pub(crate) fn posted_readings(
    reader: &Reader,
    request: &Request,
    name: impl Fn() -> String,
    now: Timestamp,
) -> Result<Vec<Reading>, Response> {
    let drafts = match Resource::of(request) {
        Some(Resource::Readings) => posted::pack(request, now)?,
        Some(Resource::Value { device, name }) => posted::value(request, device, name)?,
        Some(_) => return Err(not_allowed("post readings to /r or /r/{device}/{name}")),
        None => return Err(not_found()),
    };
    let readings = drafts.and_then(|drafts| reader.complete(drafts, name, now));
    readings.map_err(|error| posted::bad_request(&error))
}

/// The answer to a client that asks too often (RFC 8516 §3).
fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_millis().div_ceil(1000);
    let max_age = u32::try_from(seconds).unwrap_or(u32::MAX);
    Response::new(Code::TOO_MANY_REQUESTS).max_age(max_age)
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

/// The answer to another method than these.
pub(super) fn not_allowed(methods: &str) -> Response {
    Response::new(Code::METHOD_NOT_ALLOWED).diagnostic(methods)
}

/// The gateway's time: seconds since 1970 as text, or as CBOR's tag 1 (RFC 8949 §3.4.2).
fn time(request: &Request, now: Timestamp) -> Result<Response, Response> {
    check_get(request)?;
    request.check_conditions(Target::Present(None))?;
    let format = request.negotiate(&[TEXT_PLAIN, CBOR])?;
    let millis = now.as_millis();
    let (seconds, millis) = (millis.div_euclid(1000), millis.rem_euclid(1000));
    let text = format!("{seconds}.{millis:03}");
    let payload = if format == CBOR {
        const TAG_1_FLOAT: [u8; 2] = [0xc1, 0xfb];
        let number: f64 = text.parse().unwrap_or_default();
        [&TAG_1_FLOAT[..], &number.to_be_bytes()].concat()
    } else {
        text.into_bytes()
    };
    Ok(Response::new(Code::CONTENT).content_format(format).max_age(0).payload(payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_links_are_links() {
        assert_eq!((FIXED.len(), DIRECTORY.len(), TOPICS.len(), ORDER.len()), (2, 3, 1, 1));
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
