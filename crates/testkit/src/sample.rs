//! The sample application's resources: the chain A → B → C behind one route, and lanes by content in one group.

/// The route `/a` to service `sc-A`, the group `trade` of the chain's three applications, and a lane of it for each
/// tag, entered by `canary: TAG`.
#[must_use]
pub fn chain(tags: &[&str]) -> String {
    let lanes: String = tags.iter().map(|tag| lane(tag)).collect();
    format!("{}{GROUP}{lanes}", routed("a", "embedded"))
}

/// The lane `trade-TAG` of the group `trade`, entered by `canary: TAG`.
#[must_use]
pub fn lane(tag: &str) -> String {
    format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {{name: trade-{tag}}}
spec: {{group: trade, tag: {tag}, entry: {{content: {{meet: all, conditions: [{{header: canary, operator: \"==\", value: {tag}}}]}}}}}}
"
    )
}

/// The service `sc-A` of this source, for `a`, behind the path `/a`: a Backend and an HTTPRoute.
#[must_use]
pub fn routed(name: &str, source: &str) -> String {
    let service = name.to_uppercase();
    format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {{name: sc-{name}}}
spec: {{source: {source}, service: sc-{service}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /{name}}}}}]
    backendRefs: [{{group: laneway.io, kind: Backend, name: sc-{name}}}]
"
    )
}

const GROUP: &str = "---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge}], applications: [app-a, app-b, app-c]}
";
