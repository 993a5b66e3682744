//! One consistent picture of groups and services. A request uses one snapshot from start to end.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{Directory, Group, group::EntranceSpec};

/// Groups sorted by name, and the directory. Cheap to build anew: everything inside is shared.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    groups: Vec<Arc<Group>>,
    /// Groups that have a gateway as entrance, by the gateway's name, sorted.
    gateways: HashMap<Box<str>, Vec<GatewayEntrance>>,
    /// Groups that have an application as entrance, by its name, sorted.
    applications: HashMap<Box<str>, (ApplicationEntrance, Vec<u16>)>,
    directory: Directory,
}

/// A gateway as the entrance of one group.
#[derive(Debug, Clone)]
pub(crate) struct GatewayEntrance {
    pub(crate) group: u16,
    /// `None`: all.
    routes: Option<Vec<Box<str>>>,
}

/// What a sidecar must do with inbound requests of an application that is an entrance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplicationEntrance {
    /// Strip lane members before deciding.
    pub edge: bool,
}

impl GatewayEntrance {
    pub(crate) fn covers(&self, route: Option<&str>) -> bool {
        match (&self.routes, route) {
            (None, _) => true,
            (Some(routes), Some(route)) => routes.iter().any(|covered| **covered == *route),
            (Some(_), None) => false,
        }
    }
}

impl Snapshot {
    /// Sorts the groups by name; of two with one name the first stays.
    pub fn new(mut groups: Vec<Arc<Group>>, directory: Directory) -> Self {
        groups.sort_by(|a, b| a.name().cmp(b.name()));
        groups.dedup_by(|later, first| later.name() == first.name());
        groups.truncate(GROUPS_MAX);
        let mut snapshot = Self { groups, directory, ..Self::default() };
        snapshot.index_entrances();
        snapshot
    }

    /// Groups sorted by name. [`crate::Member`] indexes into this.
    pub fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    /// The group of this name, as an index into [`Snapshot::groups`].
    pub fn group(&self, name: &str) -> Option<u16> {
        let at = self.groups.binary_search_by(|group| group.name().as_str().cmp(name)).ok()?;
        Some(at as u16)
    }

    /// Names, addresses and services.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Groups that a gateway is an entrance of.
    pub(crate) fn gateway_entrances(&self, gateway: &str) -> &[GatewayEntrance] {
        self.gateways.get(gateway).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether any group has this application as an entrance, and whether one of them is an edge.
    pub fn application_entrance(&self, application: &str) -> Option<ApplicationEntrance> {
        self.application_entrances(application).map(|(entrance, _)| *entrance)
    }

    /// Groups that an application is an entrance of.
    pub(crate) fn application_entrances(
        &self,
        application: &str,
    ) -> Option<&(ApplicationEntrance, Vec<u16>)> {
        self.applications.get(application)
    }

    fn index_entrances(&mut self) {
        for (group, index) in self.groups.iter().zip(0..) {
            for entrance in &group.spec().entrances {
                match entrance {
                    EntranceSpec::Gateway { name, routes } => {
                        let found = self.gateways.entry(name.as_str().into()).or_default();
                        add_gateway(found, index, routes.as_deref());
                    }
                    EntranceSpec::Application { name, edge } => {
                        let (what, groups) = self
                            .applications
                            .entry(name.as_str().into())
                            .or_insert((ApplicationEntrance { edge: false }, Vec::new()));
                        what.edge |= edge;
                        if groups.last() != Some(&index) {
                            groups.push(index);
                        }
                    }
                }
            }
        }
    }
}

/// A group may name one gateway several times; it is one entrance with all of the routes.
fn add_gateway(entrances: &mut Vec<GatewayEntrance>, group: u16, routes: Option<&[String]>) {
    let routes: Option<Vec<Box<str>>> =
        routes.map(|routes| routes.iter().map(|route| route.as_str().into()).collect());
    match entrances.last_mut().filter(|last| last.group == group) {
        Some(last) => {
            last.routes = match (last.routes.take(), routes) {
                (Some(mut some), Some(more)) => {
                    some.extend(more);
                    Some(some)
                }
                (None, _) | (_, None) => None,
            };
        }
        None => entrances.push(GatewayEntrance { group, routes }),
    }
}

/// Groups one snapshot may hold: [`crate::Member`] counts them in 16 bits.
pub(crate) const GROUPS_MAX: usize = 1 << 16;
