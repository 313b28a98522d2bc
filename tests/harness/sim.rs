//! The recording broker and the proxy of the device simulator, for tests without a runtime.

use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::thread::{self, JoinHandle};

use device_sim::Fleet;
use device_sim::broker::{Broker, BrokerConfig, Recorded};
use device_sim::fleet::{Delivered, FleetBuilder};
use device_sim::proxy::Proxy;
use serde_json::Value;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread that turns the wheels of what was started on it.
#[derive(Debug)]
struct Engine {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let _ = runtime.block_on(stopped);
        });
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A broker that records; it has the methods of [`Broker`] too.
#[derive(Debug)]
pub(crate) struct Recorder {
    broker: Broker,
    engine: Engine,
}

/// A proxy on the way to a broker of others; it has the methods of [`Proxy`] too.
#[derive(Debug)]
pub(crate) struct Detour {
    proxy: Proxy,
    _engine: Engine,
}

impl Detour {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let engine = Engine::start();
        let proxy = engine.wait(Proxy::start(target)).unwrap();
        Self { proxy, _engine: engine }
    }
}

impl Deref for Detour {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.proxy
    }
}

/// A simulated fleet on a thread of its own.
#[derive(Debug)]
pub(crate) struct Devices {
    fleet: Fleet,
    engine: Engine,
}

impl Devices {
    pub(crate) fn start(fleet: FleetBuilder) -> Self {
        let engine = Engine::start();
        let fleet = engine.wait(fleet.start()).unwrap();
        Self { fleet, engine }
    }

    /// Waits until so many more readings have arrived.
    pub(crate) fn wait_for_more(&mut self, more: u64) {
        let goal = self.fleet.progress().arrived + more;
        self.engine.wait(self.fleet.until_arrived(goal));
    }

    /// Ends them, once the gateway has answered; what has become of their readings.
    pub(crate) fn verify(self) -> Delivered {
        self.engine.wait(self.fleet.verify()).unwrap()
    }
}

/// A message with a reading.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) n: u64,
    pub(crate) dup: bool,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let engine = Engine::start();
        let broker = engine.wait(Broker::start(BrokerConfig::default())).unwrap();
        Self { broker, engine }
    }

    pub(crate) fn down(&self) {
        self.engine.wait(self.broker.down()).unwrap();
    }

    pub(crate) fn up(&self) {
        self.engine.wait(self.broker.up()).unwrap();
    }

    /// A proxy in front of it.
    pub(crate) fn proxy(&self) -> Proxy {
        self.engine.wait(Proxy::start(self.broker.address())).unwrap()
    }

    /// Every reading that arrived, in order.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        self.broker.recorded().iter().filter_map(Reading::parse).collect()
    }
}

impl Deref for Recorder {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

impl Reading {
    /// `None` for what is no reading: the gateway's own status.
    fn parse(recorded: &Recorded) -> Option<Self> {
        let object: Value = serde_json::from_slice(&recorded.payload).ok()?;
        Some(Self {
            device: object.get("device")?.as_str()?.to_owned(),
            name: object.get("name")?.as_str()?.to_owned(),
            value: object.get("value")?.clone(),
            n: object.get("n")?.as_u64()?,
            dup: recorded.dup,
        })
    }
}
