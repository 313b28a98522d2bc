//! TD_COAP_CORE: requests, responses and options of RFC 7252.

use proto::coap::{Code, MessageType, Method, OptionNumber, Request};
use serde_json::{Value, json};

use super::aiocoap::{aiocoap, aiocoap_through_proxy};
use super::libcoap::libcoap;
use super::raw::{Raw, get, put};
use super::relay::Relay;
use super::server::Server;

const TEXT: &str = "the default test resource";

fn codes(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["code"].as_str().unwrap()).collect()
}

fn types(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["type"].as_str().unwrap()).collect()
}

/// One method on `/test`, CON and NON, with a GET afterwards.
fn method_on_test(step: Value, kind: &str) -> Vec<Value> {
    let server = Server::start();
    let results = aiocoap(server.address, &json!([step, {"method": "GET", "path": "/test"}]));
    assert_eq!(types(&results), [kind, "ACK"]);
    results
}

fn put_of(non: bool) -> Value {
    json!({"method": "PUT", "path": "/test", "payload": "new", "format": 0, "non": non})
}

/// A GET brings 2.05 with the payload and its Content-Format, in the Acknowledgement.
#[test]
fn td_coap_core_01_get_confirmable() {
    let results = method_on_test(json!({"method": "GET", "path": "/test"}), "ACK");
    assert_eq!(codes(&results), ["2.05", "2.05"]);
    assert_eq!((&results[0]["payload"], &results[0]["format"]), (&json!(TEXT), &json!(0)));
}

/// A DELETE brings 2.02, and the resource is gone.
#[test]
fn td_coap_core_02_delete_confirmable() {
    let results = method_on_test(json!({"method": "DELETE", "path": "/test"}), "ACK");
    assert_eq!(codes(&results), ["2.02", "4.04"]);
}

/// A PUT brings 2.04, and the resource has the new state.
#[test]
fn td_coap_core_03_put_confirmable() {
    let results = method_on_test(put_of(false), "ACK");
    assert_eq!(codes(&results), ["2.04", "2.05"]);
    assert_eq!(results[1]["payload"], "new");
}

/// A POST with a payload brings 2.01 (the case allows 2.04 as well).
#[test]
fn td_coap_core_04_post_confirmable() {
    let post = json!({"method": "POST", "path": "/test", "payload": "posted", "format": 0});
    let results = method_on_test(post, "ACK");
    assert_eq!(codes(&results), ["2.01", "2.05"]);
    assert_eq!(results[1]["payload"], TEXT);
}

/// The same as case 01, Non-confirmable both ways.
#[test]
fn td_coap_core_05_get_non_confirmable() {
    let results = method_on_test(json!({"method": "GET", "path": "/test", "non": true}), "NON");
    assert_eq!(codes(&results), ["2.05", "2.05"]);
    assert_eq!((&results[0]["payload"], &results[0]["format"]), (&json!(TEXT), &json!(0)));
}

/// The same as case 02, Non-confirmable both ways.
#[test]
fn td_coap_core_06_delete_non_confirmable() {
    let step = json!({"method": "DELETE", "path": "/test", "non": true});
    assert_eq!(codes(&method_on_test(step, "NON")), ["2.02", "4.04"]);
}

/// The same as case 03, Non-confirmable both ways.
#[test]
fn td_coap_core_07_put_non_confirmable() {
    let results = method_on_test(put_of(true), "NON");
    assert_eq!(codes(&results), ["2.04", "2.05"]);
    assert_eq!(results[1]["payload"], "new");
}

/// The same as case 04, Non-confirmable both ways.
#[test]
fn td_coap_core_08_post_non_confirmable() {
    let post = json!({"method": "POST", "path": "/test", "payload": "posted", "non": true});
    assert_eq!(codes(&method_on_test(post, "NON")), ["2.01", "2.05"]);
}

