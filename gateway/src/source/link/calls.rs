//! The way from orders to nodes: who wants to tell a node something asks the hub.

use std::collections::BTreeMap;

use proto::Instant;
use proto::link::{CommandError, CommandNumber, CommandOutcome, Gateway};
use tokio::sync::{mpsc, oneshot};

/// Questions that wait for the hub; who asks more waits.
const QUEUE: usize = 256;

/// The hub has ended.
pub(super) struct HubEnded;

/// A node that can be sent a command, and what that is to be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) device: u32,
    pub(super) number: CommandNumber,
}

/// What the hub is asked.
pub(super) enum Ask {
    /// Whether a device can be sent a command.
    Reach { name: String, answer: oneshot::Sender<Reach> },
    /// To send one.
    Send { slot: Slot, payload: Vec<u8>, deadline: Instant, answer: oneshot::Sender<Sent> },
}

/// Whether a device can be sent a command.
pub(super) enum Reach {
    Here(Slot),
    /// It is told when it is.
    Away(oneshot::Receiver<Slot>),
}

/// What became of a command.
pub(super) type Sent = Result<CommandOutcome, CommandError>;

/// Asks the hub.
#[derive(Clone)]
pub(super) struct Caller(mpsc::Sender<Ask>);

/// What the hub knows of those who have asked.
#[derive(Default)]
pub(super) struct Calls {
    /// By name of the device; who has stopped waiting is [forgotten](Self::forget_gone).
    waiting: BTreeMap<String, Vec<oneshot::Sender<Slot>>>,
    running: BTreeMap<u32, (u16, oneshot::Sender<Sent>)>,
}

/// A way to the hub.
pub(super) fn caller() -> (Caller, mpsc::Receiver<Ask>) {
    let (sender, asks) = mpsc::channel(QUEUE);
    (Caller(sender), asks)
}

impl Caller {
    /// Whether a device can be sent a command.
    pub(super) async fn reach(&self, name: &str) -> Result<Reach, HubEnded> {
        let (answer, resolved) = oneshot::channel();
        self.0.send(Ask::Reach { name: name.to_owned(), answer }).await.map_err(|_| HubEnded)?;
        resolved.await.map_err(|_| HubEnded)
    }

    /// Sends a command, and waits until it has come to its end.
    pub(super) async fn send(
        &self,
        slot: Slot,
        payload: Vec<u8>,
        deadline: Instant,
    ) -> Result<Sent, HubEnded> {
        let (answer, resolved) = oneshot::channel();
        let ask = Ask::Send { slot, payload, deadline, answer };
        self.0.send(ask).await.map_err(|_| HubEnded)?;
        resolved.await.map_err(|_| HubEnded)
    }
}

impl Calls {
    /// Does what is asked; `name` gives the name of a device.
    pub(super) fn handle<P: Clone>(
        &mut self,
        now: Instant,
        ask: Ask,
        gateway: &mut Gateway<P>,
        name: impl Fn(u32) -> String,
    ) {
        // Who has asked may be gone by now: then nobody misses the answer.
        match ask {
            Ask::Reach { name: wanted, answer } => {
                let found = gateway.replays().map(|(device, _)| device);
                let mut found = found.filter(|device| name(*device) == wanted);
                let slot = found.find_map(|device| slot(gateway, device));
                let _ = answer.send(match slot {
                    Some(slot) => Reach::Here(slot),
                    None => {
                        let (sender, receiver) = oneshot::channel();
                        self.waiting.entry(wanted).or_default().push(sender);
                        Reach::Away(receiver)
                    }
                });
            }
            Ask::Send { slot: Slot { device, number }, payload, deadline, answer } => {
                match gateway.command_as(now, (device, number), payload, deadline) {
                    Ok(()) => drop(self.running.insert(device, (number.number, answer))),
                    Err(why) => {
                        let _ = answer.send(Err(why));
                    }
                }
            }
        }
    }

    /// A command has come to its end.
    pub(super) fn handle_end(&mut self, device: u32, number: u16, outcome: CommandOutcome) {
        if let Some((_, answer)) =
            self.running.remove(&device).filter(|(running, _)| *running == number)
        {
            let _ = answer.send(Ok(outcome));
        }
    }

