mod version_5;

use bytes::BytesMut;

use super::*;
use crate::broker::{Properties, QoS};

const MAX: usize = 1 << 20;

/// The first packet of a connection.
fn decoded(bytes: &[u8]) -> Result<Option<Incoming>, Violation> {
    Decoder::new(MAX, Announced::default()).decode(&mut BytesMut::from(bytes))
}

/// A CONNECT frame with this name, level, flags and payload.
fn connect(name: &str, level: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0, u8::try_from(name.len()).unwrap()];
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(&[level, flags, 0, 30]);
    body.extend_from_slice(payload);
    let mut frame = vec![0x10, u8::try_from(body.len()).unwrap()];
    frame.extend(body);
    frame
}

#[test]
fn packets_that_break_the_specification_are_violations() {
    let table: &[(&str, &[u8])] = &[
        ("§2.2.1: type 0", &[0x00, 0]),
        ("§2.2.1: type 15", &[0xf0, 0]),
        ("§2.2.1: CONNACK from a client", &[0x20, 2, 0, 0]),
        ("§2.2.1: SUBACK from a client", &[0x90, 3, 0, 1, 0]),
        ("§2.2.1: UNSUBACK from a client", &[0xb0, 2, 0, 1]),
        ("§2.2.1: PINGRESP from a client", &[0xd0, 0]),
        ("§2.2.2: SUBSCRIBE flags 0", &[0x80, 6, 0, 1, 0, 1, b'a', 0]),
        ("§2.2.2: UNSUBSCRIBE flags 0", &[0xa0, 5, 0, 1, 0, 1, b'a']),
        ("§2.2.2: PUBREL flags 0", &[0x60, 2, 0, 1]),
        ("§2.2.2: PUBACK flags 1", &[0x41, 2, 0, 1]),
        ("§2.2.2: PINGREQ flags 1", &[0xc1, 0]),
        ("§2.2.2: DISCONNECT flags 1", &[0xe1, 0]),
        ("§2.2.3: remaining length of five bytes", &[0x30, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ("§2.3.1: PUBLISH with identifier 0", &[0x32, 5, 0, 1, b'a', 0, 0]),
        ("§2.3.1: SUBSCRIBE with identifier 0", &[0x82, 6, 0, 0, 0, 1, b'a', 0]),
        ("§2.3.1: UNSUBSCRIBE with identifier 0", &[0xa2, 5, 0, 0, 0, 1, b'a']),
        ("§2.3.1: PUBACK with identifier 0", &[0x40, 2, 0, 0]),
        ("§3.3.1.1: DUP at QoS 0", &[0x38, 3, 0, 1, b'a']),
        ("§3.3.1.2: QoS 3", &[0x36, 5, 0, 1, b'a', 0, 1]),
        ("§3.3.2.1: wildcard in a topic", &[0x30, 3, 0, 1, b'#']),
        ("§4.7.3: empty topic", &[0x30, 2, 0, 0]),
        ("§1.5.3: U+0000 in a topic", &[0x30, 3, 0, 1, 0]),
        ("§1.5.3: topic is not UTF-8", &[0x30, 3, 0, 1, 0xff]),
        ("§3.3.2: topic longer than its packet", &[0x30, 3, 0, 9, b'a']),
        ("§3.3.2: no room for the identifier", &[0x32, 3, 0, 1, b'a']),
        ("§3.4: PUBACK of three bytes", &[0x40, 3, 0, 1, 0]),
        ("§3.8.3: no filter", &[0x82, 2, 0, 1]),
        ("§3.8.3.1: QoS 3 requested", &[0x82, 6, 0, 1, 0, 1, b'a', 3]),
        ("§3.8.3.1: reserved options", &[0x82, 6, 0, 1, 0, 1, b'a', 4]),
        (
            "§3.8.3.1: reserved options of the second filter",
            &[0x82, 10, 0, 1, 0, 1, b'a', 0, 0, 1, b'b', 0x80],
        ),
        ("§3.8.3: filter without options", &[0x82, 5, 0, 1, 0, 1, b'a']),
        ("§4.7.1: bad filter", &[0x82, 7, 0, 1, 0, 2, b'a', b'#', 0]),
        ("§3.10.3: no filter to unsubscribe", &[0xa2, 2, 0, 1]),
        ("§3.10.3: filter longer than its packet", &[0xa2, 5, 0, 1, 0, 9, b'a']),
        ("§3.12: PINGREQ with a payload", &[0xc0, 1, 0]),
        ("§3.14: DISCONNECT with a payload", &[0xe0, 1, 0]),
        ("empty CONNECT", &[0x10, 0]),
        ("empty PUBLISH", &[0x30, 0]),
    ];
    for (what, bytes) in table {
        assert!(decoded(bytes).is_err(), "{what} was accepted: {:?}", decoded(bytes));
    }
}

#[test]
fn packets_are_written_as_mqtt_3_1_1_has_them() {
    // MQTT 3.1.1 §3.2 to §3.13
    let table: &[(Outgoing, &[u8])] = &[
        (Outgoing::PubAck(Ack { packet_id: 258, reason: Reason::QuotaExceeded }), &[0x40, 2, 1, 2]),
        (Outgoing::PubRec(Ack::success(1)), &[0x50, 2, 0, 1]),
        (Outgoing::PubRel(Ack::success(1)), &[0x62, 2, 0, 1]),
        (Outgoing::PubComp(Ack::success(1)), &[0x70, 2, 0, 1]),
        (
            Outgoing::SubAck {
                packet_id: 1,
                reasons: vec![Reason::Success, Reason::GrantedQos2, Reason::QuotaExceeded],
            },
            &[0x90, 5, 0, 1, 0, 2, 0x80],
        ),
        (
            Outgoing::UnsubAck { packet_id: 1, reasons: vec![Reason::NoSubscriptionExisted] },
            &[0xb0, 2, 0, 1],
        ),
        (Outgoing::PingResp, &[0xd0, 0]),
    ];
    for (packet, bytes) in table {
        let mut output = BytesMut::new();
        encode(packet, Version::V4, &mut output).unwrap();
        assert_eq!(output, *bytes, "{packet:?}");
    }
}

#[test]
fn message_that_is_too_long_is_not_written() {
    let message = Message::new("t".repeat(65_536), "", QoS::AtMostOnce);
    let packet =
        Outgoing::Publish { delivery: message.into(), expiry: None, dup: false, packet_id: 0 };
    for version in [Version::V4, Version::V5] {
        let mut output = BytesMut::from("before");
        assert!(encode(&packet, version, &mut output).is_err());
        assert_eq!(output, "before");
    }
}

#[test]
fn connect_flags_and_payload_have_to_agree() {
    // MQTT 3.1.1 §3.1.2.3 to §3.1.3
    let id: &[u8] = &[0, 1, b'c'];
    let will: &[u8] = &[0, 1, b'c', 0, 1, b't', 0, 0];
    let wildcard_will: &[u8] = &[0, 1, b'c', 0, 1, b'#', 0, 0];
    let table: &[(&str, u8, &[u8], bool)] = &[
        ("clean session", 0x02, id, true),
        ("kept session", 0x00, id, true),
        ("reserved flag", 0x03, id, false),
        ("will QoS without will", 0x0a, id, false),
        ("will retain without will", 0x22, id, false),
        ("will", 0x06, will, true),
        ("will QoS 2 retained", 0x36, will, true),
        ("will QoS 3", 0x1e, will, false),
        ("will to a wildcard", 0x06, wildcard_will, false),
        ("will missing", 0x06, id, false),
        ("password without user", 0x42, &[0, 1, b'c', 0, 1, b'p'], false),
        ("user", 0x82, &[0, 1, b'c', 0, 1, b'u'], true),
        ("user missing", 0x82, id, false),
        ("empty user", 0x82, &[0, 1, b'c', 0, 0], true),
        ("binary password", 0xc2, &[0, 1, b'c', 0, 1, b'u', 0, 2, 0xff, 0], true),
        ("bytes behind", 0x02, &[0, 1, b'c', 0], false),
        ("U+0000 in the client id", 0x02, &[0, 1, 0], false),
        ("client id is not UTF-8", 0x02, &[0, 1, 0xc0], false),
        ("client id missing", 0x02, &[], false),
    ];
    for &(what, flags, payload, valid) in table {
        let result = decoded(&connect("MQTT", 4, flags, payload));
        assert_eq!(result.is_ok(), valid, "{what}: {result:?}");
    }
}

#[test]
fn connect_is_parsed_with_everything_in_it() {
    let payload =
        [&[0, 1, b'c', 0, 1, b't', 0, 2, 1, 2][..], &[0, 1, b'u', 0, 2, 0xff, 0]].concat();
    let Some(Incoming::Connect(connect)) =
        decoded(&connect("MQTT", 4, 0b1111_0100, &payload)).unwrap()
    else {
        panic!("not a CONNECT")
    };
    assert_eq!(
        *connect,
        Connect {
            version: Version::V4,
            client: "c".to_owned(),
            clean_start: false,
            session_expiry: u32::MAX,
            keep_alive: 30,
            receive_maximum: None,
            maximum_packet_size: None,
            enhanced_authentication: false,
            will: Some(Will {
                message: Message {
                    retain: true,
                    ..Message::new("t", vec![1, 2], QoS::ExactlyOnce)
                },
                delay: 0,
            }),
            user: Some("u".to_owned()),
            password: Some(vec![0xff, 0].into()),
        }
    );
    assert!(!format!("{connect:?}").contains("xff"), "a password is not shown");
}

#[test]
fn other_protocol_levels_are_told_apart_from_garbage() {
    // MQTT 3.1.1 §3.1.2.1, §3.1.2.2 [MQTT-3.1.2-1, -2]
    let v6 = connect("MQTT", 6, 0x02, &[1, 2, 3]);
    assert_eq!(decoded(&v6).unwrap(), Some(Incoming::UnsupportedLevel(6)));
    let v3_1 = connect("MQIsdp", 3, 0x02, &[0, 1, b'c']);
    assert_eq!(decoded(&v3_1).unwrap(), Some(Incoming::UnsupportedLevel(3)));
    assert!(decoded(&connect("HTTP", 4, 0x02, &[0, 1, b'c'])).is_err());
}

#[test]
fn incomplete_packet_waits_and_consumes_nothing() {
    let mut decoder = Decoder::new(MAX, Announced::default());
    let frame = [0x32, 6, 0, 1, b'a', 0, 7, b'x'];
    for length in 0..frame.len() {
        let mut input = BytesMut::from(&frame[..length]);
        assert!(decoder.decode(&mut input).unwrap().is_none(), "{length} bytes");
        assert_eq!(input.len(), length);
    }
    let mut input = BytesMut::from(&frame[..]);
    input.extend_from_slice(&[0xc0, 0]);
    let message = Message::new("a", "x", QoS::AtLeastOnce);
    let publish = Publish { message, dup: false, packet_id: 7, topic_alias: None };
    assert_eq!(decoder.decode(&mut input).unwrap(), Some(Incoming::Publish(publish)));
    assert_eq!(decoder.decode(&mut input).unwrap(), Some(Incoming::PingReq));
    assert_eq!(decoder.decode(&mut input).unwrap(), None);
}

#[test]
fn packet_over_the_limit_is_refused_before_it_has_arrived() {
    let mut decoder = Decoder::new(100, Announced::default());
    let over = decoder.decode(&mut BytesMut::from(&[0x30, 101][..]));
    assert_eq!(over, Err(Violation::TooLarge));
    assert_eq!(decoder.decode(&mut BytesMut::from(&[0x30, 100][..])), Ok(None));
}

#[test]
fn reserved_flags_are_refused_before_the_packet_has_arrived() {
    assert!(matches!(decoded(&[0x80]), Err(Violation::ReservedFlags(Kind::Subscribe))));
}

/// Numbers that look random.
fn noise(seed: u64) -> impl FnMut() -> [u8; 8] {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    }
}

/// Decodes to the end, whatever comes.
fn exhaust(decoder: &mut Decoder, input: &mut BytesMut) {
    let mut left = input.len();
    while let Ok(Some(_)) = decoder.decode(input) {
        assert!(input.len() < left, "a packet without bytes");
        left = input.len();
    }
    assert!(input.len() <= left);
}

#[test]
fn arbitrary_bytes_are_never_a_panic() {
    let mut random = noise(1);
    for version in [Version::V4, Version::V5] {
        for _ in 0..200_000 {
            let [first, length, rest @ ..] = random();
            let mut bytes = vec![first, length % 16];
            bytes.extend_from_slice(&rest);
            bytes.extend(random().map(|byte| byte % 8));
            exhaust(&mut Decoder::speaking(version), &mut BytesMut::from(&bytes[..]));
        }
    }
}

impl Decoder {
    /// A decoder of a connection whose CONNECT it has seen.
    fn speaking(version: Version) -> Self {
        let announced = Announced { topic_alias_maximum: Some(10), ..Announced::default() };
        let mut decoder = Self::new(MAX, announced);
        let (level, rest): (_, &[u8]) = match version {
            Version::V4 => (4, &[0, 1, b'c']),
            Version::V5 => (5, &[0, 0, 1, b'c']),
        };
        let mut frame = BytesMut::from(&connect("MQTT", level, 0x02, rest)[..]);
        let first = decoder.decode(&mut frame);
        assert!(matches!(first, Ok(Some(Incoming::Connect(_)))), "{first:?}");
        decoder
    }
}
