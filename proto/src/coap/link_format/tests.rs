use alloc::string::ToString as _;
use alloc::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::coap::{Code, Delivery, Method, Request, Response, content_format};

/// RFC 6690 §5: the examples, in the order of the section, without line breaks.
const EXAMPLES: &[&str] = &[
    "</sensors>;ct=40",
    "</sensors/temp>;if=\"sensor\",</sensors/light>;if=\"sensor\"",
    "</sensors>;ct=40;title=\"Sensor Index\",</sensors/temp>;rt=\"temperature-c\";if=\"sensor\",\
     </sensors/light>;rt=\"light-lux\";if=\"sensor\",\
     <http://www.example.com/sensors/t123>;anchor=\"/sensors/temp\";rel=\"describedby\",\
     </t>;anchor=\"/sensors/temp\";rel=\"alternate\"",
    "</sensors/light>;rt=\"light-lux\";if=\"sensor\"",
    "</firmware/v2.1>;rt=\"firmware\";sz=262144",
];

fn index() -> Vec<Link> {
    parse(EXAMPLES[2]).unwrap()
}

fn fault(document: &str) -> (usize, LinkFault) {
    let LinkError { at, fault } = parse(document).unwrap_err();
    (at, fault)
}

#[test]
fn the_examples_of_the_rfc_are_read_and_written() {
    // RFC 6690 §5
    for example in EXAMPLES {
        assert_eq!(write(&parse(example).unwrap()), *example);
    }
    let links = index();
    assert_eq!(links.len(), 5);
    assert_eq!(links[0].target(), "/sensors");
    assert_eq!(links[0].attribute("title"), Some("Sensor Index"));
    assert_eq!(links[3].attribute("anchor"), Some("/sensors/temp"));
    assert_eq!(links[3].attribute("ct"), None);
}

#[test]
fn links_are_read_in_all_forms() {
    // RFC 6690 §2
    let links = parse("</a>;obs;x=a/b*;title=\"q\\\"\\\\, ; > °\",<>;n=1").unwrap();
    let attributes: Vec<_> = links[0].attributes().collect();
    let title = ("title", Some("q\"\\, ; > °"));
    assert_eq!(attributes, [("obs", None), ("x", Some("a/b*")), title]);
    assert_eq!((links[1].target(), links[1].attribute("n")), ("", Some("1")));
    assert_eq!(parse(""), Ok(vec![]));
}

#[test]
fn what_is_no_link_is_refused_with_its_place() {
    // RFC 6690 §2: no white space, nothing left open.
    for (document, at) in [
        ("x", 0),
        ("</a", 1),
        ("</a>,", 5),
        ("</a>, </b>", 5),
        ("</a> ;x", 4),
        ("</a>;x=", 7),
        ("</a>;x=\"", 7),
        ("</a>;x=\"y\\", 7),
        ("</a>;x=\"y\"z", 10),
        ("</a></b>", 4),
        (",</a>", 0),
    ] {
        assert_eq!(fault(document), (at, LinkFault::Syntax), "{document}");
    }
    assert_eq!(fault("</a b>"), (1, LinkFault::Target));
    assert_eq!(fault("</a%2>"), (1, LinkFault::Target));
    assert_eq!(fault("</°>"), (1, LinkFault::Target));
    assert_eq!(fault("</a>;;"), (4, LinkFault::Name));
    assert_eq!(fault("</a>;=1"), (4, LinkFault::Name));
    assert_eq!(fault("</a>;x=\"\n\""), (4, LinkFault::Value));
    // RFC 6690 §3.1, §3.2, §3.3; RFC 7252 §7.2.1
    for name in ["rt", "if", "sz", "ct"] {
        assert_eq!(fault(&format!("</a>;{name}=1;{name}=2")), (9, LinkFault::Repeated));
    }
    assert!(parse("</a>;hreflang=a;hreflang=b").is_ok());
}

#[test]
fn documents_have_limits() {
    let many = vec!["</a>"; MAX_LINKS].join(",");
    assert_eq!(parse(&many).unwrap().len(), MAX_LINKS);
    assert_eq!(fault(&format!("{many},</a>")).1, LinkFault::TooMany);
    let wide = format!("</a>{}", ";x".repeat(MAX_ATTRIBUTES));
    assert!(parse(&wide).is_ok());
    assert_eq!(fault(&format!("{wide};x")).1, LinkFault::TooMany);
}

#[test]
fn a_link_that_would_not_read_back_cannot_be_made() {
    assert_eq!(Link::new("/a>"), Err(LinkFault::Target));
    let link = || Link::new("/a").unwrap();
    assert_eq!(link().with("r t", "x"), Err(LinkFault::Name));
    assert_eq!(link().with_flag(""), Err(LinkFault::Name));
    assert_eq!(link().with("rt", "\0"), Err(LinkFault::Value));
    let made = link().with("rt", "a b").and_then(|link| link.with_flag("obs")).unwrap();
    assert_eq!(made.to_string(), "</a>;rt=\"a b\";obs");
}

