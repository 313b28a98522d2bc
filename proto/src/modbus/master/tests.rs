//! A master and the units of its bus, in virtual time.

mod requests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::super::{Exception, Format, Order, Response, Table};
use super::*;

const TIMEOUT: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);
const LINE: Transport = Transport::Line {
    character: Duration::from_micros(1146),
    silence: Duration::from_micros(4010),
};

/// What a unit does with a request.
#[derive(Clone)]
enum Habit {
    /// Answers after a while: a register holds its own address.
    Answers(Duration),
    /// Answers everything but reads that touch these.
    Lacks(BTreeSet<u16>),
    /// Says no.
    Refuses(Exception),
    /// Says nothing.
    Silent,
    /// Says nothing to reads that begin here.
    SilentAt(u16),
    /// Sends these frames, each after a while.
    Sends(Vec<(Duration, Vec<u8>)>),
}

struct Bus {
    master: Master,
    transport: Transport,
    now: Instant,
    units: BTreeMap<u8, Habit>,
    on_the_way: Vec<(Instant, Vec<u8>)>,
    asked: Vec<(Instant, u8, Read)>,
    /// Writes as they arrived.
    written: Vec<(Instant, u8, Request)>,
    events: Vec<(Instant, Event)>,
    disconnects: usize,
}

fn registers(interval: Duration, addresses: impl IntoIterator<Item = u16>) -> Vec<Point> {
    let point =
        |at| Point::new(Table::HoldingRegisters, at, Format::U16, Order::Abcd, interval).unwrap();
    addresses.into_iter().map(point).collect()
}

fn unit(address: u8, points: Vec<Point>) -> UnitConfig {
    UnitConfig { address, timeout: TIMEOUT, points, limits: Limits { gap: 0, registers: 125 } }
}

const PROMPTLY: Duration = Duration::from_millis(5);
const PROMPT: Habit = Habit::Answers(PROMPTLY);

impl Bus {
    fn new(transport: Transport, units: Vec<(UnitConfig, Habit)>) -> Self {
        let habits = units.iter().map(|(unit, habit)| (unit.address, habit.clone())).collect();
        let units = units.into_iter().map(|(unit, _)| unit).collect();
        let longest_rest = Duration::from_secs(60);
        let mut master = Master::new(MasterConfig { transport, units, longest_rest });
        master.handle_connected(Instant::ZERO);
        Self {
            master,
            transport,
            now: Instant::ZERO,
            units: habits,
            on_the_way: Vec::new(),
            asked: Vec::new(),
            written: Vec::new(),
            events: Vec::new(),
            disconnects: 0,
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            match self.master.poll_output(self.now) {
                Output::Event(event) => self.events.push((self.now, event)),
                Output::Disconnect => {
                    self.disconnects += 1;
                    self.master.handle_disconnected(self.now);
                    self.master.handle_connected(self.now);
                }
                Output::Transmit { frame, .. } => self.serve(&frame),
                Output::Wait(until) => {
                    self.on_the_way.sort();
                    let arrival = self.on_the_way.first().map(|(at, _)| *at);
                    let next = [until, arrival].into_iter().flatten().min().unwrap_or(end);
                    if next.max(self.now) >= end {
                        self.now = end;
                        return;
                    }
                    self.now = next.max(self.now);
                    if arrival.is_some_and(|at| at <= self.now) {
                        let (_, bytes) = self.on_the_way.remove(0);
                        self.master.handle_bytes(self.now, &bytes);
                    } else {
                        self.master.handle_timeout(self.now);
                    }
                }
            }
        }
    }

