//! Misbehaviour that the core commits.

use super::*;
use crate::broker::Matching;
use crate::broker::faults::Faults;

impl Rig {
    fn fault(&mut self, switch: impl FnOnce(&Faults)) {
        switch(&self.faults);
        self.core.handle_plan(&self.faults.watch().borrow());
    }
}

#[test]
fn refusal_on_purpose_answers_with_its_reason() {
    let mut rig = Rig::new();
    rig.fault(|faults| faults.refuse(Some(Reason::ServerBusy)));
    for connect in [connect("a"), connect_5("a")] {
        assert_eq!(rig.open(A, connect), refused(A, Reason::ServerBusy));
    }
    rig.fault(|faults| faults.refuse(None));
    rig.join(B, "a");
}

#[test]
fn silent_broker_answers_nothing_and_closes_nothing() {
    let mut rig = Rig::new();
    rig.fault(|faults| faults.silence(true));
    assert!(rig.open(A, connect_5("a")).is_empty());
    assert!(rig.packet(A, Incoming::PingReq).is_empty());
    assert!(rig.pass(Duration::from_secs(3600)).is_empty());
    assert_eq!(rig.core.counts_mut().unanswered, 1);
    rig.fault(|faults| faults.silence(false));
    assert!(rig.packet(A, Incoming::PingReq).is_empty(), "this one stays as it is");
    rig.join(B, "b");
}

#[test]
fn rejected_message_is_neither_recorded_nor_delivered() {
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    rig.join_5(B, "b");
    rig.subscribe(B, "#", QoS::AtMostOnce);
    let bad = Matching::all().topic("bad/+".parse().unwrap());
    rig.fault(|faults| faults.reject(Some((Reason::QuotaExceeded, bad))));
    let outputs = rig.publish(A, message("bad/1", "x", QoS::AtLeastOnce));
    assert_eq!(outputs, [puback(A, 7, Reason::QuotaExceeded)]);
    let outputs = rig.publish(A, message("bad/1", "x", QoS::ExactlyOnce));
    assert_eq!(outputs, [pubrec(A, 7, Reason::QuotaExceeded)]);
    assert!(rig.publish(A, message("bad/1", "x", QoS::AtMostOnce)).is_empty());
    assert!(rig.recorded.is_empty());
    rig.publish(A, message("good", "x", QoS::AtLeastOnce));
    assert_eq!(rig.recorded.len(), 1);
    assert_eq!((rig.core.counts_mut().rejected, rig.core.counts_mut().publishes), (3, 1));
}

#[test]
fn identifier_of_a_rejected_message_is_free_for_another_one() {
    // MQTT 5 §4.3.3: a PUBREC with an error ends the exchange.
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    let once = Matching::all().once();
    rig.fault(|faults| faults.reject(Some((Reason::QuotaExceeded, once))));
    rig.publish(A, message("t", "refused", QoS::ExactlyOnce));
    rig.publish(A, message("t", "taken", QoS::ExactlyOnce));
    assert_eq!(rig.recorded.len(), 1);
    assert_eq!(rig.recorded[0].payload, "taken");
}

#[test]
fn client_of_mqtt_3_1_1_is_closed_where_it_cannot_be_told() {
    // MQTT 3.1.1 §3.3.5
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.fault(|faults| faults.reject(Some((Reason::QuotaExceeded, Matching::all()))));
    assert!(rig.publish(A, message("t", "x", QoS::AtMostOnce)).is_empty());
    assert_eq!(rig.publish(A, message("t", "x", QoS::AtLeastOnce)), [Output::Close(A)]);
    assert!(rig.recorded.is_empty());
}

#[test]
fn poison_closes_each_connection_on_which_it_arrives() {
    let mut rig = Rig::new();
    let poison = Matching::all().payload("666");
    rig.fault(|faults| faults.poison(Some(poison)));
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        rig.join_5(A, "a");
        assert_eq!(rig.publish(A, message("t", "1", QoS::AtLeastOnce)).len(), 1);
        assert_eq!(rig.publish(A, message("t", "x666y", qos)), [Output::Close(A)]);
    }
    assert_eq!(rig.recorded.len(), 3, "what came before it");
    assert_eq!(rig.core.counts_mut().poisoned, 3);
    assert_eq!(rig.core.counts_mut().violations, 0);
}

#[test]
fn lie_is_acknowledged_and_forgotten() {
    let mut rig = Rig::new();
    rig.join(A, "a");
    rig.subscribe(A, "#", QoS::AtMostOnce);
    rig.fault(|faults| faults.lie(Some(Matching::all().once())));
    let outputs = rig.publish(A, message("t", "forgotten", QoS::AtLeastOnce));
    assert_eq!(outputs, [puback(A, 7, Reason::Success)]);
    assert!(rig.recorded.is_empty());
    rig.publish(A, message("t", "kept", QoS::AtLeastOnce));
    assert_eq!(rig.recorded.len(), 1);
    assert_eq!((rig.core.counts_mut().lies, rig.core.counts_mut().publishes), (1, 1));
}

#[test]
fn lie_about_qos_2_goes_through_all_four_packets() {
    let mut rig = Rig::new();
    rig.join_5(A, "a");
    rig.fault(|faults| faults.lie(Some(Matching::all())));
    let outputs = rig.publish(A, message("t", "x", QoS::ExactlyOnce));
    assert_eq!(outputs, [pubrec(A, 7, Reason::Success)]);
    let outputs = rig.packet(A, Incoming::PubRel(Ack::success(7)));
    assert_eq!(outputs, [pubcomp(A, 7, Reason::Success)]);
    assert!(rig.recorded.is_empty());
}

#[test]
fn lost_session_is_told_and_truly_lost() {
    let mut rig = Rig::new();
    for connect in [kept("a"), kept_5("a", 60)] {
        rig.fault(|faults| faults.clear());
        rig.open(A, connect.clone());
        rig.subscribe(A, "t", QoS::AtLeastOnce);
        rig.closed(A);
        rig.fault(|faults| faults.lose_sessions(true));
        assert_eq!(rig.open(A, connect), [accepted(A, false)]);
        let outputs = rig.publish(A, message("t", "x", QoS::AtMostOnce));
        assert!(outputs.is_empty(), "the subscription is gone");
        rig.closed(A);
    }
}

#[test]
fn wrong_session_present_is_wrong_both_ways() {
    let mut rig = Rig::new();
    rig.fault(|faults| faults.wrong_session_present(true));
    assert_eq!(rig.open(A, kept("a")), [accepted(A, true)]);
    rig.subscribe(A, "t", QoS::AtMostOnce);
    rig.closed(A);
    assert_eq!(rig.open(A, kept("a")), [accepted(A, false)]);
    let outputs = rig.publish(A, message("t", "x", QoS::AtMostOnce));
    assert_eq!(payloads(&outputs, A), ["x"], "the session itself is there");
}

#[test]
fn goodbye_has_its_reason_and_publishes_the_will() {
    let mut rig = Rig::new();
    rig.open(A, Connect { will: will(0), ..connect_5("a") });
    rig.join(B, "b");
    rig.core.handle_goodbye(rig.now, A, Reason::ServerBusy);
    assert_eq!(rig.drain(), disconnected(A, Reason::ServerBusy));
    rig.core.handle_goodbye(rig.now, B, Reason::ServerBusy);
    assert_eq!(rig.drain(), [Output::Close(B)]);
    let counts = rig.core.counts_mut();
    assert_eq!((counts.disconnects, counts.wills, counts.violations), (2, 1, 0));
}
