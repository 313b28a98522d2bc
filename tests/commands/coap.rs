//! Commands as CoAP requests to nodes of others: aiocoap's and libcoap's.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use proto::coap::Message;
use serde_json::{Value, json};

use crate::harness::asked::Site;
use crate::harness::clock::wait_until;
use crate::harness::process::{Lines, Running, any_program, run, script_with};
use crate::harness::temp::port;

const OPERATIONS: &str = r#"
[operations.valve]
source = "nodes"
devices = ["*"]
value = { type = "number" }
via = { type = "coap", path = "/valve" }

[operations.position]
source = "nodes"
devices = ["*"]
value = { type = "json" }
via = { type = "coap", method = "fetch", path = "/valve" }

[operations.mode]
source = "nodes"
devices = ["*"]
value = { type = "text" }
via = { type = "coap", method = "ipatch", path = "/valve", content_format = 50, payload = '{"mode": {value}}' }

[operations.big]
source = "nodes"
devices = ["*"]
value = { type = "text", max = 65536 }
via = { type = "coap", method = "post", path = "/big" }

[operations.broken]
source = "nodes"
devices = ["*"]
value = { type = "boolean" }
via = { type = "coap", path = "/broken", content_format = 60 }

[operations.busy]
source = "nodes"
devices = ["*"]
via = { type = "coap", method = "post", path = "/busy" }

[operations.slow]
source = "nodes"
devices = ["*"]
via = { type = "coap", path = "/slow" }
"#;

/// A site whose nodes come to it.
fn site() -> Site {
    let source = "[sources.nodes]\nlink = { type = \"coap\", bind = [\"127.0.0.1:0\"] }\n";
    Site::start(&format!("{source}{OPERATIONS}"))
}

/// The node of `ordered_node.py`.
struct Node {
    process: Running,
    lines: Lines,
}

impl Node {
    fn start(port: u16, gateway: &str, name: &str, how: &str) -> Self {
        let lines = Lines::default();
        let mut command = script_with("aiocoap", "../commands/ordered_node.py");
        command.args([&port.to_string(), gateway, name, how]);
        let process = Running::start_reading(&mut command, &lines);
        let node = Self { process, lines };
        wait_until("the node to listen", || {
            let text = node.lines.text();
            assert!(!text.contains("Traceback"), "{text}");
            text.contains("ready")
        });
        node
    }

    /// What it was told: method, resource, Content-Format and payload.
    fn told(&self) -> Vec<String> {
        let told = self.lines.since(0).into_iter().filter(|line| line.split(' ').count() == 4);
        told.collect()
    }

    fn go_on(&self) {
        self.process.signal("USR1");
    }

