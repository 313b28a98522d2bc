//! Building datagrams (RFC 7252 §3).
//!
//! Requests are built by `coap-lite`, responses, of which a server sends many, with one allocation by
//! ourselves; a test holds the one against the other. That values fit their option and that an Empty
//! message is empty follows from the types.

use alloc::vec::Vec;

use coap_lite::{CoapOption, MessageType as PacketType, Packet};

use super::{Code, MessageType, Options, Response, Token};

/// Bytes before the token.
const HEADER: usize = 4;
/// What ends the options where a payload follows (RFC 7252 §3).
pub(super) const PAYLOAD_MARKER: u8 = 0xff;
/// The shortest token whose length is written with one more byte (RFC 8974 §2.1).
const EXTENDED_TOKEN: usize = 13;

/// The message is larger than the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLarge;

/// A request without its message id.
pub(super) fn request(
    confirmable: bool,
    code: Code,
    token: Token,
    options: &Options,
    payload: &[u8],
    limit: usize,
) -> Result<Vec<u8>, TooLarge> {
    if token.len() > Token::MAX_SHORT {
        // `coap-lite` knows no extended tokens (RFC 8974).
        let kind = if confirmable { MessageType::Confirmable } else { MessageType::NonConfirmable };
        return message(kind, code, 0, token, options, payload, limit);
    }
    let mut packet = Packet::new();
    packet.header.set_version(1);
    packet.header.set_type(match confirmable {
        true => PacketType::Confirmable,
        false => PacketType::NonConfirmable,
    });
    packet.header.code = code.as_byte().into();
    packet.set_token(token.to_vec());
    for (number, value) in options.iter() {
        packet.add_option(CoapOption::from(number.0), value.to_vec());
    }
    packet.payload = payload.to_vec();
    packet.to_bytes_with_limit(limit.min(usize::from(u16::MAX))).map_err(|_| TooLarge)
}

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
    // The option length has no room for more than 65804 bytes, whatever the limit is.
    let limit = limit.min(usize::from(u16::MAX));
    let content = options.encoded().len() + usize::from(!payload.is_empty()) + payload.len();
    let len = HEADER + token_len(token) + content;
    if len > limit {
        return Err(TooLarge);
    }
    let mut datagram = Vec::with_capacity(len);
    start(&mut datagram, kind, code, message_id, token);
    datagram.extend_from_slice(options.encoded());
    if !payload.is_empty() {
        datagram.push(PAYLOAD_MARKER);
        datagram.extend_from_slice(payload);
    }
    Ok(datagram)
}

/// A response without type, message id and token, to be sent to many (RFC 7641 §4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    code: Code,
    /// Options and payload.
    content: Vec<u8>,
}

impl Prepared {
    /// Prepares a response that takes up to `limit` bytes without the token.
    pub(super) fn new(response: &Response, limit: usize) -> Result<Self, TooLarge> {
        let Response { code, options, payload } = response;
        let kind = MessageType::NonConfirmable;
        let mut content = message(kind, *code, 0, Token::EMPTY, options, payload, limit)?;
        content.drain(..HEADER);
        Ok(Self { code: *code, content })
    }

    /// The code of the message.
    pub(super) const fn code(&self) -> Code {
        self.code
    }

    /// Options and payload, as they are in any message.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// The message for one receiver.
    pub(super) fn datagram(&self, kind: MessageType, message_id: u16, token: Token) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(HEADER + token_len(token) + self.content.len());
        start(&mut datagram, kind, self.code, message_id, token);
        datagram.extend_from_slice(&self.content);
        datagram
    }
}

/// An Empty message.
pub(super) fn empty(kind: MessageType, message_id: u16) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(HEADER);
    start(&mut datagram, kind, Code::EMPTY, message_id, Token::EMPTY);
    datagram
}

/// Gives a datagram built with another message id this one.
pub(super) fn set_message_id(datagram: &mut [u8], message_id: u16) {
    if let Some(field) = datagram.get_mut(2..4) {
        field.copy_from_slice(&message_id.to_be_bytes());
    }
}

/// Writes the header and the token.
fn start(datagram: &mut Vec<u8>, kind: MessageType, code: Code, message_id: u16, token: Token) {
    const VERSION: u8 = 1;
    let kind = match kind {
        MessageType::Confirmable => 0,
        MessageType::NonConfirmable => 1,
        MessageType::Acknowledgement => 2,
        MessageType::Reset => 3,
    };
    // At most `Token::MAX_LEN`.
    let length = u8::try_from(token.len()).unwrap_or_default();
    let (nibble, extended) = match length {
        0..13 => (length, None),
        _ => (13, Some(length - 13)),
    };
    let [id_high, id_low] = message_id.to_be_bytes();
    datagram.extend([VERSION << 6 | kind << 4 | nibble, code.as_byte(), id_high, id_low]);
    datagram.extend(extended);
    datagram.extend_from_slice(&token);
}

/// Bytes of a token and of the extended form of its length.
fn token_len(token: Token) -> usize {
    token.len() + usize::from(token.len() >= EXTENDED_TOKEN)
}
