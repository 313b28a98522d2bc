//! What is measured, and what is held against what.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Outcome;
use super::bare::Bare;
use super::bare_durable::BareDurable;
use super::codec;
use super::echo::echo;
use super::far_end::FarEnd;
use super::figure::{Metric, Run, number};
use super::gateway::{Gateway, Setup};
use super::ledger::Ledger;
use super::load::{CoapLoad, send_datagrams, send_lines};
use super::store;

/// What holds for every case of a call.
pub(crate) struct Plan {
    /// Folder for the stores.
    pub(crate) dir: PathBuf,
    /// A tenth of the readings.
    pub(crate) quick: bool,
}

impl Plan {
    fn ledger(&self, readings: u32) -> Arc<Ledger> {
        Arc::new(Ledger::new(if self.quick { readings / 10 } else { readings }))
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
}

type Measure = Box<dyn Fn(&Plan) -> Outcome<Run>>;

/// A case, and the limit of the machine that it is held against.
pub(crate) const RATIOS: &[(&str, &str)] = &[
    ("gateway-udp-w100", "bare-udp-w100"),
    ("gateway-udp-w5000", "bare-udp-w5000"),
    ("gateway-coap", "bare-coap"),
    ("gateway-coap-1000", "bare-coap-1000"),
    ("store-sqlite-1", "store-log-1"),
    ("store-sqlite-16", "store-log-16"),
    ("store-sqlite-256", "store-log-256"),
];

const UDP: &str = "link = { type = \"udp\", bind = ADDRESS }\n\
                   decode = { type = \"json\", device = \"device\", seq = \"seq\" }";
const TCP: &str = "link = { type = \"tcp\", bind = ADDRESS, reply = true }\n\
                   frame = { type = \"lines\" }\n\
                   decode = { type = \"json\", device = \"device\", seq = \"seq\" }";
const COAP: &str = "link = { type = \"coap\", bind = [ADDRESS] }";

/// Publishes under way by default.
const WINDOW: u16 = 100;
/// Where the window is no limit.
const WIDE: u16 = 5000;
const FAST: u32 = 300_000;
const COAP_FAST: u32 = 150_000;
const COAP_SLOW: u32 = 5_000;
const COAP_WINDOW: CoapLoad = CoapLoad::Window(64);
const COAP_PACED: CoapLoad = CoapLoad::Every(Duration::from_millis(1));

/// All cases, each of the gateway's before the limit that it is held against.
pub(crate) fn cases() -> Vec<Case> {
    let udp = |ledger: &Arc<Ledger>, to| send_datagrams(ledger, to);
    let tcp = |ledger: &Arc<Ledger>, to| send_lines(ledger, to);
    let coap = |ledger: &Arc<Ledger>, to| COAP_WINDOW.send(ledger, to);
    let paced = |ledger: &Arc<Ledger>, to| COAP_PACED.send(ledger, to);
    let mut cases = vec![
        case(
            "gateway-udp-w100",
            "JSON over UDP → store → PUBACK, window 100 (the default)",
            move |plan| gateway(plan, FAST, &Setup { source: UDP, window: WINDOW }, udp),
        ),
        case(
            "bare-udp-w100",
            "datagram → PUBACK without decoding and without a store, window 100",
            move |plan| bare(plan, WINDOW),
        ),
        case("gateway-udp-w5000", "JSON over UDP → store → PUBACK, window 5000", move |plan| {
            gateway(plan, FAST, &Setup { source: UDP, window: WIDE }, udp)
        }),
        case("bare-udp-w5000", "datagram → PUBACK as above, window 5000", move |plan| {
            bare(plan, WIDE)
        }),
        case(
            "gateway-coap",
            "CoAP CON POST → synced → 2.04 → PUBACK, 64 outstanding",
            move |plan| gateway(plan, COAP_FAST, &Setup { source: COAP, window: WINDOW }, coap),
        ),
        case(
            "bare-coap",
            "CoAP → raw log, one sync for all that waits → 2.04 → PUBACK",
            move |plan| bare_durable(plan, COAP_FAST, coap),
        ),
        case("gateway-coap-1000", "CoAP as above at 1,000 requests a second", move |plan| {
            gateway(plan, COAP_SLOW, &Setup { source: COAP, window: WINDOW }, paced)
        }),
        case("bare-coap-1000", "the bare one at 1,000 requests a second", move |plan| {
            bare_durable(plan, COAP_SLOW, paced)
        }),
        case(
            "gateway-tcp",
            "JSON lines over TCP → synced → reply → PUBACK, 256 outstanding",
            move |plan| gateway(plan, COAP_FAST, &Setup { source: TCP, window: WINDOW }, tcp),
        ),
        case("codec-w100", "publishes of the codec alone, window 100", |p| publish(p, WINDOW)),
        case("codec-w5000", "the same, window 5000", |plan| publish(plan, WIDE)),
        case("udp-echo", "a datagram in and one out; processor time of the echo", |plan| {
            echo(if plan.quick { FAST / 10 } else { FAST })
        }),
    ];
    let stores = [
        ("store-sqlite-1", "store-log-1", 1),
        ("store-sqlite-16", "store-log-16", 16),
        ("store-sqlite-256", "store-log-256", 256),
    ];
    for (sqlite, log, batch) in stores {
        cases.push(case(
            sqlite,
            "records of 150 bytes into SQLite, one row a commit",
            move |plan| store::sqlite(&plan.dir, batch, plan.duration()),
        ));
        cases.push(case(
            log,
            "the same into a raw log, one write and sync a commit",
            move |plan| store::raw_log(&plan.dir, batch, plan.duration()),
        ));
    }
    cases
}

fn case(
    name: &'static str,
    what: &'static str,
    run: impl Fn(&Plan) -> Outcome<Run> + 'static,
) -> Case {
    Case { name, what, run: Box::new(run) }
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
