//! The server's role (RFC 7252 §4.5, §5.2, §8.2).

use super::*;

#[test]
fn a_response_in_time_is_piggybacked() {
    // RFC 7252 §5.2.1, appendix A figures 16 and 17
    let mut bench = Bench::new();
    for (request, response) in
        [(golden::GET, golden::GET_RESPONSE), (golden::TOKEN_GET, golden::TOKEN_GET_RESPONSE)]
    {
        let (exchange, request) = only_request(bench.receive(request));
        assert_eq!(request.method, Method::Get);
        assert_eq!(request.segments().collect::<Vec<_>>(), ["temperature"]);
        assert!(request.confirmable);
        assert_eq!(only_datagram(bench.respond(exchange, content("22.3 C"))), response);
    }
    assert_eq!(bench.sleep(100 * SECOND), []);
}

#[test]
fn a_request_is_handed_over_with_all_it_carries() {
    let mut bench = Bench::new();
    let event = only_event(bench.receive(golden::EXTENDED));
    let Event::Request { from, delivery, message_id, token, request, .. } = event else {
        panic!("{event:?}");
    };
    assert_eq!((from, delivery, message_id), (PEER, Delivery::Unicast, 0xffff));
    assert_eq!(&*token, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((request.method, request.options.content_format()), (Method::Put, Some(50)));
    assert_eq!(request.options.first(OptionNumber(2048)), Some(&[0xff, 0xff][..]));
    assert_eq!(request.payload, b"{}");

    let (_, request) = only_request(bench.receive(golden::DISCOVERY));
    assert_eq!(request.segments().collect::<Vec<_>>(), [".well-known", "core"]);
    assert_eq!(request.queries().collect::<Vec<_>>(), ["rt=temperature-c"]);
    assert_eq!(request.accepts(), None);
}

#[test]
fn a_duplicate_gets_the_same_answer_and_is_not_executed_again() {
    // RFC 7252 §4.5, appendix A figure 19
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::TOKEN_GET));
    let answer = bench.respond(exchange, content("22.3 C"));
    for _ in 0..5 {
        bench.sleep(40 * SECOND);
        assert_eq!(bench.receive(golden::TOKEN_GET), answer);
    }
    assert_eq!((bench.stats().requests, bench.stats().duplicates), (1, 5));
}

#[test]
fn a_duplicate_before_the_answer_waits_for_it() {
    // RFC 7252 §4.5: each copy is acknowledged by the one Acknowledgement that is due.
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::TOKEN_GET));
    assert_eq!(bench.receive(golden::TOKEN_GET), []);
    let answer = only_datagram(bench.respond(exchange, content("22.3 C")));
    assert_eq!(answer, golden::TOKEN_GET_RESPONSE);
}

#[test]
fn a_slow_response_is_sent_separately() {
    // RFC 7252 §5.2.2, appendix A figure 20
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::SLOW_GET));
    let received_at = bench.now;
    let mut outputs = bench.sleep(10 * SECOND);
    let (at, output) = outputs.pop().unwrap();
    assert_eq!(outputs, []);
    assert_eq!(only_datagram(alloc::vec![output]), golden::SLOW_GET_ACK);
    assert_eq!(at - received_at, EndpointConfig::default().ack_delay);

    let datagram = only_datagram(bench.respond(exchange, content("22.3 C")));
    let response = Message::parse(&datagram).unwrap();
    let mut expected = golden::SEPARATE_RESPONSE.to_vec();
    encode::set_message_id(&mut expected, response.message_id());
    assert_eq!(datagram, expected);

    let acknowledgement = encode::empty(MessageType::Acknowledgement, response.message_id());
    assert_eq!(bench.receive(&acknowledgement), []);
    assert_eq!(bench.wait, None);
    assert_eq!((bench.stats().separate_responses, bench.stats().separate_responses_lost), (1, 0));
}

#[test]
fn a_request_once_acknowledged_never_gets_a_piggybacked_response() {
    // RFC 7252 §5.2.2: a duplicate gets another empty Acknowledgement, before and after.
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::SLOW_GET));
    bench.sleep(2 * SECOND);
    assert_eq!(only_datagram(bench.receive(golden::SLOW_GET)), golden::SLOW_GET_ACK);
    bench.respond(exchange, content("22.3 C"));
    assert_eq!(only_datagram(bench.receive(golden::SLOW_GET)), golden::SLOW_GET_ACK);
    assert_eq!(bench.stats().requests, 1);
}

