use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: Instant = Instant::ZERO;

fn owner(n: u64) -> Owner {
    Owner::Ticket(Ticket { lane: 0, part: 0, n })
}

fn open(inflight: &mut Inflight, n: u64, qos: QoS) -> Option<u16> {
    let publish = Publish {
        topic: "t".to_owned(),
        payload: Bytes::new(),
        qos,
        retain: false,
        properties: None,
    };
    inflight.open(owner(n), qos, Some(Box::new(publish)), NOW)
}

#[test]
fn an_identifier_is_free_again_only_after_its_exchange() {
    // MQTT 5 §2.2.1
    let mut inflight = Inflight::new(2);
    let once = open(&mut inflight, 1, QoS::AtLeastOnce).unwrap();
    let exactly = open(&mut inflight, 2, QoS::ExactlyOnce).unwrap();
    assert_eq!(open(&mut inflight, 3, QoS::AtLeastOnce), None);
    assert_eq!(inflight.receive(exactly, NOW), Ok(true));
    assert_eq!(inflight.receive(exactly, NOW), Ok(false), "PUBREL is on its way already");
    assert_eq!(open(&mut inflight, 3, QoS::AtLeastOnce), None);
    assert_eq!(inflight.close(exactly, Step::Complete, NOW), Ok(owner(2)));
    assert_eq!(inflight.close(exactly, Step::Complete, NOW), Err(Unasked));
    assert_eq!(inflight.close(once, Step::Acknowledge, NOW), Ok(owner(1)));
    assert!(inflight.is_idle() && inflight.exactly_once() == 0 && inflight.sent() == 0);
}

#[test]
fn an_acknowledgement_of_another_step_is_not_taken() {
    // MQTT 5 §4.3.2, §4.3.3
    let mut inflight = Inflight::new(4);
    let once = open(&mut inflight, 1, QoS::AtLeastOnce).unwrap();
    let exactly = open(&mut inflight, 2, QoS::ExactlyOnce).unwrap();
    assert_eq!(inflight.receive(once, NOW), Err(Unasked));
    for (id, step) in [
        (once, Step::Complete),
        (once, Step::Receive),
        (exactly, Step::Acknowledge),
        (exactly, Step::Complete),
        (0, Step::Acknowledge),
        (9, Step::Acknowledge),
    ] {
        assert_eq!(inflight.close(id, step, NOW), Err(Unasked), "{id} {step:?}");
    }
}

#[test]
fn what_a_session_keeps_is_sent_again_in_order_as_far_as_there_is_room() {
    // MQTT 5 §4.4, §4.9
    let mut inflight = Inflight::new(8);
    let ids: Vec<u16> = (0..4).map(|n| open(&mut inflight, n, QoS::ExactlyOnce).unwrap()).collect();
    let status = inflight.open(Owner::Status, QoS::AtLeastOnce, None, NOW).unwrap();
    inflight.receive(ids[1], NOW).unwrap();
    inflight.close(ids[0], Step::Receive, NOW).unwrap();
    inflight.suspend(NOW);
    assert_eq!(inflight.sent(), 0);
    assert_eq!(inflight.close(status, Step::Acknowledge, NOW), Err(Unasked), "it is old news");
    let mut again = || match inflight.poll_again(2, NOW)? {
        Again::PubRel(id) => Some((id, None)),
        Again::Publish(id, qos, ..) => Some((id, Some(qos))),
    };
    assert_eq!(again(), Some((ids[1], None)), "PUBREL needs no room");
    assert_eq!(again(), Some((ids[2], Some(QoS::ExactlyOnce))));
    assert_eq!(again(), None);
    assert!(inflight.has_again());
    inflight.close(ids[1], Step::Complete, NOW).unwrap();
    assert!(matches!(inflight.poll_again(2, NOW), Some(Again::Publish(id, ..)) if id == ids[3]));
    assert!(inflight.poll_again(2, NOW).is_none() && !inflight.has_again());
}

proptest! {
    /// Against a map: no identifier stands for two publishes, and the counts and the oldest agree.
    #[test]
    fn no_identifier_is_shared(
        steps in proptest::collection::vec((0..6u8, any::<u16>()), 1..400),
        limit in 1..30u16,
    ) {
        let mut inflight = Inflight::new(limit);
        let mut model: BTreeMap<u16, (u64, Step)> = BTreeMap::new();
        for (serial, (action, pick)) in (0u64..).zip(steps) {
            let now = Instant::from_micros(serial);
            let picked = model.keys().nth(usize::from(pick) % model.len().max(1)).copied();
            match (action, picked) {
                (0 | 1, _) => {
                    let (qos, step) = match action {
                        0 => (QoS::AtLeastOnce, Step::Acknowledge),
                        _ => (QoS::ExactlyOnce, Step::Receive),
                    };
                    let id = open(&mut inflight, serial, qos);
                    prop_assert_eq!(id.is_some(), model.len() < usize::from(limit));
                    if let Some(id) = id {
                        prop_assert!(id > 0 && id <= limit);
                        prop_assert_eq!(model.insert(id, (serial, step)), None);
                    }
                }
                (2 | 3, Some(id)) => {
                    let (n, step) = model.remove(&id).unwrap();
                    prop_assert_eq!(inflight.close(id, step, now), Ok(owner(n)));
                }
                (4, Some(id)) => {
                    let (_, step) = model.get_mut(&id).unwrap();
                    prop_assert_eq!(inflight.receive(id, now).is_ok(), *step != Step::Acknowledge);
                    if *step == Step::Receive {
                        *step = Step::Complete;
                    }
                }
                (5, _) => {
                    // A status does not outlive its connection.
                    inflight.open(Owner::Status, QoS::AtLeastOnce, None, now);
                    inflight.suspend(now);
                    let mut again = 0;
                    while inflight.poll_again(usize::MAX, now).is_some() {
                        again += 1;
                    }
                    prop_assert_eq!(again, model.len());
                }
                _ => {}
            }
            let exactly = model.values().filter(|(_, step)| *step != Step::Acknowledge).count();
            prop_assert_eq!(inflight.exactly_once(), exactly);
            prop_assert_eq!((inflight.sent(), inflight.is_idle()), (model.len(), model.is_empty()));
            prop_assert_eq!(inflight.oldest().is_some(), !model.is_empty());
            prop_assert!(inflight.order.len() <= 2 * usize::from(limit) + 1);
        }
    }
}
