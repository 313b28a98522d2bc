//! One registration: the name of an endpoint, where it is and what it has.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::link_format::{Link, write};
use super::parameters::{Parameters, add};
use super::reference::{BaseFault, is_link_local, resolve};
use super::{DirectoryFault, OVERHEAD, Requester};
use crate::Instant;

/// The lifetime where a registration has none: 25 hours (RFC 9176 §5).
const DEFAULT_LIFETIME_S: u32 = 90_000;
/// What a registration is among the links of an endpoint lookup (RFC 9176 §6.4).
const RESOURCE_TYPE: &str = "core.rd-ep";

/// A registered endpoint and its links.
#[derive(Clone, Debug)]
pub struct Registration {
    endpoint: String,
    sector: Option<String>,
    lifetime_s: u32,
    base: String,
    /// Whether the endpoint gave it.
    base_is_given: bool,
    /// The link of a base that is link-local.
    zone: Option<u32>,
    attributes: Vec<(String, Option<String>)>,
    /// The links as they were registered.
    submitted: Vec<Link>,
    /// The same, resolved.
    links: Vec<Link>,
    /// Its own link, in an endpoint lookup.
    own: Link,
    bytes: usize,
    registered: Instant,
    due: Instant,
    is_lapsed: bool,
    /// Until when the links need not be fetched again (RFC 9176 §5.1).
    fresh_until: Option<Instant>,
}

impl Registration {
    pub(super) fn new(
        now: Instant,
        from: &Requester,
        parameters: Parameters,
        links: Vec<Link>,
        fresh_until: Option<Instant>,
    ) -> Result<Self, DirectoryFault> {
        let (sector, endpoint) = parameters.name()?;
        let lifetime_s = parameters.lifetime_s.unwrap_or(DEFAULT_LIFETIME_S);
        let base_is_given = parameters.base.is_some();
        let base = parameters.base.or_else(|| from.base.clone()).ok_or(DirectoryFault::NoBase)?;
        let registration = Self {
            zone: zone(&base, from)?,
            endpoint,
            sector,
            lifetime_s,
            base,
            base_is_given,
            attributes: parameters.attributes,
            submitted: links,
            links: Vec::new(),
            own: Link::new("/")?,
            bytes: 0,
            registered: now,
            due: now,
            is_lapsed: false,
            fresh_until,
        };
        registration.completed(now)
    }

    /// What an update makes of it (RFC 9176 §5.3.1).
    pub(super) fn updated(
        &self,
        now: Instant,
        from: &Requester,
        parameters: Parameters,
    ) -> Result<Self, DirectoryFault> {
        let mut updated = self.clone();
        if let Some(base) = parameters.base {
            (updated.base, updated.base_is_given) = (base, true);
            updated.zone = zone(&updated.base, from)?;
        } else if !self.base_is_given {
            updated.base = from.base.clone().ok_or(DirectoryFault::NoBase)?;
            updated.zone = zone(&updated.base, from)?;
        }
        updated.lifetime_s = parameters.lifetime_s.unwrap_or(self.lifetime_s);
        let is_kept =
            |(name, _): &(String, _)| parameters.attributes.iter().all(|(n, _)| n != name);
        updated.attributes.retain(is_kept);
        updated.attributes.extend(parameters.attributes);
        updated.completed(now)
    }

    /// The name of the endpoint (`ep`).
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its sector (`d`).
    pub fn sector(&self) -> Option<&str> {
        self.sector.as_deref()
    }

    /// Where it is: scheme, host and port.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The link on which it is, where its address is a link-local one.
    pub const fn zone(&self) -> Option<u32> {
        self.zone
    }

    /// Its attributes, such as its type (`et`); one without a value has an empty one.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default()))
    }

    /// Its resources, as absolute URIs.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Where its registration is.
    pub fn location(&self) -> &str {
        self.own.target()
    }

    /// When it was registered or refreshed last.
    pub const fn registered(&self) -> Instant {
        self.registered
    }

    /// When its lifetime is over.
    pub fn expires(&self) -> Instant {
        self.registered + Duration::from_secs(self.lifetime_s.into())
    }

    /// Its link in an endpoint lookup.
    pub(super) const fn own(&self) -> &Link {
        &self.own
    }

    pub(super) fn name(&self) -> (Option<String>, String) {
        (self.sector.clone(), self.endpoint.clone())
    }

    pub(super) const fn size(&self) -> usize {
        self.bytes
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    pub(super) const fn is_lapsed(&self) -> bool {
        self.is_lapsed
    }

    /// Its lifetime is over, and at `due` it is to be removed.
    pub(super) const fn lapse(&mut self, due: Instant) {
        self.is_lapsed = true;
        self.due = due;
    }

    /// RFC 9176 §6.1, §6.4: a link-local address is shown on its link only.
    pub(super) fn is_shown_to(&self, zone: Option<u32>) -> bool {
        self.zone.is_none() || self.zone == zone
    }

    /// Whether lookups show the same of both.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.own == other.own
            && self.links == other.links
            && (self.zone, self.is_lapsed) == (other.zone, other.is_lapsed)
    }

    /// Its links, if they were fetched from the same address and are still fresh.
    pub(super) fn as_fetched(
        &self,
        now: Instant,
        from: &Requester,
    ) -> Option<(Vec<Link>, Instant)> {
        let fresh_until = self.fresh_until.filter(|&until| until > now)?;
        let is_same = from.base.as_ref() == Some(&self.base) && from.zone == self.zone;
        is_same.then(|| (self.submitted.clone(), fresh_until))
    }

    /// Gives it its place.
    pub(super) fn set_location(&mut self, path: &str, id: u64) -> Result<(), DirectoryFault> {
        let link = Link::new(&format!("{path}/{id}"))?;
        let link = link.with("ep", &self.endpoint)?.with("base", &self.base)?;
        let link = link.with("rt", RESOURCE_TYPE)?;
        let link = match &self.sector {
            Some(sector) => link.with("d", sector)?,
            None => link,
        };
        self.own = add(link, &self.attributes)?;
        let all = || self.links.iter().chain([&self.own]);
        let parts: usize = all().map(|link| 1 + link.attributes().count()).sum();
        self.bytes = write(all()).len() + parts * OVERHEAD;
        Ok(())
    }

    /// Resolves the links and starts the lifetime.
    fn completed(mut self, now: Instant) -> Result<Self, DirectoryFault> {
        let resolved = self.submitted.iter().map(|link| resolved(&self.base, link));
        self.links = resolved.collect::<Result<_, _>>()?;
        self.registered = now;
        self.due = self.expires();
        self.is_lapsed = false;
        Ok(self)
    }
}

/// The link of a base URI that is link-local.
fn zone(base: &str, from: &Requester) -> Result<Option<u32>, DirectoryFault> {
    match from.zone {
        _ if !is_link_local(base) => Ok(None),
        None => Err(BaseFault::Link.into()),
        zone => Ok(zone),
    }
}

/// A link as a resource lookup shows it (RFC 9176 §6.1): without an anchor where it had none.
fn resolved(base: &str, link: &Link) -> Result<Link, DirectoryFault> {
    let mut absolute = Link::new(&resolve(base, link.target()))?;
    for (name, value) in link.attributes() {
        absolute = match value {
            Some(anchor) if name == "anchor" => absolute.with(name, &resolve(base, anchor))?,
            Some(value) => absolute.with(name, value)?,
            None => absolute.with_flag(name)?,
        };
    }
    Ok(absolute)
}
