//! `laneway route`: sugar that writes an HTTPRoute.

use std::process::ExitCode;

use api::{
    client::Client,
    resource::{
        Backend, BackendRef, BackendSpec, EMBEDDED_SOURCE, HttpRoute, HttpRouteSpec, Key, Kind,
        Object, ParentRef, PathMatch, PathMatchType, PathModifier, PathModifierType, RouteFilter,
        RouteFilterType, RouteMatch, RouteRule, UrlRewrite,
    },
    rest::ApplyRequest,
};
use clap::{Args, Subcommand};

use super::{apply, confirm::Confirmation, output, server::Actions};

/// What to do with routes.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Write a route
    Add(Add),
}

/// The arguments of `laneway route add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The route's name
    name: String,
    /// The path prefix it takes, by segment
    #[arg(long, value_name = "PATH", default_value = "/")]
    prefix: String,
    /// The Backend it goes to, or a service of the embedded registry
    #[arg(long, value_name = "NAME")]
    backend: String,
    /// Only for this host
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// The gateway it attaches to
    #[arg(long, value_name = "NAME", default_value = "edge")]
    gateway: String,
    /// Replace the prefix by this path
    #[arg(long, value_name = "PATH")]
    rewrite: Option<String>,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Runs the verb.
pub(crate) async fn run(verb: Actions<Action>) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let Action::Add(add) = verb.action;
    let namespace = verb.namespace.name();
    let mut objects: Vec<Object> = Vec::new();
    let (backend, to_create) = backend(&client, &add.backend, namespace).await?;
    if to_create.is_some() && !is_known(&client, &add.backend).await? {
        output::warning(format_args!(
            "no source knows a service {}: until an instance registers as one, requests are answered 503",
            add.backend
        ));
    }
    objects.extend(to_create.map(Object::from));
    let mut route = route(&add, backend);
    namespace.clone_into(&mut route.metadata.namespace);
    objects.push(route.into());
    let request = ApplyRequest { objects: objects.iter().map(Object::to_value).collect() };
    let response = client.apply(&request, false).await?;
    response.warnings.iter().for_each(output::warning);
    response.results.iter().for_each(|result| apply::tell(result, false));
    add.confirmation.of(&client, &response.results, verb.server.patience.limit()).await
}

/// The name of the Backend that `word` means, and the Backend itself where there is none yet. Services have names
/// in any case, objects in lower case only.
async fn backend(
    client: &Client,
    word: &str,
    namespace: &str,
) -> anyhow::Result<(String, Option<Backend>)> {
    let name = word.to_lowercase();
    match client.get(&Key::new(Kind::Backend, namespace, name.as_str())).await {
        Ok(_) => Ok((name, None)),
        Err(error) if error.is_not_found() => {
            let spec = BackendSpec {
                source: EMBEDDED_SOURCE.to_owned(),
                namespace: None,
                group: None,
                service: word.to_owned(),
                protocol: "http".to_owned(),
            };
            let mut backend = Backend::new(name.as_str(), spec);
            namespace.clone_into(&mut backend.metadata.namespace);
            Ok((name, Some(backend)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the embedded registry has, or lately had, a service.
async fn is_known(client: &Client, service: &str) -> anyhow::Result<bool> {
    let services = client.services().await?;
    Ok(services
        .iter()
        .any(|known| known.source == EMBEDDED_SOURCE && known.name.eq_ignore_ascii_case(service)))
}

fn route(add: &Add, backend: String) -> HttpRoute {
    let rewrite = add.rewrite.as_ref().map(|path| RouteFilter {
        kind: RouteFilterType::UrlRewrite,
        request_header_modifier: None,
        response_header_modifier: None,
        request_redirect: None,
        url_rewrite: Some(UrlRewrite {
            hostname: None,
            path: Some(PathModifier {
                kind: PathModifierType::ReplacePrefixMatch,
                replace_full_path: None,
                replace_prefix_match: Some(path.clone()),
            }),
        }),
    });
    let matching = RouteMatch {
        path: Some(PathMatch { kind: PathMatchType::PathPrefix, value: add.prefix.clone() }),
        ..RouteMatch::default()
    };
    let backend = BackendRef {
        group: Some(Kind::Backend.group().to_owned()),
        kind: Some(Kind::Backend.name().to_owned()),
        name: backend,
        weight: 1,
        ..BackendRef::default()
    };
    let rule = RouteRule {
        matches: vec![matching],
        filters: rewrite.into_iter().collect(),
        backend_refs: vec![backend],
        ..RouteRule::default()
    };
    let spec = HttpRouteSpec {
        parent_refs: vec![ParentRef { name: add.gateway.clone(), ..ParentRef::default() }],
        hostnames: add.host.clone(),
        rules: vec![rule],
    };
    HttpRoute::new(add.name.as_str(), spec)
}
