//! What each role does, step by step.

use super::*;
use alloc::format;

fn open(now: Instant) -> (Node, Gateway<()>) {
    let (mut node, mut gateway) = (node(7, 1), Gateway::new(GatewayConfig::default()));
    node.handle_timeout(now);
    settle(now, &mut node, &mut gateway, true);
    (node, gateway)
}

#[test]
fn readings_arrive_with_names_units_and_decimals_and_are_acknowledged_when_durable() {
    let (mut node, mut gateway) = open(at(0));
    let id = node.report(at(500), &[(0, 2150), (1, 553), (2, -3)]).unwrap();
    let (heard, seen) = settle(at(1500), &mut node, &mut gateway, false);
    assert_eq!(heard, [], "nothing is acknowledged before it is durable");
    let [GatewayEvent::Report(report)] = &seen[..] else { panic!("{seen:?}") };
    let values = report.values.iter();
    let values: Vec<_> =
        values.map(|m| format!("{} {} {:?}", m.name, m.value, m.unit.as_deref())).collect();
    assert_eq!(values, ["temp 21.50 Some(\"Cel\")", "hum 55.3 Some(\"%RH\")", "count -3 None"]);
    assert!(report.age > Duration::from_millis(999) && report.age <= SECOND, "{:?}", report.age);
    gateway.handle_durable(report.ticket);
    let (heard, _) = settle(at(1500), &mut node, &mut gateway, false);
    assert_eq!(heard, [NodeEvent::Acknowledged(id)]);
}

#[test]
fn one_ack_tells_of_everything_that_a_commit_made_durable() {
    let (mut node, mut gateway) = open(at(0));
    for n in 0..8 {
        node.report(at(10), &[(0, n)]).unwrap();
    }
    let (_, seen) = settle(at(10), &mut node, &mut gateway, false);
    tickets(&seen).into_iter().for_each(|ticket| gateway.handle_durable(ticket));
    let (frames, _) = drain_gateway(&mut gateway);
    assert_eq!(frames.len(), 1);
    node.handle_frame(at(20), &frames[0]);
    assert_eq!(acknowledged(&drain_node(&mut node).1), 8);
    assert_eq!(node.open_reports(), 0);
}

#[test]
fn a_busy_gateway_gets_the_report_again_when_it_said_and_not_before() {
    let (mut node, mut gateway) = open(at(0));
    node.report(at(10), &[(0, 1)]).unwrap();
    let (_, seen) = settle(at(10), &mut node, &mut gateway, false);
    gateway.handle_refused(tickets(&seen)[0], 30 * SECOND);
    settle(at(10), &mut node, &mut gateway, true);
    assert_eq!(node.poll_output(), NodeOutput::Wait(Some(at(30_010))));
    node.handle_timeout(at(30_009));
    assert!(drain_node(&mut node).0.is_empty());
    node.handle_timeout(at(30_010));
    let (heard, seen) = settle(at(30_010), &mut node, &mut gateway, true);
    assert_eq!((tickets(&seen).len(), acknowledged(&heard)), (1, 1));
}

#[test]
fn a_gateway_that_forgot_everything_asks_for_hello_and_takes_no_report_twice() {
    let (mut node, mut gateway) = open(at(0));
    node.report(at(10), &[(0, 1)]).unwrap();
    let (_, seen) = settle(at(10), &mut node, &mut gateway, false);
    // It is stored, but the gateway dies before it says so.
    let mut replay = Replay::new(0);
    tickets(&seen).iter().for_each(|ticket| replay.add(ticket.epoch, ticket.sequence));
    let mut gateway = Gateway::new(GatewayConfig::default());
    gateway.restore(at(0), 7, replay);
    node.handle_timeout(at(5000));
    let (heard, seen) = settle(at(5000), &mut node, &mut gateway, true);
    assert_eq!((tickets(&seen), acknowledged(&heard)), (vec![], 1));
    node.report(at(6000), &[(0, 2)]).unwrap();
    let (heard, seen) = settle(at(6000), &mut node, &mut gateway, true);
    assert_eq!((tickets(&seen).len(), acknowledged(&heard)), (1, 1));
    assert!(gateway.replays().eq([(7, Replay { epoch: 1, highest: 2, window: 0b11 })]));
}

