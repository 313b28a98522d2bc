//! The listener against a broker that is a few lines of these files, in virtual time.

#![expect(clippy::wildcard_enum_match_arm, reason = "a listener sends few of the codecs' packets")]

mod model;
mod pairs;

use proptest::prelude::*;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::*;

const START: Instant = Instant::from_micros(1_000_000);
const ACK_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const BOTH: [Protocol; 2] = [Protocol::V4, Protocol::V5];

fn options(protocol: Protocol) -> ListenerOptions {
    ListenerOptions {
        protocol,
        client_id: "g-sub".to_owned(),
        login: None,
        keep_alive: KEEP_ALIVE,
        ack_timeout: ACK_TIMEOUT,
        keeps: false,
    }
}

/// What a listener sends, as the codecs of `rumqttc` read it: they were written by others.
#[derive(Clone, Debug, PartialEq)]
enum Sent {
    /// Whether it is clean, and Receive Maximum where it is said.
    Connect(bool, Option<u16>),
    Subscribe(u16, String),
    Unsubscribe(u16, String),
    PubAck(u16),
    PingReq,
    Disconnect,
}

/// Takes the next whole packet off `bytes`.
fn read(protocol: Protocol, bytes: &mut BytesMut) -> Option<Sent> {
    if bytes.is_empty() {
        return None;
    }
    Some(match protocol {
        Protocol::V4 => match v4::Packet::read(bytes, usize::MAX).ok()? {
            v4::Packet::Connect(c) => Sent::Connect(c.clean_session, None),
            v4::Packet::Subscribe(s) => {
                let [filter] = &s.filters[..] else { panic!("one filter") };
                assert_eq!(filter.qos as u8, 1);
                Sent::Subscribe(s.pkid, filter.path.clone())
            }
            v4::Packet::Unsubscribe(u) => Sent::Unsubscribe(u.pkid, u.topics[0].clone()),
            v4::Packet::PubAck(ack) => Sent::PubAck(ack.pkid),
            v4::Packet::PingReq => Sent::PingReq,
            v4::Packet::Disconnect => Sent::Disconnect,
            other => panic!("a listener does not send {other:?}"),
        },
        // Its codec cannot read a DISCONNECT without content.
        Protocol::V5 if bytes.starts_with(&[0xe0, 0]) => {
            bytes.advance(2);
            Sent::Disconnect
        }
        Protocol::V5 => match v5::Packet::read(bytes, None).ok()? {
            v5::Packet::Connect(c, ..) => {
                Sent::Connect(c.clean_start, c.properties.and_then(|p| p.receive_maximum))
            }
            v5::Packet::Subscribe(s) => {
                let [filter] = &s.filters[..] else { panic!("one filter") };
                assert_eq!(
                    (filter.qos as u8, filter.nolocal, filter.preserve_retain),
                    (1, false, false)
                );
                Sent::Subscribe(s.pkid, filter.path.clone())
            }
            v5::Packet::Unsubscribe(u) => Sent::Unsubscribe(u.pkid, u.filters[0].clone()),
            v5::Packet::PubAck(ack) => Sent::PubAck(ack.pkid),
            v5::Packet::PingReq(_) => Sent::PingReq,
            other => panic!("a listener does not send {other:?}"),
        },
    })
}

fn sent(listener: &mut Listener) -> Vec<Sent> {
    let protocol = listener.options.protocol;
    let mut bytes = listener.outgoing().split();
    let packets = std::iter::from_fn(|| read(protocol, &mut bytes)).collect();
    assert!(bytes.is_empty(), "whole packets are sent");
    packets
}

fn events(listener: &mut Listener) -> Vec<ListenerEvent> {
    std::iter::from_fn(|| listener.poll_event()).collect()
}

