//! Brokers of every kind, and every way to them: TLS, WebSockets, several addresses, a cluster. The
//! certificates are OpenSSL's.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod aedes;
mod authority;
mod failover;
#[path = "../harness.rs"]
mod harness;
mod letters;
mod misbehaving;
mod nats;
mod tls;
mod tls_files;
mod traffic;
mod websocket;

use harness::gateway::Gateway;
use harness::lines::LineClient;

/// A configuration with one source of lines, this broker and one route.
fn config(broker: &str) -> String {
    format!(
        "[sources.lines]\nlink = {{ type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }}\n\
         decode = {{ type = \"json\", device = \"device\" }}\n{broker}\n\
         [routes.all]\ntopic = \"r/{{device}}/{{name}}\"\npayload = \"value\"\n"
    )
}

/// Hands in one reading and waits until it is on disk.
fn send(gateway: &Gateway, value: u64) {
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    assert_eq!(client.ask(&format!(r#"{{"device":"d","v":{value}}}"#)).unwrap(), "ok");
}

/// What the last failure of this kind to reach the broker `b` was.
fn last_failure(gateway: &Gateway, reason: &str) -> String {
    gateway.wait_for_count(&format!("/brokers/b/disconnects/{reason}/count"), 1);
    let last = &gateway.status()["brokers"]["b"]["disconnects"][reason]["last"];
    last.as_str().unwrap().to_owned()
}
