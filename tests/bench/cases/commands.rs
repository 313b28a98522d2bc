//! Commands: from the request at the broker to the outcome there.

use super::{Case, Plan, WINDOW, case};
use crate::Outcome;
use crate::commands::{Device, ask};
use crate::figure::Run;
use crate::gateway::{Gateway, Setup};
use crate::servers::ServerThread;

/// As the gateway's configuration in the benchmark has it.
const ROOT: &str = "gateway/bench";
const COMMANDS: u32 = 2000;
/// Devices that are told at the same time.
const MANY: u32 = 64;

/// One at a time, and many.
pub(super) fn commands() -> Vec<Case> {
    let gateway =
        "request at QoS 1 → synced → datagram to a device → its answer → outcome at QoS 1";
    vec![
        case("command-1-gateway", gateway, |plan| through_gateway(plan, 1)),
        case("command-64-gateway", "64 devices at a time", |plan| through_gateway(plan, MANY)),
    ]
}

fn through_gateway(plan: &Plan, devices: u32) -> Outcome<Run> {
    let (broker, device) = (ServerThread::broker()?, Device::start()?);
    let mut setup = Setup::new(
        "link = { type = \"udp\", bind = ADDRESS }\ndecode = { type = \"json\", device = \"device\" }",
        WINDOW,
    );
    setup.sources.push_str(&format!(
        "[commands]\nfrom = [\"far\"]\n\
         [operations.level]\nsource = \"load\"\ndevices = [\"d*\", \"probe\"]\nvalue = {{ type = \"number\" }}\n\
         via = {{ type = \"send\", to = \"{}\", text = \"{{value}}\", expect = \"OK\" }}\n",
        device.address
    ));
    let gateway = Gateway::start(&setup, &plan.dir, broker.address)?;
    let before = gateway.precise_cpu()?;
    let count = plan.count(COMMANDS);
    let run = ask(broker.address, ROOT, devices, count)?;
    let cpu = gateway.precise_cpu()? - before;
    gateway.stop()?;
    device.stop()?;
    broker.stop()?;
    Ok(run.with_cpu(u64::from(count), cpu))
}
