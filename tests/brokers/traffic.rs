//! A device that goes on while brokers come and go.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::harness::clock::pace;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;

/// Ends the device also when the test panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Hands in 0, 1, 2 and so on, each when the last one is acknowledged, for as long as `during` goes
/// on; returns how many were acknowledged.
pub(crate) fn traffic(gateway: &Gateway, during: impl FnOnce()) -> u64 {
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let value = acknowledged.load(Ordering::Relaxed);
                assert_eq!(client.ask(&format!(r#"{{"device":"d","v":{value}}}"#)).unwrap(), "ok");
                acknowledged.store(value + 1, Ordering::Relaxed);
                pace();
            }
        });
        let _stop = StopOnDrop(&stop);
        during();
    });
    acknowledged.into_inner()
}
