//! What the CoAP server has to show, by libcoap and aiocoap: blocks, files, readings, time.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::Command;

use proto::coap::{Message, MessageType};
use serde_json::{Value, json};

use crate::coap::{Answer, aiocoap, libcoap, libcoap_answer};
use crate::harness::clock::{PATIENCE, wait_until};
use crate::harness::coap::{Node, acknowledgement};
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::{Lines, Running, run};

/// A gateway that serves its folder `files`, with CoAP over both and lines over TCP.
fn gateway(mosquitto: &Mosquitto, prepare: impl FnOnce(&Gateway)) -> Gateway {
    gateway_with(mosquitto, "", prepare)
}

/// The same with further keys of the link.
fn gateway_with(mosquitto: &Mosquitto, keys: &str, prepare: impl FnOnce(&Gateway)) -> Gateway {
    let mut gateway = Gateway::new(&format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"], tcp = [\"127.0.0.1:0\"], \
         files = \"{{dir}}/files\"{keys} }}\n\
         [sources.lines]\nlink = {{ type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }}\n\
         frame = {{ type = \"lines\" }}\ndecode = {{ type = \"json\", device = \"device\" }}\n{}\
         [routes.all]\ntopic = \"site/{{gateway}}/{{device}}/{{name}}\"\n",
        mosquitto.table("local")
    ));
    fs::create_dir(gateway.dir().join("files")).unwrap();
    prepare(&gateway);
    gateway.launch();
    gateway.wait_until_up();
    gateway
}

fn get(gateway: SocketAddr, path: &str) -> Answer {
    libcoap(gateway, path, &["-m", "get"])
}

/// Bytes that differ from each other everywhere.
fn content(len: u32) -> Vec<u8> {
    (0..len).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect()
}

#[test]
fn a_pack_of_20_kb_is_posted_in_blocks() {
    // RFC 7959 §2.3
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = gateway(&mosquitto, |_| {});
    let text = "x".repeat(180);
    let record = |i| json!({"n": format!("v{i}"), "vs": format!("{i} {text}")});
    let mut records: Vec<_> = (0..100).map(record).collect();
    records[0]["bn"] = "big/".into();
    let pack = gateway.dir().join("pack.json");
    fs::write(&pack, serde_json::to_vec(&records).unwrap()).unwrap();
    assert!(fs::metadata(&pack).unwrap().len() > 20_000);
    let arguments = ["-m", "post", "-t", "110", "-f", pack.to_str().unwrap()];
    let answer = libcoap(gateway.address("nodes"), "r", &arguments);
    assert_eq!(answer.code, "2.04", "{}", answer.text);
    for i in 0..100 {
        let expected = json!({"gateway": "gw", "device": "big", "name": format!("v{i}"), "value": format!("{i} {text}")});
        all.expect(&format!("site/gw/big/v{i}"), &expected);
    }
    assert_eq!(gateway.count("/sources/nodes/readings"), 100);
}

