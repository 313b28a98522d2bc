//! TD_COAP_OBS: observation (RFC 7641).

use std::time::Duration;

use proto::coap::{Code, MessageType, Method, OptionNumber, Request};
use serde_json::json;

use super::aiocoap::aiocoap;
use super::raw::{Raw, Received, get, put};
use super::server::Server;

/// Notifications to see of a resource that changes.
const SEVERAL: usize = 4;

/// Lets a new observer of `/obs` see several notifications: time in which another one, who was
/// forgotten, gets none.
fn witness(server: &Server) {
    let mut witness = Raw::connect(server.address);
    witness.observe(b"witness", "obs");
    (0..SEVERAL).for_each(|_| drop(witness.notification()));
}

fn is_answer(message: &Received) -> bool {
    message.kind == MessageType::Acknowledgement
}

/// Observe grows from notification to notification (RFC 7641 §4.4), and the state with it.
fn assert_in_order(notifications: &[Received]) {
    for pair in notifications.windows(2) {
        assert!(pair[0].observe() < pair[1].observe(), "{pair:?}");
        assert_ne!(pair[0].payload, pair[1].payload);
    }
}

/// A Confirmable registration gets the state and then each change in a Confirmable message with
/// its token.
#[test]
fn td_coap_obs_01_confirmable_notifications() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    let first = client.observe(b"t", "obs");
    let mut all = vec![first];
    all.extend((0..SEVERAL).map(|_| client.notification()));
    for notification in &all[1..] {
        assert_eq!(notification.kind, MessageType::Confirmable);
        assert_eq!((notification.code, &*notification.token), (Code::CONTENT, &b"t"[..]));
        assert_eq!(notification.options.content_format(), Some(0));
    }
    assert_in_order(&all);
}

/// A Non-confirmable registration gets its changes in Non-confirmable messages.
#[test]
fn td_coap_obs_02_non_confirmable_notifications() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    let register = get("obs-non").option(OptionNumber::OBSERVE, &[]).non_confirmable();
    client.send(b"t", &register);
    let all: Vec<_> = (0..=SEVERAL).map(|_| client.receive()).collect();
    for notification in &all {
        assert_eq!(notification.kind, MessageType::NonConfirmable);
        assert_eq!((notification.code, &*notification.token), (Code::CONTENT, &b"t"[..]));
    }
    assert_in_order(&all);
}

/// A GET with Observe 1 and the same token gets the state without Observe and ends the observation
/// (RFC 7641 §3.6).
#[test]
fn td_coap_obs_03_stop_observing() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.observe(b"t", "obs");
    client.notification();
    let id = client.send(b"t", &get("obs").option(OptionNumber::OBSERVE, &[1]));
    let answer = client.receive_among_notifications(is_answer);
    assert_eq!((answer.id, answer.code, answer.observe()), (id, Code::CONTENT, None));
    witness(&server);
    assert!(client.waiting().is_empty());
}

/// A client that hears nothing for the Max-Age of the last notification knows that the server has
/// forgotten it, and registers anew. Here the server was restarted.
#[test]
fn td_coap_obs_04_client_notices_by_max_age() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.observe(b"t", "obs");
    let last = client.notification();
    let max_age = last.options.first_uint(OptionNumber::MAX_AGE).unwrap();
    let max_age = Duration::from_secs(max_age.into());
    assert!(max_age > super::server::INTERVAL, "the next change comes before it is over");
    let address = server.address.to_string();
    drop(server);
    client.waiting();
    let _server = Server::start_at(&address);
    assert!(client.receive_within(max_age).is_none(), "the new server knows no observers");
    client.observe(b"u", "obs");
    assert_eq!(&*client.notification().token, b"u");
}

/// A client that is off does not acknowledge: its notification is retransmitted MAX_RETRANSMIT
/// times, then it is forgotten (RFC 7641 §4.5).
#[test]
fn td_coap_obs_05_server_notices_a_client_that_is_off() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.observe(b"t", "obs");
    let sent: Vec<_> = (0..5).map(|_| client.receive()).collect();
    assert!(sent.iter().all(|one| one.id == sent[0].id), "one message, again and again: {sent:?}");
    // The last wait is 16 times the first one, which is at most 75 ms: 1.2 s, twelve changes.
    (0..5).for_each(|_| witness(&server));
    assert!(client.waiting().is_empty());
}

