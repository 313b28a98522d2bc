//! The protocol through real sockets. Its rules are tested one by one at the core; here it is what
//! needs a connection.

use std::time::Duration;

use device_sim::broker::{Broker, BrokerConfig, Login, QoS};
use device_sim::clock::Clock;
use rumqttc::mqttbytes::v4::{LastWill, Packet, PubAck};
use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError};
use tokio::task::JoinSet;

use super::client::{
    Raw, broker, clean, event_loop_client, kept, next_publish, options, payloads, within,
};
use super::{A_WHILE, SOON};

#[tokio::test]
async fn messages_of_an_event_loop_client_are_recorded_in_order() {
    let broker = broker().await;
    let mut tasks = JoinSet::new();
    let client = event_loop_client(options(broker.address(), "a"), &mut tasks);
    let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for (n, qos) in levels.into_iter().cycle().take(300).enumerate() {
        client.publish("t", qos, n % 2 == 1, n.to_string()).await.unwrap();
    }
    broker.wait_for(SOON, |counts| counts.publishes >= 300).await.unwrap();
    for (n, recorded) in broker.recorded().into_iter().enumerate() {
        assert_eq!(recorded.order, n as u64);
        assert_eq!((&*recorded.client, &*recorded.topic), ("a", "t"));
        assert_eq!(recorded.payload, n.to_string());
        assert_eq!((recorded.qos, recorded.retain), (levels[n % 3], n % 2 == 1));
        assert!(!recorded.dup && !recorded.will);
    }
    assert_eq!(broker.counts().publishes, 300);
}

#[tokio::test]
async fn subscriber_gets_every_qos_in_order() {
    let broker = broker().await;
    let (subscriber, mut events) = AsyncClient::new(options(broker.address(), "s"), 10);
    subscriber.subscribe("t/+", QoS::ExactlyOnce).await.unwrap();
    within(async {
        while !matches!(events.poll().await.unwrap(), rumqttc::Event::Incoming(Packet::SubAck(_))) {
        }
    })
    .await;
    let mut tasks = JoinSet::new();
    let publisher = event_loop_client(options(broker.address(), "p"), &mut tasks);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for n in 0..200 {
            publisher.publish("t/x", qos, false, n.to_string()).await.unwrap();
        }
        for n in 0..200 {
            let publish = next_publish(&mut events).await;
            assert_eq!((publish.qos, publish.payload), (qos, n.to_string().into()));
        }
    }
    assert_eq!(broker.counts().deliveries, 600);
}

#[tokio::test]
async fn kept_session_of_an_event_loop_client_gets_what_it_missed() {
    let broker = broker().await;
    let mut session = options(broker.address(), "s");
    session.set_clean_session(false);
    let (subscriber, mut events) = AsyncClient::new(session.clone(), 10);
    subscriber.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    within(async {
        while !matches!(events.poll().await.unwrap(), rumqttc::Event::Incoming(Packet::SubAck(_))) {
        }
    })
    .await;
    drop((subscriber, events));
    broker.wait_for(SOON, |counts| counts.connected == 0).await.unwrap();
    let mut tasks = JoinSet::new();
    let publisher = event_loop_client(options(broker.address(), "p"), &mut tasks);
    for n in 0..50 {
        publisher.publish("t", QoS::AtLeastOnce, false, n.to_string()).await.unwrap();
    }
    broker.wait_for(SOON, |counts| counts.publishes == 50).await.unwrap();
    let (_subscriber, mut events) = AsyncClient::new(session, 10);
    for n in 0..50 {
        assert_eq!(next_publish(&mut events).await.payload, n.to_string());
    }
}

