//! Units of a bus over Modbus TCP, which a gateway asks.
//!
//! A bus listens for all of them. What a unit answers is written down before it is written, and is then
//! owed: the protocol has no acknowledgement. Who asks for a unit that is not there is told so with
//! exception 11, as a converter would do.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::Reading;
use proto::modbus::{Exception, tcp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Surroundings;
use crate::Via;
use crate::device::Device;
use crate::modbus::{Answer, Register, Slave};

/// Masters that are connected at a time; the next waits.
const MAX_MASTERS: usize = 16;
/// The pause after a master that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// What is read at a time; with what is left of a frame, so much is kept.
const CHUNK: usize = 1024;

/// A bus on which units answer. Dropping it closes every connection.
#[derive(Debug)]
pub struct ModbusBus {
    units: Arc<Units>,
    _tasks: JoinSet<()>,
}

/// The way of one unit: it is asked.
#[derive(Debug)]
pub struct ModbusUplink {
    units: Arc<Units>,
    address: u8,
    registers: Arc<[Register]>,
}

/// The units that answer.
#[derive(Debug, Default)]
struct Units {
    there: Mutex<BTreeMap<u8, Unit>>,
    /// The first is there.
    open: Notify,
}

#[derive(Debug)]
struct Unit {
    slave: Slave,
    surroundings: Surroundings,
}

impl ModbusBus {
    /// Listens at `address`; nobody is let in before there is a unit.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let units = Arc::<Units>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&units)));
        Ok(Self { units, _tasks: tasks })
    }

    /// The way of the unit with this address.
    pub fn uplink(&self, address: u8, registers: Arc<[Register]>) -> ModbusUplink {
        ModbusUplink { units: Arc::clone(&self.units), address, registers }
    }
}

impl ModbusUplink {
    /// Answers until `stop`.
    pub(super) async fn run(
        self,
        device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) {
        let slave = Slave::new(device, self.registers);
        self.units.lock().insert(self.address, Unit { slave, surroundings });
        self.units.open.notify_one();
        stop.cancelled().await;
        // The connection stays: what was answered last may still be on its way.
        self.units.lock().remove(&self.address);
    }
}

impl Units {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u8, Unit>> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a unit answers, written down as sent; what to tell of it if it could not be written.
    fn answer(&self, address: u8, pdu: &[u8]) -> (Vec<u8>, Option<(Surroundings, Vec<Reading>)>) {
        let mut there = self.lock();
        let Some(Unit { slave, surroundings }) = there.get_mut(&address) else {
            let function = pdu.first().copied().unwrap_or_default();
            return (Exception::GATEWAY_TARGET_FAILED.encode(function), None);
        };
        let now = surroundings.now();
        let Answer { pdu, readings } = slave.handle_request(now, pdu);
        surroundings.ledger.handle_sent(now, Via::Modbus, &readings);
        (pdu, Some((surroundings.clone(), readings)))
    }
}

async fn accept(listener: TcpListener, units: Arc<Units>) {
    units.open.notified().await;
    let mut masters = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = masters.join_next() => {}
            accepted = listener.accept(), if masters.len() < MAX_MASTERS => match accepted {
                Ok((stream, master)) => {
                    let units = Arc::clone(&units);
                    masters.spawn(async move {
                        if let Err(error) = serve(stream, &units).await {
                            tracing::debug!(%master, %error, "no master any more");
                        }
                    });
                }
                // Of one that has gone already; without descriptors there may be some later.
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a master");
                    sleep(PAUSE).await;
                }
            },
        }
    }
}

/// Answers a master until it goes.
async fn serve(mut stream: TcpStream, units: &Units) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut kept, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        while let Some((frame, len)) = tcp::decode(&kept).map_err(io::Error::other)? {
            let (pdu, sent) = units.answer(frame.unit, frame.pdu);
            let answer = tcp::encode(frame.transaction, frame.unit, &pdu);
            if let Err(error) = stream.write_all(&answer).await {
                if let Some((surroundings, readings)) = sent {
                    surroundings.ledger.handle_unanswered(&readings);
                }
                return Err(error);
            }
            kept.drain(..len);
        }
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            len => kept.extend_from_slice(chunk.get(..len).unwrap_or_default()),
        }
    }
}
