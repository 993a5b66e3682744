//! `Gateway` of the Gateway API: the fields Laneway honours. Every other field is refused, not ignored; but a gateway
//! of another class is another controller's, and is carried as it is.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Describe, Gateway, GatewayTls, Kind, ListenerTls, Metadata, Set, Status};

/// The class of gateways that Laneway serves.
const CLASS: &str = "laneway";

/// What a gateway is to be, by whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum GatewaySpec {
    /// Laneway's.
    Laneway(LanewayGatewaySpec),
    /// Another controller's, as written. It counts nowhere.
    Foreign(Map<String, Value>),
}

/// Listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LanewayGatewaySpec {
    /// `laneway`.
    #[serde(default = "laneway")]
    #[schema(required = false, default = "laneway")]
    gateway_class_name: String,
    /// At least one.
    #[schema(min_items = 1)]
    pub listeners: Vec<Listener>,
    /// What holds for all of its HTTPS listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTls>,
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
    /// `HTTP`, `HTTPS`, or `TLS`, which goes on as it is.
    pub protocol: String,
    /// Of an HTTPS listener: its certificates. Of a TLS listener: that it is passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
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
    /// Of which kinds; all that the listener's protocol carries when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub kinds: Vec<RouteGroupKind>,
}

/// A kind of route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteGroupKind {
    /// `gateway.networking.k8s.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `HTTPRoute`, `GRPCRoute` or `TLSRoute`.
    pub kind: String,
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

    fn cells(&self, _: &Metadata, _: Option<&Status>) -> Vec<String> {
        let listeners = self.laneway().into_iter().flat_map(|own| &own.listeners).map(|listener| {
            let host = listener.hostname.as_deref().unwrap_or("*");
            format!("{}:{}", host, listener.port)
        });
        vec![listeners.collect::<Vec<_>>().join(",")]
    }

    fn carried(written: &Value) -> Option<Self> {
        let class = written.get("gatewayClassName")?.as_str()?;
        let fields = written.as_object().filter(|_| class != CLASS)?;
        Some(Self::Foreign(fields.clone()))
    }
}

impl GatewaySpec {
    /// Of a gateway of Laneway's.
    pub fn new(listeners: Vec<Listener>) -> Self {
        Self::Laneway(LanewayGatewaySpec { gateway_class_name: laneway(), listeners, tls: None })
    }

    /// What Laneway serves; nothing of another controller's gateway.
    pub fn laneway(&self) -> Option<&LanewayGatewaySpec> {
        match self {
            Self::Laneway(spec) => Some(spec),
            Self::Foreign(_) => None,
        }
    }

    /// The class of another controller's gateway.
    pub fn foreign_class(&self) -> Option<&str> {
        match self {
            Self::Laneway(_) => None,
            Self::Foreign(fields) => fields.get("gatewayClassName")?.as_str(),
        }
    }
}

/// Those of other classes never get here: see [`Describe::carried`].
impl<'de> Deserialize<'de> for GatewaySpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LanewayGatewaySpec::deserialize(deserializer).map(Self::Laneway)
    }
}

impl Set {
    /// The gateways that Laneway serves, in order of creation.
    pub fn laneway_gateways(&self) -> impl Iterator<Item = (&Gateway, &LanewayGatewaySpec)> {
        self.gateways().filter_map(|gateway| Some((gateway, gateway.spec.laneway()?)))
    }
}

impl From<Kind> for RouteGroupKind {
    fn from(kind: Kind) -> Self {
        Self { group: Some(kind.group().to_owned()), kind: kind.name().to_owned() }
    }
}

impl RouteGroupKind {
    /// The kind that it means, if there is such.
    fn known(&self) -> Option<Kind> {
        let kind = Kind::from_name(&self.kind)?;
        (self.group.as_deref().is_none_or(|group| group == kind.group())).then_some(kind)
    }

    /// Whether it means one of these.
    pub(crate) fn is_one_of(&self, kinds: &[Kind]) -> bool {
        self.known().is_some_and(|kind| kinds.contains(&kind))
    }
}

impl Listener {
    /// The kinds of route that its protocol carries.
    pub(crate) fn carried(&self) -> &'static [Kind] {
        match self.protocol.as_str() {
            "TLS" => &[Kind::TlsRoute],
            _ => &[Kind::HttpRoute, Kind::GrpcRoute],
        }
    }

    /// The kinds of route that may attach: of those that its protocol carries the ones that it names, or all.
    pub(crate) fn allowed_kinds(&self) -> impl Iterator<Item = Kind> {
        let named = self.allowed_routes.as_ref().map_or(&[][..], |allowed| &allowed.kinds);
        let is_named =
            |kind: &Kind| named.is_empty() || named.iter().any(|it| it.is_one_of(&[*kind]));
        self.carried().iter().copied().filter(is_named)
    }

    /// Whether routes of `namespace` may attach to this listener of a gateway in `own`.
    pub(crate) fn allows(&self, own: &str, namespace: &str) -> bool {
        let from = self
            .allowed_routes
            .as_ref()
            .and_then(|allowed| allowed.namespaces.as_ref())
            .map(|of| of.from);
        own == namespace || from == Some(NamespacesFrom::All)
    }
}

fn laneway() -> String {
    CLASS.to_owned()
}
