//! Text and bytes to devices on a serial port, on TCP connections of either direction, and in datagrams.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::device::{Caller, SerialDevice, Server};
use crate::harness::asked::Site;
use crate::harness::clock::{PATIENCE, wait_until};

/// Operations of devices `v-*` at the source `line`.
const OPERATIONS: &str = r#"
[operations.turn]
source = "line"
devices = ["v-*"]
value = { type = "number" }
via = { type = "send", text = "SET {device} {value}\n", expect = "OK*", refuse = "ERR*", timeout = "300ms" }

[operations.again]
source = "line"
devices = ["v-*"]
value = { type = "number" }
via = { type = "send", text = "AGAIN {value}\n", expect = "OK*", timeout = "300ms" }
repeatable = true

[operations.blind]
source = "line"
devices = ["v-*"]
value = { type = "text" }
via = { type = "send", text = "BLIND {value}\n" }

[operations.hold]
source = "line"
devices = ["v-*"]
via = { type = "send", text = "HOLD\n", expect = "OK*", timeout = "10m" }

[operations.hold-again]
source = "line"
devices = ["v-*"]
via = { type = "send", text = "HOLD-AGAIN\n", expect = "OK*", timeout = "10m" }
repeatable = true
"#;

/// A device with a mind of its own: it does what it is told, refuses 99, and leaves 50 and what it is to
/// hold unanswered; `AGAIN` is answered the second time.
fn device(number: usize, line: &str) -> Option<String> {
    match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["SET", _, "99"] => Some("ERR 5\n".to_owned()),
        ["SET", device, "7"] => Some(format!("id={device} t=7\nOK 7\nid={device} t=8\n")),
        ["SET", _, "50"] | ["HOLD" | "BLIND", ..] => None,
        ["SET", _, value] => Some(format!("OK {value}\n")),
        ["AGAIN", _] => (number > 0).then(|| "OK\n".to_owned()),
        ["HOLD-AGAIN"] => (number > 0).then(|| "OK held\n".to_owned()),
        _ => Some("ERR what\n".to_owned()),
    }
}

fn serial(device: &SerialDevice) -> String {
    format!(
        "{OPERATIONS}\n[sources.line]\nlink = {{ type = \"serial\", path = \"{}\" }}\n\
         decode = {{ type = \"keyvalue\", device = \"id\" }}\n",
        device.port()
    )
}

#[test]
fn a_device_on_a_serial_port_does_it_or_refuses_and_its_readings_go_on() {
    let mut device = SerialDevice::new(device);
    let site = Site::start(&serial(&device));
    device.say("\n");
    site.ask("v-1", "turn", "1", "21.50");
    assert_eq!(site.wait_for("v-1", "1", "done")["result"], "OK 21.50");
    site.ask("v-1", "turn", "2", "99");
    let refused = site.wait_for("v-1", "2", "failed");
    assert_eq!(
        refused["error"],
        json!({"code": "refused", "detail": "the device answers `ERR 5`"})
    );
    // Readings before and behind the answer.
    site.ask("v-1", "turn", "3", "7");
    assert_eq!(site.wait_for("v-1", "3", "done")["result"], "OK 7");
    wait_until("both readings", || site.at("gw/v-1/t").len() == 2);
    site.ask("v-1", "blind", "4", "on");
    assert_eq!(site.wait_for("v-1", "4", "done").get("result"), None);
    device.told().wait_for("BLIND on");
    assert_eq!(device.told().lines(), ["SET v-1 21.50", "SET v-1 99", "SET v-1 7", "BLIND on"]);
    // No answer was taken for a reading.
    assert_eq!(site.gateway.sum("/sources/line/refused"), 0, "{}", site.gateway.status());
}

#[test]
fn no_answer_is_tried_again_only_where_it_does_no_harm() {
    let mut device = SerialDevice::new(device);
    let site = Site::start(&serial(&device));
    device.say("\n");
    site.ask("v-1", "again", "1", "5");
    assert_eq!(site.wait_for("v-1", "1", "done")["result"], "OK");
    assert_eq!(device.told().count("AGAIN 5"), 2);
    assert!(site.states("v-1", "1").contains(&"queued no_answer".to_owned()));
    site.ask("v-1", "turn", "2", "50");
    let unknown = site.wait_for("v-1", "2", "failed");
    assert_eq!(unknown["error"]["code"], "unknown_outcome");
    assert_eq!(device.told().count("SET v-1 50"), 1);
}

#[test]
fn a_value_that_would_be_two_messages_is_refused_and_nothing_is_sent() {
    let mut device = SerialDevice::new(device);
    let site = Site::start(&serial(&device));
    device.say("\n");
    site.ask_json("v-1", "blind", &json!({"id": "1", "value": "on\nSET v-1 1"}));
    let refused = site.wait_for("v-1", "1", "failed");
    assert_eq!(refused["error"]["code"], "value");
    site.ask("v-1", "turn", "2", "1");
    site.wait_for("v-1", "2", "done");
    assert_eq!(device.told().lines(), ["SET v-1 1"]);
}

