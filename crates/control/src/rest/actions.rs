//! What is no object: transactions, checks, explanations, status.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use api::{
    resource::{EMBEDDED_SOURCE, Key, Kind},
    rest::{
        ApplyRequest, ApplyResponse, CheckResponse, DataPlaneStatus, DeleteRequest, ExplainRequest,
        ExplainResponse, Finding, GatewayStatus, Generation, RefusedRegistration, RefusedResource,
        Role, SourceStatus, StatusResponse, UnreadCalls,
    },
};
use axum::{
    Extension, Json,
    extract::{Query, State},
};
use lanes::Problem;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Refused, access,
    extract::Bytes,
    objects::{Written, flag, json_body, unknown_parameter},
    problem::FINDINGS_MAX,
    undeclared::Hosts,
};
use crate::{
    Control,
    distribute::DataPlane,
    explain::Moment,
    hello,
    hub::Hub,
    ledger::{Edit, Precondition, Rejection, Transaction},
    manifest::Manifest,
    people::Caller,
    picture::{Picture, small},
    registrations,
    sources::Standing,
};

type Shared = State<Arc<Control>>;

/// Data planes of which a status is told in one go: distribution waits for no more than these.
const DATA_PLANES_AT_ONCE: usize = 64;

/// Writes objects as one transaction: all of them or none.
#[utoipa::path(
    post, path = "/api/v1alpha1/apply", tag = "actions",
    params(("dryRun" = Option<bool>, Query, description = "Say what would happen, write nothing")),
    request_body = api::rest::ApplyRequest,
    responses(
        (status = 200, description = "Done", body = api::rest::ApplyResponse),
        (status = 409, description = "Changed meanwhile", body = api::rest::Problem),
        (status = 422, description = "Not valid; nothing was written", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn apply(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
    Query(written): Written,
    body: Bytes,
) -> Result<Json<ApplyResponse>, Refused> {
    let dry_run = dry_run(written)?;
    let request: ApplyRequest = typed(&body)?;
    let (edits, unread) = read_objects(request);
    if !unread.is_empty() {
        return Err(Refused::invalid(unread));
    }
    transact(&control, &caller, edits, dry_run).await
}

/// Deletes objects as one transaction, in any order: all of them or none.
#[utoipa::path(
    post, path = "/api/v1alpha1/delete", tag = "actions",
    params(("dryRun" = Option<bool>, Query, description = "Say what would happen, delete nothing")),
    request_body = api::rest::DeleteRequest,
    responses(
        (status = 200, description = "Done; what was not there is not among the results", body = api::rest::ApplyResponse),
        (status = 422, description = "Others need them; nothing was deleted", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn delete(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
    Query(written): Written,
    body: Bytes,
) -> Result<Json<ApplyResponse>, Refused> {
    let dry_run = dry_run(written)?;
    let request: DeleteRequest = typed(&body)?;
    let delete = |key| Edit::Delete { key, revision: None, precondition: Precondition::None };
    transact(&control, &caller, request.objects.into_iter().map(delete).collect(), dry_run).await
}

async fn transact(
    control: &Control,
    caller: &Caller,
    edits: Vec<Edit>,
    dry_run: bool,
) -> Result<Json<ApplyResponse>, Refused> {
    let done = access::write(control, caller, edits, dry_run).await?;
    Ok(Json(ApplyResponse {
        resource_version: done.revision.to_string(),
        results: done.applied,
        warnings: done.warnings.into_iter().map(Finding::from).collect(),
    }))
}

fn dry_run(written: Vec<(String, String)>) -> Result<bool, Refused> {
    let mut dry_run = false;
    for (name, value) in written {
        match name.as_str() {
            "dryRun" => dry_run = flag("dryRun", &value)?,
            _ => return Err(unknown_parameter(&name, "dryRun")),
        }
    }
    Ok(dry_run)
}

/// What would be wrong if these objects were written.
#[utoipa::path(
    post, path = "/api/v1alpha1/check", tag = "actions",
    request_body = api::rest::ApplyRequest,
    responses((status = 200, description = "Errors first", body = api::rest::CheckResponse))
)]
pub(super) async fn check(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Json<CheckResponse>, Refused> {
    let request: ApplyRequest = typed(&body)?;
    let (edits, mut findings) = read_objects(request);
    access::may_edit(&caller, &edits, Role::Viewer)?;
    let checked =
        control.transact(Transaction { edits, dry_run: true, ..Transaction::default() }).await;
    let of_set = match checked {
        Ok(done) => done.warnings,
        Err(Rejection::Invalid(findings)) => findings,
        Err(other) => return Err(other.into()),
    };
    findings.extend(of_set.into_iter().map(Finding::from));
    findings.sort_by_key(|finding| finding.severity);
    let omitted = small(findings.len().saturating_sub(FINDINGS_MAX));
    findings.truncate(FINDINGS_MAX);
    Ok(Json(CheckResponse { findings, omitted }))
}

/// Edits for what can be read, findings for what cannot.
fn read_objects(request: ApplyRequest) -> (Vec<Edit>, Vec<Finding>) {
    let (mut edits, mut unread) = (Vec::new(), Vec::new());
    for (index, value) in request.objects.into_iter().enumerate() {
        let key = key_of(&value);
        match Manifest::read(value) {
            Ok(manifest) => {
                edits.push(Edit::Apply { manifest: Box::new(manifest), only_news: false });
            }
            // What has no name is told by its place.
            Err(problem) if key.is_none() => {
                unread.push(Finding::unread(problem.under(&format!("objects[{index}]"))));
            }
            Err(problem) => unread.push(Finding { object: key, ..Finding::unread(problem) }),
        }
    }
    (edits, unread)
}

/// Which object this would be, if that can be told.
fn key_of(value: &Value) -> Option<Key> {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    let kind = Kind::from_name(text("/kind")?)?;
    let namespace = text("/metadata/namespace").unwrap_or(api::resource::DEFAULT_NAMESPACE);
    Some(Key::new(kind, namespace, text("/metadata/name")?))
}

pub(super) fn typed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    api::read::value(&json_body(body)?).map_err(misread)
}

/// The same where a secret is in it, which is repeated to nobody, under whatever name it came.
pub(super) fn typed_secret<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let unshown = |problem| misread(Problem { value: String::new(), ..problem });
    api::read::value(&json_body(body)?).map_err(unshown)
}

fn misread(problem: Problem) -> Refused {
    let refused = Refused::new(400, "bad body", "nothing was done");
    refused.with(vec![Finding::unread(problem)])
}

/// Why a request goes where it goes.
#[utoipa::path(
    post, path = "/api/v1alpha1/explain", tag = "actions",
    request_body = api::rest::ExplainRequest,
    responses(
        (status = 200, description = "Step by step", body = api::rest::ExplainResponse),
        (status = 422, description = "The request cannot be read", body = api::rest::Problem),
    )
)]
pub(super) async fn explain(
    State(control): Shared,
    body: Bytes,
) -> Result<Json<ExplainResponse>, Refused> {
    let wanted: ExplainRequest = typed(&body)?;
    let moment = Moment::of(&control.hub(), &wanted);
    let mut random = || uuid::Uuid::new_v4().into_bytes();
    moment
        .and_then(|moment| moment.explain(&wanted, &mut random))
        .map(Json)
        .map_err(|problem| Refused::invalid(vec![Finding::unread(problem)]))
}

