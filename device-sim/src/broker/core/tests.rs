mod faults;
mod messages;
mod sessions;
mod version_4;

use super::*;
use crate::broker::QoS;
use crate::broker::faults::Faults;
use crate::broker::message::{Delivery, Message};
use crate::broker::wire::{ConnAck, Connect, Publish, Request, RetainHandling};

const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);
const C: ConnectionId = ConnectionId(3);

/// A core, its time and what it said.
struct Rig {
    core: Core,
    now: Instant,
    announced: Announced,
    faults: Faults,
    recorded: Vec<Recorded>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Limits::default(), None)
    }

    fn with(limits: Limits, login: Option<Login>) -> Self {
        Self {
            core: Core::new(limits, login),
            now: Instant::ZERO,
            announced: Announced::default(),
            faults: Faults::new(),
            recorded: Vec::new(),
        }
    }

    fn packet(&mut self, id: ConnectionId, packet: Incoming) -> Vec<Output> {
        self.core.handle_packet(self.now, id, packet);
        self.drain()
    }

    /// Everything but records, which are kept aside.
    fn drain(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Record(recorded) => self.recorded.push(recorded),
                Output::Send(..) | Output::Close(_) => outputs.push(output),
            }
        }
        outputs
    }

    fn open(&mut self, id: ConnectionId, connect: Connect) -> Vec<Output> {
        self.core.handle_opened(self.now, id, self.announced);
        self.packet(id, Incoming::Connect(Box::new(connect)))
    }

    /// A clean session that must be accepted.
    fn join(&mut self, id: ConnectionId, client: &str) {
        assert_eq!(self.open(id, connect(client)), [accepted(id, false)]);
    }

    /// The same with MQTT 5.
    fn join_5(&mut self, id: ConnectionId, client: &str) {
        assert_eq!(self.open(id, connect_5(client)), [accepted(id, false)]);
    }

    fn subscribe(&mut self, id: ConnectionId, filter: &str, qos: QoS) -> Vec<Output> {
        self.request(id, request(filter, qos))
    }

    fn request(&mut self, id: ConnectionId, request: Request) -> Vec<Output> {
        self.packet(id, Incoming::Subscribe { packet_id: 9, requests: vec![request] })
    }

    fn publish(&mut self, id: ConnectionId, message: Message) -> Vec<Output> {
        let packet_id = if message.qos == QoS::AtMostOnce { 0 } else { 7 };
        self.packet(id, publish(message, false, packet_id))
    }

    fn closed(&mut self, id: ConnectionId) -> Vec<Output> {
        self.core.handle_closed(self.now, id);
        self.drain()
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.now = self.now + time;
        self.core.handle_timeout(self.now);
        self.drain()
    }
}

fn connect(client: &str) -> Connect {
    Connect {
        version: Version::V4,
        client: client.to_owned(),
        clean_start: true,
        session_expiry: 0,
        keep_alive: 0,
        receive_maximum: None,
        maximum_packet_size: None,
        enhanced_authentication: false,
        will: None,
        user: None,
        password: None,
    }
}

fn connect_5(client: &str) -> Connect {
    Connect { version: Version::V5, ..connect(client) }
}

fn kept(client: &str) -> Connect {
    Connect { clean_start: false, session_expiry: u32::MAX, ..connect(client) }
}

fn kept_5(client: &str, session_expiry: u32) -> Connect {
    Connect { clean_start: false, session_expiry, ..connect_5(client) }
}

fn will(delay: u32) -> Option<Will> {
    Some(Will { message: message("will", "gone", QoS::AtMostOnce), delay })
}

fn with_will(client: &str) -> Connect {
    Connect { will: will(0), ..connect(client) }
}

fn request(filter: &str, qos: QoS) -> Request {
    let retain_handling = RetainHandling::Always;
    Request { filter: filter.to_owned(), subscription: qos.into(), retain_handling }
}

fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    Message::new(topic, payload.to_owned(), qos)
}

fn retained(topic: &str, payload: &str, qos: QoS) -> Message {
    Message { retain: true, ..message(topic, payload, qos) }
}

fn publish(message: Message, dup: bool, packet_id: u16) -> Incoming {
    Incoming::Publish(Publish { message, dup, packet_id, topic_alias: None })
}

fn disconnect() -> Incoming {
    Incoming::Disconnect { reason: Reason::Success, session_expiry: None }
}

fn accepted(id: ConnectionId, session_present: bool) -> Output {
    let announced = Announced::default();
    let (reason, assigned_client) = (Reason::Success, None);
    let ack = ConnAck { session_present, reason, assigned_client, announced };
    Output::Send(id, Outgoing::ConnAck(Box::new(ack)))
}

fn refused(id: ConnectionId, reason: Reason) -> [Output; 2] {
    let (announced, assigned_client) = (Announced::default(), None);
    let ack = ConnAck { session_present: false, reason, assigned_client, announced };
    [Output::Send(id, Outgoing::ConnAck(Box::new(ack))), Output::Close(id)]
}

/// What an MQTT 5 client gets that the broker closes.
fn disconnected(id: ConnectionId, reason: Reason) -> [Output; 2] {
    [Output::Send(id, Outgoing::Disconnect(reason)), Output::Close(id)]
}

fn suback(id: ConnectionId, reasons: Vec<Reason>) -> Output {
    Output::Send(id, Outgoing::SubAck { packet_id: 9, reasons })
}

fn puback(id: ConnectionId, packet_id: u16, reason: Reason) -> Output {
    Output::Send(id, Outgoing::PubAck(Ack { packet_id, reason }))
}

fn pubrec(id: ConnectionId, packet_id: u16, reason: Reason) -> Output {
    Output::Send(id, Outgoing::PubRec(Ack { packet_id, reason }))
}

fn pubcomp(id: ConnectionId, packet_id: u16, reason: Reason) -> Output {
    Output::Send(id, Outgoing::PubComp(Ack { packet_id, reason }))
}

fn delivered(id: ConnectionId, message: Message, dup: bool, packet_id: u16) -> Output {
    let delivery = Delivery::from(message);
    Output::Send(id, Outgoing::Publish { delivery, expiry: None, dup, packet_id })
}

fn sent(id: ConnectionId, message: Message, packet_id: u16) -> Output {
    delivered(id, message, false, packet_id)
}

fn repeated(id: ConnectionId, message: Message, packet_id: u16) -> Output {
    delivered(id, message, true, packet_id)
}

/// What `outputs` deliver to `id`, with what is left of its time.
fn deliveries(outputs: &[Output], to: ConnectionId) -> Vec<(Delivery, Option<u32>)> {
    let found = outputs.iter().filter_map(|output| match output {
        Output::Send(id, Outgoing::Publish { delivery, expiry, .. }) if *id == to => {
            Some((delivery.clone(), *expiry))
        }
        Output::Send(..) | Output::Close(_) | Output::Record(_) => None,
    });
    found.collect()
}

/// The payloads of what `outputs` deliver to `id`.
fn payloads(outputs: &[Output], to: ConnectionId) -> Vec<String> {
    let found = deliveries(outputs, to).into_iter();
    found
        .map(|(delivery, _)| String::from_utf8(delivery.message.payload.to_vec()).unwrap())
        .collect()
}
