//! Failures of TLS in the words of the one who can mend them.

#![expect(clippy::wildcard_enum_match_arm, reason = "the errors of the library may grow")]

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, PeerIncompatible};

/// What is known about a connection when it fails.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    /// The name that the broker's certificate has to have.
    pub(super) name: String,
    /// The CAs that are trusted, where they are not the system's.
    pub(super) ca_file: Option<PathBuf>,
    /// Whether the gateway has a certificate.
    pub(super) has_own: bool,
    /// Whether the broker has asked for it.
    pub(super) is_wanted: Arc<AtomicBool>,
}

/// An error that is explained already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Explanation(String);

impl Situation {
    /// The same error in words; `is_answered`: whether MQTT has come through before.
    pub(crate) fn explain_io(&self, error: io::Error, is_answered: bool) -> io::Error {
        let kind = error.kind();
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let lacks_own = self.is_wanted.load(Ordering::Relaxed) && !self.has_own;
        let is_end = matches!(
            kind,
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        );
        let text = match tls {
            Some(rustls::Error::AlertReceived(_)) | None if lacks_own && !is_answered => {
                "the broker wants a certificate from the gateway: set `tls.cert_file` and \
                 `tls.key_file`"
                    .to_owned()
            }
            Some(error) => self.explain(error),
            None if is_end && !is_answered => {
                "the broker closed the connection without an answer; \
                if this is a port without TLS, write mqtt:// in `url`"
                    .to_owned()
            }
            None => return error,
        };
        io::Error::new(kind, Explanation(text))
    }

    fn explain(&self, error: &rustls::Error) -> String {
        match error {
            rustls::Error::InvalidCertificate(error) => self.explain_certificate(error),
            rustls::Error::AlertReceived(alert) => self.explain_alert(*alert),
            rustls::Error::NoApplicationProtocol => no_protocol(),
            rustls::Error::InvalidMessage(_) => {
                "what answers does not speak TLS; if this is a port without TLS, write mqtt:// or \
                 ws:// in `url`"
                    .to_owned()
            }
            rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
                old_version()
            }
            error => error.to_string(),
        }
    }

    fn explain_certificate(&self, error: &CertificateError) -> String {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                match &self.ca_file {
                    None => "the broker's certificate is signed by none of the system's CAs: name \
                             the file with its CA in `tls.ca_file`"
                        .to_owned(),
                    Some(file) => format!(
                        "the broker's certificate is signed by no CA in {} (`tls.ca_file`), or \
                         does not send the certificates between",
                        file.display()
                    ),
                }
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<_> = presented.iter().filter_map(|name| bare(name)).collect();
                match names.is_empty() {
                    true => format!(
                        "the broker's certificate has no name: it needs {} as subjectAltName",
                        self.name
                    ),
                    false => format!(
                        "the broker's certificate is for {}, not for {}: use that name in `url`, \
                         or set `tls.server_name` to it",
                        names.join(", "),
                        self.name
                    ),
                }
            }
            CertificateError::ExpiredContext { time, not_after } => format!(
                "the broker's certificate was valid until {}, and the gateway's clock says {}: \
                 renew the certificate, or set the clock",
                utc(*not_after),
                utc(*time)
            ),
            CertificateError::NotValidYetContext { time, not_before } => format!(
                "the broker's certificate is valid from {} on, and the gateway's clock says {}: \
                 set the clock",
                utc(*not_before),
                utc(*time)
            ),
            CertificateError::Other(error) => match error.to_string() {
                text if text.contains("CaUsedAsEndEntity") => {
                    "the broker shows the certificate of \
                    a CA: it needs one of its own, signed by the CA"
                        .to_owned()
                }
                text if text.contains("UnsupportedCertVersion") => format!(
                    "the broker's certificate is of X.509 version 1: it needs version 3, with {} \
                     as subjectAltName (`openssl x509 -req -extfile …`)",
                    self.name
                ),
                text => format!("the broker's certificate cannot be accepted: {text}"),
            },
            error => format!("the broker's certificate cannot be accepted: {error}"),
        }
    }

    fn explain_alert(&self, alert: AlertDescription) -> String {
        match alert {
            AlertDescription::ProtocolVersion => old_version(),
            AlertDescription::NoApplicationProtocol => no_protocol(),
            AlertDescription::UnrecognisedName => format!(
                "the broker has no certificate for {}: use its name in `url`, or set \
                 `tls.server_name`",
                self.name
            ),
            alert if self.has_own && self.is_wanted.load(Ordering::Relaxed) => format!(
                "the broker does not accept the gateway's certificate (`tls.cert_file`): {alert:?}"
            ),
            alert => format!("the broker ended the handshake: {alert:?}"),
        }
    }
}

fn no_protocol() -> String {
    "the broker takes none of the protocols in `tls.alpn`".to_owned()
}

fn old_version() -> String {
    "the broker speaks neither TLS 1.2 nor TLS 1.3".to_owned()
}

/// `broker.example` of `DnsName("broker.example")`; `None` for what is no name of a server.
fn bare(name: &str) -> Option<&str> {
    let inner = name.strip_prefix("DnsName(").or_else(|| name.strip_prefix("IpAddress("))?;
    Some(inner.strip_suffix(')')?.trim_matches('"'))
}

fn utc(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}
