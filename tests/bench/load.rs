//! Load generators: each sends every reading of a ledger and enters what it sees.

mod coap;
mod http;
mod requests;
mod serial;
mod tcp;
mod udp;

pub(crate) use coap::{CoapLoad, reading_index};
pub(crate) use http::post;
pub(crate) use requests::{Ask, Peers, wait_for_answer};
pub(crate) use serial::SerialPorts;
pub(crate) use tcp::{send_lines, stream_lines};
pub(crate) use udp::send_datagrams;

/// Devices that the readings come from.
const DEVICES: u32 = 64;

/// A reading as JSON; its value is its index, by which the broker's record tells it.
pub(crate) fn json(index: u32) -> String {
    let device = index % DEVICES;
    format!(r#"{{"device":"th-{device:04}","value":{index},"seq":{index}}}"#)
}

/// What the gateway publishes of it, about: for programs that only publish.
pub(crate) fn published(index: u32) -> String {
    let (device, n) = (index % DEVICES, index + 1);
    format!(
        r#"{{"gateway":"bench","device":"th-{device:04}","name":"value","value":{index},"time":"2026-11-20T22:39:00.123Z","n":{n},"seq":{index}}}"#
    )
}
