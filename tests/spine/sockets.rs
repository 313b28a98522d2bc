//! Programs of beginners: Python's `socket` module, as tutorials use it, and the example for it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::{program, run};

/// The example, on free ports.
fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/sockets.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let (sources, _) = text.split_once("[brokers.local]").expect("brokers come last");
    sources.replace("127.0.0.1:8888", "127.0.0.1:0").replace("0.0.0.0:8889", "0.0.0.0:0")
}

fn start(mosquitto: &Mosquitto) -> Gateway {
    let routes = "[routes.all]\ntopic = \"sockets/{source}/{device}\"\npayload = \"value\"\n";
    Gateway::start(&format!("{}\n{}\n{routes}", example(), mosquitto.table("local")))
}

fn hello(arguments: &[&str], port: u16) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/spine/hello.py");
    let mut command: Command = program("python3", "python3");
    let (name, rest) = arguments.split_first().unwrap();
    run(command.arg(script).arg(name).arg(port.to_string()).args(rest))
}

#[test]
fn a_client_that_says_hello_gets_an_answer() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("sockets/#");
    let gateway = start(&mosquitto);
    let port = gateway.address("hello").port();
    let output = hello(&["ask", "Hello, World!"], port);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Received b'ok\\n'\n", "{output:?}");
    assert_eq!(all.first("sockets/hello/127.0.0.1").text(), "Hello, World!");
}

#[test]
fn threads_that_send_and_close_at_once_lose_nothing() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("sockets/#");
    let gateway = start(&mosquitto);
    let port = gateway.address("hello").port();
    hello(&["threads", "5"], port);
    hello(&["silent"], port);
    let expected: BTreeSet<String> = (0..5).map(|number| format!("thread {number}")).collect();
    wait_until("what the threads said", || {
        let said = all.at("sockets/hello/127.0.0.1");
        said.iter().map(|message| message.text().to_owned()).collect::<BTreeSet<_>>() == expected
    });
    wait_until("all of them to be gone", || gateway.count("/sources/hello/clients") == 0);
    assert_eq!(gateway.count("/sources/hello/messages"), 5);
    assert_eq!(gateway.sum("/sources/hello/refused"), 0, "{}", gateway.status());
    let troubled = gateway
        .log_entries()
        .into_iter()
        .find(|entry| entry["level"] != "INFO" && entry["level"] != "DEBUG");
    assert_eq!(troubled, None);
}

#[test]
fn a_broadcast_is_heard() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("sockets/#");
    let gateway = start(&mosquitto);
    hello(&["broadcast", "21.5"], gateway.address("shout").port());
    assert_eq!(all.first("sockets/shout/127.0.0.1").text(), "21.5");
}

#[test]
fn groups_are_joined_and_only_allowed_senders_are_heard() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("sockets/#");
    let gateway = Gateway::start(&format!(
        r#"
[sources.four]
link = {{ type = "udp", bind = "0.0.0.0:0", groups = ["239.1.2.3"], interface = "lo", allow = ["127.0.0.0/8"] }}
decode = {{ type = "value", name = "v" }}
[sources.both]
link = {{ type = "udp", bind = "[::]:0", groups = ["ff11::1234", "239.1.2.4"], interface = "lo" }}
decode = {{ type = "value", name = "v" }}
[sources.closed]
link = {{ type = "udp", bind = "127.0.0.1:0", allow = ["192.0.2.0/24", "2001:db8::7"] }}
decode = {{ type = "value", name = "v" }}
[sources.closed-tcp]
link = {{ type = "tcp", bind = "127.0.0.1:0", allow = ["192.0.2.0/24"] }}
decode = {{ type = "value", name = "v" }}
{}
[routes.all]
topic = "sockets/{{source}}"
payload = "value"
"#,
        mosquitto.table("local")
    ));
    hello(&["multicast", "4", "239.1.2.3"], gateway.address("four").port());
    assert_eq!(all.first("sockets/four").text(), "4");
    // No route of most machines leads to a group of IPv6 on the loopback interface.
    let members = std::fs::read_to_string("/proc/net/igmp6").unwrap();
    let is_member =
        |line: &str| line.contains(" lo ") && line.contains("ff110000000000000000000000001234");
    assert!(members.lines().any(is_member), "{members}");
    hello(&["multicast", "46", "239.1.2.4"], gateway.address("both").port());
    assert_eq!(all.first("sockets/both").text(), "46");

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"1", gateway.address("closed")).unwrap();
    gateway.wait_for_count("/sources/closed/refused/not_allowed/count", 1);
    let mut client = LineClient::connect(gateway.address("closed-tcp")).unwrap();
    // It is closed, politely or not.
    let _ = client.send(b"1\n");
    client.reply().unwrap_err();
    gateway.wait_for_count("/sources/closed-tcp/refused/not_allowed/count", 1);
    assert_eq!(gateway.count("/sources/closed/messages"), 0);
}

