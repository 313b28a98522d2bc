//! The session against a broker that is a few lines of these files, in virtual time.

#![expect(clippy::wildcard_enum_match_arm, reason = "a client sends few of the codecs' packets")]

mod hostile;
mod kept;
mod limits;
pub(in crate::broker) mod model;
mod pairs;
mod refusals;

use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::super::wire::Reason;
use super::*;

const ACK_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const START: Instant = Instant::from_micros(1_000_000);
const BOTH: [Protocol; 2] = [Protocol::V4, Protocol::V5];

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;
const PINGRESP: [u8; 2] = [0xd0, 0];

fn options(protocol: Protocol) -> SessionOptions {
    SessionOptions {
        protocol,
        client_id: "g".to_owned(),
        login: Some(("user".to_owned(), "secret".to_owned())),
        keep_alive: KEEP_ALIVE,
        ack_timeout: ACK_TIMEOUT,
        window: 10,
        max_packet: 1000,
        qos: QoS::AtLeastOnce,
        status_topic: "gateway/g/status".to_owned(),
    }
}

/// Options of a session that is kept.
fn kept_options(protocol: Protocol) -> SessionOptions {
    SessionOptions { qos: QoS::ExactlyOnce, window: 100, ..options(protocol) }
}

fn ticket(n: u64) -> Ticket {
    Ticket { lane: 3, part: 0, n }
}

fn message(n: u64, qos: QoS) -> Publish {
    let payload = Bytes::from(n.to_string());
    Publish { topic: "site/t".to_owned(), payload, qos, retain: false, properties: None }
}

/// What a session sends, as the codecs of `rumqttc` read it: they were written by others.
#[derive(Clone, Debug, PartialEq)]
enum Sent {
    Connect(Introduction),
    Publish(Published),
    PubRel(u16),
    PingReq,
    Disconnect { forget: bool },
}

