//! The rules that both versions share, and those of MQTT 3.1.1.

use super::*;

#[test]
fn first_packet_has_to_be_connect() {
    // MQTT 3.1.1 §3.1 [MQTT-3.1.0-1]
    let mut rig = Rig::new();
    rig.core.handle_opened(rig.now, A, Announced::default());
    assert_eq!(rig.packet(A, Incoming::PingReq), [Output::Close(A)]);
}

#[test]
fn second_connect_closes() {
    // MQTT 3.1.1 §3.1 [MQTT-3.1.0-2]
    let mut rig = Rig::new();
    rig.join(A, "a");
    let again = Incoming::Connect(Box::new(connect("a")));
    assert_eq!(rig.packet(A, again), [Output::Close(A)]);
}

#[test]
fn unsupported_protocol_level_is_answered_and_closed() {
    // MQTT 3.1.1 §3.1.2.2 [MQTT-3.1.2-2], MQTT 5 the same
    let mut rig = Rig::new();
    rig.core.handle_opened(rig.now, A, Announced::default());
    let answer = rig.packet(A, Incoming::UnsupportedLevel(3));
    assert_eq!(answer, refused(A, Reason::UnsupportedProtocolVersion));
}

#[test]
fn silent_connection_without_connect_is_closed() {
    // MQTT 3.1.1 §3.1.4
    let mut rig = Rig::new();
    rig.core.handle_opened(rig.now, A, Announced::default());
    assert!(rig.pass(Duration::from_millis(9_999)).is_empty());
    assert_eq!(rig.pass(Duration::from_millis(1)), [Output::Close(A)]);
}

#[test]
fn session_is_present_only_when_it_was_kept() {
    // MQTT 3.1.1 §3.2.2.2 [MQTT-3.2.2-1, -2, -3], §3.1.2.4 [MQTT-3.1.2-6]
    let mut rig = Rig::new();
    assert_eq!(rig.open(A, kept("a")), [accepted(A, false)]);
    rig.closed(A);
    assert_eq!(rig.open(B, kept("a")), [accepted(B, true)]);
    rig.closed(B);
    assert_eq!(rig.open(C, connect("a")), [accepted(C, false)]);
    rig.closed(C);
    assert_eq!(rig.open(A, kept("a")), [accepted(A, false)]);
    assert_eq!(rig.core.counts_mut().sessions, 1);
}

#[test]
fn empty_client_id_gets_a_name_only_with_a_clean_session() {
    // MQTT 3.1.1 §3.1.3.1 [MQTT-3.1.3-6, -7, -8]
    let mut rig = Rig::new();
    rig.open(A, connect(""));
    rig.open(B, connect(""));
    assert_eq!(rig.core.counts_mut().connected, 2, "the names differ");
    assert_eq!(rig.open(C, kept("")), refused(C, Reason::ClientIdentifierNotValid));
}

#[test]
fn login_has_to_match() {
    let login = Login { user: "u".to_owned(), password: vec![0xff] };
    let mut rig = Rig::with(Limits::default(), Some(login));
    let with = |user: Option<&str>, password: Option<&'static [u8]>| Connect {
        user: user.map(str::to_owned),
        password: password.map(Into::into),
        ..connect("a")
    };
    for wrong in [
        with(None, None),
        with(Some("u"), None),
        with(Some("u"), Some(b"x")),
        with(Some("x"), Some(b"\xff")),
    ] {
        assert_eq!(rig.open(A, wrong), refused(A, Reason::NotAuthorized));
    }
    assert_eq!(rig.open(A, with(Some("u"), Some(b"\xff"))), [accepted(A, false)]);
}

#[test]
fn session_limit_refuses_new_clients_only() {
    let mut rig = Rig::with(Limits { max_sessions: 1, ..Limits::default() }, None);
    assert_eq!(rig.open(A, kept("a")), [accepted(A, false)]);
    assert_eq!(rig.open(B, connect("b")), refused(B, Reason::ServerUnavailable));
    rig.closed(A);
    assert_eq!(rig.open(C, kept("a")), [accepted(C, true)]);
}