    fn change(&self) {
        self.process.signal("USR2");
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_node_that_has_sent_a_reading_is_told_where_it_has_sent_from() {
    let site = site();
    let gateway = site.gateway.address("nodes").to_string();
    let node = Node::start(port(), &gateway, "v1", "post");
    site.ask("v1", "valve", "1", "21.5");
    assert_eq!(site.wait_for("v1", "1", "done")["result"], json!({"code": "2.04"}));
    site.ask_json("v1", "position", &json!({"id": "2", "value": {"of": "valve"}}));
    let result = json!({"code": "2.05", "content_format": 50, "payload": {"position": 40}});
    assert_eq!(site.wait_for("v1", "2", "done")["result"], result);
    site.ask("v1", "mode", "3", "eco");
    site.wait_for("v1", "3", "done");
    site.ask("v1", "broken", "4", "on");
    let refused = site.wait_for("v1", "4", "failed");
    assert_eq!(refused["error"], json!({"code": "4.09", "detail": "the valve is stuck"}));
    let expected = [
        format!("PUT valve 0 {}", hex("21.5")),
        format!("FETCH valve 50 {}", hex("{\"of\":\"valve\"}")),
        format!("iPATCH valve 50 {}", hex("{\"mode\": \"eco\"}")),
        "PUT broken 60 f5".to_owned(),
    ];
    assert_eq!(node.told(), expected);
}

#[test]
fn a_registered_node_is_told_and_large_values_go_both_ways_in_blocks() {
    // RFC 9176 §5, RFC 7959 §3.3
    let site = site();
    let gateway = site.gateway.address("nodes").to_string();
    let node = Node::start(port(), &gateway, "v1", "register");
    let value = "0123456789".repeat(1500);
    site.ask("v1", "big", "1", &value);
    let result = site.wait_for("v1", "1", "done")["result"].clone();
    assert_eq!(result["payload"].as_str(), Some(value.repeat(2).as_str()));
    assert_eq!(node.told(), [format!("POST big 0 {}", hex("15000 bytes"))]);
}

#[test]
fn a_node_that_is_busy_is_told_again_when_it_has_said() {
    // RFC 7252 §5.9.3.4: it has not done it, so that a POST may be repeated.
    let site = site();
    let gateway = site.gateway.address("nodes").to_string();
    let node = Node::start(port(), &gateway, "v1", "post");
    site.ask("v1", "busy", "1", "");
    site.wait_for("v1", "1", "done");
    assert_eq!(node.told().len(), 2);
    assert_eq!(site.states("v1", "1"), ["accepted", "queued 5.03", "done"]);
}

#[test]
fn a_node_that_takes_its_time_holds_up_no_other_and_no_reading() {
    let site = site();
    let gateway = site.gateway.address("nodes").to_string();
    let slow = Node::start(port(), &gateway, "slow", "post");
    let _quick = Node::start(port(), &gateway, "quick", "post");
    site.ask("slow", "slow", "1", "");
    // RFC 7252 §5.2.2: an empty Acknowledgement.
    site.wait_for("slow", "1", "delivered");
    site.ask("slow", "valve", "2", "1");
    site.ask("quick", "valve", "3", "1");
    site.wait_for("quick", "3", "done");
    let _another = Node::start(port(), &gateway, "another", "post");
    assert_eq!(slow.told(), ["PUT slow - "], "one order at a time");
    slow.go_on();
    site.wait_for("slow", "2", "done");
    assert_eq!(site.states("slow", "1"), ["accepted", "delivered", "done"]);
    assert_eq!(slow.told()[1], "PUT valve 0 31");
}

#[test]
fn what_waits_for_its_node_can_be_cancelled_and_expires() {
    let site = site();
    let gateway = site.gateway.address("nodes").to_string();
    site.ask("v1", "valve", "1", "1");
    site.ask_json("v2", "valve", &json!({"id": "2", "value": 1, "deadline": "1s"}));
    site.ask("v3", "valve", "3", "3");
    for (device, id) in [("v1", "1"), ("v2", "2"), ("v3", "3")] {
        let waits = site.wait_for(device, id, "queued");
        assert_eq!(waits["error"]["code"], "unknown_address");
    }
    site.cancel("v1", "1");
    assert_eq!(site.wait_for("v1", "1", "failed")["error"]["code"], "cancelled");
    site.wait_for("v2", "2", "expired");
    let late: Vec<Node> =
        ["v1", "v2", "v3"].map(|name| Node::start(port(), &gateway, name, "post")).into();
    site.wait_for("v3", "3", "done");
    let told: Vec<usize> = late.iter().map(|node| node.told().len()).collect();
    assert_eq!(told, [0, 0, 1]);
}

/// Message identifiers of the requests that a socket which answers nothing has got so far.
fn requests(silent: &UdpSocket) -> Vec<u16> {
    let mut buffer = [0; 2048];
    silent.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut identifiers = Vec::new();
    while let Ok(count) = silent.recv(&mut buffer) {
        identifiers.push(Message::parse(&buffer[..count]).unwrap().message_id());
    }
    identifiers
}

#[test]
fn without_an_answer_only_what_is_repeatable_is_sent_again() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let operation = |name: &str, method: &str| {
        format!(
            "[operations.{name}]\nsource = \"nodes\"\ndevices = [\"*\"]\n\
             via = {{ type = \"coap\", method = \"{method}\", path = \"/x\", address = \"coap://{address}\", timeout = \"1s\" }}\n"
        )
    };
    let site = Site::start(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"] }}\n{}{}",
        operation("write", "put"),
        operation("act", "post"),
    ));
    site.ask("a", "act", "1", "");
    assert_eq!(site.wait_for("a", "1", "failed")["error"]["code"], "unknown_outcome");
    let mut got = requests(&silent);
    got.dedup();
    assert_eq!(got.len(), 1);
    site.ask_json("b", "write", &json!({"id": "2", "deadline": "6s"}));
    site.wait_for("b", "2", "expired");
    let mut got = requests(&silent);
    got.dedup();
    assert!(got.len() >= 2, "{got:?}");
    assert_eq!(site.states("b", "2"), ["accepted", "queued no_answer", "expired deadline"]);
}

