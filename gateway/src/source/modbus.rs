//! A Modbus master on a serial port or a TCP connection, opened again whenever it is gone.
//!
//! What is asked when is decided by [`Master`]; this is its link. Readings are handed in like those
//! of any other source. While there is no room for them nothing is asked: a device keeps its
//! registers, so that what is not read now is read later as it is then. [`writes`] are orders, which go
//! before what is polled.

mod registers;
mod sample;
mod status;
mod writes;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use proto::modbus::{Event, Failure, Master, MasterConfig, Output, Read, Transport, rtu};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};

pub(crate) use self::sample::{AnswerError, answer_readings};
pub(crate) use self::status::{BusReport, BusStatus};
use super::Context;
use super::serial::{Port, PortError};
use super::tcp_client;
use crate::broker::Backoff;
use crate::causes::chain;
use crate::clock;
use crate::commands::Orders;
use crate::config::{BusPlace, ModbusLink, Parity, SerialLink, Source, StopBits};
use crate::pipeline::Receipt;
use crate::store::NotStored;
use registers::Registers;
use writes::{Writes, WrittenUnit};

/// Bytes read at a time.
const READ_BYTES: usize = 1024;
/// A link that takes no request for this long is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers that wait for the disk; then nothing is asked until one is settled.
const MAX_RECEIPTS: usize = 256;
/// How long nothing is asked after the store refused readings.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two attempts to open a port, which cost next to nothing.
const LONGEST_PORT_PAUSE: Duration = Duration::from_secs(2);

/// A bus.
pub(crate) struct ModbusSource {
    context: Context,
    link: ModbusLink,
    status: Arc<BusStatus>,
    units: Vec<Unit>,
    master: Master,
    receipts: FuturesUnordered<Receipt>,
    writes: Writes,
    seed: u64,
}

/// A unit, beside what its master knows of it.
struct Unit {
    address: u8,
    registers: Registers,
    /// Why it failed last, until it answers: what goes on is told once.
    failing: Option<&'static str>,
}

/// What carries bytes to a bus.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Why a bus cannot be reached.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("cannot open the port")]
    Port(#[from] PortError),
    #[error("cannot connect: {hint}")]
    Connect { hint: String, source: io::Error },
    #[error("the link leads nowhere")]
    Nowhere,
}

impl ModbusSource {
    pub(super) fn new(
        context: Context,
        link: &ModbusLink,
        source: &Source,
        orders: Option<Orders>,
        seed: u64,
    ) -> Self {
        let timeout = link.timeout.duration();
        let units = source.units.iter();
        let units = units.map(|(at, unit)| Registers::new(&context.name, *at, unit, timeout));
        let (registers, units): (Vec<_>, Vec<_>) = units.unzip();
        let transport = match link.place() {
            Some(BusPlace::Serial(path)) => line(&link.port(path)),
            Some(BusPlace::Tunnel(_)) => Transport::Tunnel,
            Some(BusPlace::Tcp(_)) | None => Transport::Tcp,
        };
        let addresses: Vec<_> = units.iter().map(|unit| unit.address).collect();
        let written = source.units.iter().zip(&registers).map(|((at, unit), registers)| {
            let (address, order) = (at.get(), unit.order);
            WrittenUnit { address, device: registers.device.clone(), order }
        });
        let writes = Writes::new(orders, written.collect());
        let devices = registers.iter().map(|registers| registers.device.clone());
        let status = Arc::new(BusStatus::new(addresses.iter().copied().zip(devices)));
        context.status.set_bus(Arc::clone(&status));
        let longest_rest = link.max_backoff.duration();
        let master = Master::new(MasterConfig { transport, units, longest_rest });
        let unit = |(address, registers)| Unit { address, registers, failing: None };
        let units = addresses.into_iter().zip(registers).map(unit).collect();
        let receipts = FuturesUnordered::new();
        Self { context, link: link.clone(), status, units, master, receipts, writes, seed }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        // What is read is handed in without waiting for the disk, so that ending early is safe.
        let _ = stop.run_until_cancelled(self.poll_forever()).await;
    }

