//! The vectors of `docs/link-protocol.md`, byte for byte; the firmware is held to the same.

use alloc::format;
use alloc::string::String;

use super::*;
use crate::frame::{Framer, Framing, cobs};

const STANDARD: &str = include_str!("../../../../docs/link-protocol.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// Name and bytes of each vector in the document.
fn documented() -> Vec<(&'static str, Vec<u8>)> {
    let (_, block) = STANDARD.split_once("```vectors\n").expect("a block of vectors");
    let (block, _) = block.split_once("```").expect("its end");
    let line = |line: &'static str| line.split_once(' ').expect("a name and bytes");
    block.lines().map(line).map(|(name, hex)| (name, bytes(hex.trim()))).collect()
}

fn secret() -> Key {
    Key::new(&core::array::from_fn(|at| u8::try_from(at).unwrap()))
}

/// What the document says is in them.
fn described() -> Vec<(&'static str, Header, Vec<u8>)> {
    let header = |kind, sequence, ack_requested| Header {
        kind,
        flags: Flags { ack_requested, ..Flags::default() },
        device: 42,
        epoch: 3,
        sequence,
    };
    let mut hello = header(Kind::Hello, 0, true);
    hello.flags.time_wanted = true;
    let data = header(Kind::Data, 7, true);
    let mut again = data;
    again.flags.retransmit = true;
    let ack = |sequence, bitmap, status| {
        (header(Kind::Ack, sequence, false), Ack { bitmap, status }.encode())
    };
    let second = Duration::from_millis(1000);
    let introduction = Hello { uptime: second, channels: channels(), first: 1, command: 0 };
    let values = vec![(0, 2150), (1, 553), (2, -3)];
    let report = Data { uptime: Duration::from_millis(123_456), values }.encode();
    let time = Time { unix_ms: 1_795_214_340_123, uptime: second };
    let acks = [
        ("ack", ack(5, 0b10, Status::Ok)),
        ("ack-busy", ack(6, 0, Status::Busy(Duration::from_millis(1500)))),
        ("ack-hello", ack(0, 0, Status::HelloWanted)),
        ("ack-refused", ack(6, 0, Status::Refused(7))),
    ];
    let mut all = vec![
        ("hello", hello, introduction.encode()),
        ("data", data, report.clone()),
        ("data-again", again, report),
    ];
    all.extend(acks.map(|(name, (header, payload))| (name, header, payload)));
    all.push(("command", header(Kind::Command, 1, true), vec![0xa1, 0, 1]));
    all.push(("response", header(Kind::Response, 1, false), vec![0xa1, 0, 0]));
    all.push(("time", header(Kind::Time, 0, false), time.encode()));
    all
}

fn made() -> Vec<(String, Vec<u8>)> {
    let key = secret();
    let stuffed = |frame: &[u8]| {
        let mut out = Vec::new();
        cobs::encode(frame, &mut out);
        out
    };
    let forms = |(name, header, payload): (&str, Header, Vec<u8>)| {
        let plain = header.seal(&payload, None);
        let authenticated = header.seal(&payload, Some(&key));
        [
            (format!("{name}-cobs"), stuffed(&plain)),
            (format!("{name}-key-cobs"), stuffed(&authenticated)),
            (name.to_string(), plain),
            (format!("{name}-key"), authenticated),
        ]
    };
    let mut made: Vec<_> = described().into_iter().flat_map(forms).collect();
    made.sort();
    made
}

#[test]
fn the_documents_vectors_are_what_this_end_makes() {
    let made = made();
    let lines: String =
        made.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    let documented: Vec<_> =
        documented().into_iter().map(|(name, bytes)| (name.into(), bytes)).collect();
    assert!(documented == made, "the document should have:\n{lines}");
}

#[test]
fn the_documents_vectors_read_back() {
    let key = secret();
    for (name, bytes) in documented() {
        let bytes = match name.ends_with("-cobs") {
            true => {
                let mut framer = Framer::new(Framing::Cobs, MAX_FRAME);
                framer.handle_bytes(&bytes);
                framer.poll_frame().unwrap().unwrap().to_vec()
            }
            false => bytes,
        };
        let key = name.contains("-key").then_some(&key);
        let name = name.trim_end_matches("-cobs").trim_end_matches("-key");
        let frame = Unverified::parse(&bytes).unwrap().verify(key).unwrap();
        let (_, header, payload) = described().into_iter().find(|vector| vector.0 == name).unwrap();
        assert_eq!((frame.header, frame.payload), (header, &payload[..]), "{name}");
    }
}

/// On a serial line, with the code of an authenticated node six bytes more.
#[test]
fn three_values_are_small() {
    let len = |wanted| documented().iter().find(|(name, _)| *name == wanted).unwrap().1.len();
    assert_eq!((len("data-cobs"), len("data-key-cobs")), (35, 41));
}
