use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::coap::content_format::JSON;
use crate::coap::link_format::write;

/// RFC 9176 §5: the payload of the example of a registration.
const PAYLOAD: &str = "</sensors/temp>;rt=temperature-c;if=sensor,\
    <http://www.example.com/sensors/temp>;anchor=\"/sensors/temp\";rel=describedby";
/// RFC 6690 §5: the sixth response, which RFC 9176 §6.3 registers.
const SENSORS: &str = "</sensors>;ct=40;title=\"Sensor Index\",\
    </sensors/temp>;rt=\"temperature-c\";if=\"sensor\",\
    </sensors/light>;rt=\"light-lux\";if=\"sensor\",\
    <http://www.example.com/sensors/t123>;anchor=\"/sensors/temp\";rel=\"describedby\",\
    </t>;anchor=\"/sensors/temp\";rel=\"alternate\"";

/// A directory with a clock.
struct Rig {
    directory: Directory,
    now: Instant,
    from: Requester,
}

impl Rig {
    fn new() -> Self {
        Self::with(DirectoryConfig::default())
    }

    fn with(config: DirectoryConfig) -> Self {
        let from = at("coap://[2001:db8:3::123]:61616");
        Self { directory: Directory::new(config, 0), now: Instant::ZERO, from }
    }

    fn post(&mut self, queries: &str, payload: &str) -> Response {
        let request = request(queries).content_format(LINK_FORMAT).payload(payload);
        self.directory.register(self.now, &self.from, &request)
    }

    /// Registers; the name of the registration.
    fn register(&mut self, queries: &str, payload: &str) -> String {
        let response = self.post(queries, payload);
        assert_eq!(response.code, Code::CREATED, "{:?}", String::from_utf8(response.payload));
        response.location().unwrap().strip_prefix("/rd/").unwrap().into()
    }

    fn update(&mut self, id: &str, queries: &str) -> Code {
        self.directory.update(self.now, &self.from, id, &request(queries)).code
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.directory.handle_timeout(self.now);
    }

    fn look(&self, what: Lookup, queries: &str) -> Vec<Link> {
        let get = Request { method: Method::Get, ..request(queries) };
        let response = self.directory.lookup(None, what, &get);
        assert_eq!(response.code, Code::CONTENT);
        assert_eq!(response.options.content_format(), Some(LINK_FORMAT));
        parse(str::from_utf8(&response.payload).unwrap()).unwrap()
    }

    fn resources(&self, queries: &str) -> Vec<Link> {
        self.look(Lookup::Resources, queries)
    }

    fn endpoints(&self, queries: &str) -> Vec<String> {
        let links = self.look(Lookup::Endpoints, queries);
        links.iter().map(|link| link.attribute("ep").unwrap().into()).collect()
    }
}

fn at(base: &str) -> Requester {
    Requester { base: Some(base.into()), zone: None }
}

fn request(queries: &str) -> Request {
    let queries = queries.split('&').filter(|query| !query.is_empty());
    queries.fold(Request::new(Method::Post), Request::query)
}

fn links(document: &str) -> Vec<Link> {
    parse(document).unwrap()
}

#[test]
fn the_example_of_a_registration_is_registered_once() {
    // RFC 9176 §5
    let mut rig = Rig::new();
    let first = rig.register("ep=node1", PAYLOAD);
    assert_eq!(rig.register("ep=node1", "</other>"), first, "the location stays");
    assert_eq!(write(&rig.resources("")), "<coap://[2001:db8:3::123]:61616/other>");
    assert_ne!(rig.register("ep=node1&d=floor-3", PAYLOAD), first, "another sector");
    assert_eq!(rig.register("ep=node1&d=floor-3", ""), rig.register("d=floor-3&ep=node1", ""));
    assert_eq!(rig.directory.registrations().count(), 2);
}

