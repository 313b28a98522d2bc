//! Signalling (RFC 8323 §5).

use super::*;

#[test]
fn csm_comes_first_and_says_what_the_endpoint_takes() {
    // RFC 8323 §3.3, §5.3: an acceptor and an initiator alike.
    let csm = |max_message, block_wise| {
        let config = StreamConfig { max_message, block_wise, ..Default::default() };
        let mut endpoint = StreamEndpoint::new(Instant::ZERO, config);
        let StreamOutput::Transmit(bytes) = endpoint.poll_output() else { panic!("no CSM") };
        only(messages(&bytes))
    };
    let plain = csm(65_536, false);
    assert_eq!((plain.code, &plain.options), (Code::CSM, &[(2, b"\x01\0\0".to_vec())].into()));
    assert_eq!(csm(1152, true).options, [(2, b"\x04\x80".to_vec()), (4, Vec::new())]);
}

#[test]
fn capabilities_are_those_that_the_peer_said_last() {
    // RFC 8323 §5.3: cumulative, with base values.
    let known = |bench: &Bench| {
        let Capabilities { max_message, block_wise } = bench.endpoint.capabilities();
        (max_message, block_wise)
    };
    let mut bench = Bench::new(StreamConfig::default());
    assert_eq!(known(&bench), (1152, false));
    assert_eq!(bench.receive(golden::AIOCOAP_CSM).events.len(), 1);
    assert_eq!(known(&bench), (1 << 20, true));
    assert!(bench.receive(golden::CSM).events.is_empty(), "it changes nothing");
    assert_eq!(bench.receive(&message(Code::CSM, b"", &[(2, b"\x01\0")], b"")).events.len(), 1);
    assert_eq!(known(&bench), (256, true));
    let mut bench = Bench::new(StreamConfig::default());
    bench.receive(golden::LIBCOAP_CSM);
    assert_eq!(known(&bench), (8 * 1024 * 1024 + 256, true));
}

#[test]
fn a_first_message_that_is_no_csm_aborts() {
    // RFC 8323 §3.3
    for first in [golden::GET, golden::VALID, golden::PING, golden::PONG, golden::RELEASE] {
        let mut bench = Bench::new(StreamConfig::default());
        let outcome = bench.receive(first);
        aborted(&bench, outcome, StreamFault::NoCsm);
    }
    // RFC 8323 §3.4: an Empty message can always be sent.
    let mut bench = Bench::new(StreamConfig::default());
    assert!(bench.receive(golden::EMPTY).sent.is_empty());
    assert_eq!(bench.receive(golden::CSM).events.len(), 1);
}

#[test]
fn a_peer_that_sends_no_csm_is_not_waited_for() {
    let mut bench = Bench::new(StreamConfig::default());
    bench.receive(golden::EMPTY);
    assert!(bench.sleep(9 * SECOND).events.is_empty());
    let outcome = bench.sleep(SECOND);
    aborted(&bench, outcome, StreamFault::LateCsm);
}

#[test]
fn a_bad_csm_option_is_named_in_the_abort() {
    // RFC 8323 §5.2, §5.6
    let unknown = StreamFault::SignalOption { signal: Code::CSM, option: OptionNumber(9) };
    let value = |number| StreamFault::CsmValue(OptionNumber(number));
    for (number, bytes, fault) in [
        (9, &b""[..], unknown),
        (2, b"\0\0\0\x10\0", value(2)),
        (2, b"\x3f", value(2)),
        (2, b"", value(2)),
        (4, b"\0", value(4)),
    ] {
        let mut bench = Bench::new(StreamConfig::default());
        let outcome = bench.receive(&message(Code::CSM, b"", &[(number, bytes)], b""));
        let abort = aborted(&bench, outcome, fault);
        assert_eq!(abort.options, [(2, [u8::try_from(number).unwrap()].to_vec())]);
    }
}

#[test]
fn unrecognised_options_of_signals_abort_only_if_they_are_critical() {
    // RFC 8323 §5.2
    for signal in [Code::CSM, Code::PING, Code::PONG, Code::RELEASE] {
        let mut bench = Bench::open();
        bench.receive(&message(signal, b"", &[(10, b"x"), (300, b"y")], b""));
        let is_open = bench.closed.is_none();
        assert!(is_open || bench.closed == Some(CloseReason::Released), "{signal}");

        let mut bench = Bench::open();
        let outcome = bench.receive(&message(signal, b"", &[(10, b"x"), (301, b"y")], b""));
        let option = OptionNumber(301);
        let abort = aborted(&bench, outcome, StreamFault::SignalOption { signal, option });
        assert_eq!(abort.options.is_empty(), signal != Code::CSM);
    }
}

#[test]
fn unknown_signals_and_reserved_classes_abort() {
    let mut bench = Bench::open();
    let outcome = bench.receive(&message(Code::new(7, 6), b"", &[], b""));
    aborted(&bench, outcome, StreamFault::UnknownSignal(Code::new(7, 6)));
    for code in [Code::new(1, 0), Code::new(6, 31), Code::new(7, 0)] {
        let mut bench = Bench::open();
        let outcome = bench.receive(&message(code, b"", &[], b""));
        let fault = match code.class() {
            7 => StreamFault::UnknownSignal(code),
            _ => StreamFault::Format(Fault::ReservedCode(code)),
        };
        aborted(&bench, outcome, fault);
    }
}

#[test]
fn a_ping_is_answered_at_once_with_its_token() {
    // RFC 8323 §5.7
    let mut bench = Bench::open();
    bench.receive_request(golden::GET);
    let pong = only(bench.receive(golden::PING).sent);
    assert_eq!((pong.code, pong.token, pong.options), (Code::PONG, [0x42].into(), [].into()));
}

