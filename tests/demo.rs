//! The demo from outside: it ends by itself, by signal and by key, tells what became of every
//! reading, and leaves nothing behind.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");
/// Whatever hangs is killed.
const WATCHDOG: [&str; 3] = ["-k", "5", "60"];
const TRANSPORTS: [&str; 8] =
    ["coap", "coap+tcp", "udp", "tcp", "serial", "link-serial", "link-tcp", "link-udp"];

/// A folder for temporary files of one test, which must be empty again at its end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(test: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{test}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(WATCHDOG).args(program).env_clear().env("PATH", path).env("TMPDIR", &self.0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn demo(&self, arguments: &[&str]) -> Output {
        self.command(&[&[GATEWAY, "demo"], arguments].concat()).output().expect("it starts")
    }

    fn assert_empty(&self) {
        let left: Vec<_> = fs::read_dir(&self.0).expect("a folder").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The numbers of a line of the summary: sent, acknowledged, arrived, lost, duplicates.
fn row(summary: &str, name: &str) -> Vec<Option<u64>> {
    let line = summary.lines().find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no line of {name}: {summary}"));
    line.split_whitespace().skip(1).map(|number| number.parse().ok()).collect()
}

#[test]
fn every_transport_delivers_what_it_sends() {
    let temporary = Temporary::new("plain");
    let output = temporary.demo(&["--for", "3s", "--every", "200ms", "--plain"]);
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    for name in TRANSPORTS {
        let [Some(sent), acknowledged, Some(arrived), Some(0), Some(_)] = row(&stdout, name)[..]
        else {
            panic!("{name}: {stdout}");
        };
        assert!(sent > 0 && arrived == sent, "{name}: {stdout}");
        let has_answers = !["udp", "serial"].contains(&name);
        assert_eq!(acknowledged, has_answers.then_some(sent), "{name}: {stdout}");
    }
    let arrivals = stdout.lines().filter(|line| line.contains("Z  demo/")).count();
    assert_eq!(row(&stdout, "total")[2], u64::try_from(arrivals).ok(), "a line for each");
    temporary.assert_empty();
}

#[test]
fn interrupt_ends_it_with_a_summary() {
    let temporary = Temporary::new("interrupt");
    let mut child = temporary.command(&[GATEWAY, "demo", "--plain"]).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    stdout.read_line(&mut text).expect("the first arrival");
    assert!(text.contains("demo/"), "{text}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    stdout.read_to_string(&mut text).expect("the rest");
    assert_eq!(child.wait().expect("its end").code(), Some(0), "{text}");
    assert_eq!(row(&text, "total")[3], Some(0));
    temporary.assert_empty();
}

#[test]
fn json_is_the_summary_and_nothing_else() {
    let temporary = Temporary::new("json");
    let output = temporary.demo(&["--for", "1s", "--every", "100ms", "--devices", "8", "--json"]);
    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert_eq!((&summary["ok"], &summary["devices"]), (&true.into(), &8.into()));
    for name in TRANSPORTS {
        let tally = &summary["transports"][name];
        assert!(tally["sent"].as_u64().is_some_and(|sent| sent > 0), "{summary}");
        assert_eq!((&tally["lost"], &tally["arrived"]), (&0.into(), &tally["sent"]), "{summary}");
    }
    temporary.assert_empty();
}

#[test]
fn live_view_draws_and_a_key_ends_it_with_the_terminal_restored() {
    let temporary = Temporary::new("live");
    let shell = format!("stty rows 24 cols 80; {GATEWAY} demo; code=$?; stty -a; exit $code");
    let mut command = temporary.command(&["script", "--quiet", "--flush", "--return"]);
    command.args(["--command", &shell, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", "1");
    let mut child = command.stdin(Stdio::piped()).spawn().expect("script starts");
    let mut keys = child.stdin.take().expect("piped");
    let mut screen = child.stdout.take().expect("piped");
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    let contains =
        |seen: &[u8], text: &str| seen.windows(text.len()).any(|at| at == text.as_bytes());
    // The screen is drawn by differences; the first arrival is drawn on an empty line, so whole.
    while !["demo/th-01/temp", "on the way", "\u{1b}[?1049h"].iter().all(|t| contains(&seen, t)) {
        let count = screen.read(&mut buffer).expect("the screen");
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
    keys.write_all(b"q").expect("a key");
    screen.read_to_end(&mut seen).expect("the rest");
    let text = String::from_utf8_lossy(&seen).replace('\r', "");
    assert_eq!(child.wait().expect("its end").code(), Some(0), "{text}");
    let (live, after) = text.split_once("\u{1b}[?1049l").expect("the screen is left");
    assert!(!live.contains("38;5;"), "no colour where none is wanted");
    assert!(after.contains("\u{1b}[?25h"), "the cursor is back");
    assert_eq!(row(after, "total")[3], Some(0), "{after}");
    assert!(after.contains("\nisig icanon iexten echo "), "the terminal reads lines: {after}");
    temporary.assert_empty();
}

#[test]
fn configuration_is_not_taken() {
    let temporary = Temporary::new("configuration");
    let output = temporary.demo(&["--set", "gateway.id=x"]);
    assert_eq!(output.status.code(), Some(2));
    let every = temporary.demo(&["--every", "1ms"]);
    assert_eq!(every.status.code(), Some(2));
}