#[test]
fn the_examples_of_updates_move_and_remove_a_registration() {
    // RFC 9176 §5.3.1
    let mut rig = Rig::new();
    let id = rig.register("ep=endpoint1&lt=500&base=coap://local-proxy-old.example.com", PAYLOAD);
    let at = |base: &str| {
        links(&alloc::format!(
            "<{base}/sensors/temp>;rt=temperature-c;if=sensor,<http://www.example.com/sensors/temp>;\
             anchor=\"{base}/sensors/temp\";rel=describedby"
        ))
    };
    assert_eq!(rig.resources("ep=endpoint1"), at("coap://local-proxy-old.example.com"));
    assert_eq!(rig.update(&id, ""), Code::CHANGED);
    assert_eq!(rig.resources("ep=endpoint1"), at("coap://local-proxy-old.example.com"));
    assert_eq!(rig.update(&id, "base=coaps://new.example.com"), Code::CHANGED);
    assert_eq!(rig.resources("ep=endpoint1"), at("coaps://new.example.com"));
    // RFC 9176 §5.3.2
    assert_eq!(rig.directory.remove(&id).code, Code::DELETED);
    assert_eq!(rig.directory.remove(&id).code, Code::NOT_FOUND);
    assert_eq!(rig.update(&id, ""), Code::NOT_FOUND);
    assert!(rig.resources("").is_empty() && rig.directory.bytes == 0);
    assert_ne!(rig.register("ep=endpoint1", ""), id, "a location is not used again");
    let second = rig.register("ep=2", "");
    rig.directory.remove(&second);
    assert_ne!(rig.register("ep=3", ""), second, "nor is the last one");
    let mut other = Rig::new();
    other.directory = Directory::new(DirectoryConfig::default(), u64::MAX);
    assert_eq!(other.register("ep=1", ""), (1_u64 << 32).to_string());
}

#[test]
fn a_base_that_was_not_given_follows_the_address() {
    // RFC 9176 §5.3.1
    let mut rig = Rig::new();
    let id = rig.register("ep=n", "</a>");
    rig.from = at("coap://[2001:db8::2]");
    assert_eq!(rig.update(&id, "lt=60"), Code::CHANGED);
    assert_eq!(write(&rig.resources("")), "<coap://[2001:db8::2]/a>");
    assert_eq!(rig.update(&id, "base=coap://h"), Code::CHANGED);
    rig.from = at("coap://[2001:db8::3]");
    assert_eq!(rig.update(&id, ""), Code::CHANGED);
    assert_eq!(write(&rig.resources("")), "<coap://h/a>");
    rig.from = Requester::default();
    assert_eq!(rig.update(&id, ""), Code::CHANGED, "over TCP, a given base");
    let refused = rig.post("ep=other", "</a>");
    assert_eq!(refused.code, Code::BAD_REQUEST, "over TCP, none");
    rig.register("ep=other&base=coap+tcp://h", "</a>");
}

#[test]
fn who_sends_is_known_by_the_one_registration_that_has_its_address() {
    let mut rig = Rig::new();
    let here = rig.from.clone();
    rig.register("ep=a&lt=60", "");
    rig.register("ep=elsewhere&base=coap://h", "");
    let name =
        |rig: &Rig, from: &Requester| rig.directory.at(from).map(|it| String::from(it.endpoint()));
    assert_eq!(name(&rig, &here).as_deref(), Some("a"));
    assert_eq!(name(&rig, &at("coap://h")).as_deref(), Some("elsewhere"));
    assert_eq!(name(&rig, &Requester { zone: Some(1), ..here.clone() }), None);
    assert_eq!(name(&rig, &Requester::default()), None);
    rig.register("ep=b", "");
    assert_eq!(name(&rig, &here), None, "two of them");
    rig.pass(60);
    assert_eq!(name(&rig, &here).as_deref(), Some("b"), "the other one has lapsed");
}

