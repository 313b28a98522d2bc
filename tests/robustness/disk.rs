//! A disk that is full, slow, or must be synced.

use std::fs;
use std::time::Duration;

use proto::coap::{Message, MessageType};

use crate::harness::clock::{PATIENCE, wait_until};
use crate::harness::coap::{Node, acknowledgement, request};
use crate::harness::coap_tcp::StreamNode;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::process::program;
use crate::harness::sim::Recorder;

#[test]
fn a_full_store_refuses_keeps_and_recovers() {
    let broker = Recorder::start();
    broker.down();
    let gateway = Gateway::start(&format!(
        r#"
[store]
quota = "1MiB"
[sources.nodes]
link = {{ type = "coap", bind = ["127.0.0.1:0"], tcp = ["127.0.0.1:0"] }}
[sources.lines]
device = "tcp"
link = {{ type = "tcp", bind = "127.0.0.1:0", reply = true }}
decode = {{ type = "value", name = "v" }}
[brokers.sim]
url = "{}"
max_backoff = "1s"
[routes.all]
"#,
        broker.url()
    ));
    let mut node = Node::new(gateway.address("nodes"));
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    let text = |sequence: usize| format!("{sequence}:{}", "x".repeat(900));
    let mut post = |sequence: usize| {
        node.post("r/coap/v", None, text(sequence).as_bytes(), PATIENCE).expect("an answer")
    };
    let mut accepted = Vec::new();
    let refused = (0..4000).find_map(|sequence| {
        let answer = post(sequence);
        match answer.code.as_str() {
            "2.04" => accepted.push(text(sequence)),
            _ => return Some(answer),
        }
        None
    });
    let refused = refused.expect("1 MiB is full after 4 MB");
    assert_eq!((refused.code.as_str(), refused.max_age), ("5.03", Some(30)));
    assert_eq!(refused.payload, b"the store is full");
    let mut stream = StreamNode::connect(gateway.tcp_address("nodes")).unwrap();
    let large = "x".repeat(5000);
    assert_eq!(stream.post("r/stream/v", None, large.as_bytes()).unwrap(), refused);
    assert!(accepted.len() > 200, "only {} readings fit into 1 MiB", accepted.len());
    assert_eq!(client.ask(&large).unwrap(), "error: the store is full");
    assert!(gateway.count("/store/full") >= 2);
    assert!(gateway.count("/dropped/store_full/count") >= 2);

    broker.up();
    wait_until("new readings to be accepted", || post(5000).code == "2.04");
    wait_until("new lines to be accepted", || client.ask(&"x".repeat(5000)).unwrap() == "ok");
    wait_until("everything to be delivered", || gateway.status()["store"]["pending"]["sim"] == 0);
    let arrived: Vec<_> =
        broker.readings().into_iter().filter(|reading| reading.device == "coap").collect();
    let mut arrived: Vec<_> =
        arrived.iter().map(|reading| reading.value.as_str().unwrap()).collect();
    assert_eq!(arrived.pop(), Some(text(5000).as_str()));
    assert_eq!(arrived, accepted, "what was acknowledged, once, in order, and nothing else");
}

#[test]
fn a_slow_commit_makes_the_response_separate() {
    let gateway = Gateway::start(
        r#"
[store]
commit_interval = "3s"
[sources.nodes]
link = { type = "coap", bind = ["127.0.0.1:0"], separate_after = "50ms" }
[brokers.nowhere]
url = "mqtt://127.0.0.1:1"
[routes.all]
"#,
    );
    let node = Node::new(gateway.address("nodes"));
    let receive = || node.receive(PATIENCE).expect("a datagram");
    let message = |id: u16| request(id, &id.to_be_bytes(), "r/d/v", None, b"1");
    // The first one is committed at once; the second one waits for the interval to pass.
    node.send(&message(1));
    assert_eq!(receive(), [0x62, 0x44, 0, 1, 0, 1], "ACK 2.04");
    node.send(&message(2));
    assert_eq!(receive(), [0x60, 0, 0, 2], "an empty ACK");
    // RFC 7252 §4.5: a retransmission is acknowledged again, and not taken for another message.
    node.send(&message(2));
    assert_eq!(receive(), [0x60, 0, 0, 2], "an empty ACK");
    let received = receive();
    let response = Message::parse(&received).unwrap();
    assert_eq!(response.kind(), MessageType::Confirmable);
    assert_eq!(
        (response.code().to_string().as_str(), &response.token()[..]),
        ("2.04", &[0, 2][..])
    );
    // Not acknowledged, it comes again (RFC 7252 §4.2).
    assert_eq!(receive(), received);
    node.send(&acknowledgement(response.message_id()));
    assert_eq!(node.receive(Duration::from_secs(7)), None, "acknowledged, it does not come again");
    assert_eq!(gateway.count("/store/next"), 3);
}

