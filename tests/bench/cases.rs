//! What is measured, and what is held against what.

mod requests;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proto::modbus::{Transport, rtu};

use super::Outcome;
use super::bare::Bare;
use super::bare_durable::BareDurable;
use super::far_end::FarEnd;
use super::figure::{Metric, Run, number};
use super::gateway::{Gateway, Setup};
use super::ledger::Ledger;
use super::load::{CoapLoad, send_datagrams, send_lines, stream_lines};
use super::peers::{self, Client};
use super::{appends, backlog, codec, decoders, fields, frames, modbus, mosquitto, wear};

/// What holds for every case of a call.
pub(crate) struct Plan {
    /// Folder for the stores.
    pub(crate) dir: PathBuf,
    /// A tenth of the readings.
    pub(crate) quick: bool,
}

impl Plan {
    /// So many, or a tenth of them.
    pub(crate) fn count(&self, count: u32) -> u32 {
        if self.quick { count / 10 } else { count }
    }

    /// A ledger for so many, or for a tenth of them.
    pub(crate) fn ledger(&self, readings: u32) -> Arc<Ledger> {
        Arc::new(Ledger::new(self.count(readings)))
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 1000 })
    }
}

/// One thing to measure.
pub(crate) struct Case {
    /// Short and unique.
    pub(crate) name: &'static str,
    /// What its figures are of.
    pub(crate) what: &'static str,
    /// Measures it once.
    pub(crate) run: Measure,
    /// Why it cannot be measured here.
    pub(crate) missing: Box<dyn Fn() -> Option<String>>,
    /// Whether it takes a while to tell what is written to the disk.
    pub(crate) is_wear: bool,
}

type Measure = Box<dyn Fn(&Plan) -> Outcome<Run>>;

/// A case, and what it is held against: a limit of the machine, or a program of others.
pub(crate) fn ratios() -> impl Iterator<Item = (&'static str, &'static str)> {
    RATIOS.iter().chain(requests::RATIOS).copied()
}

const RATIOS: &[(&str, &str)] = &[
    ("backlog-w100", "codec-w100"),
    ("backlog-w100", "codec-w5000"),
    ("backlog-w1000", "codec-w1000"),
    ("backlog-w1000", "codec-w5000"),
    ("mosquitto-backlog-w100", "mosquitto-codec-w100"),
    ("mosquitto-backlog-w100", "mosquitto-codec-w5000"),
    ("mosquitto-backlog-w1000", "mosquitto-codec-w1000"),
    ("mosquitto-backlog-w1000", "mosquitto-codec-w5000"),
    ("backlog-w100", "paho-c"),
    ("backlog-w100", "paho-python"),
    ("backlog-million", "codec-w100"),
    ("gateway-stream", "node-red"),
    ("gateway-udp-w100", "bare-udp-w100"),
    ("gateway-udp-w5000", "bare-udp-w5000"),
    ("gateway-coap", "bare-coap"),
    ("gateway-coap-1000", "bare-coap-1000"),
    ("store-spool-1", "store-log-1"),
    ("store-spool-16", "store-log-16"),
    ("store-spool-256", "store-log-256"),
];

const UDP: &str = "link = { type = \"udp\", bind = ADDRESS }\n\
                   decode = { type = \"json\", device = \"device\", seq = \"seq\" }";
const TCP: &str = "link = { type = \"tcp\", bind = ADDRESS, reply = true }\n\
                   frame = { type = \"lines\" }\n\
                   decode = { type = \"json\", device = \"device\", seq = \"seq\" }";
const STREAM: &str = "link = { type = \"tcp\", bind = ADDRESS }\n\
                      frame = { type = \"lines\" }\n\
                      decode = { type = \"json\", device = \"device\", seq = \"seq\" }";
const COAP: &str = "link = { type = \"coap\", bind = [ADDRESS] }";

