//! TD_COAP_LINK: discovery (RFC 6690).

use std::collections::BTreeSet;

use proto::coap::content_format::LINK_FORMAT;
use proto::coap::link_format::{Link, parse};
use serde_json::json;

use super::aiocoap::aiocoap;
use super::libcoap::libcoap;
use super::server::Server;

fn links(server: &Server, path: &str) -> Vec<Link> {
    parse(&libcoap(server.address, path, &[])).unwrap()
}

fn targets(links: &[Link]) -> BTreeSet<&str> {
    links.iter().map(Link::target).collect()
}

/// The targets of the links that a filter leaves.
#[track_caller]
fn assert_filtered(query: &str, expected: &[&str]) {
    let server = Server::start();
    let links = links(&server, &format!("/.well-known/core?{query}"));
    assert_eq!(targets(&links), expected.iter().copied().collect(), "{query}");
}

/// `/.well-known/core` has the links of all resources, as application/link-format, block-wise
/// because they are many.
#[test]
fn td_coap_link_01_discovery() {
    let server = Server::start();
    let results = aiocoap(server.address, &json!([{"method": "GET", "path": "/.well-known/core"}]));
    assert_eq!(results[0]["format"], json!(LINK_FORMAT));
    let document = results[0]["payload"].as_str().unwrap();
    let links = parse(document).unwrap();
    let expected = BTreeSet::from([
        "/test",
        "/seg1/seg2/seg3",
        "/query",
        "/separate",
        "/large",
        "/large-update",
        "/large-create",
        "/large-post",
        "/obs",
        "/obs-non",
        "/obs-large",
        "/obs-pumping",
        "/obs-reset",
        "/multi-format",
        "/validate",
        "/create1",
        "/location-query",
        "/location1/location2/location3",
        "/link1",
        "/link2",
        "/link3",
        "/path",
    ]);
    assert_eq!(targets(&links), expected);
    assert!(links.iter().all(|link| link.attribute("title").is_some()));
}

/// A filter by resource type leaves the links that have it.
#[test]
fn td_coap_link_02_filter_by_rt() {
    assert_filtered("rt=Type1", &["/link1", "/link3"]);
}

/// An empty prefix leaves the links that have the attribute at all.
#[test]
fn td_coap_link_03_empty_prefix() {
    let server = Server::start();
    let with_type = links(&server, "/.well-known/core?rt=*");
    assert!(with_type.iter().all(|link| link.attribute("rt").is_some()));
    let all = links(&server, "/.well-known/core");
    let expected: Vec<_> = all.into_iter().filter(|link| link.attribute("rt").is_some()).collect();
    assert_eq!(with_type, expected);
    assert!(!expected.is_empty());
}

/// A type that is one of several of a link is found.
#[test]
fn td_coap_link_04_one_of_several_types() {
    assert_filtered("rt=Type2", &["/link1", "/link2"]);
}

/// A filter by the beginning of an interface description.
#[test]
fn td_coap_link_05_filter_by_if_prefix() {
    assert_filtered("if=If*", &["/link1", "/link2"]);
}

/// A filter by the beginning of a size, which may be empty: the links that have one.
#[test]
fn td_coap_link_06_filter_by_sz_prefix() {
    assert_filtered("sz=*", &["/large", "/obs-large"]);
    assert_filtered("sz=12*", &["/large", "/obs-large"]);
    assert_filtered("sz=2*", &[]);
}

/// A filter by a whole target.
#[test]
fn td_coap_link_07_filter_by_href() {
    assert_filtered("href=/link1", &["/link1"]);
}

/// A filter by the beginning of a target.
#[test]
fn td_coap_link_08_filter_by_href_prefix() {
    assert_filtered("href=/link*", &["/link1", "/link2", "/link3"]);
}

/// A link with `ct=40` leads to further links, whose targets answer.
#[test]
fn td_coap_link_09_links_below_a_link() {
    let server = Server::start();
    let entries = links(&server, "/.well-known/core?ct=40");
    assert_eq!(targets(&entries), BTreeSet::from(["/path"]));
    let below = links(&server, entries[0].target());
    assert_eq!(targets(&below), BTreeSet::from(["/path/sub1", "/path/sub2", "/path/sub3"]));
    for link in below {
        let name = link.target().rsplit('/').next().unwrap();
        assert_eq!(libcoap(server.address, link.target(), &[]), name);
    }
}
