//! Sets of objects: what may leave them, what a write may bring in, what they become.

use api::{
    convert, read,
    resource::{CreationOrder, Key, Kind, Object, Set},
    validate::{Severity, introduced, removals, validate},
};

const SET: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {listeners: [{name: http, port: 8000, protocol: HTTP}, {name: open, port: 8001, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge, routes: [shop]}], applications: [a]}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade, namespace: other}
spec: {entrances: [{gateway: edge}], applications: [b]}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {name: z-first}
spec: {group: trade, tag: gray, fallback: [blue], entry: {content: {conditions: [{header: Canary, operator: exists}]}}}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {name: blue}
spec: {group: trade, entry: {content: {conditions: [{header: canary, operator: exists}]}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: guest, namespace: other}
spec:
  parentRefs: [{name: edge, namespace: default}]
  rules: [{backendRefs: [{group: laneway.io, kind: Backend, name: absent}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{group: laneway.io, kind: Backend, name: sc-a}]}]
---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {name: sc-a}
spec: {source: fixed, service: sc-A}
---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {name: unused}
spec: {source: embedded, service: sc-B}
---
apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {name: fixed}
spec: {static: {services: [{name: sc-A, application: a, instances: [{address: '127.0.0.1:80'}]}]}}
---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {name: in-tls}
spec: {source: embedded, service: sc-C, protocol: https}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: to-tls}
spec:
  parentRefs: [{name: absent}]
  rules: [{backendRefs: [{group: laneway.io, kind: Backend, name: in-tls}]}]
---
apiVersion: laneway.io/v1alpha1
kind: Certificate
metadata: {name: authority}
spec: {files: {caCertificates: /etc/authority.crt}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: believed}
spec:
  targetRefs: [{group: laneway.io, kind: Backend, name: in-tls}]
  validation: {hostname: c.internal, caCertificateRefs: [{group: laneway.io, kind: Certificate, name: authority}]}
";

fn objects(text: &str) -> Vec<Object> {
    let (found, errors) = read::text("set", text);
    assert_eq!(errors, []);
    found.into_iter().map(|found| found.object).collect()
}

/// What is said when these leave the set together.
fn said_on_removal(keys: &[(Kind, &str)]) -> Vec<String> {
    let mut set = Set::new(objects(SET));
    let removed: Vec<_> = (keys.iter())
        .map(|(kind, name)| set.remove(&Key::new(*kind, "default", *name)).unwrap())
        .collect();
    let findings = removals(&set, removed.iter().map(AsRef::as_ref)).into_iter();
    findings.map(|finding| api::rest::Finding::from(finding).to_string()).collect()
}

#[test]
fn what_others_need_stays() {
    assert_eq!(
        said_on_removal(&[(Kind::LaneGroup, "trade")]),
        ["LaneGroup trade: delete its lanes first: trade/gray, trade/blue"]
    );
    assert_eq!(
        said_on_removal(&[(Kind::Lane, "blue")]),
        ["Lane blue: take it out of the fallback of trade/gray first"]
    );
    assert_eq!(said_on_removal(&[(Kind::Lane, "z-first")]), [""; 0]);
    assert_eq!(said_on_removal(&[(Kind::Lane, "z-first"), (Kind::Lane, "blue")]), [""; 0]);
    let all = [(Kind::LaneGroup, "trade"), (Kind::Lane, "z-first"), (Kind::Lane, "blue")];
    assert_eq!(said_on_removal(&all), [""; 0]);
}

/// Names as they stand in the set: `other/` where it is not the default namespace.
#[test]
fn what_others_refer_to_stays() {
    for (keys, said) in [
        (
            vec![(Kind::Gateway, "edge")],
            "Gateway edge: HTTPRoute other/guest, HTTPRoute shop, LaneGroup trade, LaneGroup other/trade would miss it: change or delete them first",
        ),
        (
            vec![(Kind::HttpRoute, "shop")],
            "HTTPRoute shop: LaneGroup trade would miss it: change or delete them first",
        ),
        (
            vec![(Kind::Backend, "sc-a")],
            "Backend sc-a: HTTPRoute shop would miss it: change or delete them first",
        ),
        (
            vec![(Kind::ServiceSource, "fixed")],
            "ServiceSource fixed: Backend sc-a would miss it: change or delete them first",
        ),
        // Together with those that refer to them they go, in any order.
        (
            vec![(Kind::ServiceSource, "fixed"), (Kind::Backend, "sc-a")],
            "Backend sc-a: HTTPRoute shop would miss it: change or delete them first",
        ),
        (vec![(Kind::Backend, "unused")], ""),
        (
            vec![(Kind::Backend, "in-tls")],
            "Backend in-tls: HTTPRoute to-tls, BackendTLSPolicy believed would miss it: change or delete them first",
        ),
        (
            vec![(Kind::Certificate, "authority")],
            "Certificate authority: BackendTLSPolicy believed would miss it: change or delete them first",
        ),
        // Without it nobody would be asked.
        (
            vec![(Kind::BackendTlsPolicy, "believed")],
            "BackendTLSPolicy believed: HTTPRoute to-tls would miss it: change or delete them first",
        ),
        (vec![(Kind::HttpRoute, "to-tls"), (Kind::BackendTlsPolicy, "believed")], ""),
        (
            vec![
                (Kind::HttpRoute, "to-tls"),
                (Kind::Backend, "in-tls"),
                (Kind::Certificate, "authority"),
                (Kind::BackendTlsPolicy, "believed"),
            ],
            "",
        ),
    ] {
        assert_eq!(said_on_removal(&keys).join("; "), said, "{keys:?}");
    }
}

