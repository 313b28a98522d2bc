//! From a source to the broker.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Case, FAST, Plan, TCP, WIDE, WINDOW, case};
use crate::Outcome;
use crate::bare::Bare;
use crate::bare_durable::BareDurable;
use crate::far_end::FarEnd;
use crate::figure::{Metric, Run, number};
use crate::gateway::{Gateway, Setup};
use crate::ledger::Ledger;
use crate::load::{CoapLoad, send_datagrams, send_lines};

/// A case, and what it is held against.
pub(super) const RATIOS: &[(&str, &str)] = &[
    ("gateway-udp-w100", "bare-udp-w100"),
    ("gateway-udp-w5000", "bare-udp-w5000"),
    ("gateway-coap", "bare-coap"),
    ("gateway-coap-1000", "bare-coap-1000"),
];

const UDP: &str = "link = { type = \"udp\", bind = ADDRESS }\n\
                   decode = { type = \"json\", device = \"device\", seq = \"seq\" }";
const COAP: &str = "link = { type = \"coap\", bind = [ADDRESS] }";

const COAP_FAST: u32 = 150_000;
const COAP_SLOW: u32 = 5_000;
const COAP_WINDOW: CoapLoad = CoapLoad::Window(64);
const COAP_PACED: CoapLoad = CoapLoad::Every(Duration::from_millis(1));

/// Each of the gateway's beside the least that does the same.
pub(super) fn links() -> Vec<Case> {
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

pub(super) fn gateway(
    plan: &Plan,
    readings: u32,
    setup: &Setup,
    load: impl Fn(&Arc<Ledger>, SocketAddr) -> Outcome<()>,
) -> Outcome<Run> {
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

fn bare_durable(
    plan: &Plan,
    readings: u32,
    load: impl Fn(&Arc<Ledger>, SocketAddr) -> Outcome<()>,
) -> Outcome<Run> {
    let ledger = plan.ledger(readings);
    let far_end = FarEnd::start(&ledger)?;
    let bare = BareDurable::start(WINDOW, &plan.dir, far_end.address())?;
    load(&ledger, bare.address)?;
    ledger.settle();
    let cpu = bare.stop()?;
    far_end.stop()?;
    Ok(ledger.run()?.with_cpu(ledger.arrived(), cpu))
}
