//! aiocoap, a client that shares no code with ours, by `aiocoap_client.py`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::temp::port;

/// Makes the requests of `steps` one after another; what each brought.
pub(crate) fn aiocoap(server: SocketAddr, steps: &Value) -> Vec<Value> {
    run(&json!({"server": server.to_string(), "steps": steps}))
}

/// The same through a reverse proxy in front of the server, which is aiocoap's too.
pub(crate) fn aiocoap_through_proxy(server: SocketAddr, steps: &Value) -> Vec<Value> {
    // aiocoap does not tell a port that the system chose.
    run(&json!({"server": server.to_string(), "proxy": port(), "steps": steps}))
}

fn run(plan: &Value) -> Vec<Value> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = crate_folder.join("../tests/.venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup", python.display());
    let mut command = Command::new(python);
    command.arg(crate_folder.join("tests/plugtest/aiocoap_client.py")).arg(plan.to_string());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
