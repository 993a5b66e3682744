//! What of each kind is shown in a table, and how lanes and routes are said in a few words.

use api::{
    convert::lanes::lane_name,
    resource::{
        AttributeName, ConditionValue, Entrance, Fallback, HttpRoute, Kind, Lane, LaneCondition,
        LaneGroup, Meet, Object, ParameterRef, ServiceSource, Status,
    },
};

use super::output;

/// Objects of one kind as a table.
pub(crate) fn table(kind: Kind, objects: &[Object], with_namespace: bool) -> String {
    let mut heading: Vec<&str> = if with_namespace { vec!["NAMESPACE"] } else { Vec::new() };
    heading.extend(match kind {
        Kind::ServiceSource => ["NAME", "FROM", "SERVICES", "INSTANCES"].as_slice(),
        Kind::Backend => &["NAME", "SOURCE", "SERVICE", "PROTOCOL"],
        Kind::Gateway => &["NAME", "LISTENERS", "READY", "LIVE"],
        Kind::HttpRoute => &["NAME", "GATEWAYS", "HOSTS", "PATHS", "BACKENDS", "READY", "LIVE"],
        Kind::LaneGroup => &["NAME", "ENTRANCES", "APPLICATIONS", "READY", "LIVE"],
        Kind::Lane => &["NAME", "LANE", "ENABLED", "ENTRY", "FALLBACK", "READY", "LIVE"],
    });
    let rows: Vec<Vec<String>> = (objects.iter())
        .map(|object| {
            let metadata = object.metadata();
            let mut row =
                if with_namespace { vec![metadata.namespace.clone()] } else { Vec::new() };
            row.push(metadata.name.clone());
            row.extend(cells(object));
            row
        })
        .collect();
    output::table(&heading, &rows)
}

/// One object in a line.
pub(crate) fn line(object: &Object) -> String {
    let cells: Vec<String> = cells(object).into_iter().filter(|cell| !cell.is_empty()).collect();
    format!("{}  {}", object.key(), cells.join("  "))
}

fn cells(object: &Object) -> Vec<String> {
    let status = object.status();
    let mut cells = match object {
        Object::ServiceSource(source) => return source_cells(source),
        Object::Backend(backend) => {
            let spec = &backend.spec;
            return vec![spec.source.clone(), spec.service.clone(), spec.protocol.clone()];
        }
        Object::Gateway(gateway) => {
            let listeners = gateway.spec.listeners.iter().map(|listener| {
                let host = listener.hostname.as_deref().unwrap_or("*");
                format!("{}:{}", host, listener.port)
            });
            vec![listeners.collect::<Vec<_>>().join(",")]
        }
        Object::HttpRoute(route) => route_cells(route),
        Object::LaneGroup(group) => group_cells(group),
        Object::Lane(lane) => lane_cells(lane),
    };
    cells.push(ready(status));
    cells.push(live(status));
    cells
}

fn source_cells(source: &ServiceSource) -> Vec<String> {
    let from = if source.spec.fixed.is_some() {
        "static"
    } else if source.spec.nacos.is_some() {
        "nacos"
    } else {
        "kubernetes"
    };
    let services =
        source.spec.fixed.as_ref().map(|fixed| fixed.services.as_slice()).unwrap_or_default();
    let instances: usize = services.iter().map(|service| service.instances.len()).sum();
    vec![from.to_owned(), services.len().to_string(), instances.to_string()]
}

fn route_cells(route: &HttpRoute) -> Vec<String> {
    let spec = &route.spec;
    let joined = |words: Vec<String>| words.join(",");
    let paths = spec.rules.iter().flat_map(|rule| {
        let paths =
            rule.matches.iter().map(|matching| matching.path.clone().unwrap_or_default().value);
        let paths: Vec<String> = paths.collect();
        if paths.is_empty() { vec!["/".to_owned()] } else { paths }
    });
    let backends =
        spec.rules.iter().flat_map(|rule| &rule.backend_refs).map(|backend| backend.name.clone());
    let mut unique: Vec<String> = Vec::new();
    for backend in backends {
        if !unique.contains(&backend) {
            unique.push(backend);
        }
    }
    vec![
        joined(spec.parent_refs.iter().map(|parent| parent.name.clone()).collect()),
        if spec.hostnames.is_empty() { "*".to_owned() } else { joined(spec.hostnames.clone()) },
        joined(paths.collect()),
        joined(unique),
    ]
}