#[tokio::test]
async fn unacknowledged_delivery_is_repeated_with_dup_on_the_next_connection() {
    // MQTT 3.1.1 §4.4 [MQTT-4.4.0-1]
    let broker = broker().await;
    let (mut subscriber, _) = Raw::connect(broker.address(), kept("s")).await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    subscriber.publish("t", QoS::AtMostOnce, 0, "not delivered above its QoS").await;
    let first = subscriber.receive_publish().await;
    assert_eq!(first.qos, QoS::AtMostOnce);
    subscriber.publish("t", QoS::AtLeastOnce, 5, "x").await;
    let first = subscriber.receive_publish().await;
    assert!(!first.dup);
    drop(subscriber);
    let (mut subscriber, present) = Raw::connect(broker.address(), kept("s")).await;
    assert!(present);
    let second = subscriber.receive_publish().await;
    assert!(second.dup);
    assert_eq!((second.pkid, &second.payload), (first.pkid, &first.payload));
    subscriber.send(Packet::PubAck(PubAck::new(second.pkid))).await;
    subscriber.send(Packet::Disconnect).await;
    subscriber.assert_closed().await;
    let (mut subscriber, _) = Raw::connect(broker.address(), kept("s")).await;
    subscriber.send(Packet::PingReq).await;
    assert_eq!(subscriber.receive().await, Packet::PingResp, "nothing is left to repeat");
}

#[tokio::test]
async fn violation_closes_the_connection_and_spares_the_others() {
    let broker = broker().await;
    let mut good = Raw::join(broker.address(), "good").await;
    let mut bad = Raw::join(broker.address(), "bad").await;
    bad.send_bytes(&[0x30, 3, 0, 1, b'#']).await;
    bad.assert_closed().await;
    let counts = broker.wait_for(SOON, |counts| counts.violations == 1).await.unwrap();
    assert_eq!(counts.connected, 1);
    good.send(Packet::PingReq).await;
    assert_eq!(good.receive().await, Packet::PingResp);
}

#[tokio::test]
async fn packets_before_a_violation_in_the_same_read_are_handled() {
    let broker = broker().await;
    let mut client = Raw::join(broker.address(), "a").await;
    client.send_bytes(&[0x30, 4, 0, 1, b't', b'x', 0xf0, 0, 0x30, 4, 0, 1, b't', b'y']).await;
    client.assert_closed().await;
    assert_eq!(payloads(&broker), ["x"]);
}

#[tokio::test]
async fn other_versions_are_refused_with_code_1() {
    // MQTT 3.1.1 §3.1.2.2 [MQTT-3.1.2-2]
    let broker = broker().await;
    for version in [3, 6] {
        let mut client = Raw::open(broker.address()).await;
        let connect = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', version, 2, 0, 30, 0, 1, b'c'];
        client.send_bytes(&connect).await;
        assert_eq!(client.rest().await, [0x20, 2, 0, 1]);
    }
    assert_eq!(broker.counts().refusals, 2);
}

#[tokio::test]
async fn event_loop_client_needs_the_right_login() {
    let login = Some(Login { user: "u".to_owned(), password: b"secret".to_vec() });
    let config = BrokerConfig { login, ..BrokerConfig::default() };
    assert!(!format!("{config:?}").contains("115, 101"), "a password is not shown");
    let broker = Broker::start(config).await.unwrap();
    let mut wrong = options(broker.address(), "a");
    wrong.set_credentials("u", "wrong");
    let (_client, mut events) = AsyncClient::new(wrong, 10);
    let error = within(events.poll()).await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized)),
        "{error:?}"
    );
    let mut right = options(broker.address(), "a");
    right.set_credentials("u", "secret");
    let mut tasks = JoinSet::new();
    let _client = event_loop_client(right, &mut tasks);
    broker.wait_for(SOON, |counts| counts.connects == 1).await.unwrap();
}

