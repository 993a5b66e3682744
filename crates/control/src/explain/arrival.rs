//! A request where it arrives at an application: who calls it, whether anybody decides there, and what of that is
//! not known here.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use api::discovery::v1::Role;
use lanes::{
    Context, Endpoint, Explanation, Group, LaneSpec, Snapshot,
    condition::Parameter,
    explain::{Observer as _, Step},
    group::{EntranceSpec, Entry},
};

use crate::hub::Hub;

/// Applications that are entrances and have sidecars to decide there.
#[derive(Debug, Default)]
pub(super) struct Deciding(HashSet<Arc<str>>);

impl Deciding {
    /// Those of this moment.
    pub(super) fn of(hub: &Hub, snapshot: &Snapshot) -> Self {
        let is_entrance = |name: &&str| snapshot.application_entrance(name).is_some();
        let data_planes = hub.nodes().filter_map(|node| hub.data_plane(node));
        let hellos = data_planes.map(|data_plane| data_plane.hello());
        let sidecars = hellos.filter(|hello| hello.role() != Role::Gateway);
        Self(sidecars.map(|hello| &*hello.name).filter(is_entrance).map(Arc::from).collect())
    }

    /// Whether somebody decides for the requests that arrive at an instance. Only sidecars register instances with the
    /// address of the application behind them; a listed instance has one if its application has any.
    pub(super) fn at(&self, application: &str, endpoint: &Endpoint) -> bool {
        endpoint.application_address.is_some() || self.0.contains(application)
    }
}

/// Says of every group that this application is an entrance of what remains where nobody decides.
pub(super) fn tell_nobody(
    snapshot: &Snapshot,
    application: &str,
    context: &Context,
    told: &mut Explanation,
) {
    for (group, index) in entered_at(snapshot, application) {
        let lane = context.member(index).and_then(|member| member.lane);
        told.step(Step::Member {
            group: group.name().to_string(),
            tag: lane.map(|lane| group.spec().lanes[usize::from(lane)].tag.to_string()),
            because: format!("nobody decides here: application {application} has no sidecar"),
        });
    }
}

/// The address that an instance at this one is called from, where it can only be one: within a machine.
pub(super) fn caller_of(endpoint: SocketAddr) -> Option<IpAddr> {
    match endpoint.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() => Some(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_loopback() => Some(Ipv6Addr::LOCALHOST.into()),
        _ => None,
    }
}

/// Whether who calls may settle what is decided at this application.
pub(super) fn caller_matters(snapshot: &Snapshot, application: &str, context: &Context) -> bool {
    let reads = |lane: &LaneSpec| match &lane.entry {
        Entry::Content { conditions, .. } => {
            conditions.iter().any(|condition| condition.parameter == Parameter::ClientIp)
        }
        Entry::Ratio { sticky_by, .. } => *sticky_by == Some(Parameter::ClientIp),
    };
    entered_at(snapshot, application).any(|(group, index)| {
        context.member(index).is_none()
            && group.spec().lanes.iter().any(|lane| lane.enabled && reads(lane))
    })
}

/// The groups that an application is an entrance of, with their indices.
fn entered_at<'s>(
    snapshot: &'s Snapshot,
    application: &'s str,
) -> impl Iterator<Item = (&'s Arc<Group>, u16)> {
    let is_this = move |entrance: &EntranceSpec| match entrance {
        EntranceSpec::Application { name, .. } => name == application,
        EntranceSpec::Gateway { .. } => false,
    };
    let groups = snapshot.groups().iter().zip(0..);
    groups.filter(move |(group, _)| group.spec().entrances.iter().any(is_this))
}