/// How the whole stands.
#[utoipa::path(
    get, path = "/api/v1alpha1/status", tag = "actions",
    responses((status = 200, description = "Sources, gateways, data planes", body = api::rest::StatusResponse))
)]
pub(super) async fn status(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
) -> Json<StatusResponse> {
    let now = Instant::now();
    let mut findings: Vec<Finding> = (control.troubles().into_iter())
        .map(|(key, problem)| {
            let mut finding = Finding::unread(problem);
            finding.field = format!("{key} {}", finding.field).trim_end().to_owned();
            finding
        })
        .collect();
    control.ledger().review().await;
    let validation = Arc::clone(control.ledger().view().findings());
    findings.extend(validation.iter().cloned().map(Finding::from));
    let hub = control.hub();
    findings.extend(hub.picture().conflicts.all().cloned().map(Finding::from));
    findings.extend(hub.losses().map(Finding::from));
    findings.extend(hub.correlation_differences().into_iter().map(Finding::from));
    findings.extend(hub.expiries(SystemTime::now()).into_iter().map(Finding::from));
    let generation = hub.generation().clone();
    let doubted_by = small(hub.doubted_by());
    let sources = of_sources(hub.picture(), now);
    let mut gateways = of_gateways(hub.picture());
    let nodes: Vec<Arc<str>> = hub.nodes().cloned().collect();
    findings.retain(|finding| {
        finding.object.as_ref().is_none_or(|it| caller.may(Role::Viewer, &it.namespace))
    });
    findings.sort_by_key(|finding| finding.severity);
    let hosts = Hosts::of(&hub);
    drop(hub);
    let mut data_planes: Vec<DataPlaneStatus> = Vec::with_capacity(nodes.len());
    for some in nodes.chunks(DATA_PLANES_AT_ONCE) {
        let hub = control.hub();
        let there = some.iter().filter_map(|node| hub.data_plane(node));
        data_planes.extend(there.map(|it| of_data_plane(it, &hub, &hosts, now)));
    }
    data_planes.sort_by(|a, b| (&a.role, &a.name, &a.node).cmp(&(&b.role, &b.name, &b.node)));
    for process in data_planes.iter().filter(|it| it.connected && it.role == "gateway") {
        let named = gateways.iter_mut().filter(|gateway| gateway.name == process.name);
        named.for_each(|gateway| gateway.data_planes += 1);
    }
    Json(StatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation: Generation { epoch: generation.epoch, number: generation.number },
        doubted_by,
        sources,
        gateways,
        data_planes,
        refused_registrations: control
            .refusals()
            .present(now)
            .map(|it| of_refusal(it, now))
            .collect(),
        findings,
    })
}

