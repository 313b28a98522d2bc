//! The name that a broker's certificate has to have.

use std::fmt;
use std::str::FromStr;

use tokio_rustls::rustls::pki_types::ServerName as TlsName;

use super::text_value;

/// A DNS name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerName(TlsName<'static>);

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a DNS name or an IP address, such as \"broker.example\"")]
pub(crate) struct ServerNameError;

impl ServerName {
    /// As TLS takes it.
    pub(crate) const fn tls(&self) -> &TlsName<'static> {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = ServerNameError;

    fn from_str(text: &str) -> Result<Self, ServerNameError> {
        TlsName::try_from(text.to_owned()).map(Self).map_err(|_| ServerNameError)
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_str())
    }
}

text_value!(ServerName, "host name", "expected a DNS name or an IP address in quotes", {});
