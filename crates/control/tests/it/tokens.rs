//! Tokens of applications: what they are good for, until when, and who is told what.

use std::sync::Arc;

use api::discovery::v1::{self, register_response};
use serde_json::{Value, json};

use crate::{
    harness::{DataPlane, PATIENCE, Plane, call, gateway, service, sidecar},
    registrations::{Registering, calls, instance},
};

const MESH: &str = "the secret of the mesh";
const TOKENS: &str = "/api/v1alpha1/tokens";

async fn plane() -> Plane {
    Plane::start_in(Arc::new(tempfile::tempdir().unwrap()), Some(MESH)).await
}

/// Makes a token: its id and the token itself.
async fn make(plane: &Plane, request: Value) -> (String, String) {
    let (status, body) = call(plane.rest().await, "POST", TOKENS, &request.to_string()).await;
    assert_eq!(status, 201, "{body}");
    let made: Value = serde_json::from_str(&body).unwrap();
    let text = |pointer: &str| made.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    (text("/token/id"), text("/secret"))
}

async fn revoke(plane: &Plane, id: &str) -> u16 {
    call(plane.rest().await, "DELETE", &format!("{TOKENS}/{id}"), "").await.0
}

/// A further port of an instance.
fn port(service: &str) -> v1::FurtherPort {
    v1::FurtherPort {
        service: service.to_owned(),
        application_addresses: vec!["127.0.0.1:9090".to_owned()],
        ..Default::default()
    }
}

/// An instance of application `app-a`, as a sidecar announces it.
fn of_a(node: &str, tag: &str) -> v1::Instance {
    v1::Instance { namespace: "default".to_owned(), tag: tag.to_owned(), ..instance(node) }
}

async fn registered(plane: &Plane, instance: v1::Instance, token: &str) -> Registering {
    let mut stream = Registering::with_token(plane, instance, token).await.unwrap();
    let answer = stream.hear().await.unwrap();
    assert!(matches!(answer, register_response::Message::Registered(_)), "{answer:?}");
    stream
}