fn chosen(query: &str) -> Vec<alloc::string::String> {
    let filter = Filter::new(query);
    let links = index();
    links.iter().filter(|link| filter.matches(link)).map(|l| l.target().to_string()).collect()
}

#[test]
fn filters_choose_by_target_and_attribute() {
    // RFC 6690 §4.1, §5: ?rt=light-lux
    assert_eq!(chosen("rt=light-lux"), ["/sensors/light"]);
    assert_eq!(chosen("if=sensor"), ["/sensors/temp", "/sensors/light"]);
    assert_eq!(chosen("href=/sensors/temp"), ["/sensors/temp"]);
    assert_eq!(chosen("title=Sensor Index"), ["/sensors"]);
    assert_eq!(chosen("rt=light"), [""; 0], "the whole value, without *");
    assert_eq!(chosen("anchor=/sensors/temp").len(), 2);
}

#[test]
fn a_star_at_the_end_stands_for_any_rest() {
    // RFC 6690 §4.1
    assert_eq!(chosen("rt=light*"), ["/sensors/light"]);
    assert_eq!(chosen("href=/sensors*").len(), 3);
    assert_eq!(chosen("rt=*").len(), 2, "those that have the attribute");
    assert_eq!(chosen("rt").len(), 2);
    assert_eq!(chosen("rt=*lux"), [""; 0], "not at the beginning");
}

#[test]
fn one_item_of_a_list_is_enough() {
    // RFC 6690 §4.1: relation-types; RFC 7252 §7.2.1: ct.
    let link = parse("</r>;rt=\"gateway.readings core.x\";ct=\"110 112\";title=\"a b\"").unwrap();
    let matches = |query| Filter::new(query).matches(&link[0]);
    assert!(matches("rt=core.x") && matches("rt=gateway*") && matches("ct=112"));
    assert!(matches("rt=gateway.readings core.x"));
    assert!(!matches("rt=core") && !matches("ct=11") && !matches("title=b"));
}

#[test]
fn discovery_answers_with_the_links_that_match() {
    // RFC 6690 §4
    let request = |query: &str| Request::new(Method::Get).path(".well-known/core").query(query);
    let answer = |request: &Request| discover(&index(), request, Delivery::Unicast);
    let found = answer(&request("rt=light-lux"));
    assert_eq!(found.options.content_format(), Some(content_format::LINK_FORMAT));
    assert_eq!(found.payload, EXAMPLES[3].as_bytes());
    assert_eq!(answer(&request("rt=light-lux").query("href=/x")).payload, b"", "all of them");
    assert_eq!(answer(&request("rt=x")).code, Code::CONTENT);
    let group = discover(&index(), &request("rt=x"), Delivery::Multicast);
    assert_eq!(group.code, Code::NOT_FOUND, "which is not sent");
    let json = request("rt=x").accept(content_format::JSON);
    assert_eq!(answer(&json), Response::new(Code::NOT_ACCEPTABLE));
    assert_eq!(answer(&Request::new(Method::Post)), Response::new(Code::METHOD_NOT_ALLOWED));
}

prop_compose! {
    fn link()(
        target in "(/[a-z0-9._~%&;,=]{0,8}){0,3}",
        attributes in prop::collection::vec(("[a-z!#*.-]{1,6}", prop::option::of("\\PC{0,12}")), 0..5),
    ) -> Option<Link> {
        let link = Link::new(&target).ok()?;
        attributes.iter().try_fold(link, |link, (name, value)| match value {
            Some(value) => link.with(name, value).ok(),
            None => link.with_flag(name).ok(),
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back(links in prop::collection::vec(link(), 0..6)) {
        let links: Vec<_> = links.into_iter().flatten().collect();
        prop_assert_eq!(parse(&write(&links)), Ok(links));
    }

    #[test]
    fn any_text_is_links_or_an_error(text in "[<>/a;=\",\\\\ %*\\n°]{0,24}") {
        match parse(&text) {
            Ok(links) => prop_assert_eq!(parse(&write(&links)), Ok(links)),
            Err(LinkError { at, .. }) => prop_assert!(at <= text.len()),
        }
    }

    #[test]
    fn edited_examples_are_links_or_an_error(
        example in prop::sample::select(EXAMPLES),
        at in any::<prop::sample::Index>(),
        with in "[<>;=\",\\\\ a]{0,2}",
    ) {
        let at = at.index(example.len());
        let text = format!("{}{with}{}", &example[..at], &example[at + 1..]);
        if let Ok(links) = parse(&text) {
            prop_assert_eq!(parse(&write(&links)), Ok(links));
        }
    }
}