#[tokio::test]
async fn silent_client_is_closed_after_one_and_a_half_keep_alive_and_its_will_published() {
    // MQTT 3.1.1 §3.1.2.10 [MQTT-3.1.2-24]
    let broker = broker().await;
    let mut connect = clean("a");
    connect.keep_alive = 1;
    connect.last_will = Some(LastWill::new("status", "offline", QoS::AtLeastOnce, true));
    let (silent, _) = Raw::connect(broker.address(), connect).await;
    let clock = Clock::start();
    silent.assert_closed().await;
    let passed = clock.now().as_micros();
    assert!((1_400_000..5_000_000).contains(&passed), "{passed} µs");
    let counts = broker.counts();
    assert_eq!((counts.timeouts, counts.wills), (1, 1));
    let recorded = broker.recorded();
    assert!(recorded[0].will && recorded[0].retain);
    let mut watcher = Raw::join(broker.address(), "w").await;
    watcher.subscribe("status", QoS::AtMostOnce).await;
    let will = watcher.receive_publish().await;
    assert_eq!((will.retain, will.payload), (true, "offline".into()));
}

#[tokio::test]
async fn ping_keeps_a_client_connected() {
    let broker = broker().await;
    let mut connect = clean("a");
    connect.keep_alive = 1;
    let (mut client, _) = Raw::connect(broker.address(), connect).await;
    for _ in 0..8 {
        tokio::time::sleep(A_WHILE).await;
        client.send(Packet::PingReq).await;
        assert_eq!(client.receive().await, Packet::PingResp);
    }
    assert_eq!(broker.counts().timeouts, 0);
}

#[tokio::test]
async fn newer_connection_closes_the_older_one_of_the_same_client() {
    // MQTT 3.1.1 §3.1.4 [MQTT-3.1.4-2]
    let broker = broker().await;
    let old = Raw::join(broker.address(), "a").await;
    let mut new = Raw::join(broker.address(), "a").await;
    old.assert_closed().await;
    new.publish("t", QoS::AtLeastOnce, 1, "x").await;
    assert_eq!(new.receive_puback().await, 1);
}

#[tokio::test]
async fn packet_in_single_bytes_is_understood() {
    let broker = broker().await;
    let mut client = Raw::join(broker.address(), "a").await;
    for byte in [0x32, 6, 0, 1, b't', 0, 9, b'x'] {
        client.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.receive_puback().await, 9);
    assert_eq!(payloads(&broker), ["x"]);
}

#[tokio::test]
async fn large_message_passes_unharmed() {
    let broker = broker().await;
    let mut client = Raw::join(broker.address(), "a").await;
    client.subscribe("t", QoS::AtLeastOnce).await;
    let payload: String = (0..3_000_000_u32).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    client.publish("t", QoS::AtLeastOnce, 1, &payload).await;
    let delivered = loop {
        match client.receive().await {
            Packet::Publish(publish) => break publish.payload,
            Packet::PubAck(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(delivered == payload, "the delivery differs");
    assert!(payloads(&broker)[0] == payload, "the record differs");
}

#[tokio::test]
async fn shutdown_closes_connections_and_the_port() {
    let broker = broker().await;
    let address = broker.address();
    let client = Raw::join(address, "a").await;
    let counts = broker.shutdown().await;
    assert_eq!(counts.connects, 1);
    client.assert_closed().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_the_broker_ends_it() {
    let broker = broker().await;
    let client = Raw::join(broker.address(), "a").await;
    drop(broker);
    client.assert_closed().await;
}

#[tokio::test]
async fn occupied_address_is_an_error() {
    let broker = broker().await;
    let bind = broker.address().to_string();
    let error = Broker::start(BrokerConfig { bind, ..BrokerConfig::default() }).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn condition_that_does_not_come_true_says_how_far_it_got() {
    let broker = broker().await;
    let _client = Raw::join(broker.address(), "a").await;
    let error = broker
        .wait_for(Duration::from_millis(50), |counts| counts.publishes > 0)
        .await
        .unwrap_err();
    assert_eq!(error.counts.connects, 1);
    assert!(error.to_string().contains("publishes: 0"), "{error}");
}
