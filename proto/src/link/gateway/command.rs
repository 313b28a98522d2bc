//! Commands: one at a time for each device, sent until it is answered or its time is over.

use alloc::vec::Vec;
use core::time::Duration;

use super::super::Fault;
use super::super::frame::{Flags, Frame, Kind, MAX_PAYLOAD};
use super::Gateway;
use super::device::{Unsealed, header};
use super::output::{CommandError, CommandOutcome, GatewayEvent, GatewayOutput};
use crate::Instant;

/// A command without an answer.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) number: u16,
    /// When it is sent again, or given up.
    pub(super) at: Instant,
    payload: Vec<u8>,
    deadline: Instant,
    pause: Duration,
}

impl<P: Clone> Gateway<P> {
    /// Sends a command, which ends with an event: what it is called there.
    ///
    /// # Errors
    /// When it cannot be sent now.
    pub fn command(
        &mut self,
        now: Instant,
        device: u32,
        payload: Vec<u8>,
        deadline: Instant,
    ) -> Result<u16, CommandError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(CommandError::TooLong);
        }
        let pause = self.config.command_timeout;
        let known = self.devices.get_mut(&device).ok_or(CommandError::Unreachable)?;
        if known.peer().is_none() || !known.is_open() {
            return Err(CommandError::Unreachable);
        }
        if known.command.is_some() {
            return Err(CommandError::Busy);
        }
        let number = known.last_command.checked_add(1).ok_or(CommandError::Exhausted)?;
        known.last_command = number;
        known.command = Some(Outstanding { number, at: now, payload, deadline, pause });
        self.timers.insert((now, device));
        self.handle_timeout(now);
        Ok(number)
    }

    /// Sends again what is due, and gives up what is late.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, number)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, number));
            let Some(device) = self.devices.get_mut(&number) else { continue };
            let (epoch, peer) = (device.epoch(), device.peer().cloned());
            let Some(mut command) = device.command.take() else { continue };
            if now >= command.deadline {
                self.end(number, command.number, CommandOutcome::TimedOut);
                continue;
            }
            let is_again = command.pause > self.config.command_timeout;
            let mut header = header(Kind::Command, number, epoch, command.number);
            header.flags = Flags { ack_requested: true, retransmit: is_again, time_wanted: false };
            let frame = Unsealed { header, payload: command.payload.clone() };
            command.at = (now + command.pause).min(command.deadline);
            command.pause *= 2;
            self.timers.insert((command.at, number));
            device.command = Some(command);
            if let Some(peer) = peer {
                let frame = frame.seal(self.key(number));
                self.outputs.push_back(GatewayOutput::Transmit { peer, frame });
            }
        }
    }

    /// A node has carried a command out.
    pub(super) fn response(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let header = &frame.header;
        let device = self.devices.get_mut(&header.device).ok_or(Fault::Stale)?;
        if device.epoch() != header.epoch {
            return Err(Fault::Stale);
        }
        // Another answer to a command that has one already needs no event.
        let answered = device.command.take_if(|command| command.number == header.sequence);
        if let Some(command) = answered {
            self.timers.remove(&(command.at, header.device));
            let outcome = CommandOutcome::Answered(frame.payload.to_vec());
            self.end(header.device, command.number, outcome);
        }
        Ok(())
    }

    fn end(&mut self, device: u32, number: u16, outcome: CommandOutcome) {
        let event = GatewayEvent::Command { device, number, outcome };
        self.outputs.push_back(GatewayOutput::Event(event));
    }
}
