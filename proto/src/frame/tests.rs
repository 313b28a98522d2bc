use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::checksum::Checksum;

type Outcome = Result<Vec<u8>, FrameError>;

fn drain(framer: &mut Framer, outcomes: &mut Vec<Outcome>) {
    while let Some(outcome) = framer.poll_frame() {
        outcomes.push(outcome.map(<[u8]>::to_vec));
    }
}

/// What comes of a stream in these parts, with a pause behind them.
fn cut(framing: &Framing, max: usize, parts: &[&[u8]], pause: Pause) -> Vec<Outcome> {
    let mut framer = Framer::new(framing.clone(), max);
    let mut outcomes = Vec::new();
    for part in parts {
        framer.handle_bytes(part);
        drain(&mut framer, &mut outcomes);
    }
    framer.handle_pause(pause);
    drain(&mut framer, &mut outcomes);
    assert!(!framer.awaits_pause(), "a pause decides everything");
    outcomes
}

fn whole(framing: &Framing, max: usize, stream: &[u8]) -> Vec<Outcome> {
    cut(framing, max, &[stream], Pause::Silence)
}

fn frames(outcomes: Vec<Outcome>) -> Vec<Vec<u8>> {
    outcomes.into_iter().filter_map(Result::ok).collect()
}

fn ok(bytes: impl AsRef<[u8]>) -> Outcome {
    Ok(bytes.as_ref().to_vec())
}

fn delimited(start: &str, end: &str, tail: usize, strip: bool) -> Framing {
    let (start, end) = (start.as_bytes().to_vec(), end.as_bytes().to_vec());
    Framing::Delimited(Delimited { start, end, tail, strip })
}

const FIELD: LengthField = LengthField {
    at: 0,
    width: 2,
    endian: Endian::Big,
    header: 2,
    counts: Counts::Rest,
    adjust: 0,
};

fn prefixed(length: LengthField) -> Framing {
    Framing::LengthPrefixed(LengthPrefixed { length, strip: true })
}

/// The particulate sensor SDS011: ten bytes.
fn sds011() -> Framing {
    let check = Check { checksum: Checksum::Sum8, from: 2, to: -2, at: -2, endian: Endian::Big };
    Framing::Template(Template {
        start: vec![0xaa, 0xc0],
        length: TemplateLength::Fixed(10),
        check: Some(check),
        end: vec![0xab],
        strip: false,
    })
}

/// The particulate sensor PMS5003: its length counts what follows it.
fn pms5003() -> Framing {
    let check = Check { checksum: Checksum::Sum16, from: 0, to: -2, at: -2, endian: Endian::Big };
    let field = LengthField { at: 2, header: 4, ..FIELD };
    Framing::Template(Template {
        start: vec![0x42, 0x4d],
        length: TemplateLength::Coded(field),
        check: Some(check),
        end: Vec::new(),
        strip: false,
    })
}

/// From the data sheet of the SDS011: 123.6 and 261.8 µg/m³.
const SDS011: [u8; 10] = [0xaa, 0xc0, 0xd4, 0x04, 0x3a, 0x0a, 0xa1, 0x60, 0x1d, 0xab];
/// A sample of a PMS5003.
const PMS5003: [u8; 32] = [
    0x42, 0x4d, 0x00, 0x1c, 0x00, 0x02, 0x00, 0x0a, 0x00, 0x0a, 0x00, 0x02, 0x00, 0x0a, 0x00, 0x0a,
    0x02, 0x46, 0x00, 0xaf, 0x00, 0x31, 0x00, 0x16, 0x00, 0x00, 0x00, 0x00, 0x97, 0x00, 0x02, 0xac,
];
/// "Read ten holding registers of device 1", as every description of Modbus has it.
const MODBUS: [u8; 8] = [0x01, 0x03, 0x00, 0x00, 0x00, 0x0a, 0xc5, 0xcd];

fn with_crc(bytes: &[u8]) -> Vec<u8> {
    let crc = u16::try_from(Checksum::Crc16Modbus.of(bytes)).unwrap();
    [bytes, &crc.to_le_bytes()].concat()
}