#[test]
fn a_node_that_lost_its_count_goes_on_behind_the_gateways() {
    let (_, mut gateway) = open(at(0));
    gateway.restore(at(0), 7, Replay { epoch: 41, highest: 9, window: 1 });
    let mut node = node(7, 1);
    node.report(at(0), &[(0, 1)]).unwrap();
    let (heard, seen) = settle(at(0), &mut node, &mut gateway, true);
    assert!(heard.contains(&NodeEvent::Epoch(42)), "{heard:?}");
    assert_eq!(faults(&seen), [Fault::Stale]);
    assert_eq!(tickets(&seen), [Ticket { device: 7, epoch: 42, sequence: 1 }]);
}

#[test]
fn a_node_that_starts_again_in_the_same_epoch_takes_no_old_ack_for_its_own() {
    let (mut first, mut gateway) = open(at(0));
    first.report(at(0), &[(0, 1)]).unwrap();
    settle(at(0), &mut first, &mut gateway, true);
    let mut second = node(7, 1);
    let id = second.report(at(0), &[(0, 2)]).unwrap();
    let (heard, seen) = settle(at(9), &mut second, &mut gateway, true);
    assert_eq!(tickets(&seen), [Ticket { device: 7, epoch: 2, sequence: 1 }]);
    assert!(heard.contains(&NodeEvent::Epoch(2)) && heard.contains(&NodeEvent::Acknowledged(id)));
}

#[test]
fn the_epoch_ends_with_its_numbers() {
    let (mut node, mut gateway) = (node(7, 1), Gateway::new(GatewayConfig::default()));
    let mut last = None;
    let mut stored = 0;
    for n in 0..70_000_u32 {
        node.report(at(n.into()), &[(0, n.into())]).unwrap();
        let (heard, seen) = settle(at(n.into()), &mut node, &mut gateway, true);
        assert_eq!(acknowledged(&heard), 1);
        for ticket in tickets(&seen) {
            assert!(last < Some(ticket));
            last = Some(ticket);
            stored += 1;
        }
    }
    assert_eq!(stored, 70_000);
    assert_eq!(last, Some(Ticket { device: 7, epoch: 2, sequence: 4465 }));
}

#[test]
fn data_that_means_nothing_is_refused_for_good_and_the_rest_goes_on() {
    let (_, mut gateway) = open(at(0));
    // The same device with a longer table, as a faulty node might have it: HELLO is skipped.
    let mut config = NodeConfig::new(7, 1, [channels(), channels()].concat());
    config.window = 2;
    let mut node = Node::new(config, 1);
    let ack = Header { kind: Kind::Ack, flags: Flags::default(), device: 7, epoch: 1, sequence: 0 };
    node.handle_frame(at(0), &ack.seal(&Ack::default().encode(), None));
    drain_node(&mut node);
    let bad = node.report(at(1), &[(5, 1)]).unwrap();
    let good = node.report(at(1), &[(1, 1)]).unwrap();
    let (heard, seen) = settle(at(1), &mut node, &mut gateway, true);
    assert_eq!(heard, [NodeEvent::Refused(bad), NodeEvent::Acknowledged(good)]);
    assert_eq!(faults(&seen), [Fault::Payload("a channel that is not in the table")]);
}

#[test]
fn time_is_told_once_for_each_question() {
    let (mut node, mut gateway) = (node(7, 1), Gateway::new(GatewayConfig::default()));
    node.handle_timeout(at(100));
    let (hello, _) = drain_node(&mut node);
    gateway.handle_frame(at(900), WALL, (), &hello[0]);
    let (answers, _) = drain_gateway(&mut gateway);
    let time = |node: &mut Node, at| {
        answers.iter().for_each(|answer| node.handle_frame(at, answer));
        let (_, events) = drain_node(node);
        events.into_iter().find(|event| matches!(event, NodeEvent::Time { .. }))
    };
    let expected = NodeEvent::Time {
        unix_ms: 1_795_214_340_123,
        at: at(150),
        round_trip: Duration::from_millis(100),
    };
    assert_eq!(time(&mut node, at(200)), Some(expected));
    assert_eq!(time(&mut node, at(90_000)), None, "a replay would set the clock back");
}

