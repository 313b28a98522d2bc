//! CONNECT (MQTT 3.1.1 and 5, §3.1), as the codecs of `rumqttc` write it.

use bytes::BytesMut;
use rumqttc::mqttbytes::{Protocol as Level, QoS, v4};
use rumqttc::v5::mqttbytes::{QoS as QoS5, v5};

use super::{MAX_INCOMING, WriteError};
use crate::config::Protocol;

/// How the gateway introduces itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Connect<'a> {
    pub(in crate::broker) protocol: Protocol,
    pub(in crate::broker) client_id: &'a str,
    /// User name and password; an empty password is left out.
    pub(in crate::broker) login: Option<&'a (String, String)>,
    /// In seconds.
    pub(in crate::broker) keep_alive: u16,
    /// Whether the broker is to forget what it knows of this client.
    pub(in crate::broker) clean: bool,
    /// How many seconds after the connection the session is kept; only in MQTT 5.
    pub(in crate::broker) session_expiry: u32,
    /// Most publishes of the broker without acknowledgement; only in MQTT 5.
    pub(in crate::broker) receive_maximum: Option<u16>,
    pub(in crate::broker) will: Option<Will<'a>>,
}

/// What the broker publishes when the connection ends without DISCONNECT.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Will<'a> {
    pub(in crate::broker) topic: &'a str,
    pub(in crate::broker) payload: &'a str,
    pub(in crate::broker) qos: QoS,
    pub(in crate::broker) retain: bool,
}

impl Connect<'_> {
    /// Appends the packet.
    pub(in crate::broker) fn write(&self, out: &mut BytesMut) -> Result<(), WriteError> {
        self.check()?;
        match self.protocol {
            Protocol::V4 => self.to_v4().write(out).map(drop).map_err(WriteError::codec),
            Protocol::V5 => self.write_v5(out),
        }
    }

    /// The codecs cut the length of a long text off without a word.
    fn check(&self) -> Result<(), WriteError> {
        let login = self.login.map(|(name, password)| [name.as_str(), password.as_str()]);
        let will = self.will.map(|will| will.topic);
        let texts = [self.client_id].into_iter().chain(login.into_iter().flatten()).chain(will);
        match texts.map(str::len).max() {
            Some(length) if length > usize::from(u16::MAX) => Err(WriteError::TextTooLong(length)),
            _ => Ok(()),
        }
    }

    fn to_v4(self) -> v4::Connect {
        v4::Connect {
            protocol: Level::V4,
            keep_alive: self.keep_alive,
            client_id: self.client_id.to_owned(),
            clean_session: self.clean,
            last_will: self.will.map(|w| v4::LastWill::new(w.topic, w.payload, w.qos, w.retain)),
            login: self.login.cloned().map(|(username, password)| v4::Login { username, password }),
        }
    }

    fn write_v5(&self, out: &mut BytesMut) -> Result<(), WriteError> {
        let mut properties = v5::ConnectProperties::new();
        // Zero is what MQTT assumes (MQTT 5 §3.1.2.11.2).
        properties.session_expiry_interval =
            Some(self.session_expiry).filter(|&seconds| seconds > 0);
        properties.receive_maximum = self.receive_maximum;
        properties.max_packet_size = u32::try_from(MAX_INCOMING).ok();
        let connect = v5::Connect {
            keep_alive: self.keep_alive,
            client_id: self.client_id.to_owned(),
            clean_start: self.clean,
            properties: Some(properties),
        };
        let will = self.will.map(|will| {
            let qos = match will.qos {
                QoS::AtMostOnce => QoS5::AtMostOnce,
                QoS::AtLeastOnce => QoS5::AtLeastOnce,
                QoS::ExactlyOnce => QoS5::ExactlyOnce,
            };
            v5::LastWill::new(will.topic, will.payload, qos, will.retain, None)
        });
        let login =
            self.login.cloned().map(|(username, password)| v5::Login { username, password });
        connect.write(&will, &login, out).map(drop).map_err(WriteError::codec)
    }
}
