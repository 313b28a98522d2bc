//! The files of TLS: found, read and checked while the configuration is loaded.

use super::files::Finder;
use super::findings::Findings;
use super::layer::{Aim, Layers};
use super::model::{Config, Tls};
use super::report::Problem;
use super::tree::KeyPath;
use super::values::NamedFile;
use crate::broker::tls_files::{self, TlsFileError};

/// Finds the files of each broker, and tells what is wrong with them.
pub(super) fn check_all(
    config: &mut Config,
    finder: &Finder<'_>,
    layers: &Layers,
    findings: &mut Findings,
) {
    for (id, broker) in &mut config.brokers {
        let Some(tls) = &mut broker.tls else { continue };
        let path = KeyPath::of(["brokers", id.as_str(), "tls"]);
        Files { path, finder, layers, findings }.check(tls);
    }
}

/// The files of one broker.
struct Files<'a> {
    path: KeyPath,
    finder: &'a Finder<'a>,
    layers: &'a Layers,
    findings: &'a mut Findings,
}

impl Files<'_> {
    fn check(mut self, tls: &mut Tls) {
        self.read("ca_file", tls.ca_file.as_mut(), tls_files::read_roots);
        let chain = self.read("cert_file", tls.cert_file.as_mut(), tls_files::read_chain);
        let key = self.read("key_file", tls.key_file.as_mut(), tls_files::read_key);
        if let (Some(chain), Some(key), Some(file)) = (chain, key, &tls.key_file)
            && let Err(error) = tls_files::certify(chain, key, file.path())
        {
            self.tell("key_file", file, &error);
        }
    }

    /// Finds and reads a file; `None` where it is not named, or something is wrong with it.
    fn read<T>(
        &mut self,
        key: &str,
        file: Option<&mut NamedFile>,
        read: impl FnOnce(&std::path::Path) -> Result<T, TlsFileError>,
    ) -> Option<T> {
        let path = self.path.key(key);
        let file = file.filter(|_| !self.findings.failed(&path))?;
        let found = self.finder.find(file.written(), &self.layers.place(&path, Aim::Value));
        file.set_path(found);
        read(file.path()).map_err(|error| self.tell(key, file, &error)).ok()
    }

    fn tell(&mut self, key: &str, file: &NamedFile, error: &TlsFileError) {
        let path = self.path.key(key);
        let place = self.layers.place(&path, Aim::Value);
        let mut problem = Problem::new(error.to_string(), place);
        if let Some(help) = error.help() {
            problem = problem.help(help);
        }
        if error.is_missing() {
            problem = self.finder.explain(file.written(), problem);
        }
        self.findings.fail(path, problem);
    }
}
