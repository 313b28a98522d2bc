//! A certification authority.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::process::{program, run};
use crate::harness::temp::TempDir;

const CONFIG: &str = "[ca]
default_ca = this
[this]
dir = .
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
";

/// A certification authority with a folder of its own.
#[derive(Debug)]
pub(crate) struct Authority {
    dir: TempDir,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new();
        fs::write(dir.join("ca.conf"), CONFIG).unwrap();
        fs::write(dir.join("index.txt"), "").unwrap();
        let authority = Self { dir };
        let mut command = authority.openssl(&["req", "-x509", "-days", "3650"]);
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        command.args(["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA"]);
        command.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        run(&mut command);
        authority
    }

    /// The certificate that has to be trusted.
    pub(crate) fn cert(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A certificate for these names: `DNS:localhost,IP:127.0.0.1`; without any it is of version 1.
    pub(crate) fn issue(&self, names: &str) -> Pair {
        self.issue_until(names, "20990101000000Z")
    }

    /// The same, valid until a time.
    pub(crate) fn issue_until(&self, names: &str, end: &str) -> Pair {
        let stem = format!("leaf-{}", fs::read_dir(self.dir.path()).unwrap().count());
        let [cert, key, request] = ["pem", "key", "csr"].map(|end| format!("{stem}.{end}"));
        let mut command = self.openssl(&["req", "-new", "-newkey", "ec", "-nodes"]);
        command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", &key, "-out", &request]);
        command.args(["-subj", "/CN=leaf"]);
        if !names.is_empty() {
            command.args(["-addext", &format!("subjectAltName={names}")]);
        }
        run(&mut command);
        let mut command = self.openssl(&["ca", "-batch", "-config", "ca.conf", "-notext"]);
        command.args(["-cert", "ca.pem", "-keyfile", "ca.key", "-in", &request, "-out", &cert]);
        run(command.args(["-startdate", "20200101000000Z", "-enddate", end]));
        Pair { cert: self.dir.join(&cert), key: self.dir.join(&key) }
    }

    /// A command of OpenSSL in the folder.
    pub(crate) fn openssl(&self, arguments: &[&str]) -> Command {
        let mut command = program("openssl", "openssl");
        command.args(arguments).current_dir(self.dir.path());
        command
    }
}

impl Pair {
    /// The lines of a listener of Mosquitto that shows this certificate.
    pub(crate) fn listener(&self) -> String {
        format!("certfile {}\nkeyfile {}\n", self.cert.display(), self.key.display())
    }

    /// The keys of the gateway's `tls` for it.
    pub(crate) fn keys(&self) -> String {
        let Self { cert, key } = self;
        format!("tls.cert_file = \"{}\"\ntls.key_file = \"{}\"\n", cert.display(), key.display())
    }

    /// Puts another pair into the same files.
    pub(crate) fn replace_with(&self, other: &Self) {
        fs::copy(&other.cert, &self.cert).unwrap();
        fs::copy(&other.key, &self.key).unwrap();
    }

    /// A copy in another folder.
    pub(crate) fn copy_to(&self, dir: &Path) -> Self {
        let copy = Self { cert: dir.join("own.pem"), key: dir.join("own.key") };
        copy.replace_with(self);
        copy
    }
}
