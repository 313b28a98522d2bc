//! Bytes that stand in a frame.

use std::fmt;
use std::str::FromStr;

use super::text_value;

/// The most bytes that a frame can be marked with.
const MAX: usize = 16;

/// One to sixteen bytes, in hexadecimal: `"aa c0"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HexBytes(Vec<u8>);

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HexBytesError {
    #[error(
        "expected two hexadecimal digits for each byte, such as \"aa c0\"\nthe text {0:?} is \"{1}\""
    )]
    Digits(String, HexBytes),
    #[error("expected two hexadecimal digits for each byte, such as \"aa c0\"")]
    TooLongForText,
    #[error("expected 1 to {MAX} bytes")]
    Count,
}

impl HexBytes {
    /// The bytes: at least one.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for HexBytes {
    type Err = HexBytesError;

    fn from_str(text: &str) -> Result<Self, HexBytesError> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
        if digits.is_empty() || digits.len() > 2 * MAX && text.len() > 3 * MAX {
            return Err(HexBytesError::Count);
        }
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
        match bytes {
            Some(bytes) if bytes.len() <= MAX => Ok(Self(bytes)),
            Some(_) => Err(HexBytesError::Count),
            None if text.len() <= MAX => {
                let meant = Self(text.bytes().collect());
                Err(HexBytesError::Digits(text.to_owned(), meant))
            }
            None => Err(HexBytesError::TooLongForText),
        }
    }
}

impl fmt::Display for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{byte:02x}")?;
        }
        Ok(())
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| digit.try_into().ok())
}

text_value!(HexBytes, "bytes in hexadecimal", "expected bytes in hexadecimal, such as \"aa c0\"", {
    "pattern": "^ *([0-9A-Fa-f] *[0-9A-Fa-f] *){1,16}$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_pairs_of_digits() {
        for (text, bytes) in
            [("aa c0", &[0xaa, 0xc0][..]), ("2F", &[0x2f]), (" 0d0a ", &[0x0d, 0x0a])]
        {
            assert_eq!(text.parse::<HexBytes>().unwrap().bytes(), bytes, "{text}");
        }
        assert_eq!("aac0".parse::<HexBytes>().unwrap().to_string(), "aa c0");
        let long = "00 ".repeat(17);
        for text in ["", " ", &long] {
            assert_eq!(text.parse::<HexBytes>(), Err(HexBytesError::Count), "{text:?}");
        }
    }

    #[test]
    fn text_is_told_in_hexadecimal() {
        let error = "$GP".parse::<HexBytes>().unwrap_err().to_string();
        assert!(error.ends_with("the text \"$GP\" is \"24 47 50\""), "{error}");
        assert!("abc".parse::<HexBytes>().is_err());
    }
}
