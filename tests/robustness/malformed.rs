//! Garbage on every kind of source.

use std::net::UdpSocket;
use std::time::Duration;

use proto::Rng;
use serde_json::json;

use crate::harness::clock::{PATIENCE, wait_until};
use crate::harness::coap::{Node, request};
use crate::harness::coap_tcp::{StreamNode, stream_request};
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::serial::Cable;
use crate::harness::sim::Recorder;

/// Malformed inputs for each kind of source.
const INPUTS: usize = 1000;
/// Inputs between two looks at whether the gateway still works; few enough for a socket's buffer.
const ROUND: usize = 100;
/// How much more memory the gateway may occupy after all of them: far more than any buffer takes,
/// and far less than they would add up to if each left something behind.
const GROWTH_KIB: u64 = 16 * 1024;

/// A CoAP server over both transports.
const COAP_TCP: &str =
    "link = { type = \"coap\", bind = [\"127.0.0.1:0\"], tcp = [\"127.0.0.1:0\"] }";

/// rtl_433, as in its documentation.
const JSON: &[u8] = br#"{"time":"2019-08-29 08:38:19","model":"Nexus-TH","id":42,"channel":2,"battery_ok":1,"temperature_C":20.5,"humidity":83}"#;
/// RFC 8428 §5.1.2.
const SENML_JSON: &[u8] = br#"[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2}]"#;
/// The same kind of pack in CBOR (RFC 8428 §6).
const SENML_CBOR: &[u8] = b"\x81\xa5\x21\x6eurn:dev:mac:1:\x22\xfb\x41\xd3\x03\xa1\x5b\x00\x10\x62\x00\x64temp\x01\x63Cel\x02\xf9\x4d\x60";
/// NMEA 0183, the usual example.
const GGA: &[u8] = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47";
const PAIRS: &[u8] = b"id=th-1 n=17 t=21.5 h=40";

/// Every truncation of the golden messages, then changes of single bytes, until there are enough.
fn malformed(golden: &[&[u8]], seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Rng::new(seed);
    let truncations =
        golden.iter().flat_map(|message| (0..message.len()).map(|end| message[..end].to_vec()));
    let mut inputs: Vec<Vec<u8>> = truncations.collect();
    let mut below = |bound: usize| usize::try_from(rng.below(bound as u64)).unwrap();
    while inputs.len() < INPUTS {
        let mut input = golden[below(golden.len())].to_vec();
        let at = below(input.len());
        input[at] ^= u8::try_from(1 + below(255)).unwrap();
        inputs.push(input);
    }
    inputs
}

/// A gateway with one source, and the broker that it publishes to.
fn start(source: &str) -> (Gateway, Recorder) {
    let broker = Recorder::start();
    let gateway = Gateway::start(&format!(
        "[sources.x]\n{source}\n[brokers.sim]\nurl = \"{}\"\n[routes.all]\n",
        broker.url()
    ));
    (gateway, broker)
}

/// Feeds the inputs in rounds, after each of which `feed_valid` sends a reading `round = i` of the
/// device `valid`, which must arrive.
fn survive(
    gateway: &mut Gateway,
    broker: &Recorder,
    inputs: &[Vec<u8>],
    mut feed: impl FnMut(&[u8]),
    mut feed_valid: impl FnMut(usize),
) {
    let mut memory = None;
    for (round, inputs) in inputs.chunks(ROUND).enumerate() {
        inputs.iter().for_each(|input| feed(input));
        feed_valid(round);
        wait_until("the valid reading", || {
            let is_it = |reading: &crate::harness::sim::Reading| {
                reading.device == "valid"
                    && reading.name == "round"
                    && reading.value == json!(round)
            };
            assert!(gateway.is_running(), "the gateway ended in round {round}");
            broker.readings().iter().any(is_it)
        });
        // From the first round on every buffer exists.
        memory.get_or_insert_with(|| gateway.memory_kib());
    }
    let (before, after) = (memory.unwrap(), gateway.memory_kib());
    assert!(after <= before + GROWTH_KIB, "{before} KiB became {after} KiB");
}

