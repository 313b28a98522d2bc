//! The proxy, with the broker or a bare socket behind it.

use std::time::Duration;

use device_sim::broker::QoS;
use device_sim::clock::Clock;
use device_sim::proxy::Proxy;
use rumqttc::mqttbytes::v4::Packet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::SOON;
use super::client::{Raw, broker, payloads, within};

/// Both ends of a connection through a proxy.
async fn pair() -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = within(listener.accept()).await.unwrap();
    (proxy, client, server)
}

/// Waits until the proxy has cut so many connections.
async fn cuts(proxy: &Proxy, count: u64) {
    within(async {
        while proxy.cuts() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_pass_in_both_directions_and_ends_too() {
    let (_proxy, mut client, mut server) = pair().await;
    let much: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut received = Vec::new();
    let ((), ()) = within(async {
        tokio::join!(
            async {
                client.write_all(&much).await.unwrap();
                client.shutdown().await.unwrap();
            },
            async {
                server.read_to_end(&mut received).await.unwrap();
            }
        )
    })
    .await;
    assert!(received == much, "the bytes differ");
    server.write_all(b"answer after the end of the question").await.unwrap();
    server.shutdown().await.unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "answer after the end of the question");
}

#[tokio::test]
async fn cut_resets_every_open_connection_and_no_later_one() {
    let broker = broker().await;
    let proxy = Proxy::start(broker.address()).await.unwrap();
    let mut open = [Raw::join(proxy.address(), "a").await, Raw::join(proxy.address(), "b").await];
    proxy.cut_all();
    for client in &mut open {
        let error = within(client.stream.read_u8()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    cuts(&proxy, 2).await;
    broker.wait_for(SOON, |counts| counts.connected == 0).await.unwrap();
    let mut later = Raw::join(proxy.address(), "a").await;
    later.send(Packet::PingReq).await;
    assert_eq!(later.receive().await, Packet::PingResp);
    assert_eq!(proxy.cuts(), 2);
}

#[tokio::test]
async fn refused_port_is_closed_and_opens_again() {
    let broker = broker().await;
    let proxy = Proxy::start(broker.address()).await.unwrap();
    let mut open = Raw::join(proxy.address(), "open").await;
    for _ in 0..3 {
        proxy.refuse(true).await.unwrap();
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        open.send(Packet::PingReq).await;
        assert_eq!(open.receive().await, Packet::PingResp, "open connections stay");
        proxy.refuse(false).await.unwrap();
        Raw::join(proxy.address(), "again").await;
    }
}

#[tokio::test]
async fn connection_is_cut_behind_the_given_byte_once() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.cut_after_bytes(5);
    client.write_all(b"abc").await.unwrap();
    let mut received = [0; 3];
    within(server.read_exact(&mut received)).await.unwrap();
    client.write_all(b"defgh").await.unwrap();
    let mut rest = Vec::new();
    within(server.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"de");
    let mut nothing = Vec::new();
    // A reset is an end as well.
    let _ = within(client.read_to_end(&mut nothing)).await;
    cuts(&proxy, 1).await;
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn publish_that_is_cut_in_the_middle_does_not_arrive() {
    let broker = broker().await;
    let proxy = Proxy::start(broker.address()).await.unwrap();
    let mut client = Raw::join(proxy.address(), "a").await;
    proxy.cut_after_bytes(8 + 7);
    client.publish("t", QoS::AtLeastOnce, 1, "0").await;
    client.publish("t", QoS::AtLeastOnce, 2, "1").await;
    client.rest().await;
    broker.wait_for(SOON, |counts| counts.connected == 0).await.unwrap();
    assert_eq!(payloads(&broker), ["0"]);
    let mut again = Raw::join(proxy.address(), "a").await;
    again.publish("t", QoS::AtLeastOnce, 2, "1").await;
    assert_eq!(again.receive_puback().await, 2);
}

#[tokio::test]
async fn delay_holds_both_directions_and_keeps_the_order() {
    let broker = broker().await;
    let proxy = Proxy::start(broker.address()).await.unwrap();
    let mut client = Raw::join(proxy.address(), "a").await;
    let delay = Duration::from_millis(100);
    proxy.set_delay(delay);
    let clock = Clock::start();
    for id in 1..=20 {
        client.publish("t", QoS::AtLeastOnce, id, "x").await;
    }
    for id in 1..=20 {
        assert_eq!(client.receive_puback().await, id);
    }
    let passed = clock.now().saturating_since(proto::Instant::ZERO);
    assert!(passed >= 2 * delay, "{passed:?}");
    assert!(passed < 20 * delay, "{passed:?}: the delays must not add up");
    proxy.set_delay(Duration::ZERO);
    client.send(Packet::PingReq).await;
    assert_eq!(client.receive().await, Packet::PingResp);
}

#[tokio::test]
async fn retargeted_proxy_takes_new_connections_elsewhere() {
    let (one, other) = (broker().await, broker().await);
    let proxy = Proxy::start(one.address()).await.unwrap();
    let mut old = Raw::join(proxy.address(), "old").await;
    proxy.retarget(other.address());
    let mut new = Raw::join(proxy.address(), "new").await;
    old.publish("t", QoS::AtLeastOnce, 1, "to one").await;
    old.receive_puback().await;
    new.publish("t", QoS::AtLeastOnce, 1, "to the other").await;
    new.receive_puback().await;
    assert_eq!(payloads(&one), ["to one"]);
    assert_eq!(payloads(&other), ["to the other"]);
}

#[tokio::test]
async fn connection_without_a_target_is_closed() {
    let broker = broker().await;
    let proxy = Proxy::start(broker.address()).await.unwrap();
    broker.down().await.unwrap();
    Raw::open(proxy.address()).await.assert_closed().await;
    broker.up().await.unwrap();
    Raw::join(proxy.address(), "a").await;
}

#[tokio::test]
async fn shutdown_ends_the_connections() {
    let (proxy, mut client, _server) = pair().await;
    let address = proxy.address();
    proxy.shutdown().await;
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = within(client.read_to_end(&mut rest)).await;
    assert!(TcpStream::connect(address).await.is_err());
}