#[test]
fn the_examples_of_resource_lookups_are_answered() {
    // RFC 9176 §6.3
    let mut rig = Rig::new();
    rig.register("ep=t", "</temp>;rt=\"tag:example.org,2020:temperature\",</x>;rt=x");
    let found = "<coap://[2001:db8:3::123]:61616/temp>;rt=\"tag:example.org,2020:temperature\"";
    assert_eq!(rig.resources("rt=tag:example.org,2020:temperature"), links(found));
    assert_eq!(rig.resources("rt=tag:example.org,2020:light"), vec![]);
    let mut rig = Rig::new();
    let all: Vec<_> = (0..10).map(|i| alloc::format!("</res/{i}>;ct=60")).collect();
    rig.register("ep=many", &all.join(","));
    for (page, range) in [(0, 0..5), (1, 5..10), (2, 10..10)] {
        let expected: Vec<_> = range
            .map(|i| alloc::format!("<coap://[2001:db8:3::123]:61616/res/{i}>;ct=60"))
            .collect();
        let found = rig.resources(&alloc::format!("page={page}&count=5"));
        assert_eq!(found, links(&expected.join(",")));
    }
    assert_eq!(rig.resources("count=3").len(), 3);
    for wrong in ["page=1", "count=x", "count", "count=1&count=2", "page=-1&count=1"] {
        let get = Request { method: Method::Get, ..request(wrong) };
        let refused = rig.directory.lookup(None, Lookup::Resources, &get);
        assert_eq!(refused.code, Code::BAD_REQUEST, "{wrong}");
    }
}

#[test]
fn the_example_of_a_lookup_over_endpoints_keeps_uris_and_resolves_paths() {
    // RFC 9176 §6.3
    let mut rig = Rig::new();
    let mut expected = Vec::new();
    for sensor in ["sensor1", "sensor2"] {
        let base = alloc::format!("coap://{sensor}.example.com");
        let et = "et=tag:example.com,2020:platform";
        rig.register(&alloc::format!("ep={sensor}&base={base}&{et}"), SENSORS);
        expected.extend(links(&alloc::format!(
            "<{base}/sensors>;ct=40;title=\"Sensor Index\",\
             <{base}/sensors/temp>;rt=temperature-c;if=sensor,\
             <{base}/sensors/light>;rt=light-lux;if=sensor,\
             <http://www.example.com/sensors/t123>;anchor=\"{base}/sensors/temp\";rel=describedby,\
             <{base}/t>;anchor=\"{base}/sensors/temp\";rel=alternate"
        )));
    }
    rig.register("ep=other", "</sensors>");
    assert_eq!(rig.resources("et=tag:example.com,2020:platform"), expected);
    // RFC 9176 §6.2: href and anchor in URI form, and the registration of an endpoint.
    assert_eq!(rig.resources("href=coap://sensor1.example.com/t"), expected[4..5]);
    assert_eq!(rig.resources("anchor=coap://sensor2.*"), expected[8..10]);
    assert_eq!(rig.resources("href=/rd/2"), expected[5..]);
    assert_eq!(rig.resources("if=sensor&ep=sensor1"), expected[1..3]);
}

#[test]
fn the_example_of_an_endpoint_lookup_is_answered() {
    // RFC 9176 §6.4
    let mut rig = Rig::new();
    let et = "et=tag:example.com,2020:platform&ct=40";
    rig.register(&alloc::format!("ep=node5&base=coap://[2001:db8:3::127]:61616&{et}"), "");
    let seven = "ep=node7&base=coap://[2001:db8:3::129]:61616&d=floor-3";
    rig.register(&alloc::format!("{seven}&{et}"), "</light>;rt=\"light lamp\"");
    rig.register("ep=node8", "");
    let found = rig.look(Lookup::Endpoints, "et=tag:example.com,2020:platform");
    let expected = "</rd/1>;ep=node5;base=\"coap://[2001:db8:3::127]:61616\";rt=\"core.rd-ep\";\
        et=\"tag:example.com,2020:platform\";ct=40,\
        </rd/2>;ep=node7;base=\"coap://[2001:db8:3::129]:61616\";rt=\"core.rd-ep\";d=floor-3;\
        et=\"tag:example.com,2020:platform\";ct=40";
    assert_eq!(found, links(expected));
    // RFC 9176 §6.2: an endpoint matches what one of its links does.
    assert_eq!(rig.endpoints("rt=lamp&d=floor-3"), ["node7"]);
    assert_eq!(rig.endpoints("href=coap://[2001:db8:3::129]:61616/light"), ["node7"]);
    assert_eq!(rig.endpoints("rt=core.rd-ep"), ["node5", "node7", "node8"]);
    assert_eq!(rig.endpoints("rt=core.rd-ep&page=1&count=2"), ["node8"]);
    assert!(rig.endpoints("rt=lamp&d=floor-4").is_empty());
}

