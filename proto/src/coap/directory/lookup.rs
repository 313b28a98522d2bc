//! Lookups (RFC 9176 §6): which links of which registrations.

use alloc::vec::Vec;

use super::super::content_format::LINK_FORMAT;
use super::super::link_format::{Filter, Link, write};
use super::super::{Code, Request, Response};
use super::{DirectoryFault, Registration};

/// What is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// `core.rd-lookup-ep`: endpoints.
    Endpoints,
    /// `core.rd-lookup-res`: their resources.
    Resources,
}

/// A part of the links that were found.
struct Page {
    skip: usize,
    count: usize,
}

pub(super) fn answer<'a>(
    registrations: impl Iterator<Item = &'a Registration>,
    what: Lookup,
    request: &Request,
) -> Response {
    if let Err(refusal) = request.negotiate(&[LINK_FORMAT]) {
        return refusal;
    }
    let page = match Page::of(request) {
        Ok(page) => page,
        Err(fault) => return fault.into(),
    };
    let is_filter = |argument: &&str| !matches!(name(argument), "page" | "count");
    let filters: Vec<_> = request.queries().filter(is_filter).map(Filter::new).collect();
    let links = registrations.flat_map(|registration| found(registration, what, &filters));
    let document = write(links.skip(page.skip).take(page.count));
    Response::new(Code::CONTENT).content_format(LINK_FORMAT).payload(document)
}

/// The links of a registration that match (RFC 9176 §6.2): a link matches what its endpoint does,
/// and an endpoint what any of its links does.
fn found<'a>(
    registration: &'a Registration,
    what: Lookup,
    filters: &[Filter<'_>],
) -> Vec<&'a Link> {
    let (own, links) = (registration.own(), registration.links());
    match what {
        Lookup::Endpoints => {
            let any = |filter: &Filter<'_>| links.iter().any(|link| filter.matches(link));
            let is_found = filters.iter().all(|filter| filter.matches(own) || any(filter));
            Vec::from_iter(is_found.then_some(own))
        }
        Lookup::Resources => {
            let of_link: Vec<_> = filters.iter().filter(|filter| !filter.matches(own)).collect();
            let is_found = |link: &&Link| of_link.iter().all(|filter| filter.matches(link));
            links.iter().filter(is_found).collect()
        }
    }
}

impl Page {
    fn of(request: &Request) -> Result<Self, DirectoryFault> {
        let (mut page, mut count) = (None, None);
        for argument in request.queries() {
            let slot = match name(argument) {
                "page" => &mut page,
                "count" => &mut count,
                _ => continue,
            };
            let (_, number) = argument.split_once('=').ok_or(DirectoryFault::Page)?;
            let number = number.parse::<u32>().map_err(|_| DirectoryFault::Page)?;
            let number = usize::try_from(number).map_err(|_| DirectoryFault::Page)?;
            if slot.replace(number).is_some() {
                return Err(DirectoryFault::Page);
            }
        }
        match (page, count) {
            (None, None) => Ok(Self { skip: 0, count: usize::MAX }),
            (page, Some(count)) => {
                Ok(Self { skip: page.unwrap_or(0).saturating_mul(count), count })
            }
            (Some(_), None) => Err(DirectoryFault::Page),
        }
    }
}

fn name(argument: &str) -> &str {
    argument.split_once('=').map_or(argument, |(name, _)| name)
}
