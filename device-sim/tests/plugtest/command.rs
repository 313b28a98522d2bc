//! The program `device-sim plugtest` from outside.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

use proto::coap::link_format::{Link, parse};

use super::libcoap::libcoap;

/// A running program; it is killed when it is dropped.
struct Running {
    child: Child,
    _stderr: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Running {
    fn start() -> Self {
        let mut command = program(&["--bind", "127.0.0.1:0"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        stderr.read_line(&mut first).unwrap();
        let url = first.split("coap://").nth(1).unwrap_or_else(|| panic!("no address: {first}"));
        let address = url.split(';').next().unwrap().parse().unwrap();
        Self { child, _stderr: stderr, address }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_device-sim"));
    command.arg("plugtest").args(arguments);
    command
}

#[test]
fn it_shows_its_address_answers_and_ends_with_an_interrupt() {
    let mut running = Running::start();
    assert_eq!(libcoap(running.address, "/test", &[]), "the default test resource");
    let kill = format!("kill -INT {}", running.child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn occupied_port_is_explained() {
    let running = Running::start();
    let output = program(&["--bind", &running.address.to_string()]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.starts_with("error: cannot listen on 127.0.0.1:"), "{stderr}");
    assert!(stderr.contains("--bind 127.0.0.1:0"), "{stderr}");
}

#[test]
fn help_names_every_resource() {
    let running = Running::start();
    let document = libcoap(running.address, "/.well-known/core", &[]);
    let output = program(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let links = parse(&document).unwrap();
    for target in links.iter().map(Link::target) {
        assert!(help.contains(target), "{target}");
    }
}