#[test]
fn a_kill_between_request_and_answer_repeats_what_may_be_and_nothing_else() {
    let at = port();
    let operation = |name: &str, method: &str| {
        format!(
            "[operations.{name}]\nsource = \"nodes\"\ndevices = [\"*\"]\n\
             via = {{ type = \"coap\", method = \"{method}\", path = \"/slow\", address = \"coap://127.0.0.1:{at}\" }}\n"
        )
    };
    let mut site = Site::start(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"] }}\n{}{}",
        operation("write", "put"),
        operation("act", "post"),
    ));
    let node = Node::start(at, "-", "-", "wait");
    site.ask("a", "write", "1", "");
    site.ask("b", "act", "2", "");
    site.wait_for("a", "1", "delivered");
    site.wait_for("b", "2", "delivered");
    site.gateway.kill();
    site.gateway.launch();
    site.gateway.wait_until_up();
    assert_eq!(site.wait_for("b", "2", "failed")["error"]["code"], "unknown_outcome");
    wait_until("the repetition", || node.told().len() == 3);
    node.go_on();
    site.wait_for("a", "1", "done");
    let mut told = node.told();
    told.sort();
    assert_eq!(told, ["POST slow - ", "PUT slow - ", "PUT slow - "]);
}

/// libcoap's example server.
fn libcoap_server(port: u16) -> Running {
    let mut command = any_program(&["coap-server-notls", "coap-server"], "libcoap3-bin");
    command.args(["-A", "127.0.0.1", "-p", &port.to_string()]);
    Running::start_reading(&mut command, &Lines::default())
}

