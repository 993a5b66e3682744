//! `laneway get`: shows resources, instances and services.

use std::process::ExitCode;

use api::{
    client::Client,
    resource::{Kind, Object},
    rest::{InstanceStatus, ServiceStatus},
};
use clap::Args;
use control::DEFAULT_GATEWAY;

use super::{
    output,
    selector::Selector,
    server::{Namespace, Server},
    shape::{Shape, Shown},
    target::{Sort, Targets},
    watch,
};

/// The arguments of `laneway get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    targets: Targets,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only resources with these labels: KEY=VALUE, KEY!=VALUE, KEY, !KEY, with commas between
    #[arg(short = 'l', long, value_name = "LABELS", default_value = None)]
    selector: Option<Selector>,
    /// Then follow the changes, of one kind
    #[arg(short = 'w', long)]
    watch: bool,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the verb.
pub(crate) async fn run(verb: Get) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let namespace = verb.namespace.name();
    let shape = &verb.shown.shape;
    let Some(sorts) = verb.targets.whole() else {
        let mut objects = Vec::new();
        for key in verb.targets.keys(&client, namespace).await? {
            objects.push(client.get(&key).await?);
        }
        shape.show_named(&objects);
        if verb.watch {
            let keys: Vec<_> = objects.iter().map(Object::key).collect();
            let kind = objects.first().map_or(Kind::Lane, Object::kind);
            return watch::follow(&client, kind, Some(namespace), shape, |key| keys.contains(key))
                .await;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let within = (!verb.all_namespaces).then_some(namespace);
    let mut objects: Vec<Object> = Vec::new();
    for sort in sorts {
        match sort {
            Sort::Objects(kind) => objects.extend(client.list(*kind, within).await?.items),
            Sort::Instances => instances(&client, shape).await?,
            Sort::Services => services(&client, shape).await?,
        }
    }
    let selector = verb.selector.clone().unwrap_or_default();
    objects.retain(|object| selector.selects(&object.metadata().labels));
    let kinds: Vec<Kind> = sorts.iter().filter_map(Sort::kind).collect();
    match kinds.as_slice() {
        [] => {}
        [kind] if objects.is_empty() && shape.is_table() => nothing(&client, *kind, within).await?,
        _ if objects.is_empty() && shape.is_table() => output::line("nothing"),
        _ => shape.show(&objects, verb.all_namespaces),
    }
    match kinds.as_slice() {
        [kind] if verb.watch => watch::follow(&client, *kind, within, shape, |_| true).await,
        _ => Ok(ExitCode::SUCCESS),
    }
}

impl Sort {
    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Objects(kind) => Some(*kind),
            Self::Instances | Self::Services => None,
        }
    }
}

/// Says that there are none of a kind.
async fn nothing(client: &Client, kind: Kind, within: Option<&str>) -> anyhow::Result<()> {
    let place = within.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
    let is_only_default = kind == Kind::Gateway && client.list(kind, None).await?.items.is_empty();
    let without_object = if is_only_default {
        format!("; until there is one, a gateway named {DEFAULT_GATEWAY} serves every route")
    } else {
        String::new()
    };
    output::line(format_args!("no {}{place}{without_object}", kind.plural()));
    Ok(())
}

async fn instances(client: &Client, shape: &Shape) -> anyhow::Result<()> {
    let row = |instance: &InstanceStatus| {
        vec![
            instance.address.clone(),
            instance.application.clone(),
            if instance.tag.is_empty() { "base".to_owned() } else { instance.tag.clone() },
            instance.health.clone(),
            instance.source.clone(),
            instance.services.join(","),
            instance.weight.to_string(),
            instance.why.clone(),
        ]
    };
    let heading =
        ["ADDRESS", "APPLICATION", "TAG", "HEALTH", "SOURCE", "SERVICES", "WEIGHT", "WHY"];
    let instances = client.instances().await?;
    if instances.is_empty() && shape.is_table() {
        output::line("no instances");
    }
    shape.show_data(&instances, &heading, row);
    Ok(())
}

async fn services(client: &Client, shape: &Shape) -> anyhow::Result<()> {
    let row = |service: &ServiceStatus| {
        vec![
            service.name.clone(),
            service.application.clone(),
            service.source.clone(),
            [&service.namespace, &service.group]
                .map(String::as_str)
                .join("/")
                .trim_matches('/')
                .to_owned(),
            format!("{}/{}", service.usable, service.instances),
            service.tags.join(","),
        ]
    };
    let heading = ["NAME", "APPLICATION", "SOURCE", "NAMESPACE", "USABLE", "TAGS"];
    let services = client.services().await?;
    if services.is_empty() && shape.is_table() {
        output::line("no services");
    }
    shape.show_data(&services, &heading, row);
    Ok(())
}