/// Publishes under way by default.
const WINDOW: u16 = 100;
/// Where a broker is far away.
const FAR: u16 = 1000;
/// Where the window is no limit.
const WIDE: u16 = 5000;
const FAST: u32 = 300_000;
const MILLION: u32 = 1_000_000;
const PEERS: u32 = 100_000;
const COAP_FAST: u32 = 150_000;
const COAP_SLOW: u32 = 5_000;
const COAP_WINDOW: CoapLoad = CoapLoad::Window(64);
const COAP_PACED: CoapLoad = CoapLoad::Every(Duration::from_millis(1));

/// All cases, each of the gateway's beside what it is held against.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = links();
    cases.extend(publishers());
    cases.extend(mosquitto());
    cases.extend(peers());
    cases.extend(requests::requests());
    cases.extend(framings());
    cases.extend(formats());
    cases.extend(buses());
    cases.extend(stores());
    cases.extend(wears());
    cases
}

/// From a source to the broker.
fn links() -> Vec<Case> {
    let udp = |ledger: &Arc<Ledger>, to| send_datagrams(ledger, to);
    let tcp = |ledger: &Arc<Ledger>, to| send_lines(ledger, to);
    let coap = |ledger: &Arc<Ledger>, to| COAP_WINDOW.send(ledger, to);
    let paced = |ledger: &Arc<Ledger>, to| COAP_PACED.send(ledger, to);
    vec![
        case(
            "gateway-udp-w100",
            "JSON over UDP → store → PUBACK, window 100 (the default)",
            move |plan| gateway(plan, FAST, &Setup::new(UDP, WINDOW), udp),
        ),
        case(
            "bare-udp-w100",
            "datagram → PUBACK without decoding and without a store, window 100",
            move |plan| bare(plan, WINDOW),
        ),
        case("gateway-udp-w5000", "JSON over UDP → store → PUBACK, window 5000", move |plan| {
            gateway(plan, FAST, &Setup::new(UDP, WIDE), udp)
        }),
        case("bare-udp-w5000", "datagram → PUBACK as above, window 5000", move |plan| {
            bare(plan, WIDE)
        }),
        case(
            "gateway-coap",
            "CoAP CON POST → synced → 2.04 → PUBACK, 64 outstanding",
            move |plan| gateway(plan, COAP_FAST, &Setup::new(COAP, WINDOW), coap),
        ),
        case(
            "bare-coap",
            "CoAP → raw log, one sync for all that waits → 2.04 → PUBACK",
            move |plan| bare_durable(plan, COAP_FAST, coap),
        ),
        case("gateway-coap-1000", "CoAP as above at 1,000 requests a second", move |plan| {
            gateway(plan, COAP_SLOW, &Setup::new(COAP, WINDOW), paced)
        }),
        case("bare-coap-1000", "the bare one at 1,000 requests a second", move |plan| {
            bare_durable(plan, COAP_SLOW, paced)
        }),
        case(
            "gateway-tcp",
            "JSON lines over TCP → synced → reply → PUBACK, 256 outstanding",
            move |plan| gateway(plan, COAP_FAST, &Setup::new(TCP, WINDOW), tcp),
        ),
    ]
}

/// From a store, or from nothing, to the broker.
fn publishers() -> Vec<Case> {
    vec![
        case(
            "backlog-w100",
            "300,000 readings in the store of a gateway that was killed → PUBACK, window 100",
            |plan| backlog::drain(plan, FAST, &Setup::new(TCP, WINDOW)),
        ),
        case("codec-w100", "as many publishes of the codec alone, window 100", |plan| {
            publish(plan, WINDOW)
        }),
        case("backlog-w1000", "the backlog with window 1000", |plan| {
            backlog::drain(plan, FAST, &Setup::new(TCP, FAR))
        }),
        case("codec-w1000", "the codec with window 1000", |plan| publish(plan, FAR)),
        case("codec-w5000", "the codec with window 5000: all that the broker takes", |plan| {
            publish(plan, WIDE)
        }),
        case("backlog-million", "1,000,000 readings in the store, window 100", |plan| {
            backlog::drain(plan, MILLION, &Setup::new(TCP, WINDOW))
        }),
    ]
}

