//! What goes over the wire, packet by packet, for whoever wants to look.
//!
//! It costs nothing while it is off. The queue is bounded: entries that find no room are counted,
//! and the next one that does says how many are missing before it.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use proto::Instant;
use serde::Serialize;

use super::wire::{Kind, Properties, PropertyValue, Reader, Reason, property_name};
use crate::config::Protocol;

/// The most entries that wait to be taken.
const MAX_ENTRIES: usize = 1024;
/// The most bytes of a packet that are shown.
const MAX_HEX: usize = 48;
/// The most characters of a text that are shown.
const MAX_TEXT: usize = 256;
/// The most properties of a packet that are shown.
const MAX_PROPERTIES: usize = 32;

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    ToBroker,
    FromBroker,
}

/// One packet. What it does not have, or what cannot be read of it, is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct WireEntry {
    #[serde(skip)]
    pub(crate) at: Instant,
    pub(crate) direction: Direction,
    /// The packet type's name.
    pub(crate) kind: &'static str,
    /// The four flag bits of the first byte; of a PUBLISH: DUP, quality of service, RETAIN.
    pub(crate) flags: u8,
    /// Bytes of the whole packet.
    pub(crate) size: usize,
    /// Packet identifier.
    pub(crate) id: Option<u16>,
    pub(crate) topic: Option<String>,
    /// Bytes of a PUBLISH's payload.
    pub(crate) payload: Option<usize>,
    /// Reason code, or return code of MQTT 3.1.1.
    pub(crate) reason: Option<u8>,
    pub(crate) properties: Vec<(&'static str, String)>,
    /// The first bytes in hexadecimal, without a password.
    pub(crate) hex: String,
    /// Entries before this one for which there was no room.
    pub(crate) dropped: u64,
}

/// The queue of entries.
#[derive(Debug, Default)]
pub(super) struct WireLog {
    on: bool,
    entries: VecDeque<WireEntry>,
    dropped: u64,
}