#[test]
fn the_example_of_a_lighting_installation_finds_its_group() {
    // RFC 9176 §10.1.2
    let mut rig = Rig::new();
    let lights = "</light/left>;rt=\"tag:example.com,2020:light\",\
        </light/middle>;rt=\"tag:example.com,2020:light\",\
        </light/right>;rt=\"tag:example.com,2020:light\"";
    let sensor = "</ps>;rt=\"tag:example.com,2020:p-sensor\"";
    rig.register("ep=lm_R2-4-015_wndw&base=coap://[2001:db8:4::1]&d=R2-4-015", lights);
    rig.register("ep=lm_R2-4-015_door&base=coap://[2001:db8:4::2]&d=R2-4-015", lights);
    rig.register("ep=ps_R2-4-015_door&base=coap://[2001:db8:4::3]&d=R2-4-015", sensor);
    let group = "ep=grp_R2-4-015&et=core.rd-group&base=coap://[ff05::1]";
    rig.register(&alloc::format!("{group}&d=R2-4-015"), lights);
    let wanted = "d=R2-4-015&et=core.rd-group&rt=tag:example.com,2020:light";
    assert_eq!(rig.endpoints(wanted), ["grp_R2-4-015"]);
    assert_eq!(rig.resources("rt=tag:example.com,2020:light&d=R2-4-015").len(), 9);
}

#[test]
fn a_simple_registration_has_the_links_that_its_node_has() {
    // RFC 9176 §5.1
    let mut rig = Rig::new();
    let register = request("lt=6000&ep=node1");
    let begun = rig.directory.register_simply(rig.now, &rig.from, &register);
    assert_eq!(begun, Simple::Fetch);
    assert!(rig.resources("").is_empty());
    let core = Response::new(Code::CONTENT).content_format(LINK_FORMAT).max_age(100);
    let core = core.payload("</sen/temp>");
    let answer = rig.directory.finish_simply(rig.now, &rig.from, &register, &core);
    assert_eq!(answer, Response::new(Code::CHANGED));
    assert_eq!(write(&rig.resources("")), "<coap://[2001:db8:3::123]:61616/sen/temp>");
    // While that is fresh, the node is not asked again.
    rig.pass(99);
    let again = rig.directory.register_simply(rig.now, &rig.from, &register);
    assert_eq!(again, Simple::Answer(Response::new(Code::CHANGED)));
    rig.pass(5999);
    assert_eq!(rig.endpoints(""), ["node1"], "the lifetime began anew");
    let stale = rig.directory.register_simply(rig.now, &rig.from, &register);
    assert_eq!(stale, Simple::Fetch);
    rig.pass(1);
    assert!(rig.endpoints("").is_empty());
}

#[test]
fn what_is_no_simple_registration_is_refused() {
    // RFC 9176 §5.1: without base, without payload, not over TCP.
    let mut rig = Rig::new();
    let code = |simple| match simple {
        Simple::Answer(response) => response.code,
        Simple::Fetch => panic!("it is taken"),
    };
    for request in [
        request("ep=n&base=coap://h"),
        request("ep=n").payload("</a>"),
        request("lt=60"),
        request("ep=n&lt=0"),
    ] {
        let refused = rig.directory.register_simply(rig.now, &rig.from, &request);
        assert_eq!(code(refused), Code::BAD_REQUEST, "{request:?}");
    }
    let over_tcp = rig.directory.register_simply(rig.now, &Requester::default(), &request("ep=n"));
    assert_eq!(code(over_tcp), Code::BAD_REQUEST);
    for (fetched, expected) in [
        (Response::new(Code::NOT_FOUND), Code::BAD_GATEWAY),
        (Response::new(Code::CONTENT).content_format(JSON), Code::BAD_GATEWAY),
        (Response::new(Code::CONTENT).payload("garbage"), Code::BAD_REQUEST),
    ] {
        let answer = rig.directory.finish_simply(rig.now, &rig.from, &request("ep=n"), &fetched);
        assert_eq!(answer.code, expected);
    }
    assert_eq!(rig.directory.registrations().count(), 0);
}

