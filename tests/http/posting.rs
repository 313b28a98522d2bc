//! Readings that programs post.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::http::{Answer, HttpClient, ask};
use crate::harness::process::{any_program, program, run};
use crate::harness::sim::Recorder;
use crate::{config, start};

/// The last value of a name of a device.
fn last(gateway: &Gateway, path: &str) -> Value {
    get(gateway, path)["value"].clone()
}

/// The same, with everything that is known of it.
fn get(gateway: &Gateway, path: &str) -> Value {
    let head = format!("GET {path}\nAuthorization: Bearer s3cret");
    let answer = ask(gateway.address("web"), &head, b"");
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

fn taken(answer: &Answer, readings: usize) {
    assert_eq!(
        (answer.status, answer.json()),
        (202, json!({ "readings": readings })),
        "{answer:?}"
    );
}

#[test]
fn readings_come_in_every_format_and_go_to_the_broker() {
    let broker = Recorder::start();
    let gateway = Gateway::start(&config("", "", &broker.url()));
    let web = gateway.address("web");
    let post = |head: &str, body: &[u8]| ask(web, &format!("POST {head}"), body);
    taken(&post("/r\nContent-Type: application/json", br#"{"device":"a","t":21.50,"h":40}"#), 2);
    taken(&post("/r\nContent-Type: application/json", br#"[{"device":"b","t":1},{"t":2}]"#), 2);
    let pack = br#"[{"bn":"c/","n":"t","u":"Cel","v":3}]"#;
    taken(&post("/r\nContent-Type: application/senml+json; charset=utf-8", pack), 1);
    // RFC 8428 §6: [{-2: "d/", 0: "x", 2: 4}]
    let pack = b"\x81\xa3\x21\x62d/\x00\x61x\x02\x04";
    taken(&post("/r\nContent-Type: application/senml+cbor", pack), 1);
    // Without a type, the first byte says it; `curl -d` has one that says nothing.
    taken(
        &post("/r\nContent-Type: application/x-www-form-urlencoded", br#"{"device":"e","t":5}"#),
        1,
    );
    taken(&post("/r", br#"[{"bn":"f/","n":"t","v":6}]"#), 1);
    // The path names the device of what does not name itself.
    taken(&post("/r/g%20h", br#"{"t":7}"#), 1);
    taken(&post("/r/g", br#"[{"n":"t","v":8},{"bn":"i/","n":"t","v":9}]"#), 2);
    taken(&ask(web, "PUT /r/j/t", b"10.0"), 1);
    taken(&post("/r/j/s\nContent-Type: application/json", br#""on""#), 1);
    taken(&post("/r/j/b\nContent-Type: application/octet-stream", b"\x00\xff"), 1);

    let arrived = |device: &str, name: &str| {
        broker.readings().into_iter().find(|r| r.device == device && r.name == name)
    };
    for (device, name, value) in [
        ("a", "t", json!(21.5)),
        ("b", "t", json!(1)),
        ("127.0.0.1", "t", json!(2)),
        ("c", "t", json!(3)),
        ("d", "x", json!(4)),
        ("e", "t", json!(5)),
        ("f", "t", json!(6)),
        ("g h", "t", json!(7)),
        ("g", "t", json!(8)),
        ("i", "t", json!(9)),
        ("j", "t", json!(10.0)),
        ("j", "s", json!("on")),
        ("j", "b", json!("AP8")),
    ] {
        let what = format!("{device} {name}");
        let reading = crate::harness::clock::wait_for(&what, || arrived(device, name));
        assert_eq!(reading.value, value, "{what}");
    }
    assert_eq!(gateway.count("/sources/web/readings"), 14);
}

#[test]
fn a_decoder_reads_what_is_not_senml() {
    let gateway = start(
        "",
        r#"decode = { type = "json", device = "end_device_ids.device_id", value = "uplink.temp" }"#,
    );
    let web = gateway.address("web");
    // As a webhook of The Things Stack nests it.
    let hook = br#"{"end_device_ids":{"device_id":"dev-1"},"uplink":{"temp":21.5}}"#;
    taken(&ask(web, "POST /r\nContent-Type: application/json", hook), 1);
    taken(&ask(web, "POST /r\nContent-Type: application/vnd.other", hook), 1);
    assert_eq!(last(&gateway, "/r/dev-1/temp"), 21.5);
    let pack = br#"[{"bn":"c/","n":"t","v":3}]"#;
    taken(&ask(web, "POST /r\nContent-Type: application/senml+json", pack), 1);
}

#[test]
fn what_is_no_reading_is_refused_and_says_why() {
    let gateway = start("", "");
    let web = gateway.address("web");
    let mut client = HttpClient::connect(web).unwrap();
    for (head, body, status, reason, why) in [
        ("POST /r\nContent-Type: application/json", &b"{\n\"t\":}"[..], 400, "syntax", "line 2"),
        (
            "POST /r\nContent-Type: application/senml+json",
            br#"[{"n":"t"}]"#,
            400,
            "syntax",
            "SenML",
        ),
        ("POST /r\nContent-Type: application/json", b"{}", 400, "empty", "nothing in it"),
        ("POST /r", b"", 400, "syntax", "SenML"),
        ("POST /r/a/t", b" ", 400, "empty", "nothing in it"),
        ("POST /r/a/t\nContent-Type: text/plain", b"\xff", 400, "not_text", "UTF-8"),
        ("POST /r\nContent-Type: image/png", b"x", 415, "media_type", "application/json"),
        ("POST /r\nContent-Type: text/plain", b"1", 415, "media_type", "senml"),
        ("POST /r\nContent-Encoding: br", b"x", 415, "encoding", "gzip"),
        ("POST /r\nContent-Encoding: gzip", b"x", 400, "malformed", "gzip"),
        ("DELETE /r/a/t", b"", 405, "method", "GET"),
        ("POST /", b"x", 405, "method", "GET"),
        (
            "POST /r\nOrigin: http://evil.example",
            b"{\"t\":1}",
            403,
            "cross_origin",
            "another server",
        ),
    ] {
        let before = gateway.count(&format!("/sources/web/refused/{reason}/count"));
        let answer = client.ask(head, body).unwrap();
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(why), "{head}: {error}");
        let after = gateway.count(&format!("/sources/web/refused/{reason}/count"));
        assert_eq!(after, before + 1, "{head} is counted as {reason}");
    }
    let answer = client.ask("POST /x", b"x").unwrap();
    assert_eq!(answer.status, 404);
    let allowed = client.ask("OPTIONS /r", b"").unwrap();
    assert_eq!(
        (allowed.status, allowed.header("allow")),
        (204, Some("GET, HEAD, OPTIONS, POST, PUT"))
    );
    assert_eq!(allowed.header("access-control-allow-origin"), None);
    assert_eq!(client.ask("OPTIONS *", b"").unwrap().status, 204);
    // The connection has outlived all of it.
    taken(&client.ask("POST /r/a/t\nOrigin: http://gw", b"1").unwrap(), 1);
}

#[test]
fn a_body_has_a_largest_size_however_it_comes() {
    let gateway = start(r#", max_body = "1KiB""#, "");
    let web = gateway.address("web");
    let value = |size: usize| vec![b'x'; size];
    let text = "Content-Type: text/plain";
    taken(&ask(web, &format!("POST /r/a/t\n{text}"), &value(1024)), 1);
    let refused = ask(web, &format!("POST /r/a/t\n{text}"), &value(1025));
    assert_eq!(refused.status, 413, "{refused:?}");
    // Without a length it is refused on the way, also where the client goes on for long.
    let mut client = HttpClient::connect(web).unwrap();
    client.send(b"POST /r/a/t HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..200 {
        let chunk = [b"400\r\n", &value(1024)[..], b"\r\n"].concat();
        if client.send(&chunk).is_err() {
            break;
        }
    }
    assert_eq!(client.answer().unwrap().status, 413);
    // A client that asks does not send it.
    let mut client = HttpClient::connect(web).unwrap();
    let head = "POST /r/a/t HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: ";
    client.send(format!("{head}9999\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 413);
    let mut client = HttpClient::connect(web).unwrap();
    client.send(format!("{head}2\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 100);
    client.send(b"21").unwrap();
    taken(&client.answer().unwrap(), 1);
    assert_eq!(last(&gateway, "/r/a/t"), 21);
}

#[test]
fn more_readings_than_one_batch_holds_are_taken_together_up_to_a_limit() {
    let gateway = start("", "");
    let objects = |count: usize| {
        let objects: Vec<_> = (0..count).map(|n| format!("{{\"v{n}\":{n}}}")).collect();
        format!("[{}]", objects.join(",")).into_bytes()
    };
    let json = "POST /r/a\nContent-Type: application/json";
    let web = gateway.address("web");
    taken(&ask(web, json, &objects(2500)), 2500);
    assert_eq!(last(&gateway, "/r/a/v2499"), 2499);
    let refused = ask(web, json, &objects(10_241));
    assert_eq!(refused.status, 413, "{refused:?}");
    assert_eq!(gateway.count("/sources/web/messages"), 1, "a request is one message");
}

#[test]
fn requests_follow_each_other_on_a_connection_also_without_waiting() {
    let gateway = start("", "");
    let mut client = HttpClient::connect(gateway.address("web")).unwrap();
    let requests: Vec<u8> = (0..20)
        .flat_map(|n| crate::harness::http::request("POST /r/a/t", format!("{n}").as_bytes()))
        .collect();
    client.send(&requests).unwrap();
    for _ in 0..20 {
        taken(&client.answer().unwrap(), 1);
    }
    assert_eq!(last(&gateway, "/r/a/t"), 19);
    let old = "POST /r/a/t HTTP/1.0\r\nContent-Length: 2\r\n\r\n42";
    let mut client = HttpClient::connect(gateway.address("web")).unwrap();
    client.send(old.as_bytes()).unwrap();
    taken(&client.answer().unwrap(), 1);
    assert!(client.is_closed(), "HTTP/1.0 has one request a connection");
}

#[test]
fn only_who_has_the_token_posts_and_sees() {
    let mut gateway = Gateway::new(&config(r#", token_file = "token""#, "", "mqtt://127.0.0.1:1"));
    std::fs::write(gateway.dir().join("token"), "s3cret\n").unwrap();
    gateway.launch();
    gateway.wait_until_up();
    let web = gateway.address("web");
    for head in ["POST /r/a/t", "GET /r", "GET /r/a", "GET /events"] {
        for line in ["", "\nAuthorization: Bearer wrong", "\nAuthorization: Basic czNjcmV0"] {
            let body = if head.starts_with("POST") { &b"1"[..] } else { b"" };
            let answer = ask(web, &format!("{head}{line}"), body);
            assert_eq!(answer.status, 401, "{head}{line}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"), "{answer:?}");
        }
    }
    taken(&ask(web, "POST /r/a/t\nAuthorization: Bearer s3cret", b"1"), 1);
    taken(&ask(web, "POST /r/a/t\nAuthorization: Token s3cret", b"2"), 1);
    assert_eq!(ask(web, "GET /r/a/t\nauthorization: bearer s3cret", b"").status, 200);
    // The page has nothing in it, and asks for the token itself.
    assert_eq!(ask(web, "GET /", b"").status, 200);
    assert_eq!(gateway.count("/sources/web/refused/unauthorized/count"), 12);
    let log: String = gateway.log_entries().iter().map(Value::to_string).collect();
    assert!(!log.contains("s3cret"), "a secret is in no log");
}

#[test]
fn curl_and_python_are_understood() {
    let gateway = start("", "");
    let url = format!("http://{}/r", gateway.address("web"));
    let curl = || {
        let mut curl = program("curl", "curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60"]);
        curl
    };
    run(curl().args(["-d", r#"{"device":"c1","t":1}"#, &url]));
    let mut upload = curl()
        .args([
            "-H",
            "Content-Type: application/json",
            "-H",
            "Content-Encoding: gzip",
            "-H",
            "Expect: 100-continue",
            "--data-binary",
            "@-",
            &url,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let packed = Command::new("sh")
        .args(["-c", r#"printf '{"device":"c3","t":3}' | gzip"#])
        .output()
        .unwrap();
    upload.stdin.take().unwrap().write_all(&packed.stdout).unwrap();
    assert!(upload.wait().unwrap().success());
    let script = format!(
        r#"
import http.client, json, urllib.request
url = "{url}"
body = json.dumps({{"device": "p1", "t": 4}}).encode()
answer = urllib.request.urlopen(urllib.request.Request(url, body, {{"Content-Type": "application/json"}}))
assert answer.status == 202 and json.load(answer) == {{"readings": 1}}, answer.status
connection = http.client.HTTPConnection(url.split("/")[2])
def parts():
    yield b'[{{"bn":"p2/",'
    yield b'"n":"t","v":5}}]'
for _ in range(3):
    connection.request("POST", "/r", parts(), {{"Content-Type": "application/senml+json"}}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 202, answer.read()
    answer.read()
"#
    );
    run(any_program(&["python3"], "python3").args(["-c", &script]));
    for (path, value) in [("c1", 1), ("c3", 3), ("p1", 4), ("p2", 5)] {
        assert_eq!(last(&gateway, &format!("/r/{path}/t")), value, "{path}");
    }
}

/// InfluxDB 1.8, "API reference": `/write`, and InfluxDB 2: `/api/v2/write`.
#[test]
fn clients_of_influxdb_write_as_they_would_there() {
    let gateway = start(", token = \"s3cret\"", "");
    let web = gateway.address("web");
    let post = |path: &str, lines: &str| {
        let head = format!("POST {path}\nAuthorization: Token s3cret\nContent-Type: text/plain");
        ask(web, &head, lines.as_bytes())
    };
    for (path, time) in [
        ("/write?db=telegraf", "1795214340123456789"),
        ("/write?db=telegraf&precision=m", "29920239"),
        ("/api/v2/write?org=o&bucket=b&precision=ms", "1795214340123"),
        ("/api/v2/write?precision=s&org=o&bucket=b", "1795214340"),
    ] {
        let device = path.replace(['/', '?', '&', '='], "-");
        let lines =
            format!("cpu,host={device},cpu=cpu0 idle=98.5,busy=1i {time}\nmem,room=x v=1\n");
        let answer = post(path, &lines);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}: {answer:?}");
        let shown = get(&gateway, &format!("/r/{device}/cpu.cpu0.idle"));
        assert_eq!(shown["value"], 98.5, "{path}");
        let minute = shown["time"].as_str().unwrap();
        assert!(minute.starts_with("2026-11-20T22:39:"), "{path}: {minute}");
    }
    // A line without the tag is of whoever has sent it, and its name has all tags.
    assert_eq!(get(&gateway, "/r/127.0.0.1/mem.x.v")["value"], 1);
    let ping = ask(web, "GET /ping", b"");
    assert_eq!((ping.status, ping.body.len()), (204, 0), "{ping:?}");
    for (path, lines, status, why) in [
        ("/write?precision=d", "m v=1", 400, "precision"),
        ("/write", "m v", 400, "field has no value"),
        ("/write?precision=h", "m v=1 9223372036854775807", 400, "64 bits"),
        ("/api/v2/query", "", 404, "/api/v2/write"),
    ] {
        let answer = post(path, lines);
        let error = answer.json()["error"].to_string();
        assert!(answer.status == status && error.contains(why), "{path}: {answer:?}");
    }
    assert_eq!(ask(web, "POST /write", b"m v=1").status, 401);
}

#[test]
fn a_source_of_influx_lines_says_which_tag_is_the_device_also_over_http() {
    let gateway = start("", r#"decode = { type = "influx", device = "sensor", time_unit = "s" }"#);
    let web = gateway.address("web");
    let write = |path: &str, line: &str| ask(web, &format!("POST {path}"), line.as_bytes()).status;
    assert_eq!(write("/write", "m,sensor=a,host=pi v=1 1795214340"), 204);
    assert_eq!(get(&gateway, "/r/a/m.pi.v")["time"], "2026-11-20T22:39:00.000Z");
    assert_eq!(write("/write?precision=ms", "m,sensor=b v=1 1795214340000"), 204);
    assert_eq!(get(&gateway, "/r/b/m.v")["time"], "2026-11-20T22:39:00.000Z");
    assert_eq!(write("/write", "m,host=pi v=1"), 400, "a line without the device");
    assert_eq!(write("/r", "m,sensor=c v=1"), 202);
}