/// A request that takes time is acknowledged by an Empty message with its id; the response is a
/// Confirmable message of its own.
#[test]
fn td_coap_core_09_get_separate() {
    separate_with_token(b"one");
}

/// The response has the token of the request, of any length.
#[test]
fn td_coap_core_10_token() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    for token in [&b"a"[..], b"abcd", b"12345678"] {
        assert_eq!(client.ask(token, &get("test")).text(), TEXT);
    }
}

/// A separate response has the token of the request, of any length.
#[test]
fn td_coap_core_11_token_with_separate_response() {
    separate_with_token(b"12345678");
}

fn separate_with_token(token: &[u8]) {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    let id = client.send(token, &get("separate"));
    let ack = client.receive();
    assert_eq!((ack.kind, ack.code, ack.id), (MessageType::Acknowledgement, Code::EMPTY, id));
    let response = client.receive();
    assert_eq!((response.kind, response.code), (MessageType::Confirmable, Code::CONTENT));
    assert_eq!((&*response.token, response.text()), (token, "it took a while"));
    assert_eq!(response.options.content_format(), Some(0));
    client.send_empty(MessageType::Acknowledgement, response.id);
    // It was acknowledged, so the next message is not its retransmission.
    assert_eq!(client.ask(b"next", &get("test")).code, Code::CONTENT);
}

/// A request without token gets a response without token.
#[test]
fn td_coap_core_12_no_token() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    assert_eq!(client.ask(b"", &get("test")).text(), TEXT);
}

/// A path of several segments, as several Uri-Path, finds its resource; half of it does not.
#[test]
fn td_coap_core_13_several_uri_paths() {
    let server = Server::start();
    assert_eq!(libcoap(server.address, "/seg1/seg2/seg3", &[]), "seg1/seg2/seg3");
    assert!(libcoap(server.address, "/seg1/seg2", &[]).starts_with("4.04"));
}

/// A query of several arguments, as several Uri-Query, arrives argument by argument.
#[test]
fn td_coap_core_14_several_uri_queries() {
    let server = Server::start();
    let printed = libcoap(server.address, "/query?first=1&second=2&third=3", &[]);
    assert_eq!(printed, "first=1\nsecond=2\nthird=3");
}

/// Piggybacked responses arrive over a link that loses datagrams, and a PUT is executed once.
#[test]
fn td_coap_core_15_lossy_link() {
    let server = Server::start();
    let relay = Relay::start(server.address, 15);
    let steps: Vec<_> = (0..12).map(|_| json!({"method": "GET", "path": "/test"})).collect();
    let results = aiocoap(relay.address, &json!(steps));
    assert!(results.iter().all(|result| result["payload"] == TEXT), "{results:?}");
    assert!(relay.lost() > 3, "{}", relay.lost());
    // Only the first one of these creates: a repeated one would be answered 4.12.
    let create = json!([
        {"method": "PUT", "path": "/create1", "payload": "x", "if_none_match": true},
        {"method": "DELETE", "path": "/create1"},
        {"method": "PUT", "path": "/create1", "payload": "x", "if_none_match": true},
    ]);
    assert_eq!(codes(&aiocoap(relay.address, &create)), ["2.01", "2.02", "2.01"]);
}

/// Separate responses arrive over a link that loses datagrams.
#[test]
fn td_coap_core_16_lossy_link_with_separate_response() {
    let server = Server::start();
    let relay = Relay::start(server.address, 16);
    let steps: Vec<_> = (0..12).map(|_| json!({"method": "GET", "path": "/separate"})).collect();
    let results = aiocoap(relay.address, &json!(steps));
    assert!(results.iter().all(|result| result["payload"] == "it took a while"), "{results:?}");
    assert!(relay.lost() > 3, "{}", relay.lost());
}

