//! A report as files in a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Report;

/// For programs.
pub const JSON: &str = "report.json";
/// For programs that run tests.
pub const JUNIT: &str = "junit.xml";
/// For people.
pub const HTML: &str = "report.html";

/// A report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It has no form as JSON.
    #[error("a report has no form as JSON")]
    Json(#[from] serde_json::Error),
    /// The system does not let it.
    #[error("cannot write the report to {}; `--report DIR` names a folder that can be written to", path.display())]
    File {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Report {
    /// Writes [`JSON`], [`JUNIT`] and [`HTML`] into a folder, which is made if it is not there. Those
    /// of an earlier run are replaced.
    ///
    /// # Errors
    /// When one of them cannot be written.
    pub fn write_to(&self, folder: &Path) -> Result<(), WriteError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| WriteError::File { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let files = [(JSON, self.to_json()?), (JUNIT, self.to_junit()), (HTML, self.to_html())];
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).map_err(failed(&path))?;
        }
        Ok(())
    }
}
