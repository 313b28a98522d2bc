//! The gateway.
mod config;
mod pipeline;
fn main() {}
