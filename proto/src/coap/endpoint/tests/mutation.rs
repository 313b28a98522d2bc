//! Every truncation and every single-byte mutation of the golden messages, against an endpoint
//! that has something of every kind in progress: it never panics, reacts as the type of the
//! message allows, keeps to its limits and still works.

use super::*;

/// An endpoint with a request open, one answered and a request of its own under way.
fn busy() -> Bench {
    let limits = EndpointConfig { max_received: 64, max_peers: 8, ..Default::default() };
    let mut bench = Bench::with(limits);
    only_request(bench.receive(golden::TOKEN_GET));
    let (exchange, _) = only_request(bench.receive(golden::NON_GET));
    bench.respond(exchange, content("22.3 C"));
    bench.request(Request::new(Method::Get));
    bench.sleep(SECOND);
    bench
}

/// Hands over a datagram and checks the reaction against what its first four bytes allow.
fn check(bench: &mut Bench, datagram: &[u8]) {
    let outputs = bench.receive(datagram);
    assert!(outputs.len() <= 2, "{datagram:02x?} {outputs:?}");
    let header = datagram.first_chunk().copied().unwrap_or_default();
    let [first, code, id_high, id_low] = header;
    let (version, kind) = (first >> 6, first >> 4 & 3);
    let mut reactions = 0;
    for output in &outputs {
        match output {
            Output::Transmit { to, datagram: reaction } => {
                reactions += 1;
                assert_eq!(*to, PEER);
                let reaction = Message::parse(reaction).unwrap();
                assert_eq!(version, 1, "an unknown version got an answer: {datagram:02x?}");
                match kind {
                    // Confirmable: a Reset, or an Acknowledgement with or without a response.
                    0 => {
                        let reset = reaction.kind() == MessageType::Reset;
                        assert!(reset || reaction.kind() == MessageType::Acknowledgement);
                        assert_eq!(reaction.message_id(), u16::from_be_bytes([id_high, id_low]));
                        assert!(!reset || reaction.code() == Code::EMPTY);
                    }
                    // Non-confirmable: a Non-confirmable error of the protocol, or a Reset of a
                    // notification that nobody expects.
                    1 if code >> 5 != 0 => assert_eq!(reaction.kind(), MessageType::Reset),
                    1 => {
                        assert_eq!(reaction.kind(), MessageType::NonConfirmable);
                        assert!(reaction.code().is_error());
                    }
                    _ => panic!("{datagram:02x?} got an answer: {reaction:?}"),
                }
            }
            Output::Event(Event::Request { exchange, message_id, .. }) => {
                assert!(kind <= 1 && (1..=7).contains(&code), "{datagram:02x?}");
                assert_eq!(*message_id, u16::from_be_bytes([id_high, id_low]));
                let exchange = *exchange;
                assert_eq!(bench.respond(exchange, content("x")).len(), 1);
            }
            Output::Event(Event::Malformed { .. }) => {
                assert!(Message::parse(datagram).is_err());
            }
            Output::Event(event) => {
                assert!(matches!(event, Event::Failed { .. }) && kind == 3, "{event:?}");
            }
            Output::Wait(_) => unreachable!("drained"),
        }
    }
    // A Confirmable message always gets a reaction, now or when its response is there.
    let is_request = outputs.iter().any(|o| matches!(o, Output::Event(Event::Request { .. })));
    let waits = bench.endpoint.dedup.next_acknowledgement().is_some();
    if datagram.len() >= 4 && version == 1 && kind == 0 {
        assert!(reactions == 1 || is_request || waits, "{datagram:02x?}");
    }
    let (received, _) = bench.endpoint.dedup.usage();
    assert!(received <= 64 && bench.endpoint.peers.len() <= 8);
}

/// It still answers, under an id and token that nothing else here has.
fn assert_works(bench: &mut Bench) {
    let request = message(MessageType::Confirmable, Code::new(0, 1), 1, b"alive", &[], b"");
    let (exchange, _) = only_request(bench.receive(&request));
    let answer = only_datagram(bench.respond(exchange, content("yes")));
    assert!(answer.ends_with(b"\xffyes"));
    assert_eq!(only_datagram(bench.receive(&request)), answer);
}

#[test]
fn every_truncation_gets_the_right_reaction() {
    for (_, golden) in golden::ALL {
        let mut bench = busy();
        for len in 0..golden.len() {
            check(&mut bench, &golden[..len]);
        }
        assert_works(&mut bench);
    }
}

#[test]
fn every_single_byte_mutation_gets_the_right_reaction() {
    for (_, golden) in golden::ALL {
        let mut bench = busy();
        let mut mutated = golden.to_vec();
        for at in 0..golden.len() {
            for byte in 0..=u8::MAX {
                mutated[at] = byte;
                check(&mut bench, &mutated);
            }
            mutated[at] = golden[at];
        }
        assert_works(&mut bench);
    }
}
