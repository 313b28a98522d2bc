//! The session against a broker that is a few lines of this file, in virtual time.

use std::collections::BTreeMap;

use proto::Rng;
use rumqttc::mqttbytes::v4::{ConnAck, PubAck};

use super::*;

const ACK_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const START: Instant = Instant::from_micros(1_000_000);

fn options(window: u16) -> SessionOptions {
    SessionOptions {
        client_id: "g".to_owned(),
        login: Some(("user".to_owned(), "secret".to_owned())),
        keep_alive: KEEP_ALIVE,
        ack_timeout: ACK_TIMEOUT,
        window,
        status_topic: "gateway/g/status".to_owned(),
    }
}

fn publish(n: u64) -> Publish {
    let payload = Bytes::from(n.to_string());
    Publish { topic: "t".to_owned(), payload, qos: QoS::AtLeastOnce, retain: false }
}

fn bytes(packet: &Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, usize::MAX).unwrap();
    bytes
}

fn connack(code: ConnectReturnCode) -> BytesMut {
    bytes(&Packet::ConnAck(ConnAck { session_present: false, code }))
}

fn puback(id: u16) -> BytesMut {
    bytes(&Packet::PubAck(PubAck::new(id)))
}

/// What the session sends now.
fn sent(session: &mut Session) -> Vec<Packet> {
    let mut bytes = session.outgoing().split();
    std::iter::from_fn(|| Packet::read(&mut bytes, usize::MAX).ok()).collect()
}

/// A session that the broker has accepted, its first status acknowledged.
fn connected(window: u16, next: u64) -> Session {
    let mut session = Session::new(options(window), next);
    session.handle_connected(START).unwrap();
    session.handle_bytes(START, &connack(ConnectReturnCode::Success)).unwrap();
    for packet in sent(&mut session) {
        if let Packet::Publish(status) = packet {
            session.handle_bytes(START, &puback(status.pkid)).unwrap();
        }
    }
    session
}

