//! Formats that were ever released are read forever: `fixtures/v1.yaml` has every field of every kind there was at
//! first, `v1.expected.json` what it means, `v1.wire.expected` what it is on the wire. None is ever changed; a new field
//! comes with new files, see [`FILES`].

use std::fs;

use api::{
    convert::{
        self,
        key::{self, ResourceKey},
        wire,
    },
    discovery::v1::resource::Body,
    read,
    resource::{CreationOrder, Kind, Object, Set},
    validate::Severity,
    write,
};
use lanes::GroupSpec;

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What was written when, the first first.
const FILES: [&str; 5] = ["v1", "https", "grpc", "backend-tls", "tls-routes"];

fn objects() -> Vec<Object> {
    objects_of(&fixture("v1.yaml"))
}

fn objects_of(text: &str) -> Vec<Object> {
    let (found, errors) = read::text("a file", text);
    assert_eq!(errors, [], "{text}");
    found.into_iter().map(|found| found.object).collect()
}

#[test]
fn what_was_ever_written_means_what_it_meant() {
    for name in FILES {
        let meant = write::json_of(&objects_of(&fixture(&format!("{name}.yaml")))) + "\n";
        is_as_expected(&format!("{name}.expected.json"), &meant);
    }
}

/// Written once, where it is missing and wanted; never changed.
#[track_caller]
fn is_as_expected(name: &str, text: &str) {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() && !std::path::Path::new(&path).exists() {
        fs::write(&path, text).unwrap();
    }
    assert_eq!(text, fixture(name));
}

#[test]
fn every_kind_is_stored() {
    let files = FILES.map(|name| objects_of(&fixture(&format!("{name}.yaml"))));
    for kind in Kind::ALL {
        let mut objects = files.iter().flatten();
        assert!(objects.any(|object| object.kind() == kind), "no {kind} in {FILES:?}");
    }
}

#[test]
fn what_is_written_is_read_as_the_same() {
    for name in FILES.into_iter().chain(["kubernetes"]) {
        let objects = objects_of(&fixture(&format!("{name}.yaml")));
        for text in [write::yaml(&objects), write::json_of(&objects)] {
            assert_eq!(objects_of(&text), objects, "{text}");
            assert!(!text.contains("null"), "{text}");
        }
    }
}

/// What `kubectl get -o yaml` prints is carried, word for word; only the status is Laneway's own.
#[test]
fn what_a_cluster_says_of_its_objects_is_carried() {
    let text = fixture("kubernetes.yaml");
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
    for (written, object) in documents.iter().zip(objects_of(&text)) {
        let carried = object.to_value();
        assert_eq!(carried["metadata"], written["metadata"]);
        if object.kind() == Kind::Gateway {
            assert_eq!(carried["spec"], written["spec"]);
        }
    }
}

/// What was written before claims were refused is still read; only that is said of it, and that every request has a host.
#[test]
fn version_one_is_valid_but_for_its_claim() {
    let findings = api::validate(&api::resource::Set::new(objects()));
    let fields: Vec<_> = findings.iter().map(|finding| finding.problem.field.as_str()).collect();
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    assert_eq!(errors.count(), 1);
    assert_eq!(
        fields,
        ["spec.entry.content.conditions[5].claim", "spec.entry.content.conditions[8].operator"]
    );
}

/// Data planes keep messages and their versions on disk, and talk to control planes of the version before and after.
#[test]
fn what_was_ever_written_goes_to_the_wire_as_it_did() {
    for name in FILES {
        let versions = on_the_wire(objects_of(&fixture(&format!("{name}.yaml"))));
        is_as_expected(&format!("{name}.wire.expected"), &versions);
    }
}

/// Keys and versions.
fn on_the_wire(objects: Vec<Object>) -> String {
    let mut set = Set::default();
    for object in objects {
        // What was written for this release counts each kind by itself, from 0.
        let older = set.iter().filter(|older| older.kind() == object.kind()).count() as u64;
        set.put(object, CreationOrder(older));
    }
    let groups = set.lane_groups().map(|group| {
        let lanes = set.lanes_of(group);
        let lanes = lanes.map(|lane| convert::lanes::lane_spec(lane, true).unwrap());
        GroupSpec { lanes: lanes.collect(), ..convert::lanes::group(group).unwrap() }
    });
    let gateways: Vec<_> = set
        .laneway_gateways()
        .map(|(gateway, spec)| convert::routes::gateway(gateway, spec).unwrap())
        .collect();
    let routes: Vec<_> =
        set.routes().map(|route| convert::routes::route(route, &set).unwrap()).collect();
    let groups = groups.map(|group| {
        (ResourceKey::Group(group.name.as_str().into()), Body::Group(wire::group_to(&group)))
    });
    let gateways = gateways.iter().map(|gateway| {
        (
            ResourceKey::Gateway(gateway.name.as_str().into()),
            Body::Gateway(wire::gateway_to(gateway)),
        )
    });
    let routes = routes
        .iter()
        .map(|route| (ResourceKey::Route(route.key().into()), Body::Route(wire::route_to(route))));
    let all = groups.chain(gateways).chain(routes).map(|(key, body)| key::resource(&key, body));
    all.map(|resource| format!("{} {:016x}\n", resource.key, resource.version)).collect()
}
