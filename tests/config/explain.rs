//! `gateway explain` with each example: whole outputs, compared with the files in `explain/`.

use std::io::Write as _;
use std::process::Stdio;

use super::{compare, gateway, root, run, stderr, stdout};

/// A message of a real device; where it is from stands beside it.
macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../../gateway/src/decode/golden/", $name, ".hex"))
    };
}

/// Vectors of docs/link-protocol.md: what a node says first, and what it measured.
const HELLO_DATA: &str = "0411092a010102030101010102a3231903e80183836474656d706343656c218363\
     68756d63255248208365636f756e7460050201f60e00\
     0412012a010102030101020702a2021a0601e24001a30c190866011902290222207700";
const HELLO_KEY: &str = "110b2a000000030000000000a3001903e80183836474656d706343656c21836368\
     756d63255248208365636f756e7460000201282ff4864a6a8117";
const DATA: &str = "12012a000000030000000700a2001a0001e24001a3001908660119022902222077";
/// An answer (AP §6.4): 230.1 V, 230.4 V and 229.7 V.
const VOLTAGES: &str = "01 04 0c 08 fd 00 00 09 00 00 00 08 f9 00 00 5e fc";

/// When every sample arrives.
const AT: &str = "2026-11-20T22:39:00.123Z";

/// A sample of an example.
struct Case {
    /// Of the golden file.
    name: &'static str,
    configs: &'static [&'static str],
    source: &'static str,
    arguments: &'static [&'static str],
    exit: i32,
}

const fn case(
    name: &'static str,
    configs: &'static [&'static str],
    source: &'static str,
    arguments: &'static [&'static str],
) -> Case {
    Case { name, configs, source, arguments, exit: 0 }
}

const fn nothing(
    name: &'static str,
    configs: &'static [&'static str],
    source: &'static str,
    arguments: &'static [&'static str],
) -> Case {
    Case { exit: 1, ..case(name, configs, source, arguments) }
}

const LPP: &[&str] = &["configs/cayenne-lpp.toml"];
const RUUVI: &[&str] = &["configs/ruuvi.toml"];
const SITE: &[&str] = &["configs/cloud/common.toml", "configs/cloud/site.toml"];
const FORMATS: &[&str] = &["tests/config/explain/formats.toml"];
const HTTP: &[&str] = &["configs/http.toml"];
const COAP_POLL: &[&str] = &["configs/coap-poll.toml"];
const LINK: &[&str] = &["configs/link.toml"];
const MODBUS: &[&str] = &["configs/modbus-meter.toml"];
const QUICKSTART: &[&str] = &["configs/quickstart.toml"];
const SDS011: &[&str] = &["configs/sds011.toml"];

