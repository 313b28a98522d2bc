//! Messages in the stream (RFC 8323 §3.2): a length and a token length, the code, the token,
//! options, payload.
//!
//! ```text
//! | Len, TKL | extended length: 0, 1, 2 or 4 bytes | code | token | options | ff payload |
//! ```

use alloc::vec::Vec;

use super::super::encode::{PAYLOAD_MARKER, Prepared, TooLarge};
use super::super::{Code, Fault, Options, Token};
use super::StreamFault;

/// Bytes of options that fit a message, as in a datagram.
const MAX_OPTIONS: usize = 65_535;
/// The most bytes of a message without options and payload, but for the token.
pub(super) const LONGEST_HEADER: usize = 1 + 4 + 1;
/// The smallest length that is written with one more byte.
const ONE_BYTE: u32 = 13;
/// The smallest length that is written with two more bytes.
const TWO_BYTES: u32 = 269;
/// The smallest length that is written with four more bytes.
const FOUR_BYTES: u32 = 65_805;

/// A message between its neighbours; its options are not checked yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame<'a> {
    pub(super) code: Code,
    pub(super) token: Token,
    /// Options and payload.
    pub(super) body: &'a [u8],
}

/// The first message in `bytes` and what follows it; `None` while it is not complete.
///
/// A token length that is reserved, or a length that makes the message larger than `limit`, is an
/// error as soon as its bytes are there.
pub(super) fn split(bytes: &[u8], limit: u32) -> Result<Option<(Frame<'_>, &[u8])>, StreamFault> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let token_length = first & 0x0f;
    if usize::from(token_length) > Token::MAX_SHORT {
        return Err(StreamFault::Format(Fault::TokenLength(token_length)));
    }
    let Some((length, rest)) = split_length(first >> 4, rest) else { return Ok(None) };
    let header = bytes.len() - rest.len() + 1 + usize::from(token_length);
    if length + header as u64 > u64::from(limit) {
        return Err(StreamFault::TooLarge { limit });
    }
    let whole = rest.split_first().and_then(|(&code, rest)| {
        let (token, rest) = rest.split_at_checked(usize::from(token_length))?;
        let (body, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        Some((Frame { code: Code::from_byte(code), token: Token::new(token)?, body }, rest))
    });
    Ok(whole)
}

/// Appends a message to `stream`, unless it is larger than `limit`.
pub(super) fn append(
    stream: &mut Vec<u8>,
    code: Code,
    token: Token,
    options: &Options,
    payload: &[u8],
    limit: usize,
) -> Result<(), TooLarge> {
    let marker = if payload.is_empty() { &[][..] } else { &[PAYLOAD_MARKER] };
    let options = options.encoded();
    if options.len() > MAX_OPTIONS {
        return Err(TooLarge);
    }
    append_parts(stream, code, token, [options, marker, payload], limit)
}

/// Appends a message that was prepared for many, unless it is larger than `limit`.
pub(super) fn append_prepared(
    stream: &mut Vec<u8>,
    token: Token,
    prepared: &Prepared,
    limit: usize,
) -> Result<(), TooLarge> {
    append_parts(stream, prepared.code(), token, [prepared.content(), &[], &[]], limit)
}

fn append_parts(
    stream: &mut Vec<u8>,
    code: Code,
    token: Token,
    [options, marker, payload]: [&[u8]; 3],
    limit: usize,
) -> Result<(), TooLarge> {
    let length = options.len() + marker.len() + payload.len();
    let (nibble, extended, count) = length_field(u32::try_from(length).map_err(|_| TooLarge)?);
    if 1 + count + 1 + token.len() + length > limit {
        return Err(TooLarge);
    }
    let extended = extended.to_be_bytes();
    let extended = extended.get(extended.len() - count..).unwrap_or_default();
    stream.push(nibble << 4 | u8::try_from(token.len()).unwrap_or_default());
    stream.extend_from_slice(extended);
    stream.push(code.as_byte());
    [&token, options, marker, payload].into_iter().for_each(|part| stream.extend_from_slice(part));
    Ok(())
}

/// The length of options and payload, and what follows it; `None` while it is not complete.
fn split_length(nibble: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    match nibble {
        13 => {
            let (&[extended], rest) = rest.split_first_chunk()?;
            Some((u64::from(ONE_BYTE) + u64::from(extended), rest))
        }
        14 => {
            let (&extended, rest) = rest.split_first_chunk()?;
            Some((u64::from(TWO_BYTES) + u64::from(u16::from_be_bytes(extended)), rest))
        }
        15 => {
            let (&extended, rest) = rest.split_first_chunk()?;
            Some((u64::from(FOUR_BYTES) + u64::from(u32::from_be_bytes(extended)), rest))
        }
        short => Some((u64::from(short), rest)),
    }
}

/// How a length is written: Len, the extended length, and in how many bytes.
fn length_field(length: u32) -> (u8, u32, usize) {
    match length {
        0..ONE_BYTE => (u8::try_from(length).unwrap_or_default(), 0, 0),
        ONE_BYTE..TWO_BYTES => (13, length - ONE_BYTE, 1),
        TWO_BYTES..FOUR_BYTES => (14, length - TWO_BYTES, 2),
        FOUR_BYTES.. => (15, length - FOUR_BYTES, 4),
    }
}

#[cfg(test)]
mod tests;
