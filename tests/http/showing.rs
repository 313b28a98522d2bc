//! The last values: once, and as they change.

use serde_json::{Value, json};

use crate::harness::clock::wait_until;
use crate::harness::http::{HttpClient, ask};
use crate::start;

#[test]
fn the_last_values_are_shown_in_the_format_that_is_wanted_and_outlive_a_restart() {
    let mut gateway = start("", "");
    let web = gateway.address("web");
    assert_eq!(ask(web, "GET /r", b"").json(), json!([]));
    assert_eq!(ask(web, "GET /r/a", b"").status, 404);
    let pack = br#"[{"bn":"a/","bt":1795214340,"n":"t","u":"Cel","v":1},{"n":"t","v":21.50,"u":"Cel"},{"n":"h","v":40}]"#;
    assert_eq!(ask(web, "POST /r", pack).status, 202);
    wait_until("the values to be there", || ask(web, "GET /r/a/h", b"").status == 200);
    let check = |web| {
        let one = ask(web, "GET /r/a/t\nAccept: application/json", b"");
        assert!(one.body.contains(r#""value":21.50"#), "with the digits that came: {one:?}");
        let mut one = one.json();
        assert!(one.as_object_mut().unwrap().remove("n").is_some());
        let expected = json!({"device":"a","name":"t","value":21.5,"unit":"Cel","time":"2026-11-20T22:39:00.000Z"});
        assert_eq!(one, expected);
        let all = ask(web, "GET /r/a", b"").json();
        let names: Vec<_> = all.as_array().unwrap().iter().map(|v| v["name"].clone()).collect();
        assert_eq!(names, ["h", "t"]);
    };
    check(web);
    let senml = ask(web, "GET /r/a/t\nAccept: application/senml+json", b"");
    assert_eq!(senml.header("content-type"), Some("application/senml+json"));
    assert_eq!(senml.json(), json!([{"bn":"a/","n":"t","u":"Cel","t":1_795_214_340,"v":21.5}]));
    let cbor = ask(web, "GET /r\nAccept: application/senml+cbor", b"");
    assert!(cbor.body.contains("a/"), "{cbor:?}");
    assert_eq!(ask(web, "GET /r\nAccept: text/csv", b"").status, 406);
    let head = ask(web, "HEAD /r/a/t", b"");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.header("content-length").is_some_and(|length| length != "0"), "{head:?}");

    gateway.terminate();
    gateway.launch();
    gateway.wait_until_up();
    let web = gateway.address("web");
    wait_until("the values of before", || ask(web, "GET /r/a/h", b"").status == 200);
    check(web);
}

/// The data of the next event of a kind.
fn event(client: &mut HttpClient, kind: &str) -> Value {
    loop {
        if client.line().unwrap() == format!("event: {kind}") {
            let data = client.line().unwrap();
            return serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        }
    }
}

#[test]
fn events_tell_what_is_there_and_what_changes_until_the_gateway_stops() {
    let mut gateway = start("", "");
    let web = gateway.address("web");
    for number in 0..1500 {
        // More than one event holds, in few requests.
        if number % 500 == 0 {
            let values: Vec<_> = (number..number + 500).map(|n| format!("\"v{n}\":{n}")).collect();
            let body = format!("{{\"device\":\"a\",{}}}", values.join(","));
            assert_eq!(ask(web, "POST /r", body.as_bytes()).status, 202);
        }
    }
    wait_until("all to be there", || {
        ask(web, "GET /r", b"").json().as_array().unwrap().len() == 1500
    });
    let mut client = HttpClient::connect(web).unwrap();
    client.send(b"GET /events HTTP/1.1\r\nHost: gw\r\n\r\n").unwrap();
    let head = client.answer().unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let mut seen = 0;
    while seen < 1500 {
        seen += event(&mut client, "readings").as_array().unwrap().len();
    }
    assert_eq!(seen, 1500);
    assert_eq!(ask(web, "PUT /r/a/v7", b"x").status, 202);
    let changed = event(&mut client, "readings");
    assert_eq!(
        (changed[0]["name"].clone(), changed[0]["value"].clone()),
        (json!("v7"), json!("x"))
    );
    assert_eq!(ask(web, "PUT /r/a/v7", b" ").status, 400);
    loop {
        let sources = event(&mut client, "sources");
        if sources["web"]["refused"]["empty"]["count"] == 1 {
            break;
        }
    }
    assert!(gateway.terminate().success(), "a page that is open holds nothing up");
    while client.line().is_ok() {}
}

#[test]
fn a_page_that_does_not_read_holds_up_nobody_and_there_are_so_many() {
    let gateway = start("", "");
    let web = gateway.address("web");
    let watch = || {
        let mut client = HttpClient::connect(web).unwrap();
        client.send(b"GET /events HTTP/1.1\r\nHost: gw\r\n\r\n").unwrap();
        client
    };
    let mut watchers: Vec<_> = (0..32).map(|_| watch()).collect();
    for watcher in &mut watchers {
        assert_eq!(watcher.answer().unwrap().status, 200);
    }
    let refused = watch().answer().unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    let before = gateway.memory_kib();
    for number in 0..40_u8 {
        let text = vec![b'a' + number % 26; 100_000];
        assert_eq!(ask(web, "PUT /r/a/t", &text).status, 202);
    }
    let grown = gateway.memory_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    drop(watchers);
    wait_until("room for a page", || watch().answer().unwrap().status == 200);
}
