//! What a broker sends in MQTT 3.1.1.

use super::{Ack, ConnAck, Incoming, Kind, Limits, Reader, Reason, WireError, code};

/// Reads what is behind the fixed header.
pub(super) fn parse(kind: Kind, mut body: Reader<'_>) -> Result<Incoming, WireError> {
    let packet = match kind {
        Kind::CONNACK => {
            let (flags, code) = body.u8().zip(body.u8()).ok_or(WireError::Size(kind.name()))?;
            Incoming::ConnAck(Box::new(connack(flags, code)?))
        }
        Kind::PUBACK => Incoming::PubAck(ack(kind, &mut body)?),
        Kind::PUBREC => Incoming::PubRec(ack(kind, &mut body)?),
        Kind::PUBCOMP => Incoming::PubComp(ack(kind, &mut body)?),
        Kind::PINGRESP => Incoming::PingResp,
        other => return Err(WireError::Kind(other.name())),
    };
    if body.is_empty() { Ok(packet) } else { Err(WireError::Size(kind.name())) }
}

/// MQTT 3.1.1 §3.2.2.
pub(super) fn connack(flags: u8, code: u8) -> Result<ConnAck, WireError> {
    if flags > u8::from(code == 0) {
        return Err(WireError::Flags(Kind::CONNACK.name()));
    }
    let code = match code {
        0 => 0,
        1 => code::UNSUPPORTED_PROTOCOL_VERSION,
        2 => code::CLIENT_IDENTIFIER_NOT_VALID,
        3 => code::SERVER_UNAVAILABLE,
        4 => code::BAD_USER_NAME_OR_PASSWORD,
        5 => code::NOT_AUTHORIZED,
        unknown => return Err(WireError::ReturnCode(unknown)),
    };
    Ok(ConnAck { session_present: flags == 1, reason: Reason::of(code), limits: Limits::default() })
}

fn ack(kind: Kind, body: &mut Reader<'_>) -> Result<Ack, WireError> {
    match body.u16() {
        None => Err(WireError::Size(kind.name())),
        Some(0) => Err(WireError::IdZero),
        Some(id) => Ok(Ack { id, reason: Reason::default() }),
    }
}