#[test]
fn commits_use_fdatasync() {
    const POSTS: usize = 5;
    let mut gateway = Gateway::new(
        "[sources.nodes]\nlink = { type = \"coap\", bind = [\"127.0.0.1:0\"] }\n\
         [brokers.nowhere]\nurl = \"mqtt://127.0.0.1:1\"\n[routes.all]\n",
    );
    let trace = gateway.dir().join("trace");
    let strace = program("strace", "strace").get_program().to_str().unwrap().to_owned();
    let file = trace.display().to_string();
    // -D: the gateway is the child of this test, and strace beside it. -y: with the names of files.
    let arguments = [&strace, "-D", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", &file];
    gateway.launch_under(&arguments);
    gateway.wait_until_up();
    let syncs = || fs::read_to_string(&trace).unwrap_or_default();
    let begin = syncs().len();
    let mut node = Node::new(gateway.address("nodes"));
    for post in 1..=POSTS {
        let answer = node.post("r/d/v", None, b"1", PATIENCE).expect("an answer");
        assert_eq!(answer.code, "2.04");
        wait_until("an fdatasync for each commit", || {
            syncs()[begin..].matches("fdatasync(").count() >= post
        });
    }
    let trace = syncs();
    let is_slow = |line: &&str| line.contains(" fsync(") && line.contains("spool.db");
    assert_eq!(trace[begin..].lines().filter(is_slow).count(), 0, "{trace}");
}

#[test]
fn an_upload_is_on_disk_before_it_has_its_name_and_its_name_before_it_is_acknowledged() {
    let mut gateway = Gateway::new(
        "[sources.nodes]\nlink = { type = \"coap\", bind = [\"127.0.0.1:0\"], files = \"{dir}/files\", \
         uploads = {} }\n[brokers.nowhere]\nurl = \"mqtt://127.0.0.1:1\"\n[routes.all]\n",
    );
    fs::create_dir(gateway.dir().join("files")).unwrap();
    let trace = gateway.dir().join("trace");
    let strace = program("strace", "strace").get_program().to_str().unwrap().to_owned();
    let file = trace.display().to_string();
    let calls = "trace=fsync,renameat,renameat2,sendto";
    gateway.launch_under(&[&strace, "-D", "-f", "-e", calls, "-o", &file]);
    gateway.wait_until_up();
    let traced = || fs::read_to_string(&trace).unwrap_or_default();
    let begin = traced().len();
    let node = Node::new(gateway.address("nodes"));
    let mut put = request(1, b"put", "files/a", None, b"content");
    put[1] = 3;
    node.send(&put);
    let answer = node.receive(PATIENCE).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().code().to_string(), "2.01");
    wait_until("the answer in the trace", || traced()[begin..].contains("sendto("));
    let all = traced()[begin..].to_owned();
    let call = |line: &str| ["fsync(", "rename", "sendto("].into_iter().find(|c| line.contains(c));
    let order: Vec<_> =
        all.lines().filter(|line| !line.contains("resumed")).filter_map(call).collect();
    assert_eq!(order, ["fsync(", "rename", "fsync(", "sendto("], "{all}");
}
