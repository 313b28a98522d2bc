//! What nodes write to a gateway's folder over CoAP, and how often they may ask, by libcoap's client.

use std::fs;
use std::path::PathBuf;

use proto::coap::Message;

use crate::coap::{Answer, libcoap_answer};
use crate::harness::clock::PATIENCE;
use crate::harness::coap::{Node, request};
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::Mosquitto;

/// A gateway with a folder `files`, with these keys of the link.
fn gateway(mosquitto: &Mosquitto, keys: &str) -> Gateway {
    let mut gateway = Gateway::new(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"], tcp = [\"127.0.0.1:0\"], \
         files = \"{{dir}}/files\", {keys} }}\n{}\
         [routes.all]\ntopic = \"site/{{gateway}}/{{device}}/{{name}}\"\n",
        mosquitto.table("local")
    ));
    fs::create_dir(gateway.dir().join("files")).unwrap();
    gateway.launch();
    gateway.wait_until_up();
    gateway
}

/// Where the gateway takes requests, over both transports.
fn both(gateway: &Gateway) -> [String; 2] {
    [
        format!("coap://{}", gateway.address("nodes")),
        format!("coap+tcp://{}", gateway.tcp_address("nodes")),
    ]
}

/// A file outside of the folder, with bytes that differ everywhere.
fn local_file(gateway: &Gateway, name: &str, len: u32) -> (PathBuf, Vec<u8>) {
    let content: Vec<u8> =
        (0..len).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let path = gateway.dir().join(name);
    fs::write(&path, &content).unwrap();
    (path, content)
}

#[track_caller]
fn expect(answer: &Answer, code: &str) {
    assert_eq!(answer.code, code, "{}", answer.text);
}

#[test]
fn a_file_is_uploaded_in_blocks_replaced_read_back_and_deleted() {
    // RFC 7959 §2.5, RFC 8323 §6; RFC 7252 §5.8.3, §5.10.8
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "uploads = { delete = true }");
    let (path, content) = local_file(&gateway, "app.bin", 100_000);
    for uri in both(&gateway) {
        let file = format!("{uri}/files/app.bin");
        let stored = gateway.dir().join("files/app.bin");
        let put = ["-m", "put", "-b", "1024", "-f", path.to_str().unwrap()];
        let made = libcoap_answer(&file, &put);
        expect(&made, "2.01");
        assert!(made.text.contains("ETag:"), "{}", made.text);
        assert!(fs::read(&stored).unwrap() == content, "{uri}: another content");
        expect(&libcoap_answer(&file, &put), "2.04");
        // If-None-Match
        let only_new = [&put[..], &["-O", "5"]].concat();
        expect(&libcoap_answer(&file, &only_new), "4.12");
        let back = gateway.dir().join("back");
        expect(&libcoap_answer(&file, &["-m", "get", "-o", back.to_str().unwrap()]), "2.05");
        assert!(fs::read(&back).unwrap() == content, "{uri}: another content came back");
        let links =
            libcoap_answer(&format!("{uri}/.well-known/core?href=/files/*"), &["-m", "get"]);
        assert!(links.text.contains("</files/app.bin>;sz=100000"), "{}", links.text);
        expect(&libcoap_answer(&file, &["-m", "delete"]), "2.02");
        assert!(!stored.exists());
        expect(&libcoap_answer(&file, &["-m", "delete"]), "2.02");
        expect(&libcoap_answer(&file, &["-m", "get"]), "4.04");
    }
}

