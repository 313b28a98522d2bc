//! The recording broker and the proxy of the device simulator, for tests without a runtime.

use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::thread::{self, JoinHandle};

use device_sim::SharedLedger;
use device_sim::broker::{Broker, BrokerConfig, Recorded};
use device_sim::clock::Clock;
use device_sim::device::{Device, DeviceConfig};
use device_sim::ledger::Limits;
use device_sim::proxy::Proxy;
use device_sim::transport::{SerialPort, Surroundings, TransportError, Uplink};
use serde_json::Value;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

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

/// Simulated devices that report until they are stopped.
#[derive(Debug)]
pub(crate) struct Devices {
    ledger: SharedLedger,
    stop: CancellationToken,
    running: Vec<tokio::task::JoinHandle<Result<Option<SerialPort>, TransportError>>>,
    engine: Engine,
}

impl Devices {
    /// What `devices` makes, on a thread of their own, to which its ports belong.
    pub(crate) fn start(devices: impl FnOnce() -> Vec<(DeviceConfig, Uplink)>) -> Self {
        let (engine, stop) = (Engine::start(), CancellationToken::new());
        let devices = {
            let _entered = engine.handle.enter();
            devices()
        };
        let clock = Clock::start();
        let surroundings =
            Surroundings { ledger: SharedLedger::new(Limits::default(), clock), clock };
        let start = |(config, uplink): (DeviceConfig, Uplink)| {
            let running = uplink.run(Device::new(config), surroundings.clone(), stop.clone());
            engine.handle.spawn(running)
        };
        let running = devices.into_iter().map(start).collect();
        Self { ledger: surroundings.ledger.clone(), running, stop, engine }
    }

    /// Readings that were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.ledger.verdict().total().acknowledged
    }

    /// Ends them, once the gateway has answered; what they know.
    pub(crate) fn stop(self) -> SharedLedger {
        self.stop.cancel();
        for device in self.running {
            self.engine.wait(device).unwrap().unwrap();
        }
        self.ledger
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