#[test]
fn a_file_is_downloaded_in_blocks() {
    // RFC 7959 §2.4
    let mosquitto = Mosquitto::start();
    let file = content(100_000);
    let gateway = gateway(&mosquitto, |gateway| {
        fs::create_dir(gateway.dir().join("files/v2")).unwrap();
        fs::write(gateway.dir().join("files/v2/app.bin"), &file).unwrap();
        fs::write(gateway.dir().join("files/set.json"), b"{}").unwrap();
    });
    let address = gateway.address("nodes");
    let download = gateway.dir().join("download");
    let arguments = ["-m", "get", "-o", download.to_str().unwrap()];
    let answer = libcoap(address, "files/v2/app.bin", &arguments);
    assert_eq!(answer.code, "2.05", "{}", answer.text);
    assert!(fs::read(&download).unwrap() == file, "the file is another one");
    let small = get(address, "files/set.json");
    assert!(small.text.contains("Content-Format:application/json"), "{}", small.text);
    let etag = small.text.split("ETag:").nth(1).and_then(|text| text.split(',').next()).unwrap();
    let again = libcoap(address, "files/set.json", &["-m", "get", "-O", &format!("4,{etag}")]);
    assert_eq!(again.code, "2.03", "{}", again.text);
    assert_eq!(libcoap(address, "files/set.json", &["-m", "get", "-A", "60"]).code, "4.06");
    assert_eq!(libcoap(address, "files/set.json", &["-m", "put", "-e", "1"]).code, "4.05");
    let over_tcp = format!("coap+tcp://{}/files/set.json", gateway.tcp_address("nodes"));
    assert_eq!(libcoap_answer(&over_tcp, &["-m", "get"]).code, "2.05");
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, |gateway| {
        let (dir, files) = (gateway.dir(), gateway.dir().join("files"));
        fs::write(dir.join("secret"), b"top secret").unwrap();
        fs::create_dir(files.join("in")).unwrap();
        fs::write(files.join("in/open"), b"welcome").unwrap();
        symlink("in/open", files.join("within")).unwrap();
        symlink("../secret", files.join("out")).unwrap();
        symlink(dir.join("secret"), files.join("absolute")).unwrap();
        symlink(dir.path(), files.join("up")).unwrap();
        fs::write(files.join("huge"), vec![0; (1 << 20) + 1]).unwrap();
        run(Command::new("mkfifo").arg(files.join("pipe")));
    });
    let address = gateway.address("nodes");
    for path in ["files/in/open", "files/within"] {
        assert_eq!(get(address, path).code, "2.05", "{path}");
    }
    for path in ["out", "absolute", "up/secret", "in", "huge", "pipe", "none", "in/open/x", ""] {
        let answer = get(address, &format!("files/{path}"));
        assert_eq!(answer.code, "4.04", "{path}: {}", answer.text);
    }
    // By hand, because clients resolve these: GET with the Uri-Path segments.
    for segments in [&[b"files" as &[u8], b"..", b"secret"][..], &[b"files", b"../secret"]] {
        let node = Node::new(address);
        let mut datagram = vec![0x40, 1, 0, 1];
        for (index, segment) in segments.iter().enumerate() {
            datagram.push(if index == 0 { 0xb0 } else { 0 } | u8::try_from(segment.len()).unwrap());
            datagram.extend_from_slice(segment);
        }
        node.send(&datagram);
        let received = node.receive(PATIENCE).unwrap();
        assert_eq!(Message::parse(&received).unwrap().code().to_string(), "4.00");
    }
    let links = get(address, ".well-known/core").text;
    assert!(links.contains("</files/in/open>;sz=7"), "{links}");
    for name in ["secret", "out", "huge", "pipe"] {
        assert!(!links.contains(&format!("/{name}>")), "{links}");
    }
}

#[test]
fn discovery_takes_a_filter_and_goes_in_blocks() {
    // RFC 6690 §4.1
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, |gateway| {
        for i in 0..100 {
            fs::write(gateway.dir().join(&format!("files/f {i:02}.txt")), b"1").unwrap();
        }
    });
    let address = gateway.address("nodes");
    let download = gateway.dir().join("links");
    let arguments = ["-m", "get", "-o", download.to_str().unwrap()];
    let answer = libcoap(address, ".well-known/core", &arguments);
    assert!(answer.text.contains("Block2:0/M"), "{}", answer.text);
    let all = fs::read_to_string(&download).unwrap();
    for i in 0..100 {
        assert!(all.contains(&format!("</files/f%20{i:02}.txt>;sz=1;ct=0")), "{all}");
    }
    let [readings, time] = ["</r>;rt=\"gateway.readings\"", "</time>;rt=\"gateway.time\""];
    for (filter, found, not) in [("rt=gateway.time", time, readings), ("href=/r*", readings, time)]
    {
        let answer = get(address, &format!(".well-known/core?{filter}"));
        assert_eq!(answer.code, "2.05");
        assert!(answer.text.contains(found), "{}", answer.text);
        assert!(!answer.text.contains(not) && !answer.text.contains("</files"), "{}", answer.text);
    }
}

#[test]
fn the_time_is_the_gateways() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, |_| {});
    let now = || {
        let output = run(Command::new("date").arg("+%s%3N"));
        String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap()
    };
    let before = now();
    let uri = format!("coap://{}/time", gateway.address("nodes"));
    let output = run(aiocoap("get.py").args([&uri, "0"]));
    let text = String::from_utf8(output.stdout).unwrap();
    let (seconds, millis) = text.trim().strip_prefix("2.05 ").unwrap().split_once('.').unwrap();
    assert_eq!(millis.len(), 3, "{text}");
    let time = seconds.parse::<u64>().unwrap() * 1000 + millis.parse::<u64>().unwrap();
    assert!((before..=now()).contains(&time), "{before} {text}");
    let answer = get(gateway.address("nodes"), "time");
    assert!(answer.text.contains("Max-Age:0"), "{}", answer.text);
    assert_eq!(libcoap(gateway.address("nodes"), "time", &["-A", "60"]).code, "2.05");
    assert_eq!(libcoap(gateway.address("nodes"), "time", &["-A", "50"]).code, "4.06");
}

