//! The options of a request or response, owned, in the form that they have in a message.
//!
//! One allocation whatever the number of options, and nothing to convert on receiving and sending.
//! They are always in the order of their numbers and keep the order of repeated ones, and a number
//! or length has one form only (RFC 7252 §3.1): so what is sent compares equal to what is received.

use alloc::vec::Vec;
use core::fmt;

use super::inline::Inline;
use super::{MessageOptions, OptionNumber};

/// The most critical options that a diagnostic names.
const MAX_NAMED: usize = 8;
/// The longest value that has a form at all; a message with it is too large to be sent.
const MAX_VALUE: usize = 65_535 + 269;

/// Options in the order of their numbers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Options {
    encoded: Vec<u8>,
    /// The number of the last one; 0 if there is none.
    last: u16,
}

impl Options {
    /// No options.
    pub const fn new() -> Self {
        Self { encoded: Vec::new(), last: 0 }
    }

    /// Adds an option behind those of the same or a lower number. No message is large enough for a
    /// value of more than 65,804 bytes: what is beyond is cut off.
    pub fn push(&mut self, number: OptionNumber, value: &[u8]) {
        if number.0 >= self.last {
            return self.append(number, value);
        }
        let all = core::mem::take(self);
        let (before, behind): (Vec<_>, Vec<_>) = all.iter().partition(|&(n, _)| n <= number);
        let ordered = before.into_iter().chain([(number, value)]).chain(behind);
        ordered.for_each(|(number, value)| self.append(number, value));
    }

    /// Adds an option of the format `uint`, in as few bytes as possible (RFC 7252 §3.2).
    pub fn push_uint(&mut self, number: OptionNumber, value: u32) {
        let bytes = value.to_be_bytes();
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        self.push(number, bytes.get(zeros..).unwrap_or_default());
    }

    /// Adds an option for each segment of a path such as `r/th-1/temp`; a leading `/` does not
    /// count (RFC 7252 §6.4).
    pub(super) fn push_path(&mut self, number: OptionNumber, path: &str) {
        let path = path.strip_prefix('/').unwrap_or(path);
        if !path.is_empty() {
            path.split('/').for_each(|segment| self.push(number, segment.as_bytes()));
        }
    }

    /// Takes all options out that are `unwanted`.
    pub(super) fn remove(&mut self, unwanted: impl Fn(OptionNumber) -> bool) {
        if self.iter().any(|(number, _)| unwanted(number)) {
            let all = core::mem::take(self);
            let kept = all.iter().filter(|&(number, _)| !unwanted(number));
            kept.for_each(|(number, value)| self.push(number, value));
        }
    }

    /// Puts one value in place of all that an option has.
    pub(super) fn replace_uint(&mut self, number: OptionNumber, value: u32) {
        self.remove(|other| other == number);
        self.push_uint(number, value);
    }

    /// The options as a message has them (RFC 7252 §3.1).
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// All options.
    pub fn iter(&self) -> impl Iterator<Item = (OptionNumber, &[u8])> {
        MessageOptions::checked(&self.encoded)
    }

    /// The values of one option.
    pub fn all(&self, number: OptionNumber) -> impl Iterator<Item = &[u8]> {
        // Most options that are asked for are not there, and have a higher number than the path.
        let options = if number.0 > self.last { &[][..] } else { &self.encoded };
        MessageOptions::checked(options)
            .skip_while(move |&(other, _)| other < number)
            .take_while(move |&(other, _)| other == number)
            .map(|(_, value)| value)
    }

    /// The first value of an option.
    pub fn first(&self, number: OptionNumber) -> Option<&[u8]> {
        self.all(number).next()
    }

    /// The first value of an option of the format `uint`; `None` if it does not fit.
    pub fn first_uint(&self, number: OptionNumber) -> Option<u32> {
        self.first(number)?.iter().try_fold(0_u32, |value, &byte| {
            value.checked_mul(256).map(|value| value | u32::from(byte))
        })
    }

    /// The values of one option of the format `string`; one that is not UTF-8 reads as U+FFFD.
    /// The endpoint lets no request with such a Uri-Path or Uri-Query through.
    pub fn strings(&self, number: OptionNumber) -> impl Iterator<Item = &str> {
        self.all(number).map(|value| str::from_utf8(value).unwrap_or("\u{fffd}"))
    }

    /// Content-Format (RFC 7252 §12.3).
    pub fn content_format(&self) -> Option<u16> {
        self.first_uint(OptionNumber::CONTENT_FORMAT)?.try_into().ok()
    }