    /// A device may be sent a command now.
    pub(super) fn handle_reached<P: Clone>(
        &mut self,
        gateway: &Gateway<P>,
        device: u32,
        name: &str,
    ) {
        if !self.waiting.contains_key(name) {
            return;
        }
        let Some(slot) = slot(gateway, device) else { return };
        for waiting in self.waiting.remove(name).into_iter().flatten() {
            let _ = waiting.send(slot);
        }
    }

    /// Forgets those who wait no more.
    pub(super) fn forget_gone(&mut self) {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|waiting| !waiting.is_closed());
            !waiting.is_empty()
        });
    }
}

fn slot<P: Clone>(gateway: &Gateway<P>, device: u32) -> Option<Slot> {
    gateway.next_command(device).ok().map(|number| Slot { device, number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Timestamp;
    use proto::link::{Channel, GatewayConfig, GatewayOutput, Node, NodeConfig, NodeOutput};

    const NOW: Instant = Instant::ZERO;
    const WALL: Timestamp = Timestamp::from_nanos(0);

    fn name(device: u32) -> String {
        format!("node-{device}")
    }

    /// What a node sends until it waits.
    fn sent(node: &mut Node) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            match node.poll_output() {
                NodeOutput::Transmit(frame) => frames.push(frame),
                NodeOutput::Event(_) => {}
                NodeOutput::Wait(_) => return frames,
            }
        }
    }

    fn hello(gateway: &mut Gateway<()>, device: u32) {
        let channels = vec![Channel { name: "a".to_owned(), unit: None, exponent: 0 }];
        let mut node = Node::new(NodeConfig::new(device, 1, channels), 1);
        node.handle_timeout(NOW);
        for frame in sent(&mut node) {
            gateway.handle_frame(NOW, WALL, (), &frame);
        }
        while !matches!(gateway.poll_output(), GatewayOutput::Wait(_)) {}
    }

    fn reach(calls: &mut Calls, gateway: &mut Gateway<()>, wanted: &str) -> Reach {
        let (answer, mut resolved) = oneshot::channel();
        calls.handle(NOW, Ask::Reach { name: wanted.to_owned(), answer }, gateway, name);
        resolved.try_recv().unwrap()
    }

    #[test]
    fn who_waits_for_a_node_is_told_when_it_comes_and_others_are_not() {
        let (mut calls, mut gateway) = (Calls::default(), Gateway::new(GatewayConfig::default()));
        let Reach::Away(mut seven) = reach(&mut calls, &mut gateway, "node-7") else { panic!() };
        let Reach::Away(mut eight) = reach(&mut calls, &mut gateway, "node-8") else { panic!() };
        calls.handle_reached(&gateway, 7, &name(7));
        assert!(seven.try_recv().is_err(), "it cannot be told anything yet");
        hello(&mut gateway, 7);
        calls.handle_reached(&gateway, 7, &name(7));
        let slot = seven.try_recv().unwrap();
        assert_eq!((slot.device, slot.number.epoch), (7, 1));
        assert!(eight.try_recv().is_err());
        assert!(matches!(reach(&mut calls, &mut gateway, "node-7"), Reach::Here(_)));
        calls.forget_gone();
        assert_eq!(calls.waiting.len(), 1);
        drop(eight);
        calls.forget_gone();
        assert!(calls.waiting.is_empty(), "nobody waits for ever");
    }

    #[test]
    fn the_outcome_goes_to_who_has_sent_that_number() {
        let (mut calls, mut gateway) = (Calls::default(), Gateway::new(GatewayConfig::default()));
        hello(&mut gateway, 7);
        let Reach::Here(slot) = reach(&mut calls, &mut gateway, "node-7") else { panic!() };
        let mut send = |calls: &mut Calls| {
            let (answer, resolved) = oneshot::channel();
            let ask =
                Ask::Send { slot, payload: vec![0xf6], deadline: Instant::FAR_FUTURE, answer };
            calls.handle(NOW, ask, &mut gateway, name);
            resolved
        };
        let mut first = send(&mut calls);
        assert_eq!(send(&mut calls).try_recv(), Ok(Err(CommandError::Busy)));
        assert!(first.try_recv().is_err());
        calls.handle_end(7, slot.number.number, CommandOutcome::TimedOut);
        assert_eq!(first.try_recv(), Ok(Ok(CommandOutcome::TimedOut)));
    }
}
