//! What a message costs the device simulator, and what it costs the gateway that takes it.

use std::sync::Arc;
use std::time::Duration;

use device_sim::fleet::FleetBuilder;
use device_sim::{Fleet, Via};

use super::{Case, Plan, WINDOW, case};
use crate::Outcome;
use crate::bare_http::BareHttp;
use crate::figure::{Metric, Run, micros_each};
use crate::gateway::{Gateway, Setup};
use crate::ledger::Ledger;
use crate::servers::ServerThread;
use crate::simulator::{Goal, Played, play};

const COAP: &str = "link = { type = \"coap\", bind = [ADDRESS] }";
/// Of the gateway's route.
const TOPIC: &str = "bench/+/+";
/// Devices of a flood.
const DEVICES: u32 = 1000;
/// Reports of each; a CoAP endpoint lets 64 requests wait for one peer.
const REPORTS: u32 = 60;
/// Where each may send without an answer.
const MANY_REPORTS: u32 = 600;
/// As if all were due at once.
const AT_ONCE: Duration = Duration::from_millis(1);
/// How long devices report to the gateway.
const PACED: Duration = Duration::from_secs(30);

/// The simulator against the cheapest receiver, and beside the gateway.
pub(super) fn fleets() -> Vec<Case> {
    let paced = |devices: u32, every: u64| {
        move |plan: &Plan| beside_gateway(plan, devices, Duration::from_secs(every))
    };
    vec![
        case(
            "simulator-coap",
            "1,000 simulated devices: CoAP CON POST → 2.04 of the plugtest server",
            |plan| against(plan, Via::Coap, REPORTS, ServerThread::plugtest()?),
        ),
        case("simulator-udp", "the same: JSON in datagrams, to a socket that is read", |plan| {
            against(plan, Via::Udp, MANY_REPORTS, ServerThread::sink()?)
        }),
        case("simulator-tcp", "the same: JSON lines, each answered by `ok`", |plan| {
            against(plan, Via::Tcp, REPORTS, ServerThread::replies()?)
        }),
        case(
            "simulator-http",
            "the same: JSON in POST, each answered by 202 of a bare hyper server",
            http,
        ),
        case(
            "simulator-mqtt",
            "the same: JSON at quality of service 1, to the recording broker",
            |plan| against(plan, Via::Mqtt, REPORTS, ServerThread::broker()?),
        ),
        case(
            "fleet-coap-1000",
            "1,000 simulated CoAP devices, one reading a second each → gateway → broker",
            paced(1000, 1),
        ),
        case(
            "fleet-coap-10k",
            "10,000 simulated CoAP devices, one reading a minute each → gateway → broker",
            paced(10_000, 60),
        ),
    ]
}

/// So many reports as fast as they are taken.
fn flood(plan: &Plan, via: Via, address: String, reports: u32) -> Outcome<Run> {
    let far_end = ServerThread::broker()?;
    // A scenario has one broker. What is looked for arrives nowhere: the receiver keeps it.
    let broker = if via == Via::Mqtt { address.clone() } else { url(&far_end) };
    let fleet = fleet(via, address, DEVICES, AT_ONCE).reports(plan.count(reports));
    let fleet = fleet.far_end(broker, TOPIC);
    let Played { elapsed, cpu, total } = play(fleet.settle(Duration::ZERO), Goal::Sent)?;
    far_end.stop()?;
    Ok(Run::default().with_rate(total.sent, elapsed).with_cpu(total.sent, cpu))
}

fn against(plan: &Plan, via: Via, reports: u32, receiver: ServerThread) -> Outcome<Run> {
    let address = if via == Via::Coap {
        format!("coap://{}/test", receiver.address)
    } else if via == Via::Mqtt {
        url(&receiver)
    } else {
        receiver.address.to_string()
    };
    let run = flood(plan, via, address, reports)?;
    receiver.stop()?;
    Ok(run)
}

fn http(plan: &Plan) -> Outcome<Run> {
    // What arrives is none of the ledger's.
    let receiver = BareHttp::start(&Arc::new(Ledger::new(0)), None)?;
    let run = flood(plan, Via::Http, receiver.address.to_string(), REPORTS)?;
    receiver.stop()?;
    Ok(run)
}

fn beside_gateway(plan: &Plan, devices: u32, every: Duration) -> Outcome<Run> {
    let far_end = ServerThread::broker()?;
    let gateway = Gateway::start(&Setup::new(COAP, WINDOW), &plan.dir, far_end.address)?;
    let lasting = if plan.quick { PACED / 10 } else { PACED };
    let fleet = fleet(Via::Coap, gateway.address.to_string(), devices, every).lasting(lasting);
    let before = gateway.precise_cpu()?;
    let fleet = fleet.far_end(url(&far_end), TOPIC);
    let Played { cpu, total, .. } = play(fleet, Goal::Delivered)?;
    let gateways = gateway.precise_cpu()? - before;
    let rss = gateway.max_rss_mib()?;
    gateway.stop()?;
    far_end.stop()?;
    let run = Run::default().with_rate(total.arrived, lasting).with_cpu(total.arrived, gateways);
    let run = run.with(Metric::SimulatorMicros, micros_each(total.arrived, cpu));
    Ok(run.with(Metric::RssMib, rss))
}

fn fleet(via: Via, address: String, devices: u32, every: Duration) -> FleetBuilder {
    let fleet = Fleet::builder().count(devices).id("th-{n:05}").via(via, address).every(every);
    fleet.measures("temp", r#"{ type = "walk", start = 20, step = 0.5, min = 0, max = 40 }"#)
}

fn url(broker: &ServerThread) -> String {
    format!("mqtt://{}", broker.address)
}