async fn status_says(plane: &Plane, words: &str) {
    let (_, answer) = call(plane.rest().await, "GET", "/api/v1alpha1/status", "").await;
    assert!(answer.contains(words), "{answer} lacks {words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_without_a_secret_lets_nobody_in() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let signs = api::join::Fingerprint::of(b"an authority").to_string();
    let plane = Plane::start_in(directory, Some(&format!("@{signs}"))).await;
    for shown in [String::new(), format!("@{signs}"), format!("x@{signs}")] {
        let hello = v1::Hello { join_token: shown.clone(), ..gateway("n") };
        let refused = DataPlane::connect(plane.discovery, hello).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{shown}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_registers_its_application_and_tag_and_nothing_else() {
    let plane = plane().await;
    plane.serve(&[service("sc-b", "app-b", &["1"])]);
    let (_, any) = make(&plane, json!({"application": "app-a"})).await;
    let (_, gray) = make(&plane, json!({"application": "app-a", "tag": "gray"})).await;
    let (_, base) = make(&plane, json!({"application": "app-a", "tag": "base"})).await;
    let metadata = [("laneway.io/tag".to_owned(), "blue".to_owned())];
    let text = str::to_owned;
    for (token, wrong, words) in [
        (
            &any,
            v1::Instance { application: text("app-b"), ..of_a("b", "") },
            "application: `app-b`",
        ),
        (&any, v1::Instance { application: text(""), ..of_a("b", "") }, "application: "),
        (&any, v1::Instance { namespace: text("other"), ..of_a("b", "") }, "namespace: `other`"),
        (&any, v1::Instance { service: text("sc-b"), ..of_a("b", "") }, "a service of app-b"),
        (&any, v1::Instance { service: text("SC-B"), ..of_a("b", "") }, "a service of app-b"),
        (
            &any,
            v1::Instance { further_ports: vec![port("own"), port("SC-b")], ..of_a("b", "") },
            "instance.further_ports[1].service: `SC-b`",
        ),
        (&gray, of_a("b", "blue"), "tag: `blue`: use gray"),
        (&gray, of_a("b", ""), "tag: `base`: use gray"),
        (&gray, of_a("b", "-"), "tag: `-`"),
        (&gray, v1::Instance { metadata: metadata.into(), ..of_a("b", "gray") }, "metadata["),
        (&base, of_a("b", "gray"), "tag: `gray`: use base"),
    ] {
        let mut stream = Registering::with_token(&plane, wrong, token).await.unwrap();
        let status = stream.hear().await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied, "{words}");
        assert!(status.message().contains(words), "{status} lacks {words}");
        status_says(&plane, words).await;
    }
    assert_eq!(calls(&plane), [""; 0], "nothing was registered");
    for (node, tag, token) in
        [("a1", "gray", &any), ("a2", "", &any), ("a3", "gray", &gray), ("a4", "base", &base)]
    {
        registered(&plane, of_a(node, tag), token).await;
    }
    let other = v1::Instance { application: text("app-b"), service: text("sc-b"), ..of_a("b", "") };
    registered(&plane, other, MESH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_follows_as_a_sidecar_of_its_application_alone() {
    let plane = plane().await;
    let (_, token) = make(&plane, json!({"application": "app-a", "tag": "gray"})).await;
    let shows = |hello: v1::Hello| v1::Hello { join_token: token.clone(), ..hello };
    let gray = |node: &str| v1::Hello { tag: "gray".to_owned(), ..sidecar(node, "app-a") };
    let mut edge =
        plane.connect(v1::Hello { join_token: MESH.to_owned(), ..gateway("edge-node") }).await;
    edge.receive().await;
    for (hello, words) in [
        (gateway("g1"), "hello.role: `gateway`: show the join token of the mesh"),
        (sidecar("s1", "app-b"), "hello.name: `app-b`"),
        (sidecar("s1", "app-a"), "hello.tag: `base`: use gray"),
        (v1::Hello { namespace: "other".to_owned(), ..gray("s1") }, "hello.namespace: `other`"),
        (gray("edge-node"), "it is the node of gateway edge"),
    ] {
        let status = DataPlane::connect(plane.discovery, shows(hello)).await.err().unwrap();
        assert_eq!(status.code(), tonic::Code::PermissionDenied, "{words}");
        assert!(status.message().contains(words), "{status} lacks {words}");
        status_says(&plane, words).await;
    }
    assert!(plane.connect(shows(gray("s1"))).await.receive().await.synced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_follows_as_an_agent_of_its_application_too() {
    let plane = plane().await;
    let (_, token) = make(&plane, json!({"application": "app-a", "tag": "gray"})).await;
    let agent = |node: &str, application: &str, tag: &str| v1::Hello {
        role: v1::Role::Agent.into(),
        join_token: token.clone(),
        tag: tag.to_owned(),
        address: "a-host, process 7".to_owned(),
        ..sidecar(node, application)
    };
    let beside = v1::Hello { role: v1::Role::Sidecar.into(), ..agent("s1", "app-a", "gray") };
    let mut beside = plane.connect(beside).await;
    assert!(beside.receive().await.synced);
    for (hello, words) in [
        (agent("a1", "app-b", "gray"), "hello.name: `app-b`"),
        (agent("a1", "app-a", "blue"), "hello.tag: `blue`: use gray"),
        (agent("s1", "app-a", "gray"), "it is the node of sidecar app-a"),
    ] {
        let status = DataPlane::connect(plane.discovery, hello).await.err().unwrap();
        assert_eq!(status.code(), tonic::Code::PermissionDenied, "{words}");
        assert!(status.message().contains(words), "{status} lacks {words}");
    }
    let mut follows = plane.connect(agent("a1", "app-a", "gray")).await;
    assert!(follows.receive().await.synced);
    // Told apart by people: no token of an application takes that away.
    status_says(&plane, "a-host, process 7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_names_no_listener_of_another_machine() {
    let plane = plane().await;
    let (_, token) = make(&plane, json!({"application": "app-a"})).await;
    let hello = v1::Hello {
        join_token: token,
        address: "10.0.0.7:15020".to_owned(),
        listeners: ["10.0.0.5:15006", "127.0.0.7:15001"].map(str::to_owned).into(),
        ..sidecar("s1", "app-a")
    };
    let mut follows = plane.connect(hello).await;
    follows.receive().await;
    let at = |node, address: &str| v1::Instance { address: address.to_owned(), ..of_a(node, "") };
    for (node, address) in [("a1", "10.0.0.5:15006"), ("a2", "10.0.0.7:15020")] {
        registered(&plane, at(node, address), MESH).await;
    }
    let mut own = Registering::with_token(&plane, at("a3", "127.0.0.7:15001"), MESH).await.unwrap();
    let status = own.hear().await.unwrap_err();
    assert!(status.message().contains("is a listener of sidecar app-a"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_streams_and_opens_none() {
    let plane = plane().await;
    let (id, token) = make(&plane, json!({"application": "app-a"})).await;
    let (_, other) = make(&plane, json!({"application": "app-a"})).await;
    let hello = v1::Hello { join_token: token.clone(), ..sidecar("s1", "app-a") };
    let mut follows = plane.connect(hello.clone()).await;
    follows.receive().await;
    let mut ends = registered(&plane, of_a("a1", ""), &token).await;
    let _stays = registered(&plane, of_a("a2", ""), &other).await;

    // A restart forgets none, nor that one was revoked.
    assert_eq!(revoke(&plane, &id).await, 204);
    assert_eq!(ends.hear().await.unwrap_err().code(), tonic::Code::Unauthenticated);
    let ended = tokio::time::timeout(PATIENCE, follows.ended()).await.unwrap();
    assert_eq!(ended.code(), tonic::Code::Unauthenticated);
    assert_eq!(calls(&plane), ["register a1", "register a2", "deregister a1"]);
    let plane = plane.restart().await;
    assert_eq!(calls(&plane), ["restore a2"]);
    let status = DataPlane::connect(plane.discovery, hello).await.err().unwrap();
    assert!(status.message().contains("was revoked"), "{status}");
    let mut again = Registering::with_token(&plane, of_a("a1", ""), &token).await.unwrap();
    assert_eq!(again.hear().await.unwrap_err().code(), tonic::Code::Unauthenticated);
    registered(&plane, of_a("a2", ""), &other).await;
    assert_eq!(revoke(&plane, &id).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_join_token_a_revoked_one_is_still_refused() {
    let plane = Plane::start().await;
    let (id, token) = make(&plane, json!({"application": "app-a"})).await;
    revoke(&plane, &id).await;
    let mut stream = Registering::with_token(&plane, of_a("a1", ""), &token).await.unwrap();
    assert_eq!(stream.hear().await.unwrap_err().code(), tonic::Code::Unauthenticated);
    registered(&plane, of_a("a1", ""), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_told_once_and_kept_nowhere() {
    let plane = plane().await;
    let (id, token) = make(&plane, json!({"application": "app-a", "namespace": "shop"})).await;
    let instance = v1::Instance { namespace: "shop".to_owned(), ..of_a("a1", "") };
    let _stream = registered(&plane, instance, &token).await;
    let secret = token.rsplit('_').next().unwrap().split('@').next().unwrap();
    let rest = plane.rest().await;
    for path in [TOKENS, "/api/v1alpha1/status", "/api/v1alpha1/events", "/api/v1alpha1/instances"]
    {
        let (status, body) = call(rest, "GET", path, "").await;
        assert_eq!(status, 200);
        assert!(!body.contains(secret), "{path}: {body}");
    }
    let (_, list) = call(rest, "GET", TOKENS, "").await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list[0]["id"], id);
    assert_eq!(list[0]["namespace"], "shop");
    assert!(list[0]["lastUsed"].is_string(), "{list}");
    for file in std::fs::read_dir(plane.directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "the token is on disk");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_cannot_be_good_for_is_told_by_field() {
    let rest = plane().await.rest().await;
    for (request, expected, words) in [
        (json!({"application": ""}), 422, r#""field":"application""#),
        (json!({"application": "a", "tag": "-x"}), 422, r#""field":"tag","value":"-x""#),
        (json!({"application": "a", "namespace": "a/b"}), 422, r#""field":"namespace""#),
        (json!({"tag": "gray"}), 400, "application"),
        (json!({"application": "a", "expires": 1}), 400, "expires"),
    ] {
        let (status, body) = call(rest, "POST", TOKENS, &request.to_string()).await;
        assert_eq!(status, expected, "{body}");
        assert!(body.contains(words), "{body} lacks {words}");
    }
}
