//! The reference firmware: the same bytes as `proto`, and the built image in QEMU against the built
//! gateway.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]

#[path = "../harness.rs"]
mod harness;

mod board;
mod c_node;
mod nodes;
mod told;
