//! Echo against forged senders (RFC 9175 §2.6), and No-Response (RFC 7967).

use super::*;

fn get() -> Request {
    Request::new(Method::Get).path("status")
}

fn echo_of(response: &Sent) -> Vec<u8> {
    assert_eq!((response.code, &*response.payload), (Code::UNAUTHORIZED, &b""[..]));
    response.options.first(OptionNumber::ECHO).unwrap().to_vec()
}

fn small_blocks() -> Bench {
    let transfer =
        TransferConfig { block_size: BlockSize::fitting(64).unwrap(), ..Default::default() };
    let server = ServerConfig { transfer, ..Default::default() };
    Bench::new(NodeConfig { server, ..Default::default() })
}

/// Bytes of a message.
fn size(sent: &Sent) -> usize {
    let (id, token, code) = (sent.message_id, sent.token, sent.code);
    encode::message(sent.kind, code, id, token, &sent.options, &sent.payload, 65_507).unwrap().len()
}

#[test]
fn an_unverified_peer_gets_three_times_what_it_sent_and_then_has_to_show_itself() {
    // RFC 9175 §2.6: the request has 4 + 1 + 7 bytes, the response 4 + 1 + 1 + its payload.
    let mut bench = Bench::new(NodeConfig::default());
    let (ask, _) = bench.asked(b"a", &get());
    assert_eq!(bench.respond(ask, content(body(30))).code, Code::CONTENT);
    let (ask, _) = bench.asked(b"a", &get());
    let echo = echo_of(&bench.respond(ask, content(body(31))));
    assert_eq!(bench.node.server_stats().challenges, 1);

    let (ask, request) = bench.asked(b"a", &get().option(OptionNumber::ECHO, &echo));
    assert_eq!(request, get(), "the caller does not see it");
    assert_eq!(bench.respond(ask, content(body(500))).payload.len(), 500);
    let (ask, _) = bench.asked(b"a", &get());
    assert_eq!(bench.respond(ask, content(body(500))).code, Code::CONTENT, "verified for a while");
    bench.now = bench.now + 301 * SECOND;
    let (ask, _) = bench.asked(b"a", &get());
    echo_of(&bench.respond(ask, content(body(500))));
}

#[test]
fn an_error_for_an_unverified_peer_loses_its_diagnostic() {
    // RFC 7252 §5.5.2: a diagnostic is for humans.
    let mut bench = Bench::new(NodeConfig::default());
    let (ask, _) = bench.asked(b"a", &get());
    let answer = bench.respond(ask, Response::new(Code::NOT_FOUND).payload(body(31)));
    assert_eq!((answer.code, answer.payload.len()), (Code::NOT_FOUND, 0));
}

#[test]
fn what_was_executed_is_answered_in_small_blocks() {
    let mut bench = Bench::new(NodeConfig::default());
    let post = Request::new(Method::Post).path("soap").payload(body(40));
    let (ask, _) = bench.asked(b"a", &post);
    let answer = bench.respond(ask, Response::new(Code::CHANGED).payload(body(500)));
    assert_eq!((answer.code, answer.payload.len()), (Code::CHANGED, 64));
    assert!(size(&answer) <= 3 * 50, "{}", size(&answer));
}

#[test]
fn a_block_that_is_kept_is_not_sent_to_whom_it_does_not_belong() {
    let mut bench = small_blocks();
    let (ask, _) = bench.asked(b"a", &get());
    let echo = echo_of(&bench.respond(ask, content(body(300))));
    let (ask, _) = bench.asked(b"a", &get().option(OptionNumber::ECHO, &echo));
    bench.respond(ask, content(body(300)));
    bench.now = bench.now + 200 * SECOND;
    let next = with(get(), OptionNumber::BLOCK2, block(1, false, 64));
    assert_eq!(bench.answered(b"a", &next).payload.len(), 64);
    bench.now = bench.now + 200 * SECOND;
    echo_of(&bench.answered(b"a", &next));
}

#[test]
fn an_unverified_observer_has_to_acknowledge_its_first_notification() {
    // RFC 7641 §7
    let mut bench = Bench::new(NodeConfig::default());
    let request = with(get(), OptionNumber::OBSERVE, 0).non_confirmable();
    let (ask, _) = bench.asked(b"a", &request);
    let resource = ResourceId(1);
    bench.node.respond_observed(bench.now, ask, resource, content("1"));
    bench.drain();
    bench.node.notify(bench.now, resource, content("2"));
    let first = only(bench.drain().0);
    assert_eq!(first.kind, CON);
    bench.receive(&encode::empty(ACK, first.message_id));
    bench.node.notify(bench.now, resource, content("3"));
    assert_eq!(only(bench.drain().0).kind, NON);
}

#[test]
fn a_challenged_registration_registers_nobody() {
    let mut bench = Bench::new(NodeConfig::default());
    let (ask, _) = bench.asked(b"a", &with(get(), OptionNumber::OBSERVE, 0));
    bench.node.respond_observed(bench.now, ask, ResourceId(1), content(body(500)));
    echo_of(&only(bench.drain().0));
    bench.node.notify(bench.now, ResourceId(1), content("2"));
    assert_eq!(bench.drain().0, []);
}

