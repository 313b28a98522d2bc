//! What frames of nodes say, also those that came over no port.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use proto::frame::{FrameError, Pause};
use proto::link::{Gateway, GatewayConfig, GatewayEvent, GatewayOutput, Report};
use proto::{Instant, Reading, TimeQuality, Timestamp, Value};

use super::ports::framer;
use crate::config::LinkDecode;
use crate::decode::Reader;
use crate::frame::Unframed;
use crate::source::link_keys::{KeysError, LinkKeys, read};

/// Times have milliseconds.
const MILLI: i64 = 1_000_000;

/// What some bytes are.
pub(crate) struct LinkPiece {
    /// Which of them.
    pub(crate) span: Range<u64>,
    /// The frame in them.
    pub(crate) frame: Option<Vec<u8>>,
    /// The readings in it; else the name by which that is counted, and why there are none.
    pub(crate) outcome: Result<Vec<Reading>, (&'static str, String)>,
}

/// The keys and names of the nodes of a link; none where it takes every device.
pub(super) fn keys(decode: &LinkDecode) -> Result<Option<LinkKeys>, KeysError> {
    decode.keys_file.as_ref().map(|file| read(file.path())).transpose()
}

/// The gateway's end, and the names of its nodes.
pub(super) fn gateway<P: Clone>(keys: Option<LinkKeys>) -> (Gateway<P>, BTreeMap<u32, String>) {
    let config = GatewayConfig::default();
    match keys {
        Some(LinkKeys { keys, names }) => (Gateway::with_keys(config, keys), names),
        None => (Gateway::new(config), BTreeMap::new()),
    }
}

/// The name of a device: by the key file, else by the source, else by its number.
pub(super) fn name(device: u32, names: &BTreeMap<u32, String>, reader: &Reader) -> String {
    let named = names.get(&device).map(String::as_str).or(reader.device());
    named.map_or_else(|| format!("{device}"), str::to_owned)
}

/// The readings of a report of `device` that arrived `now`.
pub(super) fn readings<P>(report: Report<P>, device: &str, now: Timestamp) -> Vec<Reading> {
    let Report { ticket, age, values, .. } = report;
    let time = measured_at(now, age);
    let reading = |measured: proto::link::Measured| Reading {
        device: device.to_owned(),
        name: measured.name,
        unit: measured.unit,
        value: Value::Number(measured.value),
        time,
        time_quality: TimeQuality::Estimated,
        epoch: Some(ticket.epoch),
        sequence: Some(ticket.sequence.into()),
    };
    values.into_iter().map(reading).collect()
}

/// What nodes say in a stream, or in a datagram, that a gateway hears first of them.
pub(crate) fn link_pieces(
    reader: &Reader,
    decode: &LinkDecode,
    (bytes, is_datagram): (&[u8], bool),
    now: Timestamp,
) -> Result<Vec<LinkPiece>, KeysError> {
    let (mut gateway, names) = gateway(keys(decode)?);
    let mut hear = |span, frame: Result<&[u8], FrameError>| match frame {
        Ok(frame) => {
            let outcome = hear(&mut gateway, &names, reader, frame, now);
            LinkPiece { span, frame: Some(frame.to_vec()), outcome }
        }
        Err(error) => {
            let outcome = Err((error.reason(), Unframed(error).to_string()));
            LinkPiece { span, frame: None, outcome }
        }
    };
    if is_datagram {
        return Ok(vec![hear(0..bytes.len() as u64, Ok(bytes))]);
    }
    let mut framer = framer();
    framer.handle_bytes(bytes);
    framer.handle_pause(Pause::Silence);
    let mut pieces = Vec::new();
    while let Some(frame) = framer.poll_frame().map(|frame| frame.map(<[u8]>::to_vec)) {
        let frame = frame.as_deref().map_err(|error| *error);
        pieces.push(hear(framer.span(), frame));
    }
    Ok(pieces)
}

/// The readings of a frame, which are durable at once.
fn hear(
    gateway: &mut Gateway<()>,
    names: &BTreeMap<u32, String>,
    reader: &Reader,
    frame: &[u8],
    now: Timestamp,
) -> Result<Vec<Reading>, (&'static str, String)> {
    gateway.handle_frame(Instant::ZERO, now, (), frame);
    let nothing = "no new reading: values need a HELLO before them, which says what they are";
    let mut outcome = Err(("routine", nothing.to_owned()));
    loop {
        match gateway.poll_output() {
            GatewayOutput::Event(GatewayEvent::Report(report)) => {
                let (ticket, device) = (report.ticket, name(report.ticket.device, names, reader));
                outcome = Ok(readings(report, &device, now));
                gateway.handle_durable(ticket);
            }
            GatewayOutput::Event(GatewayEvent::Refused { fault, .. }) => {
                outcome = Err((fault.name(), fault.to_string()));
            }
            GatewayOutput::Event(GatewayEvent::Opened { device, epoch, .. }) => {
                let name = name(device, names, reader);
                outcome = Err((
                    "routine",
                    format!("{name} says hello, and what it measures, in epoch {epoch}"),
                ));
            }
            GatewayOutput::Event(
                GatewayEvent::Reached { .. }
                | GatewayEvent::Lost { .. }
                | GatewayEvent::Command { .. },
            )
            | GatewayOutput::Transmit { .. } => {}
            GatewayOutput::Wait(_) => return outcome,
        }
    }
}

/// In whole milliseconds.
fn measured_at(now: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    let nanos = now.as_nanos().saturating_sub(age);
    Timestamp::from_nanos(nanos - nanos.rem_euclid(MILLI))
}