#[test]
fn half_a_frame_is_flushed_or_refused_after_a_while() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("sockets/#");
    let gateway = Gateway::start(&format!(
        r#"
[sources.chunks]
link = {{ type = "tcp", bind = "127.0.0.1:0", reply = true }}
frame = {{ type = "chunk", idle = "20ms" }}
decode = {{ type = "value", name = "v" }}
[sources.lines]
link = {{ type = "tcp", bind = "127.0.0.1:0", reply = true }}
frame = {{ type = "lines", idle = "20ms" }}
decode = {{ type = "value", name = "v" }}
{}
[routes.all]
topic = "sockets/{{source}}"
payload = "value"
"#,
        mosquitto.table("local")
    ));
    let mut chunks = LineClient::connect(gateway.address("chunks")).unwrap();
    chunks.send(b"21.5").unwrap();
    assert_eq!(chunks.reply().unwrap(), "ok");
    assert_eq!(all.first("sockets/chunks").text(), "21.5");
    let mut lines = LineClient::connect(gateway.address("lines")).unwrap();
    lines.send(b"21").unwrap();
    let reply = lines.reply().unwrap();
    assert_eq!(reply, "error: it ends within a frame; see `frame.idle`");
    // The next one is whole.
    assert_eq!(lines.ask("22.5").unwrap(), "ok");
    assert_eq!(all.first("sockets/lines").text(), "22.5");
    assert_eq!(gateway.status()["sources"]["lines"]["refused"]["unterminated"]["count"], json!(1));
}

#[test]
fn a_server_is_connected_to_and_again_when_it_comes_back() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("sockets/#");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let gateway = Gateway::start(&format!(
        "[sources.x]\nlink = {{ type = \"tcp-client\", connect = \"localhost:{}\", max_backoff = \"1s\" }}\n\
         frame = {{ type = \"delimited\", start = \"02\", end = \"03\", strip = true }}\n\
         decode = {{ type = \"value\", name = \"v\" }}\n{}\
         [routes.all]\ntopic = \"sockets/{{source}}\"\npayload = \"value\"\n",
        address.port(),
        mosquitto.table("local")
    ));
    let say = |server: &TcpListener, bytes: &[u8]| {
        let (mut device, _) = server.accept().unwrap();
        std::io::Write::write_all(&mut device, bytes).unwrap();
        device
    };
    let device = say(&server, b"5\x03\x0221.5\x03");
    assert_eq!(all.first("sockets/x").text(), "21.5");
    drop((device, server));
    wait_until("the refusal to be told", || {
        let last = &gateway.status()["sources"]["x"]["refused"]["not_connected"]["last"];
        last.as_str().is_some_and(|last| last.contains("nothing listens there"))
    });
    let server = TcpListener::bind(address).unwrap();
    let _device = say(&server, b"\x0222.5\x03");
    all.payload("sockets/x", b"22.5");
    wait_until("the first end", || gateway.count("/sources/x/reconnects") == 1);
    assert_eq!(gateway.count("/sources/x/refused/resync/count"), 1);
}

