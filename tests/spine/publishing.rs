//! What Mosquitto gets: topics, payloads, quality of service, and the gateway's own status.

use std::net::UdpSocket;

use serde_json::json;

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::mosquitto::{Mosquitto, Subscriber};

/// Two sources of lines and a route table.
fn gateway(mosquitto: &Mosquitto, routes: &str) -> Gateway {
    let source = |name: &str| {
        format!(
            "[sources.{name}]\nlink = {{ type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }}\n\
             decode = {{ type = \"senml\" }}\n"
        )
    };
    let sources = source("indoor") + &source("outdoor");
    Gateway::start(&format!("{sources}{}{routes}", mosquitto.table("local")))
}

/// Hands in one reading and waits until it is on disk.
fn send(gateway: &Gateway, source: &str, device: &str, name: &str, value: &str) {
    let mut client = LineClient::connect(gateway.address(source)).unwrap();
    let pack = format!(r#"[{{"bn":"{device}/","n":"{name}","u":"Cel",{value},"t":1795214340}}]"#);
    assert_eq!(client.ask(&pack).unwrap(), "ok");
}

#[test]
fn payloads_have_the_form_that_the_route_says() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("+/th-1/#");
    let forms = ["json", "senml+json", "senml+cbor", "value"];
    let routes = forms.map(|form| {
        let id = form.replace('+', "-");
        format!("[routes.{id}]\ntopic = \"{id}/{{device}}/{{name}}\"\npayload = \"{form}\"\n")
    });
    let gateway = gateway(&mosquitto, &routes.concat());
    send(&gateway, "indoor", "th-1", "temp", "\"v\":21.50");
    send(&gateway, "indoor", "th-1", "label", "\"vs\":\"warm\"");
    send(&gateway, "indoor", "th-1", "open", "\"vb\":true");
    send(&gateway, "indoor", "th-1", "raw", "\"vd\":\"AP8\"");

    let value = |name: &str| all.first(&format!("value/th-1/{name}")).payload;
    assert_eq!(value("temp"), b"21.50");
    assert_eq!(value("label"), b"warm");
    assert_eq!(value("open"), b"true");
    assert_eq!(value("raw"), [0, 255]);
    for (name, of_json, of_senml) in [
        ("temp", json!(21.5), json!({"v": 21.5})),
        ("label", json!("warm"), json!({"vs": "warm"})),
        ("open", json!(true), json!({"vb": true})),
        ("raw", json!("AP8"), json!({"vd": "AP8"})),
    ] {
        let text = all.first(&format!("json/th-1/{name}")).text().to_owned();
        assert!(text.contains(r#""time":"2026-11-20T22:39:00.000Z""#), "{text}");
        all.expect(
            &format!("json/th-1/{name}"),
            &json!({"gateway": "gw", "device": "th-1", "name": name, "value": of_json, "unit": "Cel"}),
        );
        let mut record = json!({"bn": "th-1/", "n": name, "u": "Cel", "t": 1_795_214_340});
        record.as_object_mut().unwrap().extend(of_senml.as_object().unwrap().clone());
        assert_eq!(all.first(&format!("senml-json/th-1/{name}")).json(), json!([record]));
    }
    // RFC 8428 §6: an array of one map with -2 (bn), 0 (n), 1 (u), 6 (t) and 2 (v).
    let cbor =
        b"\x81\xa5\x21\x65th-1/\x00\x64temp\x01\x63Cel\x06\x1a\x6b\x00\xcc\x04\x02\xf9\x4d\x60";
    assert_eq!(all.first("senml-cbor/th-1/temp").payload, cbor);
}

#[test]
fn routes_choose_by_source_device_and_name() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("+/#");
    let gateway = gateway(
        &mosquitto,
        r#"
[routes.by-source]
from = ["out*"]
topic = "source/{device}/{name}"
[routes.by-device]
device = "th-?"
topic = "device/{device}/{name}"
[routes.by-name]
from = ["indoor"]
name = "temp*"
topic = "name/{device}/{name}"
"#,
    );
    send(&gateway, "indoor", "th-1", "temp", "\"v\":1");
    send(&gateway, "outdoor", "th-22", "hum", "\"v\":2");
    send(&gateway, "indoor", "tank", "temp2", "\"v\":3");
    send(&gateway, "indoor", "tank", "level", "\"v\":4");
    send(&gateway, "indoor", "th-9", "last", "\"v\":5");
    // Readings are published in order, so that nothing can come after this one.
    all.first("device/th-9/last");
    let mut topics: Vec<_> = all.all().into_iter().map(|message| message.topic).collect();
    topics.retain(|topic| ["source/", "device/", "name/"].iter().any(|p| topic.starts_with(p)));
    topics.sort();
    let expected = [
        "device/th-1/temp",
        "device/th-9/last",
        "name/tank/temp2",
        "name/th-1/temp",
        "source/th-22/hum",
    ];
    assert_eq!(topics, expected);

    let status = gateway.status();
    assert_eq!(status["dropped"]["unrouted"]["count"], 1, "{status}");
    assert_eq!(status["dropped"]["unrouted"]["last"], "indoor: tank level");
    assert_eq!(status["routed"], 4);
    assert_eq!(status["routes"], json!({"by-source": 1, "by-device": 2, "by-name": 2}));
}

#[test]
fn quality_of_service_and_retain_are_those_of_the_route() {
    let mosquitto = Mosquitto::start();
    let live = mosquitto.subscribe("q/#");
    let gateway = gateway(
        &mosquitto,
        "[routes.zero]\nname = \"zero\"\ntopic = \"q/{name}\"\nqos = 0\n\
         [routes.one]\nname = \"one\"\ntopic = \"q/{name}\"\nqos = 1\nretain = true\n",
    );
    for (name, qos) in [("zero", 0), ("one", 1)] {
        send(&gateway, "indoor", "th-1", name, "\"v\":1");
        assert_eq!(live.first(&format!("q/{name}")).qos, qos);
    }
    // What was retained is there for a subscriber that comes later.
    let late = mosquitto.subscribe("q/#");
    assert!(late.first("q/one").retained);
    assert!(late.at("q/zero").is_empty());
    // A reading of quality of service 0 is released too.
    wait_until("nothing to wait", || gateway.status()["store"]["pending"]["local"] == 0);
}

#[test]
fn the_status_topic_says_whether_the_gateway_is_there() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("gateway/gw/status");
    let seen = |at: usize, payload: &[u8], all: &Subscriber| {
        wait_until(&format!("status {at}"), || all.at("gateway/gw/status").len() > at);
        assert_eq!(all.at("gateway/gw/status")[at].payload, payload);
        let late = mosquitto.subscribe("gateway/gw/status");
        let retained = late.first("gateway/gw/status");
        assert!(retained.retained, "the status is retained");
        assert_eq!(retained.payload, payload);
    };
    let mut gateway = gateway(&mosquitto, "[routes.all]\n");
    seen(0, b"online", &all);
    // The last will, which Mosquitto publishes.
    gateway.kill();
    seen(1, b"offline", &all);
    gateway.launch();
    seen(2, b"online", &all);
    assert!(gateway.terminate().success());
    seen(3, b"offline", &all);
}

