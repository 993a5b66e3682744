//! TLS of a `Gateway`'s listeners, as the Gateway API writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// TLS of one listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = GatewayListenerTls)]
pub struct ListenerTls {
    /// Where TLS ends.
    #[serde(default)]
    #[schema(required = false)]
    pub mode: TlsMode,
    /// The certificates it shows, chosen by the name that a client asks for; the first where it asks for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) certificate_refs: Vec<CertificateRef>,
    /// Clients of this listener are asked for a certificate. What the Gateway says of the port does not count then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) frontend_validation: Option<ValidationOfClients>,
    /// `laneway.io/tls-minimum-version`: `1.2` or `1.3`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub options: BTreeMap<String, String>,
}

/// Where TLS ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum TlsMode {
    /// At the gateway.
    #[default]
    Terminate,
    /// At the backend: of a listener of protocol `TLS`.
    Passthrough,
}

/// A certificate that is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateRef {
    /// `laneway.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `Certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// That of the Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// How certificates of clients are verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidationOfClients {
    /// Certificates of which the authorities sign those of clients.
    #[serde(default)]
    #[schema(min_items = 1)]
    pub ca_certificate_refs: Vec<CertificateRef>,
    /// Which clients are let in.
    #[serde(default)]
    #[schema(required = false)]
    pub mode: ClientsMode,
}

/// Which clients are let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum ClientsMode {
    /// Those whose certificate verifies.
    #[default]
    AllowValidOnly,
    /// All.
    AllowInsecureFallback,
}

/// TLS of all HTTPS listeners of a Gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayTls {
    /// Towards clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendTls>,
}

/// TLS towards clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FrontendTls {
    /// For ports of which `perPort` says nothing.
    pub default: PortValidation,
    /// For single ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) per_port: Vec<PortTls>,
}

/// TLS of one port towards clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortTls {
    /// The port.
    pub port: u16,
    /// What holds there.
    pub tls: PortValidation,
}

/// What holds of clients at a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortValidation {
    /// Clients are asked for a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationOfClients>,
}
