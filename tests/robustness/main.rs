//! What a gateway does with what should not happen: garbage, a full disk, a slow disk, a port in
//! use, a second instance, an operator who stops it at a bad moment.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod disk;
mod full;
#[path = "../harness.rs"]
mod harness;
mod malformed;
mod starting;
mod stopping;
