//! The broker that Node.js programs embed.

use crate::config;
use crate::harness::aedes::Aedes;
use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;

#[test]
fn aedes_gets_every_reading_once_and_in_order() {
    const READINGS: u64 = 2_000;
    let aedes = Aedes::start();
    let gateway = Gateway::start(&config(&format!("[brokers.b]\nurl = \"{}\"", aedes.url())));
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    for value in 0..READINGS {
        assert_eq!(client.ask(&format!(r#"{{"device":"d","v":{value}}}"#)).unwrap(), "ok");
    }
    let arrived = || {
        let published = aedes.published().into_iter().filter(|p| p.topic == "r/d/v");
        published.map(|p| (p.qos, String::from_utf8(p.payload).unwrap())).collect::<Vec<_>>()
    };
    wait_until("every reading", || arrived().len() as u64 >= READINGS);
    let expected: Vec<_> = (0..READINGS).map(|value| (1, value.to_string())).collect();
    assert_eq!(arrived(), expected);
}