#[test]
fn a_client_repeats_an_echo_and_gives_up_after_a_while() {
    // RFC 9175 §2.3
    let mut bench = Bench::new(NodeConfig::default());
    bench.node.request(bench.now, PEER, get()).unwrap();
    let mut request = only(bench.drain().0);
    for n in 1..=3 {
        let challenge = Response::new(Code::UNAUTHORIZED).option(OptionNumber::ECHO, &[n]);
        request = only(bench.reply(&request, &challenge).0);
        assert_eq!(request.options.first(OptionNumber::ECHO), Some(&[n][..]));
    }
    let challenge = Response::new(Code::UNAUTHORIZED).option(OptionNumber::ECHO, &[4]);
    let (sent, events) = bench.reply(&request, &challenge);
    assert_eq!(sent, []);
    let NodeEvent::Call(CallEvent::Response { response, .. }) = only(events) else {
        panic!("no end");
    };
    assert_eq!(response, challenge);
}

#[test]
fn a_challenged_observation_and_a_challenged_block_are_sent_again() {
    let mut bench = small_blocks();
    let challenge = Response::new(Code::UNAUTHORIZED).option(OptionNumber::ECHO, b"e");
    bench.node.observe(bench.now, PEER, get()).unwrap();
    let first = only(bench.drain().0);
    let again = only(bench.reply(&first, &challenge).0);
    assert_eq!(again.options.first_uint(OptionNumber::OBSERVE), Some(0));
    assert_eq!(again.options.first(OptionNumber::ECHO), Some(&b"e"[..]));
    let mut part = content(body(64)).option(OptionNumber::ETAG, b"t");
    part.options.push_uint(OptionNumber::OBSERVE, 1);
    part.options.push_uint(OptionNumber::BLOCK2, block(0, true, 64));
    let next = only(bench.reply(&again, &part).0);
    let same = only(bench.reply(&next, &challenge).0);
    assert_eq!(same.block(OptionNumber::BLOCK2), Some((1, false, 64)));
    assert_eq!(same.options.first(OptionNumber::ECHO), Some(&b"e"[..]));
}

fn quiet(value: u32) -> Request {
    with(Request::new(Method::Put).path("r"), OptionNumber::NO_RESPONSE, value)
}

#[test]
fn a_response_that_is_not_wanted_is_not_sent() {
    // RFC 7967 §2: a Confirmable request is still acknowledged.
    let mut bench = Bench::new(NodeConfig::default());
    let (ask, _) = bench.asked(b"a", &quiet(26));
    let answer = bench.respond(ask, Response::new(Code::CHANGED));
    assert_eq!((answer.kind, answer.code), (ACK, Code::EMPTY));
    bench.next_id -= 1;
    assert_eq!(bench.answered(b"a", &quiet(26)), answer, "a retransmission");

    let (ask, _) = bench.asked(b"a", &quiet(26).non_confirmable());
    bench.node.respond(bench.now, ask, Response::new(Code::CHANGED));
    assert_eq!(bench.drain().0, []);
    assert_eq!(bench.node.stats().unwanted_responses, 2);
}

#[test]
fn blocks_are_acknowledged_whatever_is_not_wanted() {
    // RFC 7967 §2.1, RFC 7959 §2.9.1: without 2.31 a client could not go on.
    let mut bench = Bench::with_transfer(TransferConfig::default());
    let part = |number, more, len| {
        let value = super::block(number, more, 64);
        with(quiet(2), OptionNumber::BLOCK1, value).payload(body(len))
    };
    let first = bench.answered(b"a", &part(0, true, 64));
    assert_eq!(first.code, Code::CONTINUE);
    let (ask, request) = bench.asked(b"b", &part(1, false, 10));
    assert_eq!(request.payload.len(), 74);
    let last = bench.respond(ask, Response::new(Code::CHANGED));
    assert_eq!((last.kind, last.code), (ACK, Code::EMPTY));
}

#[test]
fn every_combination_of_classes_leaves_out_those_and_no_others() {
    // RFC 7967 §2.1, table 2
    for value in 0..32_u32 {
        for (code, bit) in
            [(Code::CHANGED, 2), (Code::NOT_FOUND, 8), (Code::SERVICE_UNAVAILABLE, 16)]
        {
            let mut bench = Bench::with_transfer(TransferConfig::default());
            let (ask, _) = bench.asked(b"a", &quiet(value));
            let sent = bench.respond(ask, Response::new(code));
            let expected = if value & bit == 0 { code } else { Code::EMPTY };
            assert_eq!((sent.kind, sent.code), (ACK, expected), "{value}");
            let (ask, _) = bench.asked(b"a", &quiet(value).non_confirmable());
            bench.node.respond(bench.now, ask, Response::new(code));
            assert_eq!(bench.drain().0.len(), usize::from(value & bit == 0), "{value}");
        }
    }
}

#[test]
fn a_response_of_another_class_is_sent() {
    // RFC 7967 §2.1
    let mut bench = Bench::new(NodeConfig::default());
    let (ask, _) = bench.asked(b"a", &quiet(2));
    assert_eq!(bench.respond(ask, Response::new(Code::NOT_FOUND)).code, Code::NOT_FOUND);
}

#[test]
fn an_unwanted_response_that_comes_late_has_been_acknowledged() {
    let mut bench = Bench::new(NodeConfig::default());
    let (ask, _) = bench.asked(b"a", &quiet(26));
    let acknowledgement = only(bench.sleep(2 * SECOND).0);
    assert_eq!((acknowledgement.kind, acknowledgement.code), (ACK, Code::EMPTY));
    bench.node.respond(bench.now, ask, Response::new(Code::CHANGED));
    assert_eq!(bench.drain().0, []);
    assert_eq!(bench.sleep(300 * SECOND).0, []);
}
