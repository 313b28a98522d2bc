//! The view of a datagram as a message: checked as a whole, nothing copied (RFC 7252 §3).
//!
//! Invariant: the options of a [`Message`] can be walked without meeting an error, because
//! [`Message::parse`] walked them before.

use super::encode::PAYLOAD_MARKER;
use super::{Code, CodeKind, Fault, Malformed, OptionNumber, Token};

/// The version of RFC 7252, the only one.
const VERSION: u8 = 1;

/// The type of a message (RFC 7252 §4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MessageType {
    /// CON: wants an Acknowledgement or a Reset.
    Confirmable,
    /// NON: wants neither.
    NonConfirmable,
    /// ACK: what a Confirmable message wants; may carry the response.
    Acknowledgement,
    /// RST: the receiver could not do anything with the message.
    Reset,
}

/// A datagram that keeps to the message format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    kind: MessageType,
    code: Code,
    message_id: u16,
    token: Token,
    options: &'a [u8],
    payload: &'a [u8],
    size: usize,
}

impl<'a> Message<'a> {
    /// Checks the whole datagram; see [`Fault`] for what can be wrong with it.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse_extended(datagram, Token::MAX_SHORT)
    }

    /// The same, with extended tokens of up to `max_token` bytes (RFC 8974 §2.1); with up to 8
    /// there are none.
    pub fn parse_extended(datagram: &'a [u8], max_token: usize) -> Result<Self, Malformed> {
        let unreadable = |fault| Malformed { fault, header: None };
        let Some((&[first, code, id_high, id_low], rest)) = datagram.split_first_chunk() else {
            return Err(unreadable(Fault::HeaderTruncated { len: datagram.len() }));
        };
        // RFC 7252 §3: nothing after the version may be trusted before it is known.
        if first >> 6 != VERSION {
            return Err(unreadable(Fault::UnknownVersion(first >> 6)));
        }
        let kind = match first >> 4 & 3 {
            0 => MessageType::Confirmable,
            1 => MessageType::NonConfirmable,
            2 => MessageType::Acknowledgement,
            _ => MessageType::Reset,
        };
        let message_id = u16::from_be_bytes([id_high, id_low]);
        let malformed = |fault| Malformed { fault, header: Some((kind, message_id)) };

        let token_length = first & 0x0f;
        if usize::from(token_length) > Token::MAX_SHORT && max_token <= Token::MAX_SHORT {
            return Err(malformed(Fault::TokenLength(token_length)));
        }
        let code = Code::from_byte(code);
        match code.kind() {
            CodeKind::Request | CodeKind::Response => {}
            CodeKind::Empty if token_length == 0 && rest.is_empty() => {}
            CodeKind::Empty => return Err(malformed(Fault::EmptyWithContent)),
            CodeKind::Reserved => return Err(malformed(Fault::ReservedCode(code))),
        }
        let (token, body) = split_token(token_length, rest, max_token).map_err(malformed)?;
        let (options, payload) = split_payload(body).map_err(malformed)?;
        let size = datagram.len();
        Ok(Self { kind, code, message_id, token, options, payload, size })
    }

    /// Confirmable, Non-confirmable, Acknowledgement or Reset.
    pub const fn kind(&self) -> MessageType {
        self.kind
    }

    /// Never of a reserved class.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What an Acknowledgement or Reset echoes, and what tells duplicates.
    pub const fn message_id(&self) -> u16 {
        self.message_id
    }

    /// What a response echoes.
    pub const fn token(&self) -> Token {
        self.token
    }

    /// The options in the order of the datagram, which is that of their numbers.
    pub const fn options(&self) -> MessageOptions<'a> {
        MessageOptions::checked(self.options)
    }

    /// The payload, empty if there is none.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of the datagram.
    pub const fn size(&self) -> usize {
        self.size
    }
}

