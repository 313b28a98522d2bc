//! The program `device-sim broker` from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};

use device_sim::broker::QoS;
use rumqttc::mqttbytes::v4::{Connect, Login, Packet};
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode, Packet as Packet5};
use serde_json::json;
use tokio::net::TcpStream;

use super::client::{Raw, clean};
use super::client_5::{self, Raw5};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_device-sim"));
    command.arg("broker").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running program; it is killed when it is dropped.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    address: std::net::SocketAddr,
}

impl Running {
    /// Starts it on a free port and reads from its first line which one that is.
    fn start(arguments: &[&str]) -> Self {
        let mut command = program(&[&["--bind", "127.0.0.1:0"], arguments].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        stderr.read_line(&mut first).unwrap();
        let url = first.split("mqtt://").nth(1).unwrap_or_else(|| panic!("no address: {first}"));
        let address = url.split(';').next().unwrap().parse().unwrap();
        Self { child, stdin, stdout, stderr, address }
    }

    /// Says one line on standard input; the answer.
    fn control(&mut self, line: &str) -> serde_json::Value {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Sends a signal and returns the exit code with the rest of both outputs.
    fn end(mut self, signal: &str) -> (Option<i32>, String, String) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stdout, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, stdout } = program(arguments).output().unwrap();
    assert!(stdout.is_empty(), "errors belong on stderr");
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[tokio::test]
async fn received_messages_are_printed_as_lines_and_an_interrupt_ends_with_a_summary() {
    for signal in ["INT", "TERM"] {
        let mut running = Running::start(&["--print"]);
        let mut client = Raw::join(running.address, "a").await;
        client.publish("t/1", QoS::AtLeastOnce, 1, "21.5").await;
        assert_eq!(running.line(), "t/1 21.5\n");
        client.publish("t/2", QoS::AtLeastOnce, 2, "last").await;
        client.receive_puback().await;
        client.receive_puback().await;
        let (code, stdout, stderr) = running.end(signal);
        assert_eq!(code, Some(0));
        assert_eq!(stdout, "t/2 last\n");
        assert_eq!(stderr, "messages: 2, bytes: 8, repeated: 0, connections: 1\n");
    }
}

#[tokio::test]
async fn json_is_one_object_a_line() {
    let mut running = Running::start(&["--json"]);
    let mut client = Raw::join(running.address, "a").await;
    client.publish("t", QoS::ExactlyOnce, 1, "\"quoted\"").await;
    let object: serde_json::Value = serde_json::from_str(&running.line()).unwrap();
    assert_eq!(object["topic"], "t");
    assert_eq!(object["payload"], "\"quoted\"");
    assert_eq!(object["qos"], 2);
    assert_eq!(running.end("INT").0, Some(0));
}

#[tokio::test]
async fn without_print_nothing_is_on_stdout() {
    let running = Running::start(&[]);
    let mut client = Raw::join(running.address, "a").await;
    client.publish("t", QoS::AtLeastOnce, 1, "x").await;
    client.receive_puback().await;
    let (code, stdout, stderr) = running.end("INT");
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.starts_with("messages: 1,"), "{stderr}");
}

#[tokio::test]
async fn reader_that_goes_away_ends_it_quietly() {
    let mut running = Running::start(&["--print"]);
    let mut client = Raw::join(running.address, "a").await;
    client.publish("t", QoS::AtMostOnce, 0, "x").await;
    assert_eq!(running.line(), "t x\n");
    let (reader, _writer) = std::io::pipe().unwrap();
    drop(std::mem::replace(&mut running.stdout, BufReader::new(reader_as_stdout(reader))));
    client.publish("t", QoS::AtMostOnce, 0, "y").await;
    let mut stderr = String::new();
    running.stderr.read_to_string(&mut stderr).unwrap();
    assert!(stderr.starts_with("messages: 2,"), "{stderr}");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

fn reader_as_stdout(reader: std::io::PipeReader) -> ChildStdout {
    ChildStdout::from(std::os::fd::OwnedFd::from(reader))
}

#[tokio::test]
async fn interrupt_ends_it_while_its_reader_does_not_read() {
    let running = Running::start(&["--print"]);
    let mut client = Raw::join(running.address, "a").await;
    let payload = "x".repeat(10_000);
    for _ in 0..100 {
        client.publish("t", QoS::AtMostOnce, 0, &payload).await;
    }
    client.send(Packet::PingReq).await;
    client.receive().await;
    let kill = format!("kill -INT {}", running.child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let mut running = running;
    let mut stderr = String::new();
    running.stderr.read_to_string(&mut stderr).unwrap();
    assert!(stderr.starts_with("messages: 100,"), "{stderr}");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn last_lines_are_printed_after_an_interrupt() {
    let running = Running::start(&["--print"]);
    let mut client = Raw::join(running.address, "a").await;
    let payload = "x".repeat(10_000);
    for _ in 0..100 {
        client.publish("t", QoS::AtLeastOnce, 1, &payload).await;
        client.receive_puback().await;
    }
    let (code, stdout, _) = running.end("INT");
    assert_eq!(code, Some(0));
    assert_eq!(stdout.lines().count(), 100);
}

#[tokio::test]
async fn password_comes_from_a_file() {
    let file = file("password", "secret\r\n");
    let running = Running::start(&["--user", "u", "--password-file", file.to_str().unwrap()]);
    let mut stranger = Raw::open(running.address).await;
    stranger.send(Packet::Connect(clean("a"))).await;
    assert_eq!(stranger.rest().await, [0x20, 2, 0, 5]);
    let login = Some(Login::new("u", "secret"));
    Raw::connect(running.address, Connect { login, ..clean("a") }).await;
    let (_, _, stderr) = running.end("INT");
    assert!(stderr.contains("refused connections: 1"), "{stderr}");
}

#[test]
fn occupied_port_is_explained() {
    let running = Running::start(&[]);
    let (code, stderr) = failed(&["--bind", &running.address.to_string()]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: cannot listen on 127.0.0.1:"), "{stderr}");
    assert!(stderr.contains("--bind 127.0.0.1:0"), "{stderr}");
}

#[test]
fn address_without_a_port_is_explained() {
    let (code, stderr) = failed(&["--bind", "localhost"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("ADDRESS:PORT"), "{stderr}");
}

#[test]
fn unreadable_password_file_is_named() {
    let (code, stderr) = failed(&["--user", "u", "--password-file", "/does/not/exist"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("/does/not/exist"), "{stderr}");
}

#[test]
fn half_a_login_is_a_usage_error() {
    assert_eq!(failed(&["--user", "u"]).0, Some(2));
    assert_eq!(failed(&["--password-file", "f"]).0, Some(2));
    assert_eq!(failed(&["--print", "--json"]).0, Some(2));
}

#[tokio::test]
async fn json_has_the_properties_of_mqtt_5() {
    let mut running = Running::start(&["--json"]);
    let mut client = Raw5::join(running.address, "a").await;
    let message = client_5::publish("t", QoS::AtLeastOnce, 1, "x");
    client.send(Packet5::Publish(client_5::with_alias(message.clone(), 4))).await;
    let mut message = client_5::with_alias(message, 4);
    let properties = message.properties.as_mut().unwrap();
    properties.user_properties.push(("device".to_owned(), "th-1".to_owned()));
    client.send(Packet5::Publish(message)).await;
    let first: serde_json::Value = serde_json::from_str(&running.line()).unwrap();
    assert_eq!((&first["topic_alias"], first.get("properties")), (&json!(4), None));
    let second: serde_json::Value = serde_json::from_str(&running.line()).unwrap();
    assert_eq!(second["properties"], json!({"user": [["device", "th-1"]]}));
}

#[tokio::test]
async fn faults_are_there_from_the_start() {
    let faults = ["--fault", "refuse not-authorized", "--fault", "receive-maximum 3"];
    let mut running = Running::start(&[&faults[..], &["--control", "stdin"]].concat());
    let (client, ack) = Raw5::connect(running.address, client_5::clean("a")).await;
    assert_eq!(ack.code, ConnectReturnCode::NotAuthorized);
    client.assert_closed().await;
    assert_eq!(running.control("refuse off"), json!({"control": "refuse off", "ok": true}));
    let (_client, ack) = Raw5::connect(running.address, client_5::clean("a")).await;
    assert_eq!(ack.properties.unwrap().receive_max, Some(3));
}

#[tokio::test]
async fn running_broker_is_switched_by_lines() {
    let mut running = Running::start(&["--json", "--control", "stdin"]);
    let mut client = Raw5::join(running.address, "a").await;
    assert_eq!(running.control("lie payload=\"a b\" once")["ok"], true);
    client.publish("t", QoS::AtLeastOnce, 1, "x a b y").await;
    client.receive_puback().await;
    client.publish("t", QoS::AtLeastOnce, 2, "kept").await;
    client.receive_puback().await;
    let line: serde_json::Value = serde_json::from_str(&running.line()).unwrap();
    assert_eq!((&line["payload"], &line["order"]), (&json!("kept"), &json!(0)));
    let counts = &running.control("counts")["counts"];
    assert_eq!((&counts["lies"], &counts["publishes"]), (&json!(1), &json!(1)));
    assert_eq!(running.control("disconnect server-busy packets=1")["ok"], true);
    client.publish("t", QoS::AtMostOnce, 0, "last").await;
    assert_eq!(client.receive_end().await, DisconnectReasonCode::ServerBusy);
    running.line();
    assert_eq!(running.control("clear")["ok"], true);
    assert_eq!(running.control("down")["ok"], true);
    let refused = TcpStream::connect(running.address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(running.control("up")["ok"], true);
    Raw5::join(running.address, "a").await.assert_silent().await;
    let (code, _, stderr) = running.end("INT");
    assert_eq!(code, Some(0));
    assert!(stderr.contains("forgotten messages: 1"), "{stderr}");
}

#[tokio::test]
async fn wrong_line_is_answered_and_the_end_of_the_lines_ends_nothing() {
    let mut running = Running::start(&["--control", "stdin"]);
    let answer = running.control("drop-pubacks some");
    assert_eq!(answer["ok"], false);
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("write drop-pubacks all|N|off"), "{error}");
    assert!(running.control("dwon")["error"].as_str().unwrap().contains("turn-away"));
    drop(running.stdin.take());
    Raw::join(running.address, "a").await;
    assert_eq!(running.end("TERM").0, Some(0));
}

#[test]
fn every_switch_of_the_help_is_one() {
    let output = program(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let switches = help.split("Switches, for --fault and --control:").nth(1).unwrap();
    let usages: Vec<&str> = switches
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|usage| !usage.starts_with(' ')))
        .collect();
    assert!(usages.len() >= 30, "{usages:?}");
    let mut running = Running::start(&["--control", "stdin"]);
    for usage in usages {
        let (name, arguments) = usage.split_once(' ').unwrap_or((usage, ""));
        let line = if arguments.is_empty() { name.to_owned() } else { format!("{name} off") };
        assert_eq!(running.control(&line)["ok"], true, "{line}");
    }
}

#[test]
fn wrong_fault_is_a_usage_error() {
    let (code, stderr) = failed(&["--fault", "refuse"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("refuse REASON|off"), "{stderr}");
}
