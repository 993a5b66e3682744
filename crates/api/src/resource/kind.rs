//! How kinds are called, and how one object is named.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Kind;

/// Who defines a kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Group {
    Laneway,
    GatewayApi,
}

/// What a kind is called, and where.
#[derive(Debug)]
pub(super) struct Names {
    /// In `kind:`.
    pub(super) name: &'static str,
    /// In REST paths.
    pub(super) plural: &'static str,
    /// By people in a hurry.
    pub(super) short: &'static [&'static str],
    pub(super) group: Group,
}

impl Kind {
    /// As written in `kind:`.
    pub const fn name(self) -> &'static str {
        self.names().name
    }

    /// As written in REST paths.
    pub const fn plural(self) -> &'static str {
        self.names().plural
    }

    /// As written in `apiVersion:`.
    pub(crate) const fn api_version(self) -> &'static str {
        match self.names().group {
            Group::Laneway => "laneway.io/v1alpha1",
            Group::GatewayApi => "gateway.networking.k8s.io/v1",
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

    /// The kind a person means: its name, plural or a short form, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let Names { name, plural, short, group: _ } = kind.names();
            [name, plural].into_iter().chain(*short).any(|known| known.eq_ignore_ascii_case(word))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_means_two_kinds() {
        for kind in Kind::ALL {
            let Names { name, plural, short, group: _ } = kind.names();
            for word in [name, plural].into_iter().chain(*short) {
                assert_eq!(Kind::from_word(&word.to_uppercase()), Some(kind), "{word}");
            }
            assert_eq!(Kind::from_plural(plural), Some(kind));
            assert_eq!(Kind::from_name(name), Some(kind));
            assert_eq!(kind.columns()[0], "NAME");
        }
    }
}
