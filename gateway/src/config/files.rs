//! Where the files are that keys name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::report::{Place, Problem};
use super::setting::CREDENTIALS_DIRECTORY;

/// Finds files: systemd's credentials first, then beside the file that names them.
pub(super) struct Finder<'a> {
    credentials: Option<&'a OsString>,
}

impl<'a> Finder<'a> {
    /// With the folder of credentials, where there is one.
    pub(super) const fn new(credentials: Option<&'a OsString>) -> Self {
        Self { credentials }
    }

    /// Where `file` is, which is named at `place`.
    pub(super) fn find(&self, file: &Path, place: &Place) -> PathBuf {
        let folder = match place {
            Place::Span { file, .. } => Path::new(file.name()).parent(),
            Place::Nowhere | Place::Named { .. } => None,
        };
        let credential = self.credentials.map(|credentials| Path::new(credentials).join(file));
        match credential {
            Some(credential) if credential.exists() => credential,
            Some(_) | None => folder.unwrap_or(Path::new("")).join(file),
        }
    }

    /// Adds to a problem with `file` where it was looked for.
    pub(super) fn explain(&self, file: &Path, problem: Problem) -> Problem {
        if file.is_absolute() {
            return problem;
        }
        let credentials = self.credentials.map_or_else(
            || format!("${CREDENTIALS_DIRECTORY}, which is not set"),
            |folder| format!("${CREDENTIALS_DIRECTORY} ({})", Path::new(folder).display()),
        );
        problem.note(format!(
            "a relative path is looked for in {credentials}, then beside the file that names it"
        ))
    }
}
