//! base64 with the URL-safe alphabet and without padding (RFC 4648 §5).

use alloc::string::String;
use alloc::vec::Vec;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bytes, or `None` where the text has padding, a character of another alphabet, a length that
/// no bytes give, or bits set after the last byte (RFC 4648 §3.5).
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for character in group {
            bits = bits << 6 | digit(*character)?;
        }
        let count = group.len() * 6 / 8;
        let aligned = bits << (24 - 6 * group.len());
        let [_, group_bytes @ ..] = aligned.to_be_bytes();
        let (whole, rest) = group_bytes.split_at_checked(count)?;
        if count == 0 || rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(whole);
    }
    Some(bytes)
}

/// Appends the text for `bytes`.
pub fn encode(bytes: &[u8], out: &mut String) {
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (24 - 8 * group.len());
        for position in 0..=group.len() {
            out.push(character(bits >> (18 - 6 * position) & 0x3f));
        }
    }
}

fn digit(character: u8) -> Option<u32> {
    Some(u32::from(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    }))
}

/// The character of a digit below 64.
fn character(digit: u32) -> char {
    usize::try_from(digit).ok().and_then(|at| ALPHABET.get(at)).map_or('A', |c| char::from(*c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut out = String::new();
        encode(bytes, &mut out);
        out
    }

    #[test]
    fn vectors_of_rfc_4648_section_10_without_padding() {
        let vectors = [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(encoded(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn the_alphabet_is_the_url_safe_one() {
        assert_eq!(encoded(&[0xfb, 0xff]), "-_8");
        assert_eq!(decode("-_8").unwrap(), [0xfb, 0xff]);
        for other in ["+_8", "-/8"] {
            assert_eq!(decode(other), None);
        }
    }

    #[test]
    fn padding_odd_lengths_and_stray_bits_are_refused() {
        for text in ["Zg==", "Zm8=", "Z", "Zm9vY", "Zh", "Zm9", "Zm 8", "Zm8\n"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(decode(&encoded(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn only_one_text_stands_for_some_bytes(text in "[A-Za-z0-9_-]{0,12}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encoded(&bytes), text);
            }
        }
    }
}
