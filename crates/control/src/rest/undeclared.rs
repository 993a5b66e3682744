//! Ports that applications call on the hosts of registered instances and nobody has declared: named for people.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use api::{discovery::v1, rest::UndeclaredCalls};

use crate::hub::Hub;

/// What is on the hosts of registered instances.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    applications: HashMap<IpAddr, BTreeSet<Arc<str>>>,
    /// Laneway's own.
    listeners: HashSet<SocketAddr>,
}

impl Hosts {
    /// Looked at only where there is something to name.
    pub(super) fn of(hub: &Hub) -> Self {
        let data_planes = || hub.nodes().filter_map(|node| hub.data_plane(node));
        if data_planes().all(|data_plane| data_plane.undeclared().is_empty()) {
            return Self::default();
        }
        Self {
            applications: hub.picture().hosts(),
            listeners: data_planes().flat_map(|it| it.listeners().iter().copied()).collect(),
        }
    }

    /// As people are told; `None` where there is nothing to tell any more.
    pub(super) fn name(&self, hub: &Hub, calls: &v1::UndeclaredCalls) -> Option<UndeclaredCalls> {
        let address: SocketAddr = calls.address.parse().ok()?;
        let is_somebodys = hub.picture().services.address(&address).next().is_some();
        if is_somebodys || self.listeners.contains(&address) {
            return None;
        }
        let applications = self.applications.get(&address.ip())?;
        Some(UndeclaredCalls {
            address: calls.address.clone(),
            applications: applications.iter().map(ToString::to_string).collect(),
            connections: calls.connections,
        })
    }
}
