//! The built gateway, under test.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Outcome;
use super::process;

/// How long it may take until it is connected, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A gateway with one source and one broker.
pub(crate) struct Gateway {
    child: Child,
    folder: Folder,
    /// Where its source listens.
    pub(crate) address: SocketAddr,
}

/// What a case chooses.
pub(crate) struct Setup {
    /// The source, as TOML in which `ADDRESS` stands for where it listens.
    pub(crate) source: &'static str,
    /// Publishes under way to the broker.
    pub(crate) window: u16,
}

impl Gateway {
    /// Starts it with an empty store in a folder under `dir`, and waits until it is connected.
    pub(crate) fn start(setup: &Setup, dir: &Path, broker: SocketAddr) -> Outcome<Self> {
        let folder = Folder::create(dir)?;
        let address = free_address()?;
        let source = setup.source.replace("ADDRESS", &format!("\"{address}\""));
        let (state, window) = (folder.0.join("state"), setup.window);
        let config = folder.0.join("gateway.toml");
        let text = format!(
            "[gateway]\nid = \"bench\"\nstate_dir = {state:?}\n\
             [sources.load]\n{source}\n\
             [brokers.far]\nurl = \"mqtt://{broker}\"\nwindow = {window}\n\
             [routes.all]\ntopic = \"bench/{{device}}/{{name}}\"\n"
        );
        fs::write(&config, text)?;
        let child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["run", "--log", "warn", "--config"])
            .arg(config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut gateway = Self { child, folder, address };
        gateway.wait_until("is connected", |gateway| {
            gateway.ask().is_ok_and(|s| s.pointer("/brokers/far/connected") == Some(&true.into()))
        })?;
        Ok(gateway)
    }

    /// Processor time that it has used.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        process::cpu(self.child.id())
    }

    /// Most memory that it had resident.
    pub(crate) fn max_rss_mib(&self) -> Outcome<f64> {
        process::max_rss_mib(self.child.id())
    }

    /// What it says of itself: what `gateway status --json` prints.
    pub(crate) fn ask(&self) -> Outcome<Value> {
        let mut stream = UnixStream::connect(self.folder.0.join("state/control.sock"))?;
        stream.write_all(b"status\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Commits until now.
    pub(crate) fn commits(&self) -> Outcome<u64> {
        let commits = self.ask()?.pointer("/store/commits").and_then(Value::as_u64);
        commits.ok_or_else(|| "the status has no commits".into())
    }

    /// Tells it to stop; an error if it does not end well.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        let process = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &process]).status()?;
        let mut status = None;
        self.wait_until("has stopped", |gateway| {
            status = gateway.child.try_wait().ok().flatten();
            status.is_some()
        })?;
        match status {
            Some(status) if status.success() => Ok(()),
            _ => Err(format!("the gateway ended with {status:?}").into()),
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
fn free_address() -> Outcome<SocketAddr> {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let address = udp.local_addr()?;
    std::net::TcpListener::bind(address)?;
    Ok(address)
}
