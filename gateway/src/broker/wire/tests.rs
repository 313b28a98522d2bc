use super::*;
use proptest::prelude::*;
use rumqttc::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5 as codec5;

fn decode(protocol: Protocol, bytes: &[u8]) -> Result<Option<Incoming>, WireError> {
    match frame_length(bytes)? {
        Some(length) => parse(protocol, &bytes[..length]).map(Some),
        None => Ok(None),
    }
}

/// Reads a packet that another codec has written.
fn decode5(packet: &codec5::Packet) -> Incoming {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, None).unwrap();
    decode(Protocol::V5, &bytes).unwrap().unwrap()
}

#[test]
fn what_breaks_the_specification_is_an_error() {
    use Protocol::{V4, V5};
    let table: &[(&str, Protocol, &[u8])] = &[
        ("§2.1.2: type 0", V5, &[0x00, 0]),
        ("§2.1.2: AUTH, which nobody asked for", V5, &[0xf0, 0]),
        ("§3.9: SUBACK for two filters", V4, &[0x90, 4, 0, 1, 0, 0]),
        ("3.1.1 §3.9.3: return code 3", V4, &[0x90, 3, 0, 1, 3]),
        ("§3.11: UNSUBACK without a code", V5, &[0xb0, 3, 0, 1, 0]),
        ("§3.3.2.1: PUBLISH with a wildcard", V4, &[0x30, 3, 0, 1, b'#']),
        ("§2.1.2: PINGREQ from a broker", V5, &[0xc0, 0]),
        ("§2.1.3: PUBACK with flags", V4, &[0x41, 2, 0, 1]),
        ("§2.1.3: CONNACK with flags", V5, &[0x22, 3, 0, 0, 0]),
        ("§1.5.5: length of five bytes", V4, &[0x40, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ("§2.2.1: identifier 0", V4, &[0x40, 2, 0, 0]),
        ("§2.2.1: identifier 0", V5, &[0x50, 3, 0, 0, 0]),
        ("3.1.1 §3.4: PUBACK of three bytes", V4, &[0x40, 3, 0, 1, 0]),
        ("§3.4: PUBACK of one byte", V5, &[0x40, 1, 1]),
        ("§3.13: PINGRESP with content", V5, &[0xd0, 1, 0]),
        ("3.1.1 §3.14: DISCONNECT from a broker", V4, &[0xe0, 0]),
        ("3.1.1 §3.2.2.3: return code 6", V4, &[0x20, 2, 0, 6]),
        ("3.1.1 §3.2.2.2: session present with a refusal", V4, &[0x20, 2, 1, 5]),
        ("§3.2.2.1: reserved flags", V5, &[0x20, 3, 2, 0, 0]),
        ("§3.2.2.1: session present with a refusal", V5, &[0x20, 3, 1, 0x87, 0]),
        ("§3.2.2.3: success in the form of 3.1.1", V5, &[0x20, 2, 0, 0]),
        ("§3.2.2.3.3: Receive Maximum 0", V5, &[0x20, 6, 0, 0, 3, 0x21, 0, 0]),
        ("§3.2.2.3.4: Maximum QoS 2", V5, &[0x20, 5, 0, 0, 2, 0x24, 2]),
        ("§3.2.2.3.5: Retain Available 2", V5, &[0x20, 5, 0, 0, 2, 0x25, 2]),
        ("§3.2.2.3.6: Maximum Packet Size 0", V5, &[0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 0]),
        ("§2.2.2.2: unknown property", V5, &[0x20, 5, 0, 0, 2, 0x7f, 0]),
        ("§2.2.2.2: Topic Alias in CONNACK", V5, &[0x20, 6, 0, 0, 3, 0x23, 0, 1]),
        ("§2.2.2.2: a property twice", V5, &[0x20, 7, 0, 0, 4, 0x24, 1, 0x24, 1]),
        ("§2.2.2: properties beyond the packet", V5, &[0x20, 5, 0, 0, 3, 0x24, 1]),
        ("§2.2.2: a property beyond the properties", V5, &[0x20, 5, 0, 0, 1, 0x24, 1]),
        ("§2.2.2: bytes behind the properties", V5, &[0x20, 4, 0, 0, 0, 0]),
        ("§2.2.2: no length of properties", V5, &[0x40, 4, 0, 1, 0, 0x80]),
        ("§1.5.4: not UTF-8", V5, &[0xe0, 6, 0x80, 4, 0x1f, 0, 1, 0xff]),
        ("§1.5.4: U+0000", V5, &[0xe0, 6, 0x80, 4, 0x1f, 0, 1, 0]),
        ("§1.5.4: text beyond the properties", V5, &[0xe0, 6, 0x80, 4, 0x1f, 0, 9, b'x']),
        ("§3.4.2.2: Server Reference in PUBACK", V5, &[0x40, 8, 0, 1, 0, 4, 0x1c, 0, 1, b'x']),
    ];
    for (what, protocol, bytes) in table {
        let decoded = decode(*protocol, bytes);
        assert!(decoded.is_err(), "{what} was accepted: {decoded:?}");
    }
}

#[test]
fn what_the_codec_would_swallow_is_read() {
    let disconnect = |reason| Ok(Some(Incoming::Disconnect(Reason::of(reason))));
    assert_eq!(decode(Protocol::V5, &[0xe0, 0]), disconnect(0));
    assert_eq!(decode(Protocol::V5, &[0xe0, 1, 0x8b]), disconnect(0x8b));
    let Ok(Some(Incoming::ConnAck(ack))) = decode(Protocol::V5, &[0x20, 2, 0, 1]) else {
        panic!("CONNACK in the form of 3.1.1")
    };
    assert_eq!(ack.reason.code, code::UNSUPPORTED_PROTOCOL_VERSION);
    // The faults are still there: when they are gone, so can this be.
    let read = |bytes: &[u8]| codec5::Packet::read(&mut BytesMut::from(bytes), None);
    assert!(read(&[0xe0, 0]).is_err());
    let swallowed = "Insufficient number of bytes";
    assert!(read(&[0xe0, 1, 0x8b]).unwrap_err().to_string().starts_with(swallowed));
    assert!(read(&[0x20, 2, 0, 1]).unwrap_err().to_string().starts_with(swallowed));
}

#[test]
fn what_another_codec_writes_is_read() {
    let user = || vec![("a".to_owned(), "b".to_owned()), ("a".to_owned(), "c".to_owned())];
    let Incoming::ConnAck(ack) = decode5(&codec5::Packet::ConnAck(codec5::ConnAck {
        session_present: true,
        code: codec5::ConnectReturnCode::Success,
        properties: Some(codec5::ConnAckProperties {
            session_expiry_interval: Some(1),
            receive_max: Some(20),
            max_qos: Some(1),
            retain_available: Some(0),
            max_packet_size: Some(70_000),
            assigned_client_identifier: Some("c-1".to_owned()),
            topic_alias_max: Some(10),
            reason_string: Some("welcome".to_owned()),
            user_properties: user(),
            wildcard_subscription_available: Some(1),
            subscription_identifiers_available: Some(0),
            shared_subscription_available: Some(1),
            server_keep_alive: Some(60),
            response_information: Some("r".to_owned()),
            server_reference: Some("other".to_owned()),
            authentication_method: Some("m".to_owned()),
            authentication_data: Some(vec![0, 255].into()),
        }),
    })) else {
        panic!("CONNACK")
    };
    assert!(ack.session_present && ack.reason.is_success());
    assert_eq!(
        ack.reason.to_string(),
        "success (0x00): \"welcome\"; the broker says to use \"other\""
    );
    assert_eq!(
        ack.limits,
        Limits {
            receive_maximum: 20,
            maximum_qos: 1,
            retain: false,
            maximum_packet: 70_000,
            alias_maximum: 10,
            keep_alive: Some(60),
            client_id: Some("c-1".to_owned()),
        }
    );
    let properties =
        codec5::PubAckProperties { reason_string: Some("why".to_owned()), user_properties: user() };
    let mut puback = codec5::PubAck::new(700, Some(properties));
    puback.reason = codec5::PubAckReason::NotAuthorized;
    let Incoming::PubAck(ack) = decode5(&codec5::Packet::PubAck(puback)) else { panic!("PUBACK") };
    assert_eq!((ack.id, ack.reason.code, ack.reason.text.as_deref()), (700, 0x87, Some("why")));
}

#[test]
fn a_long_text_of_the_broker_is_cut() {
    let text = "ü".repeat(30_000);
    let Incoming::Disconnect(reason) = decode5(&codec5::Packet::Disconnect(codec5::Disconnect {
        reason_code: codec5::DisconnectReasonCode::ServerBusy,
        properties: Some(codec5::DisconnectProperties {
            session_expiry_interval: None,
            reason_string: Some(text),
            user_properties: Vec::new(),
            server_reference: None,
        }),
    })) else {
        panic!("DISCONNECT")
    };
    assert!(reason.text.unwrap().chars().count() <= 256);
}

#[test]
fn a_packet_over_the_limit_is_refused_before_it_has_arrived() {
    // 65536 bytes with its header, and one more.
    assert_eq!(frame_length(&[0x40, 0xfc, 0xff, 0x03]), Ok(None));
    assert_eq!(frame_length(&[0x40, 0xfd, 0xff, 0x03]), Err(WireError::TooLarge(65_537)));
    assert_eq!(
        frame_length(&[0x40, 0xff, 0xff, 0xff, 0x7f]),
        Err(WireError::TooLarge(268_435_460))
    );
}

#[test]
fn texts_that_mqtt_cannot_carry_are_not_written() {
    let long = "x".repeat(65_536);
    let connect = |client_id, password: &str| Connect {
        protocol: Protocol::V4,
        client_id,
        login: Some(Box::leak(Box::new(("u".to_owned(), password.to_owned())))),
        keep_alive: 30,
        clean: true,
        session_expiry: 0,
        receive_maximum: None,
        will: None,
    };
    let out = &mut BytesMut::new();
    for connect in [connect(&long, "p"), connect("c", &long)] {
        assert_eq!(connect.write(out), Err(WriteError::TextTooLong(65_536)));
    }
    let head = PublishHead {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: &long,
        id: 0,
        properties: None,
    };
    assert_eq!(head.write(out, b""), Err(WriteError::TextTooLong(65_536)));
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_never_a_panic(
        first in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let frame = [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat();
        for protocol in [Protocol::V4, Protocol::V5] {
            let _ = parse(protocol, &frame);
            let _ = parse(protocol, &body);
            let _ = frame_length(&body);
        }
    }

    /// The codec of others reads what is written here, and the size is foretold.
    #[test]
    fn a_publish_is_read_back(
        flags in (any::<bool>(), 0..3u8, any::<bool>()),
        topic in "[a-z/]{1,200}",
        id in 1..=u16::MAX,
        payload in proptest::collection::vec(any::<u8>(), 0..20_000),
        alias in any::<u16>(),
        expiry in any::<Option<u32>>(),
    ) {
        let (dup, qos, retain) = flags;
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)];
        let mut properties = Vec::new();
        encode_properties(&mut properties, None, expiry);
        append_alias(&mut properties, alias);
        let head = PublishHead { dup, qos, retain, topic: &topic, id, properties: Some(&properties) };
        let mut bytes = BytesMut::new();
        head.write(&mut bytes, &payload).unwrap();
        prop_assert_eq!(bytes.len(), head.size(payload.len()));
        let Ok(codec5::Packet::Publish(read)) = codec5::Packet::read(&mut bytes, None) else {
            panic!("PUBLISH")
        };
        prop_assert!(bytes.is_empty());
        prop_assert_eq!((read.dup, read.qos as u8, read.retain), (dup, qos as u8, retain));
        prop_assert_eq!((&read.topic[..], &read.payload[..]), (topic.as_bytes(), &payload[..]));
        let properties = read.properties.unwrap();
        prop_assert_eq!(properties.topic_alias, Some(alias));
        prop_assert_eq!(properties.message_expiry_interval, expiry);
        let head = PublishHead { properties: None, ..head };
        head.write(&mut bytes, &payload).unwrap();
        prop_assert_eq!(bytes.len(), head.size(payload.len()));
        let read = codec::Packet::read(&mut bytes, usize::MAX);
        let Ok(codec::Packet::Publish(read)) = read else { panic!("PUBLISH") };
        prop_assert_eq!((read.topic, &read.payload[..], read.dup), (topic, &payload[..], dup));
        if qos != QoS::AtMostOnce {
            prop_assert_eq!(read.pkid, id);
        }
    }
}
