//! Commands and their outcomes: who asks, and devices in datagrams that obey at once.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use device_sim::clock::Clock;
use rumqttc::{Client, Connection, Event, MqttOptions, NetworkOptions, Packet, QoS};

use super::Outcome;
use super::figure::{Metric, Run};

/// How long an outcome may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests that the client may have under way to the broker.
const UNDER_WAY: usize = 1000;

/// A device for all names: it answers each datagram at once.
pub(crate) struct Device {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Device {
    pub(crate) fn start() -> Outcome<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (address, stop) = (socket.local_addr()?, Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = spawn(move || {
            let mut buffer = [0; 256];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((_, from)) = socket.recv_from(&mut buffer) else { continue };
                // Whoever has asked may be gone.
                let _ = socket.send_to(b"OK", from);
            }
        });
        Ok(Self { address, stop, thread })
    }

    pub(crate) fn stop(self) -> Outcome<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the device panicked".into())
    }
}

/// Asks for `count` commands of `devices` devices, one after the other for each of them.
pub(crate) fn ask(broker: SocketAddr, root: &str, devices: u32, count: u32) -> Outcome<Run> {
    let (client, mut connection) = connect(broker, "bench-asker");
    client.subscribe(format!("{root}/response/+/+"), QoS::AtLeastOnce)?;
    wait_for_suback(&mut connection)?;
    wait_for_listener(&client, &mut connection, root)?;
    let clock = Clock::start();
    let mut asked = HashMap::new();
    let mut micros = Vec::new();
    let mut next = 0;
    let mut send = |device: u32| -> Outcome<()> {
        if next < count {
            let topic = format!("{root}/command/d{device}/level/{next}");
            asked.insert(next, clock.now());
            client.try_publish(topic, QoS::AtLeastOnce, false, "1")?;
            next += 1;
        }
        Ok(())
    };
    for device in 0..devices {
        send(device)?;
    }
    let begin = clock.now();
    let mut done = 0;
    while done < count {
        let event = connection.recv_timeout(PATIENCE).map_err(|_| "no outcome in time")?;
        let Event::Incoming(Packet::Publish(message)) = event? else { continue };
        if !has_ended(&message.payload) {
            continue;
        }
        let mut levels = message.topic.rsplit('/');
        let (id, device) = (levels.next(), levels.next());
        // What is no number is that of a probe.
        let Ok(id) = id.ok_or("a topic without an id")?.parse::<u32>() else { continue };
        let device = device.and_then(|device| device.strip_prefix('d'));
        micros.push((id, clock.now()));
        done += 1;
        send(device.ok_or("a topic without a device")?.parse()?)?;
    }
    let elapsed = clock.now() - begin;
    let times = micros.into_iter().filter_map(|(id, end)| Some(end - *asked.get(&id)?));
    let times = times.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).collect();
    let run = Run::default().with_rate(u64::from(count), elapsed);
    Ok(run.with_latency(Metric::AnswerP50, Metric::AnswerP99, times))
}

/// Asks until an outcome comes: a request that nobody has subscribed to yet is lost.
fn wait_for_listener(client: &Client, connection: &mut Connection, root: &str) -> Outcome<()> {
    const PAUSE: Duration = Duration::from_secs(1);
    for probe in 0..100 {
        let topic = format!("{root}/command/probe/level/p{probe}");
        client.try_publish(topic, QoS::AtLeastOnce, false, "1")?;
        while let Ok(event) = connection.recv_timeout(PAUSE) {
            if let Event::Incoming(Packet::Publish(message)) = event?
                && has_ended(&message.payload)
            {
                return Ok(());
            }
        }
    }
    Err("nobody takes commands".into())
}

/// Whether a state is the last one; any other is no outcome but `done` here.
fn has_ended(payload: &[u8]) -> bool {
    payload.windows(14).any(|part| part == br#""state":"done""#)
}

fn connect(broker: SocketAddr, id: &str) -> (Client, Connection) {
    let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
    options.set_inflight(1000);
    let (client, mut connection) = Client::new(options, UNDER_WAY);
    // Else each request would wait for the acknowledgement of the packet before it.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    connection.eventloop.set_network_options(network);
    (client, connection)
}

fn wait_for_suback(connection: &mut Connection) -> Outcome<()> {
    loop {
        let event = connection.recv_timeout(PATIENCE).map_err(|_| "no SUBACK in time")?;
        if let Event::Incoming(Packet::SubAck(_)) = event? {
            return Ok(());
        }
    }
}