/// A Non-confirmable request that takes time gets no Acknowledgement, but a Non-confirmable
/// response, which is late: that of a second request overtakes it.
#[test]
fn td_coap_core_17_separate_non_confirmable() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.send(b"t", &get("separate").non_confirmable());
    assert_eq!(client.ask(b"u", &get("test")).code, Code::CONTENT);
    let response = client.receive();
    assert_eq!((response.kind, response.code), (MessageType::NonConfirmable, Code::CONTENT));
    assert_eq!((&*response.token, response.text()), (&b"t"[..], "it took a while"));
}

/// A POST that creates says where, in several Location-Path.
#[test]
fn td_coap_core_18_several_location_paths() {
    location_paths(aiocoap);
}

/// A POST that creates says where, with several Location-Query.
#[test]
fn td_coap_core_19_several_location_queries() {
    location_queries(aiocoap);
}

/// Accept chooses between formats; another one is 4.06.
#[test]
fn td_coap_core_20_accept() {
    let server = Server::start();
    for (accept, payload) in [("0", "text"), ("41", "<format>xml</format>")] {
        assert_eq!(libcoap(server.address, "/multi-format", &["-A", accept]), payload);
    }
    assert!(libcoap(server.address, "/multi-format", &["-A", "60"]).starts_with("4.06"));
    accept(aiocoap);
}

/// With the ETag that it got a client gets 2.03 while that is the state, then 2.05 with another.
#[test]
fn td_coap_core_21_etag() {
    etags(aiocoap);
}

/// If-Match with the ETag of the state lets a PUT through, with an earlier one it is 4.12.
#[test]
fn td_coap_core_22_if_match() {
    if_match(aiocoap);
}

/// If-None-Match lets the first PUT create the resource; the second one is 4.12.
#[test]
fn td_coap_core_23_if_none_match() {
    if_none_match(aiocoap);
}

/// Case 18 through a reverse proxy.
#[test]
fn td_coap_core_24_several_location_paths_through_a_reverse_proxy() {
    location_paths(aiocoap_through_proxy);
}

/// Case 19 through a reverse proxy.
#[test]
fn td_coap_core_25_several_location_queries_through_a_reverse_proxy() {
    location_queries(aiocoap_through_proxy);
}

/// Accept through a reverse proxy.
#[test]
fn td_coap_core_26_accept_through_a_reverse_proxy() {
    accept(aiocoap_through_proxy);
}

/// Case 21 through a reverse proxy.
#[test]
fn td_coap_core_27_etag_through_a_reverse_proxy() {
    etags(aiocoap_through_proxy);
}

/// Case 22 through a reverse proxy.
#[test]
fn td_coap_core_28_if_match_through_a_reverse_proxy() {
    if_match(aiocoap_through_proxy);
}

/// Case 23 through a reverse proxy.
#[test]
fn td_coap_core_29_if_none_match_through_a_reverse_proxy() {
    if_none_match(aiocoap_through_proxy);
}

/// Max-Age arrives through a reverse proxy as the server said it.
#[test]
fn td_coap_core_30_max_age_through_a_reverse_proxy() {
    let server = Server::start();
    let steps = json!([{"method": "GET", "path": "/obs"}]);
    let direct = aiocoap(server.address, &steps);
    let proxied = aiocoap_through_proxy(server.address, &steps);
    for result in [&direct[0], &proxied[0]] {
        assert_eq!((&result["code"], &result["max_age"]), (&json!("2.05"), &json!(1)));
    }
}

/// An Empty Confirmable message, a ping, is answered by a Reset with its id.
#[test]
fn td_coap_core_31_ping() {
    let server = Server::start();
    let client = Raw::connect(server.address);
    client.send_empty(MessageType::Confirmable, 0x1234);
    let answer = client.receive();
    assert_eq!((answer.kind, answer.code, answer.id), (MessageType::Reset, Code::EMPTY, 0x1234));
}