#[test]
fn a_registration_lapses_after_its_lifetime_and_can_be_refreshed_for_a_while() {
    // RFC 9176 §5, §5.3
    let mut rig = Rig::new();
    let short = rig.register("ep=short&lt=60", "</a>");
    rig.register("ep=long", "</b>");
    rig.pass(59);
    assert_eq!(rig.endpoints(""), ["short", "long"]);
    let version = rig.directory.version();
    assert_eq!(rig.update(&short, ""), Code::CHANGED);
    assert_eq!(rig.directory.version(), version, "lookups show the same");
    rig.pass(59);
    assert_eq!(rig.endpoints(""), ["short", "long"], "the lifetime began anew");
    assert_eq!(rig.directory.deadline(), Some(rig.now + Duration::from_secs(1)));
    rig.pass(1);
    assert_eq!(rig.endpoints(""), ["long"]);
    assert!(rig.resources("rt=a").is_empty() && rig.directory.version() > version);
    rig.pass(GRACE.as_secs() - 1);
    assert_eq!(rig.update(&short, "lt=10"), Code::CHANGED);
    assert_eq!(rig.endpoints(""), ["short", "long"]);
    rig.pass(10 + GRACE.as_secs());
    assert_eq!(rig.update(&short, ""), Code::NOT_FOUND);
    // RFC 9176 §5: 90000 s where the lifetime is not given.
    rig.pass(90_000 - 60 - 60 - 2 * GRACE.as_secs() - 10);
    assert_eq!(rig.endpoints(""), ["long"]);
    rig.pass(60);
    assert!(rig.endpoints("").is_empty());
    rig.pass(GRACE.as_secs());
    assert_eq!((rig.directory.bytes, rig.directory.deadline()), (0, None));
    assert_eq!((rig.directory.registrations.len(), rig.directory.by_name.len()), (0, 0));
}

#[test]
fn parameters_that_are_none_are_refused() {
    // RFC 9176 §5, §5.3.1
    let mut rig = Rig::new();
    let id = rig.register("ep=n", "</a>");
    let long = "n".repeat(64);
    let queries = [
        "",
        "ep",
        "ep=",
        "ep=a&ep=b",
        "ep=a\u{7f}",
        "ep=a\u{9f}",
        "ep=a&d=",
        "ep=a&lt=0",
        "ep=a&lt=4294967296",
        "ep=a&lt=-1",
        "ep=a&lt=+1",
        "ep=a&lt=",
        "ep=a&base=h",
        "ep=a&base=coap://h/path",
        "ep=a&base=coap://h&base=coap://h",
        "ep=a&page=1",
        "ep=a&count=1",
        "ep=a&rt=x",
        "ep=a&href=/x",
        "ep=a&anchor=/x",
        "ep=a&if=x&if=y",
        "ep=a&b\"c=1",
        "ep=a&=1",
        &alloc::format!("ep={long}"),
        &alloc::format!("ep=a&d={long}"),
    ];
    for query in queries {
        assert_eq!(rig.post(query, "</a>").code, Code::BAD_REQUEST, "{query}");
    }
    for query in ["ep=n", "d=x", "ep=n&lt=60", "lt=0", "base=x", "rt=x"] {
        assert_eq!(rig.update(&id, query), Code::BAD_REQUEST, "{query}");
    }
    let body = request("").payload("</b>");
    let refused = rig.directory.update(rig.now, &rig.from, &id, &body);
    assert_eq!(refused.code, Code::BAD_REQUEST);
    for name in ["01", "+1", " 1", "2", "", "18446744073709551616"] {
        assert_eq!(rig.update(name, ""), Code::NOT_FOUND, "{name}");
    }
    assert_eq!(rig.directory.registrations().count(), 1);
    let name = "\u{e9}".repeat(31);
    rig.register(&alloc::format!("ep={name}&lt=4294967295&d={name}&x&x=1&y=2"), "");
    assert_eq!(rig.endpoints("x=1&y&d=\u{e9}*"), [name]);
}