/// A bench with a separate response under way, and its message id.
fn separate_response() -> (Bench, u16, Vec<u8>) {
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::SLOW_GET));
    bench.sleep(2 * SECOND);
    let datagram = only_datagram(bench.respond(exchange, content("22.3 C")));
    let message_id = Message::parse(&datagram).unwrap().message_id();
    (bench, message_id, datagram)
}

#[test]
fn a_separate_response_is_retransmitted_and_given_up() {
    // RFC 7252 §4.2
    let (mut bench, _, datagram) = separate_response();
    let sent_at = bench.now;
    let outputs = bench.sleep(200 * SECOND);
    let times: Vec<_> = outputs.iter().map(|&(at, _)| (at - sent_at).as_secs_f64()).collect();
    assert_eq!(times.len(), 4);
    for (time, factor) in times.iter().zip([1.0, 3.0, 7.0, 15.0]) {
        assert!((2.0 * factor..=3.0 * factor).contains(time), "{times:?}");
    }
    for (_, output) in outputs {
        assert_eq!(only_datagram(alloc::vec![output]), datagram);
    }
    assert_eq!(bench.stats().separate_responses_lost, 1);
    assert_eq!(bench.stats().retransmissions, 4);
}

#[test]
fn a_reset_ends_a_separate_response() {
    // RFC 7252 §4.2
    let (mut bench, message_id, _) = separate_response();
    assert_eq!(bench.receive(&encode::empty(MessageType::Reset, message_id)), []);
    assert_eq!(bench.sleep(200 * SECOND), []);
    assert_eq!((bench.stats().resets, bench.stats().separate_responses_lost), (1, 1));
}

#[test]
fn an_acknowledgement_with_a_response_ends_a_separate_response_too() {
    // RFC 7252 §5.2.2: any matching Acknowledgement, whatever it carries.
    let (mut bench, message_id, _) = separate_response();
    let kind = MessageType::Acknowledgement;
    assert_eq!(bench.receive(&message(kind, Code::CONTENT, message_id, b"x", &[], b"1")), []);
    assert_eq!(bench.sleep(200 * SECOND), []);
    assert_eq!((bench.stats().acknowledgements, bench.stats().retransmissions), (1, 0));
}

#[test]
fn acknowledgements_from_elsewhere_or_for_another_id_do_not_count() {
    // RFC 7252 §4.4
    let (mut bench, message_id, _) = separate_response();
    let acknowledgement = encode::empty(MessageType::Acknowledgement, message_id);
    assert_eq!(bench.receive_from(PEER + 1, &acknowledgement), []);
    let other = encode::empty(MessageType::Acknowledgement, message_id.wrapping_add(1));
    assert_eq!(bench.receive(&other), []);
    assert_eq!(bench.stats().unmatched, 2);
    assert_eq!(bench.sleep(3 * SECOND).len(), 1);
}

#[test]
fn a_non_confirmable_request_gets_a_non_confirmable_response() {
    // RFC 7252 §5.2.3, appendix A figure 22
    let mut bench = Bench::new();
    let (exchange, request) = only_request(bench.receive(golden::NON_GET));
    assert!(!request.confirmable);
    assert_eq!(bench.sleep(20 * SECOND), [], "there is nothing to acknowledge");
    let datagram = only_datagram(bench.respond(exchange, content("22.3 C")));
    let message_id = Message::parse(&datagram).unwrap().message_id();
    let mut expected = golden::NON_GET_RESPONSE.to_vec();
    encode::set_message_id(&mut expected, message_id);
    assert_eq!(datagram, expected);
    assert_eq!(bench.sleep(100 * SECOND), [], "and nothing to retransmit");
}

#[test]
fn a_non_confirmable_duplicate_is_ignored_in_silence() {
    // RFC 7252 §4.5
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::NON_GET));
    assert_eq!(bench.receive(golden::NON_GET), []);
    bench.respond(exchange, content("22.3 C"));
    bench.sleep(144 * SECOND);
    assert_eq!(bench.receive(golden::NON_GET), []);
    assert_eq!((bench.stats().requests, bench.stats().duplicates), (1, 2));
}

#[test]
fn a_message_id_is_forgotten_after_its_lifetime() {
    // RFC 7252 §4.8.2: EXCHANGE_LIFETIME 247 s, NON_LIFETIME 145 s
    for (datagram, lifetime) in [(golden::TOKEN_GET, 247), (golden::NON_GET, 145)] {
        let mut bench = Bench::new();
        let (exchange, _) = only_request(bench.receive(datagram));
        bench.respond(exchange, content("22.3 C"));
        bench.sleep(lifetime * SECOND - Duration::from_micros(1));
        bench.receive(datagram);
        assert_eq!(bench.stats().requests, 1);
        bench.sleep(Duration::from_micros(1));
        only_request(bench.receive(datagram));
    }
}

