//! CoAP over TCP (RFC 8323), by two clients that others wrote and one made by hand.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;

use crate::coap::{aiocoap, aiocoap_posts, libcoap_answer};
use crate::harness::clock::wait_until;
use crate::harness::coap_tcp::{StreamNode, stream_request};
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::{Lines, Running, run};

/// A gateway with CoAP over both, and where it takes TCP clients, up to `max` at a time.
fn gateway(mosquitto: &Mosquitto, max: usize) -> (Gateway, SocketAddr) {
    let gateway = Gateway::start(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"], tcp = [\"127.0.0.1:0\"], \
         max_clients = {max} }}\n{}[routes.all]\ntopic = \"site/{{gateway}}/{{device}}/{{name}}\"\n",
        mosquitto.table("local")
    ));
    let address = gateway.tcp_address("nodes");
    (gateway, address)
}

#[test]
fn what_libcoap_posts_over_tcp_arrives_at_mosquitto() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let (gateway, address) = gateway(&mosquitto, 256);
    let ask = |path: &str, arguments: &[&str]| {
        libcoap_answer(&format!("coap+tcp://{address}/{path}"), arguments)
    };
    // RFC 8428 §5.1.2, without its time, which would be in the past.
    let pack = r#"[{"bn":"urn:dev:ow:10e2073a01080063:","bu":"A","n":"voltage","u":"V","v":120.1},{"n":"current","v":1.2}]"#;
    let answer = ask("r", &["-m", "post", "-t", "110", "-e", pack]);
    assert_eq!(answer.code, "2.04", "{}", answer.text);
    let device = "urn:dev:ow:10e2073a01080063";
    for (name, value, unit) in [("voltage", 120.1, "V"), ("current", 1.2, "A")] {
        let expected =
            json!({"gateway": "gw", "device": device, "name": name, "value": value, "unit": unit});
        all.expect(&format!("site/gw/{device}/{name}"), &expected);
    }
    assert_eq!(ask("r/tank-1/level", &["-m", "put", "-e", "7.25"]).code, "2.04");
    all.expect(
        "site/gw/tank-1/level",
        &json!({"gateway": "gw", "device": "tank-1", "name": "level", "value": 7.25}),
    );
    let links = ask(".well-known/core", &["-m", "get"]);
    assert_eq!(links.code, "2.05");
    assert!(links.text.contains("</r>;rt=\"gateway.readings\""), "{}", links.text);
    assert_eq!(ask("r", &["-m", "post", "-t", "50", "-e", "{broken"]).code, "4.00");
    assert_eq!(ask("x", &["-m", "get"]).code, "4.04");
    assert_eq!(gateway.count("/sources/nodes/readings"), 3);
}

#[test]
fn what_aiocoap_posts_over_tcp_is_all_acknowledged() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let (_gateway, address) = gateway(&mosquitto, 256);
    aiocoap_posts("coap+tcp", address, 3, 50, &all);
}

#[test]
fn requests_are_answered_by_token_when_they_are_on_disk() {
    let mosquitto = Mosquitto::start();
    let (gateway, address) = gateway(&mosquitto, 256);
    let mut node = StreamNode::connect(address).unwrap();
    let request =
        |number: u8| stream_request(&[number], &format!("r/pump/v{number}"), None, b"1.5");
    // Together with a Ping that wants to know when they are done (RFC 8323 §5.4.1).
    let stream: Vec<u8> = (0..200).flat_map(request).chain(*b"\x11\xe2\x43\x20").collect();
    node.send(&stream).unwrap();
    let mut tokens: Vec<_> = (0..200)
        .map(|_| {
            let received = node.receive().unwrap();
            assert_eq!(received.code, "2.04");
            received.token[0]
        })
        .collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..200).collect::<Vec<_>>());
    let pong = node.receive().unwrap();
    assert_eq!((pong.code.as_str(), pong.text().as_bytes()), ("7.03", &b"\x20"[..]));
    assert_eq!(gateway.count("/store/next"), 201);
}

