//! Connections, sessions and wills of MQTT 5.

use std::num::NonZero;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn connack(outputs: &[Output]) -> ConnAck {
    match outputs.first() {
        Some(Output::Send(_, Outgoing::ConnAck(ack))) => (**ack).clone(),
        other => panic!("no CONNACK: {other:?}"),
    }
}

#[test]
fn client_without_a_name_is_told_the_one_it_got() {
    // MQTT 5 §3.1.3.1 [MQTT-3.1.3-6, -7], §3.2.2.3.7 [MQTT-3.2.2-16]
    let mut rig = Rig::new();
    let first = connack(&rig.open(A, kept_5("", 60))).assigned_client.unwrap();
    let second = connack(&rig.open(B, connect_5(""))).assigned_client.unwrap();
    assert_ne!(first, second);
    rig.closed(A);
    let again = connack(&rig.open(A, kept_5(&first, 60)));
    assert_eq!((again.session_present, again.assigned_client), (true, None));
    let old = connack(&rig.open(C, connect("")));
    assert!(old.assigned_client.is_some(), "MQTT 3.1.1 has no way to tell, the wire leaves it out");
}

#[test]
fn enhanced_authentication_is_refused() {
    // MQTT 5 §4.12 [MQTT-4.12.0-1]
    let mut rig = Rig::new();
    let asked = Connect { enhanced_authentication: true, ..connect_5("a") };
    assert_eq!(rig.open(A, asked), refused(A, Reason::BadAuthenticationMethod));
}

#[test]
fn session_lives_as_long_as_its_expiry() {
    // MQTT 5 §3.1.2.11.2 [MQTT-3.1.2-23], §3.1.2.4 [MQTT-3.1.2-5, -6], §3.2.2.1.1 [MQTT-3.2.2-3]
    let mut rig = Rig::new();
    for (expiry, away, present) in
        [(0, 0, false), (10, 9, true), (10, 10, false), (u32::MAX, 1_000_000, true)]
    {
        rig.open(A, Connect { clean_start: true, ..kept_5("a", expiry) });
        rig.closed(A);
        rig.pass(SECOND * away);
        let answer = rig.open(B, kept_5("a", 0));
        assert_eq!(connack(&answer).session_present, present, "{expiry} s, away for {away} s");
        rig.closed(B);
        assert_eq!(rig.core.counts_mut().sessions, 0);
    }
}

#[test]
fn clean_start_discards_the_session_and_keeps_the_new_one() {
    // MQTT 5 §3.1.2.4 [MQTT-3.1.2-4], §3.2.2.1.1 [MQTT-3.2.2-2]
    let mut rig = Rig::new();
    rig.open(A, kept_5("a", 60));
    rig.subscribe(A, "t", QoS::AtLeastOnce);
    rig.closed(A);
    assert_eq!(rig.open(A, Connect { clean_start: true, ..kept_5("a", 60) }), [accepted(A, false)]);
    assert!(payloads(&rig.publish(A, message("t", "x", QoS::AtMostOnce)), A).is_empty());
    rig.closed(A);
    assert_eq!(rig.open(A, kept_5("a", 60)), [accepted(A, true)]);
}

#[test]
fn connection_that_comes_back_stops_the_clock_of_its_session() {
    let mut rig = Rig::new();
    rig.open(A, kept_5("a", 10));
    rig.closed(A);
    rig.pass(SECOND * 5);
    rig.open(B, kept_5("a", 10));
    rig.pass(SECOND * 60);
    assert_eq!((rig.core.counts_mut().connected, rig.core.counts_mut().sessions), (1, 1));
    assert_eq!(rig.core.poll_timeout(), Instant::FAR_FUTURE);
}

#[test]
fn disconnect_may_change_the_expiry_but_not_revive_a_session() {
    // MQTT 5 §3.14.2.2.2
    let mut rig = Rig::new();
    let goodbye =
        |seconds| Incoming::Disconnect { reason: Reason::Success, session_expiry: Some(seconds) };
    rig.open(A, kept_5("a", 60));
    assert_eq!(rig.packet(A, goodbye(0)), [Output::Close(A)]);
    assert_eq!(rig.open(A, kept_5("a", 60)), [accepted(A, false)]);
    rig.packet(A, goodbye(100));
    rig.pass(SECOND * 99);
    assert_eq!(rig.open(A, kept_5("a", 0)), [accepted(A, true)]);
    assert_eq!(rig.packet(A, goodbye(1)), disconnected(A, Reason::ProtocolError));
}

