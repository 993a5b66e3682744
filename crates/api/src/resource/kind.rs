//! The table of kinds, and how one object is named.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kinds of object there are. In this order they can be applied one after the other without a reference
/// that does not resolve yet.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub enum Kind {
    /// Where instances come from.
    ServiceSource,
    /// A service for use in routes.
    Backend,
    /// Listeners.
    Gateway,
    /// Routes.
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// A group of lanes.
    LaneGroup,
    /// A lane.
    Lane,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::ServiceSource,
        Self::Backend,
        Self::Gateway,
        Self::HttpRoute,
        Self::LaneGroup,
        Self::Lane,
    ];

    /// As written in `kind:`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServiceSource => "ServiceSource",
            Self::Backend => "Backend",
            Self::Gateway => "Gateway",
            Self::HttpRoute => "HTTPRoute",
            Self::LaneGroup => "LaneGroup",
            Self::Lane => "Lane",
        }
    }

    /// As written in REST paths.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::ServiceSource => "servicesources",
            Self::Backend => "backends",
            Self::Gateway => "gateways",
            Self::HttpRoute => "httproutes",
            Self::LaneGroup => "lanegroups",
            Self::Lane => "lanes",
        }
    }

    /// As written in `apiVersion:`.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Gateway | Self::HttpRoute => "gateway.networking.k8s.io/v1",
            Self::ServiceSource | Self::Backend | Self::LaneGroup | Self::Lane => {
                "laneway.io/v1alpha1"
            }
        }
    }

    /// The API group, the part of [`Kind::api_version`] before the slash.
    pub fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// The kind of a REST path's segment.
    pub fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }

    /// The kind a person means: its name or plural, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            kind.name().eq_ignore_ascii_case(word) || kind.plural().eq_ignore_ascii_case(word)
        })
    }

    /// The kind whose name is exactly this.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One object's name among all objects.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(deny_unknown_fields)]
#[schema(as = ObjectKey)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace == super::DEFAULT_NAMESPACE {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}