#[derive(Clone, Debug, PartialEq)]
struct Introduction {
    client_id: String,
    clean: bool,
    keep_alive: u16,
    /// Zero in MQTT 3.1.1.
    session_expiry: u32,
    login: Option<(String, String)>,
    /// Topic, payload, quality of service, retain.
    will: Option<(String, String, u8, bool)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::broker) struct Published {
    pub(in crate::broker) id: u16,
    pub(in crate::broker) qos: u8,
    pub(in crate::broker) dup: bool,
    pub(in crate::broker) retain: bool,
    pub(in crate::broker) topic: String,
    pub(in crate::broker) payload: String,
    pub(in crate::broker) properties: Option<v5::PublishProperties>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Takes the next whole packet off `bytes`.
fn read(protocol: Protocol, bytes: &mut BytesMut) -> Option<Sent> {
    match protocol {
        Protocol::V4 => match v4::Packet::read(bytes, usize::MAX) {
            Ok(packet) => Some(of_v4(packet)),
            Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => None,
            Err(error) => panic!("{error}"),
        },
        Protocol::V5 => {
            // Its codec cannot read a DISCONNECT without content.
            if bytes.starts_with(&[0xe0, 0]) {
                bytes.advance(2);
                return Some(Sent::Disconnect { forget: false });
            }
            match v5::Packet::read(bytes, None) {
                Ok(packet) => Some(of_v5(packet)),
                Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn of_v4(packet: v4::Packet) -> Sent {
    match packet {
        v4::Packet::Connect(c) => Sent::Connect(Introduction {
            client_id: c.client_id,
            clean: c.clean_session,
            keep_alive: c.keep_alive,
            session_expiry: 0,
            login: c.login.map(|l| (l.username, l.password)),
            will: c.last_will.map(|w| (w.topic, text(&w.message), w.qos as u8, w.retain)),
        }),
        v4::Packet::Publish(p) => Sent::Publish(Published {
            id: p.pkid,
            qos: p.qos as u8,
            dup: p.dup,
            retain: p.retain,
            topic: p.topic,
            payload: text(&p.payload),
            properties: None,
        }),
        v4::Packet::PubRel(p) => Sent::PubRel(p.pkid),
        v4::Packet::PingReq => Sent::PingReq,
        v4::Packet::Disconnect => Sent::Disconnect { forget: false },
        other => panic!("a client does not send {other:?}"),
    }
}

fn of_v5(packet: v5::Packet) -> Sent {
    match packet {
        v5::Packet::Connect(c, will, login) => Sent::Connect(Introduction {
            client_id: c.client_id,
            clean: c.clean_start,
            keep_alive: c.keep_alive,
            session_expiry: c.properties.and_then(|p| p.session_expiry_interval).unwrap_or(0),
            login: login.map(|l| (l.username, l.password)),
            will: will.map(|w| (text(&w.topic), text(&w.message), w.qos as u8, w.retain)),
        }),
        v5::Packet::Publish(p) => Sent::Publish(Published {
            id: p.pkid,
            qos: p.qos as u8,
            dup: p.dup,
            retain: p.retain,
            topic: text(&p.topic),
            payload: text(&p.payload),
            properties: p.properties,
        }),
        v5::Packet::PubRel(p) => Sent::PubRel(p.pkid),
        v5::Packet::PingReq(_) => Sent::PingReq,
        v5::Packet::Disconnect(d) => {
            let expiry = d.properties.and_then(|p| p.session_expiry_interval);
            Sent::Disconnect { forget: expiry == Some(0) }
        }
        other => panic!("a client does not send {other:?}"),
    }
}

/// What the session sends now.
fn sent(session: &mut Session) -> Vec<Sent> {
    let protocol = session.options.protocol;
    let mut bytes = session.outgoing().split();
    let packets = std::iter::from_fn(|| read(protocol, &mut bytes)).collect();
    assert!(bytes.is_empty(), "whole packets are sent");
    packets
}

/// The one publish that the session sends now.
fn sent_publish(session: &mut Session) -> Published {
    match &sent(session)[..] {
        [Sent::Publish(publish)] => publish.clone(),
        other => panic!("{other:?}"),
    }
}

fn sent_connect(session: &mut Session) -> Introduction {
    match &sent(session)[..] {
        [Sent::Connect(connect)] => connect.clone(),
        other => panic!("{other:?}"),
    }
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// CONNACK; the properties are only for MQTT 5.
fn connack(protocol: Protocol, session_present: bool, code: u8, properties: &[u8]) -> Vec<u8> {
    let mut body = vec![u8::from(session_present), code];
    if protocol == Protocol::V5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    [&[0x20, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

/// PUBACK, PUBREC or PUBCOMP that says success, the same in both versions.
fn ack(kind: u8, id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [kind, 2, high, low]
}

/// Goes through CONNECT, CONNACK and the status; what the session sends besides that stays.
fn accept(session: &mut Session, session_present: bool, properties: &[u8]) {
    let protocol = session.options.protocol;
    session.handle_connected(START).unwrap();
    sent_connect(session);
    let answer = connack(protocol, session_present, 0, properties);
    session.handle_bytes(START, &answer).unwrap();
    if session.is_closing() {
        // That was the connection that discards an earlier session.
        assert_eq!(sent(session), [Sent::Disconnect { forget: false }]);
        accept(session, session_present, properties);
    }
}

/// A session that the broker has accepted, its first status acknowledged.
fn connected_with(options: SessionOptions, properties: &[u8]) -> Session {
    let mut session = Session::new(options);
    accept(&mut session, false, properties);
    let status = sent_publish(&mut session);
    if status.qos > 0 {
        session.handle_bytes(START, &ack(PUBACK, status.id)).unwrap();
    }
    assert_eq!(events(&mut session), [Event::Connected { resumed: false }]);
    assert!(session.is_idle());
    session
}

fn connected(protocol: Protocol) -> Session {
    connected_with(options(protocol), &[])
}

fn send(session: &mut Session, n: u64, qos: QoS) -> Published {
    assert!(session.has_room(qos));
    session.publish(START, ticket(n), message(n, qos), false).unwrap();
    sent_publish(session)
}

#[test]
fn the_gateway_introduces_itself_with_a_will_and_says_online() {
    for protocol in BOTH {
        let mut session = Session::new(options(protocol));
        session.handle_connected(START).unwrap();
        let will = ("gateway/g/status".to_owned(), "offline".to_owned(), 1, true);
        assert_eq!(
            sent_connect(&mut session),
            Introduction {
                client_id: "g".to_owned(),
                clean: true,
                keep_alive: 30,
                session_expiry: 0,
                login: Some(("user".to_owned(), "secret".to_owned())),
                will: Some(will),
            }
        );
        assert!(!session.has_room(QoS::AtMostOnce));
        session.handle_bytes(START, &connack(protocol, false, 0, &[])).unwrap();
        let status = sent_publish(&mut session);
        assert_eq!(
            (&*status.topic, &*status.payload, status.qos, status.retain),
            ("gateway/g/status", "online", 1, true)
        );
        assert!(session.has_room(QoS::AtLeastOnce) && !session.is_idle());
    }
}

#[test]
fn each_publish_has_one_outcome_that_bears_its_ticket() {
    for protocol in BOTH {
        let mut session = connected_with(kept_options(protocol), &[]);
        send(&mut session, 1, QoS::AtMostOnce);
        assert_eq!(events(&mut session), [Event::Acknowledged(ticket(1))], "it is on its way");
        let second = send(&mut session, 2, QoS::AtLeastOnce);
        let third = send(&mut session, 3, QoS::ExactlyOnce);
        assert_eq!((second.qos, third.qos, third.dup), (1, 2, false));
        session.handle_bytes(START, &ack(PUBREC, third.id)).unwrap();
        assert_eq!(sent(&mut session), [Sent::PubRel(third.id)]);
        assert_eq!(events(&mut session), [], "only PUBCOMP ends it");
        session.handle_bytes(START, &ack(PUBCOMP, third.id)).unwrap();
        session.handle_bytes(START, &ack(PUBACK, second.id)).unwrap();
        let outcomes = [Event::Acknowledged(ticket(3)), Event::Acknowledged(ticket(2))];
        assert_eq!(events(&mut session), outcomes);
        assert_eq!((session.take_counts(), session.is_idle()), ((3, 2), true));
    }
}

#[test]
fn a_publish_waits_for_room_in_the_window() {
    let mut session = connected_with(SessionOptions { window: 2, ..options(Protocol::V4) }, &[]);
    let first = send(&mut session, 1, QoS::AtLeastOnce);
    send(&mut session, 2, QoS::AtLeastOnce);
    assert!(!session.has_room(QoS::AtLeastOnce) && session.has_room(QoS::AtMostOnce));
    let too_many = session.publish(START, ticket(3), message(3, QoS::AtLeastOnce), false);
    assert!(matches!(too_many, Err(SessionError::NoRoom)));
    session.handle_bytes(START, &ack(PUBACK, first.id)).unwrap();
    assert!(session.has_room(QoS::AtLeastOnce));
}

#[test]
fn at_most_twenty_publishes_of_quality_of_service_2_are_under_way() {
    let mut session = connected_with(kept_options(Protocol::V4), &[]);
    let ids: Vec<u16> = (0..20).map(|n| send(&mut session, n, QoS::ExactlyOnce).id).collect();
    assert!(!session.has_room(QoS::ExactlyOnce) && session.has_room(QoS::AtLeastOnce));
    // PUBREC does not free the identifier.
    session.handle_bytes(START, &ack(PUBREC, ids[0])).unwrap();
    assert!(!session.has_room(QoS::ExactlyOnce));
    session.handle_bytes(START, &ack(PUBCOMP, ids[0])).unwrap();
    assert!(session.has_room(QoS::ExactlyOnce));
}

#[test]
fn acknowledgements_split_anywhere_are_understood() {
    for protocol in BOTH {
        let mut session = connected(protocol);
        let ids = [1, 2].map(|n| send(&mut session, n, QoS::AtLeastOnce).id);
        for byte in ids.map(|id| ack(PUBACK, id)).concat() {
            session.handle_bytes(START, &[byte]).unwrap();
        }
        assert_eq!(events(&mut session).len(), 2);
        assert!(session.is_idle());
    }
}

#[test]
fn what_a_broker_must_not_send_ends_the_connection() {
    for protocol in BOTH {
        let wrong = |bytes: &[u8]| {
            let mut session = connected_with(kept_options(protocol), &[]);
            let once = send(&mut session, 1, QoS::AtLeastOnce).id;
            let exactly = send(&mut session, 2, QoS::ExactlyOnce).id;
            assert_eq!((once, exactly), (1, 2));
            session.handle_bytes(START, bytes).unwrap_err().reason()
        };
        for bytes in [
            &ack(PUBACK, 9)[..],
            &ack(PUBACK, 2),
            &ack(PUBREC, 1),
            &ack(PUBCOMP, 1),
            &ack(PUBCOMP, 2),
            &ack(PUBACK, 0),
            &connack(protocol, false, 0, &[]),
            &[0xff; 6],
            &[0x30, 3, 0, 1, b't'],
            &[0xc0, 0],
        ] {
            assert_eq!(wrong(bytes), "protocol", "{protocol:?} {bytes:x?}");
        }
        let mut session = Session::new(options(protocol));
        session.handle_connected(START).unwrap();
        let early = session.handle_bytes(START, &PINGRESP);
        assert!(matches!(early, Err(SessionError::Unexpected(_))));
    }
}

#[test]
fn silence_of_the_broker_is_noticed_at_the_deadline() {
    // No CONNACK.
    let mut session = Session::new(options(Protocol::V4));
    session.handle_connected(START).unwrap();
    assert_eq!(session.deadline(), START + ACK_TIMEOUT);
    assert!(matches!(session.handle_timeout(session.deadline()), Err(SessionError::Silent(_))));
    for (qos, step) in [(QoS::AtLeastOnce, None), (QoS::ExactlyOnce, Some(PUBREC))] {
        // No PUBACK or PUBCOMP, though the broker answers pings.
        let mut session = connected_with(kept_options(Protocol::V4), &[]);
        let id = send(&mut session, 1, qos).id;
        if let Some(step) = step {
            session.handle_bytes(START, &ack(step, id)).unwrap();
        }
        assert_eq!(session.deadline(), START + ACK_TIMEOUT);
        session.handle_bytes(START + ACK_TIMEOUT / 2, &PINGRESP).unwrap();
        let overdue = session.handle_timeout(START + ACK_TIMEOUT);
        assert!(matches!(overdue, Err(SessionError::Unacknowledged(_))), "{overdue:?}");
    }
}

#[test]
fn a_slow_broker_is_waited_for_as_long_as_it_goes_on() {
    let mut session = connected(Protocol::V4);
    let ids: Vec<u16> = (1..=5).map(|n| send(&mut session, n, QoS::AtLeastOnce).id).collect();
    let mut now = START;
    for id in &ids[..4] {
        now = now + ACK_TIMEOUT * 3 / 4;
        session.handle_timeout(now).unwrap();
        session.handle_bytes(now, &ack(PUBACK, *id)).unwrap();
    }
    let overdue = session.handle_timeout(now + ACK_TIMEOUT);
    assert!(matches!(overdue, Err(SessionError::Unacknowledged(_))), "{overdue:?}");
}

#[test]
fn a_broker_that_passes_one_publish_over_is_noticed() {
    let mut session = connected(Protocol::V4);
    send(&mut session, 0, QoS::AtLeastOnce);
    let mut now = START;
    let overdue = loop {
        now = now + ACK_TIMEOUT / 4;
        session.publish(now, ticket(1), message(1, QoS::AtLeastOnce), false).unwrap();
        let next = sent(&mut session).into_iter().find_map(|packet| match packet {
            Sent::Publish(publish) => Some(publish),
            _ => None,
        });
        session.handle_bytes(now, &ack(PUBACK, next.unwrap().id)).unwrap();
        if let Err(error) = session.handle_timeout(now) {
            break error;
        }
    };
    assert!(matches!(overdue, SessionError::Unacknowledged(_)), "{overdue:?}");
    assert_eq!(now, START + ACK_TIMEOUT);
}

#[test]
fn a_quiet_connection_is_kept_alive_and_a_dead_one_noticed() {
    let mut session = connected(Protocol::V4);
    let ping = session.deadline();
    assert_eq!(ping, START + KEEP_ALIVE);
    session.handle_timeout(ping).unwrap();
    assert_eq!(sent(&mut session), [Sent::PingReq]);
    session.handle_bytes(ping, &PINGRESP).unwrap();
    let next = session.deadline();
    session.handle_timeout(next).unwrap();
    assert_eq!(sent(&mut session), [Sent::PingReq]);
    assert_eq!(session.deadline(), next + ACK_TIMEOUT);
    assert!(matches!(session.handle_timeout(session.deadline()), Err(SessionError::Silent(_))));
}

#[test]
fn leaving_is_said() {
    for protocol in BOTH {
        let mut session = connected(protocol);
        session.publish_status(START, "offline").unwrap();
        session.disconnect(START).unwrap();
        assert!(session.is_closing());
        let [Sent::Publish(status), Sent::Disconnect { forget: false }] = &sent(&mut session)[..]
        else {
            panic!("the status, then DISCONNECT")
        };
        assert_eq!((&*status.payload, status.retain), ("offline", true));
        // What the broker sends after that does not matter.
        session.handle_bytes(START, &[0xff; 6]).unwrap();
        assert!(session.handle_timeout(session.deadline()).is_err());
    }
}

#[test]
fn the_wire_log_shows_packets_of_both_directions_and_no_password() {
    for protocol in BOTH {
        // So short that the password would be among the bytes that are shown.
        let mut session = Session::new(SessionOptions {
            status_topic: "s".to_owned(),
            login: Some(("u".to_owned(), "secret".to_owned())),
            ..options(protocol)
        });
        session.wire_log().set(true);
        session.handle_connected(START).unwrap();
        session.handle_bytes(START, &connack(protocol, false, 0, &[])).unwrap();
        let log: Vec<crate::broker::WireEntry> =
            std::iter::from_fn(|| session.wire_log().poll()).collect();
        let kinds: Vec<_> = log.iter().map(|entry| (entry.direction, entry.kind)).collect();
        assert_eq!(
            kinds,
            [
                (Direction::ToBroker, "CONNECT"),
                (Direction::FromBroker, "CONNACK"),
                (Direction::ToBroker, "PUBLISH"),
            ]
        );
        let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        assert!(log.iter().all(|entry| !entry.hex.contains(&hex("secret"))));
        assert_eq!(log[2].topic.as_deref(), Some("s"));
        assert_eq!((log[1].reason, log[2].id, log[2].payload), (Some(0), Some(1), Some(6)));
        session.wire_log().set(false);
        session.publish_status(START, "offline").unwrap();
        assert_eq!(session.wire_log().poll(), None);
    }
}