#[test]
fn a_client_above_the_limit_is_closed_and_counted() {
    let mosquitto = Mosquitto::start();
    let (gateway, address) = gateway(&mosquitto, 3);
    let mut nodes: Vec<_> = (0..3).map(|_| StreamNode::connect(address).unwrap()).collect();
    gateway.wait_for_count("/sources/nodes/clients", 3);
    assert!(StreamNode::connect(address).is_err());
    gateway.wait_for_count("/sources/nodes/refused/too_many_clients/count", 1);
    assert_eq!(nodes[0].post("r/a/b", None, b"1").unwrap().code, "2.04");
    nodes.pop();
    wait_until("room for another client", || {
        StreamNode::connect(address).is_ok_and(|mut node| node.post("r/a/b", None, b"2").is_ok())
    });
}

#[test]
fn clients_are_asked_to_leave_before_the_gateway_stops() {
    let mosquitto = Mosquitto::start();
    let (mut gateway, address) = gateway(&mosquitto, 256);
    let mut polite = StreamNode::connect(address).unwrap();
    let mut deaf = StreamNode::connect(address).unwrap();
    gateway.signal("TERM");
    // RFC 8323 §5.5
    let release = polite.receive().unwrap();
    assert_eq!(release.code, "7.04");
    assert!(release.text().contains("the gateway is stopping"), "{release:?}");
    assert_eq!(polite.post("r/a/last", None, b"1").unwrap().code, "2.04", "it goes on meanwhile");
    drop(polite);
    assert_eq!(deaf.receive().unwrap().code, "7.04");
    assert!(deaf.is_closed(), "one that stays is closed");
    assert!(gateway.wait().success());
}

#[test]
fn a_reading_is_observed_over_tcp_by_both_clients() {
    // RFC 8323 §7
    let mosquitto = Mosquitto::start();
    let (gateway, address) = gateway(&mosquitto, 256);
    let mut node = StreamNode::connect(address).unwrap();
    let mut post = |value: usize| {
        let answer = node.post("r/th-1/temp", None, value.to_string().as_bytes()).unwrap();
        assert_eq!(answer.code, "2.04");
    };
    post(0);
    let uri = format!("coap+tcp://{address}/r/th-1/temp");
    wait_until("the first reading", || libcoap_answer(&uri, &["-m", "get"]).code == "2.05");
    let [libcoap, aiocoap_lines] = [Lines::default(), Lines::default()];
    let mut by_libcoap = Command::new("coap-client-notls");
    by_libcoap.args(["-s", "600", "-B", "600", "-w", &uri]);
    let _libcoap = Running::start_reading(&mut by_libcoap, &libcoap);
    let mut by_aiocoap = aiocoap("get.py");
    by_aiocoap.args([&uri, "20"]);
    let mut aiocoap = Running::start_reading(&mut by_aiocoap, &aiocoap_lines);
    for value in 0..20_usize {
        let told = |lines: &Lines| lines.text().contains(&format!("\"v\":{value}}}"));
        wait_until(&format!("{value}: {} {}", libcoap.text(), aiocoap_lines.text()), || {
            told(&libcoap) && told(&aiocoap_lines)
        });
        if value < 19 {
            post(value + 1);
        }
    }
    assert!(aiocoap.wait().success(), "{}", aiocoap_lines.text());
    gateway.wait_for_count("/sources/nodes/readings", 20);
}

#[test]
fn a_file_is_downloaded_over_tcp_with_bert_by_aiocoap() {
    // RFC 8323 §6
    let mosquitto = Mosquitto::start();
    let mut gateway = Gateway::new(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"], tcp = [\"127.0.0.1:0\"], \
         files = \"{{dir}}/files\" }}\n{}[routes.all]\ntopic = \"site/{{gateway}}/{{device}}/{{name}}\"\n",
        mosquitto.table("local")
    ));
    let text: String = (0..40_000).map(|n| format!("{n:06}\n")).collect();
    fs::create_dir(gateway.dir().join("files")).unwrap();
    fs::write(gateway.dir().join("files/large.txt"), &text).unwrap();
    gateway.launch();
    gateway.wait_until_up();
    let uri = format!("coap+tcp://{}/files/large.txt", gateway.tcp_address("nodes"));
    let output = run(aiocoap("get.py").args([&uri, "0"]));
    let printed = String::from_utf8(output.stdout).unwrap();
    let got = printed.strip_prefix("2.05 ").unwrap();
    assert!(got.trim_end() == text.trim_end(), "{} bytes of {}", got.len(), text.len());
}
