//! Commands: one at a time for each device, sent until it is answered or its time is over.
//!
//! A node carries a number out once, and answers it as often as it comes. So what was sent under a number that
//! is kept on disk can be sent under it again by a later process, as long as the node's epoch lasts.

use alloc::vec::Vec;
use core::time::Duration;

use super::super::Fault;
use super::super::frame::{Flags, Frame, Kind, MAX_PAYLOAD};
use super::Gateway;
use super::device::{Unsealed, header};
use super::output::{CommandError, CommandNumber, CommandOutcome, GatewayEvent, GatewayOutput};
use crate::Instant;

/// The longest pause before a command is sent again.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A command without an answer.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) number: u16,
    /// When it is sent again, or given up.
    pub(super) at: Instant,
    payload: Vec<u8>,
    deadline: Instant,
    pause: Duration,
    was_sent: bool,
}

impl<P: Clone> Gateway<P> {
    /// What the next command to a device is called.
    ///
    /// # Errors
    /// When none can be sent now.
    pub fn next_command(&self, device: u32) -> Result<CommandNumber, CommandError> {
        self.devices.get(&device).ok_or(CommandError::Unreachable)?.next_command()
    }

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
    ) -> Result<CommandNumber, CommandError> {
        let number = self.next_command(device)?;
        self.command_as(now, (device, number), payload, deadline)?;
        Ok(number)
    }

    /// Sends a command to a device under this number: the next one, or one under which the same was sent
    /// before.
    ///
    /// # Errors
    /// When it cannot be sent now.
    pub fn command_as(
        &mut self,
        now: Instant,
        (device, number): (u32, CommandNumber),
        payload: Vec<u8>,
        deadline: Instant,
    ) -> Result<(), CommandError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(CommandError::TooLong);
        }
        let known = self.devices.get_mut(&device).ok_or(CommandError::Unreachable)?;
        known.use_number(number)?;
        let (number, pause) = (number.number, self.config.command_timeout);
        known.command =
            Some(Outstanding { number, at: now, payload, deadline, pause, was_sent: false });
        self.timers.insert((now, device));
        self.handle_timeout(now);
        Ok(())
    }

    /// A node is there again: what was sent to it may be lost.
    pub(super) fn send_again(&mut self, now: Instant, device: u32) {
        let command = self.devices.get_mut(&device).and_then(|known| known.command.as_mut());
        let Some(command) = command.filter(|command| now < command.deadline) else { return };
        self.timers.remove(&(command.at, device));
        (command.at, command.pause) = (now, self.config.command_timeout);
        self.timers.insert((now, device));
        self.handle_timeout(now);
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
            let mut header = header(Kind::Command, number, epoch, command.number);
            header.flags =
                Flags { ack_requested: true, retransmit: command.was_sent, time_wanted: false };
            let frame = Unsealed { header, payload: command.payload.clone() };
            command.at = (now + command.pause).min(command.deadline);
            command.pause = (command.pause * 2).min(MAX_PAUSE);
            command.was_sent = true;
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