#[test]
fn every_publish_is_acknowledged_as_its_qos_says_and_recorded() {
    // MQTT 3.1.1 §3.3.4
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.now = Instant::from_micros(5);
    assert!(rig.publish(A, message("t", "0", QoS::AtMostOnce)).is_empty());
    assert_eq!(
        rig.publish(A, message("t", "1", QoS::AtLeastOnce)),
        [puback(A, 7, Reason::NoMatchingSubscribers)]
    );
    assert_eq!(
        rig.publish(A, retained("t", "2", QoS::ExactlyOnce)),
        [pubrec(A, 7, Reason::NoMatchingSubscribers)]
    );
    let last = Recorded {
        order: 2,
        at: rig.now,
        client: "a".into(),
        topic: "t".into(),
        payload: "2".into(),
        properties: None,
        topic_alias: None,
        qos: QoS::ExactlyOnce,
        retain: true,
        dup: false,
        will: false,
    };
    assert_eq!(rig.recorded.len(), 3);
    assert_eq!(rig.recorded[2], last);
}

#[test]
fn repeated_qos_2_publish_counts_once_until_it_is_released() {
    // MQTT 3.1.1 §4.3.3, Figure 4.3
    let mut rig = Rig::new();
    rig.open(A, kept("a"));
    rig.publish(A, message("t", "x", QoS::ExactlyOnce));
    rig.closed(A);
    rig.open(B, kept("a"));
    let again = publish(message("t", "x", QoS::ExactlyOnce), true, 7);
    assert_eq!(rig.packet(B, again.clone()), [pubrec(B, 7, Reason::Success)]);
    assert_eq!(rig.recorded.len(), 1);
    let release = Incoming::PubRel(Ack::success(7));
    assert_eq!(rig.packet(B, release.clone()), [pubcomp(B, 7, Reason::Success)]);
    assert_eq!(
        rig.packet(B, release),
        [pubcomp(B, 7, Reason::PacketIdentifierNotFound)],
        "an unknown identifier is answered as well"
    );
    rig.packet(B, again);
    assert_eq!(rig.recorded.len(), 2, "the identifier is free for a new message");
}

#[test]
fn repeated_qos_1_publish_is_a_new_arrival_with_dup() {
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.publish(A, message("t", "x", QoS::AtLeastOnce));
    let message = message("t", "x", QoS::AtLeastOnce);
    rig.packet(A, publish(message, true, 7));
    assert_eq!(rig.recorded.iter().map(|recorded| recorded.dup).collect::<Vec<_>>(), [false, true]);
    assert_eq!(rig.core.counts_mut().duplicates, 1);
}

#[test]
fn delivery_has_the_lower_qos_and_no_retain_flag() {
    // MQTT 3.1.1 §3.8.4 [MQTT-3.8.4-6], §3.3.1.3 [MQTT-3.3.1-9], §3.3.1.1 [MQTT-3.3.1-3]
    let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for published in levels {
        for granted in levels {
            let mut rig = Rig::new();
            rig.join(A, "a");
            rig.join(B, "b");
            rig.subscribe(B, "t", granted);
            let qos = if (published as u8) < granted as u8 { published } else { granted };
            let publish = publish(
                retained("t", "x", published),
                published != QoS::AtMostOnce,
                7 * u16::from(published as u8 > 0),
            );
            let id = u16::from(qos as u8 > 0);
            let outputs = rig.packet(A, publish);
            assert_eq!(
                outputs[0],
                sent(B, message("t", "x", qos), id),
                "{published:?} {granted:?}"
            );
        }
    }
}

#[test]
fn publisher_gets_its_own_message_when_it_subscribed() {
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.subscribe(A, "#", QoS::AtMostOnce);
    let outputs = rig.publish(A, message("t", "x", QoS::AtMostOnce));
    assert_eq!(outputs, [sent(A, message("t", "x", QoS::AtMostOnce), 0)]);
}