#[test]
fn a_reading_is_observed_while_others_arrive() {
    // RFC 7641 §3
    let mosquitto = Mosquitto::start();
    // aiocoap does not know Echo.
    let mut gateway = gateway_with(&mosquitto, ", amplification = 1000", |_| {});
    let address = gateway.address("nodes");
    assert_eq!(get(address, "r/th-1/temp").code, "4.04", "before the first");
    assert_eq!(get(address, "r/th-1").code, "4.04", "before the first");
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    let mut read = |value: usize, other: usize| {
        let line = format!(r#"{{"device":"th-1","temp":{value},"other":{other}}}"#);
        assert_eq!(client.ask(&line).unwrap(), "ok");
        assert_eq!(client.ask(r#"{"device":"th-2","temp":99}"#).unwrap(), "ok");
    };
    read(0, 7);
    wait_until("the first reading", || get(address, "r/th-1/temp").code == "2.05");
    let lines = Lines::default();
    let uri = format!("coap://{address}/r/th-1/temp");
    let mut observer = Running::start_reading(aiocoap("get.py").args([&uri, "20"]), &lines);
    for value in 1..=20_usize {
        wait_until(&format!("notification {value}: {}", lines.text()), || lines.len() >= value);
        read(value, 8);
    }
    assert!(observer.wait().success(), "{}", lines.text());
    for (value, line) in lines.since(0).iter().enumerate() {
        let pack: Value = serde_json::from_str(line.strip_prefix("2.05 ").unwrap()).unwrap();
        assert_eq!((&pack[0]["bn"], &pack[0]["n"]), (&json!("th-1/"), &json!("temp")), "{line}");
        assert_eq!(pack[0]["v"], value, "{line}");
        assert_eq!(pack.as_array().unwrap().len(), 1, "{line}");
    }
    let all = get(address, "r/th-1").text;
    assert!(all.contains(r#""v":20"#) && all.contains(r#""v":8"#), "{all}");
    assert_eq!(libcoap(address, "r/th-1", &["-A", "112"]).code, "2.05");
    assert_eq!(libcoap(address, "r/th-1/temp", &["-A", "50"]).code, "4.06");

    gateway.terminate();
    gateway.launch();
    gateway.wait_until_up();
    let again = get(gateway.address("nodes"), "r/th-1/temp");
    assert!(again.text.contains(r#""v":20"#), "after a restart: {}", again.text);
}

#[test]
fn an_answer_that_is_not_wanted_is_not_sent() {
    // RFC 7967 §2: No-Response (258) of 2 means no interest in 2.xx.
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = gateway(&mosquitto, |_| {});
    let post = |kind: u8, id: u8, value: u8| {
        // Uri-Path r, quiet, v{id} (11), No-Response (258 = 11 + 13 + 234).
        let path = [b"\xb1\x72\x05quiet\x02v" as &[u8], &[b'0' + id]].concat();
        [&[kind, 2, 0, id], &path[..], b"\xd1\xea\x02\xff", &[value]].concat()
    };
    let arrives = |id: u8, value: u8| {
        let expected =
            json!({"gateway": "gw", "device": "quiet", "name": format!("v{id}"), "value": value});
        all.expect(&format!("site/gw/quiet/v{id}"), &expected);
    };
    let node = Node::new(gateway.address("nodes"));
    const NON_CONFIRMABLE: u8 = 0x50;
    const CONFIRMABLE: u8 = 0x40;
    node.send(&post(NON_CONFIRMABLE, 1, b'5'));
    arrives(1, 5);
    node.send(&post(CONFIRMABLE, 2, b'6'));
    let received = node.receive(PATIENCE).unwrap();
    assert_eq!(received, acknowledgement(2), "to the Confirmable one, and nothing before");
    arrives(2, 6);
    // What is wrong is still told.
    node.send(&post(CONFIRMABLE, 3, b' '));
    let received = node.receive(PATIENCE).unwrap();
    let message = Message::parse(&received).unwrap();
    assert_eq!(message.kind(), MessageType::Acknowledgement);
    assert_eq!(message.code().to_string(), "4.00");
}

#[test]
fn a_client_that_was_not_verified_is_not_sent_much_more_than_it_sent() {
    // RFC 9175 §2.6
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, |_| {});
    let uri = format!("coap://{}/.well-known/core", gateway.address("nodes"));
    let output = run(aiocoap("get.py").args([&uri, "0"]));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "4.01");
    let answer = get(gateway.address("nodes"), ".well-known/core");
    assert_eq!(answer.code, "2.05", "libcoap repeats it with Echo: {}", answer.text);
}
