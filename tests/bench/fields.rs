//! What it costs to read the fields of a frame by their places.

use std::time::Duration;

use proto::Number;
use proto::binary::{Bits, Field, Kind};
use proto::frame::Endian;

use super::Outcome;
use super::clock::now;
use super::figure::Run;
use super::process::own_thread_cpu;

/// A test vector of Ruuvi's data format 5.
const FRAME: [u8; 24] = [
    0x05, 0x12, 0xfc, 0x53, 0x94, 0xc3, 0x7c, 0x00, 0x04, 0xff, 0xfc, 0x04, 0x0c, 0xac, 0x36, 0x42,
    0x00, 0xcd, 0xcb, 0xb8, 0x33, 0x4c, 0x88, 0x4f,
];
/// Frames between two looks at the clock.
const FRAMES: u64 = 1000;

/// The ten numbers and the address in it, as `configs/ruuvi.toml` describes them.
fn layout() -> Vec<Field> {
    let field = |at, kind| Field::new(at, kind, Endian::Big);
    let scaled =
        |at, kind, places| Field { scale: Number::from_decimal(5, places), ..field(at, kind) };
    let power = |first, count| Field {
        bits: Some(Bits { first, count }),
        offset: Number::from_decimal(16, -1),
        ..scaled(13, Kind::Unsigned(2), -3)
    };
    let mut fields = vec![
        scaled(1, Kind::Signed(2), -3),
        scaled(3, Kind::Unsigned(2), -4),
        Field { offset: Number::from_decimal(50_000, 0), ..field(5, Kind::Unsigned(2)) },
        scaled(7, Kind::Signed(2), -3),
        scaled(9, Kind::Signed(2), -3),
        scaled(11, Kind::Signed(2), -3),
        power(5, 11),
        power(0, 5),
        field(15, Kind::Unsigned(1)),
        field(16, Kind::Unsigned(2)),
        field(18, Kind::Hex(Some(6))),
    ];
    fields.iter_mut().for_each(|field| field.absent = vec![-1]);
    fields
}

/// Reads frames for a while.
pub(crate) fn read(duration: Duration) -> Outcome<Run> {
    let layout = layout();
    let (start, cpu) = (now(), own_thread_cpu()?);
    let mut frames = 0;
    while now() - start < duration {
        for _ in 0..FRAMES {
            for field in &layout {
                let value = field.read(std::hint::black_box(&FRAME))?;
                if std::hint::black_box(value).is_none() {
                    return Err("a field of the test vector is not there".into());
                }
            }
        }
        frames += FRAMES;
    }
    let elapsed = now() - start;
    Ok(Run::default().with_rate(frames, elapsed).with_cpu(frames, own_thread_cpu()? - cpu))
}