fn send(session: &mut Session, n: u64) -> u16 {
    session.begin(n, 1, START);
    session.publish(START, n, publish(n), false).unwrap();
    match &sent(session)[..] {
        [Packet::Publish(publish)] => publish.pkid,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_gateway_introduces_itself_with_a_will_and_says_online() {
    let mut session = Session::new(options(10), 1);
    session.handle_connected(START).unwrap();
    let [Packet::Connect(connect)] = &sent(&mut session)[..] else { panic!("CONNECT") };
    let will = connect.last_will.as_ref().unwrap();
    assert_eq!(
        (&*will.topic, &will.message[..], will.retain),
        ("gateway/g/status", &b"offline"[..], true)
    );
    assert_eq!(connect.login.as_ref().unwrap().password, "secret");
    assert!(connect.clean_session && connect.keep_alive == 30 && !session.has_room());
    session.handle_bytes(START, &connack(ConnectReturnCode::Success)).unwrap();
    let [Packet::Publish(status)] = &sent(&mut session)[..] else { panic!("PUBLISH") };
    assert_eq!(
        (&*status.topic, &status.payload[..], status.retain),
        ("gateway/g/status", &b"online"[..], true)
    );
    assert!(session.has_room());
}

#[test]
fn a_refusal_says_what_to_do() {
    let mut session = Session::new(options(10), 1);
    session.handle_connected(START).unwrap();
    let refused = connack(ConnectReturnCode::BadUserNamePassword);
    let error = session.handle_bytes(START, &refused).unwrap_err();
    assert!(error.to_string().contains("password_file"), "{error}");
}

#[test]
fn a_publish_waits_for_room_in_the_window() {
    let mut session = connected(2, 1);
    let first = send(&mut session, 1);
    send(&mut session, 2);
    assert!(!session.has_room());
    session.handle_bytes(START, &puback(first)).unwrap();
    assert!(session.has_room() && session.released() == 2);
}

#[test]
fn acknowledgements_split_anywhere_are_understood() {
    let mut session = connected(10, 1);
    let ids = [send(&mut session, 1), send(&mut session, 2)];
    let acks = [puback(ids[0]), puback(ids[1])].concat();
    for byte in acks {
        session.handle_bytes(START, &[byte]).unwrap();
    }
    assert_eq!((session.released(), session.is_idle()), (3, true));
}

#[test]
fn what_a_broker_must_not_send_ends_the_connection() {
    let unknown = puback(9);
    let early = bytes(&Packet::PingResp);
    let mut session = connected(10, 1);
    assert!(matches!(session.handle_bytes(START, &unknown), Err(SessionError::Unexpected(_))));
    assert!(matches!(
        connected(10, 1).handle_bytes(START, b"\xff\xff\xff\xff\xff\xff"),
        Err(SessionError::Codec(_))
    ));
    let mut session = Session::new(options(10), 1);
    session.handle_connected(START).unwrap();
    assert!(matches!(session.handle_bytes(START, &early), Err(SessionError::Unexpected(_))));
}

#[test]
fn silence_of_the_broker_is_noticed_at_the_deadline() {
    // No CONNACK.
    let mut session = Session::new(options(10), 1);
    session.handle_connected(START).unwrap();
    assert_eq!(session.deadline(), START + ACK_TIMEOUT);
    assert!(matches!(session.handle_timeout(session.deadline()), Err(SessionError::Silent(_))));
    // No PUBACK, though the broker answers pings.
    let mut session = connected(10, 1);
    send(&mut session, 1);
    assert_eq!(session.deadline(), START + ACK_TIMEOUT);
    let pong = bytes(&Packet::PingResp);
    session.handle_bytes(START + ACK_TIMEOUT / 2, &pong).unwrap();
    let overdue = session.handle_timeout(START + ACK_TIMEOUT);
    assert!(matches!(overdue, Err(SessionError::Unacknowledged(_))), "{overdue:?}");
}

#[test]
fn a_slow_broker_is_waited_for_as_long_as_it_goes_on() {
    let mut session = connected(10, 1);
    let ids: Vec<u16> = (1..=5).map(|n| send(&mut session, n)).collect();
    let mut now = START;
    for id in &ids[..4] {
        now = now + ACK_TIMEOUT * 3 / 4;
        session.handle_timeout(now).unwrap();
        session.handle_bytes(now, &puback(*id)).unwrap();
    }
    let overdue = session.handle_timeout(now + ACK_TIMEOUT);
    assert!(matches!(overdue, Err(SessionError::Unacknowledged(_))), "{overdue:?}");
}

#[test]
fn a_quiet_connection_is_kept_alive_and_a_dead_one_noticed() {
    let mut session = connected(10, 1);
    let ping = session.deadline();
    assert_eq!(ping, START + KEEP_ALIVE);
    session.handle_timeout(ping).unwrap();
    assert_eq!(sent(&mut session), [Packet::PingReq]);
    session.handle_bytes(ping, &bytes(&Packet::PingResp)).unwrap();
    let next = session.deadline();
    session.handle_timeout(next).unwrap();
    assert_eq!(sent(&mut session), [Packet::PingReq]);
    assert_eq!(session.deadline(), next + ACK_TIMEOUT);
    assert!(matches!(session.handle_timeout(session.deadline()), Err(SessionError::Silent(_))));
}

#[test]
fn leaving_is_said() {
    let mut session = connected(10, 1);
    session.publish_status(START, "offline").unwrap();
    session.disconnect().unwrap();
    assert!(matches!(&sent(&mut session)[..], [Packet::Publish(_), Packet::Disconnect]));
}

/// Acknowledgements come late, out of order, or not at all, and the connection is cut at any byte:
/// over many seeds every record arrives, first arrivals are in order, and nothing is released that
/// the broker has not acknowledged.
#[test]
fn every_record_arrives_over_any_cuts() {
    const RECORDS: u64 = 200;
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let mut next = 1;
        let mut arrived: BTreeMap<u64, u32> = BTreeMap::new();
        let mut first_arrivals = Vec::new();
        let mut connections = 0;
        while next <= RECORDS {
            connections += 1;
            assert!(connections < 2000, "seed {seed}: no progress beyond {next}");
            let window = u16::try_from(1 + rng.below(20)).unwrap();
            let mut session = connected(window, next);
            let mut position = next;
            let mut unacknowledged: Vec<(u16, u64)> = Vec::new();
            let mut acknowledged = Vec::new();
            let mut budget = 1 + rng.below(2000);
            loop {
                while session.has_room() && position <= RECORDS {
                    session.begin(position, 1, START);
                    session.publish(START, position, publish(position), false).unwrap();
                    position += 1;
                }
                let mut stream = session.outgoing().split();
                let cut = stream.len() as u64 > budget;
                if cut {
                    stream.truncate(usize::try_from(budget).unwrap());
                }
                budget = budget.saturating_sub(stream.len() as u64);
                while let Ok(Packet::Publish(publish)) = Packet::read(&mut stream, usize::MAX) {
                    let n = std::str::from_utf8(&publish.payload).unwrap().parse().unwrap();
                    let count = arrived.entry(n).or_default();
                    *count += 1;
                    if *count == 1 {
                        first_arrivals.push(n);
                    }
                    unacknowledged.push((publish.pkid, n));
                }
                if cut || unacknowledged.is_empty() {
                    break;
                }
                let chosen = rng.below(unacknowledged.len() as u64);
                let (id, n) = unacknowledged.remove(usize::try_from(chosen).unwrap());
                acknowledged.push(n);
                session.handle_bytes(START, &puback(id)).unwrap();
                let released = session.released();
                assert!((next..released).all(|n| acknowledged.contains(&n)), "seed {seed}");
                budget = budget.saturating_sub(4);
                if budget == 0 {
                    break;
                }
            }
            next = session.released();
        }
        assert!((1..=RECORDS).all(|n| arrived.contains_key(&n)), "seed {seed}");
        assert!(first_arrivals.is_sorted(), "seed {seed}: {first_arrivals:?}");
    }
}
