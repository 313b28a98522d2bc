//! Each kind of frame over a serial port, with garbage before and between.

use serde_json::Value;

use proto::frame::{cobs, hdlc, slip};

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::serial::Cable;

/// What a device says, in bytes around a text.
type Wrap = fn(&str) -> Vec<u8>;

struct Case {
    name: &'static str,
    frame: &'static str,
    wrap: Wrap,
    /// Bytes that come before and between frames.
    garbage: &'static [u8],
    /// Frames that garbage costs, and why: reasons that must be counted.
    refused: &'static [&'static str],
}

fn encoded(encode: fn(&[u8], &mut Vec<u8>), text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(text.as_bytes(), &mut frame);
    frame
}

/// `$`, the length, the text, the exclusive or of length and text, `#`.
fn described(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap();
    let check = text.bytes().fold(len, |all, byte| all ^ byte);
    [&[b'$', len], text.as_bytes(), &[check, b'#']].concat()
}

fn damaged(text: &str) -> Vec<u8> {
    let mut frame = described(text);
    frame[3] ^= 1;
    frame
}

const CASES: [Case; 8] = [
    Case {
        name: "lines",
        frame: "type = \"lines\"",
        wrap: |text| format!("{text}\r\n").into_bytes(),
        garbage: b"\xff\xfe\n",
        refused: &["not_text"],
    },
    Case {
        name: "delimited",
        frame: "type = \"delimited\", start = \"02\", end = \"03\", strip = true",
        wrap: |text| format!("\x02{text}\x03").into_bytes(),
        garbage: b"noise",
        refused: &["resync"],
    },
    Case {
        name: "ends",
        frame: "type = \"delimited\", end = \"3b 3b\", strip = true",
        wrap: |text| format!("{text};;").into_bytes(),
        garbage: b"\xff;;",
        refused: &["not_text"],
    },
    Case {
        name: "template",
        frame: "type = \"template\", start = \"24\", length = { at = 1, bytes = 1, adjust = 2 }, \
                check = { type = \"xor8\", from = 1, to = -2, at = -2 }, end = \"23\", strip = true",
        wrap: described,
        garbage: b"x$\x01y",
        refused: &["resync", "bad_end"],
    },
    Case {
        name: "checked",
        frame: "type = \"template\", start = \"24\", length = { at = 1, bytes = 1, adjust = 2 }, \
                check = { type = \"xor8\", from = 1, to = -2, at = -2 }, end = \"23\", strip = true",
        wrap: |text| [damaged(text), described(text)].concat(),
        garbage: b"",
        refused: &["resync", "bad_check"],
    },
    Case {
        name: "cobs",
        frame: "type = \"cobs\"",
        wrap: |text| encoded(cobs::encode, text),
        garbage: b"\xfe\x01\0",
        refused: &["bad_encoding"],
    },
    Case {
        name: "slip",
        frame: "type = \"slip\"",
        wrap: |text| encoded(slip::encode, text),
        garbage: b"\xdb\x01",
        refused: &["bad_encoding"],
    },
    Case {
        name: "hdlc",
        frame: "type = \"hdlc\"",
        wrap: |text| encoded(hdlc::encode, text),
        garbage: b"some noise",
        refused: &["bad_check"],
    },
];

