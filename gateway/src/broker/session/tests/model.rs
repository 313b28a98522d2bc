//! A broker in a few lines, which checks what MQTT asks of a client.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A broker and what it remembers of one client.
pub(in crate::broker) struct ModelBroker {
    protocol: Protocol,
    /// Receive Maximum, for MQTT 5.
    pub(in crate::broker) receive_maximum: u16,
    /// Topic Alias Maximum, for MQTT 5.
    pub(in crate::broker) alias_maximum: u16,
    /// Messages of quality of service 2 whose PUBREL has not come, while there is a session.
    session: Option<BTreeMap<u16, String>>,
    /// A payload at which the connection is cut.
    pub(in crate::broker) poison: Option<String>,
    /// A payload that is refused, with the reason code.
    pub(in crate::broker) refused: Option<(String, u8)>,
    /// What subscribers got, in order.
    pub(in crate::broker) delivered: Vec<Published>,
    connection: Option<Connection>,
}

#[derive(Default)]
struct Connection {
    input: BytesMut,
    /// Whether CONNECT has asked for a session that ends with the connection.
    is_clean: bool,
    aliases: BTreeMap<u16, String>,
    /// Publishes whose exchange has not ended on this connection.
    under_way: BTreeSet<u16>,
    /// Answers that are not sent yet.
    answers: Vec<Vec<u8>>,
}

impl ModelBroker {
    /// A broker that still knows this client's identifiers from an earlier life.
    pub(in crate::broker) fn with_stale_session(protocol: Protocol) -> Self {
        let stale = (1..=20).map(|id| (id, "stale".to_owned())).collect();
        Self {
            protocol,
            receive_maximum: u16::MAX,
            alias_maximum: 0,
            poison: None,
            refused: None,
            session: Some(stale),
            delivered: Vec::new(),
            connection: None,
        }
    }

    /// The broker was started anew, without what it had in memory.
    pub(in crate::broker) fn forget(&mut self) {
        self.session = None;
    }

    pub(in crate::broker) fn connect(&mut self) {
        self.cut();
        self.connection = Some(Connection::default());
    }

    /// The connection is gone, with every answer on it.
    pub(in crate::broker) fn cut(&mut self) {
        if self.connection.take().is_some_and(|connection| connection.is_clean) {
            self.session = None;
        }
    }

    pub(in crate::broker) fn handle_bytes(&mut self, bytes: &[u8]) {
        let Some(connection) = &mut self.connection else { return };
        connection.input.extend_from_slice(bytes);
        loop {
            let Some(connection) = &mut self.connection else { return };
            match read(self.protocol, &mut connection.input) {
                Some(packet) => self.handle_packet(packet),
                None => return,
            }
        }
    }

    fn handle_packet(&mut self, packet: Sent) {
        let connection = self.connection.as_mut().unwrap();
        match packet {
            Sent::Connect(connect) => {
                if connect.clean {
                    self.session = None;
                }
                let present = self.session.is_some();
                connection.is_clean = match self.protocol {
                    Protocol::V4 => connect.clean,
                    Protocol::V5 => connect.session_expiry == 0,
                };
                self.session.get_or_insert_default();
                let maximum = self.receive_maximum.to_be_bytes();
                let aliases = self.alias_maximum.to_be_bytes();
                let properties = [0x21, maximum[0], maximum[1], 0x22, aliases[0], aliases[1]];
                connection.answers.push(connack(self.protocol, present, 0, &properties));
            }
            Sent::Publish(mut publish) => {
                self.name_topic(&mut publish);
                self.handle_publish(publish);
            }
            Sent::PubRel(id) => {
                self.session.as_mut().unwrap().remove(&id);
                connection.answers.push(ack(PUBCOMP, id).to_vec());
            }
            Sent::PingReq => connection.answers.push(PINGRESP.to_vec()),
            Sent::Disconnect { .. } => self.cut(),
        }
    }

    /// MQTT 5 §3.3.2.3.4.
    fn name_topic(&mut self, publish: &mut Published) {
        let Some(properties) = &publish.properties else { return };
        let Some(alias) = properties.topic_alias else { return };
        assert!((1..=self.alias_maximum).contains(&alias));
        let aliases = &mut self.connection.as_mut().unwrap().aliases;
        if publish.topic.is_empty() {
            publish.topic = aliases.get(&alias).expect("an alias of this connection").clone();
        } else {
            aliases.insert(alias, publish.topic.clone());
        }
    }

    fn handle_publish(&mut self, publish: Published) {
        let connection = self.connection.as_mut().unwrap();
        let id = publish.id;
        if publish.qos > 0 {
            // MQTT 5 §2.2.1, §4.9
            assert!(connection.under_way.insert(id), "identifier {id} stands for two messages");
            let most = usize::from(self.receive_maximum);
            assert!(connection.under_way.len() <= most, "Receive Maximum is kept");
        }
        if self.poison.as_ref() == Some(&publish.payload) {
            return self.cut();
        }
        if let Some((_, reason)) = self.refused.as_ref().filter(|(p, _)| *p == publish.payload) {
            let id = id.to_be_bytes();
            return connection.answers.push(vec![PUBACK, 3, id[0], id[1], *reason]);
        }
        match publish.qos {
            0 => self.delivered.push(publish),
            1 => {
                connection.answers.push(ack(PUBACK, id).to_vec());
                self.delivered.push(publish);
            }
            _ => {
                connection.answers.push(ack(PUBREC, id).to_vec());
                match self.session.as_mut().unwrap().get(&id) {
                    // MQTT 5 §4.3.3: the same identifier is the same message.
                    Some(known) => assert_eq!(known, &publish.payload, "a message is swallowed"),
                    None => {
                        let session = self.session.as_mut().unwrap();
                        session.insert(id, publish.payload.clone());
                        self.delivered.push(publish);
                    }
                }
            }
        }
    }

    pub(in crate::broker) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// One of the answers that wait, by a number; in any order, as MQTT 5 §4.6 lets a client expect
    /// nothing across quality of service 1 and 2.
    pub(in crate::broker) fn answer(&mut self, pick: u64) -> Option<Vec<u8>> {
        let connection = self.connection.as_mut()?;
        let count = connection.answers.len() as u64;
        let at = usize::try_from(pick.checked_rem(count)?).unwrap();
        let answer = connection.answers.remove(at);
        if matches!(answer[0], PUBACK | PUBCOMP) {
            connection.under_way.remove(&u16::from_be_bytes([answer[2], answer[3]]));
        }
        Some(answer)
    }
}