#[test]
fn lines_end_with_a_line_feed_and_empty_ones_are_left_out() {
    let stream = b"a\r\n\n\r\nb c\nrest";
    let expected = [ok("a"), ok("b c"), Err(FrameError::Unterminated)];
    assert_eq!(whole(&Framing::Lines, 10, stream), expected);
    let in_datagram = cut(&Framing::Lines, 10, &[stream], Pause::Datagram);
    assert_eq!(in_datagram, [ok("a"), ok("b c"), ok("rest")]);
}

#[test]
fn a_long_line_is_one_error_and_the_next_one_is_read() {
    let oversize = Err(FrameError::Oversize { max: 4 });
    let stream = b"1234\r\n12345\n123456789\nok\n";
    let expected = [ok("1234"), oversize.clone(), oversize.clone(), ok("ok")];
    assert_eq!(whole(&Framing::Lines, 4, stream), expected);
    let parts: [&[u8]; 4] = [b"123456789", b"123456789", b"1\n", b"ok\n"];
    assert_eq!(cut(&Framing::Lines, 4, &parts, Pause::Silence), [oversize, ok("ok")]);
}

#[test]
fn a_frame_is_between_its_start_and_its_end() {
    // DSMR: the checksum and a line end stand behind the end.
    let stream = b"xx/ISK5\r\n!1A2B\r\n/ab!3C4D\r\n/ha";
    let framing = delimited("/", "!", 6, false);
    let expected = [
        Err(FrameError::Resync { bytes: 2 }),
        ok("/ISK5\r\n!1A2B\r\n"),
        ok("/ab!3C4D\r\n"),
        Err(FrameError::Unterminated),
        Err(FrameError::Resync { bytes: 3 }),
    ];
    assert_eq!(whole(&framing, 100, stream), expected);
    let stripped = whole(&delimited("<<", ">>", 0, true), 100, b"<<a>b>><<c>>");
    assert_eq!(stripped, [ok("a>b"), ok("c")]);
}

#[test]
fn a_start_without_an_end_costs_no_frame_behind_it() {
    let framing = delimited("<", ">", 0, true);
    let outcomes = whole(&framing, 6, b"<1234567890<ab>");
    assert_eq!(frames(outcomes), [b"ab"]);
}

#[test]
fn ends_alone_can_mark_frames() {
    let outcomes = whole(&delimited("", "\r\r", 1, false), 100, b"ab\r\rXcd\r\rY");
    assert_eq!(outcomes, [ok("ab\r\rX"), ok("cd\r\rY")]);
    let outcomes = whole(&delimited("", ";", 0, true), 3, b"ab;;abcdef;cd;");
    assert_eq!(outcomes, [ok("ab"), Err(FrameError::Oversize { max: 3 }), ok("cd")]);
}

#[test]
fn frames_of_a_fixed_size_are_in_step_after_a_pause() {
    let mut framer = Framer::new(Framing::Fixed(3), 3);
    let mut outcomes = Vec::new();
    for part in [&b"abcde"[..], b"fgh"] {
        framer.handle_bytes(part);
        drain(&mut framer, &mut outcomes);
        framer.handle_pause(Pause::Silence);
        drain(&mut framer, &mut outcomes);
    }
    assert_eq!(outcomes, [ok("abc"), Err(FrameError::Unterminated), ok("fgh")]);
}

#[test]
fn lengths_are_read_as_configured() {
    for (field, stream) in [
        (FIELD, &b"\0\x02ab"[..]),
        (LengthField { width: 1, header: 1, ..FIELD }, b"\x02ab"),
        (LengthField { endian: Endian::Little, ..FIELD }, b"\x02\0ab"),
        (LengthField { width: 4, header: 4, ..FIELD }, b"\0\0\0\x02ab"),
        (LengthField { counts: Counts::Whole, ..FIELD }, b"\0\x04ab"),
        // It counts itself and not the byte in front of it.
        (LengthField { at: 1, header: 3, adjust: -2, ..FIELD }, b"T\0\x04ab"),
        (LengthField { header: 4, ..FIELD }, b"\0\x02XYab"),
    ] {
        let twice = [stream, stream].concat();
        assert_eq!(whole(&prefixed(field), 100, &twice), [ok("ab"), ok("ab")], "{field:?}");
    }
}

