//! Every switch of the broker's misbehaviour.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use device_sim::broker::{Broker, CutAfter, QoS, Reason, Which};
use device_sim::clock::Clock;
use rumqttc::mqttbytes::v4::{LastWill, Packet, Publish};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::client::{Raw, broker, clean, kept, payloads};
use super::{A_WHILE, SOON};

/// The length of what [`publish_numbers`] sends for one number below ten.
const PUBLISH_LENGTH: u64 = 8;

/// Publishes the numbers at QoS 1, each with its own identifier, which is one higher.
async fn publish_numbers(client: &mut Raw, numbers: std::ops::Range<u16>) {
    for n in numbers {
        client.publish("t", QoS::AtLeastOnce, n + 1, &n.to_string()).await;
    }
}

async fn pubacks(client: &mut Raw, count: usize) -> Vec<u16> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(client.receive_puback().await);
    }
    ids
}

/// Asserts that nothing but the answer to a ping arrives.
async fn assert_silent(client: &mut Raw) {
    client.send(Packet::PingReq).await;
    assert_eq!(client.receive().await, Packet::PingResp);
}

#[tokio::test]
async fn turned_away_connections_are_accepted_and_closed() {
    let broker = broker().await;
    let mut before = Raw::join(broker.address(), "before").await;
    broker.faults().turn_away(true);
    Raw::open(broker.address()).await.assert_closed().await;
    assert_silent(&mut before).await;
    broker.faults().turn_away(false);
    Raw::join(broker.address(), "after").await;
    assert_eq!(broker.counts().turned_away, 1);
}

#[tokio::test]
async fn refusals_have_the_codes_of_the_specification() {
    // MQTT 3.1.1 §3.2.2.3, Table 3.1
    let broker = broker().await;
    let table = [
        (Reason::UnsupportedProtocolVersion, 1),
        (Reason::ClientIdentifierNotValid, 2),
        (Reason::ServerUnavailable, 3),
        (Reason::BadUserNameOrPassword, 4),
        (Reason::NotAuthorized, 5),
        (Reason::QuotaExceeded, 3),
    ];
    for (refusal, code) in table {
        broker.faults().refuse(Some(refusal));
        let mut client = Raw::open(broker.address()).await;
        client.send(Packet::Connect(clean("a"))).await;
        assert_eq!(client.rest().await, [0x20, 2, 0, code], "{refusal:?}");
    }
    broker.faults().refuse(None);
    Raw::join(broker.address(), "a").await;
}

#[tokio::test]
async fn broker_that_is_down_refuses_tcp_and_comes_back_with_its_sessions() {
    let broker = broker().await;
    let mut connect = kept("a");
    connect.last_will = Some(LastWill::new("will", "gone", QoS::AtMostOnce, false));
    let (mut client, _) = Raw::connect(broker.address(), connect).await;
    let retained = Publish { retain: true, ..Publish::new("r", QoS::AtMostOnce, "kept") };
    client.send(Packet::Publish(retained)).await;
    assert_silent(&mut client).await;
    for _ in 0..3 {
        broker.down().await.unwrap();
        let refused = TcpStream::connect(broker.address()).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(broker.counts().connected, 0);
        broker.down().await.unwrap();
        broker.up().await.unwrap();
        broker.up().await.unwrap();
        client.assert_closed().await;
        let present;
        (client, present) = Raw::connect(broker.address(), kept("a")).await;
        assert!(present);
    }
    client.subscribe("r", QoS::AtMostOnce).await;
    assert_eq!(client.receive_publish().await.payload, "kept");
    assert_eq!(broker.counts().wills, 0);
}

#[tokio::test]
async fn broker_goes_down_while_other_threads_start_processes() {
    let broker = broker().await;
    let stop = Arc::new(AtomicBool::new(false));
    let forks: Vec<_> = (0..2)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert!(std::process::Command::new("true").status().unwrap().success());
                }
            })
        })
        .collect();
    for _ in 0..200 {
        broker.down().await.unwrap();
        let refused = TcpStream::connect(broker.address()).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        broker.up().await.unwrap();
        Raw::join(broker.address(), "a").await;
    }
    stop.store(true, Ordering::Relaxed);
    for fork in forks {
        fork.join().unwrap();
    }
}

