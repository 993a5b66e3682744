//! `Gateway` of the Gateway API: the fields Laneway honours. Every other field is refused, not ignored.

use serde::{Deserialize, Serialize};

use super::{Describe, Metadata};

/// Listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewaySpec {
    /// `laneway`.
    #[serde(default = "laneway")]
    #[schema(required = false, default = "laneway")]
    pub gateway_class_name: String,
    /// At least one.
    #[schema(min_items = 1)]
    pub listeners: Vec<Listener>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = GatewayListener)]
pub struct Listener {
    /// Unique in the gateway.
    pub name: String,
    /// Exact, or `*.suffix`; any when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The port clients connect to; 0 stands for whichever the gateway was started on.
    pub port: u16,
    /// `HTTP`.
    pub protocol: String,
    /// Which routes may attach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,
}

/// Which routes may attach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedRoutes {
    /// Of which namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RouteNamespaces>,
}

/// Of which namespaces routes may attach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteNamespaces {
    /// The gateway's own, or all.
    #[serde(default)]
    #[schema(required = false)]
    pub from: NamespacesFrom,
}

/// Of which namespaces routes may attach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum NamespacesFrom {
    /// The gateway's own.
    #[default]
    Same,
    /// All.
    All,
}

impl Describe for GatewaySpec {
    const IS_DISTRIBUTED: bool = true;
    const COLUMNS: &'static [&'static str] = &["LISTENERS"];

    fn cells(&self, _: &Metadata) -> Vec<String> {
        let listeners = self.listeners.iter().map(|listener| {
            let host = listener.hostname.as_deref().unwrap_or("*");
            format!("{}:{}", host, listener.port)
        });
        vec![listeners.collect::<Vec<_>>().join(",")]
    }
}

impl Listener {
    /// Whether routes of `namespace` may attach to this listener of a gateway in `own`.
    pub fn allows(&self, own: &str, namespace: &str) -> bool {
        let from = self
            .allowed_routes
            .as_ref()
            .and_then(|allowed| allowed.namespaces.as_ref())
            .map(|of| of.from);
        own == namespace || from == Some(NamespacesFrom::All)
    }
}

fn laneway() -> String {
    "laneway".to_owned()
}