#[test]
fn a_long_prefixed_frame_is_passed_over() {
    let parts: [&[u8]; 3] = [b"\0\x05123", b"45\0\x01", b"x"];
    let oversize = Err(FrameError::Oversize { max: 4 });
    assert_eq!(cut(&prefixed(FIELD), 4, &parts, Pause::Silence), [oversize, ok("x")]);
}

#[test]
fn a_length_that_cannot_be_waits_for_a_pause() {
    let framing = prefixed(LengthField { counts: Counts::Whole, ..FIELD });
    let outcomes = whole(&framing, 100, b"\0\x01\0\x03a");
    assert_eq!(outcomes, [Err(FrameError::Length(1))]);
}

#[test]
fn templates_cut_what_sensors_send() {
    assert_eq!(whole(&sds011(), 10, &SDS011.repeat(2)), [ok(SDS011), ok(SDS011)]);
    assert_eq!(whole(&pms5003(), 100, &PMS5003.repeat(2)), [ok(PMS5003), ok(PMS5003)]);
}

#[test]
fn a_template_is_in_step_again_at_once() {
    // The first bytes of a frame that is cut off, then a whole one.
    let stream = [&SDS011[..4], &SDS011].concat();
    let outcomes = whole(&sds011(), 10, &stream);
    let expected = [Err(FrameError::End), Err(FrameError::Resync { bytes: 4 }), ok(SDS011)];
    assert_eq!(outcomes, expected);
    let mut damaged = SDS011;
    damaged[3] ^= 1;
    let outcomes = whole(&sds011(), 10, &[damaged, SDS011].concat());
    let check = FrameError::Check { found: 0x1d, expected: 0x1e };
    assert_eq!(outcomes, [Err(check), Err(FrameError::Resync { bytes: 10 }), ok(SDS011)]);
}

#[test]
fn what_a_false_start_swallowed_is_found_after_a_pause() {
    // The length claims 0x1c+4 bytes of which the rest never comes.
    let stream = [&PMS5003[..4], &PMS5003[..]].concat();
    let outcomes = whole(&pms5003(), 100, &stream[..]);
    assert_eq!(frames(outcomes), [PMS5003]);
    let long = [&[0x42, 0x4d, 0x00, 0x50][..], &PMS5003].concat();
    let outcomes = whole(&pms5003(), 100, &long);
    let expected =
        [Err(FrameError::Unterminated), Err(FrameError::Resync { bytes: 4 }), ok(PMS5003)];
    assert_eq!(outcomes, expected);
}

#[test]
fn a_stripped_template_is_what_stands_between() {
    let check = Check { checksum: Checksum::Xor8, from: 1, to: -2, at: -2, endian: Endian::Big };
    let framing = Framing::Template(Template {
        start: b"$".to_vec(),
        length: TemplateLength::Coded(LengthField { at: 1, width: 1, header: 2, ..FIELD }),
        check: Some(check),
        end: b"#".to_vec(),
        strip: true,
    });
    let xor = 0x04 ^ b'a' ^ b'b';
    let stream = [b'$', 4, b'a', b'b', xor, b'#'];
    assert_eq!(whole(&framing, 100, &stream), [Ok(b"ab".to_vec())]);
}

#[test]
fn encoded_frames_are_decoded_and_damaged_ones_left_out() {
    type Encode = fn(&[u8], &mut Vec<u8>);
    let framings: [(Framing, Encode); 3] = [
        (Framing::Cobs, cobs::encode),
        (Framing::Slip, slip::encode),
        (Framing::Hdlc, hdlc::encode),
    ];
    for (framing, encode) in framings {
        let mut stream = Vec::new();
        encode(b"a\0\x7e\xc0", &mut stream);
        encode(b"0123456789", &mut stream);
        encode(b"b", &mut stream);
        let expected = [ok(b"a\0\x7e\xc0"), Err(FrameError::Oversize { max: 5 }), ok("b")];
        assert_eq!(whole(&framing, 5, &stream), expected, "{framing:?}");
    }
    assert_eq!(
        whole(&Framing::Cobs, 9, &[9, 1, 0, 2, 1, 0]),
        [Err(FrameError::Encoding("a block of COBS runs beyond the end")), ok([1])]
    );
}

