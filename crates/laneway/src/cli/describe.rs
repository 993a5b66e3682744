//! `laneway describe`: one resource with all that is known of it.

use std::process::ExitCode;

use api::{
    client::Client,
    resource::{CertificateStatus, Kind, Object, Status},
    rest::{Event, InstanceStatus},
    write,
};
use clap::Args;

use super::{
    confirm, get, output, references,
    server::{Namespace, Server},
    target::Targets,
};

/// The arguments of `laneway describe`.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// Events that are shown of a resource: what fits on a screen beneath the rest.
const EVENTS_SHOWN: usize = 20;

/// Runs the verb.
pub(crate) async fn run(verb: Describe) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let keys = verb.targets.keys(&client, verb.namespace.name()).await?;
    let mut all = Vec::new();
    for kind in Kind::ALL {
        all.extend(client.list(kind, None).await?.items);
    }
    let (events, instances) = (client.events(0).await?, client.instances().await?);
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            output::line("");
        }
        let object = client.get(key).await?;
        describe(&client, &object, &all, &instances, &events).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn describe(
    client: &Client,
    object: &Object,
    all: &[Object],
    instances: &[InstanceStatus],
    events: &[Event],
) -> anyhow::Result<()> {
    let (key, metadata) = (object.key(), object.metadata());
    output::line(format_args!("Name:       {}", key.name));
    output::line(format_args!("Kind:       {}", key.kind));
    output::line(format_args!("Namespace:  {}", key.namespace));
    for (what, notes) in [("Labels", &metadata.labels), ("Annotations", &metadata.annotations)] {
        for (name, value) in notes {
            output::line(format_args!("{:12}{name}={value}", format!("{what}:")));
        }
    }
    if let Some(created) = &metadata.creation_timestamp {
        output::line(format_args!("Created:    {created}"));
    }
    output::line("Spec:");
    let spec = object.to_value().get("spec").cloned().unwrap_or_default();
    output::text(&indented(&write::yaml_of(&spec)));
    if let Some(status) = object.status() {
        status.certificate.iter().for_each(certificate);
        conditions(status);
        let waits = status.live.as_ref().is_some_and(|live| live.acknowledged < live.data_planes);
        for who in if waits { confirm::behind_now(client).await? } else { Vec::new() } {
            output::line(format_args!("  not confirmed by {who}"));
        }
    }
    section("Instances", &of_object(object, instances));
    let needing = all.iter().filter(|other| {
        references::of(other).iter().any(|it| it.is_to(&key))
            || matches!(object, Object::Lane(lane) if references::falls_back_to(other, lane))
    });
    section("Needed by", &needing.map(|other| vec![other.key().to_string()]).collect::<Vec<_>>());
    let of_object: Vec<Vec<String>> = (events.iter())
        .filter(|event| event.object.as_ref() == Some(&key))
        .map(|event| vec![event.time.clone(), event.reason.clone(), event.message.clone()])
        .collect();
    section("Events", &of_object[of_object.len().saturating_sub(EVENTS_SHOWN)..]);
    Ok(())
}

fn certificate(told: &CertificateStatus) {
    let rows = [
        ("subject", told.subject.clone()),
        ("names", told.names.join(", ")),
        ("not before", told.not_before.clone()),
        ("not after", told.not_after.clone()),
        ("SHA-256", told.fingerprint.clone()),
    ];
    section("Certificate", &rows.map(|(what, value)| vec![what.to_owned(), value]));
}

fn conditions(status: &Status) {
    let row = |condition: &api::resource::StatusCondition| {
        let (kind, status) = (condition.kind.clone(), condition.status.clone());
        vec![kind, status, condition.reason.clone(), condition.message.clone()]
    };
    section("Conditions", &status.conditions.iter().map(row).collect::<Vec<_>>());
    let of_listeners = status.listeners.iter().flat_map(|listener| {
        listener.conditions.iter().map(|condition| {
            let mut cells = row(condition);
            cells.insert(0, listener.name.clone());
            cells
        })
    });
    section("Listeners", &of_listeners.collect::<Vec<_>>());
    if let Some(live) = &status.live {
        output::line(format_args!(
            "Held by:    {} of {} data planes have confirmed it, {} are disconnected",
            live.acknowledged, live.data_planes, live.disconnected
        ));
    }
    let counts = status.matched.iter().map(|matched| {
        vec![
            matched.application.clone(),
            format!("{} in the lane", matched.tagged),
            format!("{} base", matched.base),
        ]
    });
    section("Matched", &counts.collect::<Vec<_>>());
}

/// The instances that an object is about.
fn of_object(object: &Object, instances: &[InstanceStatus]) -> Vec<Vec<String>> {
    let is_of = |instance: &&InstanceStatus| match object {
        Object::Lane(lane) => {
            let matched = lane.status.iter().flat_map(|status| &status.matched);
            let mut applications = matched.map(|matched| &matched.application);
            instance.tag == lane.tag_text() && applications.any(|it| *it == instance.application)
        }
        Object::LaneGroup(group) => group.spec.applications.contains(&instance.application),
        Object::ServiceSource(source) => {
            instance.source.eq_ignore_ascii_case(&source.metadata.name)
        }
        Object::Backend(backend) => {
            instance.source.eq_ignore_ascii_case(&backend.spec.source)
                && instance.services.iter().any(|it| it.eq_ignore_ascii_case(&backend.spec.service))
        }
        Object::BackendTlsPolicy(_)
        | Object::Certificate(_)
        | Object::Gateway(_)
        | Object::HttpRoute(_)
        | Object::GrpcRoute(_)
        | Object::TlsRoute(_) => false,
    };
    let row = |it: &InstanceStatus| {
        let tag = if it.tag.is_empty() { "base".to_owned() } else { it.tag.clone() };
        let ports: Vec<String> = it.ports.iter().map(get::port).collect();
        let (health, why) = (it.health.clone(), it.why.clone());
        vec![it.address.clone(), it.application.clone(), tag, health, why, ports.join(",")]
    };
    instances.iter().filter(is_of).map(row).collect()
}

fn section(name: &str, rows: &[Vec<String>]) {
    if !rows.is_empty() {
        output::line(format_args!("{name}:"));
        output::text(&indented(&output::rows(rows)));
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
