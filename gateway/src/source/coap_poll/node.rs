//! One node: its resources, what it is being asked for, and how long it is left alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::coap::link_format::Link;
use proto::coap::{CallId, OptionNumber, Request};
use proto::{Instant, Rng};
use serde::Serialize;

use super::resource::{Grid, Resource};
use super::wanted::{Wanted, What, links_request};
use crate::config::{NodeUrl, ResourcePath};

/// Resources that are asked for because of a node's links; further ones are counted.
pub(super) const MAX_FOUND: usize = 64;
/// How often the links of a node are read.
const LINKS_INTERVAL: Duration = Duration::from_secs(3600);
/// The shortest time between two readings of them.
const LINKS_AGAIN: Duration = Duration::from_secs(60);
/// The pause after links that could not be read.
const LINKS_RETRY: Duration = Duration::from_secs(600);
/// The pause after the first failure; it is doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The shortest time that a node is left alone that is busy, whatever it says.
const SHORTEST_BUSY: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_BUSY: Duration = Duration::from_secs(86_400);
/// Characters of a failure that are kept.
const MAX_WHY: usize = 160;

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Aim {
    /// The links of the node.
    Links,
    /// The resource with this key.
    Resource(u32),
}

/// What a node is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Busy {
    /// Nothing.
    No,
    /// Its host name is being resolved.
    Resolving,
    /// It is asked.
    Asked(CallId),
}

/// A node.
#[derive(Debug)]
pub(super) struct PolledNode {
    pub(super) name: Arc<str>,
    pub(super) url: NodeUrl,
    pub(super) address: Option<SocketAddr>,
    pub(super) resources: Vec<Resource>,
    links: Option<Box<Links>>,
    pub(super) busy: Busy,
    /// Until then it is left alone, because it did not answer.
    silent_until: Instant,
    /// Until then it is left alone, because it said so.
    busy_until: Instant,
    /// Its entry in the agenda.
    pub(super) wake: Instant,
    /// Whether it was due and had to wait for the store.
    pub(super) postponed: bool,
    next_key: u32,
    heard: Option<Instant>,
    asked: u64,
    failed: u64,
    failures_in_a_row: u32,
    last_failure: Option<Box<str>>,
}

/// The links of a node.
#[derive(Debug)]
struct Links {
    wanted: Vec<Arc<Wanted>>,
    due: Instant,
    grid: Grid,
    read_at: Option<Instant>,
}

/// A node as the operator sees it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeReport {
    /// Where it is; nothing while its host name is not resolved.
    address: Option<SocketAddr>,
    /// Seconds since it was heard of; nothing if it never was.
    heard_seconds: Option<u64>,
    /// Resources that it is asked for, those found by links included.
    resources: usize,
    /// Those of them that are observed now.
    observed: usize,
    /// Requests, without those that are repeated by CoAP itself.
    asked: u64,
    /// Those of them without an answer that could be used.
    failed: u64,
    /// How often it did not answer since it was heard of.
    failures_in_a_row: u32,
    /// Why the last failure was one.
    last_failure: Option<String>,
}

impl PolledNode {
    /// A node that is asked for what is wanted of nodes with its name.
    pub(super) fn new(
        now: Instant,
        (name, url): (Arc<str>, NodeUrl),
        wanted: &[Arc<Wanted>],
        spread: Duration,
        rng: &mut Rng,
    ) -> Self {
        let of_it = || wanted.iter().filter(|wanted| wanted.nodes.matches(&name));
        let by_links: Vec<_> =
            of_it().filter(|wanted| matches!(wanted.what, What::Links(_))).cloned().collect();
        let links = (!by_links.is_empty()).then(|| {
            let due = now + rng.duration(Duration::ZERO, spread);
            let grid = Grid::new(now, LINKS_INTERVAL, rng);
            Box::new(Links { wanted: by_links, due, grid, read_at: None })
        });
        let mut resources = Vec::new();
        for (key, wanted) in (0..).zip(of_it().filter(|w| matches!(w.what, What::Path(_)))) {
            resources.push(Resource::new(key, Arc::clone(wanted), None, now, spread, rng));
        }
        Self {
            address: url.address(),
            next_key: u32::try_from(resources.len()).unwrap_or(u32::MAX),
            resources,
            links,
            busy: Busy::No,
            silent_until: Instant::ZERO,
            busy_until: Instant::ZERO,
            wake: Instant::FAR_FUTURE,
            postponed: false,
            heard: None,
            asked: 0,
            failed: 0,
            failures_in_a_row: 0,
            last_failure: None,
            name,
            url,
        }
    }

    /// When it is to be asked next, if nothing else happens.
    pub(super) fn next_wake(&self) -> Instant {
        if self.busy != Busy::No {
            return Instant::FAR_FUTURE;
        }
        let links = self.links.as_ref().map(|links| links.due);
        let due = self.resources.iter().map(|resource| resource.due).chain(links).min();
        due.unwrap_or(Instant::FAR_FUTURE).max(self.silent_until).max(self.busy_until)
    }

    /// What has been due longest, and the request for it.
    pub(super) fn next_request(&mut self, now: Instant) -> Option<(Aim, Request)> {
        let links = self.links.as_ref().map(|links| (links.due, Aim::Links));
        let resources = self.resources.iter().map(|r| (r.due, Aim::Resource(r.key)));
        let (_, aim) = resources.chain(links).filter(|(due, _)| *due <= now).min()?;
        let mut request = match aim {
            Aim::Links => links_request(),
            Aim::Resource(key) => self.resource(key)?.request(now)?,
        };
        // RFC 7252 §6.4: a host that is a name is told.
        if self.url.address().is_none() {
            request = request.option(OptionNumber::URI_HOST, self.url.host().as_bytes());
        }
        self.asked += 1;
        Some((aim, request))
    }

