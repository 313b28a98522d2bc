//! Building datagrams, through the `Packet` of `coap-lite`.
//!
//! `Packet` checks nothing but the size: that values fit their option and that an Empty message is
//! empty follows here from the types. It knows no extended tokens (RFC 8974), so all tokens are put
//! in here.

use alloc::vec::Vec;

use coap_lite::{CoapOption, MessageType as PacketType, Packet};

use super::{Code, MessageType, Options, Response, Token};

/// The message is larger than the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLarge;

/// A message that carries a request or response.
pub(super) fn message(
    kind: MessageType,
    code: Code,
    message_id: u16,
    token: Token,
    options: &Options,
    payload: &[u8],
    limit: usize,
) -> Result<Vec<u8>, TooLarge> {
    let mut packet = header(kind, code, message_id);
    let is_short = token.len() <= Token::MAX_SHORT;
    if is_short {
        packet.set_token(token.to_vec());
    }
    for (number, value) in options.iter() {
        packet.add_option(CoapOption::from(number.0), value.to_vec());
    }
    packet.payload = payload.to_vec();
    let taken = if is_short { 0 } else { token.len() + 1 };
    // The option length has no room for more than 65804 bytes, whatever the limit is.
    let limit = limit.min(usize::from(u16::MAX)).saturating_sub(taken);
    let datagram = packet.to_bytes_with_limit(limit).map_err(|_| TooLarge)?;
    Ok(if is_short { datagram } else { with_token(&datagram, kind, message_id, token) })
}

/// A message that was built without token, with this one, which may be an extended one
/// (RFC 8974 §2.1).
fn with_token(datagram: &[u8], kind: MessageType, message_id: u16, token: Token) -> Vec<u8> {
    let (header, rest) = datagram.split_at_checked(4).unwrap_or_default();
    let mut with_token = Vec::with_capacity(datagram.len() + 1 + token.len());
    with_token.extend_from_slice(header);
    let length = u8::try_from(token.len()).unwrap_or_default();
    let nibble = match length {
        0..13 => length,
        _ => {
            with_token.push(length - 13);
            13
        }
    };
    with_token.extend_from_slice(&token);
    with_token.extend_from_slice(rest);
    if let Some(first) = with_token.first_mut() {
        *first = header_byte(kind) | nibble;
    }
    set_message_id(&mut with_token, message_id);
    with_token
}

/// A response without token and message id, to be sent to many (RFC 7641 §4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// Header, options and payload.
    datagram: Vec<u8>,
}

impl Prepared {
    /// Prepares a response that takes up to `limit` bytes without the token.
    pub(super) fn new(response: &Response, limit: usize) -> Result<Self, TooLarge> {
        let Response { code, options, payload } = response;
        let kind = MessageType::NonConfirmable;
        let datagram = message(kind, *code, 0, Token::EMPTY, options, payload, limit)?;
        Ok(Self { datagram })
    }

    /// The code of the message.
    pub(super) fn code(&self) -> Code {
        Code::from_byte(self.datagram.get(1).copied().unwrap_or_default())
    }

    /// Options and payload, as they are in any message.
    pub(super) fn body(&self) -> &[u8] {
        self.datagram.get(4..).unwrap_or_default()
    }

    /// The message for one receiver.
    pub(super) fn datagram(&self, kind: MessageType, message_id: u16, token: Token) -> Vec<u8> {
        with_token(&self.datagram, kind, message_id, token)
    }
}

/// The first byte of a message without token (RFC 7252 §3).
const fn header_byte(kind: MessageType) -> u8 {
    let kind = match kind {
        MessageType::Confirmable => 0,
        MessageType::NonConfirmable => 1,
        MessageType::Acknowledgement => 2,
        MessageType::Reset => 3,
    };
    1 << 6 | kind << 4
}

/// An Empty message.
pub(super) fn empty(kind: MessageType, message_id: u16) -> Vec<u8> {
    // Four bytes cannot be too large.
    header(kind, Code::EMPTY, message_id).to_bytes_unlimited().unwrap_or_default()
}

/// Gives a datagram built with another message id this one.
pub(super) fn set_message_id(datagram: &mut [u8], message_id: u16) {
    if let Some(field) = datagram.get_mut(2..4) {
        field.copy_from_slice(&message_id.to_be_bytes());
    }
}

fn header(kind: MessageType, code: Code, message_id: u16) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_version(1);
    packet.header.set_type(match kind {
        MessageType::Confirmable => PacketType::Confirmable,
        MessageType::NonConfirmable => PacketType::NonConfirmable,
        MessageType::Acknowledgement => PacketType::Acknowledgement,
        MessageType::Reset => PacketType::Reset,
    });
    packet.header.code = code.as_byte().into();
    packet.header.message_id = message_id;
    packet
}
