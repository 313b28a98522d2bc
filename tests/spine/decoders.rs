//! What meters and sensors speak, from their link to Mosquitto.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::json;

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::serial::Cable;

/// A DSMR 5 telegram of an ISKRA meter; see `gateway/src/decode/golden/README.md`.
const TELEGRAM: &[u8] = include_bytes!("../../gateway/src/decode/golden/dsmr-isk.txt");
const SENTENCES: &[u8] = include_bytes!("../../gateway/src/decode/golden/nmea.txt");
const SYSLOG: &[u8] = include_bytes!("../../gateway/src/decode/golden/rtl433.txt");
const BATTERY: &str = include_str!("../../gateway/src/decode/golden/ve-direct-bmv.hex");
const SML: &str = include_str!("../../gateway/src/decode/golden/sml-iskra-mt691.hex");
const RXPK: &str = include_str!("../../gateway/src/decode/golden/gwmp-rxpk.hex");
const SHELLY: &str = include_str!("../../gateway/src/decode/golden/coiot-plug.hex");

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.trim().as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn meters_and_receivers_on_serial_ports_arrive() {
    let mut cables = [(); 4].map(|()| Cable::new());
    let ports = cables.each_ref().map(|cable| cable.port().display().to_string());
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = Gateway::start(&format!(
        r#"
[sources.p1]
link = {{ type = "serial", path = "{}", baud = 115200 }}
frame = {{ type = "delimited", start = "2f", end = "21", tail = 6, max = "8KiB" }}
decode = {{ type = "dsmr" }}
[sources.gps]
device = "boat"
link = {{ type = "serial", path = "{}", baud = 4800 }}
decode = {{ type = "nmea" }}
[sources.battery]
device = "bmv"
link = {{ type = "serial", path = "{}", baud = 19200 }}
frame = {{ type = "ve-direct" }}
decode = {{ type = "ve-direct" }}
[sources.ehz]
link = {{ type = "serial", path = "{}" }}
frame = {{ type = "sml" }}
decode = {{ type = "sml" }}
{}
[routes.all]
topic = "site/{{source}}/{{device}}/{{name}}"
"#,
        ports[0],
        ports[1],
        ports[2],
        ports[3],
        mosquitto.table("local")
    ));
    for source in ["p1", "gps", "battery", "ehz"] {
        let pointer = format!("/sources/{source}/up");
        wait_until("an open port", || gateway.status().pointer(&pointer) == Some(&json!(true)));
    }
    // Each begins within a message; the second telegram has a digit that was damaged.
    let mut damaged = TELEGRAM.to_vec();
    damaged[150] ^= 1;
    let battery = bytes(BATTERY);
    let hex_within = [&battery[..40], b":7F0ED009600DB\n", &battery[40..]].concat();
    let ehz = bytes(SML);
    cables[0].send(&[&TELEGRAM[300..], &damaged, TELEGRAM].concat());
    cables[1].send(&[b"038,N*47\r\n", SENTENCES].concat());
    cables[2].send(&[&battery[100..], &hex_within].concat());
    cables[3].send(&[&ehz[100..], &ehz].concat());

    for (topic, value, unit) in [
        ("p1/E0043007052870318/voltage_l1", json!(236.1), "V"),
        ("p1/E0043007052870318/energy_import_t1", json!(576.239), "kWh"),
        ("p1/G0032565535520117/volume", json!(304.089), "m3"),
        ("gps/boat/altitude", json!(545.4), "m"),
        ("gps/boat/pressure", json!(1007.6), "hPa"),
        ("battery/bmv/state_of_charge", json!(87.6), "%EL"),
        ("ehz/1ISK0070409925/energy_import", json!(198_927.3), "Wh"),
    ] {
        let first = all.first(&format!("site/{topic}"));
        let reading: serde_json::Value = serde_json::from_slice(&first.payload).unwrap();
        assert_eq!((&reading["value"], &reading["unit"]), (&value, &json!(unit)), "{topic}");
    }
    assert_eq!(gateway.count("/sources/p1/refused/bad_check/count"), 1);
    gateway.wait_for_count("/sources/battery/refused/bad_check/count", 1);
}