#[test]
fn what_waits_for_the_port_can_be_cancelled_and_expires_and_the_rest_is_sent() {
    let mut device = SerialDevice::new(device);
    let site = Site::start(&serial(&device));
    device.unplug();
    wait_until("the loss to be noticed", || {
        site.gateway.status()["sources"]["line"]["up"] == false
    });
    site.ask("v-1", "turn", "1", "1");
    site.ask_json("v-2", "turn", &json!({"id": "2", "value": 2, "deadline": "1s"}));
    site.ask("v-3", "turn", "3", "3");
    for (device, id) in [("v-1", "1"), ("v-3", "3")] {
        assert_eq!(site.wait_for(device, id, "queued")["error"]["code"], "not_connected");
    }
    site.cancel("v-1", "1");
    assert_eq!(site.wait_for("v-1", "1", "failed")["error"]["code"], "cancelled");
    site.wait_for("v-2", "2", "expired");
    device.plug();
    wait_until("the port to be open", || site.gateway.status()["sources"]["line"]["up"] == true);
    device.say("\n");
    site.wait_for("v-3", "3", "done");
    assert_eq!(device.told().lines(), ["SET v-3 3"]);
}

#[test]
fn kill_9_between_begin_and_outcome_repeats_only_what_is_repeatable() {
    // A pseudo-terminal stays locked when its program was killed, so it is no serial port here.
    let device = Server::start(device);
    let mut site = Site::start(&format!(
        "{OPERATIONS}\n[sources.line]\nlink = {{ type = \"tcp-client\", connect = \"{}\" }}\n\
         decode = {{ type = \"keyvalue\", device = \"id\" }}\n",
        device.address()
    ));
    site.ask("v-1", "hold-again", "1", "");
    device.told().wait_for("HOLD-AGAIN");
    site.gateway.kill();
    site.gateway.launch();
    site.gateway.wait_until_up();
    assert_eq!(site.wait_for("v-1", "1", "done")["result"], "OK held");
    assert_eq!(device.told().count("HOLD-AGAIN"), 2);

    site.ask("v-1", "hold", "2", "");
    device.told().wait_for("HOLD");
    site.gateway.kill();
    site.gateway.launch();
    site.gateway.wait_until_up();
    assert_eq!(site.wait_for("v-1", "2", "failed")["error"]["code"], "unknown_outcome");
    site.ask("v-1", "turn", "3", "1");
    site.wait_for("v-1", "3", "done");
    assert_eq!(device.told().count("HOLD"), 1);
}

#[test]
fn devices_that_connect_are_told_on_their_connections_at_the_same_time() {
    let site = Site::start(&format!(
        "{OPERATIONS}\n[sources.line]\n\
         link = {{ type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }}\n\
         decode = {{ type = \"keyvalue\", device = \"id\" }}\n"
    ));
    let gateway = site.gateway.address("line");
    // Nobody is there yet.
    site.ask("v-1", "hold", "1", "");
    assert_eq!(site.wait_for("v-1", "1", "queued")["error"]["code"], "not_connected");
    // It takes the replies to its readings, as every client does.
    fn client(_: usize, line: &str) -> Option<String> {
        let is_set = line.starts_with("SET");
        is_set.then(|| format!("OK {}\n", line.split(' ').next_back().unwrap_or_default()))
    }
    let first = Caller::connect(gateway, "id=v-1 t=1\n", client);
    first.told().wait_for("HOLD");
    // It holds its answer, and another device is told meanwhile.
    let second = Caller::connect(gateway, "id=v-2 t=1\n", client);
    second.told().wait_for("ok");
    site.ask("v-2", "turn", "2", "5");
    assert_eq!(site.wait_for("v-2", "2", "done")["result"], "OK 5");
    first.say("OK at last\n");
    assert_eq!(site.wait_for("v-1", "1", "done")["result"], "OK at last");
    // The device has come back on another connection.
    let third = Caller::connect(gateway, "id=v-1 t=2\n", client);
    third.told().wait_for("ok");
    site.ask("v-1", "turn", "3", "6");
    site.wait_for("v-1", "3", "done");
    assert_eq!((first.told().count("SET v-1 6"), third.told().count("SET v-1 6")), (0, 1));
    // And is gone before it has answered.
    site.ask("v-1", "hold-again", "4", "");
    third.told().wait_for("HOLD-AGAIN");
    drop(third);
    assert_eq!(site.wait_for("v-1", "4", "queued")["error"]["code"], "disconnected");
}

