//! The broker that Node.js programs embed.

use crate::harness::aedes::Aedes;
use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;

#[test]
fn aedes_gets_every_reading_once_and_in_order() {
    const READINGS: u64 = 2_000;
    let aedes = Aedes::start();
    let gateway = Gateway::start(&format!(
        r#"
[sources.lines]
link = {{ type = "tcp", bind = "127.0.0.1:0", reply = true }}
decode = {{ type = "senml" }}
[brokers.aedes]
url = "{}"
[routes.all]
topic = "{{device}}/{{name}}"
payload = "value"
"#,
        aedes.url()
    ));
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    for value in 0..READINGS {
        let line = format!(r#"[{{"bn":"th-1/","n":"count","v":{value}}}]"#);
        assert_eq!(client.ask(&line).unwrap(), "ok");
    }
    let arrived = || {
        let published = aedes.published().into_iter().filter(|p| p.topic == "th-1/count");
        published.map(|p| (p.qos, String::from_utf8(p.payload).unwrap())).collect::<Vec<_>>()
    };
    wait_until("every reading", || arrived().len() as u64 >= READINGS);
    let expected: Vec<_> = (0..READINGS).map(|value| (1, value.to_string())).collect();
    assert_eq!(arrived(), expected);
}
