//! Requests that are handed in, beside those that are due.

use super::*;

const WRITE: Request = Request::WriteRegister { address: 7, value: 215 };

impl Bus {
    fn served(&self) -> Vec<(u64, Result<Vec<u8>, Failure>)> {
        let served = |(_, event): &(Instant, Event)| {
            let Event::Served { ticket, outcome } = event else { return None };
            Some((*ticket, outcome.clone()))
        };
        self.events.iter().filter_map(served).collect()
    }
}

#[test]
fn a_write_goes_before_what_is_due_and_only_when_the_line_is_free() {
    let polled = registers(millis(50), [0]);
    let mut bus =
        Bus::new(LINE, vec![(unit(1, polled.clone()), PROMPT), (unit(2, polled), PROMPT)]);
    bus.run(SECOND);
    let before = bus.asked.len();
    // Both units are due, one of them is waited for.
    bus.run(millis(50));
    assert!(bus.master.handle_request(5, 1, WRITE));
    bus.run(SECOND);
    assert_eq!(bus.served(), [(5, Ok(vec![]))]);
    let (at, address, request) = bus.written.first().cloned().unwrap();
    assert_eq!((address, request), (2, WRITE));
    let between = bus.asked.iter().skip(before).filter(|(asked, ..)| *asked < at).count();
    assert!(between <= 3, "{between} polls went before it");
    assert!(bus.failures().is_empty() && bus.discarded().is_empty());
    assert!(bus.answers(0).len() > 20 && bus.answers(1).len() > 20, "polls go on");
}

#[test]
fn what_was_written_can_be_read_at_once() {
    let mut bus = Bus::new(Transport::Tcp, vec![(unit(1, registers(SECOND, [0])), PROMPT)]);
    bus.run(millis(100));
    let read = Read::new(Table::HoldingRegisters, 0x102, 2).unwrap();
    assert!(bus.master.handle_request(1, 0, Request::Read(read)));
    bus.run(millis(100));
    assert_eq!(bus.served(), [(1, Ok(vec![1, 2, 1, 3]))]);
}

#[test]
fn a_refusal_and_silence_are_told_and_only_silence_makes_a_unit_rest() {
    let refusing = Habit::Refuses(Exception::ILLEGAL_DATA_ADDRESS);
    let units = vec![(unit(1, vec![]), refusing), (unit(2, vec![]), Habit::Silent)];
    let mut bus = Bus::new(Transport::Tcp, units);
    assert!(bus.master.handle_request(1, 0, WRITE));
    assert!(bus.master.handle_request(2, 1, WRITE));
    bus.run(SECOND);
    let refused = Failure::Answer(Fault::Exception(Exception::ILLEGAL_DATA_ADDRESS));
    assert_eq!(bus.served(), [(1, Err(refused)), (2, Err(Failure::Timeout))]);
    assert_eq!((bus.master.is_silent(0), bus.master.is_silent(1)), (false, true));
    bus.units.insert(2, PROMPT);
    assert!(bus.master.handle_request(3, 1, WRITE));
    bus.run(SECOND);
    assert_eq!(bus.served().last(), Some(&(3, Ok(vec![]))), "it is asked although it rests");
    assert!(!bus.master.is_silent(1));
}

#[test]
fn what_waits_when_the_link_is_lost_fails_and_is_not_sent_later() {
    let mut bus = Bus::new(Transport::Tcp, vec![(unit(1, vec![]), Habit::Silent)]);
    assert!(bus.master.handle_request(1, 0, WRITE));
    assert!(bus.master.handle_request(2, 0, WRITE));
    bus.run(millis(100));
    bus.master.handle_disconnected(bus.now);
    assert!(!bus.master.handle_request(3, 0, WRITE), "there is no link");
    bus.run(millis(100));
    let lost = Err(Failure::Disconnected);
    assert_eq!(bus.served(), [(1, lost.clone()), (2, lost)]);
    bus.master.handle_connected(bus.now);
    bus.run(SECOND);
    assert_eq!(bus.written.len(), 1);
}

#[test]
fn a_full_store_holds_up_polls_and_no_writes() {
    let mut bus = Bus::new(Transport::Tcp, vec![(unit(1, registers(SECOND, [0])), PROMPT)]);
    bus.master.handle_pause(bus.now + SECOND * 10);
    assert!(bus.master.handle_request(1, 0, WRITE));
    bus.run(SECOND * 5);
    assert_eq!((bus.served().len(), bus.asked.len()), (1, 0));
}

#[test]
fn requests_beyond_the_limit_and_to_no_unit_are_not_taken() {
    let mut bus = Bus::new(Transport::Tcp, vec![(unit(1, vec![]), PROMPT)]);
    let taken = (0..200).filter(|ticket| bus.master.handle_request(*ticket, 0, WRITE)).count();
    assert_eq!(taken, MAX_REQUESTS);
    assert!(!bus.master.handle_request(1, 1, WRITE));
    let empty = Request::WriteRegisters { address: 0, values: vec![] };
    assert!(!bus.master.handle_request(1, 0, empty));
    bus.run(SECOND * 10);
    assert_eq!(bus.served().len(), MAX_REQUESTS);
    assert!(bus.master.handle_request(1, 0, WRITE));
}