#[test]
fn custody_is_confirmed_when_everything_before_it_is_answered() {
    // RFC 8323 §5.4.1
    let mut bench = Bench::open();
    let pong = only(bench.receive(golden::CUSTODY_PING).sent);
    assert_eq!((pong.code, pong.options), (Code::PONG, [(2, [].into())].into()));

    let first = bench.receive_request(golden::GET);
    let second = bench.receive_request(golden::GET);
    assert!(bench.receive(golden::CUSTODY_PING).sent.is_empty());
    let third = bench.receive_request(golden::GET);
    assert_eq!(bench.respond(second, "2").sent.len(), 1);
    let sent = bench.respond(first, "1").sent;
    let codes: Vec<_> = sent.iter().map(|sent| sent.code).collect();
    assert_eq!(codes, [Code::CONTENT, Code::PONG], "the third came after the Ping");
    assert_eq!(sent[1].token, [0x43]);
    assert_eq!(bench.respond(third, "3").sent.len(), 1);
}

#[test]
fn more_pings_than_can_wait_are_answered_without_custody() {
    let mut bench = Bench::open();
    let exchange = bench.receive_request(golden::GET);
    for _ in 0..16 {
        assert!(bench.receive(golden::CUSTODY_PING).sent.is_empty());
    }
    let pong = only(bench.receive(golden::CUSTODY_PING).sent);
    assert_eq!((pong.code, pong.options), (Code::PONG, [].into()));
    let sent = bench.respond(exchange, "x").sent;
    assert_eq!(sent.iter().filter(|sent| !sent.options.is_empty()).count(), 16);
}

#[test]
fn a_release_ends_the_connection_when_everything_is_answered() {
    // RFC 8323 §5.5
    let mut bench = Bench::open();
    let exchange = bench.receive_request(golden::GET);
    let (id, own) = bench.request(&Request::new(Method::Get));
    let outcome = bench.receive(golden::RELEASE);
    let release = Release {
        alternatives: ["example.org".into()].into(),
        hold_off: Some(60 * SECOND),
        diagnostic: "bye".into(),
    };
    assert_eq!(outcome.events, [StreamEvent::Released(release)]);
    assert!(bench.receive(golden::GET).events.is_empty(), "no more requests");
    assert_eq!(bench.stats().ignored, 1);
    assert_eq!(
        bench.endpoint.request(bench.now, &Request::new(Method::Get)),
        Err(RequestError::Closing)
    );
    assert_eq!(bench.respond(exchange, "x").sent.len(), 1);
    assert_eq!(bench.closed, None, "a response may still come");
    let outcome = bench.receive(&message(Code::CONTENT, &own.token, &[], b""));
    let response = Response::new(Code::CONTENT);
    let expected =
        [StreamEvent::Response { id, response }, StreamEvent::Closed(CloseReason::Released)];
    assert_eq!(outcome.events, expected);
}

#[test]
fn a_released_peer_is_served_until_it_closes_or_the_time_is_over() {
    let release = Release { hold_off: Some(5 * SECOND), ..Release::default() };
    for closes in [true, false] {
        let mut bench = Bench::open();
        bench.endpoint.release(bench.now, &release);
        let sent = only(bench.drain().sent);
        assert_eq!((sent.code, sent.options), (Code::RELEASE, [(4, [5].into())].into()));
        let exchange = bench.receive_request(golden::GET);
        assert_eq!(bench.respond(exchange, "x").sent.len(), 1);
        let exchange = bench.receive_request(golden::GET);
        if closes {
            bench.end();
        } else {
            bench.sleep(2 * SECOND);
        }
        assert_eq!(bench.closed, None, "a request is open");
        assert_eq!(bench.respond(exchange, "y").sent.len(), 1);
        let reason = if closes { CloseReason::Ended } else { CloseReason::Released };
        assert_eq!(bench.closed, Some(reason));
    }
}

#[test]
fn an_abort_of_the_peer_ends_the_connection_without_another_word() {
    let mut bench = Bench::open();
    let exchange = bench.receive_request(golden::GET);
    let (id, _) = bench.request(&Request::new(Method::Get));
    let outcome = bench.receive(golden::ABORT);
    let reason = CloseReason::PeerAborted { diagnostic: "why".into() };
    let failed = StreamEvent::Failed { id, reason: FailReason::Aborted };
    assert_eq!(outcome.events, [failed, StreamEvent::Closed(reason)]);
    assert!(outcome.sent.is_empty() && bench.respond(exchange, "x").sent.is_empty());
    assert_eq!(bench.stats().late_responses, 1);
}

#[test]
fn an_abort_counts_whatever_its_options_say() {
    let mut bench = Bench::open();
    let outcome = bench.receive(&message(Code::ABORT, b"", &[(301, b"x")], b""));
    assert_eq!(bench.closed, Some(CloseReason::PeerAborted { diagnostic: String::new() }));
    assert!(outcome.sent.is_empty());
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    // RFC 8323 §3.4, §5.4
    let mut bench = Bench::open();
    bench.sleep(200 * SECOND);
    bench.receive(golden::EMPTY);
    assert!(bench.sleep(299 * SECOND).sent.is_empty());
    assert_eq!(only(bench.sleep(SECOND).sent).code, Code::PING);
    bench.receive(b"\x00\xe3");
    assert_eq!(only(bench.sleep(300 * SECOND).sent).code, Code::PING);
    bench.receive(&golden::GET[..1]);
    assert!(bench.sleep(299 * SECOND).events.is_empty(), "any byte is a sign of life");
    let outcome = bench.sleep(31 * SECOND);
    aborted(&bench, outcome, StreamFault::Silent);
}
