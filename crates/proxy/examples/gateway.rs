//! A gateway in front of one service, to be measured: `gateway [--tls] LISTEN UPSTREAM…`. Lanes are on: a group with two
//! lanes by header decides for every request.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use lanes::{
    Directory, Endpoint, Group, GroupName, GroupSpec, LaneSpec, Service, ServiceId, Snapshot, Tag,
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::{Health, Port},
};
use proxy::{Feed, GatewayConfig, Published};
use routes::{
    GatewaySpec, RouteKind, RouteSpec, Table,
    spec::{BackendSpec, ListenerSpec, MatchSpec, ParentSpec, PathSpec, RuleSpec},
    tls::{Certificate, ListenerTls, PrivateKey, TlsMode, TlsVersion},
};
use tokio::sync::{mpsc, watch};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let tls = arguments.next_if_eq("--tls").is_some();
    let mut addresses = arguments.map(|text| text.parse::<SocketAddr>());
    let listen = addresses.next().ok_or("usage: gateway [--tls] LISTEN UPSTREAM…")??;
    let upstreams = addresses.collect::<Result<Vec<_>, _>>()?;
    let (_publish, published) = watch::channel(Arc::new(picture(listen.port(), tls, &upstreams)?));
    let (demand, _asked) = mpsc::channel(1);
    let mut config = GatewayConfig::new("edge", listen);
    config.workers = 1;
    let _running = proxy::gateway::start(config, Feed { published, demand, comes_back: false })?;
    loop {
        std::thread::park();
    }
}

/// TLS with the one certificate there is.
fn ends_tls() -> TlsMode {
    TlsMode::Terminate(ListenerTls {
        certificates: vec!["default/own".to_owned()],
        clients: None,
        minimum: TlsVersion::V1_2,
    })
}

fn picture(
    port: u16,
    tls: bool,
    upstreams: &[SocketAddr],
) -> Result<Published, Box<dyn std::error::Error>> {
    let id = ServiceId::new("fixed", "default", "", "sc-A");
    let endpoints = upstreams
        .iter()
        .map(|address| Endpoint {
            address: *address,
            application_address: None,
            further: None,
            tag: None,
            weight: 1,
            health: Health::Usable,
            port: Port::default(),
        })
        .collect();
    let mut directory = Directory::new(true);
    directory.insert(Arc::new(Service::new(id.clone(), "sc-A", "spring-cloud-a", endpoints)));
    let group = GroupSpec {
        name: GroupName::parse("trade").map_err(|problem| format!("{problem:?}"))?,
        entrances: vec![EntranceSpec::Gateway { name: "edge".to_owned(), routes: None }],
        applications: vec!["spring-cloud-a".to_owned()],
        lanes: vec![lane("gray")?, lane("blue")?],
    };
    let group = Group::compile(group).map_err(|problems| format!("{problems:?}"))?;
    let gateway = GatewaySpec {
        name: "edge".to_owned(),
        listeners: vec![ListenerSpec {
            name: "http".to_owned(),
            port,
            hostname: None,
            trusted: false,
            trusted_hops: 0,
            merge_slashes: true,
            http2: true,
            tls: tls.then(ends_tls),
        }],
    };
    let path = PathSpec::Prefix("/".to_owned());
    let route = RouteSpec {
        kind: RouteKind::Http,
        namespace: "default".to_owned(),
        name: "all".to_owned(),
        parents: vec![ParentSpec { gateway: "edge".to_owned(), section: None, port: None }],
        hostnames: Vec::new(),
        rules: vec![RuleSpec {
            matches: vec![MatchSpec { path, method: None, headers: Vec::new(), query: Vec::new() }],
            filters: Vec::new(),
            backends: vec![BackendSpec {
                service: Ok(id),
                weight: 1,
                http2: false,
                tls: None,
                filters: Vec::new(),
            }],
            request_timeout_ms: None,
            backend_timeout_ms: None,
        }],
        created: 0,
    };
    let (table, problems) = Table::compile(Some(&gateway), &[route]);
    if !problems.is_empty() {
        return Err(format!("{problems:?}").into());
    }
    Ok(Published {
        lanes: Snapshot::new(vec![Arc::new(group)], directory),
        routes: Arc::new(table),
        certificates: Arc::new(BTreeMap::from([("default/own".to_owned(), Arc::new(own()?))])),
    })
}

/// A certificate of its own making.
fn own() -> Result<Certificate, rcgen::Error> {
    let own = rcgen::generate_simple_self_signed(vec!["shop".to_owned(), "127.0.0.1".to_owned()])?;
    Ok(Certificate {
        chain: vec![own.cert.der().to_vec()],
        key: Some(PrivateKey::new(own.signing_key.serialize_der())),
        authorities: Vec::new(),
    })
}

/// A lane that requests enter by the header `canary`.
fn lane(tag: &str) -> Result<LaneSpec, Box<dyn std::error::Error>> {
    Ok(LaneSpec {
        tag: Tag::parse(tag)
            .map_err(|problem| format!("{problem:?}"))?
            .ok_or("a lane needs a tag")?,
        enabled: true,
        admitting: true,
        paused: false,
        priority: 0,
        entry: Entry::Content {
            meet: Meet::All,
            conditions: vec![Condition {
                parameter: Parameter::Header("canary".to_owned()),
                operator: Operator::Equal(tag.to_owned()),
            }],
        },
        fallback: Fallback::Then(Vec::new()),
        switched_off: Vec::new(),
    })
}
