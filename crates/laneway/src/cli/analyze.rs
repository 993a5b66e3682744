//! `laneway analyze`: what is wrong or doubtful in the whole installation.

use std::{collections::BTreeSet, fmt, process::ExitCode};

use api::{
    resource::{AnyRoute, Fallback, Kind, Lane, LaneGroup, Object},
    rest::{InstanceStatus, ServiceStatus, StatusResponse},
    validate::Severity,
    write,
};
use clap::Args;
use control::DEFAULT_GATEWAY;
use serde::Serialize;

use super::{
    EXIT_FAILED, columns, output, references,
    server::{Format, Output, Server},
    status,
};

/// How long a data plane may be behind before it is told: ten times what a change takes.
const BEHIND_MOST_MS: u64 = 5_000;

/// Annotations of Laneway's that something reads.
const READ_ANNOTATIONS: [&str; 4] = [
    "laneway.io/http2-prior-knowledge",
    "laneway.io/merge-slashes",
    "laneway.io/trusted",
    "laneway.io/trusted-hops",
];

/// The arguments of `laneway analyze`.
#[derive(Debug, Args)]
pub(crate) struct Analyze {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: Output,
}

/// Everything that is looked at.
struct Installation {
    status: StatusResponse,
    objects: Vec<Object>,
    services: Vec<ServiceStatus>,
    instances: Vec<InstanceStatus>,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    /// Whether requests fail or go wrong by it; else it is doubtful.
    is_error: bool,
    about: String,
    message: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.is_error { "error" } else { "warning" };
        write!(f, "{severity}: {}: {}", self.about, self.message)
    }
}

