use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use device_sim::broker::{Broker, BrokerConfig};
use device_sim::clock::Clock;
use device_sim::fault::Impairment;
use device_sim::proxy::Proxy;
use proto::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::finish;

const SOON: Duration = Duration::from_secs(20);

/// A proxy and both ends of a connection through it.
async fn pair() -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (proxy, client, server)
}

#[tokio::test]
async fn mosquitto_pub_takes_as_long_as_the_bandwidth_says() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let proxy = Proxy::start(broker.address()).await.unwrap();
    let narrow = Impairment { bandwidth: "10 kB/s".parse().ok(), ..Impairment::default() };
    proxy.set_impairment(narrow);
    let payload = "x".repeat(10_000);
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &proxy.address().port().to_string()]);
    command.args(["-q", "1", "-t", "a", "-m", &payload]);
    let clock = Clock::start();
    finish(command).await;
    let took = clock.now() - Instant::ZERO;
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let recorded = broker.recorded();
    assert_eq!(recorded.iter().map(|one| one.payload.len()).collect::<Vec<_>>(), [10_000]);
}

#[tokio::test]
async fn bytes_wait_for_the_end_of_a_partition() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set_impairment(Impairment { partition: true, ..Impairment::default() });
    client.write_all(b"within").await.unwrap();
    let mut buffer = [0; 6];
    let waited = tokio::time::timeout(Duration::from_millis(200), server.read(&mut buffer)).await;
    assert!(waited.is_err(), "something came");
    proxy.set_impairment(Impairment::default());
    tokio::time::timeout(SOON, server.read_exact(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer, b"within");
}

#[tokio::test]
async fn noise_flips_a_bit_of_each_block_it_hits() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set_impairment(Impairment { corrupt: 1.0, ..Impairment::default() });
    client.write_all(&[0; 640]).await.unwrap();
    let mut buffer = [0; 640];
    tokio::time::timeout(SOON, server.read_exact(&mut buffer)).await.unwrap().unwrap();
    for block in buffer.chunks(device_sim::fault::BLOCK) {
        assert_eq!(block.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    }
}

#[tokio::test]
async fn a_cut_ends_a_connection_that_waits_for_its_bandwidth() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set_impairment(Impairment { bandwidth: "8 bit/s".parse().ok(), ..Impairment::default() });
    client.write_all(b"slowly").await.unwrap();
    let mut first = [0];
    tokio::time::timeout(SOON, server.read_exact(&mut first)).await.unwrap().unwrap();
    proxy.cut_all();
    let rest = tokio::time::timeout(SOON, server.read_to_end(&mut Vec::new())).await.unwrap();
    assert_eq!(rest.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
