//! Mosquitto as the far end: what a broker that others wrote makes of it.
//!
//! It records nothing, so that neither losses nor repetitions can be told; they are counted with
//! the recording broker.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use device_sim::clock::Clock;
use proto::Instant;

use super::Outcome;
use super::backlog;
use super::cases::Plan;
use super::codec;
use super::figure::{Metric, Run};
use super::gateway::{Folder, Gateway, Setup, free_address};

const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Why it cannot be measured here.
pub(crate) fn missing() -> Option<String> {
    let version = Command::new("mosquitto").arg("-h").output();
    version.is_err().then(|| "Mosquitto is not installed (tests/setup installs it)".to_owned())
}

/// How fast a backlog leaves the gateway's store.
pub(crate) fn drain(plan: &Plan, readings: u32, setup: &Setup) -> Outcome<Run> {
    let ledger = plan.ledger(readings);
    let folder = Rc::new(Folder::create(&plan.dir)?);
    backlog::fill(&ledger, &folder, setup)?;
    let mosquitto = Mosquitto::start(&folder.0)?;
    let mut gateway = Gateway::spawn(setup, &folder, mosquitto.address)?;
    let start = gateway.first_answer()?;
    let clock = Clock::start();
    let acknowledged = gateway.acknowledged()?;
    let all = u64::from(ledger.indexes().end);
    let mut now = acknowledged;
    while now < all {
        if clock.now() - Instant::ZERO > PATIENCE {
            return Err(format!("{now} of {all} are acknowledged").into());
        }
        thread::sleep(PAUSE);
        now = gateway.acknowledged()?;
    }
    let elapsed = clock.now() - Instant::ZERO;
    let (cpu, rss) = (gateway.cpu()?, gateway.max_rss_mib()?);
    gateway.stop()?;
    let run = Run::default().with_rate(now - acknowledged, elapsed).with_cpu(now, cpu);
    Ok(run.with(Metric::RssMib, rss).with(Metric::Start, start.as_secs_f64() * 1e3))
}

/// How fast the codec alone gets rid of as many.
pub(crate) fn publish(plan: &Plan, readings: u32, window: u16) -> Outcome<Run> {
    let ledger = plan.ledger(readings);
    let folder = Folder::create(&plan.dir)?;
    let mosquitto = Mosquitto::start(&folder.0)?;
    let clock = Clock::start();
    let cpu = codec::publish(&ledger, mosquitto.address, window)?;
    let readings = ledger.indexes().end.into();
    Ok(Run::default().with_rate(readings, clock.now() - Instant::ZERO).with_cpu(readings, cpu))
}

/// A running Mosquitto, which ends with this.
struct Mosquitto {
    process: Child,
    address: SocketAddr,
}

impl Mosquitto {
    fn start(folder: &Path) -> Outcome<Self> {
        let address = free_address()?;
        let config = folder.join("mosquitto.conf");
        // Started by root it would become another user, who cannot read the folder.
        let text = format!(
            "user root\nlistener {} 127.0.0.1\nallow_anonymous true\nlog_type none\n\
             max_inflight_messages 0\n",
            address.port()
        );
        fs::write(&config, text)?;
        let process = Command::new("mosquitto")
            .arg("-c")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mosquitto = Self { process, address };
        let clock = Clock::start();
        while TcpStream::connect(address).is_err() {
            if clock.now() - Instant::ZERO > PATIENCE {
                return Err("Mosquitto does not listen".into());
            }
            thread::sleep(PAUSE);
        }
        Ok(mosquitto)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
