//! Session and broker over a network that breaks anywhere, over many seeds.

use std::collections::BTreeMap;

use proto::Rng;

use super::super::super::track::Track;
use super::model::ModelBroker;
use super::*;

const RECORDS: u64 = 60;
const SEEDS: u64 = 600;

/// Which qualities of service the records have.
#[derive(Clone, Copy, Debug)]
enum Mix {
    Only(QoS),
    /// 1 and 2, some records with both.
    Both,
}

/// What may go wrong besides cuts.
#[derive(Clone, Copy, Debug)]
struct Faults {
    /// One in so many answers is never sent; the session has to notice.
    lost_answers: u64,
    /// The broker forgets the session once in so many connections.
    forgets: u64,
}

const CUTS: Faults = Faults { lost_answers: u64::MAX, forgets: u64::MAX };

/// A caller as [`super::super::super::connection`] is one, without the store.
struct Caller {
    session: Session,
    track: Track,
    /// The next record.
    position: u64,
    work: Vec<(u64, Publish)>,
    /// Every record below this is settled for good.
    released: u64,
    now: Instant,
}

impl Caller {
    fn new(protocol: Protocol, qos: QoS, window: u16) -> Self {
        let options = SessionOptions { window, qos, ..options(protocol) };
        Self {
            session: Session::new(options),
            track: Track::new(1),
            position: 1,
            work: Vec::new(),
            released: 1,
            now: START,
        }
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected { resumed: true } | Event::StatusRejected(_) => {}
                Event::Connected { resumed: false } => {
                    self.track = Track::new(self.released);
                    self.position = self.released;
                    self.work.clear();
                }
                Event::Acknowledged(ticket) => assert!(self.track.settle(ticket.n)),
                Event::Rejected(..) => panic!("nothing is rejected here"),
            }
        }
        self.released = self.track.released();
    }

    fn publish(&mut self, mix: Mix) {
        loop {
            while let Some((n, publish)) =
                self.work.pop_if(|(_, publish)| self.session.has_room(publish.qos))
            {
                self.session.publish(self.now, ticket(n), publish, false).unwrap();
            }
            let is_connected = self.session.is_connected();
            if !is_connected || !self.work.is_empty() || self.position > RECORDS {
                return;
            }
            let n = self.position;
            self.position += 1;
            let publishes = publishes(n, mix);
            self.track.begin(n, u32::try_from(publishes.len()).unwrap());
            self.work = publishes.into_iter().map(|publish| (n, publish)).collect();
        }
    }

    fn is_done(&self) -> bool {
        self.released > RECORDS
    }
}

/// Every publish of a record, named by its payload: `{n}` or `{n}+`.
fn publishes(n: u64, mix: Mix) -> Vec<Publish> {
    let publish = |qos, mark: &str| Publish {
        topic: format!("site/{}", n % 5),
        payload: Bytes::from(format!("{n}{mark}")),
        ..message(n, qos)
    };
    match mix {
        Mix::Only(qos) => vec![publish(qos, "")],
        Mix::Both => match n % 4 {
            0 => vec![publish(QoS::ExactlyOnce, "")],
            1 => vec![publish(QoS::AtLeastOnce, "")],
            2 => vec![publish(QoS::AtLeastOnce, ""), publish(QoS::ExactlyOnce, "+")],
            _ => Vec::new(),
        },
    }
}

/// Runs until every record is settled; what arrived, by payload, with how often.
fn run(protocol: Protocol, mix: Mix, faults: Faults, seed: u64) -> BTreeMap<String, usize> {
    let rng = &mut Rng::new(seed);
    let qos = match mix {
        Mix::Only(qos) => qos,
        Mix::Both => QoS::ExactlyOnce,
    };
    let window = u16::try_from(1 + rng.below(30)).unwrap();
    let mut caller = Caller::new(protocol, qos, window);
    let mut broker = ModelBroker::with_stale_session(protocol);
    for connection in 0.. {
        assert!(connection < 3000, "no progress beyond {}", caller.released);
        if rng.below(faults.forgets) == 1 {
            broker.forget();
        }
        // It shrinks and grows from connection to connection.
        broker.receive_maximum = u16::try_from(1 + rng.below(12)).unwrap();
        broker.alias_maximum = u16::try_from(rng.below(4)).unwrap();
        if protocol == Protocol::V4 {
            broker.receive_maximum = u16::MAX;
        }
        serve(&mut caller, &mut broker, mix, faults, rng);
        let delivered = &broker.delivered;
        let is_there =
            |publish: Publish| delivered.iter().any(|d| d.payload.as_bytes() == publish.payload);
        let released = (1..caller.released).flat_map(|n| publishes(n, mix));
        assert!(released.into_iter().all(is_there), "what is released has arrived");
        if caller.is_done() {
            break;
        }
    }
    let mut counts = BTreeMap::new();
    for publish in broker.delivered.iter().filter(|p| p.topic.starts_with("site/")) {
        let n: u64 = publish.payload.trim_end_matches('+').parse().unwrap();
        assert_eq!(publish.topic, format!("site/{}", n % 5), "an alias stands for its topic");
        *counts.entry(publish.payload.clone()).or_default() += 1;
    }
    counts
}