#[test]
fn requests_and_responses_of_modbus_are_told_apart() {
    let response = with_crc(&[1, 3, 4, 0, 1, 0, 2]);
    let exception = with_crc(&[1, 0x83, 2]);
    let write = with_crc(&[1, 16, 0, 1, 0, 2, 4, 0, 10, 1, 2]);
    let written = with_crc(&[1, 16, 0, 1, 0, 2]);
    let bus = [&MODBUS[..], &response, &write, &written, &exception];
    let expected: Vec<_> = bus.iter().map(ok).collect();
    assert_eq!(whole(&Framing::ModbusRtu, MAX_ADU, &bus.concat()), expected);
    // Cut off, then damaged, then right.
    let mut damaged = MODBUS;
    damaged[4] ^= 0x10;
    let outcomes = whole(&Framing::ModbusRtu, MAX_ADU, &[&MODBUS[3..], &damaged, &MODBUS].concat());
    assert_eq!(frames(outcomes), [MODBUS]);
}

#[test]
fn a_chunk_ends_with_a_pause() {
    let parts: [&[u8]; 2] = [b"Hello, ", b"World!"];
    assert_eq!(cut(&Framing::Chunk, 20, &parts, Pause::Silence), [ok("Hello, World!")]);
    let oversize = Err(FrameError::Oversize { max: 10 });
    assert_eq!(cut(&Framing::Chunk, 10, &parts, Pause::Silence), [oversize]);
}

#[test]
fn what_was_under_way_when_a_link_was_opened_is_left_out() {
    let streams: [(Framing, &[u8], &[Outcome]); 4] = [
        (Framing::Lines, b"1.5\n2.5\n", &[Err(FrameError::Resync { bytes: 3 }), ok("2.5")]),
        // Nothing is lost when the first byte is a delimiter.
        (Framing::Lines, b"\n2.5\n", &[ok("2.5")]),
        (Framing::Cobs, &[9, 0, 2, 7, 0], &[Err(FrameError::Resync { bytes: 1 }), ok([7])]),
        (Framing::Fixed(2), b"abcd", &[Err(FrameError::Resync { bytes: 4 })]),
    ];
    for (framing, stream, expected) in streams {
        let mut framer = Framer::opening(framing.clone(), 10);
        let mut outcomes = Vec::new();
        assert!(framer.is_opening());
        for byte in stream {
            framer.handle_bytes(&[*byte]);
            drain(&mut framer, &mut outcomes);
        }
        framer.handle_pause(Pause::Silence);
        drain(&mut framer, &mut outcomes);
        assert!(!framer.is_opening());
        assert_eq!(outcomes, expected, "{framing:?}");
    }
}

#[test]
fn a_pause_after_opening_is_as_good_as_a_delimiter() {
    let mut framer = Framer::opening(Framing::Lines, 10);
    framer.handle_pause(Pause::Silence);
    assert!(framer.poll_frame().is_none());
    framer.handle_bytes(b"21.5\n");
    assert_eq!(framer.poll_frame(), Some(Ok(&b"21.5"[..])));
}

#[test]
fn garbage_without_end_is_told_of() {
    let mut framer = Framer::new(sds011(), 10);
    let mut outcomes = Vec::new();
    for _ in 0..100 {
        framer.handle_bytes(&[0; 7]);
        drain(&mut framer, &mut outcomes);
    }
    assert!(outcomes.len() > 60, "{}", outcomes.len());
}

#[test]
fn every_error_has_a_reason_to_count_by() {
    let reasons: Vec<String> = [
        FrameError::Oversize { max: 1 },
        FrameError::Unterminated,
        FrameError::Check { found: 1, expected: 2 },
        FrameError::End,
        FrameError::Length(1),
        FrameError::Encoding(""),
        FrameError::Resync { bytes: 1 },
    ]
    .iter()
    .map(|error| error.reason().to_string())
    .collect();
    let expected = [
        "oversize",
        "unterminated",
        "bad_check",
        "bad_end",
        "bad_length",
        "bad_encoding",
        "resync",
    ];
    assert_eq!(reasons, expected);
}

