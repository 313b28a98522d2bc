//! CONNECT (MQTT 3.1.1 §3.1, MQTT 5 §3.1).

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::field::{take_binary, take_string, take_u8, take_u16, take_u32};
use super::property::{self, misplaced, nonzero, once, take_flag, take_properties, take_user};
use super::{Incoming, Kind, Version, Violation};
use crate::broker::message::Message;
use crate::broker::{Properties, QoS, topic};

/// A session that never ends by itself (MQTT 5 §3.1.2.11.2).
const FOR_EVER: u32 = u32::MAX;

/// A CONNECT of either version.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::broker) struct Connect {
    pub(in crate::broker) version: Version,
    pub(in crate::broker) client: String,
    /// Whether a kept session is to be discarded.
    pub(in crate::broker) clean_start: bool,
    /// For how many seconds the session is kept after the connection; all ones for ever. In MQTT
    /// 3.1.1 it follows from clean session.
    pub(in crate::broker) session_expiry: u32,
    /// In seconds; zero turns it off.
    pub(in crate::broker) keep_alive: u16,
    pub(in crate::broker) receive_maximum: Option<NonZeroU16>,
    pub(in crate::broker) maximum_packet_size: Option<NonZeroU32>,
    /// Whether it wants to be authenticated by other means than a password.
    pub(in crate::broker) enhanced_authentication: bool,
    pub(in crate::broker) will: Option<Will>,
    pub(in crate::broker) user: Option<String>,
    pub(in crate::broker) password: Option<Bytes>,
}

/// The message to publish when the connection ends without DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Will {
    pub(in crate::broker) message: Message,
    /// Seconds to wait for the client to come back (MQTT 5 §3.1.3.2.2).
    pub(in crate::broker) delay: u32,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client", &self.client)
            .field("clean_start", &self.clean_start)
            .field("session_expiry", &self.session_expiry)
            .field("keep_alive", &self.keep_alive)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("enhanced_authentication", &self.enhanced_authentication)
            .field("will", &self.will)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .finish()
    }
}

/// Parses what is behind the fixed header.
pub(super) fn parse(mut body: Bytes) -> Result<Incoming, Violation> {
    let name = take_string(&mut body)?;
    let level = take_u8(&mut body)?;
    let version = match (name.as_str(), level) {
        ("MQTT", 4) => Version::V4,
        ("MQTT", 5) => Version::V5,
        // §3.1.2.2 [MQTT-3.1.2-2]; MQIsdp is what MQTT 3.1 called itself.
        ("MQTT", _) | ("MQIsdp", 3) => return Ok(Incoming::UnsupportedLevel(level)),
        _ => return Err(Violation::ProtocolName(name)),
    };
    let flags = Flags::parse(take_u8(&mut body)?, version)?;
    let keep_alive = take_u16(&mut body)?;
    let properties = match version {
        Version::V4 => ConnectProperties::default(),
        Version::V5 => ConnectProperties::take(&mut body)?,
    };
    let kept_for = match version {
        Version::V4 if flags.clean_start => 0,
        Version::V4 => FOR_EVER,
        Version::V5 => properties.session_expiry.unwrap_or(0),
    };
    let client = take_string(&mut body)?;
    let will = match flags.will {
        Some((qos, retain)) => Some(take_will(&mut body, version, qos, retain)?),
        None => None,
    };
    let user = if flags.user { Some(take_string(&mut body)?) } else { None };
    let password = if flags.password { Some(take_binary(&mut body)?) } else { None };
    if body.has_remaining() {
        return Err(Violation::Length(Kind::Connect));
    }
    Ok(Incoming::Connect(Box::new(Connect {
        version,
        client,
        clean_start: flags.clean_start,
        session_expiry: kept_for,
        keep_alive,
        receive_maximum: properties.receive_maximum,
        maximum_packet_size: properties.maximum_packet_size,
        enhanced_authentication: properties.authentication_method.is_some(),
        will,
        user,
        password,
    })))
}

