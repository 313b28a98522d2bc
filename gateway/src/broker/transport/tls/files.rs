//! The files of TLS: PEM (RFC 7468) with certificates and a private key.

#![expect(clippy::wildcard_enum_match_arm, reason = "the errors of the library may grow")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustls_native_certs::load_native_certs;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore};

/// The largest file: the bundle of a whole system is a quarter of it.
const MAX_BYTES: u64 = 1024 * 1024;
/// How an encrypted key begins (RFC 7468 §11), and one of OpenSSL's older form.
const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct TlsFileError {
    text: String,
    help: Option<String>,
    is_missing: bool,
}

impl TlsFileError {
    fn new(text: String) -> Self {
        Self { text, help: None, is_missing: false }
    }

    fn with_help(mut self, help: String) -> Self {
        self.help = Some(help);
        self
    }

    /// Reading was given up.
    pub(super) fn unread() -> Self {
        Self::new("the files of TLS were not read".to_owned())
    }

    /// What to do.
    pub(crate) fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Whether there is no such file.
    pub(crate) const fn is_missing(&self) -> bool {
        self.is_missing
    }
}

/// The certificates of CAs, of which there is at least one.
pub(crate) fn read_roots(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate).map_err(|error| {
            TlsFileError::new(format!(
                "a certificate in {} cannot be that of a CA: {error}",
                path.display()
            ))
        })?;
    }
    Ok(roots)
}

/// The certificates of the system's CAs; what cannot be used of them is left out.
pub(super) fn read_system_roots() -> Result<RootCertStore, TlsFileError> {
    let found = load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let mut text = "the system has no certificates of CAs".to_owned();
        for error in found.errors.iter().take(1) {
            // Writing to a string cannot fail.
            let _ = write!(text, " ({error})");
        }
        text.push_str(": install them (ca-certificates), or name the broker's CA in `tls.ca_file`");
        return Err(TlsFileError::new(text));
    }
    Ok(roots)
}

/// Certificates, of which there is at least one.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| not_pem(path, &error))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let error = TlsFileError::new(format!("there is no certificate in {}", path.display()));
    // A DER certificate is a SEQUENCE of more than 255 bytes (RFC 5280 §4.1).
    Err(if bytes.starts_with(&[0x30, 0x82]) {
        let path = path.display();
        error.with_help(format!("it is DER: make it PEM with\nopenssl x509 -inform der -in {path}"))
    } else {
        error.with_help("PEM is expected: a part `-----BEGIN CERTIFICATE-----`".to_owned())
    })
}

/// A private key.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let bytes = read(path)?;
    let has = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    if ENCRYPTED.iter().any(|text| has(text)) {
        let text = format!("the key in {} is encrypted", path.display());
        let help = "nobody is there to type its password when the gateway starts\n\
                    write it without one, readable by the gateway alone: openssl pkey -in … -out …";
        return Err(TlsFileError::new(text).with_help(help.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            let text = format!("there is no private key in {}", path.display());
            let help =
                "PEM is expected: a part `-----BEGIN PRIVATE KEY-----`, or of an RSA or EC one";
            TlsFileError::new(text).with_help(help.to_owned())
        }
        error => not_pem(path, &error),
    })
}

/// A certificate with its key, which is in the file `key_path`.
pub(crate) fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    key_path: &Path,
) -> Result<CertifiedKey, TlsFileError> {
    let path = key_path.display();
    let key = ring::default_provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| TlsFileError::new(format!("the key in {path} cannot be used: {error}")))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let text = format!("the key in {path} is not that of the certificate");
            let help = "the first certificate in `cert_file` has to be the gateway's";
            Err(TlsFileError::new(text).with_help(help.to_owned()))
        }
        // What cannot be compared is for the broker to judge: `openssl x509 -req` makes certificates
        // of version 1, which brokers take and this library does not read.
        Ok(()) | Err(_) => Ok(certified),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| {
        let reason = crate::config::reason(&error);
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let text = format!("cannot read {}: {reason}", path.display());
        TlsFileError { text, help: None, is_missing }
    })?;
    match u64::try_from(read) {
        Ok(0..=MAX_BYTES) => Ok(bytes),
        _ => Err(TlsFileError::new(format!("{} is larger than 1 MiB", path.display()))),
    }
}

fn not_pem(path: &Path, error: &pem::Error) -> TlsFileError {
    TlsFileError::new(format!("{} is broken PEM: {error}", path.display()))
}
