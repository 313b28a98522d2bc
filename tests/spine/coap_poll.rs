//! The gateway as a CoAP client: of libcoap's server and of a node by aiocoap.

use std::fs;

use serde_json::{Value, json};

use crate::coap::aiocoap;
use crate::harness::clock::{wait_for, wait_until};
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::{Lines, Running, any_program};
use crate::harness::temp::port;

/// A gateway with this link to nodes.
fn gateway(mosquitto: &Mosquitto, link: &str) -> Gateway {
    Gateway::new(&format!(
        "[sources.plant.link]\ntype = \"coap-poll\"\n{link}\n{}\
         [routes.all]\ntopic = \"site/{{gateway}}/{{device}}/{{name}}\"\n",
        mosquitto.table("local")
    ))
}

fn launch(mut gateway: Gateway) -> Gateway {
    gateway.launch();
    gateway.wait_until_up();
    gateway
}

/// libcoap's example server.
fn libcoap_server(port: u16) -> Running {
    let mut command = any_program(&["coap-server-notls", "coap-server"], "libcoap3-bin");
    command.args(["-A", "127.0.0.1", "-p", &port.to_string()]);
    Running::start_reading(&mut command, &Lines::default())
}

/// The node of `polled_node.py`.
fn node(port: u16, state: &str) -> Running {
    let lines = Lines::default();
    let node =
        Running::start_reading(aiocoap("polled_node.py").args([&port.to_string(), state]), &lines);
    wait_until("the node to listen", || {
        let text = lines.text();
        assert!(!text.contains("Traceback"), "{text}");
        text.contains("ready")
    });
    node
}

/// What the status says of a node.
fn report(gateway: &Gateway, node: &str) -> Value {
    gateway.status()["sources"]["plant"]["nodes"][node].clone()
}

#[test]
fn libcoaps_server_is_read_observed_and_found_by_its_links() {
    let (mosquitto, port) = (Mosquitto::start(), port());
    let all = mosquitto.subscribe("site/#");
    let mut server = libcoap_server(port);
    let gateway = launch(gateway(
        &mosquitto,
        &format!(
            "nodes = {{ bench = \"coap://localhost:{port}\", other = \"coap://127.0.0.1:{port}\" }}\n\
             [sources.plant.link.resources]\n\
             info = {{ path = \"/\", interval = \"1s\", name = \"info\", nodes = \"bench\" }}\n\
             clock = {{ path = \"/time\", observe = true, nodes = \"bench\" }}\n\
             found = {{ discover = [\"rt=ticks\", \"obs\"], interval = \"1s\", nodes = \"other\" }}\n"
        ),
    ));
    // The clock of libcoap tells each second, without being asked.
    wait_until("notifications", || all.at("site/gw/bench/time").len() > 3);
    wait_until("readings", || {
        all.at("site/gw/bench/info").len() > 2 && all.at("site/gw/other/time").len() > 2
    });
    let time = all.first("site/gw/other/time").json()["value"].clone();
    assert!(time.as_str().is_some_and(|text| text.contains(':')), "{time}");
    let bench = report(&gateway, "bench");
    assert_eq!((&bench["observed"], &bench["resources"]), (&json!(1), &json!(2)), "{bench}");
    assert_eq!(bench["failures_in_a_row"], 0, "{bench}");
    assert!(bench["heard_seconds"].as_u64() <= Some(2), "{bench}");
    let asked = bench["asked"].as_u64().unwrap();

    // RFC 7641 §3.3.1: Max-Age is 1 s, and 5 to 15 s later the gateway registers anew.
    server.kill();
    server = libcoap_server(port);
    let before = all.at("site/gw/bench/time").len();
    wait_until("notifications of the new server", || {
        all.at("site/gw/bench/time").len() > before + 3
    });
    assert!(report(&gateway, "bench")["asked"].as_u64() > Some(asked));

    // It does not answer any more, and the operator sees it.
    server.kill();
    let failing = wait_for("a failure", || {
        let other = report(&gateway, "other");
        (other["heard_seconds"].as_u64() > Some(1)).then_some(other)
    });
    assert_eq!(failing["address"], format!("127.0.0.1:{port}"), "{failing}");
}

