//! The key files of the link protocol: found, read and checked while the configuration is loaded.

use super::files::Finder;
use super::findings::Findings;
use super::layer::{Aim, Layers};
use super::model::{Config, Decode};
use super::report::Problem;
use super::tree::KeyPath;
use crate::source::link_keys::{KeysError, read};

/// Finds the key file of each source, and tells what is wrong with it.
pub(super) fn check_all(
    config: &mut Config,
    finder: &Finder<'_>,
    layers: &Layers,
    findings: &mut Findings,
) {
    for (id, source) in &mut config.sources {
        let path = KeyPath::of(["sources", id.as_str(), "decode", "keys_file"]);
        let Some(Decode::Link(link)) = &mut source.decode else { continue };
        let Some(file) = link.keys_file.as_mut().filter(|_| !findings.failed(&path)) else {
            continue;
        };
        let place = layers.place(&path, Aim::Value);
        file.set_path(finder.find(file.written(), &place));
        if let Err(error) = read(file.path()) {
            let mut problem = Problem::new(error.to_string(), place).help(error.help());
            if matches!(error, KeysError::Read(..)) {
                problem = finder.explain(file.written(), problem);
            }
            findings.fail(path, problem);
        }
    }
}
