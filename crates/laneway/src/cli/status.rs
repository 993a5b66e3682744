//! `laneway status`: sources, gateways and data planes: how far behind each is, what each cannot reach.

use std::process::ExitCode;

use api::{
    rest::{DataPlaneStatus, StatusResponse},
    validate::Severity,
    write,
};
use clap::Args;

use super::{
    output,
    server::{Format, Output, Server},
};

/// The arguments of `laneway status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
pub(crate) async fn run(verb: Status) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let status = client.status().await?;
    match verb.output.output {
        Format::Json => output::line(write::json_of(&status)),
        Format::Yaml => output::text(&write::yaml_of(&status)),
        Format::Table => {
            output::line(format_args!(
                "control plane {}, version {}, generation {}",
                client.server(),
                status.version,
                status.generation.number
            ));
            output::text(&told(&status));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything but the first line, for people.
fn told(status: &StatusResponse) -> String {
    let sources: Vec<Vec<String>> = (status.sources.iter())
        .map(|source| {
            let age = source.stale_seconds.map(|seconds| format!(" {}", span(seconds)));
            let mut state = format!("{}{}", source.state, age.unwrap_or_default());
            if !source.problem.is_empty() {
                state.push_str(&format!(": {}", source.problem));
            }
            vec![
                source.name.clone(),
                source.kind.clone(),
                source.services.to_string(),
                source.instances.to_string(),
                state,
            ]
        })
        .collect();
    let gateways: Vec<Vec<String>> = (status.gateways.iter())
        .map(|gateway| {
            vec![gateway.name.clone(), gateway.routes.to_string(), gateway.data_planes.to_string()]
        })
        .collect();
    let data_planes: Vec<Vec<String>> = status.data_planes.iter().map(data_plane).collect();
    let mut parts = vec![
        output::table(&["SOURCE", "KIND", "SERVICES", "INSTANCES", "STATE"], &sources),
        output::table(&["GATEWAY", "ROUTES", "DATA PLANES"], &gateways),
        output::table(
            &[
                "DATA PLANE",
                "ROLE",
                "TAG",
                "ADDRESS",
                "VERSION",
                "STATE",
                "GENERATION",
                "BEHIND",
                "ASKED FOR",
            ],
            &data_planes,
        ),
    ];
    parts.push(notes(status));
    parts.retain(|part| !part.is_empty());
    parts.iter().map(|part| format!("\n{part}")).collect()
}

/// What is said below the tables.
fn notes(status: &StatusResponse) -> String {
    let mut notes = String::new();
    if status.doubted_by > 0 {
        notes.push_str(&format!(
            "THE STORE IS NEW AND EMPTY, but {} data planes hold the configuration of another one and keep it: restore a \
             backup, or apply the resources that shall hold from now on\n",
            status.doubted_by
        ));
    }
    notes.extend(status.data_planes.iter().map(cannot));
    for refused in &status.refused_registrations {
        let tag = if refused.tag.is_empty() { "base" } else { &refused.tag };
        notes.push_str(&format!(
            "{} {tag} at {} is not registered: {}\n",
            refused.application, refused.address, refused.reason
        ));
    }
    for finding in &status.findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Conflict => "conflict",
            Severity::Warning => "warning",
        };
        notes.push_str(&format!("{severity}: {finding}\n"));
    }
    notes
}

/// What a data plane says that it cannot do.
fn cannot(data_plane: &DataPlaneStatus) -> String {
    let mut notes = String::new();
    let name = format!("{} {}", data_plane.role, data_plane.name);
    for refused in &data_plane.refused {
        notes.push_str(&format!("{name} does not take {}: {}\n", refused.key, refused.reason));
    }
    for listener in &data_plane.not_listening {
        notes.push_str(&format!("{name} does not listen on {listener}; it goes on trying\n"));
    }
    for calls in &data_plane.unread {
        notes.push_str(&format!("{name} {calls}\n"));
    }
    for calls in &data_plane.undeclared {
        notes.push_str(&format!("{name} {calls}\n"));
    }
    if !data_plane.unreachable.is_empty() {
        notes.push_str(&format!("{name} cannot reach {}\n", data_plane.unreachable.join(", ")));
    }
    notes
}