#[test]
fn subscription_is_answered_then_gets_the_retained_messages_each_time() {
    // MQTT 3.1.1 §3.8.4 [MQTT-3.8.4-3, -5], §3.3.1.3 [MQTT-3.3.1-6, -8]
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.publish(A, retained("t/1", "x", QoS::AtLeastOnce));
    rig.publish(A, message("t/2", "y", QoS::AtLeastOnce));
    for id in [1, 2] {
        assert_eq!(
            rig.subscribe(A, "t/+", QoS::ExactlyOnce),
            [
                suback(A, vec![Reason::GrantedQos2]),
                sent(A, retained("t/1", "x", QoS::AtLeastOnce), id),
            ]
        );
    }
}

#[test]
fn every_filter_of_a_subscribe_gets_its_code_in_order() {
    // MQTT 3.1.1 §3.9.3 [MQTT-3.8.4-5]
    let mut rig = Rig::with(Limits { max_subscriptions: 2, ..Limits::default() }, None);
    rig.join(A, "a");
    let deep = "/".repeat(1000);
    let requests = vec![
        request("a", QoS::AtMostOnce),
        request(&deep, QoS::AtLeastOnce),
        request("b", QoS::ExactlyOnce),
        request("c", QoS::AtLeastOnce),
        request("a", QoS::AtLeastOnce),
    ];
    let reasons = vec![
        Reason::Success,
        Reason::TopicFilterInvalid,
        Reason::GrantedQos2,
        Reason::QuotaExceeded,
        Reason::GrantedQos1,
    ];
    assert_eq!(rig.packet(A, Incoming::Subscribe { packet_id: 9, requests }), [suback(A, reasons)]);
}

#[test]
fn unsubscribed_filter_gets_nothing_and_an_unknown_one_is_answered() {
    // MQTT 3.1.1 §3.10.4 [MQTT-3.10.4-1, -4, -5]
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.subscribe(A, "t", QoS::AtMostOnce);
    let filters = vec!["t".to_owned(), "unknown".to_owned()];
    let reasons = vec![Reason::Success, Reason::NoSubscriptionExisted];
    assert_eq!(
        rig.packet(A, Incoming::Unsubscribe { packet_id: 4, filters }),
        [Output::Send(A, Outgoing::UnsubAck { packet_id: 4, reasons })]
    );
    assert!(rig.publish(A, message("t", "x", QoS::AtMostOnce)).is_empty());
}

#[test]
fn kept_session_gets_later_what_it_missed_except_qos_0() {
    // MQTT 3.1.1 §3.1.2.4 [MQTT-3.1.2-5], §4.4 [MQTT-4.4.0-1]
    let limits = Limits { max_queued: 2, ..Limits::default() };
    let mut rig = Rig::with(limits, None);
    rig.join(A, "a");
    rig.open(B, kept("b"));
    rig.subscribe(B, "t", QoS::AtLeastOnce);
    let first = rig.publish(A, message("t", "unacknowledged", QoS::AtLeastOnce));
    assert_eq!(payloads(&first, B), ["unacknowledged"]);
    rig.closed(B);
    for (payload, qos) in [
        ("0", QoS::AtMostOnce),
        ("1", QoS::AtLeastOnce),
        ("2", QoS::AtLeastOnce),
        ("beyond the limit", QoS::AtLeastOnce),
    ] {
        assert_eq!(payloads(&rig.publish(A, message("t", payload, qos)), B), [""; 0]);
    }
    assert_eq!(
        rig.open(C, kept("b")),
        [
            accepted(C, true),
            repeated(C, message("t", "unacknowledged", QoS::AtLeastOnce), 1),
            sent(C, message("t", "1", QoS::AtLeastOnce), 2),
            sent(C, message("t", "2", QoS::AtLeastOnce), 3),
        ]
    );
    assert_eq!(rig.core.counts_mut().dropped_queued, 1);
}

