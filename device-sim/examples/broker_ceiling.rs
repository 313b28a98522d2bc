//! How many QoS 1 publishes a second the broker takes: the ceiling for benchmarks against it.
//!
//! Broker and client each have a thread; the client is a bare loop over the codec with a window of
//! 5000. Run it with `--release`, optionally with the number of messages.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;

use bytes::BytesMut;
use device_sim::broker::{Broker, BrokerConfig, Counts, QoS, Recording};
use device_sim::clock::Clock;
use rumqttc::mqttbytes::v4::{Connect, Packet, Publish};

const WINDOW: u64 = 5000;
const PAYLOAD: usize = 100;
/// Publishes to one `write`, and the free window to wait for.
const BATCH: u64 = 500;
const MAX_PACKET: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let total = std::env::args().nth(1).map_or(Ok(2_000_000), |text| text.parse())?;
    let (started, address) = mpsc::sync_channel(1);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let broker = std::thread::spawn(move || serve(&started, stopped));
    let elapsed = publish(address.recv()?, total)?;
    stop.send(()).map_err(|()| "the broker ended early")?;
    let counts = broker.join().map_err(|_| "the broker panicked")??;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = total as f64 / elapsed.as_secs_f64();
    writeln!(std::io::stdout(), "{rate:.0} publishes/s; {} recorded", counts.publishes)?;
    Ok(())
}

fn serve(
    started: &mpsc::SyncSender<SocketAddr>,
    stopped: tokio::sync::oneshot::Receiver<()>,
) -> std::io::Result<Counts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = BrokerConfig { recording: Recording::Count, ..BrokerConfig::default() };
        let broker = Broker::start(config).await?;
        started.send(broker.address()).map_err(std::io::Error::other)?;
        // An error means that the client has failed, which is reported there.
        let _ = stopped.await;
        Ok(broker.shutdown().await)
    })
}

fn publish(address: SocketAddr, total: u64) -> Result<std::time::Duration, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (mut output, mut input) = (BytesMut::new(), BytesMut::new());
    let mut chunk = vec![0; 64 << 10];
    Packet::Connect(Connect::new("ceiling")).write(&mut output, MAX_PACKET)?;
    let payload = vec![b'x'; PAYLOAD];
    let (mut sent, mut acknowledged) = (0_u64, 0_u64);
    let clock = Clock::start();
    let begin = clock.now();
    while acknowledged < total {
        while sent < total && sent - acknowledged < WINDOW && output.len() < 64 << 10 {
            let mut publish = Publish::new("bench/topic", QoS::AtLeastOnce, payload.clone());
            publish.pkid = u16::try_from(sent % WINDOW)? + 1;
            publish.write(&mut output)?;
            sent += 1;
        }
        stream.write_all(&output)?;
        output.clear();
        while sent - acknowledged > WINDOW - BATCH || sent == total && acknowledged < total {
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Err("the broker closed the connection".into());
            }
            input.extend_from_slice(chunk.get(..read).unwrap_or_default());
            while input.len() >= 4 {
                if let Packet::PubAck(_) = Packet::read(&mut input, MAX_PACKET)? {
                    acknowledged += 1;
                }
            }
        }
    }
    Ok(clock.now() - begin)
}
