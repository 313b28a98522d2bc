//! Passwords and tokens that stand in files of their own.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::files::Finder;
use super::findings::Findings;
use super::layer::{Aim, Layers};
use super::model::{Config, Link};
use super::report::{Problem, reason};
use super::tree::KeyPath;
use super::values::Secret;

/// What a file holds.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    max: u64,
    carrier: &'static str,
    is_sent_in_header: bool,
}

/// The longest that MQTT carries (MQTT 3.1.1 §3.1.3.5).
const PASSWORD: Kind =
    Kind { name: "password", max: 65_535, carrier: "MQTT carries", is_sent_in_header: false };
/// What has room in the head of a request, with all the rest.
const TOKEN: Kind =
    Kind { name: "token", max: 4096, carrier: "a header may have", is_sent_in_header: true };

/// Why a file holds no password.
#[derive(Debug, thiserror::Error)]
enum PasswordError {
    #[error("cannot read the {0} file {1}: {2}")]
    Read(&'static str, String, String),
    #[error("the {0} file {1} is empty")]
    Empty(&'static str, String),
    #[error("the {} file {path} is longer than the {} bytes that {}", .kind.name, .kind.max, .kind.carrier)]
    TooLong { kind: Kind, path: String },
    #[error("the {0} file {1} is not UTF-8 text")]
    NotText(&'static str, String),
    #[error(
        "the {0} file {1} holds more than letters, digits and marks of ASCII, which a header cannot carry"
    )]
    NotSendable(&'static str, String),
}

/// Reads the password file of each broker into its `password`, and token files likewise.
pub(super) fn read_all(
    config: &mut Config,
    finder: &Finder<'_>,
    layers: &Layers,
    findings: &mut Findings,
) {
    let mut read_into = |secret: &mut Option<Secret>, file: Option<&Path>, path: KeyPath, kind| {
        let Some(file) = file.filter(|_| !findings.failed(&path)) else { return };
        let place = layers.place(&path, Aim::Value);
        match read(&finder.find(file, &place), kind) {
            Ok(text) => *secret = Some(Secret::new(text)),
            Err(error) => {
                let problem = Problem::new(error.to_string(), place);
                findings.fail(path, finder.explain(file, problem));
            }
        }
    };
    for (id, broker) in &mut config.brokers {
        let path = KeyPath::of(["brokers", id.as_str(), "password_file"]);
        read_into(&mut broker.password, broker.password_file.as_deref(), path, PASSWORD);
    }
    for (id, source) in &mut config.sources {
        if let Link::Http(http) = &mut source.link {
            let path = KeyPath::of(["sources", id.as_str(), "link", "token_file"]);
            read_into(&mut http.token, http.token_file.as_deref(), path, TOKEN);
        }
    }
}

fn read(path: &Path, kind: Kind) -> Result<String, PasswordError> {
    let name = || path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(kind.max + 3).read_to_end(&mut bytes))
        .map_err(|error| PasswordError::Read(kind.name, name(), reason(&error)))?;
    let mut text =
        String::from_utf8(bytes).map_err(|_| PasswordError::NotText(kind.name, name()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    match text.len() as u64 {
        0 => Err(PasswordError::Empty(kind.name, name())),
        len if len > kind.max => Err(PasswordError::TooLong { kind, path: name() }),
        _ if kind.is_sent_in_header && !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(PasswordError::NotSendable(kind.name, name()))
        }
        _ => Ok(text),
    }
}