fn survive_datagrams(decode: &str, golden: &[&[u8]], valid: impl Fn(usize) -> Vec<u8>) {
    let (mut gateway, broker) =
        start(&format!("link = {{ type = \"udp\", bind = \"127.0.0.1:0\" }}\ndecode = {decode}"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(gateway.address("x")).unwrap();
    let inputs = malformed(golden, 1);
    let send = |datagram: &[u8]| {
        socket.send(datagram).unwrap();
    };
    survive(&mut gateway, &broker, &inputs, send, |round| send(&valid(round)));
    let rounds = inputs.len().div_ceil(ROUND);
    let status = gateway.status();
    assert_eq!(status["sources"]["x"]["messages"], inputs.len() + rounds, "{status}");
    // A changed digit is still a digit: only what a truncation leaves is certainly malformed.
    assert!(gateway.sum("/sources/x/refused") > 50, "{status}");
}

#[test]
fn malformed_json_datagrams_are_counted() {
    survive_datagrams("{ type = \"json\", device = \"model\" }", &[JSON], |round| {
        format!("{{\"model\":\"valid\",\"round\":{round}}}").into()
    });
}

#[test]
fn malformed_senml_datagrams_are_counted() {
    survive_datagrams("{ type = \"senml\" }", &[SENML_JSON, SENML_CBOR], |round| {
        format!("[{{\"bn\":\"valid/\",\"n\":\"round\",\"v\":{round}}}]").into()
    });
}

#[test]
fn malformed_lines_of_tcp_clients_are_counted() {
    let (mut gateway, broker) = start(
        "link = { type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }\n\
         decode = { type = \"keyvalue\", device = \"id\", seq = \"n\" }",
    );
    let address = gateway.address("x");
    let inputs = malformed(&[PAIRS], 2);
    // Nobody reads the replies, which are few enough for the socket's buffer.
    let mut client = LineClient::connect(address).unwrap();
    let mut other = LineClient::connect(address).unwrap();
    survive(
        &mut gateway,
        &broker,
        &inputs,
        |input| client.send(&[input, b"\n"].concat()).unwrap(),
        |round| assert_eq!(other.ask(&format!("id=valid round={round}")).unwrap(), "ok"),
    );
    // A line without an end, many times as long as a line may be.
    client.send(&vec![b'x'; 4 << 20]).unwrap();
    client.send(b"\n").unwrap();
    // Clients that leave within a line, politely and not.
    other.send(b"id=th-1 t=2").unwrap();
    drop(other);
    let mut other = LineClient::connect(address).unwrap();
    other.send(b"id=valid last=1\nid=th-1 t=2").unwrap();
    other.reset();
    gateway.wait_for_count("/sources/x/refused/oversize/count", 1);
    gateway.wait_for_count("/sources/x/refused/unterminated/count", 2);
    assert!(gateway.sum("/sources/x/refused") > 50, "{}", gateway.status());
}

#[test]
fn malformed_lines_of_a_serial_port_are_counted() {
    let mut cable = Cable::new();
    let (mut gateway, broker) = start(&format!(
        "device = \"valid\"\nlink = {{ type = \"serial\", path = \"{}\" }}\n\
         decode = {{ type = \"csv\", columns = [\"_\", \"utc\", \"lat\", \"_\", \"lon\", \"_\", \
         \"fix\", \"satellites\", \"hdop\", \"round\", \"_\", \"_\", \"_\", \"_\", \"_\"] }}",
        cable.port().display()
    ));
    wait_until("the port to be open", || gateway.status()["sources"]["x"]["up"] == true);
    let inputs = malformed(&[GGA], 3);
    let cable = std::cell::RefCell::new(&mut cable);
    survive(
        &mut gateway,
        &broker,
        &inputs,
        |input| cable.borrow_mut().send(&[input, b"\r\n"].concat()),
        |round| {
            let line =
                format!("$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,{round},M,46.9,M,,\r\n");
            cable.borrow_mut().send(line.as_bytes());
        },
    );
    assert!(gateway.sum("/sources/x/refused") > 50, "{}", gateway.status());
}

#[test]
fn malformed_coap_messages_are_counted() {
    let (mut gateway, broker) = start("link = { type = \"coap\", bind = [\"127.0.0.1:0\"] }");
    let address = gateway.address("x");
    let golden = [
        request(1, b"\x01\x02", "r", Some(110), SENML_JSON),
        request(2, b"", "r", Some(112), SENML_CBOR),
        request(3, b"token", "r", Some(50), JSON),
        request(4, b"t", "r/th-1/temp", None, b"21.5"),
    ];
    let inputs = malformed(&golden.each_ref().map(Vec::as_slice), 4);
    let garbler = Node::new(address);
    let mut node = Node::new(address);
    survive(
        &mut gateway,
        &broker,
        &inputs,
        |input| garbler.send(input),
        |round| {
            let within = Duration::from_secs(60);
            let answer = node.post("r/valid/round", None, round.to_string().as_bytes(), within);
            assert_eq!(answer.expect("an answer").code, "2.04");
        },
    );
    let status = gateway.status();
    let refused = &status["sources"]["x"]["refused"];
    assert!(refused["malformed"]["count"].as_u64() > Some(50), "{status}");
    assert!(refused["syntax"]["count"].as_u64() > Some(0), "{status}");
}

#[test]
fn malformed_coap_streams_are_counted() {
    let (mut gateway, broker) = start(COAP_TCP);
    let address = gateway.tcp_address("x");
    let golden = [
        stream_request(b"\x01\x02", "r", Some(110), SENML_JSON),
        stream_request(b"", "r", Some(112), SENML_CBOR),
        stream_request(b"token", "r", Some(50), JSON),
        stream_request(b"t", "r/th-1/temp", None, b"21.5"),
        // A Ping, a Release and an Abort.
        b"\x01\xe2\x42".to_vec(),
        b"\x20\xe4\x21\x3c".to_vec(),
        b"\x40\xe5\xffwhy".to_vec(),
    ];
    let inputs = malformed(&golden.each_ref().map(Vec::as_slice), 5);
    let mut node = StreamNode::connect(address).unwrap();
    survive(
        &mut gateway,
        &broker,
        &inputs,
        |input| {
            // After an Abort the rest of a connection is lost, so each has one of its own; it ends
            // within a message, or goes on with one that is none.
            let mut garbler = StreamNode::connect(address).unwrap();
            garbler.send(input).unwrap();
        },
        |round| {
            let answer = node.post("r/valid/round", None, round.to_string().as_bytes());
            assert_eq!(answer.unwrap().code, "2.04");
        },
    );
    wait_until("the others to be gone", || gateway.count("/sources/x/clients") == 1);
    assert!(gateway.count("/sources/x/refused/malformed/count") > 50, "{}", gateway.status());
}

#[test]
fn a_coap_client_that_breaks_the_protocol_is_told_why() {
    let (gateway, _broker) = start(COAP_TCP);
    let address = gateway.tcp_address("x");
    for (stream, why) in [
        (&b"\x01\x43\x7f"[..], "the first message is not a CSM"),
        // RFC 8323 §3.2: four gigabytes are to follow, and some of them do.
        (&[&b"\x00\xe1\xf0\xff\xff\xff\xff"[..], &[0; 20_000]].concat(), "Max-Message-Size"),
        (b"\x00\xe1\x09", "token length"),
        (b"\x00\xe1\x00\x20", "reserved class"),
        (b"\x10\xe1\x10", "unrecognised critical option 1"),
    ] {
        let mut node = StreamNode::connect_silently(address, PATIENCE).unwrap();
        node.send(stream).unwrap();
        assert_eq!(node.receive().unwrap().code, "7.01");
        let abort = node.receive().unwrap();
        assert!(abort.code == "7.05" && abort.text().contains(why), "{abort:?}");
        assert!(node.is_closed());
        // Cutting off one that still sends could take with it what it was told.
        assert_eq!(gateway.count("/sources/x/clients"), 1);
        node.send(&[0; 1000]).unwrap();
        drop(node);
        wait_until("it to be gone", || gateway.count("/sources/x/clients") == 0);
    }
    assert_eq!(gateway.count("/sources/x/refused/malformed/count"), 5);
}

#[test]
fn a_coap_client_that_reads_nothing_costs_no_memory() {
    /// Far more than all buffers on the way hold.
    const BYTES: usize = 256 << 20;
    let (gateway, _broker) = start(COAP_TCP);
    let address = gateway.tcp_address("x");
    let mut other = StreamNode::connect(address).unwrap();
    let before = gateway.memory_kib();
    let mut slow = StreamNode::connect(address).unwrap();
    slow.set_write_timeout(Duration::from_secs(1));
    // GET /.well-known/core, whose answer is longer than the question.
    let ask = b"\xd1\x04\x01t\xbb.well-known\x04core".repeat(1000);
    let sent = (0..BYTES / ask.len()).take_while(|_| slow.send(&ask).is_ok()).count();
    assert!(sent < BYTES / ask.len(), "the gateway stops reading");
    let growth = gateway.memory_kib().saturating_sub(before);
    assert!(growth < GROWTH_KIB, "{growth} KiB");
    assert_eq!(other.post("r/a/b", None, b"1").unwrap().code, "2.04");
}
