//! Mosquitto behind a WebSocket.

use crate::authority::Authority;
use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::{Mosquitto, table_of};
use crate::{config, last_failure, send};

#[test]
fn readings_arrive_over_a_websocket_with_and_without_tls() {
    let authority = Authority::new();
    let server = authority.issue("DNS:localhost");
    let trust = format!("tls.ca_file = \"{}\"\n", authority.cert().display());
    for (scheme, lines, keys) in
        [("ws", String::new(), String::new()), ("wss", server.listener(), trust)]
    {
        let mosquitto = Mosquitto::start_with(&format!("protocol websockets\n{lines}"), &[]);
        let all = mosquitto.subscribe("r/#");
        let url = format!("{scheme}://localhost:{}", mosquitto.door());
        let broker = table_of("b", &format!("\"{url}\"")) + &keys;
        let mut gateway = Gateway::start(&config(&broker));
        for value in 1..=200 {
            send(&gateway, value);
        }
        all.payload("r/d/v", b"200");
        wait_until("nothing to wait", || gateway.count("/store/pending/b") == 0);
        assert_eq!(gateway.status()["brokers"]["b"]["url"], format!("{url}/mqtt"));
        assert_eq!(gateway.sum("/brokers/b/disconnects"), 0);
        assert!(gateway.terminate().success());
    }
}

#[test]
fn a_port_that_speaks_no_websocket_is_told() {
    let mosquitto = Mosquitto::start();
    let url = mosquitto.url().replace("mqtt://", "ws://");
    let gateway = Gateway::start(&config(&table_of("b", &format!("\"{url}\""))));
    let failure = last_failure(&gateway, "websocket");
    assert!(failure.contains("closed the connection in the WebSocket's handshake"), "{failure}");
}
