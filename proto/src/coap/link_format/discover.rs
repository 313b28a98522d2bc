//! The answer to a request for links (RFC 6690 §4).

use alloc::vec::Vec;

use super::super::content_format::LINK_FORMAT;
use super::super::{Code, Delivery, Method, Request, Response};
use super::{Filter, Link, write};

/// Answers a GET with those of `links` that all arguments of its query match.
///
/// Where nothing matches, the document is empty; a group gets an error, which is not sent (§4.1).
/// Anything but a GET is 4.05, another format than this one 4.06.
pub fn discover(links: &[Link], request: &Request, delivery: Delivery) -> Response {
    if request.method != Method::Get {
        return Response::new(Code::METHOD_NOT_ALLOWED);
    }
    if let Err(response) = request.negotiate(&[LINK_FORMAT]) {
        return response;
    }
    let filters: Vec<_> = request.queries().map(Filter::new).collect();
    let is_wanted = |link: &&Link| filters.iter().all(|filter| filter.matches(link));
    let document = write(links.iter().filter(is_wanted));
    if document.is_empty() && delivery == Delivery::Multicast {
        return Response::new(Code::NOT_FOUND);
    }
    Response::new(Code::CONTENT).content_format(LINK_FORMAT).payload(document)
}