    /// Asks for another resource, of which it is observed because of an order.
    pub(super) fn add_ordered(
        &mut self,
        now: Instant,
        wanted: Wanted,
        order: u64,
        rng: &mut Rng,
    ) -> u32 {
        let key = self.next_key;
        self.next_key = key.wrapping_add(1);
        let mut resource = Resource::new(key, Arc::new(wanted), None, now, Duration::ZERO, rng);
        resource.is_ordered = true;
        resource.observe_now(now, order);
        self.resources.push(resource);
        key
    }

    /// The resource with this key.
    pub(super) fn resource(&mut self, key: u32) -> Option<&mut Resource> {
        self.resources.iter_mut().find(|resource| resource.key == key)
    }

    /// Notes that it was heard of; whether it had failed before.
    pub(super) fn handle_heard(&mut self, now: Instant) -> bool {
        self.heard = Some(now);
        self.silent_until = Instant::ZERO;
        std::mem::take(&mut self.failures_in_a_row) > 0
    }

    /// Notes that it did not answer: it is left alone for a while, longer each time.
    pub(super) fn handle_silence(&mut self, now: Instant, max: Duration, rng: &mut Rng) {
        let doublings = self.failures_in_a_row.min(16);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(max);
        self.silent_until = now + rng.duration(pause / 2, pause);
        // What the name stands for may have changed.
        self.address = self.url.address();
    }

    /// How often it did not answer since it was heard of.
    pub(super) fn failures_in_a_row(&self) -> usize {
        usize::try_from(self.failures_in_a_row).unwrap_or(usize::MAX)
    }

    /// Notes that it wants to be left alone (RFC 8516 §3, RFC 7252 §5.9.3.4).
    pub(super) fn handle_busy(&mut self, now: Instant, pause: Duration) {
        self.busy_until = now + pause.clamp(SHORTEST_BUSY, LONGEST_BUSY);
    }

    /// Notes that a request had no use.
    pub(super) const fn count_failure(&mut self) {
        self.failed += 1;
    }

    /// Notes what was wrong last.
    pub(super) fn note_why(&mut self, why: &str) {
        let end = why.char_indices().nth(MAX_WHY).map_or(why.len(), |(end, _)| end);
        self.last_failure = why.get(..end).map(Into::into);
    }

    /// Asks again later: for what failed after everything else that is due, for what was refused at
    /// its next point in time.
    pub(super) fn set_next(&mut self, now: Instant, aim: Aim, is_silent: bool) {
        match aim {
            Aim::Resource(key) => match self.resource(key) {
                Some(resource) if is_silent => resource.due = now,
                Some(resource) => resource.set_next(now),
                None => {}
            },
            Aim::Links => {
                if let Some(links) = &mut self.links {
                    let soon = links.grid.next(now).min(now + LINKS_RETRY);
                    links.due = if is_silent { now } else { soon };
                }
            }
        }
    }

    /// Reads the links again soon, because one led nowhere or the node may be another one now.
    pub(super) fn want_links(&mut self, now: Instant) {
        if let Some(links) = &mut self.links {
            let earliest = links.read_at.map_or(now, |at| at + LINKS_AGAIN).max(now);
            links.due = links.due.min(earliest);
        }
    }

    /// Takes the node's links: asks for those that are wanted and for no others any more. What to
    /// give up, and how many are too many.
    pub(super) fn handle_links(
        &mut self,
        now: Instant,
        found: &[Link],
        rng: &mut Rng,
    ) -> (Vec<CallId>, usize) {
        let Some(links) = &mut self.links else { return (Vec::new(), 0) };
        links.read_at = Some(now);
        links.due = links.grid.next(now);
        let mut paths: Vec<(ResourcePath, &Arc<Wanted>)> = Vec::new();
        for link in found.iter().filter(|link| link.attribute("anchor").is_none()) {
            let Some(wanted) = links.wanted.iter().find(|wanted| wanted.is_found_by(link)) else {
                continue;
            };
            let Ok(path) = link.target().parse::<ResourcePath>() else { continue };
            if path != ResourcePath::links() && !paths.iter().any(|(other, _)| *other == path) {
                paths.push((path, wanted));
            }
        }
        let surplus = paths.len().saturating_sub(MAX_FOUND);
        paths.truncate(MAX_FOUND);
        let is_there = |resource: &Resource| match resource.found() {
            Some(path) => paths
                .iter()
                .any(|(other, wanted)| other == path && Arc::ptr_eq(wanted, &resource.wanted)),
            None => true,
        };
        let gone = self.resources.iter().filter(|r| !is_there(r)).filter_map(|r| r.watch).collect();
        self.resources.retain(is_there);
        for (path, wanted) in &paths {
            if self.resources.iter().any(|resource| resource.found() == Some(path)) {
                continue;
            }
            let (key, wanted) = (self.next_key, Arc::clone(wanted));
            self.next_key = key.wrapping_add(1);
            let found = Some(path.clone());
            self.resources.push(Resource::new(key, wanted, found, now, Duration::ZERO, rng));
        }
        (gone, surplus)
    }

    /// What the operator sees.
    pub(super) fn report(&self, now: Instant) -> NodeReport {
        NodeReport {
            address: self.address,
            heard_seconds: self.heard.map(|heard| (now - heard).as_secs()),
            resources: self.resources.len(),
            observed: self.resources.iter().filter(|r| r.is_observed()).count(),
            asked: self.asked,
            failed: self.failed,
            failures_in_a_row: self.failures_in_a_row,
            last_failure: self.last_failure.as_deref().map(str::to_owned),
        }
    }
}
