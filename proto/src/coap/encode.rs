//! Building datagrams, through the `Packet` of `coap-lite`.
//!
//! `Packet` checks nothing but the size: that tokens have at most eight bytes, that values fit
//! their option and that an Empty message is empty follows here from the types.

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
    packet.set_token(token.to_vec());
    for (number, value) in options.iter() {
        packet.add_option(CoapOption::from(number.0), value.to_vec());
    }
    packet.payload = payload.to_vec();
    // The option length has no room for more than 65804 bytes, whatever the limit is.
    packet.to_bytes_with_limit(limit.min(usize::from(u16::MAX))).map_err(|_| TooLarge)
}

/// A response without token and message id, to be sent to many (RFC 7641 §4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// Header, options and payload.
    datagram: Vec<u8>,
}

impl Prepared {
    /// Prepares a response for messages of up to `limit` bytes, whatever the token.
    pub(super) fn new(response: &Response, limit: usize) -> Result<Self, TooLarge> {
        let Response { code, options, payload } = response;
        let (kind, limit) = (MessageType::NonConfirmable, limit.saturating_sub(Token::MAX_LEN));
        let datagram = message(kind, *code, 0, Token::EMPTY, options, payload, limit)?;
        Ok(Self { datagram })
    }

    /// The message for one receiver.
    pub(super) fn datagram(&self, kind: MessageType, message_id: u16, token: Token) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(self.datagram.len() + token.len());
        let (header, rest) = self.datagram.split_at_checked(4).unwrap_or_default();
        datagram.extend_from_slice(header);
        datagram.extend_from_slice(&token);
        datagram.extend_from_slice(rest);
        let (first, length) = (header_byte(kind), u8::try_from(token.len()).unwrap_or_default());
        if let Some(byte) = datagram.first_mut() {
            *byte = first | length;
        }
        set_message_id(&mut datagram, message_id);
        datagram
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
