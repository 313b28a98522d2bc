//! Both roles together, what attackers and noise do to frames, and the vectors of the standard.

#![allow(
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "numbers of the tests are small, and what they do not name is of no interest"
)]

mod mutations;
mod pairs;
mod roles;
mod vectors;

use alloc::collections::BTreeMap;
use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::{Instant, Timestamp};

const WALL: Timestamp = Timestamp::from_nanos(1_795_214_340_123_000_000);

fn channels() -> Vec<Channel> {
    let channel = |name: &str, unit: &str, exponent| Channel {
        name: name.to_string(),
        unit: Some(unit.to_string()).filter(|unit| !unit.is_empty()),
        exponent,
    };
    vec![channel("temp", "Cel", -2), channel("hum", "%RH", -1), channel("count", "", 0)]
}

fn key(device: u32) -> Key {
    let mut bytes = [0; KEY_BYTES];
    bytes[..4].copy_from_slice(&device.to_le_bytes());
    Key::new(&bytes)
}

fn keys(devices: impl IntoIterator<Item = u32>) -> BTreeMap<u32, Key> {
    devices.into_iter().map(|device| (device, key(device))).collect()
}

fn node(device: u32, epoch: u32) -> Node {
    Node::new(NodeConfig::new(device, epoch, channels()), u64::from(device))
}

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

/// What a node gives out until it waits: its frames and its events.
fn drain_node(node: &mut Node) -> (Vec<Vec<u8>>, Vec<NodeEvent>) {
    let (mut frames, mut events) = (Vec::new(), Vec::new());
    loop {
        match node.poll_output() {
            NodeOutput::Transmit(frame) => frames.push(frame),
            NodeOutput::Event(event) => events.push(event),
            NodeOutput::Wait(_) => return (frames, events),
        }
    }
}

/// The same of a gateway with one peer.
fn drain_gateway(gateway: &mut Gateway<()>) -> (Vec<Vec<u8>>, Vec<GatewayEvent<()>>) {
    let (mut frames, mut events) = (Vec::new(), Vec::new());
    loop {
        match gateway.poll_output() {
            GatewayOutput::Transmit { frame, .. } => frames.push(frame),
            GatewayOutput::Event(event) => events.push(event),
            GatewayOutput::Wait(_) => return (frames, events),
        }
    }
}

/// Carries frames to and fro until both wait; reports are durable at once if `store` says so.
fn settle(
    now: Instant,
    node: &mut Node,
    gateway: &mut Gateway<()>,
    store: bool,
) -> (Vec<NodeEvent>, Vec<GatewayEvent<()>>) {
    let (mut heard, mut seen) = (Vec::new(), Vec::new());
    loop {
        let (up, events) = drain_node(node);
        heard.extend(events);
        for frame in &up {
            gateway.handle_frame(now, WALL, (), frame);
        }
        let (mut down, events) = drain_gateway(gateway);
        for event in &events {
            if let GatewayEvent::Report(report) = event
                && store
            {
                gateway.handle_durable(report.ticket);
            }
        }
        seen.extend(events);
        down.extend(drain_gateway(gateway).0);
        if up.is_empty() && down.is_empty() {
            return (heard, seen);
        }
        for frame in &down {
            node.handle_frame(now, frame);
        }
    }
}

fn tickets(events: &[GatewayEvent<()>]) -> Vec<Ticket> {
    let reports = events.iter().filter_map(|event| match event {
        GatewayEvent::Report(report) => Some(report.ticket),
        _ => None,
    });
    reports.collect()
}

fn faults(events: &[GatewayEvent<()>]) -> Vec<Fault> {
    let faults = events.iter().filter_map(|event| match event {
        GatewayEvent::Refused { fault, .. } => Some(*fault),
        _ => None,
    });
    faults.collect()
}

fn acknowledged(events: &[NodeEvent]) -> usize {
    events.iter().filter(|event| matches!(event, NodeEvent::Acknowledged(_))).count()
}

const SECOND: Duration = Duration::from_secs(1);
