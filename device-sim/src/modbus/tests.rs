use proto::Timestamp;

use super::*;
use crate::device::{Channel, DeviceClock, DeviceConfig, Pace, Schedule};
use crate::signal::Signal;

const NOW: Instant = Instant::from_micros(5_000_000);

fn slave() -> Slave {
    let channel = |name: &str, signal, decimals| Channel {
        name: name.to_owned(),
        unit: None,
        signal,
        decimals,
    };
    let counter = |start, step| Signal::Counter { start, step };
    let config = DeviceConfig {
        id: "meter-1".to_owned(),
        channels: vec![
            channel("energy", counter(70_000.0, 1.0), 0),
            channel("voltage", counter(230.1, 0.1), 1),
            channel("power", Signal::Constant(Value::Number("-12.5".parse().unwrap())), 2),
        ],
        schedule: Schedule {
            pace: Pace::Asked,
            ..Schedule::every(Instant::ZERO, Duration::from_secs(1))
        },
        epoch: Some(1),
        clock: DeviceClock::new(Timestamp::from_nanos(0)),
        seed: 1,
    };
    let register = |table, address, format, order, decimals| {
        Register::new(table, address, format, order, decimals).unwrap()
    };
    let registers = [
        register(Table::HoldingRegisters, 10, Format::U32, Order::Cdab, 0),
        register(Table::HoldingRegisters, 12, Format::I16, Order::Abcd, 1),
        register(Table::InputRegisters, 12, Format::F32, Order::Abcd, 2),
    ];
    Slave::new(Device::new(config), registers.into())
}

fn ask(slave: &mut Slave, table: Table, address: u16, count: u16) -> Answer {
    let read = Request::Read(Read::new(table, address, count).unwrap());
    slave.handle_request(NOW, &read.encode().unwrap())
}

fn shown(answer: &Answer) -> Vec<(String, String)> {
    let shown = |reading: &Reading| {
        let Value::Number(number) = &reading.value else { panic!("{reading:?}") };
        (reading.name.clone(), number.to_string())
    };
    answer.readings.iter().map(shown).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn each_request_measures_what_it_reads_and_nothing_else() {
    let mut slave = slave();
    assert_eq!(slave.device.poll_timeout(), Instant::FAR_FUTURE, "it sends nothing by itself");
    let both = ask(&mut slave, Table::HoldingRegisters, 10, 3);
    // 70000 is 0x1_1170, its low word first; 230.1 with one decimal is 2301.
    assert_eq!(both.pdu, [3, 6, 0x11, 0x70, 0, 1, 0x08, 0xfd]);
    assert_eq!(shown(&both), pairs(&[("energy", "70000"), ("voltage", "230.1")]));
    let one = ask(&mut slave, Table::HoldingRegisters, 12, 1);
    assert_eq!(shown(&one), pairs(&[("voltage", "230.2")]));
    let again = ask(&mut slave, Table::HoldingRegisters, 10, 2);
    assert_eq!(shown(&again), pairs(&[("energy", "70001")]));
    assert_eq!(again.readings[0].sequence, Some(3), "each answer has a number of its own");
    assert_eq!((again.readings[0].device.as_str(), slave.id()), ("meter-1", "meter-1"));
}

#[test]
fn a_value_is_what_its_registers_hold() {
    let mut slave = slave();
    let float = ask(&mut slave, Table::InputRegisters, 12, 2);
    assert_eq!(float.pdu[2..], (-12.5_f32).to_be_bytes());
    assert_eq!(shown(&float), pairs(&[("power", "-12.5")]));
    let register = |decimals| {
        Register::new(Table::InputRegisters, 0, Format::I16, Order::Abcd, decimals).unwrap()
    };
    let held =
        |decimals, value: &str| register(decimals).hold(&Value::Number(value.parse().unwrap()));
    let number = |text: &str| Value::Number(text.parse().unwrap());
    assert_eq!(held(1, "21.56"), Some((vec![0, 216], number("21.6"))));
    assert_eq!(held(2, "-400.00"), Some((vec![0x80, 0], number("-327.68"))), "cut to what fits");
    assert_eq!(register(0).hold(&Value::Boolean(true)), Some((vec![0, 1], number("1"))));
    assert_eq!(register(0).hold(&Value::Text("on".to_owned())), None);
}

#[test]
fn half_a_value_is_read_and_is_no_reading() {
    let mut slave = slave();
    let half = ask(&mut slave, Table::HoldingRegisters, 11, 2);
    assert_eq!(half.pdu[..4], [3, 4, 0, 1]);
    assert_eq!(shown(&half), pairs(&[("voltage", "230.1")]));
}

#[test]
fn what_a_unit_does_not_have_is_refused() {
    let mut slave = slave();
    let refused = |answer: Answer| (answer.readings.is_empty(), answer.pdu);
    for (table, address, count) in [
        (Table::HoldingRegisters, 9, 2),
        (Table::HoldingRegisters, 12, 2),
        (Table::HoldingRegisters, 0, 1),
        (Table::InputRegisters, 10, 1),
    ] {
        let (is_empty, pdu) = refused(ask(&mut slave, table, address, count));
        assert_eq!((is_empty, &pdu[..]), (true, &[table.read_function() | 0x80, 2][..]));
    }
    assert_eq!(refused(ask(&mut slave, Table::Coils, 0, 1)).1, [0x81, 1]);
    let write = Request::WriteRegister { address: 10, value: 1 }.encode().unwrap();
    assert_eq!(refused(slave.handle_request(NOW, &write)).1, [0x86, 1]);
    for pdu in [&[][..], &[3], &[3, 0, 0, 0, 0], &[0xff, 1, 2]] {
        let (is_empty, answer) = refused(slave.handle_request(NOW, pdu));
        assert!(is_empty && answer.len() == 2 && answer[0] & 0x80 != 0, "{pdu:?}: {answer:?}");
    }
    // What was refused was not measured.
    assert_eq!(
        shown(&ask(&mut slave, Table::HoldingRegisters, 10, 2)),
        pairs(&[("energy", "70000")])
    );
    let response = Response::Exception(Exception::ILLEGAL_FUNCTION);
    assert_eq!(response.encode(&Request::decode(&write).unwrap()), [0x86, 1]);
}

#[test]
fn registers_that_no_unit_can_have_are_not_made() {
    let new = |table, address, format| Register::new(table, address, format, Order::Abcd, 0);
    assert!(new(Table::HoldingRegisters, 65_535, Format::U32).is_none());
    assert!(new(Table::Coils, 0, Format::Bool).is_none());
    assert!(new(Table::HoldingRegisters, 0, Format::Text(2)).is_none());
    let a = new(Table::HoldingRegisters, 10, Format::U32).unwrap();
    let next = |table, address| new(table, address, Format::U16).unwrap();
    assert!(a.overlaps(&next(Table::HoldingRegisters, 11)));
    assert!(!a.overlaps(&next(Table::HoldingRegisters, 12)));
    assert!(!a.overlaps(&next(Table::InputRegisters, 11)));
}