/// Every framing, with bytes that mean something to it, and whether garbage in which none of those
/// bytes is costs no frame.
fn any_framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::Lines),
        Just(delimited("", "\n", 2, false)),
        Just(delimited("", "ab", 0, true)),
        Just(delimited("a", "b", 1, false)),
        Just(delimited("ab", "aa", 0, true)),
        Just(Framing::Fixed(3)),
        Just(prefixed(LengthField { width: 1, header: 1, ..FIELD })),
        Just(prefixed(LengthField { counts: Counts::Whole, ..FIELD })),
        Just(sds011()),
        Just(pms5003()),
        Just(Framing::Cobs),
        Just(Framing::Slip),
        Just(Framing::Hdlc),
        Just(Framing::ModbusRtu),
        Just(Framing::Sml),
        Just(Framing::VeDirect),
        Just(Framing::Chunk),
    ]
}

/// Bytes that framings know, and frames of some.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::sample::select(vec![
            b'\n', b'\r', b'a', b'b', 0, 1, 2, 3, 5, 16, 0x7e, 0x7d, 0xc0, 0xdb, 0xdc, 0xaa, 0xab,
            0x42, 0x4d, 0x83,
        ])
        .prop_map(|byte| vec![byte]),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => Just(SDS011.to_vec()),
        1 => Just(PMS5003.to_vec()),
        1 => Just(MODBUS.to_vec()),
        1 => Just(b"\x01\x83\x02\xc0\xf1".to_vec()),
        1 => proptest::sample::select(vec![
            &b"\x1b\x1b\x1b\x1b"[..], b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01", b"\x1a\x03",
            b"\r\nV\t1", b"\r\nChecksum\t", b":7F\n",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn split<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(stream.len())).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_split_gives_the_same_outcomes(
        framing in any_framing(),
        stream in any_stream(),
        max in prop_oneof![Just(4usize), Just(32), Just(256)],
        cuts in proptest::collection::vec(0..400usize, 0..12),
        pause in prop_oneof![Just(Pause::Silence), Just(Pause::Datagram)],
    ) {
        let at_once = cut(&framing, max, &[&stream], pause);
        let in_parts = cut(&framing, max, &split(&stream, &cuts), pause);
        prop_assert_eq!(&at_once, &in_parts);
        let one_by_one: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&at_once, &cut(&framing, max, &one_by_one, pause));
        for frame in frames(at_once) {
            let limit = if matches!(framing, Framing::Fixed(_) | Framing::ModbusRtu) { MAX_ADU } else { max };
            prop_assert!(frame.len() <= limit, "{} bytes", frame.len());
        }
    }

    #[test]
    fn what_is_kept_is_bounded(framing in any_framing(), byte in any::<u8>(), max in 1usize..300) {
        let mut framer = Framer::new(framing, max);
        for _ in 0..200 {
            framer.handle_bytes(&[byte; 50]);
            while framer.poll_frame().is_some() {}
            let kept = framer.buffer.len() - framer.done;
            prop_assert!(kept <= 2 * (max + 2) + MAX_ADU, "{kept} bytes");
        }
    }

    /// Garbage that holds no byte that the framing knows costs nothing before or between frames
    /// that mark their start, or are in step behind an end.
    #[test]
    fn garbage_costs_no_frame(
        parts in proptest::collection::vec((proptest::collection::vec(0x80u8..0xa0, 0..40), any::<bool>()), 1..12),
    ) {
        let mut slip_frame = Vec::new();
        slip::encode(b"slip", &mut slip_frame);
        let mut hdlc_frame = Vec::new();
        hdlc::encode(b"hdlc", &mut hdlc_frame);
        for (framing, sent, received) in [
            (sds011(), SDS011.to_vec(), SDS011.to_vec()),
            (pms5003(), PMS5003.to_vec(), PMS5003.to_vec()),
            (delimited("/", "!", 2, false), b"/abc!12".to_vec(), b"/abc!12".to_vec()),
            // They put a delimiter in front as well.
            (Framing::Hdlc, hdlc_frame, b"hdlc".to_vec()),
            // Its addresses end at 247, and 0x80.. is no function.
            (Framing::ModbusRtu, MODBUS.to_vec(), MODBUS.to_vec()),
        ] {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            let mut between = Vec::new();
            for (garbage, with_frame) in &parts {
                stream.extend_from_slice(garbage);
                between.extend_from_slice(garbage);
                if *with_frame {
                    // Whatever stands between two flags is a frame if its check is right, which it
                    // is by chance once in 65536 times (RFC 1662 §3.1).
                    if framing == Framing::Hdlc
                        && let Ok(data) = hdlc::decode_in_place(&mut between)
                    {
                        expected.push(between[..data].to_vec());
                    }
                    between.clear();
                    stream.extend_from_slice(&sent);
                    expected.push(received.clone());
                }
            }
            let found = frames(whole(&framing, 600, &stream));
            if framing == Framing::ModbusRtu {
                // Garbage may look like an exception, once in 65536 times like a right one.
                prop_assert!(found.len() >= expected.len());
            } else {
                prop_assert_eq!(found, expected);
            }
        }
    }

    /// Frames with a check are found in any garbage; only what passes the check by chance can hide
    /// one, and takes its place.
    #[test]
    fn any_garbage_between_checked_frames_costs_none(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..8),
    ) {
        for (framing, sent) in [(sds011(), SDS011.to_vec()), (Framing::ModbusRtu, MODBUS.to_vec())] {
            let mut stream = Vec::new();
            for garbage in &parts {
                stream.extend_from_slice(garbage);
                stream.extend_from_slice(&sent);
            }
            let found = frames(whole(&framing, 300, &stream));
            prop_assert!(found.len() >= parts.len(), "{found:x?}");
        }
    }
}

