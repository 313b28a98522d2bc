//! Commands that devices fetch over HTTP, and the outcomes that they post.

use std::net::SocketAddr;
use std::thread;

use serde_json::{Value, json};

use crate::harness::asked::Site;
use crate::harness::clock::{wait_for, wait_until};
use crate::harness::http::{Answer, HttpClient, ask, request};

const CONFIG: &str = r#"
[sources.web]
link = { type = "http", bind = "127.0.0.1:0" }

[operations.turn]
source = "web"
devices = ["v-*"]
value = { type = "number" }
via = { type = "fetch" }

[operations.once]
source = "web"
devices = ["v-*"]
via = { type = "fetch" }
repeatable = false
"#;

fn get(gateway: SocketAddr, path: &str) -> Answer {
    ask(gateway, &format!("GET {path}"), b"")
}

fn post(gateway: SocketAddr, path: &str, body: &Value) -> u16 {
    ask(gateway, &format!("POST {path}"), body.to_string().as_bytes()).status
}

#[test]
fn a_device_that_waits_gets_its_command_at_once_and_answers() {
    let site = Site::start(CONFIG);
    let gateway = site.gateway.address("web");
    assert_eq!(get(gateway, "/cmd/v-1").status, 204);
    assert_eq!(get(gateway, "/cmd/v-1?wait=1").status, 204);
    let waiting = ["v-1", "v-2"]
        .map(|device| thread::spawn(move || get(gateway, &format!("/cmd/{device}?wait=60"))));
    site.ask("v-1", "turn", "1", "21.50");
    site.ask("v-2", "turn", "2", "5");
    let [first, second] = waiting.map(|waiting| waiting.join().unwrap());
    assert_eq!((first.status, first.header("content-type")), (200, Some("application/json")));
    let mut given = first.json();
    assert!(
        given
            .as_object_mut()
            .unwrap()
            .remove("seconds")
            .is_some_and(|left| left.as_u64() > Some(0))
    );
    assert_eq!(given, json!({"id": "1", "operation": "turn", "value": 21.5}));
    assert_eq!(second.json()["id"], "2");
    // What a device has is given again until it answers.
    site.wait_for("v-1", "1", "delivered");
    assert_eq!(get(gateway, "/cmd/v-1").json()["id"], "1");
    let done = json!({"state": "done", "result": {"position": 21}});
    assert_eq!(post(gateway, "/cmd/v-1/1", &done), 204);
    assert_eq!(site.wait_for("v-1", "1", "done")["result"], json!({"position": 21}));
    assert_eq!(post(gateway, "/cmd/v-1/1", &done), 404);
    assert_eq!(get(gateway, "/cmd/v-1").status, 204);
    let stuck = json!({"state": "failed", "code": "stuck", "detail": "at 40 %"});
    assert_eq!(post(gateway, "/cmd/v-2/2", &stuck), 204);
    let failed = site.wait_for("v-2", "2", "failed");
    assert_eq!(failed["error"], json!({"code": "stuck", "detail": "at 40 %"}));
}

#[test]
fn a_device_that_posts_readings_is_told_that_there_is_a_command() {
    let site = Site::start(CONFIG);
    let gateway = site.gateway.address("web");
    assert_eq!(ask(gateway, "POST /r/v-1/t", b"20").json(), json!({"readings": 1}));
    site.ask("v-1", "turn", "1", "5");
    site.wait_for("v-1", "1", "queued");
    let answer = wait_for("the hint", || {
        let answer = ask(gateway, "POST /r/v-1/t", b"21").json();
        answer.get("command").is_some().then_some(answer)
    });
    assert_eq!(answer, json!({"readings": 1, "command": true}));
    assert_eq!(ask(gateway, "POST /r/v-2/t", b"20").json(), json!({"readings": 1}));
}

