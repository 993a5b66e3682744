//! Stored objects that cannot be read. What depends on them is unknown, which is not absent: whoever holds it keeps it
//! until the object is written anew or deleted.

use std::collections::BTreeSet;

use api::{
    convert,
    resource::{Key, Kind},
};

use crate::store::Unreadable;

/// Those that nobody has written anew, or deleted.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    rows: Vec<Unreadable>,
}

impl Unknown {
    /// Those of a start.
    pub(super) fn new(rows: Vec<Unreadable>) -> Self {
        Self { rows }
    }

    /// Each of them.
    pub(crate) fn rows(&self) -> &[Unreadable] {
        &self.rows
    }

    /// Objects were written or deleted; says whether some of these were among them.
    pub(super) fn written<'k>(&mut self, keys: impl Iterator<Item = &'k Key>) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let keys: BTreeSet<&Key> = keys.collect();
        let before = self.rows.len();
        self.rows.retain(|row| !row.keys.iter().any(|key| keys.contains(key)));
        self.rows.len() != before
    }

    /// Names of objects of a kind.
    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = &Key> {
        self.rows.iter().flat_map(|row| &row.keys).filter(move |key| key.kind == kind)
    }

    /// Whether there is any of a kind.
    pub(super) fn any(&self, kind: Kind) -> bool {
        self.names(kind).next().is_some()
    }

    /// Whether it is the gateway of a name.
    pub(super) fn is_gateway(&self, name: &str) -> bool {
        self.names(Kind::Gateway).any(|key| key.name == name)
    }

    /// Whether it is a route, by what it is known by.
    pub(super) fn is_route(&self, name: &str) -> bool {
        let kinds = [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute];
        let mut routes = kinds.into_iter().flat_map(|kind| self.names(kind));
        routes.any(|key| convert::routes::route_key(key).as_deref() == Some(name))
    }

    /// Whether it is a certificate, by `namespace/name`.
    pub(super) fn is_certificate(&self, name: &str) -> bool {
        let mut certificates = self.names(Kind::Certificate);
        certificates.any(|key| name.split_once('/') == Some((&key.namespace, &key.name)))
    }

    /// Whether it is a group or, perhaps, one of its lanes.
    pub(super) fn is_in_group(&self, name: &str) -> bool {
        self.names(Kind::LaneGroup).any(|key| key.name == name)
            || self.rows.iter().any(|row| {
                row.keys.iter().any(|key| key.kind == Kind::Lane)
                    && row.group.as_deref().is_none_or(|group| group == name)
            })
    }
}
