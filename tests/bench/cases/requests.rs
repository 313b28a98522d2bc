//! What a CoAP server uses for a request, by how many peers it has.

use super::{Case, case};
use crate::load::Ask;
use crate::servers::{READING, Server};

/// A peer has 65,536 message ids in EXCHANGE_LIFETIME (RFC 7252 §4.4).
const REQUESTS: u32 = 60_000;
/// For a server that takes a hundred times as long.
const FEW_REQUESTS: u32 = 10_000;
const MANY: u32 = 10_000;

/// A case, and what it is held against.
pub(super) const RATIOS: &[(&str, &str)] = &[
    ("requests-get-1-gateway", "requests-get-1-libcoap"),
    ("requests-get-1-gateway", "requests-get-1-aiocoap"),
    ("requests-get-1-gateway", "requests-echo-1"),
    ("requests-get-1-plugtest", "requests-get-1-libcoap"),
    ("requests-get-10k-gateway", "requests-get-1-gateway"),
    ("requests-get-10k-gateway", "requests-get-10k-libcoap"),
    ("requests-get-10k-gateway", "requests-get-10k-aiocoap"),
    ("requests-get-10k-gateway", "requests-echo-10k"),
    ("requests-get-10k-plugtest", "requests-get-1-plugtest"),
    ("requests-get-10k-plugtest", "requests-get-10k-libcoap"),
    ("requests-reading-10k-gateway", "requests-reading-1-gateway"),
    ("requests-put-1-gateway", "requests-put-1-libcoap"),
    ("requests-put-1-plugtest", "requests-put-1-libcoap"),
    ("requests-put-10k-gateway", "requests-put-1-gateway"),
    ("requests-put-10k-gateway", "requests-put-10k-libcoap"),
    ("requests-put-10k-plugtest", "requests-put-1-plugtest"),
    ("requests-put-10k-plugtest", "requests-put-10k-libcoap"),
    ("requests-echo-10k", "requests-echo-1"),
    ("requests-echo-1-batched", "requests-echo-1"),
];

/// Each of the gateway's beside what others need for the same.
pub(super) fn requests() -> Vec<Case> {
    use Server::{Aiocoap, BatchedEcho, Echo, Gateway, Libcoap, Plugtest};
    let time = "GET /time";
    let get = "the same of a small resource in memory";
    let put = "PUT of a small value to a resource in memory";
    let stored = "PUT of a value → synced → 2.04 → PUBACK";
    let last = "GET of a last reading";
    let echo = "a datagram in and one out, plain calls";
    let batched = "the same with recvmmsg and sendmmsg, 64 at once";
    [
        ("requests-get-1-gateway", time, Gateway, 1, Ask::get("time")),
        ("requests-get-1-plugtest", get, Plugtest, 1, Ask::get("test")),
        ("requests-get-1-libcoap", time, Libcoap, 1, Ask::get("time")),
        ("requests-get-1-aiocoap", get, Aiocoap, 1, Ask::get("value")),
        ("requests-echo-1", echo, Echo, 1, Ask::get("time")),
        ("requests-echo-1-batched", batched, BatchedEcho, 1, Ask::get("time")),
        ("requests-get-10k-gateway", time, Gateway, MANY, Ask::get("time")),
        ("requests-get-10k-plugtest", get, Plugtest, MANY, Ask::get("test")),
        ("requests-get-10k-libcoap", time, Libcoap, MANY, Ask::get("time")),
        ("requests-get-10k-aiocoap", get, Aiocoap, MANY, Ask::get("value")),
        ("requests-echo-10k", echo, Echo, MANY, Ask::get("time")),
        ("requests-reading-1-gateway", last, Gateway, 1, Ask::get(READING)),
        ("requests-reading-10k-gateway", last, Gateway, MANY, Ask::get(READING)),
        ("requests-put-1-gateway", stored, Gateway, 1, Ask::put(READING)),
        ("requests-put-1-plugtest", put, Plugtest, 1, Ask::put("test")),
        ("requests-put-1-libcoap", put, Libcoap, 1, Ask::put("example_data")),
        ("requests-put-1-aiocoap", put, Aiocoap, 1, Ask::put("value")),
        ("requests-put-10k-gateway", stored, Gateway, MANY, Ask::put(READING)),
        ("requests-put-10k-plugtest", put, Plugtest, MANY, Ask::put("test")),
        ("requests-put-10k-libcoap", put, Libcoap, MANY, Ask::put("example_data")),
        ("requests-put-10k-aiocoap", put, Aiocoap, MANY, Ask::put("value")),
    ]
    .into_iter()
    .map(|(name, what, server, peers, ask)| {
        let count = if matches!(server, Aiocoap) { FEW_REQUESTS } else { REQUESTS };
        let case = case(name, what, move |plan| server.measure(plan, peers, ask, count));
        Case { missing: Box::new(move || server.missing()), ..case }
    })
    .collect()
}