/// The same with Mosquitto as the broker.
fn mosquitto() -> Vec<Case> {
    let drain = |name, what, window| {
        let setup = Setup::new(TCP, window);
        let case = case(name, what, move |plan| mosquitto::drain(plan, FAST, &setup));
        Case { missing: Box::new(mosquitto::missing), ..case }
    };
    let publish = |name, what, window| {
        let case = case(name, what, move |plan| mosquitto::publish(plan, FAST, window));
        Case { missing: Box::new(mosquitto::missing), ..case }
    };
    vec![
        drain("mosquitto-backlog-w100", "the backlog into Mosquitto, window 100", WINDOW),
        publish("mosquitto-codec-w100", "the codec into Mosquitto, window 100", WINDOW),
        drain("mosquitto-backlog-w1000", "the backlog into Mosquitto, window 1000", FAR),
        publish("mosquitto-codec-w1000", "the codec into Mosquitto, window 1000", FAR),
        publish("mosquitto-codec-w5000", "the codec into Mosquitto, window 5000", WIDE),
    ]
}

/// Programs of others, and the gateway on the same work.
fn peers() -> Vec<Case> {
    let client = |name, what, client: Client| Case {
        missing: Box::new(move || client.missing()),
        ..case(name, what, move |plan| client.publish(plan, PEERS, WINDOW))
    };
    vec![
        client("paho-c", "publishes of paho's C client, window 100", Client::PahoC),
        client("paho-python", "publishes of paho's Python client, window 100", Client::PahoPython),
        case("gateway-stream", "JSON lines over TCP without replies → store → PUBACK", |plan| {
            gateway(plan, PEERS, &Setup::new(STREAM, WINDOW), |ledger, to| stream_lines(ledger, to))
        }),
        Case {
            missing: Box::new(peers::node_red_missing),
            ..case("node-red", "the same lines through a flow, kept in memory → PUBACK", |plan| {
                peers::node_red(plan, PEERS)
            })
        },
    ]
}

/// Frames in a stream, without a link, and the fields of one.
fn framings() -> Vec<Case> {
    let case = |kind: frames::Kind| {
        case(kind.0, "frames of 64 bytes of content, in reads of 4 KiB", move |plan| {
            frames::cut(kind, plan.duration())
        })
    };
    let fields = self::case("fields", "frames of 24 bytes with eleven fields by place", |plan| {
        fields::read(plan.duration())
    });
    frames::KINDS.into_iter().map(case).chain([fields]).collect()
}

/// Messages of devices, without a link.
fn formats() -> Vec<Case> {
    let case = |kind: decoders::Kind| {
        case(kind.0, "messages of a device, one after the other", move |plan| {
            decoders::decode(kind, plan.duration())
        })
    };
    decoders::KINDS.into_iter().map(case).collect()
}

/// Polls of a bus, without a link.
fn buses() -> Vec<Case> {
    let line = Transport::Line {
        character: rtu::character(115_200, 10),
        silence: rtu::silence(115_200, 10),
    };
    let case = |(name, transport)| {
        case(
            name,
            "a poll of 40 values, its answer included, of a master without a link",
            move |plan| modbus::poll(transport, plan.duration()),
        )
    };
    [("modbus-tcp", Transport::Tcp), ("modbus-rtu", line)].into_iter().map(case).collect()
}

/// The disk alone.
fn stores() -> Vec<Case> {
    let batches = [
        ("store-spool-1", "store-log-1", 1),
        ("store-spool-16", "store-log-16", 16),
        ("store-spool-256", "store-log-256", 256),
    ];
    let pair = |(spool, log, batch)| {
        let ours = case(spool, "records of 150 bytes into the gateway's store", move |plan| {
            appends::spool(&plan.dir, batch, plan.duration())
        });
        let limit =
            case(log, "as many bytes into a raw log, one write and sync a batch", move |p| {
                appends::raw_log(&p.dir, batch, p.duration())
            });
        [ours, limit]
    };
    batches.into_iter().flat_map(pair).collect()
}

