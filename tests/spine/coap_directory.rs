//! The resource directory (RFC 9176), by libcoap's client and nodes of aiocoap.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use proto::coap::{Message, MessageType};
use serde_json::{Value, json};

use crate::coap::{Answer, aiocoap, libcoap, libcoap_answer};
use crate::harness::clock::{PATIENCE, wait_until};
use crate::harness::coap::Node;
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::{Lines, Running, run};

const LINKS: &str = "</temp>;rt=temperature-c;obs,</s>;anchor=\"/temp\"";

/// A gateway for clients that cannot do Echo.
fn gateway(mosquitto: &Mosquitto, keys: &str) -> Gateway {
    Gateway::start(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"], tcp = [\"127.0.0.1:0\"], \
         amplification = 1000{keys} }}\n{}\
         [routes.all]\ntopic = \"site/{{gateway}}/{{device}}/{{name}}\"\n",
        mosquitto.table("local")
    ))
}

fn register(gateway: SocketAddr, query: &str, links: &str) -> String {
    let path = format!("rd?{query}");
    libcoap(gateway, &path, &["-m", "post", "-t", "40", "-e", links]).code
}

/// The path of what was created.
fn location(created: &Answer) -> String {
    let id = created.text.split("Location-Path:rd, Location-Path:").nth(1);
    let id = id.and_then(|rest| rest.split([',', ' ']).next());
    format!("rd/{}", id.unwrap_or_else(|| panic!("{}", created.text)))
}

/// What a lookup gives, as text.
fn look(gateway: SocketAddr, path: &str) -> String {
    let uri = format!("coap://{gateway}/{path}");
    let output = String::from_utf8(run(aiocoap("get.py").args([&uri, "0"])).stdout).unwrap();
    output.trim().strip_prefix("2.05").unwrap_or_else(|| panic!("{output}")).trim().to_owned()
}

/// What `gateway devices --json` says.
fn devices(gateway: &Gateway) -> Vec<Value> {
    let output = run(gateway.command("devices").arg("--json"));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A node of aiocoap that has registered and posted a reading.
struct AiocoapNode {
    process: Child,
    lines: Lines,
}

impl AiocoapNode {
    fn start(name: &str, gateway: SocketAddr, how: &str) -> Self {
        let (host, port) = (gateway.ip().to_string(), gateway.port().to_string());
        let mut command = aiocoap("node.py");
        command.args([name, &host, &port, how]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = Lines::default();
        lines.read(process.stdout.take().unwrap());
        let node = Self { process, lines };
        wait_until("the node to have registered and posted", || node.lines.len() >= 2);
        assert!(node.lines.since(1)[0].starts_with("2.04"), "{}", node.lines.text());
        node
    }

    /// Ends it in its own way.
    fn end(mut self) -> String {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
        wait_until("the end", || self.lines.text().contains("ended"));
        self.lines.text()
    }
}

#[test]
fn libcoap_registers_refreshes_looks_up_and_removes() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "");
    let address = gateway.address("nodes");

    // RFC 9176 §4.3
    let found = look(address, ".well-known/core?rt=core.rd*");
    for link in ["</rd>;rt=\"core.rd\"", "</rd-lookup/ep>;rt=", "</rd-lookup/res>;rt="] {
        assert!(found.contains(link), "{found}");
    }
    assert!(!found.contains("gateway.readings"), "{found}");

    // RFC 9176 §5, §6
    let path = "rd?ep=node1&d=floor-3&base=coap://10.0.0.1&et=x";
    let created = libcoap(address, path, &["-m", "post", "-t", "40", "-e", LINKS]);
    assert_eq!(created.code, "2.01");
    let location = location(&created);
    assert_eq!(
        look(address, "rd-lookup/ep?rt=temperature*"),
        format!(
            "</{location}>;ep=\"node1\";base=\"coap://10.0.0.1\";rt=\"core.rd-ep\";d=\"floor-3\";et=\"x\""
        )
    );
    assert_eq!(
        look(address, "rd-lookup/res?ep=node1"),
        "<coap://10.0.0.1/temp>;rt=\"temperature-c\";obs,\
         <coap://10.0.0.1/s>;anchor=\"coap://10.0.0.1/temp\""
    );
    assert_eq!(look(address, "rd-lookup/res?count=1&page=2"), "");

    // RFC 9176 §5.3.1, §5.3.2
    let moved = libcoap(address, &format!("{location}?base=coap://10.0.0.2"), &["-m", "post"]);
    assert_eq!(moved.code, "2.04");
    assert!(look(address, "rd-lookup/res?obs").starts_with("<coap://10.0.0.2/temp>"));
    assert_eq!(libcoap(address, &location, &["-m", "get"]).code, "4.05");
    assert_eq!(libcoap(address, &location, &["-m", "delete"]).code, "2.02");
    assert_eq!(libcoap(address, &location, &["-m", "delete"]).code, "4.04");
    assert_eq!(look(address, "rd-lookup/ep"), "");
    assert_eq!(register(address, "ep=node1&lt=x", LINKS), "4.00");
    assert_eq!(register(address, "ep=node1", "garbage"), "4.00");
}