#[test]
fn clean_session_ends_with_its_connection() {
    // MQTT 3.1.1 §3.1.2.4
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.join(B, "b");
    rig.subscribe(B, "t", QoS::AtLeastOnce);
    rig.closed(B);
    let outputs = rig.publish(A, message("t", "x", QoS::AtLeastOnce));
    assert_eq!(outputs, [puback(A, 7, Reason::NoMatchingSubscribers)]);
    assert_eq!(rig.core.counts_mut().sessions, 1);
    rig.join(B, "b");
}

#[test]
fn qos_2_delivery_runs_through_its_four_packets() {
    // MQTT 3.1.1 §4.3.3
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.subscribe(A, "t", QoS::ExactlyOnce);
    rig.publish(A, message("t", "x", QoS::ExactlyOnce));
    let pubrel = Output::Send(A, Outgoing::PubRel(Ack::success(1)));
    assert_eq!(rig.packet(A, Incoming::PubRec(Ack::success(1))), [pubrel]);
    assert!(rig.packet(A, Incoming::PubComp(Ack::success(1))).is_empty());
}

#[test]
fn acknowledgement_in_the_wrong_step_closes() {
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.subscribe(A, "t", QoS::ExactlyOnce);
    rig.publish(A, message("t", "x", QoS::ExactlyOnce));
    assert_eq!(rig.packet(A, Incoming::PubAck(Ack::success(1))), [Output::Close(A)]);
    assert_eq!(rig.core.counts_mut().violations, 1);
}

#[test]
fn will_is_published_unless_the_client_says_goodbye() {
    // MQTT 3.1.1 §3.1.2.5 [MQTT-3.1.2-8, -10], §3.14.4 [MQTT-3.14.4-3]
    type Ending = fn(&mut Rig) -> Vec<Output>;
    let endings: [(&str, bool, Ending); 6] = [
        ("DISCONNECT", false, |rig| rig.packet(A, disconnect())),
        ("outage", false, |rig| {
            rig.core.handle_outage();
            rig.drain()
        }),
        ("network failure", true, |rig| rig.closed(A)),
        ("violation", true, |rig| rig.packet(A, Incoming::UnsupportedLevel(3))),
        ("takeover", true, |rig| rig.open(B, connect("a"))),
        ("silence", true, |rig| rig.pass(Duration::from_secs(15))),
    ];
    for (ending, published, end) in endings {
        let mut rig = Rig::new();
        rig.join(C, "watcher");
        rig.subscribe(C, "will", QoS::AtMostOnce);
        rig.open(A, Connect { keep_alive: 10, ..with_will("a") });
        let outputs = end(&mut rig);
        let expected: &[&str] = if published { &["gone"] } else { &[] };
        assert_eq!(payloads(&outputs, C), expected, "{ending}");
        assert_eq!(rig.recorded.iter().filter(|recorded| recorded.will).count(), expected.len());
    }
}

#[test]
fn retained_will_is_retained() {
    // MQTT 3.1.1 §3.1.2.7 [MQTT-3.1.2-17]
    let mut rig = Rig::new();
    let message = retained("status", "offline", QoS::AtLeastOnce);
    let will = Some(Will { message, delay: 0 });
    rig.open(A, Connect { will, ..connect("a") });
    rig.closed(A);
    rig.join(B, "b");
    assert_eq!(payloads(&rig.subscribe(B, "status", QoS::AtMostOnce), B), ["offline"]);
}

#[test]
fn newer_connection_takes_the_client_id_and_the_kept_session() {
    // MQTT 3.1.1 §3.1.4 [MQTT-3.1.4-2]
    let mut rig = Rig::new();
    rig.open(A, kept("a"));
    rig.subscribe(A, "t", QoS::AtLeastOnce);
    assert_eq!(rig.open(B, kept("a")), [Output::Close(A), accepted(B, true)]);
    assert!(rig.closed(A).is_empty(), "the late end of the old one changes nothing");
    let outputs = rig.publish(B, message("t", "x", QoS::AtLeastOnce));
    assert_eq!(payloads(&outputs, B), ["x"]);
    assert_eq!(rig.core.counts_mut().takeovers, 1);
    assert_eq!(rig.core.counts_mut().connected, 1);
}

