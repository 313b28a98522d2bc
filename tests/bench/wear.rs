//! What the disk has to take: bytes that the gateway causes to be written, at a steady rate of
//! readings, with a broker that keeps up.
//!
//! The bytes are those that the kernel enters for the process (`write_bytes`), from the connection
//! to the broker until the store is closed, so that what waits in the write-ahead log is counted
//! in both of its places. The journal of the file system is not among them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use device_sim::clock::Clock;
use proto::Instant;

use super::Outcome;
use super::cases::Plan;
use super::far_end::FarEnd;
use super::figure::{Metric, Run, number};
use super::gateway::{Gateway, Setup};
use super::ledger::Ledger;
use super::load::json;

/// How long each case sends.
///
/// Long beside the five seconds for which cursors wait to be saved, and the end, when the
/// write-ahead log is moved into the file.
const DURATION: Duration = Duration::from_secs(60);
/// The same where it is only to be seen that it works.
const QUICK: Duration = Duration::from_secs(2);
const DAY: f64 = 86_400.0;
/// Longest wait for a reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends so many readings a second, one line each.
pub(crate) fn wear(plan: &Plan, per_second: u32, setup: &Setup) -> Outcome<Run> {
    let duration = if plan.quick { QUICK } else { DURATION };
    let readings = per_second * u32::try_from(duration.as_secs())?;
    let ledger = std::sync::Arc::new(Ledger::new(readings));
    let far_end = FarEnd::start(&ledger)?;
    let gateway = Gateway::start(setup, &plan.dir, far_end.address())?;
    let (commits, written) = (gateway.commits()?, gateway.written_bytes()?);
    let elapsed = send_paced(&ledger, &gateway, duration / readings)?.as_secs_f64();
    ledger.settle();
    let commits = gateway.commits()? - commits;
    let payload = gateway.committed_bytes()?;
    let written = number(gateway.stop()? - written);
    far_end.stop()?;
    Ok(Run::default()
        .with(Metric::Rate, number(readings.into()) / elapsed)
        .with(Metric::Lost, number(ledger.outstanding()))
        .with(Metric::Batch, number(readings.into()) / number(commits.max(1)))
        .with(Metric::Amplification, written / number(payload))
        .with(Metric::DailyMegabytes, written / elapsed * DAY / 1e6))
}

/// Sends each reading when its time has come, and reads the replies beside it; how long sending
/// took.
fn send_paced(ledger: &Ledger, gateway: &Gateway, interval: Duration) -> Outcome<Duration> {
    let mut stream = TcpStream::connect(gateway.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let replies = BufReader::new(stream.try_clone()?).lines();
    thread::scope(|scope| {
        let replies = scope.spawn(move || -> Outcome<()> {
            for (index, reply) in ledger.indexes().zip(replies) {
                match reply? {
                    reply if reply == "ok" => ledger.handle_answered(index),
                    reply => return Err(format!("line {index} was answered {reply:?}").into()),
                }
            }
            Ok(())
        });
        let clock = Clock::start();
        for index in ledger.indexes() {
            let due = Instant::ZERO + interval * index;
            thread::sleep(due.saturating_since(clock.now()));
            ledger.handle_sent(index);
            stream.write_all((json(index) + "\n").as_bytes())?;
        }
        // The last interval belongs to the last reading.
        let end = Instant::ZERO + interval * ledger.indexes().end;
        thread::sleep(end.saturating_since(clock.now()));
        let elapsed = clock.now() - Instant::ZERO;
        replies.join().map_err(|_| "the reader of the replies panicked")??;
        Ok(elapsed)
    })
}
