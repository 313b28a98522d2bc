//! The built gateway, under test.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use device_sim::clock::Clock;
use proto::Instant;
use serde_json::Value;

use super::Outcome;
use super::process;

/// How long it may take until it is connected, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// The same where the time is measured.
const SHORT_PAUSE: Duration = Duration::from_micros(500);

/// How often a port is looked for that is free for UDP and TCP.
const ATTEMPTS: u32 = 20;

/// A gateway with one broker and one route.
pub(crate) struct Gateway {
    child: Child,
    folder: Rc<Folder>,
    clock: Clock,
    /// Where its source listens, if it has one that does.
    pub(crate) address: SocketAddr,
}

/// What a case chooses.
#[derive(Clone)]
pub(crate) struct Setup {
    /// The sources, as TOML in which `ADDRESS` stands for where one listens.
    pub(crate) sources: String,
    /// What the route does, as TOML.
    pub(crate) route: &'static str,
    /// Publishes under way to the broker.
    pub(crate) window: u16,
    /// Shortest time between two commits.
    pub(crate) commit_interval: &'static str,
}

impl Setup {
    /// One source, with commits as fast as the disk allows and a route that changes nothing.
    pub(crate) fn new(source: &str, window: u16) -> Self {
        let sources = format!("[sources.load]\n{source}\n");
        Self { sources, route: "", window, commit_interval: "0s" }
    }
}

impl Gateway {
    /// Starts it with an empty store in a folder under `dir`, and waits until it is connected and
    /// has opened its sources.
    pub(crate) fn start(setup: &Setup, dir: &Path, broker: SocketAddr) -> Outcome<Self> {
        let mut gateway = Self::spawn(setup, &Rc::new(Folder::create(dir)?), broker)?;
        gateway.wait_until("is connected and has its sources open", |gateway| {
            gateway.ask().is_ok_and(|s| is_ready(&s))
        })?;
        Ok(gateway)
    }

    /// Starts it with the store that is in `folder`, and waits for nothing.
    pub(crate) fn spawn(setup: &Setup, folder: &Rc<Folder>, broker: SocketAddr) -> Outcome<Self> {
        let folder = Rc::clone(folder);
        let address = free_address()?;
        let Setup { sources, route, window, commit_interval } = setup;
        let sources = sources.replace("ADDRESS", &format!("\"{address}\""));
        let state = folder.0.join("state");
        let config = folder.0.join("gateway.toml");
        let text = format!(
            "[gateway]\nid = \"bench\"\nstate_dir = {state:?}\n\
             [store]\ncommit_interval = {commit_interval:?}\n\
             {sources}\
             [brokers.far]\nurl = \"mqtt://{broker}\"\nwindow = {window}\n\
             [routes.all]\ntopic = \"bench/{{device}}/{{name}}\"\n{route}"
        );
        fs::write(&config, text)?;
        let clock = Clock::start();
        let child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["run", "--log", "warn", "--config"])
            .arg(config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { child, folder, clock, address })
    }

    /// Waits until it has acknowledged a line, which is no reading of a ledger; the time since it
    /// was started.
    pub(crate) fn first_answer(&mut self) -> Outcome<Duration> {
        let line = format!("{{\"device\":\"probe\",\"value\":{}}}\n", u32::MAX);
        let mut stream = loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => break stream,
                Err(_) if self.clock.now() - Instant::ZERO < PATIENCE => thread::sleep(SHORT_PAUSE),
                Err(error) => return Err(error.into()),
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        if answer != "ok\n" {
            return Err(format!("the first line was answered {answer:?}").into());
        }
        Ok(self.clock.now() - Instant::ZERO)
    }

    /// Processor time that it has used.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        process::cpu(self.child.id())
    }

    /// The same to the nanosecond, without threads that have ended.
    pub(crate) fn precise_cpu(&self) -> Outcome<Duration> {
        process::precise_cpu(self.child.id())
    }

    /// Most memory that it had resident.
    pub(crate) fn max_rss_mib(&self) -> Outcome<f64> {
        process::max_rss_mib(self.child.id())
    }

    /// What it says of itself: what `gateway status --json` prints.
    pub(crate) fn ask(&self) -> Outcome<Value> {
        let mut stream = UnixStream::connect(self.folder.0.join("state/control.sock"))?;
        stream.write_all(b"{\"request\":\"status\"}\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Commits until now.
    pub(crate) fn commits(&self) -> Outcome<u64> {
        self.ask_for("/store/commits")
    }

    /// Bytes of records committed until now.
    pub(crate) fn committed_bytes(&self) -> Outcome<u64> {
        self.ask_for("/store/committed_bytes")
    }

    /// Acknowledgements of the broker until now.
    pub(crate) fn acknowledged(&self) -> Outcome<u64> {
        self.ask_for("/brokers/far/acknowledged")
    }

    fn ask_for(&self, pointer: &str) -> Outcome<u64> {
        let number = self.ask()?.pointer(pointer).and_then(Value::as_u64);
        number.ok_or_else(|| format!("the status has no {pointer}").into())
    }

    /// Bytes that it has written to the disk.
    pub(crate) fn written_bytes(&self) -> Outcome<u64> {
        process::written_bytes(self.child.id())
    }

    /// Tells it to stop; an error if it does not end well. Returns what it has written to the disk
    /// in all.
    pub(crate) fn stop(mut self) -> Outcome<u64> {
        let process = self.child.id();
        Command::new("kill").args(["-TERM", &process.to_string()]).status()?;
        self.wait_until("has stopped", |_| process::has_ended(process).unwrap_or(true))?;
        let written = self.written_bytes()?;
        let status = self.child.wait()?;
        if status.success() {
            Ok(written)
        } else {
            Err(format!("the gateway ended with {status}").into())
        }
    }

    fn wait_until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> Outcome<()> {
        let mut waited = Duration::ZERO;
        while !condition(self) {
            if waited > PATIENCE {
                return Err(format!("not so within {PATIENCE:?}: the gateway {what}").into());
            }
            thread::sleep(PAUSE);
            waited += PAUSE;
        }
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a status says that broker and sources are there.
fn is_ready(status: &Value) -> bool {
    let sources = status.pointer("/sources").and_then(Value::as_object);
    status.pointer("/brokers/far/connected") == Some(&true.into())
        && sources.is_some_and(|all| all.values().all(|s| s.get("up") == Some(&true.into())))
}

/// A folder that is deleted in the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// A new, empty folder under `dir`.
    pub(crate) fn create(dir: &Path) -> Outcome<Self> {
        let path = dir.join(format!("bench-{}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address that nobody uses now, for UDP and TCP.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    let mut attempts = 0..ATTEMPTS;
    loop {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0")?;
        let address = udp.local_addr()?;
        // A port that is free for one may be a connection's end for the other.
        match std::net::TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(_) if attempts.next().is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
}
