//! `laneway get`: shows resources.

use std::process::ExitCode;

use api::{
    resource::{Key, Kind, Object},
    write,
};
use clap::Args;
use control::DEFAULT_GATEWAY;

use super::{
    columns, output,
    server::{Format, LaneName, Namespace, Output, Server, find_lane, kind},
};

/// The arguments of `laneway get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The kind, e.g. Lane
    #[arg(value_parser = kind)]
    kind: Kind,
    /// One resource's name, a lane's also as GROUP/TAG; without it all of the kind
    name: Option<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
pub(crate) async fn run(verb: Get) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let namespace = verb.namespace.name();
    if let Some(name) = &verb.name {
        let object = match name.parse::<LaneName>() {
            Ok(lane) if verb.kind == Kind::Lane => {
                find_lane(&client, &lane, namespace).await?.into()
            }
            _ => client.get(&Key::new(verb.kind, namespace, name)).await?,
        };
        match verb.output.output {
            Format::Json => output::line(write::json_of(&object)),
            Format::Yaml => output::text(&write::yaml_of(&object)),
            Format::Table => output::text(&columns::table(verb.kind, &[object], false)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let within = (!verb.all_namespaces).then_some(namespace);
    let objects: Vec<Object> = client.list(verb.kind, within).await?.items;
    match verb.output.output {
        Format::Json => output::line(write::json_of(&objects)),
        Format::Yaml => output::text(&write::yaml(&objects)),
        Format::Table if objects.is_empty() => {
            let place =
                within.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
            let is_only_default =
                verb.kind == Kind::Gateway && client.list(verb.kind, None).await?.items.is_empty();
            let without_object = if is_only_default {
                format!(
                    "; until there is one, a gateway named {DEFAULT_GATEWAY} serves every route"
                )
            } else {
                String::new()
            };
            output::line(format_args!("no {}{place}{without_object}", verb.kind.plural()));
        }
        Format::Table => output::text(&columns::table(verb.kind, &objects, verb.all_namespaces)),
    }
    Ok(ExitCode::SUCCESS)
}
