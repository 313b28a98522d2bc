//! Ways with faults on them, seen by programs of others: libcoap's client (Debian's libcoap3-bin) and
//! mosquitto_pub (mosquitto-clients).

#![expect(clippy::unwrap_used, reason = "what a test did not expect ends it")]

mod datagrams;
mod streams;

use std::process::{Command, Output};

/// Runs a program to its end beside the tasks of the test.
async fn finish(mut command: Command) -> Output {
    let name = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}; run tests/setup"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