#[test]
fn client_is_closed_after_one_and_a_half_keep_alive() {
    // MQTT 3.1.1 §3.1.2.10 [MQTT-3.1.2-24]
    let mut rig = Rig::new();
    rig.open(A, Connect { keep_alive: 10, ..connect("a") });
    assert_eq!(rig.core.poll_timeout(), Instant::from_micros(15_000_000));
    assert!(rig.pass(Duration::from_millis(14_999)).is_empty());
    assert_eq!(rig.packet(A, Incoming::PingReq), [Output::Send(A, Outgoing::PingResp)]);
    assert!(rig.pass(Duration::from_millis(14_999)).is_empty());
    assert_eq!(rig.pass(Duration::from_millis(1)), [Output::Close(A)]);
    assert_eq!(rig.core.counts_mut().timeouts, 1);
    assert_eq!(rig.core.poll_timeout(), Instant::FAR_FUTURE);
}

#[test]
fn closed_connection_leaves_no_timer() {
    let mut rig = Rig::new();
    rig.open(A, Connect { keep_alive: 10, ..connect("a") });
    rig.closed(A);
    assert_eq!(rig.core.poll_timeout(), Instant::FAR_FUTURE);
}

#[test]
fn keep_alive_of_zero_is_off() {
    // MQTT 3.1.1 §3.1.2.10
    let mut rig = Rig::new();
    rig.join(A, "a");
    assert_eq!(rig.core.poll_timeout(), Instant::FAR_FUTURE);
    assert!(rig.pass(Duration::from_secs(1_000_000)).is_empty());
}

#[test]
fn silence_while_the_broker_did_not_listen_is_forgiven() {
    let mut rig = Rig::new();
    rig.open(A, Connect { keep_alive: 10, ..connect("a") });
    rig.now = Instant::from_micros(60_000_000);
    rig.core.handle_resume(rig.now);
    assert!(rig.pass(Duration::from_secs(14)).is_empty());
    assert_eq!(rig.pass(Duration::from_secs(1)), [Output::Close(A)]);
}

#[test]
fn outage_keeps_what_amnesia_loses() {
    let mut rig = Rig::new();
    rig.open(A, kept("a"));
    rig.publish(A, retained("t", "x", QoS::AtMostOnce));
    rig.core.handle_outage();
    assert_eq!(rig.drain(), [Output::Close(A)]);
    assert_eq!(rig.open(A, kept("a")), [accepted(A, true)]);
    assert_eq!(payloads(&rig.subscribe(A, "t", QoS::AtMostOnce), A), ["x"]);
    rig.core.handle_amnesia();
    assert_eq!(rig.drain(), [Output::Close(A)]);
    assert_eq!(rig.open(A, kept("a")), [accepted(A, false)]);
    assert!(payloads(&rig.subscribe(A, "t", QoS::AtMostOnce), A).is_empty());
}

#[test]
fn full_retained_map_still_delivers() {
    let mut rig = Rig::with(Limits { max_retained: 0, ..Limits::default() }, None);
    rig.join(A, "a");
    rig.subscribe(A, "t", QoS::AtMostOnce);
    let outputs = rig.publish(A, retained("t", "x", QoS::AtMostOnce));
    assert_eq!(payloads(&outputs, A), ["x"]);
    assert_eq!(rig.core.counts_mut().dropped_retained, 1);
}

#[test]
fn packet_of_an_unknown_connection_is_ignored() {
    let mut rig = Rig::new();
    assert!(rig.packet(A, Incoming::PingReq).is_empty());
    assert!(rig.closed(A).is_empty());
}
