//! Nodes of the link protocol that are told something, with a node whose answers the test chooses.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use proto::link::{
    Argument, Call, Channel, FileReceiver, MAX_FRAME, Node, NodeConfig, NodeEvent, NodeOutput,
    Reply, ReplyStatus, Sha256Sum,
};
use proto::{Instant, Value};
use serde_json::json;

use crate::harness::asked::Site;
use crate::harness::clock::{civil, wait_until};
use crate::harness::temp::port;

/// How a node answers.
#[derive(Clone, PartialEq)]
enum Manner {
    /// With the value that it got.
    Echo,
    /// Like this.
    Say(Reply),
    /// Not before it has another manner.
    Hold,
    /// It takes a file, up to so many blocks; then it holds.
    Files(usize),
}

struct Shared {
    manner: Manner,
    calls: Vec<Call>,
    blocks: usize,
    files: FileReceiver,
    epoch: u32,
    stop: bool,
}

/// A node with its port, on a thread of its own.
struct TestNode {
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

impl TestNode {
    fn start(device: u32, gateway: SocketAddr, manner: Manner) -> Self {
        let files = FileReceiver::new(1 << 20, 500);
        let shared = Shared { manner, calls: Vec::new(), blocks: 0, files, epoch: 1, stop: false };
        let shared = Arc::new(Mutex::new(shared));
        let of_thread = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || live(device, gateway, &of_thread)));
        Self { shared, thread }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    fn calls(&self) -> Vec<Call> {
        self.shared().calls.clone()
    }

    fn wait_for_calls(&self, least: usize) {
        wait_until("the node to be told", || self.calls().len() >= least);
    }

    fn wait_for_blocks(&self, least: usize) {
        wait_until("the node to have blocks", || self.shared().blocks >= least);
    }

    fn become_(&self, manner: Manner) {
        self.shared().manner = manner;
    }

    /// Starts again, in the next epoch.
    fn restart(&self, manner: Manner) {
        let mut shared = self.shared();
        shared.epoch += 1;
        shared.manner = manner;
        shared.files = FileReceiver::new(1 << 20, 500);
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.shared().stop = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn live(device: u32, gateway: SocketAddr, shared: &Mutex<Shared>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(gateway).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let born = civil();
    let now = || Instant::from_micros(micros_since(born));
    let channels = vec![Channel { name: "count".to_owned(), unit: None, exponent: 0 }];
    let boot = |epoch| {
        let ack_timeout = Duration::from_millis(100);
        let max_timeout = Duration::from_millis(300);
        let config = NodeConfig::new(device, epoch, channels.clone());
        Node::new(NodeConfig { ack_timeout, max_timeout, ..config }, 1)
    };
    let (mut node, mut epoch, mut count) = (boot(1), 1, 0);
    let mut held = None;
    let mut buffer = [0; MAX_FRAME];
    loop {
        let mut state = shared.lock().unwrap();
        if state.stop {
            return;
        }
        if state.epoch > epoch {
            epoch = state.epoch;
            (node, held) = (boot(epoch), None);
        }
        if node.open_reports() == 0 {
            count += 1;
            let _ = node.report(now(), &[(0, count)]);
        }
        node.handle_timeout(now());
        loop {
            match node.poll_output() {
                NodeOutput::Transmit(frame) => drop(socket.send(&frame)),
                NodeOutput::Event(NodeEvent::Command { number, payload }) => {
                    let call = Call::decode(&payload).unwrap();
                    state.calls.push(call.clone());
                    held = Some((number, call));
                }
                NodeOutput::Event(_) => {}
                NodeOutput::Wait(_) => break,
            }
            if let Some((number, call)) = held.take() {
                match state.answer(&call) {
                    Some(reply) => node.respond(number, reply.encode()),
                    None => {
                        held = Some((number, call));
                        break;
                    }
                }
            }
        }
        if let Some((number, call)) = held.take() {
            match state.answer(&call) {
                Some(reply) => node.respond(number, reply.encode()),
                None => held = Some((number, call)),
            }
        }
        drop(state);
        // An error is that nobody is there, or nothing came.
        if let Ok(len) = socket.recv(&mut buffer) {
            node.handle_frame(now(), &buffer[..len]);
        }
    }
}

fn micros_since(born: SystemTime) -> u64 {
    u64::try_from(civil().duration_since(born).unwrap_or_default().as_micros()).unwrap()
}

impl Shared {
    fn answer(&mut self, call: &Call) -> Option<Reply> {
        match (&self.manner, &call.argument) {
            (Manner::Echo, Argument::Value(value)) => Some(Reply::default().with(value)),
            (Manner::Echo, _) => Some(Reply::default()),
            (Manner::Say(reply), _) => Some(reply.clone()),
            (Manner::Files(most), argument) if self.blocks < *most => {
                self.blocks += usize::from(matches!(argument, Argument::Block { .. }));
                Some(self.files.handle_call(argument.clone()))
            }
            (Manner::Files(_) | Manner::Hold, _) => None,
        }
    }
}

/// A gateway for nodes, and where it listens.
fn site() -> (Site, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], port()));
    let operation = |name: &str, more: &str| {
        format!(
            "[operations.{name}]\nsource = \"nodes\"\ndevices = [\"*\"]\n\
             value = {{ type = \"number\" }}\nvia = {{ type = \"link\", code = 1 }}\n{more}\n"
        )
    };
    let operations = [
        operation("level", ""),
        operation("once", "repeatable = false"),
        operation("again", "repeatable = true"),
    ];
    let site = Site::start(&format!(
        r#"
[sources.nodes]
link = {{ type = "udp", bind = "{address}" }}
decode = {{ type = "link" }}
{}
[operations.image]
source = "nodes"
devices = ["*"]
value = {{ type = "text" }}
via = {{ type = "file", folder = "{{dir}}/files", code = 9 }}
"#,
        operations.concat()
    ));
    fs::create_dir(site.gateway.dir().join("files")).unwrap();
    (site, address)
}