/// As it may be stored by a release that allowed it: the part that is understood would believe more than was meant.
#[test]
fn a_backend_tls_policy_with_a_mistake_says_nobody_to_believe() {
    let policy = |targets: usize, names: &str| {
        let targets = vec!["{group: laneway.io, kind: Backend, name: orders}"; targets].join(", ");
        format!(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: orders}}
spec:
  targetRefs: [{targets}]
  validation: {{hostname: orders.internal, wellKnownCACertificates: System, subjectAltNames: [{names}]}}
"
        )
    };
    for (names, is_right) in [("", true), ("{type: URI, uri: 'spiffe://mesh/orders'}", false)] {
        let stored = objects(&policy(1, names)).remove(0);
        let Object::BackendTlsPolicy(stored) = stored else { panic!("{names}") };
        assert_eq!(convert::routes::upstream_tls(&stored).is_ok(), is_right, "{names}");
    }
    // Of far too many targets no more are looked at than there may be.
    let findings = validate(&Set::new(objects(&policy(1000, ""))));
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    assert_eq!(errors.count(), 16);
}

#[test]
fn an_old_mistake_does_not_stand_in_the_way_of_other_writes() {
    let wrong = "
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {name: lost}
spec: {group: nobody, entry: {ratio: {percent: 1}}}
";
    let before = Set::new(objects(&format!("{SET}---{wrong}")));
    let mut after = before.clone();
    after.put(objects(&wrong.replace("lost", "also-lost")).remove(0), CreationOrder(99));
    let introduced = introduced(&validate(&before), &validate(&after));
    let named: Vec<String> = introduced.iter().map(|finding| finding.object.to_string()).collect();
    assert_eq!(named, ["Lane also-lost"]);
}

#[test]
fn a_mistake_told_in_other_words_is_no_new_one() {
    let ratio = |name: &str, percent: u8| {
        format!(
            "---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {{name: {name}}}
spec: {{group: shares, entry: {{ratio: {{percent: {percent}}}}}}}
"
        )
    };
    let group = "---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: shares}
spec: {entrances: [{gateway: edge}], applications: [a]}
";
    let findings = |one: u8, two: u8| {
        let text = format!("{SET}{group}{}{}", ratio("one", one), ratio("two", two));
        validate(&Set::new(objects(&text)))
    };
    // The words name what the other lane takes, which is another object's.
    let (before, after) = (findings(60, 50), findings(61, 50));
    assert_ne!(before, after);
    assert_eq!(introduced(&before, &after), []);
    assert_eq!(introduced(&before, &findings(60, 55)).len(), 1);
}

#[test]
fn a_route_of_another_namespace_attaches_where_it_is_allowed() {
    let set = Set::new(objects(SET));
    let routes = [convert::routes::route(set.http_routes().next().unwrap(), &set).unwrap()];
    let parents: Vec<_> = (routes[0].parents.iter())
        .map(|parent| (parent.gateway.as_str(), parent.section.as_deref()))
        .collect();
    assert_eq!(parents, [("edge", Some("open"))]);
    assert_eq!(
        routes[0].rules[0].backends[0].service,
        Err("name a Backend: there is no Backend other/absent".to_owned())
    );
}

#[test]
fn order_is_that_of_creation_whatever_is_put_first() {
    let mut set = Set::new(objects(SET));
    let names =
        |set: &Set| -> Vec<String> { set.lanes().map(|lane| lane.metadata.name.clone()).collect() };
    assert_eq!(names(&set), ["z-first", "blue"]);
    let key = Key::new(Kind::Lane, "default", "z-first");
    let created = set.created(&key).unwrap();
    let lane = set.remove(&key).unwrap();
    assert!(set.remove(&Key::new(Kind::Gateway, "default", "edge")).is_some());
    assert_eq!(names(&set), ["blue"]);
    assert!(set.put(std::sync::Arc::clone(&lane), created).is_none());
    assert_eq!(names(&set), ["z-first", "blue"]);
    assert_eq!(set.get(&key), Some(&*lane));
    // Created again it is the latest; of two that a clock cannot tell apart the name decides.
    assert_eq!(set.put(std::sync::Arc::clone(&lane), CreationOrder(99)), Some(lane));
    assert_eq!(names(&set), ["blue", "z-first"]);
    let mut twin = set.get(&key).unwrap().clone();
    twin.metadata_mut().name = "a-twin".to_owned();
    set.put(twin, CreationOrder(99));
    assert_eq!(names(&set), ["blue", "a-twin", "z-first"]);
}
