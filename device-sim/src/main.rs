//! device-sim
fn main() {}
