//! Devices that send and keep a ledger of what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::harness::clock::{Deadline, pace, wait_until};
use crate::harness::coap::Node;
use crate::harness::coap_tcp::{StreamNode, stream_request};
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::sim::Reading;
use crate::harness::temp::port;

/// Values of one device; those of the next begin behind them.
const VALUES: u64 = 1_000_000;
/// Lines or requests that a device with a connection sends before it reads their answers.
const PIPELINED: u64 = 8;
/// How long a device waits for one answer, restarts of the gateway included.
const ANSWER: Duration = Duration::from_secs(20);

/// A gateway with a CoAP and a TCP source on ports that it keeps over restarts.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    /// For UDP and TCP.
    coap: SocketAddr,
    tcp: SocketAddr,
}

impl Site {
    /// One that publishes to `url`, with these further lines in the table of the broker.
    pub(crate) fn start(url: &str, broker: &str) -> Self {
        let [coap, tcp] = [port(), port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        // The longest wait before an empty acknowledgement: after that a node would not send its
        // message again, and could not know what became of it.
        let gateway = Gateway::start(&format!(
            r#"
[sources.nodes]
link = {{ type = "coap", bind = ["{coap}"], tcp = ["{coap}"], separate_after = "1900ms" }}
[sources.lines]
link = {{ type = "tcp", bind = "{tcp}", reply = true }}
decode = {{ type = "senml" }}
[brokers.sim]
url = "{url}"
max_backoff = "1s"
{broker}
[routes.all]
"#
        ));
        Self { gateway, coap, tcp }
    }

    /// Hands in so many readings and waits until they are on disk.
    pub(crate) fn store(&self, readings: u64) {
        let mut client = LineClient::connect(self.tcp).unwrap();
        for first in (1..=readings).step_by(100) {
            let values = first..=readings.min(first + 99);
            let line = |value| format!("[{{\"bn\":\"d/\",\"n\":\"v\",\"v\":{value}}}]\n");
            client.send(values.clone().map(line).collect::<String>().as_bytes()).unwrap();
            values.for_each(|_| assert_eq!(client.reply().unwrap(), "ok"));
        }
    }

    /// A node of its own.
    pub(crate) fn node(&self) -> Node {
        Node::new(self.coap)
    }
}

/// What the devices share with the test.
#[derive(Default)]
pub(crate) struct Load {
    stop: AtomicBool,
    acknowledged: AtomicU64,
}

/// Ends the devices also when the test panics.
struct StopOnDrop<'a>(&'a Load);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until so many more were acknowledged.
    pub(crate) fn wait_for_more(&self, more: u64) {
        let goal = self.acknowledged() + more;
        wait_until(&format!("{more} more acknowledgements"), || self.acknowledged() >= goal);
    }

    fn count(&self, acknowledged: u64) {
        self.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
    }
}

/// What one device knows.
#[derive(Debug)]
pub(crate) struct Ledger {
    device: String,
    number: u64,
    /// Sequence numbers that were sent.
    sent: u64,
    acknowledged: Vec<u64>,
    /// Requests that were acknowledged only after they were sent again.
    pub(crate) retransmitted: u64,
    /// Whether a reading is sent again only as the same message.
    is_deduplicated: bool,
}

impl Ledger {
    fn new(kind: &str, number: u64) -> Self {
        Self {
            device: format!("{kind}-{number}"),
            number,
            sent: 0,
            acknowledged: Vec::new(),
            retransmitted: 0,
            is_deduplicated: kind == "coap",
        }
    }

    fn value(&self, sequence: u64) -> u64 {
        self.number * VALUES + sequence
    }
}

/// A CoAP node that posts one reading after the other, each until it is answered.
fn coap_device(address: SocketAddr, number: u64, load: &Load) -> Ledger {
    let mut ledger = Ledger::new("coap", number);
    let mut node = Node::new(address);
    let path = format!("r/{}/v", ledger.device);
    while load.goes_on() {
        pace();
        ledger.sent += 1;
        let value = ledger.value(ledger.sent).to_string();
        let Some(answer) = node.post(&path, None, value.as_bytes(), ANSWER) else { continue };
        if answer.code == "2.04" {
            ledger.acknowledged.push(ledger.sent);
            ledger.retransmitted += u64::from(answer.sent > 1);
            load.count(1);
        } else {
            assert_eq!(answer.code, "5.03", "{answer:?}");
        }
    }
    ledger
}

/// A TCP client that sends some lines together and, where the connection breaks, those again that
/// were not acknowledged.
fn tcp_device(address: SocketAddr, number: u64, load: &Load) -> Ledger {
    let mut ledger = Ledger::new("tcp", number);
    let mut next = 1;
    while load.goes_on() {
        pace();
        let Ok(mut client) = LineClient::connect_with(address, ANSWER) else { continue };
        while load.goes_on() {
            pace();
            if send_lines(&mut client, &mut ledger, &mut next, load).is_err() {
                break;
            }
        }
    }
    ledger
}

fn send_lines(
    client: &mut LineClient,
    ledger: &mut Ledger,
    next: &mut u64,
    load: &Load,
) -> io::Result<()> {
    let end = *next + PIPELINED;
    let line = |sequence| {
        let value = ledger.value(sequence);
        format!("[{{\"bn\":\"{}/\",\"n\":\"v\",\"v\":{value}}}]\n", ledger.device)
    };
    let lines: String = (*next..end).map(line).collect();
    ledger.sent = ledger.sent.max(end - 1);
    client.send(lines.as_bytes())?;
    while *next < end {
        assert_eq!(client.reply()?, "ok");
        ledger.acknowledged.push(*next);
        *next += 1;
        load.count(1);
    }
    Ok(())
}