#[test]
fn a_lora_gateway_is_acknowledged_when_its_packets_are_on_disk() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = Gateway::start(&format!(
        r#"
[sources.lora]
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "gwmp" }}
{}
[routes.all]
topic = "site/{{source}}/{{device}}/{{name}}"
"#,
        mosquitto.table("local")
    ));
    let forwarder = UdpSocket::bind("127.0.0.1:0").unwrap();
    forwarder.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    forwarder.connect(gateway.address("lora")).unwrap();
    let mut answer = [0; 16];
    let mut ask = |datagram: &[u8]| {
        forwarder.send(datagram).unwrap();
        let len = forwarder.recv(&mut answer).unwrap();
        answer[..len].to_vec()
    };
    // PUSH_DATA and PULL_DATA with the token a1 b2 (PROTOCOL.TXT §3.3, §5.3).
    assert_eq!(ask(&bytes(RXPK)), [1, 0xa1, 0xb2, 1]);
    assert_eq!(gateway.count("/sources/lora/readings"), 14);
    assert_eq!(ask(b"\x02\xa1\xb2\x02\xaa\x55\x5a\x00\x00\x00\x01\x01"), [2, 0xa1, 0xb2, 4]);
    // One that cannot be read is not acknowledged: the next answer is that of what follows.
    forwarder.send(b"\x02\x00\x01\x00\xaa\x55\x5a\x00\x00\x00\x01\x01{").unwrap();
    assert_eq!(ask(b"\x02\x00\x02\x02\xaa\x55\x5a\x00\x00\x00\x01\x01"), [2, 0, 2, 4]);
    let refused = gateway.status()["sources"]["lora"]["refused"].clone();
    assert_eq!(refused.as_object().unwrap().keys().collect::<Vec<_>>(), ["syntax"], "{refused}");
    let first = all.first("site/lora/aa555a0000000101/rssi");
    let reading: serde_json::Value = serde_json::from_slice(&first.payload).unwrap();
    assert_eq!((&reading["value"], &reading["unit"]), (&json!(-35), &json!("dBm")));
}

#[test]
fn shellys_and_radio_sensors_arrive_over_udp() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = Gateway::start(&format!(
        r#"
[sources.shelly]
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "coiot" }}
[sources.radio]
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "rtl433" }}
[sources.telegraf]
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "influx", device = "host" }}
[sources.metrics]
device = "doors"
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "statsd" }}
{}
[routes.all]
topic = "site/{{source}}/{{device}}/{{name}}"
"#,
        mosquitto.table("local")
    ));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let shelly = bytes(SHELLY);
    for (source, datagram) in [
        ("shelly", &shelly[..]),
        ("radio", SYSLOG),
        ("telegraf", b"weather,host=pi,room=attic t=21.50\nweather,host=pi,room=hall t=19\n"),
        ("metrics", b"opened:1|c\nopened:x|c\n"),
        ("metrics", b"opened:1|c\n"),
    ] {
        socket.send_to(datagram, gateway.address(source)).unwrap();
    }
    for (topic, value) in [
        ("shelly/SHPLG-S-B4E842AABBCC/power", json!(42.50)),
        ("radio/Nexus-TH-2-42/temperature", json!(20.5)),
        ("telegraf/pi/weather.attic.t", json!(21.50)),
        ("telegraf/pi/weather.hall.t", json!(19)),
        ("metrics/doors/opened", json!(1)),
    ] {
        let first = all.first(&format!("site/{topic}"));
        let reading: serde_json::Value = serde_json::from_slice(&first.payload).unwrap();
        assert_eq!(reading["value"], value, "{topic}");
    }
    assert_eq!(gateway.count("/sources/metrics/refused/field/count"), 1);
}
