//! What there is besides objects: instances, services, events.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    resource::EMBEDDED_SOURCE,
    rest::{Event, InstancePort, InstanceStatus, Role, ServiceStatus},
};
use axum::{
    Extension, Json,
    extract::{Query, State},
};
use lanes::service::{Endpoint, Health, Protocol};

use super::{
    Refused,
    objects::{Written, number, unknown_parameter},
};
use crate::{Control, hub::Hub, people::Caller, picture::small};

type Shared = State<Arc<Control>>;

/// Instances of all applications.
#[utoipa::path(
    get, path = "/api/v1alpha1/instances", tag = "actions",
    responses((status = 200, description = "By application, tag and address", body = Vec<InstanceStatus>))
)]
pub(super) async fn instances(State(control): Shared) -> Json<Vec<InstanceStatus>> {
    let silent = control.leases().silent(Instant::now());
    let hub = control.hub();
    let unreachable = unreachable(&hub);
    let mut instances: BTreeMap<[String; 5], (InstanceStatus, Ports)> = BTreeMap::new();
    for service in hub.picture().services.all() {
        for endpoint in service.endpoints() {
            let (id, tag) = (service.id(), endpoint.tag.as_ref().map(ToString::to_string));
            let key = [
                service.application().to_string(),
                tag.unwrap_or_default(),
                endpoint.address.to_string(),
                id.source().to_owned(),
                id.namespace().to_owned(),
            ];
            let (instance, ports) = instances.entry(key.clone()).or_insert_with(|| {
                let [application, tag, address, source, namespace] = key;
                let is_registered = source == EMBEDDED_SOURCE;
                let silence = silent.get(&endpoint.address).filter(|_| is_registered);
                let silent_seconds = silence.map(Duration::as_secs);
                let unreachable_for = unreachable.get(&address).cloned().unwrap_or_default();
                let status = InstanceStatus {
                    health: word(endpoint.health).to_owned(),
                    why: why(endpoint, &unreachable_for, silent_seconds),
                    weight: endpoint.weight,
                    services: Vec::new(),
                    ports: Vec::new(),
                    application,
                    namespace,
                    tag,
                    address,
                    further_addresses: endpoint
                        .addresses()
                        .skip(1)
                        .map(|it| it.to_string())
                        .collect(),
                    source,
                    unreachable_for,
                    silent_seconds,
                };
                (status, Ports::new())
            });
            instance.services.push(service.name().to_string());
            let port = InstancePort::of(service, endpoint);
            ports.insert((endpoint.port.is_further, port.service.clone()), port);
        }
    }
    drop(hub);
    let finished = |(mut instance, ports): (InstanceStatus, Ports)| {
        instance.services.sort();
        let is_usual = |(is_further, port): (&(bool, String), &InstancePort)| {
            !is_further.0 && port.protocol == Protocol::Http.as_str()
        };
        if !ports.iter().all(is_usual) {
            instance.ports = ports.into_values().collect();
        }
        instance
    };
    Json(instances.into_values().map(finished).collect())
}

/// The ports of an instance: the first is the application's first, the others follow by service.
type Ports = BTreeMap<(bool, String), InstancePort>;

/// Whom which addresses are out of reach for, as those say who are connected.
fn unreachable(hub: &Hub) -> BTreeMap<String, Vec<String>> {
    let mut unreachable: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let data_planes = hub.nodes().filter_map(|node| hub.data_plane(node));
    for data_plane in data_planes.filter(|data_plane| data_plane.is_connected()) {
        for address in data_plane.unreachable() {
            unreachable.entry(address.clone()).or_default().push(data_plane.shown());
        }
    }
    unreachable
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Usable => "usable",
        Health::Silent => "silent",
        Health::Unhealthy => "unhealthy",
        Health::Draining => "draining",
        Health::InvalidTag => "invalidTag",
    }
}

fn why(endpoint: &Endpoint, unreachable_for: &[String], silent_seconds: Option<u64>) -> String {
    let of_health = match endpoint.health {
        Health::Usable | Health::Silent => None,
        Health::Unhealthy => Some("its source says that it does not answer"),
        Health::Draining => Some("it is leaving: it takes no new requests"),
        Health::InvalidTag => {
            Some("its tag is not valid, or not known yet: it is neither base nor in a lane")
        }
    };
    let is_usable = of_health.is_none();
    let unreachable = (is_usable && !unreachable_for.is_empty())
        .then(|| format!("{} cannot reach it", unreachable_for.join(", ")));
    let silent = silent_seconds.filter(|_| endpoint.health != Health::Draining).map(|seconds| {
        format!("it has not been heard for {seconds} s and is kept for now: its callers find out whether it is there")
    });
    let all = [of_health.map(str::to_owned), silent, unreachable];
    all.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Services of all sources.
#[utoipa::path(
    get, path = "/api/v1alpha1/services", tag = "actions",
    responses((status = 200, description = "By name and source", body = Vec<ServiceStatus>))
)]
pub(super) async fn services(State(control): Shared) -> Json<Vec<ServiceStatus>> {
    let hub = control.hub();
    let status = |service: &Arc<lanes::Service>| {
        let (id, endpoints) = (service.id(), service.endpoints());
        let usable = endpoints.iter().filter(|endpoint| endpoint.health.takes_requests());
        let tags = endpoints.iter().filter_map(|endpoint| endpoint.tag.as_ref());
        let mut tags: Vec<String> = tags.map(ToString::to_string).collect();
        tags.sort();
        tags.dedup();
        let protocols = endpoints.iter().map(|endpoint| endpoint.port.protocol.as_str());
        let mut protocols: Vec<&str> = protocols.collect();
        protocols.sort_unstable();
        protocols.dedup();
        ServiceStatus {
            name: service.name().to_string(),
            source: id.source().to_owned(),
            namespace: id.namespace().to_owned(),
            group: id.group().to_owned(),
            application: service.application().to_string(),
            protocol: protocols.join(","),
            instances: small(endpoints.len()),
            usable: small(usable.count()),
            tags,
        }
    };
    let mut services: Vec<ServiceStatus> = hub.picture().services.all().map(status).collect();
    drop(hub);
    services.sort_by(|a, b| {
        (&a.name, &a.source, &a.namespace, &a.group).cmp(&(
            &b.name,
            &b.source,
            &b.namespace,
            &b.group,
        ))
    });
    Json(services)
}

/// What happened lately.
#[utoipa::path(
    get, path = "/api/v1alpha1/events", tag = "actions",
    params(("after" = Option<u64>, Query, description = "Only events of higher numbers")),
    responses((status = 200, description = "In order", body = Vec<Event>))
)]
pub(super) async fn events(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
    Query(written): Written,
) -> Result<Json<Vec<Event>>, Refused> {
    let mut after = 0;
    for (name, value) in written {
        match name.as_str() {
            "after" => after = number(&name, &value, "an event")?,
            _ => return Err(unknown_parameter(&name, "after")),
        }
    }
    let is_seen = |event: &&Event| {
        event.object.as_ref().is_none_or(|it| caller.may(Role::Viewer, &it.namespace))
    };
    Ok(Json(control.hub().events().after(after).filter(is_seen).cloned().collect()))
}