#[test]
fn a_lifetime_ends_on_time_even_if_many_end_at_once() {
    // RFC 7252 §4.8.2
    let mut bench = Bench::new();
    for message_id in 0..100 {
        let (exchange, _) = only_request(bench.receive(&post(message_id, &[])));
        bench.respond(exchange, content("x"));
    }
    bench.sleep(100 * SECOND);
    bench.receive(golden::PING);
    bench.sleep(147 * SECOND);
    only_request(bench.receive(&post(99, &[])));
    assert_eq!(bench.stats().reused_message_ids, 0);
}

#[test]
fn a_message_id_identifies_a_message_only_with_its_peer_and_token() {
    // RFC 7252 §4.4. Another token with the same id is a device that restarted: it must not get
    // the answer to what it sent before.
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::TOKEN_GET));
    bench.respond(exchange, content("22.3 C"));
    only_request(bench.receive_from(PEER + 1, golden::TOKEN_GET));
    let restarted = b"\x41\x01\x7d\x35\x21\xbbtemperature";
    let (exchange, _) = only_request(bench.receive(restarted));
    assert_eq!(bench.stats().reused_message_ids, 1);
    let answer = bench.respond(exchange, content("23 C"));
    assert_eq!(bench.receive(restarted), answer);
}

#[test]
fn a_confirmable_message_is_no_duplicate_of_a_non_confirmable_one() {
    // RFC 7252 §4.2: it has to be acknowledged, and a retransmission would be of the same type.
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(&non_post(1, &[])));
    bench.respond(exchange, content("x"));
    let (exchange, _) = only_request(bench.receive(&post(1, &[])));
    assert_eq!(bench.receive(&non_post(1, &[])), []);
    assert_eq!(bench.respond(exchange, content("x")).len(), 1);
}

#[test]
fn a_device_that_restarts_while_its_request_is_executed_is_served() {
    let mut bench = Bench::new();
    let (abandoned, _) = only_request(bench.receive(golden::TOKEN_GET));
    let (exchange, _) = only_request(bench.receive(b"\x41\x01\x7d\x35\x21\xbbtemperature"));
    assert_eq!(bench.respond(abandoned, content("old")), []);
    let datagram = only_datagram(bench.respond(exchange, content("new")));
    assert!(datagram.ends_with(b"\x21\xffnew"), "{datagram:02x?}");
    assert_eq!((bench.stats().late_responses, bench.stats().unanswered), (1, 1));
}

#[test]
fn only_the_first_response_counts() {
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::TOKEN_GET));
    let answer = bench.respond(exchange, content("22.3 C"));
    assert_eq!(bench.respond(exchange, content("22.4 C")), []);
    assert_eq!(bench.receive(golden::TOKEN_GET), answer);
    assert_eq!(bench.stats().late_responses, 1);
}

#[test]
fn an_exchange_that_is_never_answered_is_counted_and_forgotten() {
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::TOKEN_GET));
    bench.sleep(247 * SECOND);
    bench.receive(golden::PING);
    assert_eq!((bench.stats().unanswered, bench.endpoint.dedup.usage()), (1, (0, 0)));
    assert_eq!(bench.respond(exchange, content("late")), []);
    assert_eq!(bench.stats().late_responses, 1);
}

#[test]
fn a_valid_response_has_no_payload() {
    // RFC 7252 §5.9.1.3
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::GET));
    let response = Response::new(Code::VALID).option(OptionNumber::ETAG, b"e").payload("gone");
    assert_eq!(only_datagram(bench.respond(exchange, response)), b"\x60\x43\x7d\x34\x41e");
}

#[test]
fn a_response_that_cannot_be_sent_becomes_an_internal_server_error() {
    // RFC 7252 §4.6: 1152 bytes for a message.
    let mut bench = Bench::new();
    let (exchange, _) = only_request(bench.receive(golden::GET));
    let fits = Response::new(Code::CONTENT).payload([0; 1152 - 5]);
    assert_eq!(only_datagram(bench.respond(exchange, fits)).len(), 1152);
    for response in
        [Response::new(Code::CONTENT).payload([0; 1152 - 5]), Response::new(Code::EMPTY)]
    {
        let request = message(MessageType::Confirmable, Code::new(0, 1), 1, b"t", &[], b"");
        let mut bench = Bench::new();
        let (exchange, _) = only_request(bench.receive(&request));
        let datagram = only_datagram(bench.respond(exchange, response));
        let answer = Message::parse(&datagram).unwrap();
        assert_eq!((answer.code(), &*answer.token()), (Code::INTERNAL_SERVER_ERROR, &b"t"[..]));
        assert_eq!(bench.stats().unsendable_responses, 1);
    }
}

