//! Nodes on `proto`'s role over TCP and UDP, and a gateway that is killed under them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use device_sim::clock::Clock;
use proto::frame::{Framer, Framing, cobs};
use proto::link::{Channel, Key, MAX_FRAME, Node, NodeConfig, NodeEvent, NodeOutput, ReportId};

use crate::harness::clock::{pace, wait_until};
use crate::harness::gateway::Gateway;
use crate::harness::sim::Recorder;
use crate::harness::temp::port;

/// How long a read waits for a frame.
const TURN: Duration = Duration::from_millis(5);
const NODES: u32 = 3;

/// What a node knows at its end: the counts that were acknowledged.
type Acknowledged = Vec<i64>;

/// What frames come over.
enum Line {
    Tcp { address: SocketAddr, stream: Option<TcpStream>, framer: Box<Framer> },
    Udp(UdpSocket),
}

fn framer() -> Framer {
    Framer::new(Framing::Cobs, MAX_FRAME)
}

impl Line {
    fn tcp(address: SocketAddr) -> Self {
        Self::Tcp { address, stream: None, framer: framer().into() }
    }

    fn udp(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(TURN)).unwrap();
        Self::Udp(socket)
    }

    /// Whether there is a new connection.
    fn connect(&mut self) -> bool {
        let Self::Tcp { address, stream, framer: of_stream } = self else { return false };
        if stream.is_some() {
            return false;
        }
        *stream = TcpStream::connect(*address).ok();
        **of_stream = framer();
        if let Some(stream) = stream {
            stream.set_read_timeout(Some(TURN)).unwrap();
        }
        stream.is_some()
    }

    fn send(&mut self, frame: &[u8]) {
        match self {
            Self::Udp(socket) => drop(socket.send(frame)),
            Self::Tcp { stream, .. } => {
                let mut stuffed = Vec::new();
                cobs::encode(frame, &mut stuffed);
                if stream.as_mut().is_some_and(|stream| stream.write_all(&stuffed).is_err()) {
                    *stream = None;
                }
            }
        }
    }

    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut buffer = [0; 2048];
        match self {
            Self::Udp(socket) => {
                let len = socket.recv(&mut buffer);
                len.map(|len| vec![buffer[..len].to_vec()]).unwrap_or_default()
            }
            Self::Tcp { stream, framer, .. } => {
                let Some(open) = stream else { return Vec::new() };
                match open.read(&mut buffer) {
                    Ok(len @ 1..) => {
                        framer.handle_bytes(&buffer[..len]);
                        let mut frames = Vec::new();
                        while let Some(frame) = framer.poll_frame() {
                            frames.extend(frame.map(<[u8]>::to_vec));
                        }
                        frames
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
                    Ok(0) | Err(_) => {
                        *stream = None;
                        Vec::new()
                    }
                }
            }
        }
    }
}

/// Counts and reports its count until `stop`, and then waits for what is open.
fn play(device: u32, mut line: Line, stop: &AtomicBool, total: &AtomicUsize) -> Acknowledged {
    let clock = Clock::start();
    let channels = vec![Channel { name: "count".to_owned(), unit: None, exponent: 0 }];
    let config = NodeConfig {
        key: Some(Key::new(&[device as u8; 32])),
        queue: 16,
        ack_timeout: Duration::from_millis(200),
        max_timeout: Duration::from_secs(1),
        ..NodeConfig::new(device, 1, channels)
    };
    let mut node = Node::new(config, device.into());
    let mut open: BTreeMap<ReportId, i64> = BTreeMap::new();
    let mut acknowledged = Vec::new();
    let mut count = 0;
    loop {
        pace();
        if line.connect() {
            node.handle_connected(clock.now());
        }
        let stopping = stop.load(Ordering::Relaxed);
        if stopping && open.is_empty() {
            return acknowledged;
        }
        if !stopping && let Ok(id) = node.report(clock.now(), &[(0, count + 1)]) {
            count += 1;
            open.insert(id, count);
        }
        for frame in line.receive() {
            node.handle_frame(clock.now(), &frame);
        }
        node.handle_timeout(clock.now());
        loop {
            match node.poll_output() {
                NodeOutput::Transmit(frame) => line.send(&frame),
                NodeOutput::Event(NodeEvent::Acknowledged(id)) => {
                    acknowledged.push(open.remove(&id).unwrap());
                    total.fetch_add(1, Ordering::Relaxed);
                }
                NodeOutput::Event(NodeEvent::Time { .. }) => {}
                NodeOutput::Event(event) => panic!("{event:?}"),
                NodeOutput::Wait(_) => break,
            }
        }
    }
}

fn survives_kills(link: &str, line: fn(SocketAddr) -> Line) {
    let recorder = Recorder::start();
    let address = SocketAddr::from(([127, 0, 0, 1], port()));
    let url = recorder.url();
    let mut gateway = Gateway::new(&format!(
        r#"
[sources.nodes]
link = {{ type = "{link}", bind = "{address}" }}
decode = {{ type = "link", keys_file = "{{dir}}/keys" }}
[brokers.sim]
url = "{url}"
max_backoff = "1s"
[routes.all]
"#
    ));
    let key = |device: u32| format!("{device} {}\n", format!("{device:02x}").repeat(32));
    fs::write(gateway.dir().join("keys"), (1..=NODES).map(key).collect::<String>()).unwrap();
    let (stop, total) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ledgers: Vec<Acknowledged> = thread::scope(|scope| {
        let play = |device| {
            let (stop, total) = (&stop, &total);
            scope.spawn(move || play(device, line(address), stop, total))
        };
        let nodes: Vec<_> = (1..=NODES).map(play).collect();
        for round in 0..4 {
            gateway.launch();
            let goal = total.load(Ordering::Relaxed) + 150;
            wait_until("acknowledgements", || total.load(Ordering::Relaxed) >= goal);
            if round < 3 {
                gateway.kill();
            }
        }
        stop.store(true, Ordering::Relaxed);
        nodes.into_iter().map(|node| node.join().unwrap()).collect()
    });
    let all: usize = ledgers.iter().map(Vec::len).sum();
    let arrived = || {
        let mut records: BTreeMap<(String, i64), Vec<u64>> = BTreeMap::new();
        for reading in recorder.readings() {
            let numbers = records.entry((reading.device, reading.value.as_i64().unwrap()));
            numbers.or_default().push(reading.n);
        }
        records
    };
    wait_until("every reading at the broker", || arrived().len() >= all);
    let mut arrived = arrived();
    for (device, acknowledged) in (1..).zip(&ledgers) {
        for count in acknowledged {
            let mut numbers = arrived.remove(&(format!("{device}"), *count)).expect("not lost");
            numbers.dedup();
            assert_eq!(numbers.len(), 1, "stored twice: {device} {count}");
        }
    }
    assert!(arrived.is_empty(), "every report was acknowledged: {arrived:?}");
}

#[test]
fn nodes_over_tcp_lose_and_double_nothing_when_the_gateway_is_killed() {
    survives_kills("tcp", Line::tcp);
}

#[test]
fn nodes_over_udp_lose_and_double_nothing_when_the_gateway_is_killed() {
    survives_kills("udp", Line::udp);
}
