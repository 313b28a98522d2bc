//! Nodes of the link protocol (`docs/link-protocol.md`), over serial lines, TCP and UDP.
//!
//! A device lives through one node after the other, which [`LinkCore`] plays: each start has an epoch of its
//! own, and what was not acknowledged before is forgotten with the memory that it was in. In the ledger a
//! reading is known by device, epoch and the sequence number of its report, which are those on the wire:
//! reports are numbered in the order in which the node takes them, and where it has to begin another epoch,
//! those that are open are numbered again.
//!
//! A node obeys: it answers a command with the value that came with it, and takes files into its memory. Where
//! it has a [`Duty`] it notes what it carries out, does not always obey, and stays for commands after its last
//! report.

mod core;
mod duty;
mod line;

use std::io;
use std::net::SocketAddr;

use proto::Instant;
use proto::link::MAX_FRAME;
use tokio_util::sync::CancellationToken;

use self::core::ACK_TIMEOUT;
pub use self::core::{LinkCore, LinkEvent, LinkIdentity, LinkOutput, link_framer, stuffed};
pub use self::duty::{Attendance, Duty};
use self::line::{Line, Unsent};
use super::reconnect::Reconnect;
use super::{PATIENCE, SerialPort, Surroundings, TransportError, udp};
use crate::Via;
use crate::device::Device;

/// A node of the link protocol.
#[derive(Debug)]
pub struct LinkUplink {
    /// What its frames come over.
    pub carrier: LinkCarrier,
    /// Who it is.
    pub identity: LinkIdentity,
}

/// What frames come over.
#[derive(Debug)]
pub enum LinkCarrier {
    /// A pseudo-terminal.
    Serial {
        /// The port.
        port: SerialPort,
        /// The speed of the line in bits per second; a pseudo-terminal has none of its own.
        baud: u32,
    },
    /// A connection to where the gateway listens.
    Tcp(SocketAddr),
    /// Datagrams to where the gateway listens.
    Udp(SocketAddr),
}

/// Why a line is left.
enum Leave {
    /// The device was stopped.
    Stopped,
    /// It starts again.
    Restart,
}

impl LinkUplink {
    /// What it speaks.
    pub const fn via(&self) -> Via {
        match self.carrier {
            LinkCarrier::Serial { .. } => Via::LinkSerial,
            LinkCarrier::Tcp(_) => Via::LinkTcp,
            LinkCarrier::Udp(_) => Via::LinkUdp,
        }
    }

    pub(super) async fn run(
        self,
        mut device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) -> Result<Option<SerialPort>, TransportError> {
        let via = self.via();
        let (mut line, mut reconnect) = match self.carrier {
            LinkCarrier::Serial { port, baud } => (Some(Line::serial(port, baud)), None),
            LinkCarrier::Udp(gateway) => (Some(Line::udp(udp::connect(gateway).await?)), None),
            LinkCarrier::Tcp(gateway) => (None, Some(Reconnect::new(gateway))),
        };
        let attendance = self.identity.duty.as_ref().map(|duty| duty.attendance.until.clone());
        let leave = attendance.unwrap_or_else(|| stop.clone());
        let name = device.id().to_owned();
        let mut core = LinkCore::new(surroundings.now(), self.identity, &name, device.channels());
        loop {
            let mut life = Life {
                via,
                device: &mut device,
                surroundings: &surroundings,
                core: &mut core,
                unsent: Unsent::default(),
            };
            let left = life.run(&mut line, reconnect.as_mut(), &stop, &leave).await;
            life.core.forget();
            life.tell();
            match left {
                Leave::Stopped => return Ok(line.and_then(Line::into_port)),
                Leave::Restart => core.restart(surroundings.now()),
            }
        }
    }
}

/// A device from one start to the next.
struct Life<'a> {
    via: Via,
    device: &'a mut Device,
    surroundings: &'a Surroundings,
    core: &'a mut LinkCore,
    unsent: Unsent,
}

