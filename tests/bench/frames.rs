//! What it costs to find a frame in a stream, for each kind of frame.

use std::time::Duration;

use proto::checksum::Checksum;
use proto::frame::{
    Check, Counts, Delimited, Endian, Framer, Framing, LengthField, LengthPrefixed, Pause,
    Template, TemplateLength, cobs, hdlc, slip,
};

use super::Outcome;
use super::clock::now;
use super::figure::Run;
use super::process::own_thread_cpu;

/// Bytes that a device says in a frame.
const CONTENT: [u8; 64] = [b'7'; 64];
/// Frames in a stream that is fed again and again.
const FRAMES: u64 = 1000;
/// Bytes of one read.
const READ: usize = 4096;
/// The longest frame that is taken.
const MAX: usize = 1024;

/// A kind of frame: its name, what it is, and one of it.
pub(crate) type Kind = (&'static str, fn() -> (Framing, Vec<u8>));

/// All kinds.
pub(crate) const KINDS: [Kind; 9] = [
    ("frames-lines", || (Framing::Lines, [&CONTENT[..], b"\r\n"].concat())),
    ("frames-delimited", || {
        let (start, end) = (vec![0x02], vec![0x03]);
        let framing = Framing::Delimited(Delimited { start, end, tail: 0, strip: true });
        (framing, [b"\x02", &CONTENT[..], b"\x03"].concat())
    }),
    ("frames-fixed", || (Framing::Fixed(CONTENT.len()), CONTENT.to_vec())),
    ("frames-length-prefixed", || {
        let framing = Framing::LengthPrefixed(LengthPrefixed { length: field(0), strip: true });
        (framing, [&[64], &CONTENT[..]].concat())
    }),
    ("frames-template", || {
        let framing = Framing::Template(Template {
            start: vec![0xaa, 0xc0],
            length: TemplateLength::Coded(field(2)),
            check: Some(Check {
                checksum: Checksum::Crc16Modbus,
                from: 2,
                to: -3,
                at: -3,
                endian: Endian::Little,
            }),
            end: vec![0xab],
            strip: true,
        });
        let checked = [&[67], &CONTENT[..]].concat();
        let [low, high, ..] = Checksum::Crc16Modbus.of(&checked).to_le_bytes();
        (framing, [&[0xaa, 0xc0], &checked[..], &[low, high, 0xab]].concat())
    }),
    ("frames-cobs", || (Framing::Cobs, encoded(cobs::encode))),
    ("frames-slip", || (Framing::Slip, encoded(slip::encode))),
    ("frames-hdlc", || (Framing::Hdlc, encoded(hdlc::encode))),
    ("frames-modbus-rtu", || {
        let covered = [&[1, 3, 64], &CONTENT[..]].concat();
        let [low, high, ..] = Checksum::Crc16Modbus.of(&covered).to_le_bytes();
        (Framing::ModbusRtu, [&covered[..], &[low, high]].concat())
    }),
];

const fn field(at: usize) -> LengthField {
    let (width, endian, header) = (1, Endian::Big, at + 1);
    LengthField { at, width, endian, header, counts: Counts::Rest, adjust: 0 }
}

fn encoded(encode: fn(&[u8], &mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(&CONTENT, &mut frame);
    frame
}

/// Cuts frames for a while.
pub(crate) fn cut(kind: Kind, duration: Duration) -> Outcome<Run> {
    let (framing, frame) = kind.1();
    let stream = frame.repeat(usize::try_from(FRAMES)?);
    let mut framer = Framer::new(framing, MAX);
    let (start, cpu) = (now(), own_thread_cpu()?);
    let (mut sent, mut found) = (0, 0);
    while now() - start < duration {
        for part in stream.chunks(READ) {
            framer.handle_bytes(part);
            found += drain(&mut framer, kind.0)?;
        }
        sent += FRAMES;
    }
    framer.handle_pause(Pause::Silence);
    found += drain(&mut framer, kind.0)?;
    if found != sent {
        return Err(format!("{found} of {sent} frames of {}", kind.0).into());
    }
    let elapsed = now() - start;
    Ok(Run::default().with_rate(sent, elapsed).with_cpu(sent, own_thread_cpu()? - cpu))
}

fn drain(framer: &mut Framer, name: &str) -> Outcome<u64> {
    let mut found = 0;
    while let Some(frame) = framer.poll_frame() {
        std::hint::black_box(frame.map_err(|error| format!("{name}: {error}"))?);
        found += 1;
    }
    Ok(found)
}
