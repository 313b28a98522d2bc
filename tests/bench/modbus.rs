//! What a poll costs the master of a bus: the request, and its answer with forty values.

use std::time::Duration;

use proto::Instant;
use proto::modbus::{
    Event, Format, Limits, Master, MasterConfig, Order, Output, Point, Request, Response, Table,
    Transport, UnitConfig, rtu, tcp,
};

use super::Outcome;
use super::clock::now;
use super::figure::Run;
use super::process::own_thread_cpu;

/// Values of a meter, of two registers each.
const VALUES: u16 = 40;
/// Polls between two looks at the clock.
const TURN: u64 = 1000;
const INTERVAL: Duration = Duration::from_secs(1);

/// Polls a unit that answers at once, in virtual time.
pub(crate) fn poll(transport: Transport, duration: Duration) -> Outcome<Run> {
    let point = |at| Point::new(Table::InputRegisters, at * 2, Format::I32, Order::Cdab, INTERVAL);
    let unit = UnitConfig {
        address: 1,
        timeout: INTERVAL,
        points: (0..VALUES).filter_map(point).collect(),
        limits: Limits { gap: 0, registers: 125 },
    };
    let config = MasterConfig { transport, units: vec![unit], longest_rest: INTERVAL };
    let mut master = Master::new(config);
    let mut virtual_now = Instant::ZERO;
    master.handle_connected(virtual_now);
    let registers = Response::Registers(vec![7; usize::from(VALUES) * 2]);
    let (start, cpu) = (now(), own_thread_cpu()?);
    let (mut polls, mut values) = (0, 0);
    while polls % TURN != 0 || polls == 0 || now() - start < duration {
        match master.poll_output(virtual_now) {
            Output::Transmit { frame, .. } => {
                master.handle_bytes(virtual_now, &answer(&frame, transport, &registers)?);
            }
            Output::Event(Event::Answered { values: read, .. }) => {
                polls += 1;
                values += std::hint::black_box(read).len();
            }
            Output::Event(event) => return Err(format!("{event:?}").into()),
            Output::Disconnect => return Err("the master gave the connection up".into()),
            Output::Wait(until) => virtual_now = until.ok_or("nothing is due")?,
        }
    }
    let elapsed = now() - start;
    if values as u64 != polls * u64::from(VALUES) {
        return Err(format!("{values} values of {polls} polls").into());
    }
    Ok(Run::default().with_rate(polls, elapsed).with_cpu(polls, own_thread_cpu()? - cpu))
}

fn answer(frame: &[u8], transport: Transport, registers: &Response) -> Outcome<Vec<u8>> {
    if transport == Transport::Tcp {
        let (frame, _) = tcp::decode(frame)?.ok_or("a request in halves")?;
        let request = Request::decode(frame.pdu).map_err(|error| error.to_string())?;
        return Ok(tcp::encode(frame.transaction, frame.unit, &registers.encode(&request)));
    }
    let (unit, pdu) = rtu::decode(frame).ok_or("a request that is none")?;
    let request = Request::decode(pdu).map_err(|error| error.to_string())?;
    Ok(rtu::encode(unit, &registers.encode(&request)))
}