#[test]
fn nodes_that_are_asked_for_readings_are_told_too() {
    let (libcoap, aiocoap) = (port(), port());
    let _server = libcoap_server(libcoap);
    let node = Node::start(aiocoap, "-", "-", "wait");
    let site = Site::start(&format!(
        "[sources.nodes]\n[sources.nodes.link]\ntype = \"coap-poll\"\n\
         nodes = {{ bench = \"coap://localhost:{libcoap}\", n1 = \"coap://127.0.0.1:{aiocoap}\" }}\n\
         resources.value = {{ path = \"/example_data\", interval = \"1s\", nodes = \"bench\" }}\n\
         {OPERATIONS}\
         [operations.write]\nsource = \"nodes\"\ndevices = [\"bench\"]\nvalue = {{ type = \"text\" }}\n\
         via = {{ type = \"coap\", path = \"/example_data\" }}\n\
         [operations.read]\nsource = \"nodes\"\ndevices = [\"bench\"]\n\
         via = {{ type = \"coap\", method = \"get\", path = \"/example_data\" }}\n\
         [operations.watch]\nsource = \"nodes\"\ndevices = [\"n1\"]\nvalue = {{ type = \"boolean\" }}\n\
         via = {{ type = \"coap\", method = \"observe\", path = \"/state\" }}\n"
    ));
    site.ask("bench", "write", "1", "hello");
    assert_eq!(site.wait_for("bench", "1", "done")["result"]["code"], "2.04");
    site.ask("bench", "read", "2", "");
    assert_eq!(site.wait_for("bench", "2", "done")["result"]["payload"], "hello");

    // RFC 7641 §3.1, §3.6
    site.ask("n1", "watch", "3", "true");
    let begun = site.wait_for("n1", "3", "done");
    assert_eq!(begun["result"]["payload"], "0");
    node.change();
    let states = || -> Vec<Value> {
        let readings = site.at("gw/n1/state");
        readings.iter().map(|reading| reading["value"].clone()).collect()
    };
    wait_until("the new state as a reading", || states() == [json!(0), json!(1)]);
    site.ask("n1", "watch", "4", "false");
    site.wait_for("n1", "4", "done");
    node.change();
    site.ask("n1", "valve", "5", "1");
    site.wait_for("n1", "5", "done");
    assert_eq!(states().len(), 2, "nobody wanted the last one");
    let observe = |line: &&String| line.contains("state-");
    let asked: Vec<String> = node.told().iter().filter(observe).cloned().collect();
    // aiocoap makes a notification as it answers the request that it belongs to.
    assert_eq!(asked, ["GET state-0 - ", "GET state-0 - ", "GET state-1 - "]);
    site.ask("other", "valve", "6", "1");
    assert_eq!(site.wait_for("other", "6", "queued")["error"]["code"], "unknown_address");
}