/// A Reset in answer to a notification ends the observation.
#[test]
fn td_coap_obs_06_reset_ends_an_observation() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.observe(b"t", "obs");
    client.notification();
    let rejected = client.receive();
    client.send_empty(MessageType::Reset, rejected.id);
    witness(&server);
    assert!(client.waiting().is_empty());
}

/// A DELETE of the resource tells its observers 4.04 and ends their observations.
#[test]
fn td_coap_obs_07_delete_ends_observations() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.observe(b"t", "obs");
    let mut other = Raw::connect(server.address);
    let delete = Request::new(Method::Delete).path("obs");
    assert_eq!(other.ask(b"d", &delete).code, Code::DELETED);
    assert_eq!(last(&client).code, Code::NOT_FOUND);
    assert_eq!(other.ask(b"p", &put("obs", "again")).code, Code::CREATED);
    witness(&server);
    assert!(client.waiting().is_empty());
}

/// A PUT in another Content-Format tells the observers an error and ends their observations:
/// 4.06 by RFC 7641 §4.2, where drafts and the case have 5.00.
#[test]
fn td_coap_obs_08_another_content_format_ends_observations() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.observe(b"t", "obs");
    let mut other = Raw::connect(server.address);
    let put = Request::new(Method::Put).path("obs").content_format(50).payload("{}");
    assert_eq!(other.ask(b"p", &put).code, Code::CHANGED);
    assert_eq!(last(&client).code, Code::NOT_ACCEPTABLE);
    witness(&server);
    assert!(client.waiting().is_empty());
}

/// The notification that ends an observation; it has no Observe (RFC 7641 §4.2).
fn last(client: &Raw) -> Received {
    let notification = client.receive_among_notifications(|one| !one.code.is_success());
    assert_eq!((&*notification.token, notification.observe()), (&b"t"[..], None));
    notification
}

/// A PUT by somebody else is told to the observers.
#[test]
fn td_coap_obs_09_update_by_another_client() {
    let server = Server::start();
    let put = json!({"method": "PUT", "path": "/obs", "payload": "put by another", "format": 0});
    let observe = json!({"method": "GET", "path": "/obs", "observe": SEVERAL, "meanwhile": [put]});
    let results = aiocoap(server.address, &json!([observe]));
    let result = &results[0];
    assert_eq!(result["meanwhile"][0]["code"], "2.04");
    let notifications = result["notifications"].as_array().unwrap();
    assert!(notifications.len() >= SEVERAL);
    assert!(notifications.iter().all(|one| one["code"] == "2.05" && one["type"] == "CON"));
    assert!(notifications.iter().any(|one| one["payload"] == "put by another"), "{result}");
}

/// A plain GET with another token does not end the observation.
#[test]
fn td_coap_obs_10_get_does_not_end_an_observation() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.observe(b"t", "obs");
    let id = client.send(b"u", &get("obs"));
    let answer = client.receive_among_notifications(is_answer);
    assert_eq!((answer.id, answer.observe()), (id, None));
    (0..SEVERAL).for_each(|_| assert_eq!(&*client.notification().token, b"t"));
}

#[test]
fn post_to_obs_reset_ends_its_observations() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.observe(b"t", "obs-reset");
    let post = Request::new(Method::Post).path("obs-reset");
    assert_eq!(Raw::connect(server.address).ask(b"p", &post).code, Code::CHANGED);
    assert_eq!(last(&client).code, Code::SERVICE_UNAVAILABLE);
}

#[test]
fn pumping_resource_changes_faster_than_others() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    client.observe(b"t", "obs");
    client.notification();
    let mut other = Raw::connect(server.address);
    let mut changes = |path| -> u32 {
        let text = other.ask(b"", &get(path)).text().to_owned();
        text.strip_prefix("change ").unwrap().parse().unwrap()
    };
    let (slow, fast) = (changes("obs"), changes("obs-pumping"));
    assert!(slow >= 1 && fast > slow, "{fast} and {slow}");
}

#[test]
fn large_notification_is_fetched_in_blocks() {
    // RFC 7959 §2.6
    let server = Server::start();
    let step = json!({"method": "GET", "path": "/obs-large", "observe": 2});
    let results = aiocoap(server.address, &json!([step]));
    for notification in results[0]["notifications"].as_array().unwrap() {
        assert_eq!(notification["payload"].as_str().unwrap().len(), 1280);
    }
}