#[test]
fn a_restart_forgets_registrations_and_gives_nobody_the_location_of_another() {
    // RFC 9176 §5.3.1
    let mosquitto = Mosquitto::start();
    let mut gateway = gateway(&mosquitto, "");
    let create = |gateway: &Gateway, name: &str| {
        let path = format!("rd?ep={name}&base=coap://10.0.0.1");
        let post = ["-m", "post", "-t", "40", "-e", LINKS];
        location(&libcoap(gateway.address("nodes"), &path, &post))
    };
    let before = create(&gateway, "before");
    assert!(gateway.terminate().success());
    gateway.launch();
    gateway.wait_until_up();
    let after = create(&gateway, "after");
    let refresh = |location| libcoap(gateway.address("nodes"), location, &["-m", "post"]).code;
    assert_eq!([refresh(&before), refresh(&after)], ["4.04", "2.04"]);
}

#[test]
fn over_tcp_a_node_says_where_it_is() {
    // RFC 9176 §5, §5.1
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "");
    let tcp = format!("coap+tcp://{}", gateway.tcp_address("nodes"));
    let post = |path: &str| {
        libcoap_answer(&format!("{tcp}/{path}"), &["-m", "post", "-t", "40", "-e", "</a>"]).code
    };
    assert_eq!(post("rd?ep=n"), "4.00");
    assert_eq!(post("rd?ep=n&base=coap+tcp://10.0.0.1"), "2.01");
    let simple = libcoap_answer(&format!("{tcp}/.well-known/rd?ep=n"), &["-m", "post"]);
    assert_eq!(simple.code, "4.00");
    let found = libcoap_answer(&format!("{tcp}/rd-lookup/res"), &["-m", "get"]);
    assert!(found.text.contains("<coap+tcp://10.0.0.1/a>"), "{}", found.text);
}

#[test]
fn a_node_that_registers_is_a_device_with_its_resources() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = gateway(&mosquitto, "");
    let address = gateway.address("nodes");
    for (name, how) in [("full-1", "register"), ("simple-1", "simple")] {
        let node = AiocoapNode::start(name, address, how);
        // A reading that names no device is that of who sends from the registered address.
        let expected = json!({"gateway": "gw", "device": name, "name": "t", "value": 21.5});
        all.expect(&format!("site/gw/{name}/t"), &expected);
        let found = look(address, &format!("rd-lookup/res?ep={name}&rt=temperature-c"));
        assert!(found.contains("/temp>;rt=\"temperature-c\""), "{found}");
        let devices = devices(&gateway);
        let device = devices.iter().find(|device| device["name"] == name).unwrap();
        assert_eq!((&device["source"], &device["readings"]), (&json!("nodes"), &json!(1)));
        assert!(device["last_heard"].is_string(), "{device}");
        let [registration] = &device["registrations"].as_array().unwrap()[..] else {
            panic!("{device}")
        };
        assert_eq!(device["address"], registration["base"]);
        let seconds = registration["expires_seconds"].as_u64().unwrap();
        assert!((1..=600).contains(&seconds), "{device}");
        let resources = registration["resources"].to_string();
        assert!(resources.contains("/temp>"), "{device}");
        let text = String::from_utf8(run(&mut gateway.command("devices")).stdout).unwrap();
        assert!(text.contains(&format!("{name}: nodes at coap://127.0.0.1:")), "{text}");
        node.end();
    }
    assert_eq!(look(address, "rd-lookup/ep?et=test"), "", "the registerer has removed it");
    assert!(look(address, "rd-lookup/ep").contains("simple-1"));
}