fn connack(protocol: Protocol, session_present: bool, properties: &[u8]) -> Vec<u8> {
    let mut body = vec![u8::from(session_present), 0];
    if protocol == Protocol::V5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    [&[0x20, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

/// SUBACK with this code, with a Reason String in MQTT 5.
fn suback(protocol: Protocol, id: u16, code: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    match protocol {
        Protocol::V4 => vec![0x90, 3, high, low, code],
        Protocol::V5 => vec![0x90, 9, high, low, 5, 0x1f, 0, 2, b'n', b'o', code],
    }
}

/// PUBLISH; without an identifier at quality of service 0.
fn publish(protocol: Protocol, topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic.bytes());
    body.extend(id.into_iter().flat_map(u16::to_be_bytes));
    if protocol == Protocol::V5 {
        body.extend([7, 0x03, 0, 4, b'a', b'/', b'b', b'c']);
    }
    body.extend(payload);
    let mut packet = vec![if id.is_some() { 0x32 } else { 0x30 }];
    let mut left = body.len();
    loop {
        let low = u8::try_from(left & 0x7f).unwrap();
        left >>= 7;
        packet.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            return [packet, body].concat();
        }
    }
}

fn connected_with(options: ListenerOptions, properties: &[u8]) -> Listener {
    let protocol = options.protocol;
    let mut listener = Listener::new(options);
    listener.handle_connected(START).unwrap();
    assert!(matches!(sent(&mut listener)[..], [Sent::Connect(..)]));
    listener.handle_bytes(START, &connack(protocol, false, properties)).unwrap();
    assert_eq!(events(&mut listener), [ListenerEvent::Connected { resumed: false }]);
    listener
}

fn connected(protocol: Protocol) -> Listener {
    connected_with(options(protocol), &[])
}

#[test]
fn the_listener_introduces_itself_and_says_how_much_it_takes() {
    for protocol in BOTH {
        for keeps in [false, true] {
            let mut listener = Listener::new(ListenerOptions { keeps, ..options(protocol) });
            listener.handle_connected(START).unwrap();
            let maximum = (protocol == Protocol::V5).then_some(MAX_UNACKNOWLEDGED);
            assert_eq!(sent(&mut listener), [Sent::Connect(!keeps, maximum)]);
            let answer = listener.handle_bytes(START, &connack(protocol, true, &[]));
            assert_eq!(answer.is_ok(), keeps, "a session that was not asked for");
            if keeps {
                let resumed = ListenerEvent::Connected { resumed: true };
                assert_eq!(events(&mut listener), [resumed]);
            }
        }
    }
}

#[test]
fn a_subscription_is_granted_or_refused_with_the_brokers_reason() {
    // MQTT 3.1.1 and 5 §3.9
    for protocol in BOTH {
        let mut listener = connected(protocol);
        listener.subscribe(START, "a/b".into()).unwrap();
        listener.subscribe(START, "c".into()).unwrap();
        let asked = [Sent::Subscribe(1, "a/b".to_owned()), Sent::Subscribe(2, "c".to_owned())];
        assert_eq!(sent(&mut listener), asked);
        let code = if protocol == Protocol::V5 { 0x87 } else { 0x80 };
        listener.handle_bytes(START, &suback(protocol, 2, code)).unwrap();
        listener.handle_bytes(START, &suback(protocol, 1, 1)).unwrap();
        let [ListenerEvent::Refused(refused, reason), ListenerEvent::Granted(granted)] =
            &events(&mut listener)[..]
        else {
            panic!("two answers")
        };
        assert_eq!((&**refused, reason.code, &**granted), ("c", code, "a/b"));
        let text = (protocol == Protocol::V5).then_some("no");
        assert_eq!(reason.text.as_deref(), text);
        listener.unsubscribe(START, "a/b").unwrap();
        assert_eq!(sent(&mut listener), [Sent::Unsubscribe(1, "a/b".to_owned())]);
        let unsuback: &[u8] = match protocol {
            Protocol::V4 => &[0xb0, 2, 0, 1],
            Protocol::V5 => &[0xb0, 4, 0, 1, 0, 0x11],
        };
        listener.handle_bytes(START, unsuback).unwrap();
        let again = listener.handle_bytes(START, unsuback);
        assert!(matches!(again, Err(SessionError::Unexpected(_))), "it was asked for once");
    }
}

#[test]
fn requests_are_bounded_and_answered_in_time() {
    let mut listener = connected(Protocol::V4);
    for i in 0..MAX_ASKED {
        assert!(listener.has_room());
        listener.subscribe(START, i.to_string().into()).unwrap();
    }
    assert!(!listener.has_room());
    assert!(matches!(listener.subscribe(START, "x".into()), Err(SessionError::NoRoom)));
    assert_eq!(listener.deadline(), START + ACK_TIMEOUT);
    let late = listener.handle_timeout(START + ACK_TIMEOUT);
    assert!(matches!(late, Err(SessionError::Silent(_))));
    // Maximum Packet Size (0x27) of 20.
    let mut listener = connected_with(options(Protocol::V5), &[0x27, 0, 0, 0, 20]);
    listener.subscribe(START, "a long topic, to say the least".into()).unwrap();
    assert!(sent(&mut listener).is_empty());
    let refused = events(&mut listener);
    assert!(
        matches!(&refused[..], [ListenerEvent::Refused(_, r)] if r.name() == "packet_too_large")
    );
}

#[test]
fn acknowledgements_wait_for_the_caller_and_keep_the_order() {
    // MQTT 5 §4.6
    for protocol in BOTH {
        let mut listener = connected(protocol);
        for id in [7, 5, 9] {
            listener.handle_bytes(START, &publish(protocol, "t", Some(id), b"x")).unwrap();
        }
        listener.handle_bytes(START, &publish(protocol, "t", None, b"y")).unwrap();
        let mut receipts = Vec::new();
        for event in events(&mut listener) {
            let ListenerEvent::Message(message, receipt) = event else { panic!("a message") };
            let content_type = (protocol == Protocol::V5).then_some("a/bc");
            assert_eq!((&*message.topic, message.content_type.as_deref()), ("t", content_type));
            receipts.push(receipt);
        }
        assert_eq!(receipts.pop(), Some(None), "none at quality of service 0");
        let [first, second, third] = receipts.into_iter().flatten().collect::<Vec<_>>()[..] else {
            panic!("three receipts")
        };
        listener.acknowledge(START, second).unwrap();
        listener.acknowledge(START, second).unwrap();
        assert!(sent(&mut listener).is_empty());
        listener.acknowledge(START, first).unwrap();
        assert_eq!(sent(&mut listener), [Sent::PubAck(7), Sent::PubAck(5)]);
        // On the next connection the receipt of the third means nothing.
        listener.handle_connected(START).unwrap();
        listener.handle_bytes(START, &connack(protocol, false, &[])).unwrap();
        listener.handle_bytes(START, &publish(protocol, "t", Some(1), b"z")).unwrap();
        sent(&mut listener);
        listener.acknowledge(START, third).unwrap();
        assert!(sent(&mut listener).is_empty());
    }
}

#[test]
fn the_connection_is_not_read_while_too_much_waits() {
    let mut listener = connected(Protocol::V4);
    let all: Vec<u8> = (1..=MAX_UNACKNOWLEDGED + 2)
        .flat_map(|id| publish(Protocol::V4, "t", Some(id), b"x"))
        .collect();
    listener.handle_bytes(START, &all).unwrap();
    assert!(!listener.wants_bytes());
    let taken = events(&mut listener);
    assert_eq!(taken.len(), usize::from(MAX_UNACKNOWLEDGED));
    // It goes on to ping, and does not take the silence for the broker's.
    let later = START + KEEP_ALIVE;
    listener.handle_timeout(later).unwrap();
    assert_eq!(sent(&mut listener), [Sent::PingReq]);
    assert!(listener.deadline() > later);
    listener.handle_timeout(later + ACK_TIMEOUT).unwrap();
    for event in taken {
        let ListenerEvent::Message(_, Some(receipt)) = event else { panic!("a message") };
        listener.acknowledge(later, receipt).unwrap();
    }
    assert!(listener.wants_bytes());
    assert_eq!(events(&mut listener).len(), 2, "what had arrived already");
}

#[test]
fn a_broker_that_takes_no_acknowledgement_is_not_read() {
    let mut listener = connected(Protocol::V4);
    let mut messages = 0;
    while listener.wants_bytes() {
        messages += 1;
        assert!(messages <= MAX_UNSENT / 4);
        listener.handle_bytes(START, &publish(Protocol::V4, "t", Some(1), b"")).unwrap();
        for event in events(&mut listener) {
            let ListenerEvent::Message(_, Some(receipt)) = event else { panic!("a message") };
            listener.acknowledge(START, receipt).unwrap();
        }
    }
    sent(&mut listener);
    assert!(listener.wants_bytes());
}

#[test]
fn a_message_that_is_too_large_is_read_over_and_acknowledged() {
    for protocol in BOTH {
        let mut listener = connected(protocol);
        let mut large = publish(protocol, "big", Some(3), &vec![b'x'; 3 * wire::MAX_INCOMING]);
        large.extend(publish(protocol, "t", Some(4), b"after"));
        for part in large.chunks(1000) {
            listener.handle_bytes(START, part).unwrap();
            assert!(listener.incoming.len() <= 2 * wire::MAX_INCOMING);
        }
        assert_eq!(sent(&mut listener), [Sent::PubAck(3)]);
        let [ListenerEvent::Oversize(topic), ListenerEvent::Message(message, _)] =
            &events(&mut listener)[..]
        else {
            panic!("both")
        };
        assert_eq!((&**topic, &message.payload[..]), ("big", &b"after"[..]));
    }
}

#[test]
fn what_a_broker_must_not_send_ends_the_connection() {
    let v5 = |property: &[u8]| {
        let length = u8::try_from(property.len()).unwrap();
        [&[0x30, 4 + length, 0, 1, b't', length], property].concat()
    };
    for (what, protocol, bytes) in [
        ("§3.3.2.1: a topic with a wildcard", Protocol::V4, vec![0x30, 3, 0, 1, b'#']),
        ("§3.3.2.1: no topic", Protocol::V4, vec![0x30, 2, 0, 0]),
        ("§3.3.1.1: DUP at quality of service 0", Protocol::V4, vec![0x38, 3, 0, 1, b't']),
        (
            "quality of service 2, which nobody asked for",
            Protocol::V4,
            vec![0x34, 5, 0, 1, b't', 0, 1],
        ),
        ("§2.2.1: identifier 0", Protocol::V4, vec![0x32, 5, 0, 1, b't', 0, 0]),
        ("§3.3: a PUBLISH that is cut", Protocol::V4, vec![0x32, 4, 0, 1, b't', 0]),
        ("§3.3.2.3.4: a topic alias", Protocol::V5, v5(&[0x23, 0, 1])),
        ("§3.3.2.3: no properties", Protocol::V5, vec![0x30, 3, 0, 1, b't']),
        ("§3.9: an unknown code", Protocol::V4, suback(Protocol::V4, 1, 3)),
        ("§3.9: for nothing", Protocol::V4, suback(Protocol::V4, 2, 0)),
        ("§3.4: PUBACK", Protocol::V4, vec![0x40, 2, 0, 1]),
        ("§2.1: a large packet that is no PUBLISH", Protocol::V4, vec![0x90, 0xff, 0xff, 0x7f]),
    ] {
        let mut listener = connected(protocol);
        listener.subscribe(START, "t".into()).unwrap();
        assert!(listener.handle_bytes(START, &bytes).is_err(), "{what}");
    }
    let mut listener = connected(Protocol::V4);
    let twice = publish(Protocol::V4, "t", Some(1), b"x").repeat(2);
    assert!(listener.handle_bytes(START, &twice).is_err(), "§2.2.1: an identifier that is in use");
}

#[test]
fn a_silent_broker_is_noticed_and_leave_is_taken() {
    for protocol in BOTH {
        let mut listener = connected(protocol);
        let pinged = listener.deadline();
        assert_eq!(pinged, START + KEEP_ALIVE);
        listener.handle_timeout(pinged).unwrap();
        assert_eq!(sent(&mut listener), [Sent::PingReq]);
        listener.handle_bytes(pinged, &[0xd0, 0]).unwrap();
        let pinged = listener.deadline();
        listener.handle_timeout(pinged).unwrap();
        assert_eq!(listener.deadline(), pinged + ACK_TIMEOUT);
        assert!(listener.handle_timeout(pinged + ACK_TIMEOUT).is_err());
        let mut listener = connected(protocol);
        listener.disconnect(START).unwrap();
        assert!(listener.is_closing());
        assert_eq!(sent(&mut listener), [Sent::Disconnect]);
    }
}

/// Packets and pieces of packets that make sense to a listener now and then.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let id = 0..4_u16;
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (
            any::<bool>(),
            proptest::option::of(id.clone()),
            proptest::collection::vec(any::<u8>(), 0..80)
        )
            .prop_map(|(is_v5, id, payload)| publish(
                BOTH[usize::from(is_v5)],
                "t",
                id,
                &payload
            )),
        (any::<bool>(), id, any::<u8>()).prop_map(|(is_v5, id, code)| suback(
            BOTH[usize::from(is_v5)],
            id,
            code
        )),
        // The beginning of a message that is too large.
        Just(vec![0x32, 0xff, 0xff, 0xff, 0x7f, 0, 1, b't', 0, 9]),
        Just(vec![0x32, 0xff, 0xff, 0x7f, 0xff, 0xff]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_that_a_broker_sends_panics_or_grows_memory(
        is_v5 in any::<bool>(),
        is_accepted in any::<bool>(),
        pieces in proptest::collection::vec(piece(), 1..60),
    ) {
        let protocol = BOTH[usize::from(is_v5)];
        let mut listener = Listener::new(options(protocol));
        listener.handle_connected(START).unwrap();
        if is_accepted {
            listener.handle_bytes(START, &connack(protocol, false, &[])).unwrap();
            listener.subscribe(START, "t".into()).unwrap();
        }
        for piece in pieces {
            if listener.handle_bytes(START, &piece).is_err() {
                return Ok(());
            }
            prop_assert!(listener.incoming.len() <= 2 * wire::MAX_INCOMING);
            for event in events(&mut listener) {
                if let ListenerEvent::Message(_, Some(receipt)) = event {
                    prop_assert!(listener.acknowledge(START, receipt).is_ok());
                }
            }
        }
    }
}
