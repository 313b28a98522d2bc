//! What `hardware/` says, against the built binary and the tools of systemd.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");
/// The most that `systemd-analyze security` may find.
const MAX_EXPOSURE: f64 = 1.8;
/// How long sources may take to settle when the gateway stops (`SETTLE` in `gateway/src/app.rs`).
const SETTLE: Duration = Duration::from_secs(10);
/// Nothing here takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

fn hardware(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardware").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn unit() -> String {
    hardware("systemd/gateway.service")
}

/// The values of a setting of the unit, in order.
fn settings(key: &str) -> Vec<String> {
    let unit = unit();
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(found, _)| *found == key).map(|(_, value)| value.to_owned()).collect()
}

/// The one value of a setting.
fn setting(key: &str) -> String {
    let [value] = settings(key).try_into().unwrap_or_else(|found| panic!("{key}: {found:?}"));
    value
}

fn seconds(key: &str) -> Duration {
    Duration::from_secs(setting(key).parse().expect("seconds"))
}

/// Runs a tool, or tells which Debian package has it.
fn tool(package: &str, command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        let name = command.get_program().display();
        panic!("{name}: {error}; `apt install {package}`, or run tests/setup")
    })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gateway-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the system's folder for such files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The unit with the built binary, where systemd can check it.
fn installed(folder: &Folder) -> PathBuf {
    let unit = unit().replace("/usr/local/bin/gateway", GATEWAY);
    folder.file("gateway.service", &unit)
}

#[test]
fn the_unit_has_no_fault_that_systemd_finds() {
    let folder = Folder::new("verify");
    let output =
        tool("systemd", Command::new("systemd-analyze").arg("verify").arg(installed(&folder)));
    let found = text(output.stderr);
    assert!(output.status.success() && found.is_empty(), "{found}");
}

#[test]
fn the_unit_exposes_little() {
    let folder = Folder::new("security");
    let unit = installed(&folder);
    let mut command = Command::new("systemd-analyze");
    let report =
        text(tool("systemd", command.args(["security", "--offline=true"]).arg(unit)).stdout);
    let level =
        report.lines().find_map(|line| line.split_once("exposure level for gateway.service:"));
    let (_, level) = level.unwrap_or_else(|| panic!("no level in: {report}"));
    let level: f64 = level.split_whitespace().next().expect("a level").parse().expect("a number");
    assert!(level <= MAX_EXPOSURE, "{level}:\n{report}");
}

#[test]
fn the_unit_starts_what_the_binary_offers() {
    let start = setting("ExecStart");
    let arguments: Vec<&str> = start.split_whitespace().collect();
    assert_eq!(
        arguments,
        ["/usr/local/bin/gateway", "run", "-c", "/etc/gateway/gateway.toml"],
        "this test follows the unit"
    );
    let help = tool("", Command::new(GATEWAY).args(["run", "-c", "none", "--help"]));
    assert!(help.status.success(), "{}", text(help.stderr));
}

#[test]
fn the_exit_codes_that_prevent_a_restart_are_those_of_the_binary() {
    let folder = Folder::new("codes");
    let wrong = folder.file("wrong.toml", "[gatway]\n");
    let codes =
        [vec!["run", "--no-such-option"], vec!["run", "-c", wrong.to_str().expect("UTF-8")]]
            .map(|arguments| tool("", Command::new(GATEWAY).args(arguments)).status.code())
            .map(|code| code.expect("an exit code").to_string());
    let prevented = setting("RestartPreventExitStatus");
    assert_eq!(prevented.split(' ').collect::<Vec<_>>(), codes);
}

#[test]
fn a_stop_ends_before_systemd_loses_patience() {
    let folder = Folder::new("times");
    let file = folder.file("gateway.toml", CONFIG);
    let shown = tool("", Command::new(GATEWAY).args(["config", "show", "-c"]).arg(file));
    let shown = text(shown.stdout);
    let drain = shown.lines().find_map(|line| line.trim().strip_prefix("drain = \""));
    let drain = drain.and_then(|rest| rest.strip_suffix("s\"")).expect("whole seconds");
    let stop = SETTLE + Duration::from_secs(drain.parse().expect("seconds"));
    for key in ["TimeoutStopSec", "WatchdogSec"] {
        assert!(seconds(key) > stop, "{key} must be longer than {stop:?}");
    }
}