/// A data plane, for people.
pub(super) fn who(data_plane: &DataPlaneStatus) -> String {
    let DataPlaneStatus { role, name, tag, address, .. } = data_plane;
    let tag = if tag.is_empty() { String::new() } else { format!(" {tag}") };
    let address = if address.is_empty() { String::new() } else { format!(" at {address}") };
    format!("{role} {name}{tag}{address}")
}

fn data_plane(status: &DataPlaneStatus) -> Vec<String> {
    let state = if status.connected { "connected" } else { "away" };
    let behind =
        if status.behind_ms > 0 { format!("{} ms", status.behind_ms) } else { "0".to_owned() };
    vec![
        status.name.clone(),
        status.role.clone(),
        status.tag.clone(),
        status.address.clone(),
        status.version.clone(),
        format!("{state} {}", span(status.since_seconds)),
        format!("{}/{}", status.acknowledged, status.sent),
        behind,
        status.subscriptions.to_string(),
    ]
}

/// A time span, as exact as people want it.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use api::rest::{SourceStatus, UndeclaredCalls, UnreadCalls};

    use super::*;

    #[test]
    fn a_source_says_how_it_stands_since_when_and_why() {
        let source = |state: &str, stale_seconds, problem: &str| SourceStatus {
            name: "registry".to_owned(),
            kind: "static".to_owned(),
            state: state.to_owned(),
            stale_seconds,
            problem: problem.to_owned(),
            ..SourceStatus::default()
        };
        let status = StatusResponse {
            sources: vec![
                source("syncing", None, ""),
                source("syncing", None, "no route to it"),
                source("synced", None, ""),
                source("stale", Some(300), "it does not answer"),
            ],
            ..StatusResponse::default()
        };
        let expected = "
SOURCE    KIND    SERVICES  INSTANCES  STATE
registry  static  0         0          syncing
registry  static  0         0          syncing: no route to it
registry  static  0         0          synced
registry  static  0         0          stale 5m: it does not answer
";
        assert_eq!(told(&status), expected);
    }

    #[test]
    fn what_a_data_plane_cannot_do_is_said_below_the_tables() {
        let status = StatusResponse {
            data_planes: vec![DataPlaneStatus {
                name: "spring-cloud-a".to_owned(),
                role: "sidecar".to_owned(),
                version: "0.1.0".to_owned(),
                connected: true,
                since_seconds: 300,
                sent: 9,
                acknowledged: 7,
                behind_ms: 40,
                unread: [("tls", 3), ("dubbo", 2)]
                    .map(|(protocol, connections)| UnreadCalls {
                        service: "sc-B".to_owned(),
                        protocol: protocol.to_owned(),
                        connections,
                    })
                    .into(),
                undeclared: vec![UndeclaredCalls {
                    address: "10.0.0.5:9090".to_owned(),
                    applications: vec!["b".to_owned(), "c".to_owned()],
                    connections: 2,
                }],
                unreachable: vec!["127.0.0.1:1".to_owned()],
                ..DataPlaneStatus::default()
            }],
            ..StatusResponse::default()
        };
        let expected = "
DATA PLANE      ROLE     TAG  ADDRESS  VERSION  STATE         GENERATION  BEHIND  ASKED FOR
spring-cloud-a  sidecar                0.1.0    connected 5m  7/9         40 ms   0

sidecar spring-cloud-a calls sc-B by tls, which passes unread and outside lanes (3 connections): HTTP in plain text is read
sidecar spring-cloud-a calls sc-B by dubbo with requests that cannot be read, and are in no lane (2 requests): Hessian 2 is read, dubbo.protocol.serialization=hessian2
sidecar spring-cloud-a calls 10.0.0.5:9090, a port of b or c that nobody has declared: it goes past the lanes (2 connections); if they are about it, start that sidecar with --app-address 10.0.0.5:9090,service=NAME as well
sidecar spring-cloud-a cannot reach 127.0.0.1:1
";
        assert_eq!(told(&status), expected);
    }
}
