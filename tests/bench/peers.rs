//! Programs of others on the same work: same readings, same broker, QoS 1.
//!
//! `tests/bench/peers/setup` installs them; one that is not there is not measured. None of them
//! keeps anything on disk.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::Outcome;
use super::cases::Plan;
use super::far_end::FarEnd;
use super::figure::{Metric, Run};
use super::gateway::{Folder, free_address};
use super::load::stream_lines;
use super::process;

/// How long it may take until a program is connected.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Where their sources are.
pub(crate) const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/peers");

/// A client library with a small program around it that publishes readings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    PahoC,
    PahoPython,
}

impl Client {
    /// Why it cannot be measured here.
    pub(crate) fn missing(self) -> Option<String> {
        missing(&match self {
            Self::PahoC => folder().join("paho-c"),
            Self::PahoPython => folder().join("venv/lib"),
        })
    }

    fn command(self) -> Command {
        match self {
            Self::PahoC => Command::new(folder().join("paho-c")),
            Self::PahoPython => {
                let mut command = Command::new(folder().join("venv/bin/python"));
                command.arg(Path::new(SOURCES).join("paho-python.py"));
                command
            }
        }
    }

    /// Lets it publish, with so many under way.
    pub(crate) fn publish(self, plan: &Plan, readings: u32, window: u16) -> Outcome<Run> {
        let ledger = plan.ledger(readings);
        let far_end = FarEnd::start(&ledger)?;
        let numbers = [u32::from(far_end.address().port()), ledger.indexes().end, window.into()];
        let mut program = Program(
            self.command()
                .args(numbers.map(|number| number.to_string()))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        far_end.wait_for_client(PATIENCE)?;
        let output = program.0.stdout.take().ok_or("no output")?;
        let mut input = program.0.stdin.take().ok_or("no input")?;
        let mut lines = BufReader::new(output).lines();
        let mut expect = |word| match lines.next() {
            Some(Ok(line)) if line == word => Ok(()),
            other => Err(format!("expected {word:?} of the client, not {other:?}")),
        };
        expect("ready")?;
        let before = process::cpu(program.0.id())?;
        ledger.handle_all_sent();
        input.write_all(b"go\n")?;
        ledger.settle();
        if ledger.outstanding() == 0 {
            expect("done")?;
        }
        let run = program.measured(ledger.drained()?, ledger.arrived(), before)?;
        drop(input);
        program.0.wait()?;
        far_end.stop()?;
        Ok(run)
    }
}

/// Why Node-RED cannot be measured here.
pub(crate) fn node_red_missing() -> Option<String> {
    missing(&node_red_program())
}

/// Lines over TCP through a flow of two nodes: `tcp in` and `mqtt out`.
pub(crate) fn node_red(plan: &Plan, readings: u32) -> Outcome<Run> {
    let ledger = plan.ledger(readings);
    let far_end = FarEnd::start(&ledger)?;
    let folder = Folder::create(&plan.dir)?;
    let [lines, web] = [free_address()?, free_address()?];
    let flow = folder.0.join("flow.json");
    fs::copy(Path::new(SOURCES).join("flow.json"), &flow)?;
    let program = Program(
        Command::new("node")
            .arg(node_red_program())
            .arg("--userDir")
            .arg(&folder.0)
            .args(["--port", &web.port().to_string()])
            .arg(flow)
            .env("LISTEN_PORT", lines.port().to_string())
            .env("BROKER_PORT", far_end.address().port().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?,
    );
    wait_until_it_listens(lines)?;
    far_end.wait_for_client(PATIENCE)?;
    let before = process::cpu(program.0.id())?;
    stream_lines(&ledger, lines)?;
    let run = program.measured(ledger.run()?, ledger.arrived(), before)?;
    // It is ended before the broker, which it would try to reach again.
    drop(program);
    far_end.stop()?;
    Ok(run)
}

fn wait_until_it_listens(address: SocketAddr) -> Outcome<()> {
    let mut waited = Duration::ZERO;
    while TcpStream::connect(address).is_err() {
        if waited > PATIENCE {
            return Err("Node-RED does not listen".into());
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
    Ok(())
}

/// A program that is ended in the end.
pub(crate) struct Program(Child);

impl Program {
    /// Starts one that needs no input and whose output is of no concern.
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
    }

    /// Processor time that it has used, to the nanosecond.
    pub(crate) fn precise_cpu(&self) -> Outcome<Duration> {
        process::precise_cpu(self.0.id())
    }

    /// Most memory that it had resident.
    pub(crate) fn max_rss_mib(&self) -> Outcome<f64> {
        process::max_rss_mib(self.0.id())
    }

    /// With its processor time since `before`, and its memory.
    fn measured(&self, run: Run, readings: u64, before: Duration) -> Outcome<Run> {
        let cpu = process::cpu(self.0.id())? - before;
        let rss = process::max_rss_mib(self.0.id())?;
        Ok(run.with_cpu(readings, cpu).with(Metric::RssMib, rss))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn node_red_program() -> PathBuf {
    folder().join("node_modules/node-red/red.js")
}

/// Where `setup` installs.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers")
}

fn missing(file: &Path) -> Option<String> {
    let absent = !file.exists();
    absent.then(|| "it is not installed (tests/bench/peers/setup installs it)".to_owned())
}