struct Flags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    user: bool,
    password: bool,
}

impl Flags {
    /// MQTT 3.1.1 §3.1.2.3 to §3.1.2.9 [MQTT-3.1.2-3, -11, -13, -14, -15, -22]; MQTT 5 §3.1.2.3
    /// [MQTT-3.1.2-3] to §3.1.2.9, where a password needs no user name.
    fn parse(byte: u8, version: Version) -> Result<Self, Violation> {
        let wrong = Violation::ConnectFlags(byte);
        let (user, password) = (byte & 0x80 != 0, byte & 0x40 != 0);
        if byte & 0x01 != 0 || password && !user && version == Version::V4 {
            return Err(wrong);
        }
        let will = match (byte & 0x04 != 0, byte >> 3 & 0b11, byte & 0x20 != 0) {
            (false, 0, false) => None,
            (true, 0, retain) => Some((QoS::AtMostOnce, retain)),
            (true, 1, retain) => Some((QoS::AtLeastOnce, retain)),
            (true, 2, retain) => Some((QoS::ExactlyOnce, retain)),
            _ => return Err(wrong),
        };
        Ok(Self { clean_start: byte & 0x02 != 0, will, user, password })
    }
}

/// MQTT 5 §3.1.2.11.
#[derive(Default)]
struct ConnectProperties {
    session_expiry: Option<u32>,
    receive_maximum: Option<NonZeroU16>,
    maximum_packet_size: Option<NonZeroU32>,
    topic_alias_maximum: Option<u16>,
    request_response: Option<u8>,
    request_problem: Option<u8>,
    authentication_method: Option<String>,
    authentication_data: Option<Bytes>,
}

impl ConnectProperties {
    fn take(body: &mut Bytes) -> Result<Self, Violation> {
        let mut all = Self::default();
        take_properties(body, |id, from| match id {
            property::SESSION_EXPIRY => once(id, &mut all.session_expiry, take_u32(from)?),
            property::RECEIVE_MAXIMUM => {
                once(id, &mut all.receive_maximum, nonzero(id, take_u16(from)?)?)
            }
            property::MAXIMUM_PACKET_SIZE => {
                once(id, &mut all.maximum_packet_size, nonzero(id, take_u32(from)?)?)
            }
            property::TOPIC_ALIAS_MAXIMUM => {
                once(id, &mut all.topic_alias_maximum, take_u16(from)?)
            }
            property::REQUEST_RESPONSE => once(id, &mut all.request_response, take_flag(id, from)?),
            property::REQUEST_PROBLEM => once(id, &mut all.request_problem, take_flag(id, from)?),
            property::AUTHENTICATION_METHOD => {
                once(id, &mut all.authentication_method, take_string(from)?)
            }
            property::AUTHENTICATION_DATA => {
                once(id, &mut all.authentication_data, take_binary(from)?)
            }
            property::USER => take_user(from).map(|_| ()),
            _ => Err(misplaced(id)),
        })?;
        if all.authentication_data.is_some() && all.authentication_method.is_none() {
            return Err(Violation::NoAuthenticationMethod);
        }
        Ok(all)
    }
}

fn take_will(
    body: &mut Bytes,
    version: Version,
    qos: QoS,
    retain: bool,
) -> Result<Will, Violation> {
    let mut properties = Properties::default();
    let mut delay = None;
    if version == Version::V5 {
        take_properties(body, |id, from| match id {
            property::WILL_DELAY => once(id, &mut delay, take_u32(from)?),
            _ if properties.take(id, from)? => Ok(()),
            _ => Err(misplaced(id)),
        })?;
    }
    let name = take_string(body)?;
    if !topic::is_valid_topic(&name) {
        return Err(Violation::Topic(name));
    }
    let mut message = Message { retain, ..Message::new(name, take_binary(body)?, qos) };
    if properties != Properties::default() {
        message.properties = Some(Arc::new(properties));
    }
    Ok(Will { message, delay: delay.unwrap_or(0) })
}
