//! What `/.well-known/core` and `/path` say (RFC 6690).

use proto::coap::link_format::{Link, LinkFault};

/// Path, then attributes; one without `=` has no value.
type Row = (&'static str, &'static [&'static str]);

const SITE: &[Row] = &[
    ("/test", &["title=Default test resource"]),
    ("/seg1/seg2/seg3", &["title=Long path resource"]),
    ("/query", &["title=Resource accepting query parameters"]),
    ("/separate", &["title=Resource which cannot be served immediately"]),
    ("/large", &["title=Large resource", "rt=block", "sz=1280"]),
    ("/large-update", &["title=Large resource that can be updated using PUT", "rt=block"]),
    ("/large-create", &["title=Large resource that can be created using POST", "rt=block"]),
    ("/large-post", &["title=Handle POST with two-way blockwise transfer", "rt=block"]),
    ("/obs", &["title=Observable resource", "rt=observe", "obs"]),
    ("/obs-non", &["title=Observable resource, for NON", "rt=observe", "obs"]),
    ("/obs-large", &["title=Observable large resource", "rt=observe", "sz=1280", "obs"]),
    ("/obs-pumping", &["title=Observable resource that changes fast", "rt=observe", "obs"]),
    ("/obs-reset", &["title=Ends all observations by POST", "rt=observe", "obs"]),
    ("/multi-format", &["title=Resource in several formats", "ct=0 41"]),
    ("/validate", &["title=Resource which varies"]),
    ("/create1", &["title=Resource which does not exist yet"]),
    ("/location-query", &["title=Answers POST with Location-Query"]),
    ("/location1/location2/location3", &["title=What POST to /test created"]),
    ("/link1", &["title=Link test resource", "rt=Type1 Type2", "if=If1"]),
    ("/link2", &["title=Link test resource", "rt=Type2 Type3", "if=If2"]),
    ("/link3", &["title=Link test resource", "rt=Type1 Type3", "if=foo"]),
    ("/path", &["title=Hierarchical link description entry", "ct=40"]),
];

const PATH: &[Row] = &[
    ("/path/sub1", &["title=Hierarchical link description sub-resource"]),
    ("/path/sub2", &["title=Hierarchical link description sub-resource"]),
    ("/path/sub3", &["title=Hierarchical link description sub-resource"]),
];

/// The links of the whole site, without those below `/path`.
pub(super) fn of_site() -> Vec<Link> {
    links(SITE)
}

/// The links below `/path`.
pub(super) fn of_path() -> Vec<Link> {
    links(PATH)
}

fn links(rows: &[Row]) -> Vec<Link> {
    // All rows are links, as the test below shows.
    rows.iter().filter_map(|row| link(row).ok()).collect()
}

fn link(&(target, attributes): &Row) -> Result<Link, LinkFault> {
    attributes.iter().try_fold(Link::new(target)?, |link, attribute| {
        match attribute.split_once('=') {
            Some((name, value)) => link.with(name, value),
            None => link.with_flag(attribute),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_link() {
        for row in SITE.iter().chain(PATH) {
            assert!(link(row).is_ok(), "{row:?}");
        }
    }
}