/// The options of a message, as (number, value).
#[derive(Clone, Debug)]
pub struct MessageOptions<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> MessageOptions<'a> {
    /// Checks what follows the token of a message; the options, and the payload after them.
    pub(super) fn parse(body: &'a [u8]) -> Result<(Self, &'a [u8]), Fault> {
        let (options, payload) = split_payload(body)?;
        Ok((Self::checked(options), payload))
    }

    /// Options that were checked before, or built.
    pub(super) const fn checked(options: &'a [u8]) -> Self {
        Self { rest: options, number: 0 }
    }

    /// Bytes that the options take in the datagram: no value is longer.
    pub(super) const fn encoded_len(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for MessageOptions<'a> {
    type Item = (OptionNumber, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&first, rest) = self.rest.split_first()?;
        // Never an error: `Message::parse` walked the same bytes.
        let (number, value, rest) = split_option(first, rest, self.number).ok()?;
        self.rest = rest;
        self.number = number;
        Some((OptionNumber(number), value))
    }
}

/// Reads the token, whose length may have an extended form (RFC 8974 §2.1).
fn split_token(nibble: u8, rest: &[u8], max_token: usize) -> Result<(Token, &[u8]), Fault> {
    let (length, rest) = match nibble {
        0..=12 => (usize::from(nibble), rest),
        13 => {
            let (&[extended], rest) = rest.split_first_chunk().ok_or(Fault::TokenTruncated)?;
            (usize::from(extended) + 13, rest)
        }
        14 => {
            let (&extended, rest) = rest.split_first_chunk().ok_or(Fault::TokenTruncated)?;
            (usize::from(u16::from_be_bytes(extended)) + 269, rest)
        }
        _ => return Err(Fault::TokenLength(nibble)),
    };
    if length > max_token {
        return Err(Fault::TokenTooLong(length));
    }
    let (token, rest) = rest.split_at_checked(length).ok_or(Fault::TokenTruncated)?;
    Ok((Token::new(token).ok_or(Fault::TokenTooLong(length))?, rest))
}

/// Walks all options and returns them and the payload after them.
fn split_payload(body: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let mut number = 0;
    let mut rest = body;
    while let Some((&first, after)) = rest.split_first() {
        if first == PAYLOAD_MARKER {
            if after.is_empty() {
                return Err(Fault::EmptyPayload);
            }
            let (options, _) = body.split_at(body.len() - rest.len());
            return Ok((options, after));
        }
        (number, _, rest) = split_option(first, after, number)?;
    }
    Ok((body, &[]))
}

/// Reads the option that starts with `first`: its number, its value and what follows.
#[inline]
fn split_option(first: u8, rest: &[u8], previous: u16) -> Result<(u16, &[u8], &[u8]), Fault> {
    let (delta, rest) = extend(first >> 4, rest, Fault::ReservedDelta)?;
    let (length, rest) = extend(first & 0x0f, rest, Fault::ReservedLength)?;
    let number = u32::from(previous) + delta;
    let number = u16::try_from(number).map_err(|_| Fault::OptionNumber)?;
    let length = usize::try_from(length).map_err(|_| Fault::OptionTruncated)?;
    let (value, rest) = rest.split_at_checked(length).ok_or(Fault::OptionTruncated)?;
    Ok((number, value, rest))
}

/// Reads the extended form of a delta or length, if `nibble` asks for it (RFC 7252 §3.1).
#[inline]
fn extend(nibble: u8, rest: &[u8], reserved: Fault) -> Result<(u32, &[u8]), Fault> {
    match nibble {
        0..=12 => Ok((u32::from(nibble), rest)),
        13 => {
            let (&[extended], rest) = rest.split_first_chunk().ok_or(Fault::OptionTruncated)?;
            Ok((u32::from(extended) + 13, rest))
        }
        14 => {
            let (&extended, rest) = rest.split_first_chunk().ok_or(Fault::OptionTruncated)?;
            Ok((u32::from(u16::from_be_bytes(extended)) + 269, rest))
        }
        _ => Err(reserved),
    }
}

#[cfg(test)]
mod tests;
