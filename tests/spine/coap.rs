//! CoAP, by two clients that others wrote: libcoap and aiocoap.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;

use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::{Mosquitto, Subscriber};
use crate::harness::process::{any_program, run, script_with};
use crate::harness::temp::TempDir;

const SENML_JSON: &str = "110";
const SENML_CBOR: &str = "112";
const JSON: &str = "50";

fn gateway(mosquitto: &Mosquitto) -> Gateway {
    Gateway::start(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"] }}\n{}\
         [routes.all]\ntopic = \"site/{{gateway}}/{{device}}/{{name}}\"\n",
        mosquitto.table("local")
    ))
}

/// What libcoap's client shows of the answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: String,
    pub(crate) text: String,
}

/// A request by libcoap's client, with its arguments for method, format and payload.
pub(crate) fn libcoap(gateway: SocketAddr, path: &str, arguments: &[&str]) -> Answer {
    libcoap_answer(&format!("coap://{gateway}/{path}"), arguments)
}

/// The same for a URI.
pub(crate) fn libcoap_answer(uri: &str, arguments: &[&str]) -> Answer {
    let mut command = any_program(&["coap-client-notls", "coap-client"], "libcoap3-bin");
    command.args(["-v", "6", "-B", "30"]).args(arguments);
    let output = run(command.arg(uri));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // `v:1 t:ACK c:2.04 i:53d1 {01} [ ]`, and `t:CON` over TCP; a request has its method there.
    let code = text
        .lines()
        .filter(|line| line.starts_with("v:1 t:"))
        .filter_map(|line| line.split(" c:").nth(1)?.get(..4))
        .find(|code| code.starts_with(['2', '4', '5']))
        .unwrap_or_else(|| panic!("no answer in {text}"))
        .to_owned();
    Answer { code, text }
}

fn post(gateway: SocketAddr, path: &str, format: &str, payload: &str) -> String {
    libcoap(gateway, path, &["-m", "post", "-t", format, "-e", payload]).code
}

