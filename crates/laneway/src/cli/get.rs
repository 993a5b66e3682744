//! `laneway get`: shows resources, instances and services.

use std::process::ExitCode;

use api::{
    client::Client,
    resource::{Kind, Object},
    rest::{InstancePort, InstanceStatus, ServiceStatus},
};
use clap::Args;
use control::DEFAULT_GATEWAY;
use serde::Serialize;

use super::{
    Misunderstood, output,
    selector::Selector,
    server::{Server, Within},
    shape::{Shape, Shown},
    target::{Sort, Targets},
    watch,
};

/// The arguments of `laneway get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    within: Within,
    /// Only resources with these labels: KEY=VALUE, KEY!=VALUE, KEY, !KEY, with commas between
    #[arg(short = 'l', long, value_name = "LABELS", default_value = None)]
    selector: Option<Selector>,
    /// Then follow the changes, of one kind
    #[arg(short = 'w', long)]
    watch: bool,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the verb.
pub(crate) async fn run(verb: Get) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let shape = &verb.shown.shape;
    let watched = verb.watch.then(|| verb.watched()).transpose()?;
    // The state first, so that nothing is missed between it and what is shown.
    let state = match watched {
        Some(kind) => Some(client.list(kind, verb.within.one()).await?.resource_version),
        None => None,
    };
    let shown = match verb.targets.whole() {
        Some(sorts) => verb.show_whole(&client, sorts).await?,
        None => {
            let mut objects = Vec::new();
            for key in verb.targets.keys(&client, verb.within.name()).await? {
                objects.push(client.get(&key).await?);
            }
            shape.show_named(&objects);
            objects
        }
    };
    let (Some(kind), Some(state)) = (watched, state) else { return Ok(ExitCode::SUCCESS) };
    let watch = client.watch_after(kind, verb.within.one(), &state).await?;
    let is_whole = verb.targets.whole().is_some();
    let keys: Vec<_> = shown.iter().map(Object::key).collect();
    watch::follow(&client, watch, shape, &shown, |key| is_whole || keys.contains(key)).await
}

impl Get {
    /// All objects of a kind, where and of whom these arguments say.
    pub(crate) async fn all_of(&self, kind: Kind) -> anyhow::Result<Vec<Object>> {
        Ok(self.server.client()?.list(kind, self.within.one()).await?.items)
    }

    /// The one kind that can be followed.
    fn watched(&self) -> Result<Kind, Misunderstood> {
        match self.targets.kinds().as_slice() {
            [kind] => Ok(*kind),
            _ => Err(Misunderstood("-w follows resources of one kind: name one".to_owned())),
        }
    }

    /// Shows all there is of some sorts; returns the objects.
    async fn show_whole(&self, client: &Client, sorts: &[Sort]) -> anyhow::Result<Vec<Object>> {
        let (shape, within) = (&self.shown.shape, self.within.one());
        let mut objects: Vec<Object> = Vec::new();
        for sort in sorts {
            match sort {
                Sort::Objects(kind) => objects.extend(client.list(*kind, within).await?.items),
                Sort::Instances => instances(client, shape, within).await?,
                Sort::Services => services(client, shape, within).await?,
            }
        }
        let selector = self.selector.clone().unwrap_or_default();
        objects.retain(|object| selector.selects(&object.metadata().labels));
        match self.targets.kinds().as_slice() {
            [] => {}
            [kind] if objects.is_empty() && shape.is_table() => {
                nothing(client, *kind, within).await?;
            }
            _ if objects.is_empty() && shape.is_table() => output::line("nothing"),
            _ => shape.show(&objects, within.is_none()),
        }
        Ok(objects)
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

async fn instances(client: &Client, shape: &Shape, within: Option<&str>) -> anyhow::Result<()> {
    let row = |instance: &InstanceStatus| {
        vec![
            [std::slice::from_ref(&instance.address), &instance.further_addresses]
                .concat()
                .join(","),
            instance.application.clone(),
            if instance.tag.is_empty() { "base".to_owned() } else { instance.tag.clone() },
            instance.health.clone(),
            instance.source.clone(),
            services_of(instance),
            instance.weight.to_string(),
            instance.why.clone(),
        ]
    };
    let heading =
        ["ADDRESS", "APPLICATION", "TAG", "HEALTH", "SOURCE", "SERVICES", "WEIGHT", "WHY"];
    let instances = client.instances().await?;
    let namespace = |instance: &InstanceStatus| instance.namespace.clone();
    show_within(("instances", &heading), instances, (namespace, within), shape, row);
    Ok(())
}

/// The services of an instance, with their ports where it has several.
fn services_of(instance: &InstanceStatus) -> String {
    if instance.ports.is_empty() {
        return instance.services.join(",");
    }
    let ports: Vec<String> = instance.ports.iter().map(port).collect();
    ports.join(",")
}

/// `SERVICE:PORT`, and what is spoken there unless it is HTTP.
pub(super) fn port(port: &InstancePort) -> String {
    let of_address = |address: &String| Some(address.rsplit_once(':')?.1.to_owned());
    let number = port.addresses.first().and_then(of_address);
    let number = number.map_or_else(String::new, |number| format!(":{number}"));
    let protocol = match port.protocol.as_str() {
        "http" => String::new(),
        protocol => format!("/{protocol}"),
    };
    format!("{}{number}{protocol}", port.service)
}

async fn services(client: &Client, shape: &Shape, within: Option<&str>) -> anyhow::Result<()> {
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
            service.protocol.clone(),
        ]
    };
    let heading = ["NAME", "APPLICATION", "SOURCE", "NAMESPACE", "USABLE", "TAGS", "PROTOCOL"];
    let services = client.services().await?;
    let namespace = |service: &ServiceStatus| service.namespace.clone();
    show_within(("services", &heading), services, (namespace, within), shape, row);
    Ok(())
}

/// Shows what is of a namespace; says so where there is nothing of it.
fn show_within<T: Serialize>(
    (what, heading): (&str, &[&str]),
    mut all: Vec<T>,
    (namespace, within): (impl Fn(&T) -> String, Option<&str>),
    shape: &Shape,
    row: impl Fn(&T) -> Vec<String>,
) {
    let everywhere = all.len();
    all.retain(|one| within.is_none_or(|within| namespace(one).eq_ignore_ascii_case(within)));
    if all.is_empty() && shape.is_table() {
        output::line(match within {
            Some(within) if everywhere > 0 => format!(
                "no {what} in namespace {within}; there are {everywhere} in others: see them with -A"
            ),
            _ => format!("no {what}"),
        });
    }
    shape.show_data(&all, heading, row);
}
