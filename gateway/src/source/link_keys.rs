//! The keys of nodes that speak the link protocol, in a file with a line for each:
//!
//! ```text
//! # number  key                                                               name
//! 42        000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f  greenhouse-door
//! ```
//! What is wrong with a line is told by its number: a key is in no message.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use proto::link::{KEY_BYTES, Key};

/// The longest file.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The longest name, in bytes.
const MAX_NAME: usize = 256;

/// Keys and names by number.
#[derive(Default)]
pub(crate) struct LinkKeys {
    pub(crate) keys: BTreeMap<u32, Key>,
    pub(crate) names: BTreeMap<u32, String>,
}

/// Why a file holds no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("cannot read the key file {0}: {1}")]
    Read(String, String),
    #[error("the key file {0} is longer than {MAX_BYTES} bytes")]
    TooLong(String),
    #[error("the key file {0} holds no keys")]
    Empty(String),
    #[error("the key file {file} has a mistake in line {line}: {what}")]
    Line { file: String, line: usize, what: &'static str },
}

impl KeysError {
    /// What can be done about it.
    pub(crate) const fn help(&self) -> &'static str {
        match self {
            Self::Read(..) => "make the file, and let the gateway read it",
            Self::TooLong(_) | Self::Empty(_) | Self::Line { .. } => {
                "a line is a device's number, its key as 64 hexadecimal digits (`openssl rand -hex 32` \
                 makes one) and, if wanted, a name"
            }
        }
    }
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<LinkKeys, KeysError> {
    let file = path.display().to_string();
    let mut text = String::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| KeysError::Read(file.clone(), error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(KeysError::TooLong(file));
    }
    let mut keys = LinkKeys::default();
    for (line, text) in (1..).zip(text.lines()) {
        let added = keys.add(text);
        added.map_err(|what| KeysError::Line { file: file.clone(), line, what })?;
    }
    if keys.keys.is_empty() { Err(KeysError::Empty(file)) } else { Ok(keys) }
}

impl LinkKeys {
    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        let mut words = line.split_whitespace();
        let Some(number) = words.next().filter(|word| !word.starts_with('#')) else {
            return Ok(());
        };
        let number: u32 = number.parse().map_err(|_| "it must begin with a number below 2^32")?;
        let key = words.next().and_then(parse).ok_or("its key is not 64 hexadecimal digits")?;
        let name = words.next();
        if words.next().is_some() {
            return Err("something stands behind the name; names have no spaces");
        }
        if let Some(name) = name {
            if name.len() > MAX_NAME || name.chars().any(char::is_control) {
                return Err("its name is too long, or has control characters");
            }
            if self.names.values().any(|taken| taken == name) {
                return Err("another device has this name");
            }
            self.names.insert(number, name.to_owned());
        }
        match self.keys.insert(number, Key::new(&key)) {
            None => Ok(()),
            Some(_) => Err("the device is there twice"),
        }
    }
}

fn parse(hex: &str) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    let is_hex = hex.len() == 2 * KEY_BYTES && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = hex.as_bytes().chunks(2).filter(|_| is_hex);
    let mut bytes = 0;
    for (byte, digits) in key.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        bytes += 1;
    }
    (bytes == KEY_BYTES).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn added(lines: &[String]) -> Result<LinkKeys, &'static str> {
        let mut keys = LinkKeys::default();
        lines.iter().try_for_each(|line| keys.add(line))?;
        Ok(keys)
    }

    #[test]
    fn lines_are_numbers_keys_and_names() {
        let lines = [String::new(), "# 7".into(), format!(" 42\t{KEY} door "), format!("7 {KEY}")];
        let keys = added(&lines).unwrap();
        assert!(keys.keys.keys().eq([&7, &42]));
        assert_eq!(keys.names, BTreeMap::from([(42, "door".to_owned())]));
    }

    #[test]
    fn mistakes_are_told_without_the_key() {
        let cases = [
            (vec![format!("x {KEY}")], "number"),
            (vec!["1".into()], "64"),
            (vec![format!("1 {KEY}0")], "64"),
            (vec![format!("1 +{}", &KEY[1..])], "64"),
            (vec![format!("1 {KEY} a b")], "spaces"),
            (vec![format!("1 {KEY}"), format!("1 {KEY}")], "twice"),
            (vec![format!("1 {KEY} a"), format!("2 {KEY} a")], "this name"),
        ];
        for (lines, expected) in cases {
            let what = added(&lines).err().unwrap();
            assert!(what.contains(expected) && !what.contains(KEY), "{what}");
        }
    }
}
