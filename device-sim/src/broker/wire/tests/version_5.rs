//! MQTT 5.

use std::num::NonZero;
use std::sync::Arc;

use super::*;

/// A frame with a short body.
fn frame(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

/// A block of properties.
fn block(properties: &[&[u8]]) -> Vec<u8> {
    let all = properties.concat();
    [&[u8::try_from(all.len()).unwrap()], &all[..]].concat()
}

fn decoded_5(bytes: &[u8]) -> Result<Option<Incoming>, Violation> {
    Decoder::speaking(Version::V5).decode(&mut BytesMut::from(bytes))
}

/// A CONNECT with these flags, properties and payload.
fn connect_5(flags: u8, properties: &[&[u8]], payload: &[u8]) -> Result<Connect, Violation> {
    let bytes = connect("MQTT", 5, flags, &[&block(properties), payload].concat());
    match decoded(&bytes)? {
        Some(Incoming::Connect(connect)) => Ok(*connect),
        other => panic!("no CONNECT: {other:?}"),
    }
}

const CLIENT: &[u8] = &[0, 1, b'c'];
const USER: &[u8] = &[0x26, 0, 1, b'k', 0, 1, b'v'];
const REASON: &[u8] = &[0x1f, 0, 1, b'r'];

/// One valid packet of each kind, with everything that it can have.
fn samples() -> Vec<Vec<u8>> {
    let message: &[&[u8]] = &[
        &[0x01, 1],
        &[0x02, 0, 0, 0, 60],
        &[0x03, 0, 1, b'c'],
        &[0x08, 0, 1, b'r'],
        &[0x09, 0, 2, 0xff, 0],
        USER,
        USER,
    ];
    let with_alias = [message, &[&[0x23, 0, 3]]].concat();
    let reason = block(&[REASON, USER]);
    vec![
        frame(0x3b, &[&[0, 1, b't', 0, 7], &block(&with_alias), b"payload"]),
        frame(0x30, &[&[0, 1, b't'], &block(message), b"payload"]),
        frame(0x40, &[&[0, 7, 0x97], &reason]),
        frame(0x50, &[&[0, 7, 0x10], &reason]),
        frame(0x62, &[&[0, 7, 0x92], &reason]),
        frame(0x70, &[&[0, 7, 0x92], &reason]),
        frame(
            0x82,
            &[&[0, 7], &block(&[&[0x0b, 0x80, 1], USER]), &[0, 1, b'+', 0x2e, 0, 1, b'a', 0x11]],
        ),
        frame(0xa2, &[&[0, 7], &block(&[USER]), &[0, 1, b'+']]),
        vec![0xc0, 0],
        frame(0xe0, &[&[0x04], &block(&[&[0x11, 0, 0, 0, 9], REASON, USER])]),
    ]
}

#[test]
fn packets_with_everything_are_understood() {
    for sample in samples() {
        let result = decoded_5(&sample);
        assert!(matches!(result, Ok(Some(_))), "{sample:02x?}: {result:?}");
    }
}

#[test]
fn connect_is_parsed_with_everything_in_it() {
    // MQTT 5 §3.1.2.11, §3.1.3
    let properties: &[&[u8]] = &[
        &[0x11, 0, 0, 1, 0],
        &[0x21, 0, 5],
        &[0x27, 0, 0, 2, 0],
        &[0x22, 0, 9],
        &[0x17, 0],
        &[0x19, 1],
        USER,
        USER,
    ];
    let will = [&block(&[&[0x18, 0, 0, 0, 7], &[0x01, 1]])[..], &[0, 1, b't', 0, 1, b'x']].concat();
    let payload = [CLIENT, &will, &[0, 1, 0xff]].concat();
    let parsed = connect_5(0b0110_1100, properties, &payload).unwrap();
    let properties = Properties { payload_format: Some(1), ..Properties::default() };
    assert_eq!(
        parsed,
        Connect {
            version: Version::V5,
            client: "c".to_owned(),
            clean_start: false,
            session_expiry: 256,
            keep_alive: 30,
            receive_maximum: NonZero::new(5),
            maximum_packet_size: NonZero::new(512),
            enhanced_authentication: false,
            will: Some(Will {
                message: Message {
                    retain: true,
                    properties: Some(Arc::new(properties)),
                    ..Message::new("t", "x", QoS::AtLeastOnce)
                },
                delay: 7,
            }),
            user: None,
            password: Some(vec![0xff].into()),
        }
    );
    let bare = connect_5(0x00, &[], CLIENT).unwrap();
    assert_eq!((bare.clean_start, bare.session_expiry), (false, 0), "§3.1.2.11.2");
    let asked = connect_5(0x00, &[&[0x15, 0, 1, b'm'], &[0x16, 0, 1, b'd']], CLIENT).unwrap();
    assert!(asked.enhanced_authentication);
}

#[test]
fn connect_properties_that_break_the_specification_are_violations() {
    // MQTT 5 §2.2.2.2, §3.1.2.11
    let table: &[(&str, &[&[u8]])] = &[
        ("session expiry twice", &[&[0x11, 0, 0, 0, 1], &[0x11, 0, 0, 0, 1]]),
        ("receive maximum 0", &[&[0x21, 0, 0]]),
        ("maximum packet size 0", &[&[0x27, 0, 0, 0, 0]]),
        ("request problem information 2", &[&[0x17, 2]]),
        ("request response information 2", &[&[0x19, 2]]),
        ("authentication data without a method", &[&[0x16, 0, 1, b'd']]),
        ("will delay outside the will", &[&[0x18, 0, 0, 0, 1]]),
        ("message expiry", &[&[0x02, 0, 0, 0, 1]]),
        ("unknown", &[&[0x7f, 0]]),
        ("cut short", &[&[0x11, 0]]),
        ("user property that is not UTF-8", &[&[0x26, 0, 1, 0xff, 0, 0]]),
        ("user property with U+0000", &[&[0x26, 0, 1, 0, 0, 0]]),
    ];
    for (what, properties) in table {
        let result = connect_5(0x02, properties, CLIENT);
        assert!(result.is_err(), "{what} was accepted: {result:?}");
    }
    let beyond = connect("MQTT", 5, 0x02, &[9, 0x11, 0, 0, 0, 1, 0, 1, b'c']);
    assert_eq!(decoded(&beyond), Err(Violation::Truncated), "a block longer than the packet");
}

#[test]
fn packets_that_break_the_specification_are_violations() {
    let p = |properties: &[&[u8]]| [&[0, 1, b'a'][..], &block(properties)].concat();
    let s = |options: u8| frame(0x82, &[&[0, 1, 0, 0, 1, b'a', options]]);
    let table = [
        ("§1.5.5 [MQTT-1.5.5-1]: long remaining length", vec![0xc0, 0x80, 0]),
        ("§1.5.5: property length of two bytes", frame(0x30, &[&[0, 1, b'a', 0x80, 0]])),
        ("§3.3.2.3: no properties", frame(0x30, &[&[0, 1, b'a']])),
        ("§3.3.2.1: wildcard", frame(0x30, &[&[0, 1, b'#', 0]])),
        ("§3.3.2.1: no topic and no alias", frame(0x30, &[&[0, 0, 0]])),
        ("§3.3.2.3.2: payload format 2", frame(0x30, &[&p(&[&[0x01, 2]])])),
        ("§3.3.2.3.3: expiry twice", frame(0x30, &[&p(&[&[2, 0, 0, 0, 1], &[2, 0, 0, 0, 1]])])),
        ("[MQTT-3.3.2-14]: response to a wildcard", frame(0x30, &[&p(&[&[8, 0, 1, b'#']])])),
        ("[MQTT-3.3.4-6]: subscription identifier", frame(0x30, &[&p(&[&[0x0b, 1]])])),
        ("[MQTT-3.3.2-8]: topic alias 0", frame(0x30, &[&p(&[&[0x23, 0, 0]])])),
        ("[MQTT-3.3.2-9]: topic alias beyond", frame(0x30, &[&p(&[&[0x23, 0, 11]])])),
        ("§3.3.2.3.4: unknown alias", frame(0x30, &[&[0, 0], &block(&[&[0x23, 0, 1]])])),
        ("§3.4.2.1: PUBACK with a reason of CONNACK", frame(0x40, &[&[0, 1, 0x86]])),
        ("§3.4.2.1: unknown reason", frame(0x40, &[&[0, 1, 0x05]])),
        ("§3.6.2.1: PUBREL with a reason of PUBACK", frame(0x62, &[&[0, 1, 0x97]])),
        ("§3.4.2.2: reason string twice", frame(0x40, &[&[0, 1, 0], &block(&[REASON, REASON])])),
        ("§3.4: bytes behind", frame(0x40, &[&[0, 1, 0, 0, 0]])),
        ("§3.8.2.1.2: subscription identifier 0", {
            frame(0x82, &[&[0, 1], &block(&[&[0x0b, 0]]), &[0, 1, b'a', 0]])
        }),
        ("§3.8.2.1.2: two identifiers", {
            frame(0x82, &[&[0, 1], &block(&[&[0x0b, 1], &[0x0b, 2]]), &[0, 1, b'a', 0]])
        }),
        ("[MQTT-3.8.3-2]: no filter", frame(0x82, &[&[0, 1, 0]])),
        ("[MQTT-3.8.3-5]: reserved options", s(0x40)),
        ("§3.8.3.1: QoS 3", s(3)),
        ("§3.8.3.1: retain handling 3", s(0x30)),
        ("[MQTT-3.8.3-4]: no local and shared", {
            frame(0x82, &[&[0, 1, 0, 0, 10], b"$share/g/a", &[4]])
        }),
        ("[MQTT-4.8.2-1]: share without a name", {
            frame(0x82, &[&[0, 1, 0, 0, 9], b"$share//a", &[0]])
        }),
        ("[MQTT-3.10.3-2]: no filter", frame(0xa2, &[&[0, 1, 0]])),
        ("§3.14.2.1: DISCONNECT with a reason of a server", frame(0xe0, &[&[0x8e]])),
        ("§3.14.2.2: server reference", frame(0xe0, &[&[0], &block(&[&[0x1c, 0, 1, b's']])])),
        ("§3.15: AUTH", frame(0xf0, &[&[0x18, 0]])),
        ("§2.1.3: AUTH flags", frame(0xf1, &[&[0x18, 0]])),
        ("§2.1.2: type 0", vec![0x00, 0]),
        ("§2.1.2: CONNACK from a client", frame(0x20, &[&[0, 0, 0]])),
        ("§3.12: PINGREQ with a payload", frame(0xc0, &[&[0]])),
    ];
    for (what, bytes) in table {
        let result = decoded_5(&bytes);
        assert!(result.is_err(), "{what} was accepted: {result:?}");
    }
}

#[test]
fn reason_and_properties_may_be_left_out_at_the_end() {
    // MQTT 5 §3.4.2.1, §3.14.2.1
    let ack = |reason| Ok(Some(Incoming::PubAck(Ack { packet_id: 7, reason })));
    assert_eq!(decoded_5(&[0x40, 2, 0, 7]), ack(Reason::Success));
    assert_eq!(decoded_5(&[0x40, 3, 0, 7, 0x97]), ack(Reason::QuotaExceeded));
    assert_eq!(decoded_5(&[0x40, 4, 0, 7, 0x97, 0]), ack(Reason::QuotaExceeded));
    let goodbye = |reason| Ok(Some(Incoming::Disconnect { reason, session_expiry: None }));
    assert_eq!(decoded_5(&[0xe0, 0]), goodbye(Reason::Success));
    assert_eq!(decoded_5(&[0xe0, 1, 4]), goodbye(Reason::DisconnectWithWill));
    assert_eq!(decoded_5(&[0xe0, 2, 4, 0]), goodbye(Reason::DisconnectWithWill));
}

#[test]
fn violations_have_their_reasons() {
    // MQTT 5 §4.13, §3.14.2.1
    let table = [
        (frame(0x30, &[&[0, 1, b'a', 2, 0x0b, 1]]), Reason::MalformedPacket),
        (frame(0x30, &[&[0, 1, b'a', 3, 0x23, 0, 0]]), Reason::TopicAliasInvalid),
        (frame(0x30, &[&[0, 1, b'+', 0]]), Reason::TopicNameInvalid),
        (frame(0x82, &[&[0, 1, 0, 0, 2, b'a', b'#', 0]]), Reason::TopicFilterInvalid),
        (vec![0x30, 0xff, 0xff, 0x7f], Reason::PacketTooLarge),
        (frame(0xf0, &[&[0x18, 0]]), Reason::ProtocolError),
    ];
    for (bytes, reason) in table {
        let violation = decoded_5(&bytes).unwrap_err();
        assert_eq!(violation.reason(), reason, "{violation}");
    }
}

#[test]
fn topic_alias_stands_for_its_topic_until_it_is_set_anew() {
    // MQTT 5 §3.3.2.3.4 [MQTT-3.3.2-7, -12]
    let mut decoder = Decoder::speaking(Version::V5);
    let mut publish = |topic: &[u8], alias: u8| {
        let length = u8::try_from(topic.len()).unwrap();
        let bytes = frame(0x30, &[&[0, length], topic, &[3, 0x23, 0, alias]]);
        match decoder.decode(&mut BytesMut::from(&bytes[..])) {
            Ok(Some(Incoming::Publish(publish))) => {
                assert_eq!(publish.topic_alias, Some(u16::from(alias)));
                publish.message.topic.to_string()
            }
            other => panic!("{other:?}"),
        }
    };
    let topics = [publish(b"a/b", 1), publish(b"c", 10), publish(b"", 1), publish(b"", 10)];
    assert_eq!(topics, ["a/b", "c", "a/b", "c"]);
    assert_eq!([publish(b"d", 1), publish(b"", 1)], ["d", "d"]);
    let bytes = frame(0x30, &[&[0, 0, 3, 0x23, 0, 1]]);
    assert_eq!(decoded_5(&bytes), Err(Violation::TopicAlias(1)), "another connection");
}

#[test]
fn publish_beyond_what_was_announced_is_a_violation() {
    // MQTT 5 §3.2.2.3.4 [MQTT-3.2.2-11], §3.2.2.3.5 [MQTT-3.2.2-14]
    let announced =
        Announced { maximum_qos: QoS::AtMostOnce, retain_available: false, ..Announced::default() };
    let after = |level: u8, rest: &[u8], bytes: &[u8]| {
        let mut decoder = Decoder::new(MAX, announced);
        let connect = connect("MQTT", level, 0x02, rest);
        decoder.decode(&mut BytesMut::from(&connect[..])).unwrap();
        decoder.decode(&mut BytesMut::from(bytes))
    };
    let v5: &[u8] = &[0, 0, 1, b'c'];
    let loud = frame(0x32, &[&[0, 1, b'a', 0, 1, 0]]);
    assert_eq!(after(5, v5, &loud), Err(Violation::MaximumQos(QoS::AtLeastOnce)));
    assert_eq!(after(5, v5, &frame(0x31, &[&[0, 1, b'a', 0]])), Err(Violation::Retain));
    assert!(after(5, v5, &frame(0x30, &[&[0, 1, b'a', 0]])).is_ok());
    let aliased = frame(0x30, &[&[0, 1, b'a', 3, 0x23, 0, 1]]);
    assert_eq!(after(5, v5, &aliased), Err(Violation::TopicAlias(1)), "none was announced");
    assert!(after(4, CLIENT, &frame(0x33, &[&[0, 1, b'a', 0, 1]])).is_ok(), "was not told");
}

#[test]
fn maximum_packet_size_counts_the_whole_packet() {
    // MQTT 5 §3.2.2.3.6 [MQTT-3.2.2-15], §2.1.4
    let decoder = |maximum| {
        let maximum_packet_size = NonZero::new(maximum);
        let mut decoder =
            Decoder::new(MAX, Announced { maximum_packet_size, ..Announced::default() });
        let connect = connect("MQTT", 5, 0x02, &[0, 0, 1, b'c']);
        decoder.decode(&mut BytesMut::from(&connect[..])).unwrap();
        decoder
    };
    for (maximum, length, fits) in [
        (100, vec![98], true),
        (100, vec![99], false),
        (129, vec![127], true),
        (129, vec![0x80, 1], false),
        (130, vec![0x80, 1], false),
        (131, vec![0x80, 1], true),
        (16_386, vec![0xff, 0x7f], true),
        (16_387, vec![0x80, 0x80, 1], false),
        (16_388, vec![0x80, 0x80, 1], true),
    ] {
        let header = [&[0x30][..], &length].concat();
        let result = decoder(maximum).decode(&mut BytesMut::from(&header[..]));
        let expected = if fits { Ok(None) } else { Err(Violation::TooLarge) };
        assert_eq!(result, expected, "{length:02x?} within {maximum}");
    }
}

#[test]
fn what_is_written_is_read_the_same() {
    let properties = Properties {
        payload_format: Some(0),
        message_expiry: Some(60),
        content_type: Some("text/plain".to_owned()),
        response_topic: Some("r".to_owned()),
        correlation_data: Some(vec![0xff, 0].into()),
        user: vec![("k".to_owned(), "1".to_owned()), ("k".to_owned(), "2".to_owned())],
    };
    let message = Message {
        retain: true,
        properties: Some(Arc::new(properties.clone())),
        ..Message::new("a/b", "x".repeat(20_000), QoS::ExactlyOnce)
    };
    let (expiry, dup, packet_id) = (Some(40), true, 9);
    let delivery = message.clone().into();
    let packet = Outgoing::Publish { delivery, expiry, dup, packet_id };
    let mut output = BytesMut::new();
    encode(&packet, Version::V5, &mut output).unwrap();
    let Ok(Some(Incoming::Publish(read))) = Decoder::speaking(Version::V5).decode(&mut output)
    else {
        panic!("cannot be read")
    };
    let left = Properties { message_expiry: expiry, ..properties };
    let message = Message { properties: Some(Arc::new(left)), ..message };
    assert_eq!(read, Publish { message: message.clone(), dup, packet_id, topic_alias: None });
    assert!(output.is_empty());
    encode(&packet, Version::V4, &mut output).unwrap();
    let Ok(Some(Incoming::Publish(read))) = decoded_all(&mut output) else {
        panic!("cannot be read by a client of MQTT 3.1.1")
    };
    assert_eq!(read.message, Message { properties: None, ..message });
}

fn decoded_all(input: &mut BytesMut) -> Result<Option<Incoming>, Violation> {
    Decoder::speaking(Version::V4).decode(input)
}

#[test]
fn packets_are_written_as_mqtt_5_has_them() {
    // MQTT 5 §3.2, §3.4 to §3.7, §3.9, §3.11, §3.14
    let announced = Announced {
        receive_maximum: NonZero::new(5),
        maximum_packet_size: NonZero::new(256),
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        topic_alias_maximum: Some(10),
        server_keep_alive: Some(60),
    };
    let accepted = ConnAck {
        session_present: true,
        reason: Reason::Success,
        assigned_client: Some("c".into()),
        announced,
    };
    let refused = ConnAck {
        session_present: false,
        reason: Reason::Banned,
        assigned_client: None,
        announced: Announced::default(),
    };
    let mut subscribed = Message::new("a", "x", QoS::AtMostOnce);
    subscribed.properties = None;
    let delivery =
        crate::broker::message::Delivery { message: subscribed, subscriptions: vec![1, 128] };
    let table = [
        (Outgoing::ConnAck(Box::new(accepted)), {
            let properties: &[&[u8]] = &[
                &[0x21, 0, 5],
                &[0x24, 1],
                &[0x25, 0],
                &[0x27, 0, 0, 1, 0],
                &[0x22, 0, 10],
                &[0x13, 0, 60],
                &[0x12, 0, 1, b'c'],
            ];
            frame(0x20, &[&[1, 0], &block(properties)])
        }),
        (Outgoing::ConnAck(Box::new(refused)), vec![0x20, 3, 0, 0x8a, 0]),
        (
            Outgoing::Publish { delivery, expiry: None, dup: false, packet_id: 0 },
            frame(0x30, &[&[0, 1, b'a'], &block(&[&[0x0b, 1], &[0x0b, 0x80, 1]]), b"x"]),
        ),
        (Outgoing::PubAck(Ack::success(7)), vec![0x40, 2, 0, 7]),
        (
            Outgoing::PubRel(Ack { packet_id: 7, reason: Reason::PacketIdentifierNotFound }),
            vec![0x62, 3, 0, 7, 0x92],
        ),
        (
            Outgoing::SubAck {
                packet_id: 7,
                reasons: vec![Reason::GrantedQos1, Reason::QuotaExceeded],
            },
            vec![0x90, 5, 0, 7, 0, 1, 0x97],
        ),
        (
            Outgoing::UnsubAck { packet_id: 7, reasons: vec![Reason::NoSubscriptionExisted] },
            vec![0xb0, 4, 0, 7, 0, 0x11],
        ),
        (Outgoing::Disconnect(Reason::ServerBusy), vec![0xe0, 2, 0x89, 0]),
    ];
    for (packet, bytes) in table {
        let mut output = BytesMut::new();
        encode(&packet, Version::V5, &mut output).unwrap();
        assert_eq!(output, bytes, "{packet:?}");
    }
}

#[test]
fn mutations_of_valid_packets_are_never_a_panic() {
    let samples = samples();
    let mut random = noise(5);
    for _ in 0..100_000 {
        let [pick, at, value, more, cut, rest @ ..] = random();
        let mut bytes = samples[usize::from(pick) % samples.len()].clone();
        let length = bytes.len();
        bytes[usize::from(at) % length] = value;
        if more % 2 == 0 {
            bytes[usize::from(more) % length] = rest[0];
        }
        if cut % 8 == 0 {
            bytes.truncate(usize::from(cut) % length);
        }
        bytes.extend_from_slice(&samples[usize::from(rest[1]) % samples.len()]);
        exhaust(&mut Decoder::speaking(Version::V5), &mut BytesMut::from(&bytes[..]));
    }
}