/// Answers polls after a while, in which it understands nothing: what comes then is counted.
fn busy_after_polls(stream: &TcpStream, polls: &AtomicUsize, disturbed: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
        let answer = match line.trim_end() {
            "POLL" => {
                polls.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(400));
                stream.set_nonblocking(true).unwrap();
                let is_silent = reader.buffer().is_empty() && stream.peek(&mut [0]).is_err();
                stream.set_nonblocking(false).unwrap();
                disturbed.fetch_add(usize::from(!is_silent), Ordering::SeqCst);
                "id=v-1 t=20\n".to_owned()
            }
            told => device(0, told).unwrap_or_default(),
        };
        if { stream }.write_all(answer.as_bytes()).is_err() {
            return;
        }
        line.clear();
    }
}

#[test]
fn a_command_is_not_sent_into_the_answer_to_a_poll() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (polls, disturbed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let seen = (Arc::clone(&polls), Arc::clone(&disturbed));
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        busy_after_polls(&stream, &seen.0, &seen.1);
    });
    let site = Site::start(&format!(
        "{OPERATIONS}\n[sources.line]\n\
         link = {{ type = \"tcp-client\", connect = \"{address}\", mid_stream = false, poll = {{ send = \"50 4f 4c 4c 0a\", every = \"1s\" }} }}\n\
         decode = {{ type = \"keyvalue\", device = \"id\" }}\n"
    ));
    for number in 0..3 {
        let before = polls.load(Ordering::SeqCst);
        wait_until("a poll", || polls.load(Ordering::SeqCst) > before);
        let id = number.to_string();
        site.ask("v-1", "turn", &id, &id);
        assert_eq!(site.wait_for("v-1", &id, "done")["result"], format!("OK {id}"));
    }
    let readings = site.at("gw/v-1/t").len();
    wait_until("polls to go on", || site.at("gw/v-1/t").len() > readings);
    assert_eq!(disturbed.load(Ordering::SeqCst), 0);
    assert_eq!(site.gateway.sum("/sources/line/refused"), 0, "{}", site.gateway.status());
    drop(site);
    serving.join().unwrap();
}

#[test]
fn a_datagram_goes_where_the_device_was_heard_of_last_or_where_the_operation_says() {
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let (valve, pump) = (socket(), socket());
    let site = Site::start(&format!(
        r#"
[sources.line]
link = {{ type = "udp", bind = "[::]:0" }}
decode = {{ type = "keyvalue", device = "id" }}
[operations.position]
source = "line"
devices = ["v-*"]
value = {{ type = "number", min = 0, max = 100 }}
via = {{ type = "send", hex = "aa 01 {{u16le}} {{sum8}}", scale = 0.1, expect = "06*", refuse = "15*", timeout = "10m" }}
[operations.run]
source = "line"
devices = ["pump"]
value = {{ type = "boolean" }}
via = {{ type = "send", hex = "02 {{u8}}", expect = "02 0?", to = "{}", timeout = "10m" }}
"#,
        pump.local_addr().unwrap()
    ));
    let gateway = std::net::SocketAddr::from(([127, 0, 0, 1], site.gateway.address("line").port()));
    site.ask("v-1", "position", "1", "21.5");
    assert_eq!(site.wait_for("v-1", "1", "queued")["error"]["code"], "not_heard");
    valve.send_to(b"id=v-1 t=1", gateway).unwrap();
    let mut buffer = [0; 100];
    let mut heard = |socket: &UdpSocket| {
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        (buffer[..len].to_vec(), from)
    };
    let (bytes, from) = heard(&valve);
    assert_eq!((bytes, from), (vec![0xaa, 0x01, 0xd7, 0x00, 0x82], gateway));
    // It has not answered, and another one is told.
    site.ask("pump", "run", "2", "on");
    assert_eq!(heard(&pump).0, [2, 1]);
    // An answer counts only from who was asked; a reading goes on.
    pump.send_to(&[6, 6], gateway).unwrap();
    valve.send_to(b"id=v-1 t=2", gateway).unwrap();
    pump.send_to(&[2, 1], gateway).unwrap();
    assert_eq!(site.wait_for("pump", "2", "done")["result"], "0201");
    valve.send_to(&[6, 0xff], gateway).unwrap();
    assert_eq!(site.wait_for("v-1", "1", "done")["result"], "06ff");
    wait_until("both readings", || site.at("gw/v-1/t").len() == 2);
    // It has moved.
    let moved = socket();
    moved.send_to(b"id=v-1 t=3", gateway).unwrap();
    wait_until("the third reading", || site.at("gw/v-1/t").len() == 3);
    site.ask("v-1", "position", "3", "100");
    assert_eq!(heard(&moved).0, [0xaa, 0x01, 0xe8, 0x03, 0x96]);
    moved.send_to(&[0x15], gateway).unwrap();
    assert_eq!(site.wait_for("v-1", "3", "failed")["error"]["code"], "refused");
}