#[tokio::test]
async fn broker_that_goes_down_leaves_nobody_who_reads() {
    let broker = broker().await;
    let mut client = Raw::join(broker.address(), "a").await;
    broker.down().await.unwrap();
    // Half of the time for which a connection that the broker closes in peace may linger.
    let reset = tokio::time::timeout(Duration::from_millis(2_500), async {
        while client.stream.write_all(&[0xc0, 0]).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    reset.await.expect("writing has to fail");
}

#[tokio::test]
async fn all_pubacks_are_dropped() {
    let broker = broker().await;
    broker.faults().drop_pubacks(Which::All);
    let mut client = Raw::join(broker.address(), "a").await;
    publish_numbers(&mut client, 0..5).await;
    assert_silent(&mut client).await;
    let counts = broker.counts();
    assert_eq!((counts.publishes, counts.pubacks, counts.pubacks_dropped), (5, 0, 5));
    broker.faults().drop_pubacks(Which::None);
    publish_numbers(&mut client, 5..6).await;
    assert_eq!(pubacks(&mut client, 1).await, [6]);
}

#[tokio::test]
async fn every_nth_puback_is_dropped() {
    let broker = broker().await;
    broker.faults().drop_pubacks(Which::EveryNth(3));
    let mut client = Raw::join(broker.address(), "a").await;
    publish_numbers(&mut client, 0..7).await;
    assert_eq!(pubacks(&mut client, 5).await, [1, 2, 4, 5, 7]);
    assert_silent(&mut client).await;
}

#[tokio::test]
async fn delayed_pubacks_arrive_later_and_other_packets_do_not() {
    let broker = broker().await;
    let delay = Duration::from_millis(200);
    broker.faults().delay_pubacks(delay);
    let mut client = Raw::join(broker.address(), "a").await;
    let clock = Clock::start();
    publish_numbers(&mut client, 0..3).await;
    assert_silent(&mut client).await;
    assert_eq!(pubacks(&mut client, 3).await, [1, 2, 3]);
    assert!(clock.now().as_micros() >= 200_000, "{:?}", clock.now());
    broker.faults().delay_pubacks(SOON);
    publish_numbers(&mut client, 3..4).await;
    assert_silent(&mut client).await;
    broker.faults().delay_pubacks(Duration::ZERO);
    assert_eq!(pubacks(&mut client, 1).await, [4], "switching off lets go");
}

#[tokio::test]
async fn pubacks_are_reordered_in_groups() {
    let broker = broker().await;
    broker.faults().reorder_pubacks(3);
    let mut client = Raw::join(broker.address(), "a").await;
    publish_numbers(&mut client, 0..7).await;
    assert_eq!(pubacks(&mut client, 7).await, [3, 2, 1, 6, 5, 4, 7]);
}

#[tokio::test]
async fn connection_is_cut_after_packets_each_time() {
    let broker = broker().await;
    broker.faults().cut_each(CutAfter::Packets(3));
    for n in 1..=2 {
        let mut client = Raw::join(broker.address(), "a").await;
        let mut bytes = bytes::BytesMut::new();
        for id in 1..=5 {
            super::client::publish("t", QoS::AtLeastOnce, id, "x").write(&mut bytes, 1000).unwrap();
        }
        client.send_bytes(&bytes).await;
        client.assert_closed().await;
        let counts = broker.wait_for(SOON, |counts| counts.cuts == n).await.unwrap();
        assert_eq!(counts.publishes, 2 * n, "the CONNECT is the first of the three");
    }
    broker.faults().cut_none();
    assert_survives(&broker).await;
}

#[tokio::test]
async fn connection_is_cut_within_a_packet_once() {
    let broker = broker().await;
    let mut client = Raw::join(broker.address(), "a").await;
    broker.faults().cut_once(CutAfter::Bytes(2 * PUBLISH_LENGTH + 3));
    publish_numbers(&mut client, 0..4).await;
    let rest = client.rest().await;
    assert!(rest.len() <= 8, "no third PUBACK: {rest:?}");
    broker.wait_for(SOON, |counts| counts.cuts == 1).await.unwrap();
    assert_eq!(payloads(&broker), ["0", "1"]);
    assert_survives(&broker).await;
    assert_eq!(broker.counts().cuts, 1);
}

#[tokio::test]
async fn connection_is_cut_within_what_the_broker_sends() {
    let broker = broker().await;
    let mut client = Raw::join(broker.address(), "a").await;
    broker.faults().cut_once(CutAfter::SentBytes(6));
    publish_numbers(&mut client, 0..4).await;
    assert_eq!(client.rest().await, [0x40, 2, 0, 1, 0x40, 2]);
    broker.wait_for(SOON, |counts| counts.cuts == 1).await.unwrap();
    assert_survives(&broker).await;
}

#[tokio::test]
async fn only_one_of_two_connections_is_cut_once() {
    let broker = broker().await;
    let mut clients =
        [Raw::join(broker.address(), "a").await, Raw::join(broker.address(), "b").await];
    broker.faults().cut_once(CutAfter::Packets(2));
    for client in &mut clients {
        publish_numbers(client, 0..1).await;
        assert_eq!(pubacks(client, 1).await, [1]);
    }
    let [mut first, mut second] = clients;
    publish_numbers(&mut first, 1..2).await;
    first.assert_closed().await;
    publish_numbers(&mut second, 1..4).await;
    assert_eq!(pubacks(&mut second, 3).await, [2, 3, 4]);
}

#[tokio::test]
async fn cut_is_a_network_failure_with_a_will() {
    let broker = broker().await;
    let mut connect = clean("a");
    connect.last_will = Some(LastWill::new("will", "gone", QoS::AtMostOnce, false));
    let (client, _) = Raw::connect(broker.address(), connect).await;
    broker.faults().cut_all();
    client.assert_closed().await;
    let counts = broker.wait_for(SOON, |counts| counts.cuts == 1).await.unwrap();
    assert_eq!(counts.wills, 1);
    assert_survives(&broker).await;
}

#[tokio::test]
async fn stalled_broker_reads_nothing_and_does_not_enforce_keep_alive() {
    let broker = broker().await;
    let mut connect = clean("a");
    connect.keep_alive = 1;
    let (mut client, _) = Raw::connect(broker.address(), connect).await;
    broker.faults().stall_reading(true);
    // The connection may be in the middle of one read when the switch turns.
    publish_numbers(&mut client, 0..1).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let _something_else_happens = Raw::open(broker.address()).await;
    publish_numbers(&mut client, 1..2).await;
    broker
        .wait_for(A_WHILE, |counts| counts.publishes == 2 || counts.timeouts > 0)
        .await
        .expect_err("a stalled broker does nothing");
    broker.faults().stall_reading(false);
    assert_eq!(pubacks(&mut client, 2).await, [1, 2]);
}

#[tokio::test]
async fn forgetting_broker_loses_sessions_and_retained_messages() {
    let broker = broker().await;
    let (mut client, _) = Raw::connect(broker.address(), kept("a")).await;
    let retained = Publish { retain: true, ..Publish::new("r", QoS::AtMostOnce, "lost") };
    client.send(Packet::Publish(retained)).await;
    assert_silent(&mut client).await;
    broker.faults().forget_everything();
    client.assert_closed().await;
    let (mut client, present) = Raw::connect(broker.address(), kept("a")).await;
    assert!(!present);
    client.subscribe("r", QoS::AtMostOnce).await;
    assert_silent(&mut client).await;
}

#[tokio::test]
async fn cleared_faults_are_all_off() {
    let broker = broker().await;
    let faults = broker.faults().clone();
    faults.turn_away(true);
    faults.refuse(Some(Reason::NotAuthorized));
    faults.drop_pubacks(Which::All);
    faults.delay_pubacks(SOON);
    faults.reorder_pubacks(10_000);
    faults.cut_each(CutAfter::Packets(1));
    faults.stall_reading(true);
    faults.clear();
    assert_survives(&broker).await;
}

/// A new client gets all its answers.
async fn assert_survives(broker: &Broker) {
    let mut client = Raw::join(broker.address(), "survivor").await;
    publish_numbers(&mut client, 0..9).await;
    assert_eq!(pubacks(&mut client, 9).await, (1..=9).collect::<Vec<_>>());
}