#[test]
fn a_node_by_aiocoap_is_read_in_all_its_formats() {
    let (mosquitto, port) = (Mosquitto::start(), port());
    let all = mosquitto.subscribe("site/#");
    let _node = node(port, "a");
    let gateway = launch(gateway(
        &mosquitto,
        &format!(
            "nodes = {{ n1 = \"coap://127.0.0.1:{port}\" }}\ninterval = \"1s\"\n\
             [sources.plant.link.resources]\n\
             all = {{ discover = [\"rt=*\"], observe = true }}\n"
        ),
    ));
    let reading = |name: &str, value: Value| json!({"gateway": "gw", "device": "n1", "name": name, "value": value});
    let mut temp = reading("temp", json!(23.1));
    temp["unit"] = json!("Cel");
    all.expect("site/gw/n1/temp", &temp);
    all.expect("site/gw/n1/ok", &reading("ok", json!(true)));
    // RFC 7959 §2.4: several blocks.
    for name in ["v0", "v150", "v299"] {
        let number = name[1..].parse::<u32>().unwrap();
        all.expect(&format!("site/gw/n1/{name}"), &reading(name, json!(number)));
    }
    wait_until("notifications", || all.at("site/gw/n1/state").len() > 3);
    // RFC 7252 §5.9.1.3: 2.03 stands for what was sent before.
    wait_until("readings that were valid still", || all.at("site/gw/n1/temp").len() > 2);
    let refused = gateway.status()["sources"]["plant"]["refused"].clone();
    let why = "cbor: Content-Format 60 is none that holds readings";
    assert!(
        refused["content_format"]["last"].as_str().is_some_and(|l| l.contains(why)),
        "{refused}"
    );
    let report = report(&gateway, "n1");
    assert_eq!((&report["observed"], &report["resources"]), (&json!(1), &json!(4)), "{report}");
    assert_eq!(report["last_failure"], why, "{report}");
    let table = String::from_utf8(gateway.command("status").output().unwrap().stdout).unwrap();
    assert!(table.contains("1 nodes, 1 observed resources, none is silent"), "{table}");
}

#[test]
fn a_list_of_nodes_can_change_while_the_gateway_runs() {
    let (mosquitto, first, second) = (Mosquitto::start(), port(), port());
    let all = mosquitto.subscribe("site/#");
    let _nodes = [node(first, "one"), node(second, "two")];
    let gateway = gateway(
        &mosquitto,
        "node_list = \"nodes.txt\"\ninterval = \"1s\"\n\
         resources = { state = { path = \"/state\" } }\n",
    );
    let list = gateway.dir().join("nodes.txt");
    fs::write(&list, format!("# nodes\nTH.1 coap://127.0.0.1:{first}\n")).unwrap();
    let gateway = launch(gateway);
    wait_until("the first", || !all.at("site/gw/TH.1/state").is_empty());
    fs::write(&list, "TH.2\n").unwrap();
    wait_until("a warning", || {
        let entries = gateway.log_entries();
        entries
            .iter()
            .any(|e| e["fields"]["error"].as_str().is_some_and(|e| e.contains("nodes.txt:1: ")))
    });
    assert!(report(&gateway, "TH.1").is_object(), "it stays");
    fs::write(&list, format!("TH.2 coap://127.0.0.1:{second}\n")).unwrap();
    wait_until("the second", || !all.at("site/gw/TH.2/state").is_empty());
    assert!(report(&gateway, "TH.1").is_null());
    let value = all.first("site/gw/TH.2/state").json()["value"].clone();
    assert!(value.as_str().is_some_and(|text| text.starts_with("two ")), "{value}");
}