#[test]
fn a_command_is_carried_out_once_and_answered_as_often_as_it_is_asked() {
    let (mut node, mut gateway) = open(at(0));
    let number = gateway.command(at(0), 7, b"\x01".to_vec(), at(60_000)).unwrap().number;
    assert_eq!(gateway.command(at(0), 7, vec![], at(1)), Err(CommandError::Busy));
    let (down, _) = drain_gateway(&mut gateway);
    node.handle_frame(at(1), &down[0]);
    let (_, events) = drain_node(&mut node);
    assert_eq!(events, [NodeEvent::Command { number, payload: b"\x01".to_vec() }]);
    node.respond(number, b"\x02".to_vec());
    assert_eq!(drain_node(&mut node).0.len(), 1, "this answer is lost");
    gateway.handle_timeout(at(2000));
    let (heard, seen) = settle(at(2000), &mut node, &mut gateway, true);
    assert_eq!(heard, []);
    let outcome = CommandOutcome::Answered(b"\x02".to_vec());
    assert_eq!(seen, [GatewayEvent::Command { device: 7, number, outcome }]);
    assert_eq!(gateway.poll_output(), GatewayOutput::Wait(None));
    node.handle_frame(at(3000), &down[0]);
    assert_eq!(drain_node(&mut node).1, [], "a replay is answered and not carried out");
}

#[test]
fn a_command_without_an_answer_ends_at_its_deadline_and_a_restart_uses_no_number_again() {
    let (mut node, mut gateway) = open(at(0));
    let first = gateway.command(at(0), 7, vec![1], at(10_000)).unwrap();
    settle(at(0), &mut node, &mut gateway, true);
    gateway.handle_timeout(at(10_000));
    let (_, seen) = drain_gateway(&mut gateway);
    let ended = |outcome| GatewayEvent::Command { device: 7, number: first.number, outcome };
    assert!(seen.contains(&ended(CommandOutcome::TimedOut)), "{seen:?}");
    let second = gateway.command(at(11_000), 7, vec![1], at(12_000)).unwrap();
    drain_gateway(&mut gateway);
    let mut gateway = Gateway::new(GatewayConfig::default());
    assert_eq!(gateway.command(at(0), 7, vec![], at(1)), Err(CommandError::Unreachable));
    node.report(at(20_000), &[(0, 1)]).unwrap();
    settle(at(20_000), &mut node, &mut gateway, true);
    let third = gateway.command(at(20_000), 7, vec![2], at(30_000)).unwrap();
    assert!(third > second, "{third:?}: the second one may still be on its way");
}

#[test]
fn a_number_that_is_kept_over_a_restart_makes_a_command_carried_out_once() {
    for is_taken in [false, true] {
        let (mut node, mut gateway) = open(at(0));
        let kept = gateway.command(at(0), 7, vec![1], at(60_000)).unwrap();
        let (down, _) = drain_gateway(&mut gateway);
        let mut carried_out = 0;
        if is_taken {
            node.handle_frame(at(1), &down[0]);
            carried_out += commands(&drain_node(&mut node).1);
            node.respond(kept.number, vec![2]);
            drain_node(&mut node);
        }
        // The answer is lost with the process.
        let mut gateway = Gateway::new(GatewayConfig::default());
        node.report(at(5000), &[(0, 1)]).unwrap();
        settle(at(5000), &mut node, &mut gateway, true);
        gateway.command_as(at(6000), (7, kept), vec![1], at(60_000)).unwrap();
        let (heard, mut seen) = settle(at(6000), &mut node, &mut gateway, true);
        carried_out += commands(&heard);
        if !is_taken {
            node.respond(kept.number, vec![2]);
            seen = settle(at(6000), &mut node, &mut gateway, true).1;
        }
        assert_eq!(carried_out, 1, "taken before: {is_taken}");
        let outcome = CommandOutcome::Answered(vec![2]);
        assert!(seen.contains(&GatewayEvent::Command { device: 7, number: kept.number, outcome }));
    }
}

#[test]
fn a_number_of_another_epoch_or_one_that_was_passed_is_not_sent_again() {
    let (mut node, mut gateway) = open(at(0));
    let first = gateway.command(at(0), 7, vec![1], at(1000)).unwrap();
    gateway.handle_timeout(at(1000));
    gateway.command(at(1000), 7, vec![1], at(2000)).unwrap();
    settle(at(1000), &mut node, &mut gateway, true);
    gateway.handle_timeout(at(2000));
    let again = |gateway: &mut Gateway<()>, number| {
        gateway.command_as(at(2000), (7, number), vec![1], at(3000))
    };
    assert_eq!(again(&mut gateway, first), Err(CommandError::Passed));
    let other = CommandNumber { epoch: 2, number: 9 };
    assert_eq!(again(&mut gateway, other), Err(CommandError::Passed));
}