/// RFC 1662 §4.3: an escape before a flag aborts what is before the flag. A sender that puts only
/// one flag between two frames loses the frame that garbage runs into, and no other (§3.1).
#[test]
fn an_escape_at_the_end_of_garbage_costs_hdlc_only_the_frame_that_it_runs_into() {
    let mut frame = Vec::new();
    hdlc::encode(b"hdlc", &mut frame);
    let without_opening = &frame[1..];
    for garbage in [&b"\x80"[..], b"\x7d", b"\x80\x81\x82\x83\x7d", b"\x7e\x80\x7d"] {
        let opened = [garbage, &frame, garbage, &frame].concat();
        assert_eq!(frames(whole(&Framing::Hdlc, 100, &opened)), [b"hdlc", b"hdlc"], "{garbage:x?}");
        let shared = [&frame, garbage, without_opening, without_opening].concat();
        assert_eq!(frames(whole(&Framing::Hdlc, 100, &shared)), [b"hdlc", b"hdlc"], "{garbage:x?}");
    }
}

#[test]
fn every_outcome_says_which_bytes_it_is_about() {
    let stream = [&[0x60, 0xab], &SDS011[..], &[0xaa, 0xc0, 0x01], &SDS011[..], &[0xaa]].concat();
    for size in [1, 7, stream.len()] {
        let mut framer = Framer::new(sds011(), 100);
        let mut spans = Vec::new();
        for part in stream.chunks(size) {
            framer.handle_bytes(part);
            while let Some(outcome) = framer.poll_frame() {
                spans.push((outcome.is_ok(), framer.span()));
            }
        }
        framer.handle_pause(Pause::Silence);
        while let Some(outcome) = framer.poll_frame() {
            spans.push((outcome.is_ok(), framer.span()));
        }
        let expected = [
            (false, 0..2),
            (true, 2..12),
            // A frame that was tried there in vain.
            (false, 12..12),
            (false, 12..15),
            (true, 15..25),
            (false, 25..25),
            (false, 25..26),
        ];
        assert_eq!(spans, expected, "in parts of {size}");
    }
    let mut framer = Framer::new(Framing::Lines, 4);
    framer.handle_bytes(b"ab\r\n123456\ncd\n");
    let mut spans = Vec::new();
    while framer.poll_frame().is_some() {
        spans.push(framer.span());
    }
    assert_eq!(spans, [0..4, 4..11, 11..14]);
}