    fn serve(&mut self, frame: &[u8]) {
        let (transaction, address, pdu) = match self.transport {
            Transport::Tcp => {
                let (frame, _) = tcp::decode(frame).unwrap().unwrap();
                (frame.transaction, frame.unit, frame.pdu)
            }
            Transport::Line { .. } | Transport::Tunnel => {
                let (address, pdu) = rtu::decode(frame).unwrap();
                (0, address, pdu)
            }
        };
        let request = Request::decode(pdu).unwrap();
        let Request::Read(read) = request else {
            self.written.push((self.now, address, request.clone()));
            let response = match &self.units[&address] {
                Habit::Silent => return,
                Habit::Refuses(exception) => Response::Exception(*exception),
                Habit::Answers(_) | Habit::Lacks(_) | Habit::SilentAt(_) | Habit::Sends(_) => {
                    Response::Written
                }
            };
            return self.answer(transaction, address, PROMPTLY, &response.encode(&request));
        };
        self.asked.push((self.now, address, read));
        let range = read.address()..u16::try_from(read.end()).unwrap();
        let values = Response::Registers(range.clone().collect());
        let illegal = Response::Exception(Exception::ILLEGAL_DATA_ADDRESS);
        let (delay, response) = match &self.units[&address] {
            Habit::Answers(delay) => (*delay, values),
            Habit::Lacks(absent) if range.clone().any(|at| absent.contains(&at)) => {
                (Duration::from_millis(5), illegal)
            }
            Habit::Refuses(exception) => {
                (Duration::from_millis(5), Response::Exception(*exception))
            }
            Habit::SilentAt(at) if *at == read.address() => return,
            Habit::Lacks(_) | Habit::SilentAt(_) => (Duration::from_millis(5), values),
            Habit::Silent => return,
            Habit::Sends(frames) => {
                let frames = frames.iter().map(|(delay, bytes)| (self.now + *delay, bytes.clone()));
                self.on_the_way.extend(frames);
                return;
            }
        };
        self.answer(transaction, address, delay, &response.encode(&request));
    }

    fn answer(&mut self, transaction: u16, address: u8, delay: Duration, pdu: &[u8]) {
        let bytes = match self.transport {
            Transport::Tcp => tcp::encode(transaction, address, pdu),
            Transport::Line { .. } | Transport::Tunnel => rtu::encode(address, pdu),
        };
        self.on_the_way.push((self.now + delay, bytes));
    }

    /// When a unit answered.
    fn answers(&self, wanted: usize) -> Vec<Instant> {
        let answered =
            |event: &Event| matches!(event, Event::Answered { unit, .. } if *unit == wanted);
        self.events.iter().filter(|(_, event)| answered(event)).map(|(at, _)| *at).collect()
    }

    fn failures(&self) -> Vec<Failure> {
        let failure = |(_, event): &(Instant, Event)| {
            if let Event::Failed { why, .. } = event { Some(*why) } else { None }
        };
        self.events.iter().filter_map(failure).collect()
    }

    fn discarded(&self) -> Vec<Failure> {
        let discarded = |(_, event): &(Instant, Event)| {
            if let Event::Discarded { why, .. } = event { Some(*why) } else { None }
        };
        self.events.iter().filter_map(discarded).collect()
    }

    fn asked_of(&self, address: u8) -> Vec<(Instant, Read)> {
        let asked = self.asked.iter().filter(|(_, unit, _)| *unit == address);
        asked.map(|(at, _, read)| (*at, *read)).collect()
    }
}

