//! Reading the scenario that a command names.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use device_sim::scenario::Scenario;
use device_sim::settings::report::Report;

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
#[error("{} is no scenario that can be played", path.display())]
pub(crate) struct BadScenario {
    path: PathBuf,
    /// Every mistake, boxed: this is the rare case.
    pub(super) report: Box<Report>,
}

/// Reads the scenario at `path` with the variables of this process.
pub(super) fn load(path: &Path) -> Result<Scenario, BadScenario> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect();
    let failed = |report| BadScenario { path: path.to_owned(), report: Box::new(report) };
    Scenario::load(path, &environment).map_err(failed)
}

impl BadScenario {
    /// Shows every mistake.
    pub(super) fn show(&self) {
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        // With stderr closed there is nobody left to tell.
        let _ = io::stderr().lock().write_all(self.report.render(colours).as_bytes());
    }
}
