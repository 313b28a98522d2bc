use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use device_sim::fault::{Fate, Impairment, RelayConfig, UdpRelay};
use device_sim::plugtest::{PlugtestConfig, PlugtestServer};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::finish;

const SOON: Duration = Duration::from_secs(20);

/// A server that sends every datagram back.
async fn echo() -> (SocketAddr, tokio::task::JoinSet<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            socket.send_to(buffer.get(..len).unwrap_or_default(), from).await.unwrap();
        }
    });
    (address, tasks)
}

async fn relay(target: SocketAddr, seed: u64) -> UdpRelay {
    UdpRelay::start(RelayConfig { target, seed, fates: None }).await.unwrap()
}

async fn client(relay: &UdpRelay) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(relay.address()).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let len = timeout(SOON, socket.recv(&mut buffer)).await.expect("a datagram").unwrap();
    buffer.truncate(len);
    buffer
}

#[tokio::test]
async fn libcoap_gets_every_answer_through_a_loss_of_thirty_percent() {
    let config = PlugtestConfig { bind: "127.0.0.1:0".to_owned(), ..PlugtestConfig::default() };
    let server = PlugtestServer::start(config).await.unwrap();
    let relay = relay(server.address(), 4).await;
    relay.set_impairment(Impairment { loss: 0.3, ..Impairment::default() });
    let get = async || {
        let mut command = Command::new("coap-client-notls");
        command.args(["-B", "20"]).arg(format!("coap://{}/test", relay.address()));
        finish(command).await.stdout
    };
    for _ in 0..4 {
        let printed = get().await;
        let printed = String::from_utf8_lossy(&printed);
        assert!(printed.starts_with("the default test resource"), "{printed}");
    }
    assert!(relay.taken() > 0);
}

#[tokio::test]
async fn clients_of_a_relay_do_not_get_the_answers_of_others() {
    let (address, _tasks) = echo().await;
    let relay = relay(address, 1).await;
    let (one, other) = (client(&relay).await, client(&relay).await);
    for round in 0..10_u8 {
        one.send(&[1, round]).await.unwrap();
        other.send(&[2, round]).await.unwrap();
        assert_eq!(receive(&one).await, [1, round]);
        assert_eq!(receive(&other).await, [2, round]);
    }
}

#[tokio::test]
async fn nothing_passes_a_partition_and_everything_after_it() {
    let (address, _tasks) = echo().await;
    let (fates, mut told) = mpsc::channel(16);
    let config = RelayConfig { target: address, seed: 1, fates: Some(fates) };
    let relay = UdpRelay::start(config).await.unwrap();
    let client = client(&relay).await;
    let mut send = async |datagram: &[u8]| {
        client.send(datagram).await.unwrap();
        timeout(SOON, told.recv()).await.unwrap().unwrap()
    };
    let fate = |datagram: &[u8], arrives| Fate { datagram: datagram.to_vec(), arrives };
    assert_eq!(send(b"before").await, fate(b"before", true));
    assert_eq!(receive(&client).await, b"before");
    relay.set_impairment(Impairment { partition: true, ..Impairment::default() });
    assert_eq!(send(b"within").await, fate(b"within", false));
    relay.set_impairment(Impairment::default());
    assert_eq!(send(b"after").await, fate(b"after", true));
    assert_eq!(receive(&client).await, b"after");
    assert_eq!(relay.taken(), 1);
}

#[tokio::test]
async fn a_seed_decides_what_a_client_loses() {
    let (address, _tasks) = echo().await;
    let lost_by = async |seed: u64| {
        let (fates, mut told) = mpsc::channel(1);
        let config = RelayConfig { target: address, seed, fates: Some(fates) };
        let relay = UdpRelay::start(config).await.unwrap();
        relay.set_impairment(Impairment { loss: 0.3, ..Impairment::default() });
        let client = client(&relay).await;
        let mut lost = Vec::new();
        for number in 0..100_u8 {
            client.send(&[number]).await.unwrap();
            let fate = timeout(SOON, told.recv()).await.unwrap().unwrap();
            lost.extend((!fate.arrives).then_some(number));
        }
        lost
    };
    let lost = lost_by(1).await;
    assert!((10..60).contains(&lost.len()), "{lost:?}");
    assert_eq!(lost, lost_by(1).await);
    assert_ne!(lost, lost_by(2).await);
}
