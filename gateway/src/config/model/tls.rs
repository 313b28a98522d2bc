//! TLS: whom to trust, and how to show who one is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{self, NamedFile, ServerName};

/// How TLS is done.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Tls {
    /// Certificates of the CAs that are trusted, instead of the system's.
    pub(crate) ca_file: Option<NamedFile>,
    /// The gateway's own certificate, for a broker that wants one, followed by the certificates
    /// between it and its CA. It needs `key_file`.
    pub(crate) cert_file: Option<NamedFile>,
    /// The private key of `cert_file`: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub(crate) key_file: Option<NamedFile>,
    /// Name that the broker's certificate must have and that is asked for (SNI), where it is not the
    /// host of `url`.
    pub(crate) server_name: Option<ServerName>,
    /// Protocols to offer (ALPN, RFC 7301). AWS IoT Core on port 443 wants `["x-amzn-mqtt-ca"]`.
    #[serde(deserialize_with = "values::alpn")]
    #[schemars(inner(length(min = 1, max = 255)))]
    pub(crate) alpn: Vec<String>,
}