/// What the gateway needs to do something of everything: each link, and a broker by its name.
/// A pseudo-terminal's controlling side takes the same calls as a serial port.
const CONFIG: &str = r#"
[sources.line]
link = { type = "serial", path = "/dev/ptmx" }
decode = { type = "value", name = "x" }
[sources.client]
link = { type = "tcp", bind = "127.0.0.1:0", reply = true }
decode = { type = "value", name = "x" }
[sources.datagram]
link = { type = "udp", bind = "127.0.0.1:0" }
decode = { type = "value", name = "x" }
[sources.node]
link = { type = "coap", bind = ["127.0.0.1:0"] }
[brokers.local]
url = "mqtt://localhost"
[routes.all]
"#;

/// A gateway as the service manager starts it.
struct Service {
    process: Child,
    notified: UnixDatagram,
    broker: TcpListener,
    folder: Folder,
}

impl Drop for Service {
    fn drop(&mut self) {
        // Where a test failed on the way.
        let _ = self.process.kill();
    }
}

impl Service {
    /// Starts it by way of `command`, which has to run the arguments it gets.
    fn start(name: &str, mut command: Command) -> Self {
        let folder = Folder::new(name);
        let broker = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = broker.local_addr().expect("an address").port();
        let socket = folder.0.join("notify");
        let notified = UnixDatagram::bind(&socket).expect("a socket");
        notified.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let process = command
            .args(["run", "-c"])
            .arg(folder.file("gateway.toml", CONFIG))
            .args(["--log-format", "json", "--set"])
            .arg(format!("brokers.local.url=mqtt://localhost:{port}"))
            .env("NOTIFY_SOCKET", socket)
            .env("WATCHDOG_USEC", "200000")
            .env("STATE_DIRECTORY", folder.0.join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let process =
            process.expect("the gateway starts; strace is in the Debian package `strace`");
        Self { process, notified, broker, folder }
    }

    /// Waits until the service manager is told `message`.
    fn wait_for(&self, message: &str) {
        let mut buffer = [0; 256];
        // A message can come after a few of the watchdog's.
        for _ in 0..200 {
            let len = self.notified.recv(&mut buffer).unwrap_or_else(|e| panic!("{message}: {e}"));
            let told = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default());
            if told.lines().any(|line| line == message) {
                return;
            }
        }
        panic!("not told: {message}");
    }

    /// Sends one reading, by TCP, and waits until it is on disk.
    fn store_a_reading(&mut self) {
        let log = self.process.stderr.take().expect("a pipe");
        let mut lines = BufReader::new(log).lines();
        let address = lines.by_ref().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.expect("a line")).ok()?;
            let fields = line.get("fields")?;
            let ours = fields.get("source")? == "client";
            ours.then(|| fields.get("address")?.as_str().map(str::to_owned))?
        });
        // Whatever it says later has a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let mut client = TcpStream::connect(address.expect("the port is told")).expect("a client");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client.write_all(b"21.5\n").expect("sent");
        let mut reply = String::new();
        BufReader::new(client).read_line(&mut reply).expect("a reply");
        assert_eq!(reply, "ok\n");
    }

    /// Accepts the gateway as a broker would.
    fn accept(&self) -> TcpStream {
        let (mut stream, _) = self.broker.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut packet = [0; 1024];
        assert!(stream.read(&mut packet).expect("CONNECT") > 0);
        // CONNACK: accepted (MQTT 3.1.1 §3.2).
        stream.write_all(&[0x20, 2, 0, 0]).expect("sent");
        stream
    }

    fn stop(&mut self) {
        let pid = self.process.id().to_string();
        let killed = tool("procps", Command::new("kill").args(["-TERM", &pid]));
        assert!(killed.status.success(), "{}", text(killed.stderr));
        self.wait_for("STOPPING=1");
        assert!(self.process.wait().expect("an end").success());
    }
}

#[test]
fn the_service_manager_is_told_of_start_life_and_stop() {
    let mut service = Service::start("notify", Command::new(GATEWAY));
    service.wait_for("READY=1");
    service.wait_for("WATCHDOG=1");
    service.store_a_reading();
    service.stop();
    assert!(service.folder.0.join("state/spool.db").exists(), "the store is in STATE_DIRECTORY");
}