#[test]
fn a_group_gets_success_within_the_leisure_and_no_errors() {
    // RFC 7252 §8.2
    let mut delays = Vec::new();
    let mut bench = Bench::new();
    for message_id in 0..100_u16 {
        let mut request = golden::GROUP_GET.to_vec();
        encode::set_message_id(&mut request, message_id);
        let (exchange, _) = only_request(bench.receive_for_group(&request));
        assert_eq!(bench.respond(exchange, content("22.3 C")), []);
        assert_eq!(bench.receive_for_group(&request), [], "a duplicate");
        let start = bench.now;
        let mut outputs = bench.sleep(5 * SECOND);
        let (at, output) = outputs.pop().unwrap();
        assert_eq!(outputs, []);
        let datagram = only_datagram(alloc::vec![output]);
        let response = Message::parse(&datagram).unwrap();
        assert_eq!(
            (response.kind(), &*response.token()),
            (MessageType::NonConfirmable, &[0x86][..])
        );
        delays.push((at - start).as_secs());
    }
    for second in 0..5 {
        assert!(delays.contains(&second), "not spread over the leisure: {delays:?}");
    }
    let (exchange, _) = only_request(bench.receive_for_group(&non_post(1000, &[])));
    assert_eq!(bench.respond(exchange, Response::new(Code::NOT_FOUND)), []);
    assert_eq!(bench.sleep(10 * SECOND), []);
    assert_eq!(bench.stats().suppressed_responses, 1);
}

#[test]
fn a_message_that_an_earlier_process_executed_is_answered_and_not_executed() {
    // RFC 7252 §4.5, across a restart
    let mut bench = Bench::new();
    let age = 200 * SECOND;
    let response = content("22.3 C");
    bench.endpoint.remember(bench.now, PEER, 0x7d35, &[0x20], age, response);
    assert_eq!(bench.drain(), []);
    assert_eq!(only_datagram(bench.receive(golden::TOKEN_GET)), golden::TOKEN_GET_RESPONSE);
    only_request(bench.receive_from(PEER + 1, golden::TOKEN_GET));
    bench.sleep(47 * SECOND);
    only_request(bench.receive(golden::TOKEN_GET));
}

#[test]
fn what_is_too_old_or_cannot_be_a_message_is_not_remembered() {
    let mut bench = Bench::new();
    let response = || content("22.3 C");
    bench.endpoint.remember(bench.now, PEER, 0x7d35, &[0x20], 248 * SECOND, response());
    bench.endpoint.remember(bench.now, PEER, 0x7d35, &[0; 9], SECOND, response());
    assert_eq!(bench.endpoint.dedup.usage(), (0, 0));
    let (exchange, _) = only_request(bench.receive(golden::TOKEN_GET));
    // What is being executed is known better than what is remembered.
    bench.endpoint.remember(bench.now, PEER, 0x7d35, &[0x20], SECOND, content("old"));
    let answer = only_datagram(bench.respond(exchange, response()));
    assert_eq!(answer, golden::TOKEN_GET_RESPONSE);
    assert_eq!(only_datagram(bench.receive(golden::TOKEN_GET)), golden::TOKEN_GET_RESPONSE);
    assert_eq!(bench.endpoint.dedup.usage().0, 1);
}

#[test]
fn extended_tokens_are_echoed_where_they_are_switched_on() {
    // RFC 8974 §2: the response has the token of the request; without support it is a format
    // error (§2.2.2), so a Reset.
    let token = Token::new(&[7; 40]).unwrap();
    let get = encode::message(
        MessageType::Confirmable,
        Method::Get.code(),
        1,
        token,
        &Options::new(),
        b"",
        1152,
    )
    .unwrap();
    let mut bench = Bench::with(EndpointConfig { max_token: 40, ..Default::default() });
    let (exchange, _) = only_request(bench.receive(&get));
    let answer = only_datagram(bench.respond(exchange, content("x")));
    assert_eq!(Message::parse_extended(&answer, 40).unwrap().token(), token);

    let mut bench = Bench::with(EndpointConfig { max_token: 39, ..Default::default() });
    let outputs = bench.receive(&get);
    let reset = encode::empty(MessageType::Reset, 1);
    assert_eq!(transmitted(&outputs).collect::<Vec<_>>(), [&reset]);
}
