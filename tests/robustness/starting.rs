//! What keeps a gateway from starting, and what does not.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::serial::Cable;
use crate::harness::sim::Recorder;

/// A broker that nobody listens for, and a route to it.
const NOWHERE: &str = "[brokers.nowhere]\nurl = \"mqtt://127.0.0.1:1\"\n[routes.all]\n";
const UDP: &str = "[sources.x]\nlink = { type = \"udp\", bind = \"127.0.0.1:0\" }\n\
                   decode = { type = \"senml\" }\n";

fn expect_failure(output: &Output, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "`{part}` is missing in: {stderr}");
    }
}

#[test]
fn a_second_gateway_is_kept_out_of_the_state_directory() {
    let mut gateway = Gateway::start(&format!("{UDP}{NOWHERE}"));
    let state = gateway.dir().join("state").display().to_string();
    let holder = format!("process {}", gateway.pid());
    expect_failure(
        &gateway.run_to_end(),
        &["another gateway", &holder, &state, "gateway.state_dir"],
    );
    // The first one is not disturbed, and once it is gone, even by force, another one may start.
    gateway.status();
    gateway.kill();
    gateway.launch();
    gateway.wait_until_up();
}

#[test]
fn a_port_in_use_is_told() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = udp.local_addr().map(|address| (udp, address)).unwrap();
    let tcp = tcp.local_addr().map(|address| (tcp, address)).unwrap();
    for (kind, bind, decode) in [
        ("udp", format!("\"{}\"", udp.1), "decode = { type = \"senml\" }\n"),
        ("tcp", format!("\"{}\"", tcp.1), "decode = { type = \"senml\" }\n"),
        ("coap", format!("[\"{}\"]", udp.1), ""),
    ] {
        let source =
            format!("[sources.x]\nlink = {{ type = \"{kind}\", bind = {bind} }}\n{decode}");
        let output = Gateway::new(&format!("{source}{NOWHERE}")).run_to_end();
        let address = bind.trim_matches(['[', ']', '"']);
        expect_failure(&output, &["source `x`", address, "another program has it", "link.bind"]);
    }
}

#[test]
fn a_folder_for_files_that_is_not_there_is_told() {
    let source = "[sources.x]\nlink = { type = \"coap\", bind = [\"127.0.0.1:0\"], files = \"/nowhere/x\" }\n";
    let output = Gateway::new(&format!("{source}{NOWHERE}")).run_to_end();
    expect_failure(&output, &["source `x`", "/nowhere/x", "link.files", "No such file"]);
}

#[test]
fn a_state_directory_that_cannot_be_used_is_told() {
    let gateway = Gateway::new(&format!("{UDP}{NOWHERE}"));
    let dir = gateway.dir();
    let state = dir.join("state");
    // A file in its place.
    fs::write(&state, "").unwrap();
    expect_failure(&gateway.run_to_end(), &["state directory", &state.display().to_string()]);
    fs::remove_file(&state).unwrap();
    // A folder of somebody else, from a binary that everybody can read: root may do anything, and
    // becomes nobody.
    let binary = dir.join("gateway");
    fs::copy(env!("CARGO_BIN_EXE_gateway"), &binary).unwrap();
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = Command::new(binary);
    command.arg("run").arg("-c").arg(gateway.config());
    if fs::metadata(dir.path()).unwrap().uid() == 0 {
        command.uid(65_534);
    }
    let output = command.output().unwrap();
    let state = state.display().to_string();
    expect_failure(&output, &["state directory", &state, "Permission denied"]);
}

#[test]
fn an_address_of_another_machine_is_told() {
    // RFC 5737: an address for documentation, which no machine has.
    for link in
        ["type = \"udp\", bind = \"192.0.2.1:7000\"", "type = \"tcp\", bind = \"192.0.2.1:7000\""]
    {
        let source = format!("[sources.x]\nlink = {{ {link} }}\ndecode = {{ type = \"json\" }}\n");
        let output = Gateway::new(&format!("{source}{NOWHERE}")).run_to_end();
        let expected = ["192.0.2.1:7000", "this machine does not have that address", "ip address"];
        expect_failure(&output, &expected);
    }
}

#[test]
fn a_group_that_cannot_be_joined_is_told() {
    let link =
        "type = \"udp\", bind = \"0.0.0.0:0\", groups = [\"239.1.2.3\"], interface = \"no0\"";
    let source = format!("[sources.x]\nlink = {{ {link} }}\ndecode = {{ type = \"json\" }}\n");
    let output = Gateway::new(&format!("{source}{NOWHERE}")).run_to_end();
    expect_failure(&output, &["source `x`", "239.1.2.3", "no0 is not there", "link.interface"]);
}

/// Everybody may use ports below 1024 where the system's sysctl `ip_unprivileged_port_start` says so.
#[test]
fn a_port_that_needs_a_privilege_is_told() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u16>().unwrap() <= 79 {
        return;
    }
    let source = "[sources.x]\nlink = { type = \"tcp\", bind = \"127.0.0.1:79\" }\ndecode = { type = \"json\" }\n";
    let gateway = Gateway::new(&format!("{source}{NOWHERE}"));
    fs::set_permissions(gateway.dir().path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.arg("run").arg("-c").arg(gateway.config());
    if fs::metadata(gateway.dir().path()).unwrap().uid() == 0 {
        command.uid(65_534);
    }
    let output = command.output().unwrap();
    expect_failure(&output, &["127.0.0.1:79", "below 1024 need a privilege", "link.bind"]);
}

#[test]
fn a_serial_port_that_is_not_there_yet_is_waited_for() {
    let mut cable = Cable::new();
    cable.unplug();
    let broker = Recorder::start();
    let gateway = Gateway::start(&format!(
        "[sources.x]\ndevice = \"d\"\nlink = {{ type = \"serial\", path = \"{}\" }}\n\
         decode = {{ type = \"value\", name = \"v\" }}\n[brokers.b]\nurl = \"{}\"\n[routes.all]\n",
        cable.port().display(),
        broker.url()
    ));
    let told = || {
        let entries = gateway.log_entries();
        let told =
            |message: &str| message.contains("not plugged in") && message.contains("waiting");
        entries.iter().any(|entry| entry["fields"]["message"].as_str().is_some_and(told))
    };
    wait_until("the missing port to be told", told);
    assert_eq!(gateway.status()["sources"]["x"]["up"], false);
    cable.plug();
    wait_until("the port to be open", || gateway.status()["sources"]["x"]["up"] == true);
    cable.send(b"\n21.5\n");
    wait_until("the reading", || broker.readings().iter().any(|reading| reading.value == 21.5));
}