    /// How many options there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// The options of a message that its receiver has to look at (RFC 7252 §5.4).
    ///
    /// An option is not recognised if it is critical and not in `recognised`, if its length is
    /// outside its definition (§5.4.3), or if it is repeated and must not be (§5.4.5). Critical
    /// ones among them are the error, elective ones are left out. An elective option without a
    /// definition here is kept for whoever knows it.
    pub(super) fn recognise(
        received: MessageOptions<'_>,
        recognised: &[OptionNumber],
    ) -> Result<Self, Unrecognised> {
        let mut options = Self::new();
        options.encoded.reserve_exact(received.encoded_len());
        let mut unrecognised = Unrecognised { numbers: Vec::new() };
        let mut previous = None;
        for (number, value) in received {
            let repeated = previous.replace(number) == Some(number);
            let as_defined = number.definition().is_none_or(|definition| {
                definition.length.contains(&value.len()) && (definition.repeatable || !repeated)
            });
            if as_defined && (!number.is_critical() || recognised.contains(&number)) {
                options.append(number, value);
            } else if number.is_critical() && unrecognised.numbers.len() < MAX_NAMED {
                unrecognised.numbers.push(number);
            }
        }
        if unrecognised.numbers.is_empty() { Ok(options) } else { Err(unrecognised) }
    }

    /// Adds an option whose number is not below the last one.
    fn append(&mut self, number: OptionNumber, value: &[u8]) {
        let value = value.get(..MAX_VALUE).unwrap_or(value);
        let (delta, more_delta) = field(usize::from(number.0.saturating_sub(self.last)));
        let (length, more_length) = field(value.len());
        self.encoded.push(delta << 4 | length);
        self.encoded.extend_from_slice(&more_delta);
        self.encoded.extend_from_slice(&more_length);
        self.encoded.extend_from_slice(value);
        self.last = number.0;
    }
}

/// A delta or length: what stands in the option's first byte, and its extended form (RFC 7252
/// §3.1).
fn field(value: usize) -> (u8, Inline<2>) {
    let one_byte = |value| u8::try_from(value).unwrap_or(u8::MAX);
    let extended = |bytes: &[u8]| Inline::new(bytes).unwrap_or(Inline::EMPTY);
    match value {
        0..13 => (one_byte(value), Inline::EMPTY),
        13..269 => (13, extended(&[one_byte(value - 13)])),
        _ => (14, extended(&u16::try_from(value - 269).unwrap_or(u16::MAX).to_be_bytes())),
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Critical options of a message that its receiver does not recognise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unrecognised {
    numbers: Vec<OptionNumber>,
}

impl fmt::Display for Unrecognised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unrecognised critical option")?;
        let mut separator = ' ';
        for number in &self.numbers {
            write!(f, "{separator}{number}")?;
            separator = ',';
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Code, MessageType, Token, encode};
    use super::*;
    use alloc::vec::Vec;

    fn listed(options: &Options) -> Vec<(u16, &[u8])> {
        options.iter().map(|(number, value)| (number.0, value)).collect()
    }

    #[test]
    fn options_are_kept_in_the_order_of_their_numbers() {
        // RFC 7252 §3.1: instances appear in the order of their numbers, repeated ones as given.
        let mut options = Options::new();
        options.push(OptionNumber::ACCEPT, &[50]);
        options.push(OptionNumber::URI_PATH, b"a");
        options.push(OptionNumber(65000), b"last");
        options.push(OptionNumber::URI_PATH, b"");
        options.push(OptionNumber::URI_PATH, b"bc");
        let expected: [(u16, &[u8]); 5] =
            [(11, b"a"), (11, b""), (11, b"bc"), (17, &[50]), (65000, b"last")];
        assert_eq!(listed(&options), expected);
        assert_eq!(options.strings(OptionNumber::URI_PATH).collect::<Vec<_>>(), ["a", "", "bc"]);
        assert_eq!(options.first(OptionNumber::URI_QUERY), None);
    }

    #[test]
    fn a_value_that_no_message_has_room_for_is_cut_and_not_sent() {
        let mut options = Options::new();
        options.push(OptionNumber(2048), &[7; 70_000]);
        options.push(OptionNumber::URI_PATH, b"a");
        let lengths: Vec<_> = options.iter().map(|(n, value)| (n.0, value.len())).collect();
        assert_eq!(lengths, [(11, 1), (2048, MAX_VALUE)]);
        let (kind, code) = (MessageType::NonConfirmable, Code::CONTENT);
        let built = encode::message(kind, code, 1, Token::EMPTY, &options, b"", usize::MAX);
        assert_eq!(built, Err(encode::TooLarge));
    }

    #[test]
    fn uints_take_as_few_bytes_as_possible_and_read_with_leading_zeros() {
        // RFC 7252 §3.2
        for (value, bytes) in
            [(0, &[][..]), (1, &[1]), (256, &[1, 0]), (u32::MAX, &[255, 255, 255, 255])]
        {
            let mut options = Options::new();
            options.push_uint(OptionNumber::MAX_AGE, value);
            assert_eq!(options.first(OptionNumber::MAX_AGE), Some(bytes));
            assert_eq!(options.first_uint(OptionNumber::MAX_AGE), Some(value));
        }
        let mut options = Options::new();
        options.push(OptionNumber::CONTENT_FORMAT, &[0, 50]);
        options.push(OptionNumber(2048), &[1, 0, 0, 0, 0]);
        assert_eq!(options.content_format(), Some(50));
        assert_eq!(options.first_uint(OptionNumber(2048)), None);
    }
}