/// The published list of cases ends with 31. This one is ours: an unknown critical option in a
/// Confirmable request is 4.02 and nothing is executed, an elective one is ignored (RFC 7252
/// §5.4.1).
#[test]
fn td_coap_core_32_unknown_options() {
    const CRITICAL: OptionNumber = OptionNumber(65001);
    const ELECTIVE: OptionNumber = OptionNumber(65000);
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    let refused = client.ask(b"a", &put("test", "new").option(CRITICAL, b"x"));
    assert_eq!(refused.code, Code::BAD_OPTION);
    assert_eq!(client.ask(b"b", &get("test").option(ELECTIVE, b"x")).text(), TEXT);
    let delete = Request::new(Method::Delete).path("test").option(ELECTIVE, b"x");
    assert_eq!(client.ask(b"c", &delete).code, Code::DELETED);
}

/// How the steps of a case reach the server.
type Way = fn(std::net::SocketAddr, &Value) -> Vec<Value>;

fn location_paths(way: Way) {
    let server = Server::start();
    let results = way(
        server.address,
        &json!([
            {"method": "POST", "path": "/test", "payload": "posted", "format": 0},
            {"method": "GET", "path": "/location1/location2/location3"},
        ]),
    );
    assert_eq!(codes(&results), ["2.01", "2.05"]);
    assert_eq!(results[0]["location_path"], json!(["location1", "location2", "location3"]));
    assert_eq!(results[1]["payload"], "posted");
}

fn location_queries(way: Way) {
    let server = Server::start();
    let post = json!({"method": "POST", "path": "/location-query", "payload": "posted"});
    let results = way(server.address, &json!([post]));
    assert_eq!(codes(&results), ["2.01"]);
    assert_eq!(results[0]["location_query"], json!(["first=1", "second=2"]));
}

fn accept(way: Way) {
    let server = Server::start();
    let get = |format: u16| json!({"method": "GET", "path": "/multi-format", "accept": format});
    let results = way(server.address, &json!([get(0), get(41), get(60)]));
    assert_eq!(codes(&results), ["2.05", "2.05", "4.06"]);
    let formats = [&results[0]["format"], &results[1]["format"]];
    assert_eq!(formats, [&json!(0), &json!(41)]);
    assert_eq!(results[1]["payload"], "<format>xml</format>");
}

fn etags(way: Way) {
    let server = Server::start();
    let results = way(
        server.address,
        &json!([
            {"method": "GET", "path": "/validate"},
            {"method": "GET", "path": "/validate", "etag": 0},
            {"method": "PUT", "path": "/validate", "payload": "second", "format": 0},
            {"method": "GET", "path": "/validate", "etag": 0},
        ]),
    );
    assert_eq!(codes(&results), ["2.05", "2.03", "2.04", "2.05"]);
    let etags: Vec<_> = results.iter().map(|result| &result["etag"]).collect();
    assert!(etags[0].is_string() && etags[1] == etags[0] && etags[3] != etags[0], "{etags:?}");
    assert_eq!((&results[1]["payload"], &results[3]["payload"]), (&json!(""), &json!("second")));
}

fn if_match(way: Way) {
    let server = Server::start();
    let put = |payload: &str| json!({"method": "PUT", "path": "/validate", "payload": payload, "if_match": 0});
    let get = json!({"method": "GET", "path": "/validate"});
    let results = way(server.address, &json!([get, put("second"), put("third"), get]));
    assert_eq!(codes(&results), ["2.05", "2.04", "4.12", "2.05"]);
    assert_eq!(results[3]["payload"], "second");
}

fn if_none_match(way: Way) {
    let server = Server::start();
    let put = |payload: &str| json!({"method": "PUT", "path": "/create1", "payload": payload, "if_none_match": true});
    let get = json!({"method": "GET", "path": "/create1"});
    let results = way(server.address, &json!([get, put("first"), put("second"), get]));
    assert_eq!(codes(&results), ["4.04", "2.01", "4.12", "2.05"]);
    assert_eq!(results[3]["payload"], "first");
}
