//! libcoap's client (Debian's libcoap3-bin).

use std::net::SocketAddr;
use std::process::Command;

/// What it prints for a request of `path`: the payload, or for an error its code and payload.
pub(crate) fn libcoap(server: SocketAddr, path: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("coap-client-notls");
    command.args(["-B", "20"]).args(arguments).arg(format!("coap://{server}{path}"));
    let output = command.output().expect("coap-client-notls of Debian's libcoap3-bin");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = [output.stdout, output.stderr].concat();
    String::from_utf8(printed).unwrap().trim_end_matches('\n').to_owned()
}