/// One connection, until it is cut or nothing is left to do.
fn serve(caller: &mut Caller, broker: &mut ModelBroker, mix: Mix, faults: Faults, rng: &mut Rng) {
    broker.connect();
    caller.session.handle_connected(caller.now).unwrap();
    let mut to_broker = 1 + rng.below(2500);
    let mut to_session = 1 + rng.below(400);
    loop {
        caller.now = caller.now + Duration::from_millis(rng.below(50));
        caller.handle_events();
        caller.publish(mix);
        caller.handle_events();
        let mut stream = caller.session.outgoing().split();
        let is_cut = take(&mut stream, &mut to_broker);
        // The network delivers in pieces.
        let middle = usize::try_from(rng.below(stream.len() as u64 + 1)).unwrap();
        let (head, tail) = stream.split_at(middle);
        broker.handle_bytes(head);
        broker.handle_bytes(tail);
        if is_cut || caller.is_done() || caller.session.is_closing() {
            return broker.cut();
        }
        let Some(answer) = broker.answer(rng.next_u64()) else {
            // An answer is missing: the session waits until its patience ends.
            caller.now = caller.session.deadline();
            match caller.session.handle_timeout(caller.now) {
                Ok(()) => continue,
                Err(SessionError::Unacknowledged(_) | SessionError::Silent(_)) => {
                    return broker.cut();
                }
                Err(error) => panic!("{error}"),
            }
        };
        if rng.below(faults.lost_answers) == 1 {
            continue;
        }
        let mut answer = BytesMut::from(&answer[..]);
        let is_cut = take(&mut answer, &mut to_session);
        caller.session.handle_bytes(caller.now, &answer).unwrap();
        if is_cut {
            caller.handle_events();
            return broker.cut();
        }
    }
}

/// Lets through what the budget allows; true if that is not all.
fn take(stream: &mut BytesMut, budget: &mut u64) -> bool {
    let is_cut = stream.len() as u64 >= *budget;
    stream.truncate(usize::try_from(*budget).unwrap());
    *budget -= stream.len() as u64;
    is_cut
}

fn expected(mix: Mix) -> Vec<String> {
    let all = (1..=RECORDS).flat_map(|n| publishes(n, mix));
    let mut all: Vec<String> = all.map(|publish| text(&publish.payload)).collect();
    all.sort();
    all
}

fn assert_nothing_is_lost(protocol: Protocol, mix: Mix, faults: Faults) {
    let expected = expected(mix);
    for seed in 0..SEEDS {
        let arrived = run(protocol, mix, faults, seed);
        assert!(arrived.keys().eq(&expected), "{protocol:?} {mix:?} seed {seed}");
    }
}

fn assert_exactly_once(protocol: Protocol, mix: Mix, faults: Faults) {
    for seed in 0..SEEDS {
        let arrived = run(protocol, mix, faults, seed);
        for publish in (1..=RECORDS).flat_map(|n| publishes(n, mix)) {
            let count = arrived.get(&text(&publish.payload)).copied().unwrap_or(0);
            let is_right = match publish.qos {
                QoS::ExactlyOnce => count == 1,
                QoS::AtLeastOnce | QoS::AtMostOnce => count >= 1,
            };
            assert!(is_right, "{protocol:?} seed {seed}: {:?} came {count} times", publish.payload);
        }
    }
}

#[test]
fn nothing_is_lost_over_any_cuts_at_quality_of_service_1() {
    let once = Mix::Only(QoS::AtLeastOnce);
    assert_nothing_is_lost(Protocol::V4, once, CUTS);
    assert_nothing_is_lost(Protocol::V5, once, CUTS);
}

#[test]
fn nothing_is_doubled_over_any_cuts_at_quality_of_service_2() {
    // MQTT 5 §4.3.3, §4.4
    let exactly = Mix::Only(QoS::ExactlyOnce);
    assert_exactly_once(Protocol::V4, exactly, CUTS);
    assert_exactly_once(Protocol::V5, exactly, CUTS);
}

#[test]
fn records_of_both_qualities_of_service_share_one_session() {
    assert_exactly_once(Protocol::V4, Mix::Both, CUTS);
    assert_exactly_once(Protocol::V5, Mix::Both, CUTS);
}

#[test]
fn an_answer_that_never_comes_loses_and_doubles_nothing() {
    let faults = Faults { lost_answers: 20, ..CUTS };
    assert_nothing_is_lost(Protocol::V4, Mix::Only(QoS::AtLeastOnce), faults);
    assert_exactly_once(Protocol::V5, Mix::Both, faults);
}

#[test]
fn a_broker_that_forgets_the_session_gets_everything_again() {
    let faults = Faults { forgets: 3, ..CUTS };
    assert_nothing_is_lost(Protocol::V4, Mix::Both, faults);
    assert_nothing_is_lost(Protocol::V5, Mix::Both, faults);
}