#[test]
fn a_wrong_password_is_told_and_readings_wait() {
    let mosquitto = Mosquitto::start();
    let gateway = Gateway::start(&format!(
        "[sources.values]\ndevice = \"d\"\nlink = {{ type = \"udp\", bind = \"127.0.0.1:0\" }}\n\
         decode = {{ type = \"value\", name = \"t\" }}\n{}[routes.all]\n",
        mosquitto.table("local").replace("horse", "donkey")
    ));
    gateway.wait_for_count("/brokers/local/disconnects/refused/count", 1);
    let last = gateway.status()["brokers"]["local"]["disconnects"]["refused"]["last"].clone();
    assert!(last.as_str().unwrap().contains("password_file"), "{last}");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"1", gateway.address("values")).unwrap();
    gateway.wait_for_count("/store/pending/local", 1);
}

#[test]
fn a_route_converts_renames_and_thins_out_and_another_one_has_the_reading_as_it_is() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("#");
    let gateway = gateway(
        &mosquitto,
        "[routes.raw]\ntopic = \"raw/{name}\"\npayload = \"value\"\n\
         [routes.changes]\nwhen = 'name == \"temp\" && value < 85'\nconvert = { unit = \"degF\" }\n\
         rename = \"air_{name}\"\ndeadband = 0.5\ntopic = \"changes/{name}\"\n",
    );
    for value in ["\"v\":21.5", "\"v\":21.6", "\"v\":500", "\"vs\":\"warm\"", "\"v\":22"] {
        send(&gateway, "indoor", "th-1", "temp", value);
    }
    send(&gateway, "indoor", "th-1", "hum", "\"v\":40");
    // Readings are published in order, so that nothing can come after this one.
    all.first("raw/hum");
    let texts = |topic: &str| -> Vec<String> {
        all.at(topic).iter().map(|message| message.text().to_owned()).collect()
    };
    assert_eq!(texts("raw/temp"), ["21.5", "21.6", "500", "warm", "22"]);
    let changes = texts("changes/air_temp");
    assert_eq!(changes.len(), 2, "{changes:?}");
    for (text, (value, n)) in changes.iter().zip([(70.7, 1), (71.6, 5)]) {
        let message: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            [&message["name"], &message["value"], &message["unit"], &message["n"]],
            [&json!("air_temp"), &json!(value), &json!("degF"), &json!(n)]
        );
    }
    let status = gateway.status();
    let left_out = &status["brokers"]["local"]["left_out"];
    assert_eq!([&left_out["when"]["count"], &left_out["deadband"]["count"]], [2, 1]);
    assert_eq!(status["brokers"]["local"]["refused"]["when_failed"]["count"], 1);
}