fn number(text: &str) -> Argument {
    Argument::Value(Value::Number(text.parse().unwrap()))
}

/// SIGKILL, and the next start.
fn kill(site: &mut Site, meanwhile: impl FnOnce()) {
    site.gateway.kill();
    meanwhile();
    site.gateway.launch();
}

#[test]
fn a_node_gets_code_value_and_id_and_its_answer_is_the_result() {
    let (site, address) = site();
    let node = TestNode::start(7, address, Manner::Echo);
    site.ask("7", "level", "42", "21.50");
    assert_eq!(site.wait_for("7", "42", "done")["result"], 21.5);
    assert_eq!(site.states("7", "42").last().unwrap(), "done");
    let expected = Call { code: 1, argument: number("21.50"), id: "42".to_owned() };
    assert_eq!(node.calls(), [expected]);
    let detail = Some("the valve is jammed".to_owned());
    node.become_(Manner::Say(Reply { detail, ..Reply::of(ReplyStatus::Failed) }));
    site.ask("7", "level", "43", "1");
    let error = json!({ "code": "failed", "detail": "the valve is jammed" });
    assert_eq!(site.wait_for("7", "43", "failed")["error"], error);
    node.become_(Manner::Say(Reply::of(ReplyStatus::UnknownCode)));
    site.ask("7", "level", "44", "1");
    assert_eq!(site.wait_for("7", "44", "failed")["error"]["code"], "unknown_code");
    assert_eq!(node.calls().len(), 3, "what is refused is not tried again");
}

#[test]
fn what_is_for_a_node_that_is_away_waits_is_cancelled_or_expires() {
    let (site, address) = site();
    site.ask("7", "level", "1", "1");
    assert_eq!(site.wait_for("7", "1", "queued")["error"]["code"], "away");
    site.ask("8", "level", "2", "2");
    site.wait_for("8", "2", "queued");
    site.cancel("8", "2");
    assert_eq!(site.wait_for("8", "2", "failed")["error"]["code"], "cancelled");
    site.ask_json("9", "level", &json!({ "id": "3", "value": 3, "deadline": "1s" }));
    site.wait_for("9", "3", "expired");
    let nodes = [7, 8, 9].map(|device| TestNode::start(device, address, Manner::Echo));
    site.wait_for("7", "1", "done");
    for (device, id) in [("8", "4"), ("9", "4")] {
        site.ask(device, "level", id, "4");
        site.wait_for(device, id, "done");
    }
    assert_eq!(nodes.map(|node| node.calls().len()), [1, 1, 1]);
}

#[test]
fn a_node_that_does_not_answer_holds_up_neither_others_nor_readings_and_ends_at_the_deadline() {
    let (site, address) = site();
    let slow = TestNode::start(7, address, Manner::Hold);
    let quick = TestNode::start(8, address, Manner::Echo);
    site.ask_json("7", "level", &json!({ "id": "1", "value": 1, "deadline": "4s" }));
    slow.wait_for_calls(1);
    site.ask("8", "level", "1", "1");
    site.wait_for("8", "1", "done");
    let before = site.at("gw/7/count").len();
    wait_until("readings of the slow one", || site.at("gw/7/count").len() > before);
    site.cancel("7", "1");
    site.wait_for("7", "1", "expired");
    assert_eq!(site.at("site/gw/refused")[0]["error"]["code"], "too_late");
    slow.become_(Manner::Echo);
    site.ask("7", "level", "2", "2");
    site.wait_for("7", "2", "done");
    assert_eq!((slow.calls().len(), quick.calls().len()), (2, 1));
}