#[test]
fn a_node_that_does_not_answer_is_not_registered_simply() {
    // RFC 9176 §5.1
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "");
    let address = gateway.address("nodes");
    let node = Node::new(address);
    let post = |id: u8| [&[0x41, 2, 0, id, id][..], b"\xbb.well-known\x02rd\x44ep=n"].concat();
    node.send(&post(1));
    let asked = node.receive(PATIENCE).unwrap();
    let get = Message::parse(&asked).unwrap();
    assert_eq!((get.kind(), get.code().to_string()), (MessageType::Confirmable, "0.01".into()));
    // A second registration has to wait for the first.
    node.send(&post(2));
    let busy = node.receive(PATIENCE).unwrap();
    let busy = Message::parse(&busy).unwrap();
    assert_eq!((*busy.token() == [2], busy.code().to_string()), (true, "5.03".into()));
    let [high, low] = get.message_id().to_be_bytes();
    node.send(&[0x70, 0, high, low]);
    let refused = node.receive(PATIENCE).unwrap();
    let refused = Message::parse(&refused).unwrap();
    assert_eq!((*refused.token() == [1], refused.code().to_string()), (true, "5.04".into()));
    assert_eq!(look(address, "rd-lookup/ep"), "");
}

#[test]
fn who_observes_a_lookup_is_told_what_comes_and_what_lapses() {
    // RFC 9176 §6.2, §6.3
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "");
    let address = gateway.address("nodes");
    let uri = format!("coap://{address}/rd-lookup/res?rt=light");
    let lines = Lines::default();
    let mut observer = Running::start_reading(aiocoap("get.py").args([&uri, "3"]), &lines);
    wait_until("the first answer", || lines.len() == 1);
    assert_eq!(lines.since(0)[0].trim(), "2.05");
    assert_eq!(register(address, "ep=other&base=coap://h", "</a>;rt=dark"), "2.01");
    assert_eq!(register(address, "ep=n&base=coap://h&lt=2", "</a>;rt=light"), "2.01");
    wait_until("the end of the lifetime", || lines.len() == 3);
    let told = lines.since(1);
    assert_eq!(told[0], "2.05 <coap://h/a>;rt=\"light\"");
    assert_eq!(told[1].trim(), "2.05");
    assert!(observer.wait().success());
    assert!(look(address, "rd-lookup/ep").contains("other"));
}

#[test]
fn many_registrations_travel_in_blocks() {
    // RFC 9176 §5, §6 with RFC 7959
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "");
    let address = gateway.address("nodes");
    let links: Vec<_> = (0..150).map(|i| format!("</res/{i}>;rt=\"number {i}\"")).collect();
    let file = gateway.dir().join("links");
    fs::write(&file, links.join(",")).unwrap();
    let arguments = ["-m", "post", "-t", "40", "-f", file.to_str().unwrap()];
    let created = libcoap(address, "rd?ep=big&base=coap://h", &arguments);
    assert_eq!(created.code, "2.01", "{}", created.text);
    let expected: Vec<_> =
        (0..150).map(|i| format!("<coap://h/res/{i}>;rt=\"number {i}\"")).collect();
    assert_eq!(look(address, "rd-lookup/res"), expected.join(","));
    fs::write(&file, format!("</{}>", "x".repeat(70_000))).unwrap();
    assert_eq!(libcoap(address, "rd?ep=huge", &arguments).code, "4.13");
}

#[test]
fn without_a_directory_nothing_is_registered() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, ", directory = false");
    let address = gateway.address("nodes");
    assert_eq!(register(address, "ep=n", "</a>"), "4.04");
    for path in ["rd/1", "rd-lookup/ep", "rd-lookup/res"] {
        assert_eq!(libcoap(address, path, &["-m", "get"]).code, "4.04", "{path}");
    }
    assert_eq!(look(address, ".well-known/core?rt=core.rd*"), "");
    assert!(devices(&gateway).is_empty());
}

#[test]
fn a_node_that_registers_is_asked_until_it_is_gone() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let sources = "[sources.plant.link]\ntype = \"coap-poll\"\nregistered = \"nodes\"\n\
                   [sources.plant.link.resources]\n\
                   temp = { discover = [\"rt=temperature-c\"], interval = \"1s\" }\n";
    let gateway = Gateway::start(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"], amplification = 1000 }}\n\
         {sources}{}[routes.all]\ntopic = \"site/{{gateway}}/{{device}}/{{name}}\"\n",
        mosquitto.table("local")
    ));
    let node = AiocoapNode::start("roof", gateway.address("nodes"), "register");
    wait_until("readings of the node", || all.at("site/gw/roof/temp").len() > 1);
    assert_eq!(all.first("site/gw/roof/temp").json()["value"], 21.5);
    let asked = || gateway.status()["sources"]["plant"]["nodes"].clone();
    assert!(asked()["roof"].is_object(), "{}", asked());
    node.end();
    wait_until("the node to be forgotten", || asked().as_object().is_none_or(|all| all.is_empty()));
}