    async fn poll_forever(&mut self) {
        let longest = match self.link.place() {
            Some(BusPlace::Serial(_)) => LONGEST_PORT_PAUSE,
            _ => self.link.max_backoff.duration(),
        };
        let mut backoff = Backoff::new(longest, self.seed);
        let mut is_known = false;
        loop {
            let opened = tokio::select! {
                opened = open(&self.link) => opened,
                never = self.writes.hold("the bus is not open") => match never {},
            };
            match opened {
                Ok(wire) => {
                    info!(source = %self.context.name, "the bus is open");
                    self.context.status.set_up(true);
                    is_known = false;
                    let since = clock::now();
                    let end = self.poll(wire).await;
                    self.handle_gone().await;
                    self.context.status.set_up(false);
                    self.context.status.reconnects.fetch_add(1, Ordering::Relaxed);
                    warn!(source = %self.context.name, reason = %end, "the bus is gone; opening it again");
                    if Backoff::is_stable(Some(since), clock::now()) {
                        backoff.reset();
                    }
                }
                Err(error) if !is_known => {
                    is_known = true;
                    let why = chain(&error);
                    warn!(source = %self.context.name, "{why}; trying again");
                    self.context.refuse("not_connected", &self.context.name, why, b"");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = sleep(backoff.pause()) => {}
                never = self.writes.hold("the bus is not open") => match never {},
            }
        }
    }

    /// The link is gone: what was under way is told.
    async fn handle_gone(&mut self) {
        self.master.handle_disconnected(clock::now());
        while let Output::Event(event) = self.master.poll_output(clock::now()) {
            // It fails only when the gateway is stopping.
            let _ = self.handle_event(event).await;
        }
    }

    /// Asks until the link is gone.
    async fn poll(&mut self, mut wire: Box<dyn Wire>) -> io::Error {
        self.master.handle_connected(clock::now());
        let mut buffer = [0; READ_BYTES];
        loop {
            self.writes.release(&self.master);
            let wait = match self.master.poll_output(clock::now()) {
                Output::Transmit { unit, frame } => {
                    trace!(source = %self.context.name, frame = ?Hex(&frame), "asked");
                    if let Some(status) = self.status.units.get(unit) {
                        status.count_request();
                    }
                    match timeout(WRITE_TIMEOUT, wire.write_all(&frame)).await {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => return error,
                        Err(late) => return late.into(),
                    }
                }
                Output::Event(event) => {
                    if let Err(stopping) = self.handle_event(event).await {
                        return stopping;
                    }
                    continue;
                }
                Output::Disconnect => {
                    return io::Error::new(
                        io::ErrorKind::TimedOut,
                        "nothing sensible comes from it",
                    );
                }
                Output::Wait(until) => until,
            };
            let until = wait.map(clock::deadline);
            let until = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = wire.read(&mut buffer) => match read {
                    Ok(0) => return io::Error::new(io::ErrorKind::UnexpectedEof, "it was closed"),
                    Ok(count) => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        trace!(source = %self.context.name, bytes = ?Hex(bytes), "heard");
                        self.master.handle_bytes(clock::now(), bytes);
                    }
                    Err(error) => return error,
                },
                Some(outcome) = self.receipts.next(), if !self.receipts.is_empty() => {
                    self.handle_receipt(outcome.unwrap_or(Err(NotStored::Failed)));
                }
                next = self.writes.next() => self.writes.go_on(next, &mut self.master),
                () = until => self.master.handle_timeout(clock::now()),
            }
        }
    }

    async fn handle_event(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Answered { unit, read, pdu, values, skipped } => {
                self.handle_answer(unit, read, skipped);
                let drafts = self.drafts(unit, values);
                let address = self.units.get(unit).map_or(0, |unit| unit.address);
                let peer = format!("unit {address}");
                if drafts.is_empty() {
                    self.context.status.received(pdu.len());
                    return Ok(());
                }
                let name = || self.context.name.to_string();
                let readings = self.context.complete(Ok(drafts), clock::wall(), &peer, name, &pdu);
                let Ok(readings) = readings else { return Ok(()) };
                self.submit(readings).await
            }
            Event::Failed { unit, read, why } => {
                self.handle_failure(unit, read, why);
                Ok(())
            }
            Event::Served { ticket, outcome } => {
                self.handle_served(ticket, outcome);
                Ok(())
            }
            Event::Discarded { unit, why } => {
                let address = unit.and_then(|unit| self.units.get(unit)).map(|unit| unit.address);
                let peer = address.map_or("the bus".to_owned(), |at| format!("asking unit {at}"));
                self.context.refuse(why.reason(), peer, why, b"");
                Ok(())
            }
            Event::Split { unit, read } => {
                let unit = self.units.get(unit).map(|unit| unit.address);
                info!(
                    source = %self.context.name, unit, from = read.address(), count = read.count(),
                    "the unit refused to read these at once; reading them one by one"
                );
                Ok(())
            }
        }
    }

    fn handle_answer(&mut self, unit: usize, read: Read, skipped: u64) {
        if let Some(status) = self.status.units.get(unit) {
            status.count_answer(clock::now(), skipped);
        }
        let Some(unit) = self.units.get_mut(unit) else { return };
        debug!(
            source = %self.context.name, unit = unit.address, from = read.address(),
            count = read.count(), skipped, "answered"
        );
        if unit.failing.take().is_some() {
            info!(source = %self.context.name, unit = unit.address, "the unit answers again");
        }
    }

    fn handle_failure(&mut self, unit: usize, read: Read, why: Failure) {
        let example = || {
            let table = format!("{:?}", read.table());
            format!("{} from {} of {table}: {why}", read.count(), read.address())
        };
        if let Some(status) = self.status.units.get(unit) {
            status.failed.count(why.reason(), example);
        }
        let Some(unit) = self.units.get_mut(unit) else { return };
        if unit.failing.replace(why.reason()) == Some(why.reason()) {
            debug!(source = %self.context.name, unit = unit.address, "{}", example());
        } else {
            warn!(source = %self.context.name, unit = unit.address, "{}", example());
        }
    }

    fn handle_served(&mut self, ticket: u64, outcome: Result<Vec<u8>, Failure>) {
        let failed = outcome.as_ref().err().copied();
        let Some(unit) = self.writes.handle_served(ticket, outcome, &mut self.master) else {
            return;
        };
        let Some(status) = self.status.units.get(unit) else { return };
        match failed {
            None => status.count_answer(clock::now(), 0),
            Some(why) => status.failed.count(why.reason(), || format!("a command: {why}")),
        }
    }

    /// The readings of an answer; values that are none are counted.
    fn drafts(
        &self,
        unit: usize,
        values: Vec<(usize, Result<proto::Value, proto::modbus::DecodeError>)>,
    ) -> Vec<crate::decode::Draft> {
        let Some(registers) = self.units.get(unit).map(|unit| &unit.registers) else {
            return Vec::new();
        };
        let drafts = values.into_iter().filter_map(|(at, value)| registers.draft(at, value));
        let drafts = drafts.filter_map(|draft| {
            let failed = self.status.units.get(unit).map(|status| &status.failed);
            draft
                .inspect_err(|error| {
                    if let Some(failed) = failed {
                        failed.count(error.reason(), || error.to_string());
                    }
                })
                .ok()
        });
        drafts.collect()
    }

    /// Hands readings in; waits for room, and nothing is asked meanwhile.
    async fn submit(&mut self, readings: Vec<proto::Reading>) -> io::Result<()> {
        while self.receipts.len() >= MAX_RECEIPTS {
            self.status.count_pause();
            if let Some(outcome) = self.receipts.next().await {
                self.handle_receipt(outcome.unwrap_or(Err(NotStored::Failed)));
            }
        }
        let mut submitted = pin!(self.context.inlet.submit(readings));
        let receipt = tokio::select! {
            biased;
            receipt = &mut submitted => receipt,
            () = std::future::ready(()) => {
                self.status.count_pause();
                submitted.await
            }
        };
        let receipt = receipt.map_err(|_| io::Error::other("the gateway is stopping"))?;
        self.receipts.push(receipt);
        Ok(())
    }

    /// What became of readings that were handed in.
    fn handle_receipt(&mut self, outcome: Result<(), NotStored>) {
        if let Err(why) = outcome {
            self.context.not_stored(why);
            self.status.count_pause();
            self.master.handle_pause(clock::now() + FULL_PAUSE);
        }
    }
}

/// The times of a line, from the settings of its port.
fn line(port: &SerialLink) -> Transport {
    let parity = u32::from(port.parity != Parity::None);
    let stop = if port.stop_bits == StopBits::Two { 2 } else { 1 };
    let bits = 1 + 8 + parity + stop;
    Transport::Line {
        character: rtu::character(port.baud, bits),
        silence: rtu::silence(port.baud, bits),
    }
}

async fn open(link: &ModbusLink) -> Result<Box<dyn Wire>, OpenError> {
    match link.place() {
        Some(BusPlace::Serial(path)) => Ok(Box::new(Port::open(&link.port(path))?)),
        Some(BusPlace::Tcp(server) | BusPlace::Tunnel(server)) => {
            let stream = tcp_client::connect(server).await.map_err(|source| {
                let hint = format!("{server}: {}", tcp_client::explain(&source));
                OpenError::Connect { hint, source }
            })?;
            Ok(Box::new(stream))
        }
        None => Err(OpenError::Nowhere),
    }
}

/// Bytes as people read them in a log.
struct Hex<'a>(&'a [u8]);

impl std::fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