#[test]
fn what_is_not_allowed_or_does_not_fit_is_refused_and_counted() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "uploads = { max_bytes = \"50KiB\", max_files = 2 }");
    let (large, _) = local_file(&gateway, "large", 60_000);
    let (huge, _) = local_file(&gateway, "huge", (1 << 20) + 1);
    // `a` and `b` are there the second time.
    for (uri, left) in both(&gateway).into_iter().zip([51_200, 51_198]) {
        let ask = |path: &str, arguments: &[&str]| {
            libcoap_answer(&format!("{uri}/files/{path}"), arguments)
        };
        let put = |path: &str, file: &PathBuf| {
            ask(path, &["-m", "put", "-b", "1024", "-f", file.to_str().unwrap()])
        };
        let refused = put("large", &large);
        expect(&refused, "4.13");
        assert!(refused.text.contains(&format!("Size1:{left}")), "{}", refused.text);
        expect(&put("huge", &huge), "4.13");
        expect(&ask("none/a", &["-m", "put", "-e", "x"]), "4.04");
        expect(&ask(".hidden", &["-m", "put", "-e", "x"]), "4.03");
        expect(&ask("a", &["-m", "post", "-e", "x"]), "4.05");
        for name in ["a", "b"] {
            let code = ask(name, &["-m", "put", "-e", "x"]).code;
            assert!(code == "2.01" || code == "2.04", "{code}");
        }
        expect(&ask("c", &["-m", "put", "-e", "x"]), "4.03");
        expect(&ask("a", &["-m", "delete"]), "4.05");
    }
    let mut names: Vec<_> = gateway.dir().join("files").read_dir().unwrap().collect();
    names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    assert_eq!(names.len(), 2, "nothing temporary stays: {names:?}");
    assert_eq!(gateway.count("/sources/nodes/refused/upload/count"), 8);
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    // RFC 8516 §3
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "max_rate = 5");
    let node = Node::new(gateway.address("nodes"));
    let mut codes = Vec::new();
    for id in 0..20_u16 {
        node.send(&request(id, &id.to_be_bytes(), "r/fast/t", None, b"1"));
    }
    while codes.len() < 20 {
        let received = node.receive(PATIENCE).unwrap();
        let message = Message::parse(&received).unwrap();
        let max_age = message.options().find(|(option, _)| option.0 == 14);
        let code = message.code().to_string();
        assert_eq!(max_age.map(|(_, seconds)| seconds), (code == "4.29").then_some(&[1][..]));
        codes.push(code);
    }
    let refused = codes.iter().filter(|code| *code == "4.29").count();
    assert!((10..=15).contains(&refused), "five at once, and one each 200 ms: {codes:?}");
    assert_eq!(codes.iter().filter(|code| *code == "2.04").count(), 20 - refused);
    gateway.wait_for_count("/sources/nodes/refused/too_many_requests/count", refused as u64);
    gateway.wait_for_count("/sources/nodes/readings", 20 - refused as u64);
}

#[test]
fn a_reading_has_an_entity_tag_and_conditions_are_those_of_the_last_one() {
    // RFC 7252 §5.6.2, §5.10.8
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "amplification = 1000");
    for uri in both(&gateway) {
        let name = if uri.contains("tcp") { "t" } else { "u" };
        let reading = format!("{uri}/r/th-1/{name}");
        let put = |options: &[&str]| {
            libcoap_answer(&reading, &[&["-m", "put", "-e", "21.5"], options].concat())
        };
        let etag = || {
            let got = libcoap_answer(&reading, &["-m", "get"]).text;
            let etag = got.split("ETag:").nth(1).and_then(|text| text.split(',').next());
            etag.map(|etag| format!(",{}", etag.trim()))
        };
        expect(&put(&["-O", "1,0x00"]), "4.12");
        expect(&put(&["-O", "5"]), "2.04");
        crate::harness::clock::wait_until("the reading", || etag().is_some());
        expect(&put(&["-O", "5"]), "4.12");
        let first = etag().unwrap();
        expect(&libcoap_answer(&reading, &["-m", "get", "-O", &format!("4{first}")]), "2.03");
        expect(&put(&["-O", &format!("1{first}")]), "2.04");
        crate::harness::clock::wait_until("the next reading", || etag().unwrap() != first);
        expect(&put(&["-O", &format!("1{first}")]), "4.12");
        expect(&libcoap_answer(&reading, &["-m", "get", "-O", &format!("4{first}")]), "2.05");
        expect(
            &libcoap_answer(&format!("{uri}/r"), &["-m", "post", "-e", "[]", "-O", "5"]),
            "4.12",
        );
    }
}
