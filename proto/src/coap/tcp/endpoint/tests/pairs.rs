//! Streams in pieces: any split gives the same messages, any damage ends in good order, and two
//! endpoints give each request exactly one outcome over a connection that may break anywhere.

use alloc::collections::BTreeSet;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::Rng;

/// Everything of one conversation.
fn conversation() -> Vec<u8> {
    let all = golden::ALL.iter().filter(|(name, _)| !["RELEASE", "ABORT"].contains(name));
    [golden::CSM].into_iter().chain(all.map(|(_, bytes)| *bytes)).collect::<Vec<_>>().concat()
}

/// What an endpoint sends and tells when it gets a stream in these pieces.
fn handled<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Sent>, Vec<StreamEvent>) {
    let mut bench = Bench::new(StreamConfig::default());
    let mut all = Outcome::default();
    for piece in pieces {
        let outcome = bench.receive(piece);
        all.sent.extend(outcome.sent);
        all.events.extend(outcome.events);
    }
    (all.sent, all.events)
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(mut cuts in prop::collection::vec(0..=200_usize, 0..20)) {
        let stream = conversation();
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(stream.len()));
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
        prop_assert_eq!(handled(pieces), handled(stream.chunks(1)));
    }

    #[test]
    fn any_bytes_end_in_silence_or_one_abort(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let mut bench = Bench::open();
        survives(&mut bench, &bytes);
    }
}

/// Hands in bytes; the endpoint keeps no more than them, and either goes on or aborts once.
fn survives(bench: &mut Bench, bytes: &[u8]) {
    let outcome = bench.receive(bytes);
    let aborts = outcome.sent.iter().filter(|sent| sent.code == Code::ABORT).count();
    let is_fault = matches!(bench.closed, Some(CloseReason::Aborted(_)));
    assert_eq!(aborts, usize::from(is_fault), "{bytes:02x?}");
    assert!(bench.endpoint.inbox.len() <= bytes.len());
    assert!(bench.endpoint.exchanges.len() <= bytes.len() / 2);
    for event in &outcome.events {
        if let StreamEvent::Request { exchange, .. } = event {
            bench.respond(*exchange, "x");
        }
    }
    bench.end();
    assert!(bench.closed.is_some(), "{bytes:02x?}");
    let sent = bench.stats().sent;
    bench.receive(golden::PING);
    assert_eq!(bench.stats().sent, sent, "it is over");
}

#[test]
fn every_truncation_is_noticed() {
    let stream = conversation();
    let mut boundaries = BTreeSet::from([0]);
    let mut rest = stream.as_slice();
    while let Some((_, after)) = frame::split(rest, u32::MAX).unwrap() {
        rest = after;
        boundaries.insert(stream.len() - rest.len());
    }
    for end in 0..=stream.len() {
        let mut bench = Bench::new(StreamConfig::default());
        survives(&mut bench, &stream[..end]);
        assert_eq!(bench.stats().truncated, u64::from(!boundaries.contains(&end)), "{end}");
        assert_eq!(bench.closed, Some(CloseReason::Ended));
    }
}

#[test]
fn every_single_byte_mutation_is_survived() {
    for (_, golden) in golden::ALL {
        for at in 0..golden.len() {
            for change in 1..=u8::MAX {
                let mut bytes = golden.to_vec();
                bytes[at] ^= change;
                let mut bench = Bench::open();
                survives(&mut bench, &bytes);
            }
        }
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Wire(VecDeque<u8>);

impl Wire {
    /// Some of what is on the way.
    fn take(&mut self, rng: &mut Rng) -> Vec<u8> {
        let count = 1 + usize::try_from(rng.below(64)).unwrap();
        self.0.drain(..count.min(self.0.len())).collect()
    }
}

/// An end of a connection, in both roles.
struct End {
    endpoint: StreamEndpoint,
    waiting: BTreeSet<RequestId>,
    responses: usize,
    failures: usize,
    served: usize,
    is_closed: bool,
}

impl End {
    fn new() -> Self {
        let limits = StreamConfig { max_exchanges: 4, max_outgoing: 200, ..Default::default() };
        Self {
            endpoint: StreamEndpoint::new(Instant::ZERO, limits),
            waiting: BTreeSet::new(),
            responses: 0,
            failures: 0,
            served: 0,
            is_closed: false,
        }
    }

    fn ask(&mut self, now: Instant) {
        let request = Request::new(Method::Post).path("r/a/b").payload(vec![b'x'; 20]);
        if let Ok(id) = self.endpoint.request(now, &request) {
            assert!(self.waiting.insert(id));
        }
    }

    fn drain(&mut self, now: Instant, wire: &mut Wire) {
        loop {
            match self.endpoint.poll_output() {
                StreamOutput::Transmit(bytes) => {
                    wire.0.extend(bytes);
                    self.endpoint.handle_transmitted(now);
                }
                StreamOutput::Event(StreamEvent::Request { exchange, request, .. }) => {
                    self.served += 1;
                    let response = Response::new(Code::CHANGED).payload(request.payload);
                    self.endpoint.respond(now, exchange, &response);
                }
                StreamOutput::Event(StreamEvent::Response { id, response }) => {
                    assert!(self.waiting.remove(&id) && response.payload.len() == 20);
                    self.responses += 1;
                }
                StreamOutput::Event(StreamEvent::Failed { id, .. }) => {
                    assert!(self.waiting.remove(&id));
                    self.failures += 1;
                }
                StreamOutput::Event(StreamEvent::Closed(_)) => self.is_closed = true,
                StreamOutput::Event(_) => {}
                StreamOutput::Wait(_) => return,
            }
        }
    }
}

/// Runs both ends until nothing moves, or until `cut` bytes went over the wire.
fn run(seed: u64, requests: usize, cut: Option<usize>) -> [End; 2] {
    let mut rng = Rng::new(seed);
    let (now, mut ends) = (Instant::ZERO, [End::new(), End::new()]);
    let mut wires = [Wire::default(), Wire::default()];
    let (mut asked, mut carried) = ([0, 0], 0);
    loop {
        let mut moved = false;
        for (side, other) in [(0, 1), (1, 0)] {
            if asked[side] < requests {
                asked[side] += 1;
                ends[side].ask(now);
                moved = true;
            }
            ends[side].drain(now, &mut wires[side]);
            if ends[other].endpoint.wants_bytes() && !wires[side].0.is_empty() {
                let bytes = wires[side].take(&mut rng);
                carried += bytes.len();
                ends[other].endpoint.handle_bytes(now, &bytes);
                ends[other].drain(now, &mut wires[other]);
                moved = true;
            }
        }
        if cut.is_some_and(|cut| carried >= cut) {
            for end in &mut ends {
                end.endpoint.handle_lost(now);
                end.drain(now, &mut Wire::default());
            }
            return ends;
        }
        if !moved {
            return ends;
        }
    }
}

#[test]
fn both_ends_ask_and_answer_at_once() {
    for seed in 0..20 {
        let [first, second] = run(seed, 50, None);
        for (end, other) in [(&first, &second), (&second, &first)] {
            assert!(end.waiting.is_empty() && end.failures == 0 && end.responses > 0);
            assert_eq!(end.responses, other.served);
        }
    }
}

#[test]
fn a_connection_that_breaks_anywhere_leaves_no_request_without_an_outcome() {
    for cut in 0..600 {
        let [first, second] = run(cut as u64, 20, Some(cut));
        for (end, other) in [(&first, &second), (&second, &first)] {
            assert!(end.waiting.is_empty() && end.is_closed, "{cut}");
            assert!(end.responses <= other.served, "{cut}: an answer that nobody gave");
        }
    }
}
