//! What is not there ends a run before it begins, with exit code 69.

use device_sim::broker::{Broker, BrokerConfig};
use tokio::net::UdpSocket;

use super::{Folder, device_sim, finish, stderr};

fn scenario(target: &str, via: &str) -> String {
    format!(
        r#"
version = 1
name = "nobody"
duration = "10s"
[target]
{target}
[signals.temp]
type = "counter"
[fleets.bench]
count = 1
via = "{via}"
every = "1s"
payload = {{ format = "json", temp = "temp" }}
"#
    )
}

#[tokio::test]
async fn a_run_without_its_gateway_does_not_begin() {
    // A port that nobody listens on, and that nobody else is given meanwhile.
    let reserved = tokio::net::TcpSocket::new_v4().unwrap();
    reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = reserved.local_addr().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let folder = Folder::new();
    for (via, target) in [
        ("tcp", format!("tcp = \"{address}\"")),
        ("http", format!("http = \"http://{address}/r\"")),
        ("coap", format!("coap = \"{}\"", silent.local_addr().unwrap())),
    ] {
        let file = folder.file(&format!("{via}.toml"), &scenario(&target, via));
        let output = finish(device_sim(&["run", &file], &[])).await;
        assert_eq!(output.status.code(), Some(69), "{via}: {}", stderr(&output));
        assert!(stderr(&output).contains(&format!("`target.{via}`")), "{}", stderr(&output));
    }
}

#[tokio::test]
async fn a_run_without_its_broker_does_not_begin() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let url = broker.url();
    broker.down().await.unwrap();
    let folder = Folder::new();
    let target = format!("mqtt = \"{url}\"\nudp = \"127.0.0.1:9\"");
    let text = format!("{}\n[verify]\ntopic = \"#\"\n", scenario(&target, "udp"));
    let file = folder.file("broker.toml", &text);
    let output = finish(device_sim(&["run", &file], &[])).await;
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains(&url), "{}", stderr(&output));
}
