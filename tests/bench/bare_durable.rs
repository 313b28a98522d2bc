//! The least that keeps a promise: CoAP in, one sync for all that came meanwhile, 2.04 and MQTT
//! QoS 1 out. Nothing is decoded, de-duplicated or ever read back.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc as threads;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use super::Outcome;
use super::bare::{Link, bind};
use super::gateway::Folder;
use super::load::reading_index;
use super::process::own_thread_cpu;

const MAX_DATAGRAM: usize = 65_535;

/// A forwarder on a thread of its own, with another one for the disk.
pub(crate) struct BareDurable {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    network: JoinHandle<Outcome<Duration>>,
    disk: JoinHandle<Outcome<Duration>>,
    _folder: Folder,
}

/// Requests that one sync makes durable.
#[derive(Default)]
struct Batch {
    requests: Vec<(SocketAddr, Vec<u8>)>,
}

impl BareDurable {
    pub(crate) fn start(window: u16, dir: &Path, broker: SocketAddr) -> Outcome<Self> {
        let folder = Folder::create(dir)?;
        let file = File::create(folder.0.join("log"))?;
        let socket = bind()?;
        let address = socket.local_addr()?;
        let (to_disk, batches) = threads::sync_channel(1);
        let (synced, from_disk) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = threads::sync_channel(1);
        let disk = std::thread::spawn(move || keep(file, &batches, &synced));
        let network = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let socket = UdpSocket::from_std(socket)?;
                let link = Link::connect(broker, window).await?;
                ready.send(())?;
                let before = own_thread_cpu()?;
                forward(&socket, link, stopped, &to_disk, from_disk).await?;
                Ok(own_thread_cpu()? - before)
            })
        });
        is_ready.recv()?;
        Ok(Self { address, stop, network, disk, _folder: folder })
    }

    /// Ends it; the processor time of both threads.
    pub(crate) fn stop(self) -> Outcome<Duration> {
        self.stop.send(()).map_err(|()| "the forwarder ended early")?;
        let network = self.network.join().map_err(|_| "the forwarder panicked")??;
        Ok(network + self.disk.join().map_err(|_| "the log panicked")??)
    }
}

fn keep(
    mut file: File,
    batches: &threads::Receiver<Batch>,
    synced: &mpsc::Sender<Batch>,
) -> Outcome<Duration> {
    let mut bytes = Vec::new();
    while let Ok(batch) = batches.recv() {
        bytes.clear();
        for (_, request) in &batch.requests {
            bytes.extend_from_slice(request);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        synced.blocking_send(batch)?;
    }
    own_thread_cpu()
}

async fn forward(
    socket: &UdpSocket,
    mut link: Link,
    mut stop: oneshot::Receiver<()>,
    disk: &threads::SyncSender<Batch>,
    mut synced: mpsc::Receiver<Batch>,
) -> Outcome<()> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut filling = Batch::default();
    let mut to_publish: VecDeque<String> = VecDeque::new();
    let mut syncing = false;
    loop {
        if !syncing && !filling.requests.is_empty() {
            disk.send(std::mem::take(&mut filling))?;
            syncing = true;
        }
        while link.has_room()
            && let Some(payload) = to_publish.pop_front()
        {
            link.publish(payload.as_bytes())?;
        }
        tokio::select! {
            _ = &mut stop => return Ok(()),
            moved = link.moved() => moved?,
            batch = synced.recv() => {
                syncing = false;
                for (from, request) in batch.ok_or("the log has ended")?.requests {
                    answer(socket, from, &request).await?;
                    let index = reading_index(&request).ok_or("not one of our requests")?;
                    to_publish.push_back(index.to_string());
                }
            }
            received = socket.recv_from(&mut buffer) => {
                let mut received = received;
                loop {
                    match received {
                        Ok((len, from)) => {
                            let request = buffer.get(..len).unwrap_or_default().to_vec();
                            filling.requests.push((from, request));
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    }
                    received = socket.try_recv_from(&mut buffer);
                }
            }
        }
    }
}

/// 2.04 in the acknowledgement, with the request's message id and token (RFC 7252 §5.2.1).
async fn answer(socket: &UdpSocket, to: SocketAddr, request: &[u8]) -> Outcome<()> {
    let mut message = request.get(..8).ok_or("not one of our requests")?.to_vec();
    message.splice(..2, [0x64, 0x44]);
    socket.send_to(&message, to).await?;
    Ok(())
}