#[test]
fn session_goes_from_one_version_to_the_other() {
    let mut rig = Rig::new();
    rig.join(B, "b");
    rig.open(A, kept("a"));
    rig.subscribe(A, "t", QoS::AtLeastOnce);
    rig.closed(A);
    rig.publish(B, message("t", "1", QoS::AtLeastOnce));
    let outputs = rig.open(A, kept_5("a", 60));
    assert_eq!(outputs[0], accepted(A, true));
    assert_eq!(payloads(&outputs, A), ["1"]);
    rig.closed(A);
    let outputs = rig.open(A, kept("a"));
    assert_eq!(outputs[0], accepted(A, true));
    assert_eq!(payloads(&outputs, A), ["1"]);
}

#[test]
fn delayed_will_waits_for_the_client() {
    // MQTT 5 §3.1.3.2.2 [MQTT-3.1.3-9], §3.1.2.5 [MQTT-3.1.2-8]
    let open = || {
        let mut rig = Rig::new();
        rig.join(C, "watcher");
        rig.subscribe(C, "will", QoS::AtMostOnce);
        rig.open(A, Connect { will: will(10), ..kept_5("a", 60) });
        assert!(rig.closed(A).is_empty());
        rig
    };
    let mut rig = open();
    assert!(rig.pass(SECOND * 9).is_empty());
    assert_eq!(payloads(&rig.pass(SECOND), C), ["gone"]);
    assert!(payloads(&rig.pass(SECOND * 60), C).is_empty(), "once");

    let mut rig = open();
    rig.pass(SECOND * 9);
    assert_eq!(rig.open(B, kept_5("a", 60)), [accepted(B, true)]);
    assert!(rig.pass(SECOND * 60).is_empty(), "it came back in time");
}

#[test]
fn delayed_will_is_published_when_the_session_ends_before() {
    // MQTT 5 §3.1.3.2.2
    let mut rig = Rig::new();
    rig.join(C, "watcher");
    rig.subscribe(C, "will", QoS::AtMostOnce);
    rig.open(A, Connect { will: will(100), ..kept_5("a", 10) });
    rig.closed(A);
    assert!(rig.pass(SECOND * 9).is_empty());
    assert_eq!(payloads(&rig.pass(SECOND), C), ["gone"]);

    rig.open(A, Connect { will: will(100), ..connect_5("a") });
    assert_eq!(payloads(&rig.closed(A), C), ["gone"], "the session ends with the connection");

    rig.open(A, Connect { will: will(100), ..kept_5("a", 60) });
    rig.closed(A);
    let outputs = rig.open(A, Connect { clean_start: true, ..kept_5("a", 60) });
    assert_eq!(payloads(&outputs, C), ["gone"], "a clean start ends it");
    assert_eq!(rig.core.counts_mut().wills, 3);
    rig.closed(A);
    rig.pass(SECOND * 60);
    assert_eq!(rig.core.poll_timeout(), Instant::FAR_FUTURE, "no timer is left");
}

#[test]
fn only_normal_disconnection_takes_the_will_along() {
    // MQTT 5 §3.14.4 [MQTT-3.14.4-3], §3.14.2.1
    for (reason, published) in [
        (Reason::Success, 0),
        (Reason::DisconnectWithWill, 1),
        (Reason::UnspecifiedError, 1),
        (Reason::MessageRateTooHigh, 1),
    ] {
        let mut rig = Rig::new();
        rig.open(A, Connect { will: will(0), ..connect_5("a") });
        rig.packet(A, Incoming::Disconnect { reason, session_expiry: None });
        assert_eq!(rig.core.counts_mut().wills, published, "{reason}");
    }
}