/// Runs the verb.
pub(crate) async fn run(verb: Analyze) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        objects.extend(client.list(kind, None).await?.items);
    }
    let installation = Installation {
        status: client.status().await?,
        objects,
        services: client.services().await?,
        instances: client.instances().await?,
    };
    let mut found = installation.analyze();
    found.sort_by_key(|found| !found.is_error);
    match verb.output.output {
        Format::Json => output::line(write::json_of(&found)),
        Format::Yaml => output::text(&write::yaml_of(&found)),
        Format::Table if found.is_empty() => output::line(format_args!(
            "{} resources, {} services, {} instances, {} data planes: nothing to say",
            installation.objects.len(),
            installation.services.len(),
            installation.instances.len(),
            installation.status.data_planes.len()
        )),
        Format::Table => found.iter().for_each(output::line),
    }
    let is_wrong = found.iter().any(|found| found.is_error);
    Ok(if is_wrong { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

fn found(is_error: bool, about: impl fmt::Display, message: impl fmt::Display) -> Found {
    Found { is_error, about: about.to_string(), message: message.to_string() }
}

impl Installation {
    fn analyze(&self) -> Vec<Found> {
        let mut all = self.store();
        all.extend(self.findings());
        all.extend(self.sources());
        all.extend(self.data_planes());
        all.extend(self.gateways());
        all.extend(self.instances());
        for object in &self.objects {
            all.extend(self.references(object));
            all.extend(annotations(object));
            match object {
                Object::Lane(lane) if lane.spec.enabled => all.extend(self::lane(lane)),
                Object::LaneGroup(group) => all.extend(self.group(group)),
                _ => {}
            }
        }
        all
    }

    /// Whether the store is believed.
    fn store(&self) -> Vec<Found> {
        let doubted_by = self.status.doubted_by;
        let message = format!(
            "it is new and empty, but {doubted_by} data planes hold the configuration of another one and keep it: restore \
             a backup, or apply the resources that shall hold from now on"
        );
        (doubted_by > 0).then(|| found(true, "store", message)).into_iter().collect()
    }

    /// What the control plane itself finds.
    fn findings(&self) -> Vec<Found> {
        let shown = self.status.findings.iter().map(|finding| {
            let about =
                finding.object.as_ref().map_or_else(|| "store".to_owned(), ToString::to_string);
            let text = finding.to_string();
            let message = text.strip_prefix(&format!("{about}: ")).unwrap_or(&text).to_owned();
            found(finding.severity != Severity::Warning, about, message)
        });
        shown.collect()
    }

    fn sources(&self) -> Vec<Found> {
        let sources = self.status.sources.iter().filter(|source| source.state != "synced");
        let shown = sources.map(|source| {
            let problem = match source.problem.as_str() {
                "" => String::new(),
                problem => format!(": {problem}"),
            };
            // After a start, a source that has no problem has not told everything yet.
            let is_error = source.state != "syncing" || !source.problem.is_empty();
            found(
                is_error,
                format_args!("source {}", source.name),
                format_args!("{}{problem}", source.state),
            )
        });
        shown.collect()
    }

    fn data_planes(&self) -> Vec<Found> {
        let mut all = Vec::new();
        for data_plane in &self.status.data_planes {
            let who = status::who(data_plane);
            if !data_plane.connected {
                let since = data_plane.since_seconds;
                all.push(found(false, &who, format_args!("disconnected for {since} s")));
            } else if data_plane.behind_ms > BEHIND_MOST_MS {
                let behind = data_plane.behind_ms;
                let message = format!("has not confirmed a change for {behind} ms");
                all.push(found(true, &who, message));
            }
            for refused in &data_plane.refused {
                let message = format!("does not take {}: {}", refused.key, refused.reason);
                all.push(found(true, &who, message));
            }
            for listener in &data_plane.not_listening {
                all.push(found(true, &who, format_args!("does not listen on {listener}")));
            }
            all.extend(data_plane.unread.iter().map(|calls| found(false, &who, calls)));
            all.extend(data_plane.undeclared.iter().map(|calls| found(false, &who, calls)));
            if data_plane.version != self.status.version {
                let message = format!(
                    "is of release {}, the control plane of {}",
                    data_plane.version, self.status.version
                );
                all.push(found(false, &who, message));
            }
        }
        for refused in &self.status.refused_registrations {
            let about = format!("{} at {}", refused.application, refused.address);
            all.push(found(true, about, format_args!("is not registered: {}", refused.reason)));
        }
        all
    }

    fn gateways(&self) -> Vec<Found> {
        let unserved = self.status.gateways.iter().filter(|gateway| gateway.data_planes == 0);
        let message = "no process serves its ports: start `laneway gateway` with its name";
        unserved
            .map(|gateway| found(true, format_args!("gateway {}", gateway.name), message))
            .collect()
    }

    fn instances(&self) -> Vec<Found> {
        let wrong = self.instances.iter().filter(|instance| !instance.why.is_empty());
        let shown = wrong.map(|instance| {
            let tag = if instance.tag.is_empty() { "base" } else { &instance.tag };
            let about = format!("{} {tag} at {}", instance.application, instance.address);
            found(false, about, &instance.why)
        });
        shown.collect()
    }

    /// What an object names that is not there.
    fn references(&self, object: &Object) -> Vec<Found> {
        let is_there = |reference: &references::Reference| {
            let by_default = match reference.kind {
                Kind::Gateway => reference.name == DEFAULT_GATEWAY,
                Kind::ServiceSource => reference.name == api::resource::EMBEDDED_SOURCE,
                _ => false,
            };
            by_default || self.objects.iter().any(|other| reference.is_to(&other.key()))
        };
        let absent = references::of(object).into_iter().filter(|it| !is_there(it));
        let mut all: Vec<Found> = absent
            .map(|it| {
                let message = format!("{}: there is no {} {}", it.field, it.kind, it.name);
                found(true, object.key(), message)
            })
            .collect();
        if let Object::Backend(backend) = object {
            let spec = &backend.spec;
            let is_known = self.services.iter().any(|service| {
                service.name.eq_ignore_ascii_case(&spec.service)
                    && service.source.eq_ignore_ascii_case(&spec.source)
            });
            if !is_known {
                let message = format!(
                    "spec.service: source {} knows no service {}",
                    spec.source, spec.service
                );
                all.push(found(true, object.key(), message));
            }
        }
        all
    }

    /// Applications of a group that nobody is, and entrances behind which no route leads to one of them.
    fn group(&self, group: &LaneGroup) -> Vec<Found> {
        let mut all = Vec::new();
        for application in &group.spec.applications {
            if !self.instances.iter().any(|it| it.application == *application) {
                let message = format!("spec.applications: {application} has no instance");
                all.push(found(false, group.key(), message));
            }
        }
        for entrance in &group.spec.entrances {
            let Some(gateway) = &entrance.gateway else { continue };
            let behind = self.applications_behind(gateway);
            if !group.spec.applications.iter().any(|it| behind.contains(it.as_str())) {
                let message = format!(
                    "spec.entrances: no route of gateway {gateway} leads to an application of the group: its lanes decide nothing there unless others call them"
                );
                all.push(found(false, group.key(), message));
            }
        }
        all
    }

    /// Applications that routes of a gateway lead to.
    fn applications_behind(&self, gateway: &str) -> BTreeSet<&str> {
        let routes = self.objects.iter().filter(|object| {
            let names = |it: &references::Reference| it.kind == Kind::Gateway && it.name == gateway;
            AnyRoute::of(object).is_some() && references::of(object).iter().any(names)
        });
        let named: Vec<_> = routes.flat_map(references::of).collect();
        let backends = self.objects.iter().filter_map(|object| match object {
            Object::Backend(backend) if named.iter().any(|it| it.is_to(&backend.key())) => {
                Some(backend)
            }
            _ => None,
        });
        let services: Vec<_> = backends.map(|backend| &backend.spec.service).collect();
        let is_named = |service: &&ServiceStatus| {
            services.iter().any(|it| it.eq_ignore_ascii_case(&service.name))
        };
        self.services.iter().filter(is_named).map(|service| service.application.as_str()).collect()
    }
}

/// What an enabled lane has no instances for.
fn lane(lane: &Lane) -> Option<Found> {
    let matched = lane.status.iter().flat_map(|status| &status.matched);
    let empty = matched.filter(|matched| matched.tagged == 0);
    let absent: Vec<&str> = empty.map(|matched| matched.application.as_str()).collect();
    let key = Object::from(lane.clone()).key();
    if lane.spec.fallback == Fallback::None && !absent.is_empty() {
        let absent = absent.join(", ");
        let message = format!(
            "spec.fallback: none, and {absent} has no usable instance of its tag: its requests that come there are answered 503"
        );
        return Some(found(true, key, message));
    }
    let message =
        "no application has an instance of its tag: its requests are served by the fallback";
    (!columns::has_instances(lane)).then(|| found(false, key, message))
}

/// Annotations that look like Laneway's and that nothing reads.
fn annotations(object: &Object) -> Vec<Found> {
    let names = object.metadata().annotations.keys();
    let unread = names.filter(|name| {
        let is_read = object.kind() == Kind::Gateway && READ_ANNOTATIONS.contains(&name.as_str());
        name.starts_with("laneway.io/") && !is_read
    });
    let message = |name| {
        format!("metadata.annotations.{name}: nothing reads it: remove it, or mend its name")
    };
    unread.map(|name| found(false, object.key(), message(name))).collect()
}
