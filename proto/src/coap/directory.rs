//! A CoRE Resource Directory (RFC 9176): nodes register their resources, others look them up.
//!
//! | Request | Method |
//! |---|---|
//! | POST to the directory (§5) | [`register`](Directory::register) |
//! | POST to `/.well-known/rd` (§5.1) | [`register_simply`](Directory::register_simply), [`finish_simply`](Directory::finish_simply) |
//! | POST and DELETE of a registration (§5.3) | [`update`](Directory::update), [`remove`](Directory::remove) |
//! | GET of a lookup (§6) | [`lookup`](Directory::lookup) |
//!
//! A registration is found until its lifetime is over. After that it is *lapsed*: its node can still
//! refresh it (§5.3), until it is removed an hour later, or at once where its room is needed.
//!
//! Links are kept resolved against the base URI, as a lookup shows them, and it is these bytes that
//! the limits count, with something for each link and attribute: no lookup is larger than all that
//! may be registered.
//!
//! Who may register what is for the caller to decide (§7); without that anybody may replace any
//! registration, as RFC 9176 allows.

mod lookup;
mod parameters;
mod reference;
mod registration;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

pub use self::lookup::Lookup;
use self::parameters::Parameters;
pub use self::reference::BaseFault;
pub use self::registration::Registration;
use super::content_format::LINK_FORMAT;
use super::link_format::{Link, LinkError, LinkFault, parse};
use super::{Code, Method, Request, Response};
use crate::Instant;

/// How long a registration can be refreshed after its lifetime.
const GRACE: Duration = Duration::from_secs(3600);
/// The longest that a node is told to wait for room, in seconds.
const MAX_WAIT_S: u64 = 3600;
/// What a link or an attribute takes besides its text.
const OVERHEAD: usize = 64;

/// Limits of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryConfig {
    /// Where registrations are, such as `/rd`.
    pub path: String,
    /// Registrations; a further one is 5.03 with Max-Age, once no lapsed one can give way.
    pub max_registrations: usize,
    /// Bytes of all registrations, as lookups show them; the same.
    pub max_bytes: usize,
    /// Bytes of one of them; more is 4.13.
    pub max_registration_bytes: usize,
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            path: "/rd".into(),
            max_registrations: 1024,
            max_bytes: 4 << 20,
            max_registration_bytes: 64 << 10,
        }
    }
}

/// Where a request comes from.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Requester {
    /// Scheme, address and port, such as `coap://[2001:db8::1]`: the base URI of a node that gives
    /// none (RFC 9176 §5). `None` where nothing can be reached under them, as over TCP.
    pub base: Option<String>,
    /// The link, where the address is a link-local one: only on it such addresses are shown.
    pub zone: Option<u32>,
}

/// What to do with a simple registration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Simple {
    /// Answer it.
    Answer(Response),
    /// Make [this request](discovery) of the node and hand the response to
    /// [`Directory::finish_simply`].
    Fetch,
}