#[test]
fn client_is_told_why_it_is_closed() {
    // MQTT 5 §3.1.4 [MQTT-3.1.4-3], §3.1.2.10 [MQTT-3.1.2-22], §4.13 [MQTT-4.13.1-1]
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    let again = rig.open(B, connect_5("a"));
    assert_eq!(again[..2], disconnected(A, Reason::SessionTakenOver));
    assert_eq!(rig.packet(B, Incoming::PubRel(Ack::success(1))).len(), 1);
    let second = Incoming::Connect(Box::new(connect_5("a")));
    assert_eq!(rig.packet(B, second), disconnected(B, Reason::ProtocolError));
    rig.open(A, Connect { keep_alive: 10, ..connect_5("a") });
    assert_eq!(rig.pass(SECOND * 15), disconnected(A, Reason::KeepAliveTimeout));
    rig.join(C, "c");
    let outputs = rig.packet(C, Incoming::UnsupportedLevel(3));
    assert_eq!(outputs, [Output::Close(C)], "MQTT 3.1.1 has no DISCONNECT for it");
}

#[test]
fn connection_that_was_not_accepted_is_closed_without_disconnect() {
    // MQTT 5 §3.14 [MQTT-3.14.0-1]
    let mut rig = Rig::new();
    rig.core.handle_opened(rig.now, A, Announced::default());
    assert_eq!(rig.packet(A, Incoming::PingReq), [Output::Close(A)]);
}

#[test]
fn what_is_announced_is_told_and_belongs_to_the_connection() {
    // MQTT 5 §3.2.2.3
    let mut rig = Rig::new();
    rig.announced.receive_maximum = NonZero::new(5);
    let first = connack(&rig.open(A, connect_5("a")));
    assert_eq!(first.announced, rig.announced);
    rig.announced.receive_maximum = NonZero::new(1);
    for packet_id in 1..=5 {
        let qos_2 = message("t", "x", QoS::ExactlyOnce);
        assert_eq!(rig.packet(A, publish(qos_2, false, packet_id)).len(), 1, "it was told five");
    }
    rig.closed(A);
    let second = connack(&rig.open(A, connect_5("a")));
    assert_eq!(second.announced.receive_maximum, NonZero::new(1), "the limit has shrunk");
}

#[test]
fn server_keep_alive_takes_the_place_of_the_clients() {
    // MQTT 5 §3.2.2.3.14 [MQTT-3.2.2-21], §3.1.2.10 [MQTT-3.1.2-21, -22]
    let mut rig = Rig::new();
    rig.announced.server_keep_alive = Some(2);
    rig.open(A, Connect { keep_alive: 1000, ..connect_5("a") });
    assert_eq!(rig.core.poll_timeout(), Instant::from_micros(3_000_000));
    rig.closed(A);
    rig.open(A, Connect { keep_alive: 10, ..connect("a") });
    assert_eq!(rig.core.poll_timeout(), Instant::from_micros(15_000_000), "MQTT 3.1.1");
}

#[test]
fn will_beyond_what_is_announced_is_refused() {
    // MQTT 5 §3.2.2.3.4 [MQTT-3.2.2-12], §3.2.2.3.5 [MQTT-3.2.2-13]
    let with = |message| Connect { will: Some(Will { message, delay: 0 }), ..connect_5("a") };
    let mut rig = Rig::new();
    rig.announced.maximum_qos = QoS::AtMostOnce;
    rig.announced.retain_available = false;
    let loud = with(message("t", "x", QoS::AtLeastOnce));
    assert_eq!(rig.open(A, loud), refused(A, Reason::QosNotSupported));
    let kept = with(retained("t", "x", QoS::AtMostOnce));
    assert_eq!(rig.open(A, kept), refused(A, Reason::RetainNotSupported));
    rig.open(A, with(message("t", "x", QoS::AtMostOnce)));
    assert_eq!(rig.core.counts_mut().connects, 1);
    let old = Connect { version: Version::V4, ..with(retained("t", "x", QoS::ExactlyOnce)) };
    rig.open(B, old);
    assert_eq!(rig.core.counts_mut().connects, 2, "MQTT 3.1.1 was not told");
}

#[test]
fn amnesia_leaves_no_will_and_no_timer() {
    let mut rig = Rig::new();
    rig.open(A, Connect { will: will(10), ..kept_5("a", 60) });
    rig.closed(A);
    rig.core.handle_amnesia();
    assert_eq!(rig.core.poll_timeout(), Instant::FAR_FUTURE);
    assert!(rig.pass(SECOND * 100).is_empty());
    assert_eq!(rig.core.counts_mut().wills, 0);
}