/// What `fetching_node.py` says.
fn fetching(gateway: SocketAddr, name: &str, arguments: &[&str]) -> String {
    let mut command = script_with("aiocoap", "../commands/fetching_node.py");
    command.args([&gateway.to_string(), name]).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

const FETCHED: &str = r#"
[sources.nodes]
# aiocoap does not know Echo.
link = { type = "coap", bind = ["127.0.0.1:0"], tcp = ["127.0.0.1:0"], amplification = 1000 }
[operations.valve]
source = "nodes"
devices = ["*"]
value = { type = "number" }
via = { type = "fetch" }
"#;

#[test]
fn a_node_that_sleeps_finds_a_hint_fetches_its_order_and_answers_it() {
    let site = Site::start(FETCHED);
    let at = site.gateway.address("nodes");
    let fetch = |name: &str, arguments: &[&str]| fetching(at, name, arguments);
    let links = fetch("v1", &["links"]);
    assert!(links.contains("</cmd>;rt=\"gateway.order\""), "{links}");
    assert_eq!(fetch("v1", &["get"]), format!("2.05 {}", hex("null")));
    assert_eq!(fetch("v1", &["post"]), "2.04", "nothing waits");
    site.ask("v1", "valve", "1", "40");
    assert_eq!(site.wait_for("v1", "1", "queued")["error"]["code"], "asleep");
    assert_eq!(fetch("v2", &["post"]), "2.04", "it is for somebody else");
    wait_until("the hint", || fetch("v1", &["post"]) == "2.04 cmd/v1");
    let order = fetch("v1", &["get"]);
    let json = order.strip_prefix("2.05 ").unwrap();
    let bytes: Vec<u8> = (0..json.len() / 2)
        .map(|i| u8::from_str_radix(&json[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let order: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        (&order["id"], &order["operation"], &order["value"]),
        (&json!("1"), &json!("valve"), &json!(40))
    );
    site.wait_for("v1", "1", "delivered");
    // RFC 8949: a map of four, whose first key is "id".
    assert!(fetch("v1", &["get", "60"]).starts_with("2.05 a46269646131"), "it is given again");
    assert_eq!(fetch("v1", &["get", "41"]).split(' ').next(), Some("4.06"));
    assert_eq!(fetch("v1", &["outcome", "1", "{\"state\":\"stuck\"}"]), "4.00");
    let failed = r#"{"state":"failed","code":"stuck","detail":"the valve does not move"}"#;
    assert_eq!(fetch("v1", &["outcome", "1", failed]), "2.04");
    let outcome = site.wait_for("v1", "1", "failed");
    assert_eq!(outcome["error"], json!({"code": "stuck", "detail": "the valve does not move"}));
    assert_eq!(fetch("v1", &["outcome", "1", ""]), "4.04", "it is over");
    assert_eq!(fetch("v1", &["post"]), "2.04");
}

#[test]
fn an_order_is_fetched_and_answered_over_tcp_too() {
    // RFC 8323, by libcoap's client
    let site = Site::start(FETCHED);
    site.ask("v1", "valve", "1", "40");
    site.wait_for("v1", "1", "queued");
    let at = site.gateway.tcp_address("nodes");
    let ask = |path: &str, arguments: &[&str]| {
        let mut command = any_program(&["coap-client-notls", "coap-client"], "libcoap3-bin");
        let output = run(command.args(arguments).arg(format!("coap+tcp://{at}/{path}")));
        String::from_utf8(output.stdout).unwrap()
    };
    let order: Value = serde_json::from_str(&ask("cmd/v1", &["-m", "get"])).unwrap();
    assert_eq!((&order["id"], &order["value"]), (&json!("1"), &json!(40)));
    ask("cmd/v1/1", &["-m", "post", "-t", "50", "-e", "{\"state\":\"done\",\"result\":7}"]);
    assert_eq!(site.wait_for("v1", "1", "done")["result"], 7);
}

#[test]
fn a_node_that_observes_its_orders_is_told_when_one_comes() {
    // RFC 7641
    let site = Site::start(FETCHED);
    let at = site.gateway.address("nodes").to_string();
    let lines = Lines::default();
    let mut command = script_with("aiocoap", "../commands/fetching_node.py");
    let _node = Running::start_reading(command.args([&at, "v1", "observe"]), &lines);
    wait_until("the first state", || lines.text() == "null");
    for id in ["1", "2", "3"] {
        site.ask("v1", "valve", id, id);
        let done = site.wait_for("v1", id, "done");
        assert_eq!(done["result"], json!({"took": id.parse::<u32>().unwrap()}), "{}", lines.text());
    }
    let orders = lines.since(0).iter().filter(|line| line.contains("\"operation\"")).count();
    assert_eq!(orders, 3, "{}", lines.text());
}

#[test]
fn a_name_that_is_registered_from_elsewhere_is_not_that_of_who_asks() {
    let site = Site::start(FETCHED);
    let at = site.gateway.address("nodes");
    assert_eq!(fetching(at, "v1", &["register"]), "2.01");
    site.ask("v1", "valve", "1", "40");
    site.wait_for("v1", "1", "queued");
    assert_eq!(fetching(at, "v1", &["get"]).split(' ').next(), Some("4.03"));
    assert_eq!(fetching(at, "v1", &["outcome", "1", ""]), "4.03");
    assert_eq!(site.states("v1", "1"), ["accepted", "queued asleep"]);
}

#[test]
fn an_order_that_was_fetched_is_there_again_after_a_kill() {
    let mut site = Site::start(FETCHED);
    site.ask("v1", "valve", "1", "40");
    site.wait_for("v1", "1", "queued");
    let at = site.gateway.address("nodes");
    assert_ne!(fetching(at, "v1", &["get"]), format!("2.05 {}", hex("null")));
    site.gateway.kill();
    site.gateway.launch();
    site.gateway.wait_until_up();
    let at = site.gateway.address("nodes");
    wait_until("the order", || fetching(at, "v1", &["get"]) != format!("2.05 {}", hex("null")));
    assert_eq!(fetching(at, "v1", &["outcome", "1", ""]), "2.04");
    site.wait_for("v1", "1", "done");
}
