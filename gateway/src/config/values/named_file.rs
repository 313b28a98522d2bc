//! Files that keys name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::text_value;

/// A file: as the operator wrote it, which is how it is shown, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedFile {
    written: PathBuf,
    found: PathBuf,
}

/// Why a text names no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected text that is not empty")]
pub(crate) struct EmptyPath;

impl NamedFile {
    /// As it was written.
    pub(crate) fn written(&self) -> &Path {
        &self.written
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.found
    }

    /// Says where it is.
    pub(crate) fn set_path(&mut self, found: PathBuf) {
        self.found = found;
    }
}

impl FromStr for NamedFile {
    type Err = EmptyPath;

    fn from_str(text: &str) -> Result<Self, EmptyPath> {
        match text {
            "" => Err(EmptyPath),
            text => Ok(Self { written: text.into(), found: text.into() }),
        }
    }
}

/// As it was written.
impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.display().fmt(f)
    }
}

text_value!(NamedFile, "path", "expected a path in quotes", { "minLength": 1 });
