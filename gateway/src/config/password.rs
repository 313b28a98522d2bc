//! Passwords that stand in files of their own.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::files::Finder;
use super::findings::Findings;
use super::layer::{Aim, Layers};
use super::model::Config;
use super::report::{Problem, reason};
use super::tree::KeyPath;
use super::values::Secret;

/// The longest password that MQTT carries (MQTT 3.1.1 §3.1.3.5).
const MAX_BYTES: u64 = 65_535;

/// Why a file holds no password.
#[derive(Debug, thiserror::Error)]
enum PasswordError {
    #[error("cannot read the password file {0}: {1}")]
    Read(String, String),
    #[error("the password file {0} is empty")]
    Empty(String),
    #[error("the password file {0} is longer than the 65535 bytes that MQTT carries")]
    TooLong(String),
    #[error("the password file {0} is not UTF-8 text")]
    NotText(String),
}

/// Reads the password file of each broker into its `password`.
pub(super) fn read_all(
    config: &mut Config,
    finder: &Finder<'_>,
    layers: &Layers,
    findings: &mut Findings,
) {
    for (id, broker) in &mut config.brokers {
        let path = KeyPath::of(["brokers", id.as_str(), "password_file"]);
        let Some(file) = broker.password_file.as_ref().filter(|_| !findings.failed(&path)) else {
            continue;
        };
        let place = layers.place(&path, Aim::Value);
        match read(&finder.find(file, &place)) {
            Ok(password) => broker.password = Some(Secret::new(password)),
            Err(error) => {
                let problem = Problem::new(error.to_string(), place);
                findings.fail(path, finder.explain(file, problem));
            }
        }
    }
}

fn read(path: &Path) -> Result<String, PasswordError> {
    let name = || path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 3).read_to_end(&mut bytes))
        .map_err(|error| PasswordError::Read(name(), reason(&error)))?;
    let mut text = String::from_utf8(bytes).map_err(|_| PasswordError::NotText(name()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    match text.len() as u64 {
        0 => Err(PasswordError::Empty(name())),
        1..=MAX_BYTES => Ok(text),
        _ => Err(PasswordError::TooLong(name())),
    }
}
