//! What is asked of nodes, as it was configured: shared by all nodes that it is asked of.

use std::sync::Arc;
use std::time::Duration;

use proto::coap::content_format::{
    JSON, LINK_FORMAT, OCTET_STREAM, SENML_CBOR, SENML_JSON, TEXT_PLAIN,
};
use proto::coap::link_format::Link;
use proto::coap::{Method, Request};

use crate::config::{Accept, CoapPollLink, Interval, LinkFilter, PollResource, ResourcePath};
use crate::pipeline::Pattern;

/// A resource, or several that are found by their links.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) what: What,
    pub(super) interval: Duration,
    pub(super) observe: bool,
    pub(super) accept: Option<u16>,
    /// Name of a reading whose payload does not name it, in place of the path.
    pub(super) name: Option<String>,
    /// Unit of a plain value.
    pub(super) unit: Option<String>,
    /// Nodes that have it.
    pub(super) nodes: Pattern,
}

/// Where it is.
#[derive(Debug)]
pub(super) enum What {
    /// At this path.
    Path(ResourcePath),
    /// Wherever a link leads that has all of these.
    Links(Vec<LinkFilter>),
}

impl Wanted {
    /// Everything that is configured.
    pub(super) fn all(link: &CoapPollLink) -> Vec<Arc<Self>> {
        link.resources.values().filter_map(|r| Self::new(r, link.interval)).map(Arc::new).collect()
    }

    fn new(config: &PollResource, interval: Interval) -> Option<Self> {
        let what = match (&config.path, &config.discover) {
            (Some(path), _) => What::Path(path.clone()),
            (None, Some(filters)) => What::Links(filters.clone()),
            // The checks of the configuration refuse it.
            (None, None) => return None,
        };
        Some(Self {
            what,
            interval: config.interval.unwrap_or(interval).duration(),
            observe: config.observe,
            accept: config.accept.map(number),
            name: config.name.clone(),
            unit: config.unit.clone(),
            nodes: config.nodes.clone(),
        })
    }

    /// A resource of a node that is observed because of an order.
    pub(super) fn ordered(path: ResourcePath, interval: Duration) -> Self {
        let nodes = Pattern::default();
        let (accept, name, unit) = (None, None, None);
        Self { what: What::Path(path), interval, observe: true, accept, name, unit, nodes }
    }

    /// Whether a link leads to one.
    pub(super) fn is_found_by(&self, link: &Link) -> bool {
        match &self.what {
            What::Path(_) => false,
            What::Links(filters) => filters.iter().all(|filter| filter.matches(link)),
        }
    }

    /// The request for one at `path`.
    pub(super) fn request(&self, path: &ResourcePath) -> Request {
        let request = path.request(Request::new(Method::Get));
        match self.accept {
            Some(format) => request.accept(format),
            None => request,
        }
    }
}

/// The request for the links of a node (RFC 6690 §4).
pub(super) fn links_request() -> Request {
    ResourcePath::links().request(Request::new(Method::Get)).accept(LINK_FORMAT)
}

const fn number(accept: Accept) -> u16 {
    match accept {
        Accept::Text => TEXT_PLAIN,
        Accept::OctetStream => OCTET_STREAM,
        Accept::Json => JSON,
        Accept::SenmlJson => SENML_JSON,
        Accept::SenmlCbor => SENML_CBOR,
    }
}