#[test]
fn what_libcoap_posts_arrives_at_mosquitto() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = gateway(&mosquitto);
    let address = gateway.address("nodes");

    // RFC 8428 §5.1.2, without its time, which would be in the past.
    let pack = r#"[{"bn":"urn:dev:ow:10e2073a01080063:","bu":"A","n":"voltage","u":"V","v":120.1},{"n":"current","v":1.2}]"#;
    assert_eq!(post(address, "r", SENML_JSON, pack), "2.04");
    let device = "urn:dev:ow:10e2073a01080063";
    for (name, value, unit) in [("voltage", 120.1, "V"), ("current", 1.2, "A")] {
        let expected =
            json!({"gateway": "gw", "device": device, "name": name, "value": value, "unit": unit});
        all.expect(&format!("site/gw/{device}/{name}"), &expected);
    }

    // The same as CBOR, RFC 8428 §6: [{-2: "urn:dev:mac:1:", 0: "temp", 1: "Cel", 2: 23.1}].
    let mut cbor = b"\x81\xa4\x21\x6eurn:dev:mac:1:\x00\x64temp\x01\x63Cel\x02\xfb".to_vec();
    cbor.extend(23.1_f64.to_be_bytes());
    let dir = TempDir::new();
    std::fs::write(dir.join("pack.cbor"), cbor).unwrap();
    let file = dir.join("pack.cbor").display().to_string();
    let answer = libcoap(address, "r", &["-m", "post", "-t", SENML_CBOR, "-f", &file]);
    assert_eq!(answer.code, "2.04", "{}", answer.text);
    all.expect(
        "site/gw/urn:dev:mac:1/temp",
        &json!({"gateway": "gw", "device": "urn:dev:mac:1", "name": "temp", "value": 23.1, "unit": "Cel"}),
    );

    let plain = r#"{"device":"th-1","temp":21.50,"ok":true}"#;
    assert_eq!(post(address, "r", JSON, plain), "2.04");
    for (name, value) in [("temp", json!(21.5)), ("ok", json!(true))] {
        let expected = json!({"gateway": "gw", "device": "th-1", "name": name, "value": value});
        all.expect(&format!("site/gw/th-1/{name}"), &expected);
    }
    let text = all.first("site/gw/th-1/temp").text().to_owned();
    assert!(text.contains(r#""value":21.50,"#), "a number keeps its digits: {text}");

    for (name, payload, value) in [
        ("level", "7.25", json!(7.25)),
        ("state", "open", json!("open")),
        ("alarm", "false", json!(false)),
    ] {
        let answer = libcoap(address, &format!("r/tank-1/{name}"), &["-m", "put", "-e", payload]);
        assert_eq!(answer.code, "2.04", "{}", answer.text);
        let expected = json!({"gateway": "gw", "device": "tank-1", "name": name, "value": value});
        all.expect(&format!("site/gw/tank-1/{name}"), &expected);
    }
    assert_eq!(gateway.count("/sources/nodes/readings"), 8);
}

#[test]
fn a_wrong_request_gets_its_code_and_is_counted() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto);
    let address = gateway.address("nodes");
    for (path, arguments, code, hint) in [
        ("r", &["-m", "post", "-t", JSON, "-e", "{broken"][..], "4.00", "JSON object"),
        ("r", &["-m", "post", "-t", SENML_JSON, "-e", "[{]"], "4.00", "SenML"),
        ("r", &["-m", "post", "-t", SENML_JSON, "-e", "[]"], "4.00", ""),
        ("r/th-1/temp", &["-m", "post", "-e", "  "], "4.00", "nothing"),
        ("x", &["-m", "post", "-e", "1"], "4.04", "/.well-known/core"),
        ("r/th-1", &["-m", "post", "-e", "1"], "4.05", "GET"),
        ("r/th-1/temp/x", &["-m", "get"], "4.04", "/.well-known/core"),
        ("files/x", &["-m", "get"], "4.04", "/.well-known/core"),
        ("r", &["-m", "get"], "4.05", "POST"),
        ("r/th-1/temp", &["-m", "delete"], "4.05", "POST"),
        (".well-known/core", &["-m", "post", "-e", "1"], "4.05", ""),
        ("r", &["-m", "post", "-t", "60", "-e", "1"], "4.15", "senml+cbor"),
        ("r/th-1/temp", &["-m", "post", "-t", SENML_JSON, "-e", "1"], "4.15", "text/plain"),
        (".well-known/core", &["-m", "get", "-A", JSON], "4.06", ""),
    ] {
        let answer = libcoap(address, path, arguments);
        assert_eq!(answer.code, code, "{path} {arguments:?}: {}", answer.text);
        assert!(answer.text.contains(hint), "{path} {arguments:?}: {}", answer.text);
    }
    assert!(gateway.sum("/sources/nodes/refused") >= 4, "{}", gateway.status());
    assert_eq!(gateway.count("/store/next"), 1, "nothing of it was stored");
}

#[test]
fn a_node_discovers_the_resources() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto);
    let answer = libcoap(gateway.address("nodes"), ".well-known/core", &["-m", "get"]);
    assert_eq!(answer.code, "2.05");
    assert!(answer.text.contains("</r>;rt=\"gateway.readings\""), "{}", answer.text);
    assert!(answer.text.contains("Content-Format:application/link-format"), "{}", answer.text);
}

#[test]
fn many_contexts_of_aiocoap_are_all_acknowledged() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = gateway(&mosquitto);
    aiocoap_posts("coap", gateway.address("nodes"), 20, 10, &all);
}

/// Posts readings from so many contexts of aiocoap at once; each must be acknowledged and arrive.
pub(crate) fn aiocoap_posts(
    scheme: &str,
    gateway: SocketAddr,
    contexts: usize,
    posts: usize,
    all: &Subscriber,
) {
    let mut command = aiocoap("post.py");
    command.arg(format!("{scheme}://{gateway}"));
    let output = run(command.args([contexts.to_string(), posts.to_string()]));
    let codes = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        codes.lines().filter(|code| *code == "2.04 Changed").count(),
        contexts * posts,
        "{codes}"
    );
    for context in 0..contexts {
        for post in 0..posts {
            let device = format!("aiocoap-{context}");
            let expected = json!({"gateway": "gw", "device": device, "name": format!("p{post}"), "value": context * 1000 + post});
            all.expect(&format!("site/gw/{device}/p{post}"), &expected);
        }
    }
}

/// A script of this folder that uses aiocoap, to be given its arguments.
pub(crate) fn aiocoap(script: &str) -> Command {
    script_with("aiocoap", script)
}