/// A CoAP node with a connection: some requests together, and those again where it breaks.
fn coap_tcp_device(address: SocketAddr, number: u64, load: &Load) -> Ledger {
    let mut ledger = Ledger::new("stream", number);
    let mut next = 1;
    while load.goes_on() {
        pace();
        let Ok(mut node) = StreamNode::connect_with(address, ANSWER) else { continue };
        while load.goes_on() {
            pace();
            if send_requests(&mut node, &mut ledger, &mut next, load).is_err() {
                break;
            }
        }
    }
    ledger
}

fn send_requests(
    node: &mut StreamNode,
    ledger: &mut Ledger,
    next: &mut u64,
    load: &Load,
) -> io::Result<()> {
    let end = *next + PIPELINED;
    let path = format!("r/{}/v", ledger.device);
    let request = |sequence: u64| {
        let value = ledger.value(sequence).to_string();
        stream_request(&sequence.to_be_bytes(), &path, None, value.as_bytes())
    };
    let requests: Vec<u8> = (*next..end).flat_map(request).collect();
    ledger.sent = ledger.sent.max(end - 1);
    node.send(&requests)?;
    for _ in *next..end {
        let received = node.receive()?;
        if received.code == "2.04" {
            let token = received.token.try_into().expect("it is one of ours");
            ledger.acknowledged.push(u64::from_be_bytes(token));
            load.count(1);
        } else {
            assert_eq!(received.code, "5.03", "{received:?}");
        }
    }
    *next = end;
    Ok(())
}

/// The devices of most tests, while `during` runs: three CoAP nodes, two more over TCP, and two
/// clients that send lines.
pub(crate) fn run_fleet(site: &mut Site, during: impl FnOnce(&mut Gateway, &Load)) -> Vec<Ledger> {
    let load = Load::default();
    let (coap, tcp) = (site.coap, site.tcp);
    std::thread::scope(|scope| {
        let load = &load;
        let nodes = [1, 2, 3].map(|number| scope.spawn(move || coap_device(coap, number, load)));
        let clients = [4, 5].map(|number| scope.spawn(move || tcp_device(tcp, number, load)));
        let streams = [6, 7].map(|number| scope.spawn(move || coap_tcp_device(coap, number, load)));
        {
            let _stop = StopOnDrop(load);
            load.wait_for_more(1);
            during(&mut site.gateway, load);
        }
        nodes
            .into_iter()
            .chain(clients)
            .chain(streams)
            .map(|device| device.join().unwrap())
            .collect()
    })
}

/// Checks what arrived against what the devices know.
///
/// - Every acknowledged reading arrived, and nothing that was never sent.
/// - A number stands for one reading, and no number is missing.
/// - In the order of their first arrival, numbers are in order; so are the readings of a CoAP node,
///   which has one message under way at a time.
/// - A CoAP message has one number, however often it was sent.
pub(crate) fn check(arrived: &[Reading], ledgers: &[Ledger]) {
    let mut by_number: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
    let mut numbers: BTreeMap<(&str, u64), BTreeSet<u64>> = BTreeMap::new();
    for reading in arrived {
        let value = reading.value.as_u64().unwrap_or_else(|| panic!("{reading:?}"));
        let ledger = ledgers.iter().find(|ledger| ledger.device == reading.device);
        let ledger = ledger.unwrap_or_else(|| panic!("nobody is {reading:?}"));
        let range = ledger.value(1)..=ledger.value(ledger.sent);
        assert!(range.contains(&value), "never sent: {reading:?}");
        let next = by_number.last_key_value().map_or(1, |(n, _)| n + 1);
        let known = by_number.entry(reading.n).or_insert_with(|| {
            assert_eq!(reading.n, next, "first arrivals are in order and without a gap");
            (&reading.device, value)
        });
        assert_eq!(*known, (reading.device.as_str(), value), "n = {} is two readings", reading.n);
        numbers.entry((&reading.device, value)).or_default().insert(reading.n);
    }
    for ledger in ledgers {
        for &sequence in &ledger.acknowledged {
            let key = (ledger.device.as_str(), ledger.value(sequence));
            assert!(numbers.contains_key(&key), "lost: {} {sequence}", ledger.device);
        }
        let of_device = numbers.iter().filter(|((device, _), _)| *device == ledger.device);
        for ((device, value), n) in of_device.filter(|_| ledger.is_deduplicated) {
            assert_eq!(n.len(), 1, "{device} {value} is stored as {n:?}");
        }
        let of_device = by_number.values().filter(|(device, _)| *device == ledger.device);
        let values: Vec<u64> = of_device.map(|(_, value)| *value).collect();
        assert!(!ledger.is_deduplicated || values.is_sorted(), "{} is out of order", ledger.device);
    }
}

/// Arrivals of what had arrived before, for each time that the gateway went back.
pub(crate) fn repetitions(arrived: &[Reading]) -> Vec<u64> {
    let mut repetitions = Vec::new();
    let (mut newest, mut previous) = (0, 0);
    for reading in arrived {
        if reading.n <= previous {
            repetitions.push(0);
        }
        if reading.n <= newest {
            *repetitions.last_mut().expect("it went back") += 1;
        }
        previous = reading.n;
        newest = newest.max(reading.n);
    }
    repetitions
}

/// Waits until the broker has everything that is stored.
pub(crate) fn wait_until_delivered(gateway: &Gateway) {
    wait_until("everything to be delivered", || gateway.status()["store"]["pending"]["sim"] == 0);
}

/// A load that goes on for so long.
pub(crate) fn keep_on(duration: Duration) {
    Deadline::after(duration).wait();
}