#[test]
fn a_node_that_comes_back_is_sent_at_once_what_it_has_not_answered() {
    let (mut node, mut gateway) = open(at(0));
    gateway.command(at(0), 7, vec![1], at(600_000)).unwrap();
    for second in [2, 6, 14, 30] {
        gateway.handle_timeout(at(second * 1000));
    }
    drain_gateway(&mut gateway);
    gateway.handle_gone(|()| true);
    assert_eq!(gateway.next_command(7), Err(CommandError::Unreachable));
    node.handle_connected(at(40_000));
    let (heard, seen) = settle(at(40_000), &mut node, &mut gateway, true);
    assert_eq!(commands(&heard), 1);
    assert!(seen.contains(&GatewayEvent::Reached { device: 7 }), "{seen:?}");
}

/// How many commands are to be carried out.
fn commands(heard: &[NodeEvent]) -> usize {
    heard.iter().filter(|event| matches!(event, NodeEvent::Command { .. })).count()
}

#[test]
fn without_room_a_new_device_is_refused_until_one_is_silent() {
    let config = GatewayConfig { max_devices: 2, silence: 10 * SECOND, ..Default::default() };
    let mut gateway = Gateway::new(config);
    let mut hello = |device, now| {
        let mut node = node(device, 1);
        node.handle_timeout(at(0));
        settle(now, &mut node, &mut gateway, true).1
    };
    hello(1, at(0));
    hello(2, at(5000));
    assert_eq!(faults(&hello(3, at(9999))), [Fault::TooManyDevices]);
    assert_eq!(faults(&hello(2, at(9999))), []);
    assert_eq!(faults(&hello(3, at(10_000))), []);
    assert_eq!(faults(&hello(1, at(10_001))), [Fault::TooManyDevices]);
}

#[test]
fn keys_are_demanded_where_there_are_any_and_nowhere_else() {
    let mut config = NodeConfig::new(7, 1, channels());
    config.key = Some(key(7));
    let hello = |config: &NodeConfig| {
        let mut node = Node::new(config.clone(), 1);
        node.handle_timeout(at(0));
        drain_node(&mut node).0.remove(0)
    };
    let fault = |gateway: &mut Gateway<()>, frame: &[u8]| {
        gateway.handle_frame(at(0), WALL, (), frame);
        let (answers, seen) = drain_gateway(gateway);
        (faults(&seen).first().copied(), answers.len())
    };
    let authenticated = hello(&config);
    let plain = hello(&NodeConfig::new(7, 1, channels()));
    let mut wrong = config.clone();
    wrong.key = Some(key(8));
    let mut secured = Gateway::with_keys(GatewayConfig::default(), keys([7]));
    assert_eq!(fault(&mut secured, &authenticated), (None, 2));
    assert_eq!(fault(&mut secured, &plain), (Some(Fault::Unauthenticated), 0));
    assert_eq!(fault(&mut secured, &hello(&wrong)), (Some(Fault::Code), 0));
    let stranger = hello(&NodeConfig { device: 8, ..wrong });
    assert_eq!(fault(&mut secured, &stranger), (Some(Fault::NoKey), 0));
    let mut open = Gateway::new(GatewayConfig::default());
    assert_eq!(fault(&mut open, &authenticated), (Some(Fault::NoKey), 0));
    assert_eq!(fault(&mut open, &plain), (None, 2));
}

#[test]
fn a_node_with_a_key_believes_no_ack_without_it() {
    let mut config = NodeConfig::new(7, 1, channels());
    config.key = Some(key(7));
    let mut node = Node::new(config, 1);
    node.report(at(0), &[(0, 1)]).unwrap();
    drain_node(&mut node);
    let header =
        Header { kind: Kind::Ack, flags: Flags::default(), device: 7, epoch: 1, sequence: 1 };
    node.handle_frame(at(1), &header.seal(&Ack::default().encode(), None));
    node.handle_frame(at(1), &header.seal(&Ack::default().encode(), Some(&key(8))));
    let (_, events) = drain_node(&mut node);
    let malformed = [Fault::Unauthenticated, Fault::Code].map(NodeEvent::Malformed);
    assert_eq!(events, malformed);
    assert_eq!(node.open_reports(), 1);
}

#[test]
fn a_full_queue_refuses_reports() {
    let mut config = NodeConfig::new(7, 1, channels());
    config.queue = 2;
    let mut node = Node::new(config, 1);
    assert_eq!(node.report(at(0), &[]), Err(ReportError::Values));
    assert_eq!(node.report(at(0), &[(3, 1)]), Err(ReportError::Values));
    node.report(at(0), &[(0, 1)]).unwrap();
    node.report(at(0), &[(0, 1)]).unwrap();
    assert_eq!(node.report(at(0), &[(0, 1)]), Err(ReportError::Full));
}