#[test]
fn a_command_is_carried_out_once_over_a_killed_gateway() {
    let (mut site, address) = site();
    let node = TestNode::start(7, address, Manner::Hold);
    site.ask("7", "level", "1", "1");
    node.wait_for_calls(1);
    kill(&mut site, || {});
    node.become_(Manner::Echo);
    site.wait_for("7", "1", "done");
    // The answer is lost with the gateway that it was for.
    node.become_(Manner::Hold);
    site.ask("7", "level", "2", "2");
    node.wait_for_calls(2);
    kill(&mut site, || node.become_(Manner::Echo));
    assert_eq!(site.wait_for("7", "2", "done")["result"], 2);
    site.ask("7", "level", "3", "3");
    assert_eq!(site.wait_for("7", "3", "done")["result"], 3);
    let told: Vec<Argument> = node.calls().into_iter().map(|call| call.argument).collect();
    assert_eq!(told, ["1", "2", "3"].map(number));
}

#[test]
fn what_is_said_not_to_be_repeatable_has_an_unknown_outcome_over_a_killed_gateway() {
    let (mut site, address) = site();
    let node = TestNode::start(7, address, Manner::Hold);
    site.ask("7", "once", "1", "1");
    node.wait_for_calls(1);
    kill(&mut site, || {});
    assert_eq!(site.wait_for("7", "1", "failed")["error"]["code"], "unknown_outcome");
    node.become_(Manner::Echo);
    site.ask("7", "once", "2", "2");
    site.wait_for("7", "2", "done");
    assert_eq!(node.calls().len(), 2);
}

#[test]
fn a_node_that_restarts_before_its_answer_is_told_again_only_where_that_does_no_harm() {
    let (mut site, address) = site();
    let node = TestNode::start(7, address, Manner::Hold);
    site.ask("7", "level", "1", "1");
    node.wait_for_calls(1);
    node.restart(Manner::Hold);
    assert_eq!(site.wait_for("7", "1", "failed")["error"]["code"], "unknown_outcome");
    site.ask("7", "again", "2", "2");
    node.wait_for_calls(2);
    node.restart(Manner::Echo);
    site.wait_for("7", "2", "done");
    assert_eq!(node.calls().len(), 3);
    // The same where the gateway is away meanwhile.
    node.become_(Manner::Hold);
    site.ask("7", "level", "3", "3");
    node.wait_for_calls(4);
    kill(&mut site, || node.restart(Manner::Echo));
    assert_eq!(site.wait_for("7", "3", "failed")["error"]["code"], "unknown_outcome");
    assert_eq!(node.calls().len(), 4);
}

#[test]
fn a_file_arrives_whole_over_a_killed_gateway_and_a_node_that_restarts() {
    let (mut site, address) = site();
    let bytes: Vec<u8> = (0..50_000_u32).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    fs::write(site.gateway.dir().join("files/image.bin"), &bytes).unwrap();
    let node = TestNode::start(7, address, Manner::Files(30));
    site.ask("7", "image", "1", "image.bin");
    node.wait_for_blocks(30);
    kill(&mut site, || {});
    node.become_(Manner::Files(50));
    node.wait_for_blocks(50);
    assert!(node.shared().files.file().is_none());
    node.restart(Manner::Files(usize::MAX));
    let done = site.wait_for("7", "1", "done");
    let mut sum = Sha256Sum::default();
    sum.add(&bytes);
    let hex: String = sum.finish().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(done["result"]["sha256"], hex);
    assert_eq!(node.shared().files.file().unwrap().1, bytes);
    let blocks = node.shared().blocks;
    assert!((150..=152).contains(&blocks), "50 before its restart and 100 after it: {blocks}");
    let told = site.responses("7", "1");
    let progress = told.iter().filter_map(|response| response["progress"]["bytes"].as_u64());
    assert!(progress.clone().any(|bytes| bytes > 0), "{told:?}");
    site.ask("7", "image", "2", "../gateway.toml");
    assert_eq!(site.wait_for("7", "2", "failed")["error"]["code"], "file");
    node.become_(Manner::Say(Reply::of(ReplyStatus::Checksum)));
    site.ask("7", "image", "3", "image.bin");
    assert_eq!(site.wait_for("7", "3", "failed")["error"]["code"], "checksum");
}