impl WireLog {
    /// Switches it; what is switched off forgets its entries.
    pub(super) fn set(&mut self, on: bool) {
        if self.on != on {
            *self = Self { on, ..Self::default() };
        }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    /// Takes down a packet, of which the last `secret` bytes are not to be shown.
    pub(super) fn record(
        &mut self,
        at: Instant,
        direction: Direction,
        protocol: Protocol,
        frame: &[u8],
        secret: usize,
    ) {
        if !self.on {
            return;
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.dropped += 1;
            return;
        }
        let first = frame.first().copied().unwrap_or(0);
        let shown = frame.len().saturating_sub(secret).min(MAX_HEX);
        let mut hex = String::with_capacity(2 * shown);
        for byte in frame.iter().take(shown) {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        let mut entry = WireEntry {
            at,
            direction,
            kind: Kind::of(first).name(),
            flags: first & 0x0f,
            size: frame.len(),
            id: None,
            topic: None,
            payload: None,
            reason: None,
            properties: Vec::new(),
            hex,
            dropped: std::mem::take(&mut self.dropped),
        };
        // What cannot be read is not there; whether that is a fault, others decide.
        let _ = entry.read(protocol, frame);
        self.entries.push_back(entry);
    }

    /// The oldest entry.
    pub(super) fn poll(&mut self) -> Option<WireEntry> {
        self.entries.pop_front()
    }
}

impl WireEntry {
    fn read(&mut self, protocol: Protocol, frame: &[u8]) -> Option<()> {
        let mut body = Reader::new(frame);
        let kind = Kind::of(body.u8()?);
        body.try_variable().ok()??;
        match kind {
            Kind::CONNECT => {
                // Name, level and flags, keep-alive (§3.1.2).
                body.binary()?;
                body.take(4)?;
            }
            Kind::CONNACK => {
                body.u8()?;
                self.reason = Some(body.u8()?);
            }
            Kind::PUBLISH => {
                self.topic = Some(shorten(body.try_text().ok()??));
                if self.flags & 0x06 != 0 {
                    self.id = Some(body.u16()?);
                }
            }
            Kind::PUBACK | Kind::PUBREC | Kind::PUBREL | Kind::PUBCOMP => {
                self.id = Some(body.u16()?);
                self.reason = body.u8();
            }
            Kind::DISCONNECT => self.reason = body.u8(),
            _ => return None,
        }
        if protocol == Protocol::V5 {
            self.properties = read_properties(&mut body)?;
        }
        if kind == Kind::PUBLISH {
            self.payload = Some(body.len());
        }
        Some(())
    }
}

fn read_properties(body: &mut Reader<'_>) -> Option<Vec<(&'static str, String)>> {
    let mut properties = Properties::take(body).ok()?;
    let mut shown = Vec::new();
    while let Some((id, value)) = properties.next().ok()? {
        let text = match value {
            PropertyValue::Integer(number) => number.to_string(),
            PropertyValue::Text(text) => shorten(text),
            PropertyValue::Binary(bytes) => format!("{} bytes", bytes.len()),
            PropertyValue::Pair(name, value) => format!("{}={}", shorten(name), shorten(value)),
        };
        if shown.len() < MAX_PROPERTIES {
            shown.push((property_name(id), text));
        }
    }
    Some(shown)
}

fn shorten(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

impl fmt::Display for WireEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.direction {
            Direction::ToBroker => "->",
            Direction::FromBroker => "<-",
        };
        write!(f, "{arrow} {} of {} bytes", self.kind, self.size)?;
        if let Some(topic) = &self.topic {
            write!(f, ", topic {topic:?}, qos {}", self.flags >> 1 & 0x03)?;
            for (bit, name) in [(0x08, "dup"), (0x01, "retain")] {
                if self.flags & bit != 0 {
                    write!(f, ", {name}")?;
                }
            }
        }
        if let Some(id) = self.id {
            write!(f, ", id {id}")?;
        }
        if let Some(reason) = self.reason {
            write!(f, ", {}", Reason::of(reason))?;
        }
        for (name, value) in &self.properties {
            write!(f, ", {name} {value:?}")?;
        }
        write!(f, ": {}", self.hex)?;
        if self.dropped > 0 {
            write!(f, " ({} not shown before)", self.dropped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(protocol: Protocol, frame: &[u8]) -> WireEntry {
        let mut log = WireLog::default();
        log.set(true);
        log.record(Instant::ZERO, Direction::ToBroker, protocol, frame, 0);
        log.poll().unwrap()
    }

    #[test]
    fn an_entry_shows_the_fields_of_its_packet() {
        let publish = b"\x3d\x14\x00\x03a/b\x00\x07\x08\x01\x01\x23\x00\x02\x02\x00\x00pay";
        // The properties end too early: what comes before them is shown.
        let broken = entry(Protocol::V5, publish);
        assert_eq!(
            (broken.topic.as_deref(), broken.id, broken.payload),
            (Some("a/b"), Some(7), None)
        );
        let publish = b"\x3d\x10\x00\x03a/b\x00\x07\x05\x01\x01\x23\x00\x02pay";
        let entry = entry(Protocol::V5, publish);
        assert_eq!((entry.kind, entry.flags, entry.size), ("PUBLISH", 0x0d, 18));
        assert_eq!(
            (entry.topic.as_deref(), entry.id, entry.payload),
            (Some("a/b"), Some(7), Some(3))
        );
        let properties = [("payload_format_indicator", "1"), ("topic_alias", "2")];
        assert_eq!(entry.properties, properties.map(|(name, value)| (name, value.to_owned())));
        assert!(entry.hex.starts_with("3d100003612f62"), "{}", entry.hex);
        let text = entry.to_string();
        assert!(
            text.starts_with("-> PUBLISH of 18 bytes, topic \"a/b\", qos 2, dup, retain, id 7"),
            "{text}"
        );
    }

    #[test]
    fn a_reason_code_is_shown_by_its_name() {
        let entry = entry(Protocol::V5, b"\x40\x03\x00\x07\x97");
        assert_eq!((entry.id, entry.reason), (Some(7), Some(0x97)));
        assert!(entry.to_string().contains("quota exceeded (0x97)"), "{entry}");
    }

    #[test]
    fn what_is_shown_of_a_packet_is_bounded() {
        let topic = "x".repeat(1000);
        let frame = [&b"\x30\xea\x07\x03\xe8"[..], topic.as_bytes()].concat();
        let entry = entry(Protocol::V4, &frame);
        assert_eq!(entry.topic.unwrap().len(), MAX_TEXT);
        assert_eq!(entry.hex.len(), 2 * MAX_HEX);
    }
}