fn of_sources(picture: &Picture, now: Instant) -> Vec<SourceStatus> {
    let objects = picture.set();
    let kind = |name: &str| {
        let object = objects.service_sources().find(|source| source.metadata.name == name);
        match object {
            Some(source) => source.spec.sort(),
            None if name == EMBEDDED_SOURCE => "embedded",
            None => "unknown",
        }
    };
    let status = |(name, standing): (&str, &Standing)| {
        let present = picture.services.present_in(&name.to_lowercase());
        SourceStatus {
            name: name.to_owned(),
            kind: kind(name).to_owned(),
            state: standing.word().to_owned(),
            synced: standing.has_synced(),
            stale_seconds: standing.stale_for(now).map(|age| age.as_secs()),
            services: small(present.services),
            instances: small(present.instances),
            problem: standing.problem().unwrap_or_default().to_owned(),
        }
    };
    picture.sources().iter().map(status).collect()
}

/// Gateways; their processes are not counted yet.
fn of_gateways(picture: &Picture) -> Vec<GatewayStatus> {
    let status = |gateway: &routes::GatewaySpec| GatewayStatus {
        name: gateway.name.clone(),
        routes: small(picture.routing.attached(&gateway.name).count()),
        data_planes: 0,
    };
    picture.routing.gateways().map(status).collect()
}

fn of_refusal(refusal: &registrations::Refusal, now: Instant) -> RefusedRegistration {
    let instance = &refusal.instance;
    RefusedRegistration {
        node: instance.node.clone(),
        application: instance.application.clone(),
        tag: instance.tag.clone(),
        address: instance.address.clone(),
        reason: refusal.reason.clone(),
        since_seconds: now.saturating_duration_since(refusal.since).as_secs(),
    }
}

fn of_data_plane(
    data_plane: &DataPlane,
    hub: &Hub,
    hosts: &Hosts,
    now: Instant,
) -> DataPlaneStatus {
    let hello = data_plane.hello();
    let refused = data_plane.refusals().into_iter();
    let behind = data_plane.behind_since().map(|since| now.saturating_duration_since(since));
    DataPlaneStatus {
        node: hello.node.clone(),
        role: hello::role(hello).to_owned(),
        name: hello.name.clone(),
        tag: hello.tag.clone(),
        address: hello.address.clone(),
        version: hello.version.clone(),
        connected: data_plane.is_connected(),
        since_seconds: now.saturating_duration_since(data_plane.since()).as_secs(),
        sent: data_plane.sent(),
        acknowledged: data_plane.acknowledged(),
        // Also of one that has just fallen behind it can be told.
        behind_ms: behind
            .map_or(0, |behind| u64::try_from(behind.as_millis()).unwrap_or(u64::MAX).max(1)),
        subscriptions: small(data_plane.subscriptions()),
        refused: refused
            .map(|refusal| RefusedResource { key: refusal.key.to_string(), reason: refusal.reason })
            .collect(),
        // It goes on knowing an address for a while of which no source says anything any more.
        unreachable: (data_plane.unreachable().iter())
            .filter(|text| text.parse().is_ok_and(|address| hub.has_instance_at(address)))
            .cloned()
            .collect(),
        not_listening: (data_plane.not_listening().iter())
            .map(|listener| format!("port {}: {}", listener.port, listener.reason))
            .collect(),
        unread: (data_plane.unread().iter())
            .map(|calls| UnreadCalls {
                service: calls.service.clone(),
                protocol: calls.protocol.clone(),
                connections: calls.connections,
            })
            .collect(),
        undeclared: data_plane
            .undeclared()
            .iter()
            .filter_map(|calls| hosts.name(hub, calls))
            .collect(),
    }
}