#[test]
fn the_filter_of_system_calls_lets_the_gateway_work() {
    let trace = Folder::new("trace");
    let calls = trace.0.join("calls");
    // -D: the gateway itself is our child, and strace beside it.
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-qq", "-o"]).arg(&calls).arg(GATEWAY);
    let mut service = Service::start("filter", strace);
    service.wait_for("READY=1");
    let _broker = service.accept();
    service.store_a_reading();
    service.wait_for("WATCHDOG=1");
    service.stop();

    let used: BTreeSet<String> = fs::read_to_string(calls)
        .expect("a trace")
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.split_once('('))
        .map(|(call, _)| call.to_owned())
        .collect();
    assert!(used.contains("fdatasync") && used.contains("connect"), "too little seen: {used:?}");

    let filter = settings("SystemCallFilter");
    let (denied, allowed): (Vec<_>, Vec<_>) = filter.iter().partition(|set| set.starts_with('~'));
    let allowed = expand(allowed.iter().flat_map(|sets| sets.split(' ')));
    let denied = expand(denied.iter().flat_map(|sets| sets.trim_start_matches('~').split(' ')));
    let refused: Vec<_> = used
        .iter()
        .filter(|call| !allowed.contains(*call) || denied.contains(*call))
        // SQLite does that only as root (robustFchown), which the service is not.
        .filter(|call| *call != "fchown")
        .collect();
    assert!(refused.is_empty(), "the unit does not allow {refused:?}");
}

/// The system calls of systemd's sets, with the sets in them.
fn expand<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut open: Vec<String> = names.map(str::to_owned).collect();
    let mut calls = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !name.starts_with('@') {
            calls.insert(name);
            continue;
        }
        let mut command = Command::new("systemd-analyze");
        let set = text(tool("systemd", command.args(["syscall-filter", &name])).stdout);
        let lines = set.lines().skip(1).map(str::trim);
        open.extend(lines.filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    calls
}

/// The rules of the file, and those that are there to be switched on.
#[test]
fn every_udev_rule_names_a_port_and_nothing_else() {
    let file = hardware("udev/99-gateway.rules");
    let rules: Vec<&str> = file
        .lines()
        .map(|line| line.trim_start_matches('#'))
        .filter(|l| l.starts_with("SUBSYSTEM"))
        .collect();
    assert!(rules.len() >= 5, "{rules:?}");
    for rule in &rules {
        let parts: Vec<(&str, &str)> = rule.split(", ").map(part).collect();
        assert!(parts.contains(&("SUBSYSTEM==", "tty")), "{rule}");
        let named = parts.iter().filter(|(key, _)| *key == "SYMLINK+=");
        assert!(
            named.clone().count() == 1 && named.clone().all(|(_, v)| v.starts_with("gw/")),
            "{rule}"
        );
        assert!(
            parts.iter().any(|(key, _)| key.starts_with("ENV{ID_") && key.ends_with("==")),
            "{rule}"
        );
    }
    let rest = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert!(rest.clone().all(|line| rules.contains(&line)), "a line is neither rule nor comment");
}

/// Key with operator, and value, of one part of a udev rule.
fn part(part: &str) -> (&str, &str) {
    const KEYS: [&str; 6] = ["SUBSYSTEM==", "SYMLINK+=", "GROUP=", "MODE=", "TAG+=", "ENV{"];
    let (key, value) = part.split_once('"').unwrap_or_else(|| panic!("no value: {part}"));
    let value = value.strip_suffix('"').unwrap_or_else(|| panic!("no end: {part}"));
    let known = KEYS.iter().any(|known| match *known {
        "ENV{" => key.starts_with("ENV{") && key.ends_with("}=="),
        known => key == known,
    });
    assert!(known, "unknown key: {part}");
    assert!(!value.contains('"'), "{part}");
    (key, value)
}

#[test]
fn every_driver_to_load_is_of_a_device_that_the_unit_allows() {
    let modules = hardware("modules-load.d/gateway.conf");
    let modules: Vec<&str> = modules.lines().filter(|line| !line.starts_with('#')).collect();
    let allowed = settings("DeviceAllow");
    for module in modules {
        let class = if module == "cdc_acm" { "char-ttyACM rw" } else { "char-ttyUSB rw" };
        assert!(allowed.iter().any(|device| device == class), "{module} needs {class}");
        assert!(module.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    }
}
