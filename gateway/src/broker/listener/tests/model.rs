//! A broker in a few lines, for one client that subscribes.

use std::collections::BTreeSet;

use super::*;

/// A broker and what it remembers of one client.
pub(super) struct ModelBroker {
    protocol: Protocol,
    /// The message that each topic keeps.
    pub(super) retained: BTreeMap<String, u64>,
    /// Topics that the client has subscribed to, while there is a session.
    session: Option<BTreeSet<String>>,
    /// Messages for the client that it has not acknowledged, in order.
    queue: VecDeque<Queued>,
    connection: Option<Connection>,
    /// SUBSCRIBEs that came.
    pub(super) subscribes: usize,
}

#[derive(Clone)]
struct Queued {
    topic: String,
    number: u64,
    retain: bool,
    /// Its identifier on this connection.
    sent: Option<u16>,
}

#[derive(Default)]
struct Connection {
    input: BytesMut,
    clean: bool,
    is_accepted: bool,
    last_id: u16,
    answers: Vec<u8>,
}

impl ModelBroker {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            retained: BTreeMap::new(),
            session: None,
            queue: VecDeque::new(),
            connection: None,
            subscribes: 0,
        }
    }

    pub(super) fn connect(&mut self) {
        self.cut();
        self.connection = Some(Connection::default());
    }

    /// The connection is gone, with everything on it.
    pub(super) fn cut(&mut self) {
        if self.connection.take().is_some_and(|connection| connection.clean) {
            self.session = None;
            self.queue.clear();
        }
        for queued in &mut self.queue {
            queued.sent = None;
        }
    }

    /// Somebody publishes.
    pub(super) fn publish(&mut self, topic: &str, number: u64, retain: bool) {
        if retain {
            self.retained.insert(topic.to_owned(), number);
        }
        if self.session.as_ref().is_some_and(|topics| topics.contains(topic)) {
            self.enqueue(topic, number, false);
        }
    }

    fn enqueue(&mut self, topic: &str, number: u64, retain: bool) {
        self.queue.push_back(Queued { topic: topic.to_owned(), number, retain, sent: None });
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether the client has acknowledged every message.
    pub(super) fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        let Some(connection) = &mut self.connection else { return };
        connection.input.extend_from_slice(bytes);
        while let Some(connection) = &mut self.connection
            && let Some(packet) = read(self.protocol, &mut connection.input)
        {
            self.handle_packet(packet);
        }
    }

    fn handle_packet(&mut self, packet: Sent) {
        let protocol = self.protocol;
        let connection = self.connection.as_mut().unwrap();
        match packet {
            Sent::Connect(clean, _) => {
                if clean {
                    self.session = None;
                    self.queue.clear();
                }
                (connection.clean, connection.is_accepted) = (clean, true);
                let present = self.session.is_some();
                self.session.get_or_insert_default();
                connection.answers.extend(connack(protocol, present, &[]));
            }
            Sent::Subscribe(id, topic) => {
                self.subscribes += 1;
                connection.answers.extend(suback(protocol, id, 1));
                if let Some(number) = self.retained.get(&topic) {
                    self.enqueue(&topic.clone(), *number, true);
                }
                self.session.as_mut().unwrap().insert(topic);
            }
            Sent::Unsubscribe(id, topic) => {
                self.session.as_mut().unwrap().remove(&topic);
                let [high, low] = id.to_be_bytes();
                connection.answers.extend(match protocol {
                    Protocol::V4 => vec![0xb0, 2, high, low],
                    Protocol::V5 => vec![0xb0, 4, high, low, 0, 0],
                });
            }
            Sent::PubAck(id) => {
                // MQTT 5 §4.6: in the order in which the messages were sent.
                let first = self.queue.pop_front().expect("a message");
                assert_eq!(first.sent, Some(id), "acknowledged out of order");
            }
            Sent::PingReq => connection.answers.extend([0xd0, 0]),
            Sent::Disconnect => self.cut(),
        }
    }

    /// What it sends now; messages as long as the client's Receive Maximum allows.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        let mut output = std::mem::take(&mut connection.answers);
        if !connection.is_accepted {
            return output;
        }
        for queued in self.queue.iter_mut().take(usize::from(MAX_UNACKNOWLEDGED)) {
            if queued.sent.is_some() {
                continue;
            }
            connection.last_id += 1;
            queued.sent = Some(connection.last_id);
            let payload = queued.number.to_string();
            let mut packet = publish(self.protocol, &queued.topic, queued.sent, payload.as_bytes());
            packet[0] |= u8::from(queued.retain);
            output.extend(packet);
        }
        output
    }
}
