//! TLS to a broker, with the certificates of the operator or of the system.

mod explain;
pub(crate) mod files;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::{ResolvesClientCert, Resumption};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{ServerName as TlsName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, SignatureScheme};
use tracing::warn;

use super::explained::{Explained, Layer};
use crate::clock;
use crate::config::{BrokerUrl, Id, ServerName, Tls as Settings};
use files::TlsFileError;

pub(super) use explain::Situation;

/// The largest TLS record that carries a WebSocket: of a larger one, Mosquitto's library
/// (libwebsockets) reads the rest only at its next timer.
const WEBSOCKET_RECORD: usize = 4096;

/// How TLS is done with one broker.
#[derive(Debug)]
pub(super) struct Tls {
    broker: Id,
    settings: Settings,
    /// The last certificates that could be read.
    last: Option<Certificates>,
}

/// What is in the files.
#[derive(Clone, Debug)]
struct Certificates {
    roots: Arc<RootCertStore>,
    own: Option<Arc<CertifiedKey>>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("TLS cannot begin")]
    Files(#[from] TlsFileError),
    #[error(
        "TLS cannot begin: no certificate can be made for the host `{0}`, set `tls.server_name`"
    )]
    Name(String),
    #[error("TLS cannot begin")]
    Setup(#[source] rustls::Error),
    #[error("TLS failed")]
    Handshake(#[source] io::Error),
}

/// Makes one connection.
pub(super) struct Connector {
    connector: TlsConnector,
    name: TlsName<'static>,
    situation: Situation,
}

/// The gateway's certificate, for a broker that asks for one.
#[derive(Debug)]
struct OwnCertificate {
    own: Option<Arc<CertifiedKey>>,
    /// Whether the broker asked.
    is_wanted: Arc<AtomicBool>,
}

/// The gateway's clock, for the dates of certificates.
#[derive(Debug)]
struct GatewayClock;

impl Tls {
    pub(super) const fn new(broker: Id, settings: Settings) -> Self {
        Self { broker, settings, last: None }
    }

    /// Reads the files, and prepares a connection to `url` with them.
    pub(super) async fn connector(&mut self, url: &BrokerUrl) -> Result<Connector, TlsError> {
        let certificates = self.read().await?;
        let host = || url.host().parse::<ServerName>().ok();
        let name = self.settings.server_name.clone().or_else(host);
        let name = name.ok_or_else(|| TlsError::Name(url.host().to_owned()))?.tls().clone();
        let is_wanted = Arc::new(AtomicBool::new(false));
        let situation = Situation {
            name: name.to_str().into_owned(),
            ca_file: self.settings.ca_file.as_ref().map(|file| file.path().to_owned()),
            has_own: certificates.own.is_some(),
            is_wanted: Arc::clone(&is_wanted),
        };
        let own = OwnCertificate { own: certificates.own, is_wanted };
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(GatewayClock))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(certificates.roots)
            .with_client_cert_resolver(Arc::new(own));
        config.alpn_protocols =
            self.settings.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        if url.scheme().is_websocket() {
            config.max_fragment_size = Some(WEBSOCKET_RECORD);
        }
        // Each connection verifies the broker by the certificates of now.
        config.resumption = Resumption::disabled();
        Ok(Connector { connector: TlsConnector::from(Arc::new(config)), name, situation })
    }

    async fn read(&mut self) -> Result<Certificates, TlsError> {
        let settings = self.settings.clone();
        // The system's CAs are hundreds of kilobytes to parse.
        let read = spawn_blocking(move || Certificates::read(&settings)).await;
        let read = read.unwrap_or_else(|_| Err(TlsFileError::unread()));
        match (read, &self.last) {
            (Ok(certificates), _) => {
                self.last = Some(certificates.clone());
                Ok(certificates)
            }
            (Err(error), Some(last)) => {
                warn!(broker = %self.broker, "{error}; going on with what was read before");
                Ok(last.clone())
            }
            (Err(error), None) => Err(error.into()),
        }
    }
}

impl Certificates {
    fn read(settings: &Settings) -> Result<Self, TlsFileError> {
        let roots = match &settings.ca_file {
            Some(file) => files::read_roots(file.path())?,
            None => files::read_system_roots()?,
        };
        let own = match (&settings.cert_file, &settings.key_file) {
            (Some(cert), Some(key)) => {
                let (chain, secret) =
                    (files::read_chain(cert.path())?, files::read_key(key.path())?);
                Some(Arc::new(files::certify(chain, secret, key.path())?))
            }
            _ => None,
        };
        Ok(Self { roots: Arc::new(roots), own })
    }
}

impl Connector {
    /// Does the handshake.
    pub(super) async fn connect(
        &self,
        socket: TcpStream,
    ) -> Result<Explained<TlsStream<TcpStream>>, TlsError> {
        match self.connector.connect(self.name.clone(), socket).await {
            Ok(stream) => Ok(Explained::new(stream, Layer::Tls(self.situation.clone()))),
            Err(error) => Err(TlsError::Handshake(self.situation.explain_io(error, false))),
        }
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_wanted.store(true, Ordering::Relaxed);
        self.own.clone()
    }

    fn has_certs(&self) -> bool {
        self.own.is_some()
    }
}

impl TimeProvider for GatewayClock {
    fn current_time(&self) -> Option<UnixTime> {
        let nanos = u64::try_from(clock::wall().as_nanos()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_nanos(nanos)))
    }
}