/// Frames of the binary examples are those of data sheets: SDS011 (Nova Fitness), MH-Z19 (Winsen), and
/// "Data format 5" of docs.ruuvi.com with its four test vectors. Those of Cayenne LPP are the example of
/// its description, that of The Things Stack's page on it, and the place in its library's example.
const CASES: &[Case] = &[
    case("quickstart-serial", QUICKSTART, "bench", &["--text", "temp=21.5 hum=40"]),
    case(
        "quickstart-coap",
        QUICKSTART,
        "nodes",
        &["--text", "21.5", "--path", "/r/th-0001/temp", "--from", "192.0.2.7"],
    ),
    nothing(
        "quickstart-coap-refused",
        QUICKSTART,
        "nodes",
        &["--text", "21.5", "--path", "/r/th-0001/temp", "--content-format", "60"],
    ),
    case("csv-serial", &["configs/csv-serial.toml"], "logger", &["--text", "17;21.50;40.1;3.91"]),
    case(
        "json-over-udp",
        &["configs/json-over-udp.toml"],
        "field",
        &["--text", r#"{"device":"th-1","seq":7,"temp":21.5,"hum":40}"#],
    ),
    case(
        "rtl433",
        &["configs/rtl433.toml"],
        "radio",
        &["--text", r#"{"model":"Nexus-TH","id":42,"channel":2,"temperature_C":20.50}"#],
    ),
    case(
        "senml-coap",
        &["configs/senml-coap.toml"],
        "nodes",
        &[
            "--text",
            r#"[{"bn":"th-0001/","n":"temp","u":"Cel","v":21.5},{"n":"hum","u":"%RH","v":40}]"#,
            "--content-format",
            "110",
        ],
    ),
    case("sockets-tcp", &["configs/sockets.toml"], "hello", &["--text", "Hello, World!"]),
    case(
        "sockets-udp",
        &["configs/sockets.toml"],
        "shout",
        &["--text", "21.5", "--from", "192.0.2.7"],
    ),
    case(
        "tcp-lines",
        &["configs/tcp-lines.toml"],
        "programs",
        &["--text", r#"{"device":"press-3","time":"2026-11-20T22:39:00Z","pressure":1013.2}"#],
    ),
    nothing("tcp-lines-bad", &["configs/tcp-lines.toml"], "programs", &["--text", "hello\n{}\n"]),
    case(
        "converter",
        &["configs/converter.toml"],
        "scale",
        &["--text", "noise\u{2}{\"weight\": 20.5}\u{3}\u{2}{"],
    ),
    case(
        "cloud",
        SITE,
        "nodes",
        &["--text", r#"[{"bn":"th-1/","n":"temp","v":21.5},{"n":"hum","v":40}]"#],
    ),
    case(
        "climate",
        &["configs/climate.toml"],
        "nodes",
        &[
            "--text",
            r#"[{"bn":"th-1/","bt":1795214200,"n":"temp","u":"Cel","v":21.5},
                {"n":"temp","u":"Cel","v":21.6,"t":20},{"n":"temp","u":"Cel","v":85,"t":40},
                {"n":"temp","u":"Cel","v":63,"t":60},{"n":"temp","u":"Cel","v":65,"t":65},
                {"n":"temp","vs":"broken","t":70}]"#,
            "--content-format",
            "110",
        ],
    ),
    case(
        "simulated",
        &["configs/simulated.toml"],
        "weather",
        &["--text", "id=w-01 at=1795214340123 boot=1 n=7 wind=3.5"],
    ),
    case("sds011", SDS011, "air", &["--hex", "AAC0D4043A0AA1601DAB"]),
    case(
        "sds011-noise",
        SDS011,
        "air",
        &["--hex", "a1 60 1d ab aa c0 d4 04 3a 0a a1 60 1e ab aa c0 d4 04 3a 0a a1 60 1d ab aa c0"],
    ),
    case(
        "pms5003",
        &["configs/pms5003.toml"],
        "air",
        &["--hex", "424D001C0002000A000A0002000A000A024600AF0031001600000000970002AC"],
    ),
    case("mh-z19", &["configs/mh-z19.toml"], "co2", &["--hex", "ff86028a44000000aa"]),
    case("ruuvi", RUUVI, "tags", &["--hex", "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F"]),
    case(
        "ruuvi-highest",
        RUUVI,
        "tags",
        &["--hex", "057FFFFFFEFFFE7FFF7FFF7FFFFFDEFEFFFECBB8334C884F"],
    ),
    case(
        "ruuvi-lowest",
        RUUVI,
        "tags",
        &["--hex", "058001000000008001800180010000000000CBB8334C884F"],
    ),
    nothing(
        "ruuvi-invalid",
        RUUVI,
        "tags",
        &["--hex", "058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF"],
    ),
    case("cayenne-lpp", LPP, "lpp", &["--hex", "03 67 01 10 05 67 00 FF"]),
    case("cayenne-lpp-mixed", LPP, "lpp", &["--hex", "00 73 27 bf 00 67 00 de"]),
    case("cayenne-lpp-place", LPP, "lpp", &["--hex", "05 88 06 76 5f f2 96 0a 00 03 e8"]),
    nothing("cayenne-lpp-unknown", LPP, "lpp", &["--hex", "03 67 01 10 05 ff 00"]),
    nothing("ruuvi-other", RUUVI, "tags", &["--hex", "03291A1ECE1EFC18F94202CA0B53"]),
    nothing("ruuvi-short", RUUVI, "tags", &["--hex", "0512FC5394"]),
    case(
        "coap-topics",
        &["configs/coap-topics.toml"],
        "nodes",
        &["--text", "21.5", "--path", "/r/th-0001/temp"],
    ),
    case(
        "nmea-gps",
        &["configs/nmea-gps.toml"],
        "gps",
        &["--text", "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47"],
    ),
    case(
        "p1-meter",
        &["configs/p1-meter.toml"],
        "p1",
        &["--file", "gateway/src/decode/golden/dsmr-5.txt"],
    ),
    case("victron", &["configs/victron.toml"], "monitor", &["--hex", golden!("ve-direct-bmv")]),
    case("sml", FORMATS, "ehz", &["--hex", golden!("sml-emh-ehz361")]),
    case("m-bus", FORMATS, "heat", &["--hex", golden!("mbus-elvaco-cma10")]),
    case("coiot", FORMATS, "shelly", &["--hex", golden!("coiot-plug"), "--from", "192.0.2.7"]),
    case("gwmp", FORMATS, "lora", &["--hex", golden!("gwmp-rxpk")]),
    nothing("gwmp-pull", FORMATS, "lora", &["--hex", "02 00 01 02 aa 55 5a 00 00 00 00 01"]),
    case(
        "influx",
        FORMATS,
        "telegraf",
        &["--text", "weather,location=us-midwest temperature=82 1465839830100400200"],
    ),
    case("statsd", FORMATS, "metrics", &["--text", "gorets:1|c"]),
    case("tcp-client", FORMATS, "converter", &["--text", "21.5"]),
    case("http-value", HTTP, "web", &["--text", "21.5", "--path", "/r/th-0001/temp"]),
    case(
        "http-pack",
        HTTP,
        "web",
        &[
            "--text",
            r#"{"temp":21.5}"#,
            "--content-type",
            "application/json",
            "--from",
            "192.0.2.7",
        ],
    ),
    nothing("http-refused", HTTP, "web", &["--text", "x", "--content-type", "text/html"]),
    case("coap-poll", COAP_POLL, "plant", &["--text", "21.5", "--node", "boiler"]),
    case(
        "coap-poll-found",
        COAP_POLL,
        "plant",
        &["--text", "40", "--node", "roof", "--path", "/sensors/hum", "--content-format", "0"],
    ),
    nothing(
        "coap-poll-refused",
        COAP_POLL,
        "plant",
        &["--text", "21.5", "--node", "boiler", "--path", "/sensors/hum"],
    ),
    case("link", LINK, "bench", &["--hex", HELLO_DATA]),
    nothing("link-key", LINK, "field", &["--hex", HELLO_KEY]),
    nothing("link-no-code", LINK, "field", &["--hex", DATA]),
    case("modbus", MODBUS, "mains", &["--hex", VOLTAGES, "--address", "0"]),
    case(
        "simulated-modbus",
        &["configs/simulated-modbus.toml"],
        "bus",
        &["--hex", "0001 0000 0009 01 03 06 1170 0001 08fd"],
    ),
    case("commands", &["configs/commands.toml"], "pump", &["--text", "speed=40 pressure=2.15"]),
    nothing("simulated-commands", &["configs/simulated-commands.toml"], "nodes", &["--hex", DATA]),
    nothing("modbus-ambiguous", MODBUS, "mains", &["--hex", VOLTAGES]),
    nothing("modbus-exception", MODBUS, "mains", &["--hex", "01 84 02 c2 c1"]),
    nothing("modbus-noise", MODBUS, "mains", &["--hex", "01 84 02 c2 c2"]),
    case("sds011-json", SDS011, "air", &["--hex", "ff AAC0D4043A0AA1601DAB", "--json"]),
];

fn arguments(case: &Case) -> Vec<&'static str> {
    let configs = case.configs.iter().flat_map(|file| ["-c", file]);
    let rest = ["--source", case.source, "--at", AT];
    ["explain"]
        .into_iter()
        .chain(configs)
        .chain(rest)
        .chain(case.arguments.iter().copied())
        .collect()
}

#[test]
fn each_example_is_explained() {
    for case in CASES {
        let output = run(&arguments(case));
        assert_eq!(output.status.code(), Some(case.exit), "{}: {}", case.name, stderr(&output));
        let golden = root().join(format!("tests/config/explain/{}.stdout", case.name));
        compare(&golden, &stdout(&output));
    }
}

#[test]
fn every_example_has_a_sample() {
    for files in super::examples() {
        let is_explained =
            CASES.iter().any(|case| files.iter().any(|f| case.configs.contains(&f.as_str())));
        assert!(is_explained, "{files:?}");
    }
}

#[test]
fn a_sample_can_be_a_file_or_piped_in() {
    let at_once = run(&[
        "explain",
        "-c",
        "configs/sds011.toml",
        "--source",
        "air",
        "--at",
        AT,
        "--hex",
        "aac0d4043a0aa1601dab",
    ]);
    let mut piped =
        gateway(&["explain", "-c", "configs/sds011.toml", "--source", "air", "--at", AT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
    let bytes = [0xaa, 0xc0, 0xd4, 0x04, 0x3a, 0x0a, 0xa1, 0x60, 0x1d, 0xab];
    piped.stdin.take().expect("a pipe").write_all(&bytes).expect("it is read");
    let piped = piped.wait_with_output().expect("it ends");
    assert_eq!(stdout(&piped), stdout(&at_once));
    let folder = super::Folder::new("explain");
    let file = folder.file("sample", bytes);
    let read = run(&[
        "explain",
        "-c",
        "configs/sds011.toml",
        "--source",
        "air",
        "--at",
        AT,
        "--file",
        &file,
    ]);
    assert_eq!(stdout(&read), stdout(&at_once));
}

#[test]
fn what_cannot_be_explained_is_a_usage_error() {
    for (arguments, said) in [
        (&["--source", "fire", "--text", "x"][..], "there is no source `fire`; there is air"),
        (&["--source", "air", "--hex", "a"], "two hexadecimal digits for each byte"),
        (&["--source", "air", "--hex", "aa", "--text", "x"], "cannot be used with"),
        (
            &["--source", "air", "--hex", "aa", "--path", "/r"],
            "--path is for coap, coap-poll and http",
        ),
        (
            &["--source", "air", "--hex", "aa", "--from", "192.0.2.1"],
            "--from is for udp, tcp, coap and http",
        ),
        (&["--source", "air", "--file", "/nothing"], "cannot read /nothing"),
    ] {
        let output = run(&[&["explain", "-c", "configs/sds011.toml"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_sender_that_is_not_allowed_is_told() {
    let arguments = ["explain", "-c", "configs/json-over-udp.toml", "--source", "field"];
    let output = gateway(&arguments)
        .args(["--set", "sources.field.link.allow=192.0.2.0/24", "--text", "{\"t\":1}"])
        .args(["--from", "198.51.100.1"])
        .output()
        .expect("the gateway starts");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("not_allowed: not in `link.allow`"), "{}", stdout(&output));
}
