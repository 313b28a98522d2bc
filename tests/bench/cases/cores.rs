//! What takes messages apart, without a link.

use proto::modbus::{Transport, rtu};

use super::{Case, case};
use crate::{decoders, fields, frames, modbus};

/// Frames in a stream, and the fields of one.
pub(super) fn framings() -> Vec<Case> {
    let case = |kind: frames::Kind| {
        case(kind.0, "frames of 64 bytes of content, in reads of 4 KiB", move |plan| {
            frames::cut(kind, plan.duration())
        })
    };
    let fields = super::case("fields", "frames of 24 bytes with eleven fields by place", |plan| {
        fields::read(plan.duration())
    });
    frames::KINDS.into_iter().map(case).chain([fields]).collect()
}

/// Messages of devices.
pub(super) fn formats() -> Vec<Case> {
    let case = |kind: decoders::Kind| {
        case(kind.0, "messages of a device, one after the other", move |plan| {
            decoders::decode(kind, plan.duration())
        })
    };
    decoders::KINDS.into_iter().map(case).collect()
}

/// Polls of a bus.
pub(super) fn buses() -> Vec<Case> {
    let line = Transport::Line {
        character: rtu::character(115_200, 10),
        silence: rtu::silence(115_200, 10),
    };
    let case = |(name, transport)| {
        case(
            name,
            "a poll of 40 values, its answer included, of a master without a link",
            move |plan| modbus::poll(transport, plan.duration()),
        )
    };
    [("modbus-tcp", Transport::Tcp), ("modbus-rtu", line)].into_iter().map(case).collect()
}
