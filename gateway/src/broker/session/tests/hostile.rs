//! A broker that sends whatever it likes.

use proptest::prelude::*;

use super::*;

/// What a session may hold at most, whatever comes: one packet and what was handed in with it.
const MOST_INPUT: usize = wire::MAX_INCOMING + 64;

/// Packets and pieces of packets that make sense to a session now and then.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let id = 0..6u16;
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (prop_oneof![Just(PUBACK), Just(PUBREC), Just(PUBCOMP)], id, any::<Option<u8>>()).prop_map(
            |(kind, id, reason)| {
                let [high, low] = id.to_be_bytes();
                let length = 2 + u8::from(reason.is_some());
                [kind, length, high, low].into_iter().chain(reason).collect()
            }
        ),
        Just(PINGRESP.to_vec()),
        any::<u8>().prop_map(|reason| vec![0xe0, 1, reason]),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|properties| connack(
            Protocol::V5,
            false,
            0,
            &properties
        )),
        // The beginning of the largest packet.
        Just(vec![0x40, 0xfc, 0xff, 0x03]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn nothing_that_a_broker_sends_panics_or_grows_memory(
        is_v5 in any::<bool>(),
        keeps in any::<bool>(),
        is_accepted in any::<bool>(),
        pieces in proptest::collection::vec(piece(), 1..60),
    ) {
        let protocol = if is_v5 { Protocol::V5 } else { Protocol::V4 };
        let qos = if keeps { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let mut session = Session::new(SessionOptions { qos, ..options(protocol) });
        session.wire_log().set(true);
        match is_accepted {
            true => accept(&mut session, false, &[]),
            false => session.handle_connected(START).unwrap(),
        }
        for (n, piece) in pieces.into_iter().enumerate() {
            if session.has_room(qos) {
                session.publish(START, ticket(n as u64), message(1, qos), false).unwrap();
            }
            if session.handle_bytes(START, &piece).is_err() {
                session.handle_connected(START).unwrap();
            }
            // A PUBREL for each exchange, and what the session said by itself.
            prop_assert!(session.outgoing().len() < 8000);
            prop_assert!(session.incoming.len() <= MOST_INPUT);
            prop_assert!(session.events.len() <= 2 * (n + 2));
            let _ = session.handle_timeout(session.deadline());
        }
    }
}

#[test]
fn a_flood_of_packets_that_need_an_answer_gets_one() {
    let mut session = connected_with(kept_options(Protocol::V5), &[]);
    let id = send(&mut session, 1, QoS::ExactlyOnce).id;
    let flood = ack(PUBREC, id).repeat(10_000);
    session.handle_bytes(START, &flood).unwrap();
    assert_eq!(sent(&mut session), [Sent::PubRel(id)]);
    assert!(session.incoming.is_empty() && session.events.is_empty());
}

#[test]
fn the_wire_log_is_bounded_and_says_what_is_missing() {
    let mut session = connected(Protocol::V4);
    session.wire_log().set(true);
    session.handle_bytes(START, &PINGRESP.repeat(5000)).unwrap();
    let shown = std::iter::from_fn(|| session.wire_log().poll()).count();
    assert_eq!(shown, 1024);
    session.handle_bytes(START, &PINGRESP).unwrap();
    assert_eq!(session.wire_log().poll().unwrap().dropped, 5000 - 1024);
}

#[test]
fn what_is_for_a_subscriber_ends_the_connection() {
    // SUBACK, UNSUBACK and PUBLISH of MQTT 3.1.1.
    let packets: [&[u8]; 3] = [&[0x90, 3, 0, 1, 0], &[0xb0, 2, 0, 1], &[0x30, 3, 0, 1, b'a']];
    for packet in packets {
        let mut session = connected(Protocol::V4);
        let end = session.handle_bytes(START, packet);
        assert!(matches!(end, Err(SessionError::Unexpected(_))), "{packet:x?}: {end:?}");
    }
}
