//! Whatever happens to a frame, it is refused or changes nothing.

use super::*;

/// A frame of each kind, upwards and downwards, and those who take them.
fn frames(key: Option<&Key>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut config = NodeConfig::new(7, 3, channels());
    config.key = key.cloned();
    let mut node = Node::new(config, 1);
    let mut gateway = gateway(key);
    node.report(at(5), &[(0, 2150), (1, 553), (2, 0)]).unwrap();
    let (hello, _) = drain_node(&mut node);
    gateway.handle_frame(at(5), WALL, (), &hello[0]);
    let (down, _) = drain_gateway(&mut gateway);
    down.iter().for_each(|frame| node.handle_frame(at(6), frame));
    let (data, _) = drain_node(&mut node);
    let number = gateway.command(at(7), 7, vec![0xf6], at(1000)).unwrap().number;
    let (command, _) = drain_gateway(&mut gateway);
    node.handle_frame(at(8), &command[0]);
    node.respond(number, vec![0xf5]);
    let (response, _) = drain_node(&mut node);
    ([hello, data, response].concat(), [down, command].concat())
}

fn gateway(key: Option<&Key>) -> Gateway<()> {
    match key {
        Some(_) => Gateway::with_keys(GatewayConfig::default(), keys([7])),
        None => Gateway::new(GatewayConfig::default()),
    }
}

fn mutants(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..frame.len()).map(|end| frame[..end].to_vec());
    let changed = (0..frame.len()).flat_map(move |at| {
        (1..=255_u8).map(move |change| {
            let mut mutant = frame.to_vec();
            mutant[at] ^= change;
            mutant
        })
    });
    cut.chain(changed)
}

#[test]
fn every_truncation_and_every_changed_byte_is_refused() {
    let secret = key(7);
    for key in [None, Some(&secret)] {
        let (up, down) = frames(key);
        assert_eq!((up.len(), down.len()), (3, 3));
        for mutant in up.iter().flat_map(|frame| mutants(frame)) {
            let mut gateway = gateway(key);
            gateway.handle_frame(at(5), WALL, (), &mutant);
            let (answers, events) = drain_gateway(&mut gateway);
            assert!(answers.is_empty() && faults(&events).len() == 1, "{mutant:x?}: {events:?}");
            assert_eq!(gateway.replays().count(), 0);
        }
        let mut config = NodeConfig::new(7, 3, channels());
        config.key = key.cloned();
        let mut node = Node::new(config, 1);
        node.report(at(5), &[(0, 2150)]).unwrap();
        drain_node(&mut node);
        for mutant in down.iter().flat_map(|frame| mutants(frame)) {
            node.handle_frame(at(6), &mutant);
            let (frames, events) = drain_node(&mut node);
            assert!(frames.is_empty(), "{mutant:x?}");
            assert!(matches!(events[..], [NodeEvent::Malformed(_)]), "{mutant:x?}: {events:?}");
        }
    }
}

/// With a right trailer, so that the payload's reader sees them.
#[test]
fn payloads_cut_or_changed_never_panic_and_never_store_what_was_not_sent() {
    let (up, down) = frames(None);
    let header = |frame: &[u8]| Unverified::parse(frame).unwrap().verify(None).unwrap().header;
    for frame in &up {
        for payload in mutants(&frame[12..frame.len() - 2]) {
            let mut gateway = gateway(None);
            gateway.handle_frame(at(5), WALL, (), &up[0]);
            gateway.handle_frame(at(5), WALL, (), &header(frame).seal(&payload, None));
            drain_gateway(&mut gateway);
        }
    }
    for frame in &down {
        for payload in mutants(&frame[12..frame.len() - 2]) {
            let mut node = node(7, 3);
            node.report(at(5), &[(0, 2150)]).unwrap();
            node.handle_frame(at(6), &header(frame).seal(&payload, None));
            drain_node(&mut node);
        }
    }
}