#[test]
fn documents_that_are_not_limited_link_format_are_refused() {
    // RFC 9176 §5, appendix C
    let mut rig = Rig::new();
    for payload in ["garbage", "<a>", "<>", "<//h/a>", "</a>;anchor=\"b\"", "</a>;anchor", "<?q>"] {
        assert_eq!(rig.post("ep=n", payload).code, Code::BAD_REQUEST, "{payload}");
    }
    let second = "</a>;anchor=\"/b\";anchor=\"c\"";
    assert_eq!(rig.post("ep=n", second).code, Code::BAD_REQUEST);
    let json = request("ep=n").content_format(JSON).payload("[]");
    let refused = rig.directory.register(rig.now, &rig.from, &json);
    assert_eq!(refused.code, Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(rig.directory.registrations().count(), 0);
}

#[test]
fn a_link_local_base_is_shown_on_its_link_only() {
    // RFC 9176 §3.4, §6.1, §6.4
    let mut rig = Rig::new();
    rig.from = Requester { base: Some("coap://[fe80::1]".into()), zone: Some(2) };
    rig.register("ep=near", "</a>");
    rig.register("ep=far&base=coap://[2001:db8::1]", "</a>");
    let get = Request { method: Method::Get, ..request("") };
    let seen = |zone| {
        let response = rig.directory.lookup(zone, Lookup::Endpoints, &get);
        parse(str::from_utf8(&response.payload).unwrap()).unwrap().len()
    };
    assert_eq!([seen(Some(2)), seen(Some(3)), seen(None)], [2, 1, 1]);
    rig.from = at("coap://[2001:db8::1]");
    let elsewhere = rig.post("ep=x&base=coap://[fe80::2]", "</a>");
    assert_eq!(elsewhere.code, Code::BAD_REQUEST);
}

#[test]
fn lookups_take_a_get_and_know_one_format() {
    let rig = Rig::new();
    let get = Request::new(Method::Get);
    let code = |request: &Request| rig.directory.lookup(None, Lookup::Resources, request).code;
    assert_eq!(code(&get), Code::CONTENT, "RFC 9176 §6.2: also with no links");
    assert_eq!(code(&get.clone().accept(LINK_FORMAT)), Code::CONTENT);
    assert_eq!(code(&get.accept(JSON)), Code::NOT_ACCEPTABLE);
    assert_eq!(code(&Request::new(Method::Post)), Code::METHOD_NOT_ALLOWED);
}

#[test]
fn a_full_directory_says_when_to_come_back() {
    let mut rig = Rig::with(DirectoryConfig { max_registrations: 2, ..Default::default() });
    rig.register("ep=a&lt=50", "</a>");
    rig.register("ep=b&lt=70", "</a>");
    let full = rig.post("ep=c", "</a>");
    assert_eq!(full.code, Code::SERVICE_UNAVAILABLE);
    assert_eq!(full.retry_after(), Some(Duration::from_secs(50)));
    rig.register("ep=b&lt=70", "</b>");
    rig.pass(50);
    rig.register("ep=c", "</a>");
    assert_eq!(rig.endpoints(""), ["b", "c"], "what has lapsed gave way");
    let config = DirectoryConfig { max_registration_bytes: 1000, ..Default::default() };
    let mut rig = Rig::with(DirectoryConfig { max_bytes: 1500, ..config });
    let large = rig.post("ep=a", &alloc::format!("</{}>", "x".repeat(1000)));
    assert_eq!(large.code, Code::REQUEST_ENTITY_TOO_LARGE);
    let large = alloc::format!("</{}>", "x".repeat(500));
    let id = rig.register("ep=a", &large);
    assert_eq!(rig.post("ep=b", &large).code, Code::SERVICE_UNAVAILABLE);
    rig.register("ep=a", &large);
    let long = alloc::format!("base=coap://{}", "h".repeat(200));
    assert_eq!(rig.update(&id, &long), Code::REQUEST_ENTITY_TOO_LARGE, "with a longer base");
    assert_eq!(rig.resources("").len(), 1);
}

/// What nodes do to a directory.
#[derive(Clone, Debug)]
enum Step {
    Register { queries: String, payload: String },
    Simply { queries: String, payload: String },
    Update { id: u8, queries: String },
    Remove { id: u8 },
    Pass { seconds: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let query = prop_oneof![
        4 => "ep=[a-h]{1,2}",
        1 => "(d|lt|base|et|x|page|rt)=?[a-z0-9:/.\\[\\]]{0,70}",
        1 => "lt=[0-9]{1,4}",
        1 => "base=coap://[a-z]{1,40}",
        1 => "\\PC{0,12}",
    ];
    let queries = prop::collection::vec(query, 0..4).prop_map(|queries| queries.join("&"));
    let payload = prop_oneof![
        3 => prop::collection::vec("</[a-z]{0,40}>(;[a-z]{1,3}(=\"[a-z ]{0,20}\")?){0,3}", 0..30)
            .prop_map(|links| links.join(",")),
        1 => "\\PC{0,200}",
    ];
    let both = (queries, payload);
    let step = prop_oneof![
        6 => both.clone().prop_map(|(queries, payload)| Step::Register { queries, payload }),
        2 => both.clone().prop_map(|(queries, payload)| Step::Simply { queries, payload }),
        2 => (any::<u8>(), both.0).prop_map(|(id, queries)| Step::Update { id, queries }),
        1 => any::<u8>().prop_map(|id| Step::Remove { id }),
        1 => (0_u32..4000).prop_map(|seconds| Step::Pass { seconds }),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 64, ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_is_registered_grows_beyond_the_limits(steps in steps()) {
        let config = DirectoryConfig {
            max_registrations: 12,
            max_bytes: 8000,
            max_registration_bytes: 3000,
            ..Default::default()
        };
        let mut rig = Rig::with(config.clone());
        for step in steps {
            match step {
                Step::Register { queries, payload } => drop(rig.post(&queries, &payload)),
                Step::Simply { queries, payload } => {
                    let fetched = Response::new(Code::CONTENT).payload(payload);
                    let request = request(&queries);
                    if rig.directory.register_simply(rig.now, &rig.from, &request) == Simple::Fetch {
                        rig.directory.finish_simply(rig.now, &rig.from, &request, &fetched);
                    }
                }
                Step::Update { id, queries } => drop(rig.update(&(id % 16).to_string(), &queries)),
                Step::Remove { id } => drop(rig.directory.remove(&(id % 16).to_string())),
                Step::Pass { seconds } => rig.pass(seconds.into()),
            }
            let directory = &rig.directory;
            let count = directory.registrations.len();
            prop_assert!(count <= config.max_registrations && directory.bytes <= config.max_bytes);
            let indexes = [directory.by_name.len(), directory.by_base.len(), directory.due.len()];
            prop_assert_eq!(indexes, [count; 3]);
            let sizes = directory.registrations.values().map(Registration::size);
            prop_assert_eq!(sizes.sum::<usize>(), directory.bytes);
            let shown = rig.look(Lookup::Resources, "");
            prop_assert!(write(&shown).len() <= config.max_bytes);
            let lapsed = |r: &Registration| r.expires() <= rig.now;
            prop_assert!(!directory.registrations().any(lapsed));
        }
    }
}
