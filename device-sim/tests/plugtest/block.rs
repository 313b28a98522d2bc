//! TD_COAP_BLOCK: block-wise transfers (RFC 7959).

use proto::coap::{Block, BlockSize, Code, Method, OptionNumber, Request};
use serde_json::json;

use super::aiocoap::aiocoap;
use super::libcoap::libcoap;
use super::raw::{Raw, get};
use super::server::Server;

/// Two blocks of the largest size, the second one not full.
fn large_body() -> String {
    (0..200).map(|line| format!("line {line}\n")).collect()
}

/// Fetches `/large` in blocks of `size` that the client asks for; how many there were.
fn early_negotiation(size: BlockSize) -> u32 {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    let (mut body, mut etag, mut number) = (Vec::new(), None, 0);
    loop {
        let asked = Block { number, more: false, size };
        let mut request = get("large");
        request.options.push_uint(OptionNumber::BLOCK2, asked.encode());
        let response = client.ask(b"t", &request);
        assert_eq!(response.code, Code::CONTENT);
        let block = response.block2().unwrap();
        assert_eq!((block.number, block.size), (number, size));
        assert_eq!(response.payload.len(), size.bytes());
        let tag = response.options.etag();
        assert!(tag.is_some() && (number == 0 || tag == etag), "one representation");
        etag = tag;
        body.extend(response.payload);
        number += 1;
        if !block.more {
            break;
        }
    }
    assert_eq!(body.len(), 1280);
    assert_eq!(body, libcoap(server.address, "/large", &[]).into_bytes());
    number
}

/// The first request says the size of the blocks: the server keeps to it.
#[test]
fn td_coap_block_01_get_early_negotiation() {
    assert_eq!(early_negotiation(BlockSize::from_exponent(2).unwrap()), 20);
}

/// The first request says nothing: the server answers with a first block, and the client fetches
/// the others, in smaller blocks if it likes.
#[test]
fn td_coap_block_02_get_late_negotiation() {
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    let first = client.ask(b"t", &get("large"));
    let block = first.block2().unwrap();
    assert_eq!((block.number, block.more, block.size), (0, true, BlockSize::MAX));
    assert_eq!(first.options.first_uint(OptionNumber::SIZE2), Some(1280));
    let small = BlockSize::from_exponent(2).unwrap();
    let mut body = first.payload;
    for number in 16..20 {
        let mut request = get("large");
        let asked = Block { number, more: false, size: small };
        request.options.push_uint(OptionNumber::BLOCK2, asked.encode());
        let response = client.ask(b"t", &request);
        let block = response.block2().unwrap();
        assert_eq!((block.number, block.more, block.size), (number, number < 19, small));
        body.extend(response.payload);
    }
    let whole = aiocoap(server.address, &json!([{"method": "GET", "path": "/large"}]));
    assert_eq!(whole[0]["payload"].as_str().unwrap().as_bytes(), body);
}

/// A large PUT arrives in blocks, each acknowledged with 2.31, and is the new state as a whole;
/// the server answers with the smaller size that the client changes to.
#[test]
fn td_coap_block_03_put_late_negotiation() {
    let server = Server::start();
    let body = large_body();
    let put = json!({"method": "PUT", "path": "/large-update", "payload": body, "format": 0});
    let steps = json!([put, {"method": "GET", "path": "/large-update"}]);
    let results = aiocoap(server.address, &steps);
    assert_eq!((&results[0]["code"], &results[1]["code"]), (&json!("2.04"), &json!("2.05")));
    assert_eq!(results[1]["payload"], body);

    let mut client = Raw::connect(server.address);
    let small = BlockSize::from_exponent(2).unwrap();
    let blocks = [
        (
            Block { number: 0, more: true, size: BlockSize::from_exponent(3).unwrap() },
            Code::CONTINUE,
        ),
        (Block { number: 2, more: true, size: small }, Code::CONTINUE),
        (Block { number: 3, more: false, size: small }, Code::CHANGED),
    ];
    for (block, code) in blocks {
        let from = block.offset();
        let part = &body[from..from + block.size.bytes()];
        let mut request = Request::new(Method::Put).path("large-update").payload(part);
        request.options.push_uint(OptionNumber::BLOCK1, block.encode());
        let response = client.ask(b"t", &request);
        let answered =
            Block::of(&response.options, OptionNumber::BLOCK1, BlockSize::MAX).unwrap().unwrap();
        assert_eq!((response.code, answered.number), (code, block.number));
    }
    let stored = libcoap(server.address, "/large-update", &[]);
    assert_eq!(stored, body[..256].trim_end_matches('\n'));
}

/// A large POST creates a resource, whose location is in the response to the last block.
#[test]
fn td_coap_block_04_post_creates_a_large_resource() {
    let server = Server::start();
    let body = large_body();
    let post = json!({"method": "POST", "path": "/large-create", "payload": body, "format": 0});
    let steps = json!([post, {"method": "GET", "path": "/large-create/1"}]);
    let results = aiocoap(server.address, &steps);
    assert_eq!((&results[0]["code"], &results[1]["payload"]), (&json!("2.01"), &json!(body)));
    assert_eq!(results[0]["location_path"], json!(["large-create", "1"]));
}

/// A large POST has a large response: blocks both ways.
#[test]
fn td_coap_block_05_post_both_ways() {
    let server = Server::start();
    let body = large_body();
    let capitals = body.to_uppercase();
    let post = json!({"method": "POST", "path": "/large-post", "payload": body, "format": 0});
    let results = aiocoap(server.address, &json!([post]));
    assert_eq!((&results[0]["code"], &results[0]["payload"]), (&json!("2.04"), &json!(capitals)));
    let arguments = ["-m", "post", "-b", "128", "-t", "0", "-e", &body];
    assert_eq!(libcoap(server.address, "/large-post", &arguments), capitals.trim_end());
}

/// The smallest blocks that there are.
#[test]
fn td_coap_block_06_get_early_negotiation_of_16_bytes() {
    assert_eq!(early_negotiation(BlockSize::MIN), 80);
}

#[test]
fn body_over_the_limit_is_refused_with_the_limit() {
    // RFC 7959 §2.9.3
    let server = Server::start();
    let mut client = Raw::connect(server.address);
    let mut request = Request::new(Method::Put).path("large-update").payload([b'x'; 1024]);
    let limit = u32::try_from(device_sim::plugtest::MAX_BODY).unwrap();
    let block = Block { number: limit / 1024, more: false, size: BlockSize::MAX };
    request.options.push_uint(OptionNumber::BLOCK1, block.encode());
    let response = client.ask(b"t", &request);
    assert_eq!(response.code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(response.options.first_uint(OptionNumber::SIZE1), Some(limit));
}