/// A good answer of a unit to a read of one register.
fn answer(unit: u8, value: u16) -> Vec<u8> {
    let [high, low] = value.to_be_bytes();
    rtu::encode(unit, &[3, 2, high, low])
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn points_are_read_at_their_intervals_and_keep_their_phase() {
    let points = [registers(SECOND, [0, 1]), registers(SECOND * 10, [7])].concat();
    let mut bus = Bus::new(LINE, vec![(unit(1, points), PROMPT)]);
    bus.run(SECOND * 30 + millis(500));
    let asked = bus.asked_of(1);
    let fast: Vec<_> = asked.iter().filter(|(_, read)| read.count() == 2).collect();
    assert_eq!(fast.len(), 31);
    assert_eq!(asked.len() - fast.len(), 4);
    for (second, (at, _)) in fast.iter().enumerate() {
        let late = *at - (Instant::ZERO + SECOND * u32::try_from(second).unwrap());
        assert!(late < millis(50), "{late:?}");
    }
    let values = bus.events.iter().find_map(|(_, event)| {
        let Event::Answered { values, .. } = event else { return None };
        (values.len() == 2).then(|| values.clone())
    });
    let number = |n: u16| Ok(Value::Number(n.into()));
    assert_eq!(values, Some(vec![(0, number(0)), (1, number(1))]));
}

#[test]
fn a_dead_unit_costs_the_others_next_to_nothing() {
    let fast = millis(100);
    for transport in [LINE, Transport::Tcp, Transport::Tunnel] {
        let units = vec![
            (unit(1, registers(fast, [0, 50, 100])), Habit::Silent),
            (unit(2, registers(fast, [0])), PROMPT),
        ];
        let mut bus = Bus::new(transport, units);
        bus.run(Duration::from_secs(120));
        let answers = bus.answers(1).len();
        assert!(answers > 1100, "{answers} of 1200 over {transport:?}");
        // 0.5, 1, 2, … 60 s apart.
        let tries = bus.asked_of(1).len();
        assert!((7..12).contains(&tries), "{tries}");
        assert!(bus.failures().iter().all(|why| *why == Failure::Timeout));

        // And it is found soon after it came back, all of it.
        bus.units.insert(1, PROMPT);
        bus.run(Duration::from_secs(62));
        let back = *bus.answers(0).first().unwrap();
        let soon: BTreeSet<_> = bus
            .asked_of(1)
            .iter()
            .filter(|(at, _)| *at + SECOND >= back && *at <= back + SECOND)
            .map(|(_, read)| read.address())
            .collect();
        assert_eq!(soon.len(), 3, "every block is asked for again at once");
    }
}

#[test]
fn a_slow_unit_takes_no_more_turns_than_a_fast_one() {
    let greedy = || registers(millis(1), [0, 10, 20, 30]);
    let slow = Habit::Answers(millis(400));
    let units =
        vec![(unit(1, greedy()), slow), (unit(2, greedy()), PROMPT), (unit(3, greedy()), PROMPT)];
    let mut bus = Bus::new(Transport::Tcp, units);
    bus.run(Duration::from_secs(60));
    let turns = [1, 2, 3].map(|address| bus.asked_of(address).len());
    assert!(turns.iter().max().unwrap() - turns.iter().min().unwrap() <= 1, "{turns:?}");
    let skipped: u64 = bus
        .events
        .iter()
        .map(|(_, event)| if let Event::Answered { skipped, .. } = event { *skipped } else { 0 })
        .sum();
    assert!(skipped > 100_000, "{skipped}");
}

#[test]
fn a_block_that_is_never_answered_holds_up_no_other_of_its_unit() {
    let units = vec![(unit(1, registers(SECOND, [0, 10, 20])), Habit::SilentAt(10))];
    let mut bus = Bus::new(LINE, units);
    bus.run(Duration::from_secs(300));
    let answers = bus.answers(0).len();
    assert!(answers > 580, "{answers} of 600");
}

#[test]
fn a_group_that_is_refused_is_read_one_by_one_until_the_link_is_new() {
    let habit = Habit::Lacks([2].into());
    let mut bus = Bus::new(Transport::Tcp, vec![(unit(1, registers(SECOND, 0..4)), habit)]);
    bus.run(millis(900));
    let asked: Vec<_> = bus.asked_of(1).iter().map(|(_, r)| (r.address(), r.count())).collect();
    assert_eq!(asked, [(0, 4), (0, 1), (1, 1), (2, 1), (3, 1)]);
    assert_eq!(bus.answers(0).len(), 3);
    let illegal = Failure::Answer(Fault::Exception(Exception::ILLEGAL_DATA_ADDRESS));
    assert_eq!(bus.failures(), [illegal; 2]);
    assert!(bus.events.iter().any(|(_, event)| matches!(event, Event::Split { unit: 0, .. })));

    bus.asked.clear();
    bus.units.insert(1, PROMPT);
    bus.master.handle_disconnected(bus.now);
    bus.master.handle_connected(bus.now);
    bus.run(millis(900));
    let asked: Vec<_> = bus.asked_of(1).iter().map(|(_, r)| (r.address(), r.count())).collect();
    assert_eq!(asked, [(0, 4)]);
}

#[test]
fn a_register_that_does_not_exist_is_asked_for_less_and_less() {
    let habit = Habit::Refuses(Exception::ILLEGAL_DATA_ADDRESS);
    let mut bus = Bus::new(LINE, vec![(unit(1, registers(SECOND, [9])), habit)]);
    bus.run(Duration::from_secs(300));
    let asked = bus.asked_of(1).len();
    assert!((8..16).contains(&asked), "{asked}");
}

/// AP §7: code 11 comes from a gateway and stands for a unit that says nothing.
#[test]
fn a_unit_that_a_gateway_does_not_reach_rests_like_a_silent_one() {
    let gone = Habit::Refuses(Exception::GATEWAY_TARGET_FAILED);
    let mut bus =
        Bus::new(Transport::Tcp, vec![(unit(1, registers(millis(100), [0, 10, 20])), gone)]);
    bus.run(Duration::from_secs(120));
    let asked = bus.asked_of(1).len();
    assert!((7..12).contains(&asked), "{asked}");
    assert_eq!(bus.disconnects, 0, "the connection is fine");
}

#[test]
fn wrong_answers_on_a_line_are_told_apart() {
    let mut broken = answer(1, 0);
    broken[3] ^= 1;
    let cases = [
        (broken, Failure::Checksum),
        (answer(1, 0)[..5].to_vec(), Failure::Truncated),
        (vec![1, 0x2b, 3, 4, 5], Failure::Checksum),
        (rtu::encode(1, &[3, 4, 0, 1, 0, 2]), Fault::Length { found: 6, expected: 4 }.into()),
        (rtu::encode(1, &[4, 2, 0, 1]), Fault::Function { found: 4, expected: 3 }.into()),
    ];
    for (frame, why) in cases {
        let habit = Habit::Sends(vec![(millis(10), frame)]);
        let mut bus = Bus::new(LINE, vec![(unit(1, registers(SECOND, [0])), habit)]);
        bus.run(millis(550));
        assert_eq!(bus.failures(), [why]);
        assert!(bus.answers(0).is_empty());
        // The next one is taken.
        bus.units.insert(1, PROMPT);
        bus.run(SECOND * 2);
        assert!(!bus.answers(0).is_empty(), "after {why:?}");
    }
}

#[test]
fn an_answer_of_another_unit_is_discarded_and_the_right_one_is_taken() {
    let frames = vec![(millis(10), answer(9, 1)), (millis(30), answer(1, 7))];
    let units = vec![(unit(1, registers(SECOND, [0])), Habit::Sends(frames))];
    let mut bus = Bus::new(LINE, units);
    bus.run(millis(500));
    assert_eq!(bus.discarded(), [Failure::Unit(9)]);
    assert_eq!(bus.answers(0).len(), 1);
    assert!(bus.failures().is_empty());
}

#[test]
fn an_answer_after_noise_is_found() {
    // The last one is the request: an adapter that echoes.
    let echo = rtu::encode(1, &[3, 0, 0, 0, 1]);
    for noise in [&[0][..], &[1, 3], &[1, 3, 2, 0, 0, 0, 0], &[0xff; 100], &echo] {
        let bytes = [noise, &answer(1, 7)].concat();
        let (first, second) = bytes.split_at(bytes.len() - 3);
        let frames = vec![(millis(10), first.to_vec()), (millis(20), second.to_vec())];
        let units = vec![(unit(1, registers(SECOND, [0])), Habit::Sends(frames))];
        let mut bus = Bus::new(LINE, units);
        bus.run(millis(500));
        assert_eq!(bus.answers(0).len(), 1, "after {noise:02x?}");
    }
}

#[test]
fn a_late_answer_is_never_taken_for_that_of_the_next_request() {
    // On a line it comes while the unit rests; its value would be 66.
    let frames = vec![(TIMEOUT + millis(100), answer(1, 66))];
    let units = vec![(unit(1, registers(SECOND, [0])), Habit::Sends(frames))];
    let mut bus = Bus::new(LINE, units);
    bus.run(SECOND * 3);
    assert!(bus.answers(0).is_empty());
    assert!(bus.discarded().contains(&Failure::Late));

    // On TCP its transaction says so: the first comes when the second is under way.
    let late = tcp::encode(1, 1, &[3, 2, 0, 66]);
    let frames = vec![(TIMEOUT * 2 + millis(100), late)];
    let units = vec![(unit(1, registers(SECOND, [0])), Habit::Sends(frames))];
    let mut bus = Bus::new(Transport::Tcp, units);
    bus.run(TIMEOUT * 2 + millis(50));
    assert_eq!(bus.asked.len(), 2);
    bus.run(millis(100));
    assert_eq!(bus.discarded(), [Failure::Late]);
    assert!(bus.answers(0).is_empty());
}

#[test]
fn frames_on_a_line_have_their_silence_between_them() {
    let mut bus = Bus::new(LINE, vec![(unit(1, registers(millis(1), [0, 10])), PROMPT)]);
    bus.run(SECOND);
    let Transport::Line { silence, .. } = LINE else { unreachable!() };
    for (at, _) in bus.asked_of(1).iter().skip(1) {
        let answered = bus.answers(0).into_iter().rfind(|answer| answer <= at).unwrap();
        assert!(*at - answered >= silence, "{:?}", *at - answered);
    }
    assert!(bus.answers(0).len() > 90);
}

#[test]
fn a_connection_that_says_nothing_or_nonsense_is_made_anew() {
    let silent = || vec![(unit(1, registers(millis(100), [0])), Habit::Silent)];
    let mut bus = Bus::new(Transport::Tcp, silent());
    bus.run(Duration::from_secs(5));
    assert_eq!(bus.disconnects, 1, "after three requests");
    let mut bus = Bus::new(LINE, silent());
    bus.run(Duration::from_secs(60));
    assert_eq!(bus.disconnects, 0, "a port is no connection");

    let nonsense = Habit::Sends(vec![(millis(10), b"HTTP/1.1 400 Bad Request".to_vec())]);
    let units = vec![(unit(1, registers(SECOND, [0])), nonsense)];
    let mut bus = Bus::new(Transport::Tcp, units);
    bus.run(millis(300));
    assert_eq!((bus.failures(), bus.disconnects), (vec![Failure::NotModbus], 1));
}

#[test]
fn an_answer_of_the_wrong_unit_on_tcp_is_a_failure() {
    let other = tcp::encode(1, 9, &[3, 2, 0, 1]);
    let habit = Habit::Sends(vec![(millis(10), other)]);
    let mut bus = Bus::new(Transport::Tcp, vec![(unit(1, registers(SECOND, [0])), habit)]);
    bus.run(millis(300));
    assert_eq!(bus.failures(), [Failure::Unit(9)]);
}

#[test]
fn a_pause_holds_every_request_back() {
    let mut bus = Bus::new(LINE, vec![(unit(1, registers(millis(100), [0])), PROMPT)]);
    bus.run(SECOND);
    let before = bus.asked.len();
    bus.master.handle_pause(bus.now + SECOND * 5);
    bus.run(SECOND * 5 - millis(1));
    assert!(bus.asked.len() <= before + 1);
    bus.run(SECOND);
    assert!(bus.asked.len() > before + 8);
}

#[test]
fn a_link_that_is_lost_is_no_fault_of_the_unit() {
    let mut bus = Bus::new(Transport::Tcp, vec![(unit(1, registers(SECOND, [0])), Habit::Silent)]);
    bus.run(millis(100));
    bus.master.handle_disconnected(bus.now);
    bus.run(millis(100));
    assert_eq!(bus.failures(), [Failure::Disconnected]);
    bus.units.insert(1, PROMPT);
    bus.master.handle_connected(bus.now);
    bus.run(millis(50));
    assert_eq!(bus.answers(0).len(), 1, "it is asked again at once");
}

#[test]
fn a_line_that_never_falls_silent_is_polled_all_the_same_and_fills_no_memory() {
    let mut bus = Bus::new(LINE, vec![(unit(1, registers(SECOND, [0])), Habit::Silent)]);
    for _ in 0..20_000 {
        bus.master.handle_bytes(bus.now, &[0xa5; 50]);
        assert!(bus.master.events.len() < 4 && bus.master.receiver.len() <= 2 * MAX_ADU);
        bus.run(millis(5));
    }
    assert!(bus.asked.len() > 5);
}

proptest! {
    /// Whatever comes, the master goes on asking.
    #[test]
    fn nothing_that_comes_stops_a_master(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..40),
        transport in prop_oneof![Just(LINE), Just(Transport::Tunnel), Just(Transport::Tcp)],
    ) {
        let mut bus = Bus::new(transport, vec![(unit(1, registers(SECOND, 0..4)), Habit::Silent)]);
        for part in parts {
            bus.run(millis(90));
            bus.master.handle_bytes(bus.now, &part);
        }
        bus.units.insert(1, PROMPT);
        let before = bus.answers(0).len();
        bus.run(Duration::from_secs(130));
        prop_assert!(bus.answers(0).len() > before + 10);
    }
}
