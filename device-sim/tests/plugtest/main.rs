//! `device-sim plugtest` against the cases of the ETSI CoAP plugtests, driven from outside by
//! aiocoap, by libcoap's client, and by datagrams where a case is about messages.
//!
//! The cases are named as in the test descriptions of ETSI (CoAP#4: `TD_COAP_CORE`, `OBS`, `BLOCK`,
//! `LINK`). Their texts are retold from memory: each test says what it checks. No test waits for a
//! time to pass where it can wait for a condition; that somebody gets no notification is seen while
//! a witness gets some.
//!
//! Needs Debian's libcoap3-bin, and aiocoap as `tests/setup` installs it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test did not expect ends it"
)]

mod aiocoap;
mod block;
mod command;
mod core;
mod libcoap;
mod link;
mod observe;
mod raw;
mod relay;
mod server;
#[path = "../../../tests/harness/temp.rs"]
#[expect(dead_code, reason = "only its ports are needed here")]
mod temp;
