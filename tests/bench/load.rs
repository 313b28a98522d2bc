//! Load generators: each sends every reading of a ledger and enters what it sees.

mod coap;
mod tcp;
mod udp;

pub(crate) use coap::{CoapLoad, reading_index};
pub(crate) use tcp::send_lines;
pub(crate) use udp::send_datagrams;

/// Devices that the readings come from.
const DEVICES: u32 = 64;

/// A reading as JSON; its value is its index, by which the broker's record tells it.
fn json(index: u32) -> String {
    let device = index % DEVICES;
    format!(r#"{{"device":"th-{device:04}","value":{index},"seq":{index}}}"#)
}