#[test]
fn a_server_that_begins_with_a_frame_loses_none_and_a_converter_gives_no_half_one() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("sockets/#");
    let servers = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut config = mosquitto.table("local");
    for (server, name) in servers.iter().zip(["meter", "converter"]) {
        config += &format!(
            "[sources.{name}]\nlink = {{ type = \"tcp-client\", connect = \"{}\", mid_stream = {} }}\n\
             decode = {{ type = \"value\", name = \"v\" }}\n",
            server.local_addr().unwrap(),
            name == "converter"
        );
    }
    config += "[routes.all]\ntopic = \"sockets/{source}\"\npayload = \"value\"\n";
    let gateway = Gateway::start(&config);
    for server in &servers {
        let (mut device, _) = server.accept().unwrap();
        std::io::Write::write_all(&mut device, b"1.5\n22.5\n").unwrap();
    }
    gateway.wait_for_count("/sources/converter/messages", 1);
    gateway.wait_for_count("/sources/meter/messages", 2);
    assert_eq!(all.first("sockets/meter").text(), "1.5");
    assert_eq!(all.first("sockets/converter").text(), "22.5");
    assert_eq!(gateway.count("/sources/converter/refused/resync/count"), 1);
}

/// From the data sheet of the MH-Z19: "read the concentration", and 650 ppm.
#[test]
fn a_device_that_only_answers_is_asked_again_and_again() {
    const REQUEST: [u8; 9] = [0xff, 0x01, 0x86, 0, 0, 0, 0, 0, 0x79];
    const ANSWER: [u8; 9] = [0xff, 0x86, 0x02, 0x8a, 0x44, 0, 0, 0, 0xaa];
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("air/#");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/mh-z19.toml");
    let example = std::fs::read_to_string(path).unwrap();
    let (sources, _) = example.split_once("[brokers.local]").expect("brokers come last");
    let port = "type = \"serial\", path = \"/dev/ttyUSB0\", baud = 9600";
    let link = format!("type = \"tcp-client\", connect = \"{}\"", server.local_addr().unwrap());
    let sources = sources.replace(port, &link).replace("every = \"10s\"", "every = \"1s\"");
    let gateway = Gateway::start(&format!(
        "{sources}{}[routes.all]\ntopic = \"air/{{name}}\"\npayload = \"value\"\n",
        mosquitto.table("local")
    ));
    let (mut device, _) = server.accept().unwrap();
    device.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for _ in 0..2 {
        let mut request = [0; REQUEST.len()];
        device.read_exact(&mut request).unwrap();
        assert_eq!(request, REQUEST);
        device.write_all(&ANSWER).unwrap();
    }
    assert_eq!(all.first("air/co2").text(), "650");
    gateway.wait_for_count("/sources/co2/readings", 4);
    // The rest of an answer that does not come is given up, however often the device is asked.
    device.write_all(&ANSWER[..4]).unwrap();
    gateway.wait_for_count("/sources/co2/refused/unterminated/count", 1);
}

#[test]
fn devices_that_only_answer_are_asked_over_udp() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("asked/#");
    let devices = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = devices.each_ref().map(|device| device.local_addr().unwrap().to_string());
    let gateway = Gateway::start(&format!(
        r#"
[sources.asked]
link = {{ type = "udp", bind = "127.0.0.1:0", poll = {{ send = "3f 01", every = "1s", to = {to:?} }} }}
decode = {{ type = "value", name = "level" }}

{}[routes.all]
topic = "asked/{{name}}"
payload = "value"
"#,
        mosquitto.table("local")
    ));
    for turn in 0..2 {
        for (number, device) in devices.iter().enumerate() {
            device.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let mut request = [0; 8];
            let (len, asker) = device.recv_from(&mut request).unwrap();
            assert_eq!(request[..len], [0x3f, 0x01]);
            device.send_to(format!("1{turn}{number}").as_bytes(), asker).unwrap();
        }
    }
    gateway.wait_for_count("/sources/asked/readings", 4);
    wait_until("all answers", || all.at("asked/level").len() == 4);
    let levels: BTreeSet<_> = all.at("asked/level").iter().map(|m| m.text().to_owned()).collect();
    assert_eq!(levels, ["100", "101", "110", "111"].map(str::to_owned).into());
}