/// What is written to the disk, by readings a second and commit interval.
fn wears() -> Vec<Case> {
    let rates = [
        ("wear-1", 1, "0s"),
        ("wear-1-slow", 1, "1s"),
        ("wear-10", 10, "0s"),
        ("wear-10-slow", 10, "1s"),
        ("wear-1000", 1000, "0s"),
        ("wear-1000-slow", 1000, "1s"),
    ];
    let case = |(name, per_second, commit_interval)| {
        let what = match commit_interval {
            "0s" => "JSON lines at that many a second, commit_interval 0s (the default)",
            _ => "the same with commit_interval 1s",
        };
        let setup = Setup { commit_interval, ..Setup::new(TCP, WINDOW) };
        Case { is_wear: true, ..case(name, what, move |p| wear::wear(p, per_second, &setup)) }
    };
    rates.into_iter().map(case).collect()
}

fn case(
    name: &'static str,
    what: &'static str,
    run: impl Fn(&Plan) -> Outcome<Run> + 'static,
) -> Case {
    Case { name, what, run: Box::new(run), missing: Box::new(|| None), is_wear: false }
}

type Load = fn(&Arc<Ledger>, SocketAddr) -> Outcome<()>;

fn gateway(plan: &Plan, readings: u32, setup: &Setup, load: Load) -> Outcome<Run> {
    let ledger = plan.ledger(readings);
    let far_end = FarEnd::start(&ledger)?;
    let gateway = Gateway::start(setup, &plan.dir, far_end.address())?;
    let (cpu, commits) = (gateway.cpu()?, gateway.commits()?);
    load(&ledger, gateway.address)?;
    ledger.settle();
    let (cpu, commits) = (gateway.cpu()? - cpu, gateway.commits()? - commits);
    let rss = gateway.max_rss_mib()?;
    if ledger.outstanding() > 0 {
        let status = gateway.ask()?;
        writeln!(std::io::stderr(), "{}; the gateway says: {status}", ledger.state())?;
    }
    gateway.stop()?;
    far_end.stop()?;
    let arrived = ledger.arrived();
    let run = ledger.run()?.with_cpu(arrived, cpu).with(Metric::RssMib, rss);
    Ok(run.with(Metric::Batch, number(arrived) / number(commits.max(1))))
}

fn bare(plan: &Plan, window: u16) -> Outcome<Run> {
    let ledger = plan.ledger(FAST);
    let far_end = FarEnd::start(&ledger)?;
    let bare = Bare::start(window, far_end.address())?;
    send_datagrams(&ledger, bare.address)?;
    ledger.settle();
    let cpu = bare.stop()?;
    far_end.stop()?;
    Ok(ledger.run()?.with_cpu(ledger.arrived(), cpu))
}

fn bare_durable(plan: &Plan, readings: u32, load: Load) -> Outcome<Run> {
    let ledger = plan.ledger(readings);
    let far_end = FarEnd::start(&ledger)?;
    let bare = BareDurable::start(WINDOW, &plan.dir, far_end.address())?;
    load(&ledger, bare.address)?;
    ledger.settle();
    let cpu = bare.stop()?;
    far_end.stop()?;
    Ok(ledger.run()?.with_cpu(ledger.arrived(), cpu))
}

fn publish(plan: &Plan, window: u16) -> Outcome<Run> {
    let ledger = plan.ledger(FAST);
    let far_end = FarEnd::start(&ledger)?;
    let cpu = codec::publish(&ledger, far_end.address(), window)?;
    ledger.settle();
    far_end.stop()?;
    Ok(ledger.run()?.with_cpu(ledger.arrived(), cpu))
}
