//! CONNECT (MQTT 3.1.1 §3.1).

use std::fmt;

use bytes::{Buf, Bytes};
use rumqttc::mqttbytes::{Error as CodecError, PacketType};

use super::{Incoming, Violation};
use crate::broker::QoS;
use crate::broker::message::Message;
use crate::broker::topic;

const LEVEL_3_1_1: u8 = 4;

/// A CONNECT of protocol level 4.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::broker) struct Connect {
    pub(in crate::broker) client: String,
    pub(in crate::broker) clean_session: bool,
    /// In seconds; zero turns it off.
    pub(in crate::broker) keep_alive: u16,
    pub(in crate::broker) will: Option<Will>,
    pub(in crate::broker) user: Option<String>,
    pub(in crate::broker) password: Option<Bytes>,
}

/// The message to publish when the connection ends without DISCONNECT.
pub(in crate::broker) type Will = Message;

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client", &self.client)
            .field("clean_session", &self.clean_session)
            .field("keep_alive", &self.keep_alive)
            .field("will", &self.will)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .finish()
    }
}

/// Parses a whole CONNECT frame.
pub(super) fn parse(mut frame: Bytes) -> Result<Incoming, Violation> {
    frame.advance(1);
    while take_u8(&mut frame)? & 0x80 != 0 {}
    let name = take_string(&mut frame)?;
    let level = take_u8(&mut frame)?;
    match (name.as_str(), level) {
        ("MQTT", LEVEL_3_1_1) => {}
        // §3.1.2.2 [MQTT-3.1.2-2]; MQIsdp is what MQTT 3.1 called itself.
        ("MQTT", _) | ("MQIsdp", 3) => return Ok(Incoming::UnsupportedLevel(level)),
        _ => return Err(Violation::ProtocolName(name)),
    }
    let flags = Flags::parse(take_u8(&mut frame)?)?;
    let keep_alive = take_u16(&mut frame)?;
    let client = take_string(&mut frame)?;
    let will = match flags.will {
        Some((qos, retain)) => Some(take_will(&mut frame, qos, retain)?),
        None => None,
    };
    let user = if flags.user { Some(take_string(&mut frame)?) } else { None };
    let password = if flags.password { Some(take_binary(&mut frame)?) } else { None };
    if frame.has_remaining() {
        return Err(Violation::Length(PacketType::Connect));
    }
    Ok(Incoming::Connect(Box::new(Connect {
        client,
        clean_session: flags.clean_session,
        keep_alive,
        will,
        user,
        password,
    })))
}

struct Flags {
    clean_session: bool,
    will: Option<(QoS, bool)>,
    user: bool,
    password: bool,
}

impl Flags {
    /// §3.1.2.3 to §3.1.2.9 [MQTT-3.1.2-3, -11, -13, -14, -15, -22].
    fn parse(byte: u8) -> Result<Self, Violation> {
        let wrong = Violation::ConnectFlags(byte);
        let (user, password) = (byte & 0x80 != 0, byte & 0x40 != 0);
        if byte & 0x01 != 0 || password && !user {
            return Err(wrong);
        }
        let will = match (byte & 0x04 != 0, byte >> 3 & 0b11, byte & 0x20 != 0) {
            (false, 0, false) => None,
            (true, 0, retain) => Some((QoS::AtMostOnce, retain)),
            (true, 1, retain) => Some((QoS::AtLeastOnce, retain)),
            (true, 2, retain) => Some((QoS::ExactlyOnce, retain)),
            _ => return Err(wrong),
        };
        Ok(Self { clean_session: byte & 0x02 != 0, will, user, password })
    }
}

fn take_will(frame: &mut Bytes, qos: QoS, retain: bool) -> Result<Will, Violation> {
    let name = take_string(frame)?;
    if !topic::is_valid_topic(&name) {
        return Err(Violation::Topic(name));
    }
    Ok(Will { topic: name.into(), payload: take_binary(frame)?, qos, retain })
}

/// §1.5.3: UTF-8 without U+0000 [MQTT-1.5.3-1, -2].
fn take_string(frame: &mut Bytes) -> Result<String, Violation> {
    let text = String::from_utf8(take_binary(frame)?.into())
        .map_err(|_| Violation::Malformed(CodecError::TopicNotUtf8))?;
    if text.contains('\0') { Err(Violation::Nul) } else { Ok(text) }
}

fn take_binary(frame: &mut Bytes) -> Result<Bytes, Violation> {
    let length = usize::from(take_u16(frame)?);
    if length > frame.len() {
        return Err(Violation::Malformed(CodecError::BoundaryCrossed(length)));
    }
    Ok(frame.split_to(length))
}

fn take_u16(frame: &mut Bytes) -> Result<u16, Violation> {
    frame.try_get_u16().map_err(|_| Violation::Malformed(CodecError::MalformedPacket))
}

fn take_u8(frame: &mut Bytes) -> Result<u8, Violation> {
    frame.try_get_u8().map_err(|_| Violation::Malformed(CodecError::MalformedPacket))
}
