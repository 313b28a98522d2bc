//! UDP and TCP clients.

use std::net::UdpSocket;

use serde_json::json;

use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::mosquitto::Mosquitto;

#[test]
fn datagrams_arrive() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = Gateway::start(&format!(
        r#"
[sources.objects]
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "json", device = "id", time = "at", time_unit = "ms", value = "data.temp", seq = "n", epoch = "boot" }}
[sources.packs]
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "senml" }}
[sources.lines]
link = {{ type = "udp", bind = "127.0.0.1:0" }}
frame = {{ type = "lines" }}
decode = {{ type = "csv", separator = ";", columns = ["id", "temp"], device = "id" }}
{}
[routes.all]
topic = "site/{{source}}/{{device}}/{{name}}"
"#,
        mosquitto.table("local")
    ));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |source: &str, datagram: &str| {
        socket.send_to(datagram.as_bytes(), gateway.address(source)).unwrap();
    };
    send("objects", r#"{"id":"th-1","at":1795214340123,"n":12,"boot":3,"data":{"temp":21.5}}"#);
    send("packs", r#"[{"bn":"urn:dev:mac:0024befffe804ff1:","n":"temp","u":"Cel","v":-3.25}]"#);
    send("lines", "a;1\nb;2\r\nc;3");

    all.expect(
        "site/objects/th-1/temp",
        &json!({"gateway": "gw", "device": "th-1", "name": "temp", "value": 21.5, "epoch": 3, "seq": 12}),
    );
    let time = all.first("site/objects/th-1/temp").json()["time"].clone();
    assert_eq!(time, "2026-11-20T22:39:00.123Z", "the time that the device gave");
    let device = "urn:dev:mac:0024befffe804ff1";
    all.expect(
        &format!("site/packs/{device}/temp"),
        &json!({"gateway": "gw", "device": device, "name": "temp", "value": -3.25, "unit": "Cel"}),
    );
    for (device, value) in [("a", 1), ("b", 2), ("c", 3)] {
        all.expect(
            &format!("site/lines/{device}/temp"),
            &json!({"gateway": "gw", "device": device, "name": "temp", "value": value}),
        );
    }
}

#[test]
fn each_line_of_a_tcp_client_gets_its_reply() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let gateway = Gateway::start(&format!(
        r#"
[sources.lines]
link = {{ type = "tcp", bind = "127.0.0.1:0", reply = true }}
decode = {{ type = "json", device = "device" }}
{}
[routes.all]
topic = "site/{{device}}/{{name}}"
"#,
        mosquitto.table("local")
    ));
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    // Together, and the last one in two pieces: replies come in the order of the lines.
    client.send(b"{\"device\":\"a\",\"t\":1}\nnonsense\n{\"t\":2}\n{\"device\":\"b\",").unwrap();
    client.send(b"\"t\":3}\n").unwrap();
    assert_eq!(client.reply().unwrap(), "ok");
    let reply = client.reply().unwrap();
    assert!(reply.starts_with("error: not a JSON object"), "{reply}");
    assert_eq!(client.reply().unwrap(), "error: `device` is missing");
    assert_eq!(client.reply().unwrap(), "ok");
    for (device, value) in [("a", 1), ("b", 3)] {
        all.expect(
            &format!("site/{device}/t"),
            &json!({"gateway": "gw", "device": device, "name": "t", "value": value}),
        );
    }
    assert_eq!(gateway.sum("/sources/lines/refused"), 2);
}
