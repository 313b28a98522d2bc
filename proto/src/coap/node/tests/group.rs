//! Requests to a group (RFC 7252 §8).

use super::*;

fn discover() -> Request {
    Request::new(Method::Get).path(".well-known/core").non_confirmable()
}

/// What a node sends within the leisure in answer to a request to its group.
fn sent_to_group(request: &Request, response: Response) -> (Bench, Vec<Sent>) {
    let mut bench = Bench::new(NodeConfig::default());
    let (id, token) = (1, Token::new(b"g").unwrap());
    let kind = if request.confirmable { CON } else { NON };
    let (code, options) = (request.method.code(), &request.options);
    let datagram =
        encode::message(kind, code, id, token, options, &request.payload, 65_507).unwrap();
    bench.node.handle_datagram(bench.now, PEER, &datagram, Delivery::Multicast);
    let (at_once, events) = bench.drain();
    assert_eq!(at_once, []);
    for event in events {
        let NodeEvent::Request { ask, delivery, .. } = event else { panic!("{event:?}") };
        assert_eq!(delivery, Delivery::Multicast);
        assert!(!ask.observes());
        bench.node.respond(bench.now, ask, response.clone());
    }
    let mut sent = Vec::new();
    loop {
        let (more, events) = bench.drain();
        assert_eq!(events, []);
        sent.extend(more);
        let wait = bench.node.poll_output();
        let NodeOutput::Wait(Some(at)) = wait else { return (bench, sent) };
        if at > Instant::ZERO + 1005 * SECOND {
            return (bench, sent);
        }
        bench.now = at;
        bench.node.handle_timeout(at);
    }
}

#[test]
fn a_group_is_answered_in_a_message_of_its_own_without_echo() {
    // RFC 7252 §8.1, §8.2; RFC 7959 §2.8: the first block, the others are fetched by unicast.
    let document = |len| Response::new(Code::CONTENT).payload(alloc::vec![b'x'; len]);
    let (bench, sent) = sent_to_group(&discover(), document(500));
    let [answer] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((answer.kind, answer.code, answer.payload.len()), (NON, Code::CONTENT, 500));
    assert_eq!((&*answer.token, bench.node.server_stats().challenges), (&b"g"[..], 0));
    let (_, sent) = sent_to_group(&discover(), document(3000));
    assert_eq!(sent[0].block(OptionNumber::BLOCK2), Some((0, true, 1024)));
    assert_eq!(sent.len(), 1);
}

#[test]
fn a_group_hears_no_error_and_nobody_observes_through_it() {
    // RFC 7252 §8.1, §8.2
    let (_, sent) = sent_to_group(&discover(), Response::new(Code::NOT_FOUND));
    assert_eq!(sent, []);
    let observe = with(discover(), OptionNumber::OBSERVE, 0);
    let (_, sent) = sent_to_group(&observe, Response::new(Code::CONTENT).payload("x"));
    assert_eq!(sent[0].options.first(OptionNumber::OBSERVE), None);
    let confirmable = Request { confirmable: true, ..discover() };
    let (_, sent) = sent_to_group(&confirmable, Response::new(Code::CONTENT).payload("x"));
    assert_eq!(sent, []);
}
