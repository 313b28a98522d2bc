//! The built gateway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::{fs, thread};

use serde_json::Value;

use super::clock::{wait_for, wait_until};
use super::process::{Lines, Running};
use super::temp::TempDir;

/// A gateway with its own folder, which holds its configuration and its state.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Option<Running>,
    log: Lines,
    /// The line of the log at which the process that runs began.
    begin: usize,
    dir: TempDir,
}

impl Gateway {
    /// Writes the configuration; `{dir}` in it is the gateway's folder. Its id is `gw`.
    pub(crate) fn new(config: &str) -> Self {
        let dir = TempDir::new();
        let path = dir.path().display();
        let config = config.replace("{dir}", &path.to_string());
        let text = format!("gateway.id = \"gw\"\ngateway.state_dir = \"{path}/state\"\n{config}");
        fs::write(dir.join("gateway.toml"), text).unwrap();
        Self { process: None, log: Lines::default(), begin: 0, dir }
    }

    /// A gateway that runs and answers.
    pub(crate) fn start(config: &str) -> Self {
        let mut gateway = Self::new(config);
        gateway.launch();
        gateway.wait_until_up();
        gateway
    }

    /// Starts the process, for the first time or again.
    pub(crate) fn launch(&mut self) {
        self.launch_under(&[]);
    }

    /// The same, with the arguments of another program in front.
    pub(crate) fn launch_under(&mut self, wrapper: &[&str]) {
        let mut command = match wrapper {
            [] => self.command("run"),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(env!("CARGO_BIN_EXE_gateway")).arg("run");
                command.arg("-c").arg(self.config());
                command
            }
        };
        self.begin = self.log.len();
        command.args(["--log-format", "json", "--log", "info,gateway::source=debug"]);
        self.process = Some(Running::start_reading(&mut command, &self.log));
    }

    pub(crate) fn wait_until_up(&mut self) {
        wait_for("the gateway to answer", || {
            let running = self.process.as_mut().is_some_and(Running::is_running);
            assert!(running, "the gateway has ended");
            self.try_status()
        });
    }

    /// A command of the gateway with this one's configuration.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.arg(name).arg("-c").arg(self.config());
        command
    }

    /// Runs a gateway that is expected to end by itself.
    pub(crate) fn run_to_end(&self) -> Output {
        self.command("run").stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("gateway.toml")
    }

    pub(crate) fn dir(&self) -> &TempDir {
        &self.dir
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").pid()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Running::is_running)
    }

    /// Where a source listens, as the log of this start says.
    pub(crate) fn address(&self, source: &str) -> SocketAddr {
        let is_it = |entry: &Value| {
            entry["fields"]["source"] == source
                && entry["fields"]["message"].as_str().is_some_and(|m| m.starts_with("listening"))
        };
        let what = format!("the source {source} to listen");
        wait_for(&what, || {
            let entry = self.log_entries().into_iter().find(is_it)?;
            entry["fields"]["address"].as_str()?.parse().ok()
        })
    }

    /// Where a CoAP source listens for TCP.
    pub(crate) fn tcp_address(&self, source: &str) -> SocketAddr {
        let status = self.status();
        let address = status["sources"][source]["tcp_addresses"][0].as_str();
        address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{status}"))
    }

    /// The log of this start.
    pub(crate) fn log_entries(&self) -> Vec<Value> {
        self.log.since(self.begin).iter().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    /// What `gateway status --json` says.
    pub(crate) fn status(&self) -> Value {
        wait_for("a status", || self.try_status())
    }

    fn try_status(&self) -> Option<Value> {
        let output = self.command("status").arg("--json").output().unwrap();
        serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
    }

    /// A number of the status, by JSON pointer; 0 where there is none.
    pub(crate) fn count(&self, pointer: &str) -> u64 {
        self.status().pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Waits until the status has at least so much there.
    pub(crate) fn wait_for_count(&self, pointer: &str, least: u64) {
        wait_until(&format!("{pointer} >= {least}"), || self.count(pointer) >= least);
    }

    /// The sum of all counts under a pointer such as `/sources/x/refused`.
    pub(crate) fn sum(&self, pointer: &str) -> u64 {
        let status = self.status();
        let counts = status.pointer(pointer).and_then(Value::as_object);
        counts.into_iter().flatten().filter_map(|(_, count)| count["count"].as_u64()).sum()
    }

    /// Memory that it occupies, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Sends a signal by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        self.process.as_ref().expect("it runs").signal(name);
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.take().expect("it runs").wait()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log.text());
        }
    }
}
