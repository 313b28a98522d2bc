//! Orders beside what is polled.

use super::*;
use crate::source::coap_orders::Fault;

#[test]
fn an_order_observes_a_resource_until_another_one_ends_that() {
    // RFC 7641 §3.1, §3.6
    for seed in seeds(20) {
        let traits = Traits { max_age: 20, ..Traits::default() };
        let mut world = World::new(seed, LOSSY, 2, &traits, VALUE);
        world.run(10 * SECOND);
        assert_eq!(world.watch(0, 7, true), Watched::Waits);
        world.run(600 * SECOND);
        // Where the node was not reached the desk orders it again.
        for number in 8..20 {
            if world.watched.last().is_some_and(|(_, ended)| ended.is_ok()) {
                break;
            }
            assert_eq!(world.watch(0, number, true), Watched::Waits, "seed {seed}");
            world.run(600 * SECOND);
        }
        assert!(world.watched.iter().any(|(_, ended)| ended.is_ok()), "seed {seed}");
        assert_eq!(world.watch(0, 20, true), Watched::Ended(None), "it is so already");
        world.change(0);
        world.run(600 * SECOND);
        assert_eq!(world.texts(0, "state").last(), Some(&"1"), "seed {seed}");
        assert_eq!(world.texts(1, "state"), [""; 0], "the other node was not asked");
        world.assert_one_outcome_each();

        let Watched::Call(call) = world.watch(0, 21, false) else { panic!("seed {seed}") };
        world.run(600 * SECOND);
        let is_end = |event: &&CallEvent<SocketAddr>| match event {
            CallEvent::Response { call: of, .. } | CallEvent::Failed { call: of, .. } => {
                *of == call
            }
            CallEvent::Acknowledged { .. } | CallEvent::Notification { .. } => false,
        };
        assert_eq!(world.of_orders.iter().filter(is_end).count(), 1, "seed {seed}");
        world.change(0);
        world.run(600 * SECOND);
        assert_eq!(world.texts(0, "state").last(), Some(&"1"), "seed {seed}");
        assert_eq!(world.poller.resources, 2, "nothing is left of it");
        world.assert_one_outcome_each();
    }
}

#[test]
fn what_cannot_be_observed_is_an_order_that_fails_and_leaves_nothing() {
    let traits = Traits { observable: false, ..Traits::default() };
    let mut world = World::new(1, FAST, 1, &traits, VALUE);
    world.run(10 * SECOND);
    assert_eq!(world.watch(0, 7, true), Watched::Waits);
    world.run(20 * SECOND);
    assert_eq!(world.watched, [(7, Err(Fault::NotObservable))]);
    world.device(0).alive = false;
    assert_eq!(world.watch(0, 8, true), Watched::Waits);
    world.run(20 * SECOND);
    world.poller.give_up_watch(world.now, 8);
    world.drain();
    world.run(300 * SECOND);
    assert_eq!(world.watched.len(), 1, "nobody waits for it");
    assert_eq!((world.poller.resources, world.poller.watching.len()), (1, 0));
    assert_eq!(world.texts(0, "state"), [""; 0]);
}

#[test]
fn what_is_configured_is_not_ended_by_an_order() {
    let mut world = World::new(1, FAST, 1, &Traits::default(), STATE_OBSERVED);
    world.run(20 * SECOND);
    assert_eq!(world.watch(0, 1, true), Watched::Ended(None));
    assert_eq!(world.watch(0, 2, false), Watched::Ended(Some(Fault::Configured)));
    world.change(0);
    world.run(SECOND);
    assert_eq!(world.texts(0, "state").last(), Some(&"1"));
}

#[test]
fn requests_of_orders_end_once_beside_what_is_polled() {
    for seed in seeds(20) {
        let resources = format!("{VALUE}\n{STATE_OBSERVED}");
        let mut world = World::new(seed, LOSSY, 3, &Traits::default(), &resources);
        let mut calls = BTreeSet::new();
        for n in 0..60 {
            let request = Request::new(Method::Post).path("order");
            calls.insert(world.poller.request(world.now, address(n % 3), request).unwrap());
            world.drain();
            world.run(5 * SECOND);
        }
        world.run(300 * SECOND);
        let mut ends: Vec<CallId> = Vec::new();
        for event in &world.of_orders {
            match event {
                CallEvent::Response { call, response, .. } => {
                    assert_eq!(response.code, Code::NOT_FOUND, "seed {seed}");
                    ends.push(*call);
                }
                CallEvent::Failed { call, .. } => ends.push(*call),
                CallEvent::Acknowledged { .. } | CallEvent::Notification { .. } => {}
            }
        }
        ends.retain(|call| calls.contains(call));
        assert_eq!(ends.len(), 60, "seed {seed}");
        assert_eq!(ends.iter().collect::<BTreeSet<_>>().len(), 60, "seed {seed}");
        world.assert_one_outcome_each();
    }
}
