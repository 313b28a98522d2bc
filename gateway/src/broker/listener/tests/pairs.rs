//! Listener and broker over a network that breaks anywhere, over many seeds.

use std::collections::BTreeSet;

use proto::Rng;

use super::super::super::topics::{TopicMessage, TopicState, Topics};
use super::model::ModelBroker;
use super::*;

const SEEDS: u64 = 300;
const MESSAGES: u64 = 150;

/// Carries bytes between both; some of them, where the connection is cut then.
fn exchange(listener: &mut Listener, broker: &mut ModelBroker, rng: &mut Rng, now: Instant) {
    let is_cut = rng.below(8) == 0;
    let mut part = |bytes: Vec<u8>| {
        let length = u64::try_from(bytes.len()).unwrap();
        let end = if is_cut { rng.below(length + 1) } else { length };
        bytes[..usize::try_from(end).unwrap()].to_vec()
    };
    let up = listener.outgoing().split().to_vec();
    broker.handle_bytes(&part(up));
    let down = part(broker.take_output());
    listener.handle_bytes(now, &down).unwrap();
    if is_cut {
        broker.cut();
    }
}

#[test]
fn every_message_is_stored_before_it_is_acknowledged_over_any_cuts() {
    for seed in 0..SEEDS {
        let protocol = BOTH[usize::from(seed % 2 == 1)];
        let mut rng = Rng::new(seed);
        let mut broker = ModelBroker::new(protocol);
        let options = ListenerOptions { keeps: true, ..options(protocol) };
        let mut listener = Listener::new(options.clone());
        let (mut now, mut published) = (START, 0);
        let mut is_subscribed = false;
        let mut stored = BTreeSet::new();
        // Handed over, and on the way to the disk.
        let mut storing: VecDeque<(u64, Receipt)> = VecDeque::new();
        let mut is_up = false;
        while published < MESSAGES || !broker.is_done() {
            assert!(now < START + Duration::from_secs(3600), "seed {seed} does not end");
            now = now + Duration::from_millis(10);
            if !is_up {
                broker.connect();
                listener.handle_connected(now).unwrap();
                is_up = true;
            }
            if is_subscribed && published < MESSAGES && rng.below(2) == 0 {
                published += 1;
                broker.publish("cmd", published, false);
            }
            let before = broker.is_connected();
            exchange(&mut listener, &mut broker, &mut rng, now);
            while let Some(event) = listener.poll_event() {
                match event {
                    ListenerEvent::Connected { .. } => {
                        listener.subscribe(now, "cmd".into()).unwrap();
                    }
                    ListenerEvent::Granted(_) => is_subscribed = true,
                    ListenerEvent::Message(message, receipt) => {
                        let text = std::str::from_utf8(&message.payload).unwrap();
                        storing.push_back((text.parse().unwrap(), receipt.unwrap()));
                    }
                    other => panic!("{other:?}"),
                }
            }
            // The disk takes its time, and what is on it counts.
            for _ in 0..rng.below(4) {
                let Some((number, receipt)) = storing.pop_front() else { break };
                stored.insert(number);
                listener.acknowledge(now, receipt).unwrap();
            }
            if before && !broker.is_connected() {
                is_up = false;
                // Once in a while the process is gone with it, and what was not on disk.
                if rng.below(3) == 0 {
                    storing.clear();
                    listener = Listener::new(options.clone());
                }
            }
        }
        assert_eq!(stored, (1..=MESSAGES).collect(), "seed {seed}");
    }
}

#[test]
fn the_latest_state_is_reached_over_any_cuts() {
    for seed in 0..SEEDS {
        let protocol = BOTH[usize::from(seed % 2 == 1)];
        let mut rng = Rng::new(seed);
        let mut broker = ModelBroker::new(protocol);
        let mut listener = Listener::new(options(protocol));
        let mut topics = Topics::new();
        let names: Vec<String> = (0..10).map(|i| format!("t{i}")).collect();
        for name in &names {
            topics.watch(name, START).unwrap();
            topics.watch(name, START).unwrap();
        }
        let (mut now, mut turns, mut is_up, mut connections) = (START, 0_u64, false, 0);
        let is_current = |topics: &Topics, broker: &ModelBroker, now| {
            names.iter().all(|name| match topics.state(name, now) {
                TopicState::Known(message) => {
                    let expected = broker.retained.get(name).map(u64::to_string);
                    expected.is_some_and(|expected| *message.payload == *expected.as_bytes())
                }
                _ => !broker.retained.contains_key(name),
            })
        };
        while turns < 200 || !is_current(&topics, &broker, now) {
            assert!(turns < 10_000, "seed {seed} does not converge");
            turns += 1;
            now = now + Duration::from_millis(10);
            if !is_up {
                broker.connect();
                listener.handle_connected(now).unwrap();
                (is_up, connections) = (true, connections + 1);
            }
            if turns < 200 {
                let name = &names[usize::try_from(rng.below(10)).unwrap()];
                broker.publish(name, turns, true);
            }
            let before = broker.is_connected();
            exchange(&mut listener, &mut broker, &mut rng, now);
            while let Some(event) = listener.poll_event() {
                match event {
                    ListenerEvent::Connected { .. } => topics.handle_connected(now),
                    ListenerEvent::Granted(topic) => topics.handle_granted(&topic, now),
                    ListenerEvent::Message(message, receipt) => {
                        let Received { topic, payload, content_type, retain, .. } = *message;
                        let message = TopicMessage { payload, content_type };
                        assert!(topics.handle_message(&topic, message, retain));
                        listener.acknowledge(now, receipt.unwrap()).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
            while listener.has_room()
                && let Some(topic) = topics.poll_subscribe()
            {
                listener.subscribe(now, topic).unwrap();
            }
            if before && !broker.is_connected() {
                topics.handle_end();
                is_up = false;
            }
        }
        assert!(broker.subscribes <= connections * names.len(), "seed {seed}");
    }
}