fn group_cells(group: &LaneGroup) -> Vec<String> {
    let entrances: Vec<String> = group.spec.entrances.iter().map(entrance).collect();
    vec![entrances.join(","), group.spec.applications.join(",")]
}

fn entrance(entrance: &Entrance) -> String {
    match (&entrance.gateway, &entrance.routes, &entrance.application) {
        (Some(gateway), Some(routes), _) => format!("{gateway}[{}]", routes.join(",")),
        (Some(gateway), None, _) => gateway.clone(),
        (None, _, Some(application)) => format!("application {application}"),
        (None, _, None) => String::new(),
    }
}

fn lane_cells(lane: &Lane) -> Vec<String> {
    vec![
        lane_name(lane),
        if lane.spec.enabled { "yes" } else { "no" }.to_owned(),
        entry(lane),
        fallback(lane),
    ]
}

/// What serves a hop that a lane cannot.
pub(crate) fn fallback(lane: &Lane) -> String {
    match &lane.spec.fallback {
        Fallback::Tags(tags) => {
            let tags = tags.iter().map(String::as_str).chain(["base"]);
            tags.collect::<Vec<_>>().join(",")
        }
        Fallback::None => "none".to_owned(),
    }
}

/// How requests enter a lane.
pub(crate) fn entry(lane: &Lane) -> String {
    if let Some(ratio) = &lane.spec.entry.ratio {
        let sticky = ratio.sticky_by.as_ref().map(|by| format!(" by {}", sticky_by(by)));
        return format!("{}%{}", ratio.percent, sticky.unwrap_or_default());
    }
    let Some(content) = &lane.spec.entry.content else { return String::new() };
    let joint = match content.meet {
        Meet::All => " and ",
        Meet::Any => " or ",
    };
    content.conditions.iter().map(condition).collect::<Vec<_>>().join(joint)
}

fn sticky_by(by: &ParameterRef) -> String {
    let ParameterRef { header, query, cookie, attribute: _ } = by;
    let named =
        |kind: &str, name: &Option<String>| name.as_ref().map(|name| format!("{kind} {name}"));
    (named("header", header).or_else(|| named("query", query)).or_else(|| named("cookie", cookie)))
        .unwrap_or_else(|| "clientIp".to_owned())
}

fn condition(condition: &LaneCondition) -> String {
    let named =
        |kind: &str, name: &Option<String>| name.as_ref().map(|name| format!("{kind} {name}"));
    let parameter = named("header", &condition.header)
        .or_else(|| named("query", &condition.query))
        .or_else(|| named("cookie", &condition.cookie))
        .or_else(|| named("claim", &condition.claim))
        .or_else(|| condition.attribute.map(|attribute| attribute_name(attribute).to_owned()))
        .unwrap_or_default();
    let value = match (&condition.value, &condition.values) {
        (Some(ConditionValue::Text(text)), _) => format!(" {text}"),
        (Some(ConditionValue::Number(number)), _) => format!(" {number}"),
        (None, Some(values)) => format!(" [{}]", values.join(", ")),
        (None, None) => String::new(),
    };
    format!("{parameter} {}{value}", condition.operator)
}

fn attribute_name(attribute: AttributeName) -> &'static str {
    match attribute {
        AttributeName::Path => "path",
        AttributeName::Method => "method",
        AttributeName::Host => "host",
        AttributeName::ClientIp => "clientIp",
    }
}

/// The reason of the condition that matters most.
fn ready(status: Option<&Status>) -> String {
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let bad = conditions.iter().find(|condition| match condition.kind.as_str() {
        "Conflicted" => condition.status == "True",
        _ => condition.status == "False",
    });
    let shown = bad.or_else(|| conditions.iter().find(|condition| condition.kind == "Ready"));
    shown.map(|condition| condition.reason.clone()).unwrap_or_default()
}

/// `acknowledged/data planes`.
fn live(status: Option<&Status>) -> String {
    let live = status.and_then(|status| status.live.as_ref());
    live.map(|live| format!("{}/{}", live.acknowledged, live.data_planes)).unwrap_or_default()
}
