//! Servers that are asked the same: the gateway, and what it is held against.
//!
//! | Server | What it is |
//! |---|---|
//! | [`Gateway`](Server::Gateway) | the built gateway |
//! | [`Plugtest`](Server::Plugtest) | `proto`'s node with the resources of `device-sim plugtest`, on a thread |
//! | [`Libcoap`](Server::Libcoap) | `coap-server-notls`, in C |
//! | [`Aiocoap`](Server::Aiocoap) | a small server on aiocoap, in Python |
//! | [`Echo`](Server::Echo) | a datagram in and one out |
//! | [`BatchedEcho`](Server::BatchedEcho) | the same with `recvmmsg` and `sendmmsg`, in C |

mod thread;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::thread::ServerThread;
use super::Outcome;
use super::cases::Plan;
use super::far_end::FarEnd;
use super::figure::{Metric, Run};
use super::gateway::{Gateway, Setup, free_address};
use super::ledger::Ledger;
use super::load::{Ask, Peers, wait_for_answer};
use super::peers::{Program, SOURCES};

/// Answers go to whoever asks: the last reading is longer than three times the question for it.
const SOURCE: &str = "link = { type = \"coap\", bind = [ADDRESS], amplification = 1000 }";
/// As for the other cases.
const WINDOW: u16 = 100;
/// In Debian's libcoap3-bin.
const LIBCOAP: &str = "coap-server-notls";
const AIOCOAP: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/peers/aiocoap-server.py");
/// What the gateway has a last reading of.
pub(crate) const READING: &str = "r/th-0001/value";

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    Gateway,
    Plugtest,
    Libcoap,
    Aiocoap,
    Echo,
    BatchedEcho,
}

impl Server {
    /// Why it cannot be measured here.
    pub(crate) fn missing(self) -> Option<String> {
        let runs = |program: &str| {
            let mut command = Command::new(program);
            let quiet = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            quiet.status().is_ok()
        };
        match self {
            Self::Gateway | Self::Plugtest | Self::Echo => None,
            Self::Libcoap if runs(LIBCOAP) => None,
            Self::Aiocoap if python().exists() => None,
            Self::Libcoap | Self::Aiocoap => {
                Some("it is not installed (tests/setup installs it)".to_owned())
            }
            Self::BatchedEcho if runs("cc") => None,
            Self::BatchedEcho => Some("it needs a C compiler, cc".to_owned()),
        }
    }

    /// Asks it `count` times from so many peers.
    pub(crate) fn measure(self, plan: &Plan, peers: u32, ask: Ask, count: u32) -> Outcome<Run> {
        let count = plan.count(count);
        let address = free_address()?;
        let mut command = match self {
            Self::Gateway => return gateway(plan, peers, ask, count),
            Self::Plugtest => return on_thread(ServerThread::plugtest()?, peers, ask, count),
            Self::Echo => return on_thread(ServerThread::echo()?, peers, ask, count),
            Self::Libcoap => Command::new(LIBCOAP),
            Self::Aiocoap => Command::new(python()),
            Self::BatchedEcho => Command::new(compile(plan)?),
        };
        let arguments: &[&str] = match self {
            Self::Libcoap => &["-A", "127.0.0.1", "-p"],
            Self::Aiocoap => &[AIOCOAP],
            Self::Gateway | Self::Plugtest | Self::Echo | Self::BatchedEcho => &[],
        };
        let command = command.args(arguments).arg(address.port().to_string());
        in_process(command, address, peers, ask, count)
    }
}

/// What PUTs bring to the gateway is published, and what that costs counts too.
fn gateway(plan: &Plan, peers: u32, ask: Ask, count: u32) -> Outcome<Run> {
    let ledger = Arc::new(Ledger::new(count));
    let far_end = FarEnd::start(&ledger)?;
    let gateway = Gateway::start(&Setup::new(SOURCE, WINDOW), &plan.dir, far_end.address())?;
    wait_for_answer(gateway.address, Ask::put(READING))?;
    let peers = Peers::open(peers, gateway.address)?;
    if ask.is_put() {
        ledger.handle_all_sent();
    }
    let before = gateway.precise_cpu()?;
    let elapsed = peers.ask(ask, count)?;
    ledger.settle();
    let cpu = gateway.precise_cpu()? - before;
    if ledger.outstanding() > 0 {
        return Err(format!("readings were lost: {}", ledger.state()).into());
    }
    let rss = gateway.max_rss_mib()?;
    gateway.stop()?;
    far_end.stop()?;
    Ok(run(count, elapsed, cpu).with(Metric::RssMib, rss))
}

/// A program that listens at `address`.
fn in_process(
    command: &mut Command,
    address: SocketAddr,
    peers: u32,
    ask: Ask,
    count: u32,
) -> Outcome<Run> {
    let program = Program::start(command)?;
    wait_for_answer(address, ask)?;
    let peers = Peers::open(peers, address)?;
    let before = program.precise_cpu()?;
    let elapsed = peers.ask(ask, count)?;
    let cpu = program.precise_cpu()? - before;
    Ok(run(count, elapsed, cpu).with(Metric::RssMib, program.max_rss_mib()?))
}

fn on_thread(server: ServerThread, peers: u32, ask: Ask, count: u32) -> Outcome<Run> {
    wait_for_answer(server.address, ask)?;
    let elapsed = Peers::open(peers, server.address)?.ask(ask, count)?;
    Ok(run(count, elapsed, server.stop()?))
}

fn run(count: u32, elapsed: Duration, cpu: Duration) -> Run {
    Run::default().with_rate(count.into(), elapsed).with_cpu(count.into(), cpu)
}

/// Where `tests/setup` installs aiocoap.
fn python() -> PathBuf {
    Path::new(SOURCES).join("../../.venv/bin/python")
}

/// The batched echo, built beside the stores.
fn compile(plan: &Plan) -> Outcome<PathBuf> {
    let program = plan.dir.join("batched-echo");
    let mut command = Command::new("cc");
    command.args(["-O2", "-Wall", "-Wextra", "-o"]).arg(&program);
    let status = command.arg(Path::new(SOURCES).join("batched-echo.c")).status()?;
    if status.success() { Ok(program) } else { Err("cc cannot build the batched echo".into()) }
}