#[test]
fn what_is_cancelled_or_too_late_is_not_given() {
    let site = Site::start(CONFIG);
    let gateway = site.gateway.address("web");
    site.ask("v-1", "turn", "1", "1");
    site.wait_for("v-1", "1", "queued");
    site.cancel("v-1", "1");
    assert_eq!(site.wait_for("v-1", "1", "failed")["error"]["code"], "cancelled");
    site.ask_json("v-2", "turn", &json!({"id": "2", "value": 2, "deadline": "1s"}));
    site.wait_for("v-2", "2", "expired");
    assert_eq!(get(gateway, "/cmd/v-1").status, 204);
    assert_eq!(get(gateway, "/cmd/v-2").status, 204);
    assert_eq!(post(gateway, "/cmd/v-2/2", &json!({"state": "done"})), 404);
}

#[test]
fn an_outcome_counts_over_kill_9_and_nothing_is_done_twice_that_must_not_be() {
    let mut site = Site::start(CONFIG);
    let gateway = site.gateway.address("web");
    site.ask("v-1", "turn", "1", "5");
    site.ask("v-2", "once", "2", "");
    let fetch = |gateway, path: &str| {
        wait_for("a command", || Some(get(gateway, path)).filter(|answer| answer.status == 200))
    };
    assert_eq!(fetch(gateway, "/cmd/v-1").json()["id"], "1");
    assert_eq!(fetch(gateway, "/cmd/v-2").json()["id"], "2");
    site.gateway.kill();
    site.gateway.launch();
    site.gateway.wait_until_up();
    let gateway = site.gateway.address("web");
    assert_eq!(site.wait_for("v-2", "2", "failed")["error"]["code"], "unknown_outcome");
    assert_eq!(get(gateway, "/cmd/v-2").status, 204);
    // The device did it while the gateway was away, and only has to say so.
    wait_until("the outcome to be taken", || {
        post(gateway, "/cmd/v-1/1", &json!({"state": "done"})) == 204
    });
    site.wait_for("v-1", "1", "done");
}

#[test]
fn only_who_may_post_readings_may_have_commands() {
    let config = CONFIG.replace("bind =", "token = \"s3cret\", bind =");
    let site = Site::start(&config);
    let gateway = site.gateway.address("web");
    assert_eq!(get(gateway, "/cmd/v-1").status, 401);
    assert_eq!(post(gateway, "/cmd/v-1/1", &json!({})), 401);
    let head = "GET /cmd/v-1\nAuthorization: Bearer s3cret";
    assert_eq!(ask(gateway, head, b"").status, 204);
    let foreign = "POST /cmd/v-1/1\nAuthorization: Bearer s3cret\nOrigin: http://evil.example";
    assert_eq!(ask(gateway, foreign, b"").status, 403);
}

#[test]
fn what_is_no_outcome_is_refused() {
    let site = Site::start(CONFIG);
    let gateway = site.gateway.address("web");
    for body in [&b"done"[..], b"{}", b"{\"state\":\"lost\"}", b"{\"state\":\"done\",\"x\":1}"] {
        assert_eq!(ask(gateway, "POST /cmd/v-1/1", body).status, 400);
    }
    assert_eq!(get(gateway, "/cmd/v-1?wait=long").status, 400);
    assert_eq!(ask(gateway, "HEAD /cmd/v-1", b"").status, 405);
    assert_eq!(ask(gateway, "POST /cmd/v-1", b"").status, 405);
    assert_eq!(get(gateway, "/cmd").status, 404);
}

#[test]
fn no_more_devices_wait_than_may_and_those_that_do_are_served() {
    let site = Site::start(&CONFIG.replace("bind =", "max_clients = 400, bind ="));
    let gateway = site.gateway.address("web");
    let wait = |number: usize| {
        let mut client = HttpClient::connect(gateway).unwrap();
        client.send(&request(&format!("GET /cmd/v-{number}?wait=300"), b"")).unwrap();
        client
    };
    let mut waiting: Vec<_> = (0..256).map(wait).collect();
    let refused = wait_for("a refusal", || {
        Some(get(gateway, "/cmd/v-256?wait=1")).filter(|answer| answer.status == 503)
    });
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    site.ask("v-100", "turn", "1", "5");
    assert_eq!(waiting[100].answer().unwrap().json()["id"], "1");
}