/// Why a request is refused; `Display` is the diagnostic that the sender sees.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DirectoryFault {
    /// RFC 9176 §5
    #[error("{0} has 1 to 63 bytes and no control characters")]
    Name(&'static str),
    /// RFC 9176 §5
    #[error("ep is missing: register with ?ep=NAME")]
    NoName,
    /// RFC 9176 §5.3.1
    #[error("ep and d cannot be changed: register anew")]
    Renamed,
    /// RFC 9176 §5
    #[error("lt is 1 to 4294967295 seconds")]
    Lifetime,
    /// RFC 9176 §5
    #[error(transparent)]
    Base(#[from] BaseFault),
    /// RFC 9176 §5
    #[error("base is missing: nothing can be reached at the address of this request")]
    NoBase,
    /// RFC 9176 §5.1
    #[error("a simple registration has no base and no payload, and comes over UDP")]
    NotSimple,
    /// RFC 9176 §5.3.1
    #[error("an update has no payload: register anew")]
    Payload,
    /// A parameter with a meaning of its own in lookups, or twice what may be there once.
    #[error("the parameter {0} cannot be registered, or not twice")]
    Parameter(String),
    /// RFC 6690 §2
    #[error("the links cannot be read: {0}")]
    Links(#[from] LinkError),
    /// RFC 6690 §2
    #[error("the links are not UTF-8")]
    NotText,
    /// A part of a link or an attribute.
    #[error(transparent)]
    Link(#[from] LinkFault),
    /// RFC 9176 appendix C
    #[error("{0} is neither a URI nor a path that begins with a single /")]
    Relative(String),
    /// RFC 9176 §6.2
    #[error("page and count are whole numbers, and page needs count")]
    Page,
}

impl From<DirectoryFault> for Response {
    fn from(fault: DirectoryFault) -> Self {
        Self::new(Code::BAD_REQUEST).diagnostic(&fault.to_string())
    }
}

/// The directory: a state machine without clock and socket. Call
/// [`handle_timeout`](Self::handle_timeout) when the time of [`deadline`](Self::deadline) has come;
/// `now` never goes back between calls.
#[derive(Debug)]
pub struct Directory {
    config: DirectoryConfig,
    registrations: BTreeMap<u64, Registration>,
    /// By sector and endpoint name.
    by_name: BTreeMap<(Option<String>, String), u64>,
    /// By base URI and zone.
    by_base: BTreeSet<(String, Option<u32>, u64)>,
    /// When each lapses, or is removed where it has.
    due: BTreeSet<(Instant, u64)>,
    bytes: usize,
    last_id: u64,
    version: u64,
}

impl Directory {
    /// An empty directory. Its locations begin at a number that comes from `seed`, which must be
    /// random: a node that refreshes what an earlier process has forgotten must not hit the
    /// registration of another one.
    pub const fn new(config: DirectoryConfig, seed: u64) -> Self {
        Self {
            config,
            registrations: BTreeMap::new(),
            by_name: BTreeMap::new(),
            by_base: BTreeSet::new(),
            due: BTreeSet::new(),
            bytes: 0,
            last_id: seed >> 32,
            version: 0,
        }
    }

    /// Answers a registration (RFC 9176 §5).
    pub fn register(&mut self, now: Instant, from: &Requester, request: &Request) -> Response {
        if request.method != Method::Post {
            return not_allowed("POST");
        }
        let registered = match request.supported_format(&[LINK_FORMAT]) {
            Ok(_) => self.insert(now, from, request, &request.payload, None),
            Err(refusal) => Err(refusal),
        };
        match registered {
            Ok(id) => {
                let path = self.config.path.trim_start_matches('/');
                Response::new(Code::CREATED).location_path(&alloc::format!("{path}/{id}"))
            }
            Err(refusal) => refusal,
        }
    }

    /// Begins a simple registration (RFC 9176 §5.1).
    pub fn register_simply(&mut self, now: Instant, from: &Requester, request: &Request) -> Simple {
        if request.method != Method::Post {
            return Simple::Answer(not_allowed("POST"));
        }
        match self.begin_simply(now, from, request) {
            Ok(true) => Simple::Answer(Response::new(Code::CHANGED)),
            Ok(false) => Simple::Fetch,
            Err(refusal) => Simple::Answer(refusal),
        }
    }

    /// Answers a simple registration with what its node said of its resources.
    pub fn finish_simply(
        &mut self,
        now: Instant,
        from: &Requester,
        request: &Request,
        fetched: &Response,
    ) -> Response {
        let format = fetched.options.content_format();
        if fetched.code != Code::CONTENT || format.is_some_and(|format| format != LINK_FORMAT) {
            let text = "GET /.well-known/core of the node gave no links";
            return Response::new(Code::BAD_GATEWAY).diagnostic(text);
        }
        let fresh_until = now + fetched.freshness();
        match self.insert(now, from, request, &fetched.payload, Some(fresh_until)) {
            Ok(_) => Response::new(Code::CHANGED),
            Err(refusal) => refusal,
        }
    }

    /// Answers a POST to the registration that is called `id` (RFC 9176 §5.3.1).
    pub fn update(
        &mut self,
        now: Instant,
        from: &Requester,
        id: &str,
        request: &Request,
    ) -> Response {
        let Some(id) = self.find(id) else { return not_found() };
        match self.change(now, from, id, request) {
            Ok(()) => Response::new(Code::CHANGED),
            Err(refusal) => refusal,
        }
    }

    /// Answers a DELETE of the registration that is called `id` (RFC 9176 §5.3.2).
    pub fn remove(&mut self, id: &str) -> Response {
        let removed = self.find(id).and_then(|id| self.take(id));
        removed.map_or_else(not_found, |_| Response::new(Code::DELETED))
    }

    /// Answers a lookup (RFC 9176 §6) from a link-local address of `zone`, or any other.
    pub fn lookup(&self, zone: Option<u32>, what: Lookup, request: &Request) -> Response {
        if request.method != Method::Get {
            return not_allowed("GET");
        }
        lookup::answer(self.registrations().filter(|it| it.is_shown_to(zone)), what, request)
    }

    /// Lets registrations lapse, and removes those that lapsed long ago.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.due.first()
            && at <= now
        {
            match self.registrations.get_mut(&id) {
                Some(registration) if !registration.is_lapsed() => {
                    self.due.remove(&(at, id));
                    registration.lapse(at + GRACE);
                    self.due.insert((at + GRACE, id));
                    self.version += 1;
                }
                Some(_) | None => {
                    self.due.remove(&(at, id));
                    self.take(id);
                }
            }
        }
    }

    /// When something is due next.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// A number that grows with every change that a lookup can show.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// All that have not lapsed, in the order of their first registration.
    pub fn registrations(&self) -> impl Iterator<Item = &Registration> {
        self.registrations.values().filter(|registration| !registration.is_lapsed())
    }

    /// The registration of who sends from there, if there is exactly one.
    pub fn at(&self, from: &Requester) -> Option<&Registration> {
        let base = from.base.clone()?;
        let all = (base.clone(), from.zone, 0)..=(base, from.zone, u64::MAX);
        let found = self.by_base.range(all).filter_map(|(.., id)| self.registrations.get(id));
        let mut found = found.filter(|registration| !registration.is_lapsed());
        found.next().filter(|_| found.next().is_none())
    }

    /// Whether a simple registration is done: the links of the node are known, and still fresh.
    fn begin_simply(
        &mut self,
        now: Instant,
        from: &Requester,
        request: &Request,
    ) -> Result<bool, Response> {
        let parameters = Parameters::of(request)?;
        if parameters.base.is_some() || !request.payload.is_empty() || from.base.is_none() {
            return Err(DirectoryFault::NotSimple.into());
        }
        let known = self.by_name.get(&parameters.name()?).copied();
        let known = known.and_then(|id| self.registrations.get(&id)?.as_fetched(now, from));
        let Some((links, fresh_until)) = known else { return Ok(false) };
        let registration = Registration::new(now, from, parameters, links, Some(fresh_until))?;
        self.put(now, registration)?;
        Ok(true)
    }

    fn insert(
        &mut self,
        now: Instant,
        from: &Requester,
        request: &Request,
        links: &[u8],
        fresh_until: Option<Instant>,
    ) -> Result<u64, Response> {
        let links = read_links(links)?;
        let parameters = Parameters::of(request)?;
        let registration = Registration::new(now, from, parameters, links, fresh_until)?;
        self.put(now, registration)
    }

    /// Changes a registration as an update says.
    fn change(
        &mut self,
        now: Instant,
        from: &Requester,
        id: u64,
        request: &Request,
    ) -> Result<(), Response> {
        if !request.payload.is_empty() || request.options.content_format().is_some() {
            return Err(DirectoryFault::Payload.into());
        }
        let parameters = Parameters::of(request)?;
        if parameters.endpoint.is_some() || parameters.sector.is_some() {
            return Err(DirectoryFault::Renamed.into());
        }
        let Some(before) = self.registrations.get(&id) else { return Err(not_found()) };
        let registration = before.updated(now, from, parameters)?;
        self.put(now, registration).map(drop)
    }

    /// Puts a registration in the place of the one with its name, or gives it a new one.
    fn put(&mut self, now: Instant, mut registration: Registration) -> Result<u64, Response> {
        let known = self.by_name.get(&registration.name()).copied();
        let id = known.unwrap_or(self.last_id + 1);
        registration.set_location(&self.config.path, id)?;
        let size = registration.size();
        if size > self.config.max_registration_bytes {
            let limit = u32::try_from(self.config.max_registration_bytes).unwrap_or(u32::MAX);
            return Err(Response::new(Code::REQUEST_ENTITY_TOO_LARGE).size1(limit));
        }
        self.make_room(now, id, size)?;
        let before = self.take_silently(id);
        self.version += u64::from(!before.is_some_and(|before| before.looks_like(&registration)));
        self.last_id = self.last_id.max(id);
        self.bytes += size;
        self.by_name.insert(registration.name(), id);
        self.by_base.insert((registration.base().into(), registration.zone(), id));
        self.due.insert((registration.due(), id));
        self.registrations.insert(id, registration);
        Ok(id)
    }

    /// Removes lapsed registrations, the ones that lapsed first, until `size` bytes fit in place of
    /// what `id` has; or says when to come back.
    fn make_room(&mut self, now: Instant, id: u64, size: usize) -> Result<(), Response> {
        loop {
            let own = self.registrations.get(&id);
            let count = self.registrations.len() - usize::from(own.is_some());
            let bytes = self.bytes - own.map_or(0, Registration::size);
            let is_room = count < self.config.max_registrations
                && bytes.saturating_add(size) <= self.config.max_bytes;
            if is_room {
                return Ok(());
            }
            let lapsed = |(_, other): &&(Instant, u64)| {
                *other != id && self.registrations.get(other).is_some_and(Registration::is_lapsed)
            };
            let Some(&(_, oldest)) = self.due.iter().find(lapsed) else {
                let wait = self.deadline().map_or(0, |at| at.saturating_since(now).as_secs());
                let wait = u32::try_from(wait.clamp(1, MAX_WAIT_S)).unwrap_or(1);
                let full = Response::new(Code::SERVICE_UNAVAILABLE).max_age(wait);
                return Err(full.diagnostic("the directory is full"));
            };
            self.take_silently(oldest);
        }
    }

    fn find(&self, id: &str) -> Option<u64> {
        let number = id.parse().ok()?;
        // One location, one text: no leading zeros or signs.
        (self.registrations.contains_key(&number) && number.to_string() == id).then_some(number)
    }

    fn take(&mut self, id: u64) -> Option<Registration> {
        let registration = self.take_silently(id)?;
        self.version += u64::from(!registration.is_lapsed());
        Some(registration)
    }

    fn take_silently(&mut self, id: u64) -> Option<Registration> {
        let registration = self.registrations.remove(&id)?;
        self.by_name.remove(&registration.name());
        self.by_base.remove(&(registration.base().into(), registration.zone(), id));
        self.due.remove(&(registration.due(), id));
        self.bytes -= registration.size();
        Some(registration)
    }
}

/// What a directory asks a node that registers simply (RFC 9176 §5.1).
pub fn discovery() -> Request {
    Request::new(Method::Get).path(".well-known/core").accept(LINK_FORMAT)
}

/// Links that are in Limited Link Format (RFC 9176 appendix C).
fn read_links(document: &[u8]) -> Result<Vec<Link>, DirectoryFault> {
    let text = str::from_utf8(document).map_err(|_| DirectoryFault::NotText)?;
    let links = parse(text)?;
    for link in &links {
        let anchors = link.attributes().filter(|(name, _)| *name == "anchor");
        let anchors = anchors.map(|(_, anchor)| anchor.unwrap_or_default());
        let mut references = core::iter::once(link.target()).chain(anchors);
        if let Some(relative) = references.find(|reference| !reference::is_limited(reference)) {
            return Err(DirectoryFault::Relative(relative.into()));
        }
    }
    Ok(links)
}

fn not_found() -> Response {
    Response::new(Code::NOT_FOUND).diagnostic("no such registration, register anew")
}

fn not_allowed(methods: &str) -> Response {
    Response::new(Code::METHOD_NOT_ALLOWED).diagnostic(methods)
}

#[cfg(test)]
mod tests;