#[test]
fn frames_are_found_in_garbage_on_a_serial_port() {
    const ROUNDS: u32 = 5;
    let mut cables: Vec<Cable> = CASES.iter().map(|_| Cable::new()).collect();
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("frames/#");
    let mut config = mosquitto.table("local");
    for (case, cable) in CASES.iter().zip(&cables) {
        let (name, frame, port) = (case.name, case.frame, cable.port());
        config += &format!(
            "[sources.{name}]\ndevice = \"d\"\n\
             link = {{ type = \"serial\", path = \"{}\", baud = 115200 }}\n\
             frame = {{ {frame} }}\ndecode = {{ type = \"json\" }}\n",
            port.display()
        );
    }
    config += "[routes.all]\ntopic = \"frames/{source}\"\npayload = \"value\"\n";
    let gateway = Gateway::start(&config);
    wait_until("all ports to be open", || {
        let status = gateway.status();
        CASES.iter().all(|case| status["sources"][case.name]["up"] == true)
    });
    for (case, cable) in CASES.iter().zip(&mut cables) {
        // What a port that has just been opened hears may be the end of a frame.
        cable.send(&(case.wrap)(r#"{"v":0}"#));
        for round in 1..=ROUNDS {
            cable.send(case.garbage);
            let frame = (case.wrap)(&format!(r#"{{"v":{round}}}"#));
            // In two pieces.
            let (first, second) = frame.split_at(frame.len() / 2);
            cable.send(first);
            cable.send(second);
        }
    }
    for case in &CASES {
        let topic = format!("frames/{}", case.name);
        wait_until(&format!("the frames of {}", case.name), || {
            let values = all.at(&topic);
            let values: Vec<&str> = values.iter().map(|message| message.text()).collect();
            let expected: Vec<String> = (1..=ROUNDS).map(|round| round.to_string()).collect();
            // The first one is lost where nothing marks its start.
            values == expected || values.split_first().is_some_and(|(_, rest)| rest == expected)
        });
        let status = gateway.status();
        let refused = &status["sources"][case.name]["refused"];
        for reason in case.refused {
            let count = refused[reason]["count"].as_u64();
            assert!(count >= Some(u64::from(ROUNDS)), "{}: {reason} in {refused}", case.name);
        }
    }
}

#[test]
fn frames_without_a_mark_are_in_step_after_a_pause() {
    let cases = [
        ("fixed", "type = \"fixed\", size = 4, idle = \"200ms\"", "21.5".as_bytes()),
        (
            "prefixed",
            "type = \"length-prefixed\", bytes = 2, strip = true, idle = \"200ms\"",
            b"\0\x0421.5",
        ),
        ("chunk", "type = \"chunk\", idle = \"200ms\"", b"21.5"),
    ];
    let mut cables = [(); 3].map(|()| Cable::new());
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("frames/#");
    let mut config = mosquitto.table("local");
    for ((name, frame, _), cable) in cases.iter().zip(&cables) {
        config += &format!(
            "[sources.{name}]\ndevice = \"d\"\nlink = {{ type = \"serial\", path = \"{}\" }}\n\
             frame = {{ {frame} }}\ndecode = {{ type = \"value\", name = \"v\" }}\n",
            cable.port().display()
        );
    }
    config += "[routes.all]\ntopic = \"frames/{source}\"\npayload = \"value\"\n";
    let gateway = Gateway::start(&config);
    for ((name, _, whole), cable) in cases.iter().zip(&mut cables) {
        let refused = format!("/sources/{name}/refused");
        let pointer = format!("/sources/{name}/up");
        wait_until("the port to be open", || {
            gateway.status().pointer(&pointer) == Some(&Value::Bool(true))
        });
        // The rest of a frame.
        cable.send(b"5");
        match *name {
            "chunk" => all.payload("frames/chunk", b"5"),
            _ => {
                wait_until("the rest to be thrown away", || gateway.sum(&refused) > 0);
                cable.send(whole);
                all.payload(&format!("frames/{name}"), b"21.5")
            }
        };
    }
}

/// "Read ten holding registers of device 1", as every description of Modbus has it; in a stripped
/// template's place, because no text decoder reads it.
#[test]
fn what_passes_on_a_modbus_line_is_counted() {
    let mut cable = Cable::new();
    let mosquitto = Mosquitto::start();
    let gateway = Gateway::start(&format!(
        "[sources.bus]\ndevice = \"d\"\nlink = {{ type = \"serial\", path = \"{}\" }}\n\
         frame = {{ type = \"modbus-rtu\" }}\ndecode = {{ type = \"value\", name = \"v\" }}\n{}\
         [routes.all]\n",
        cable.port().display(),
        mosquitto.table("local")
    ));
    wait_until("the port to be open", || gateway.status()["sources"]["bus"]["up"] == true);
    const REQUEST: [u8; 8] = [0x01, 0x03, 0x00, 0x00, 0x00, 0x0a, 0xc5, 0xcd];
    let mut damaged = REQUEST;
    damaged[4] ^= 0x10;
    for _ in 0..3 {
        cable.send(&[&REQUEST[..], &damaged].concat());
    }
    gateway.wait_for_count("/sources/bus/messages", 3);
    gateway.wait_for_count("/sources/bus/refused/bad_check/count", 3);
    gateway.wait_for_count("/sources/bus/refused/resync/count", 3);
    assert_eq!(gateway.count("/sources/bus/messages"), 3);
}