impl Life<'_> {
    /// Lives on `line`, and on the next whenever it breaks; reports until `stop`, and is there until `leave`.
    async fn run(
        &mut self,
        line: &mut Option<Line>,
        mut reconnect: Option<&mut Reconnect>,
        stop: &CancellationToken,
        leave: &CancellationToken,
    ) -> Leave {
        loop {
            if let Some(open) = line {
                match self.serve(open, stop, leave).await {
                    Ok(left) => {
                        // Who loses its power loses its connection.
                        if reconnect.is_some() {
                            *line = None;
                        }
                        return left;
                    }
                    Err(error) => tracing::debug!(device = self.device.id(), %error, "no line"),
                }
            }
            let Some(reconnect) = &mut reconnect else {
                // A line that cannot break; it is not asked all the time why it does.
                let pause =
                    self.surroundings.clock.sleep_until(self.surroundings.now() + ACK_TIMEOUT);
                if leave.run_until_cancelled(pause).await.is_none() {
                    return Leave::Stopped;
                }
                continue;
            };
            *line = None;
            let connected = reconnect.next(self.device.id(), self.surroundings, leave).await;
            let Some(stream) = connected else { return Leave::Stopped };
            *line = Some(Line::tcp(stream));
            self.unsent.clear();
            self.core.handle_connected(self.surroundings.now());
        }
    }

    /// Until the line breaks, the device starts again, or `leave` and the last acknowledgement.
    async fn serve(
        &mut self,
        line: &mut Line,
        stop: &CancellationToken,
        leave: &CancellationToken,
    ) -> io::Result<Leave> {
        let clock = self.surroundings.clock;
        let mut buffer = vec![0; 2 * MAX_FRAME];
        let mut leave_at = Instant::FAR_FUTURE;
        self.core.handle_timeout(clock.now());
        loop {
            let wait = self.drain(line);
            let (stopping, leaving) = (stop.is_cancelled(), leave.is_cancelled());
            if leaving && leave_at == Instant::FAR_FUTURE {
                leave_at = clock.now() + PATIENCE;
            }
            if leaving && (self.core.is_idle() || clock.now() >= leave_at) {
                return Ok(Leave::Stopped);
            }
            if !leaving && clock.now() >= self.core.ends_at() {
                return Ok(Leave::Restart);
            }
            let may_report = !stopping && self.core.has_room();
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                () = leave.cancelled(), if !leaving => {}
                () = clock.sleep_until(leave_at), if leaving => {}
                () = clock.sleep_until(self.core.ends_at()), if !leaving => {}
                () = clock.sleep_until(self.device.poll_timeout()), if may_report => self.report(),
                () = clock.sleep_until(wait) => self.core.handle_timeout(clock.now()),
                ready = line.writable(&clock), if !self.unsent.is_empty() => {
                    ready?;
                    line.send(clock.now(), &mut self.unsent)?;
                }
                () = line.plug_changed() => {
                    line.change_plug();
                    self.unsent.clear();
                }
                ready = line.readable() => {
                    ready?;
                    let now = clock.now();
                    line.receive(&mut buffer, |frame| self.core.handle_frame(now, frame))?;
                }
            }
        }
    }

    /// Hands in the next report that is due.
    fn report(&mut self) {
        let now = self.surroundings.now();
        if let Some(report) = self.device.poll_report(now) {
            self.core.handle_report(now, report);
        }
    }

    /// Takes what the node has to send, and tells the ledger; the time until which it waits.
    fn drain(&mut self, line: &Line) -> Instant {
        loop {
            match self.core.poll_output() {
                LinkOutput::Transmit(frame) => self.unsent.push(line.stuffed(frame)),
                LinkOutput::Event(event) => self.handle_event(event),
                LinkOutput::Wait(until) => return until,
            }
        }
    }

    /// Tells the ledger, where there is no line to send on.
    fn tell(&mut self) {
        loop {
            match self.core.poll_output() {
                LinkOutput::Transmit(_) => {}
                LinkOutput::Event(event) => self.handle_event(event),
                LinkOutput::Wait(_) => return,
            }
        }
    }

    fn handle_event(&self, event: LinkEvent) {
        let ledger = &self.surroundings.ledger;
        match event {
            LinkEvent::Sent { due, readings } => ledger.handle_sent(due, self.via, &readings),
            LinkEvent::Acknowledged(readings) => ledger.handle_acknowledged(&readings),
            LinkEvent::Refused(readings) => ledger.handle_refused(&readings),
            LinkEvent::Unanswered(readings) => ledger.handle_unanswered(&readings),
        }
    }
}
