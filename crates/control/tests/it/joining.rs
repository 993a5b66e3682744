//! What each message of a data plane takes, by who says it: a token, or a certificate that was made of one.

use std::{fs, sync::Arc, time::Duration};

use api::discovery::v1::{
    self, discovery_client::DiscoveryClient, register_request, register_response,
};
use control::{Arrived, Change, SqliteStore, Store as _};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    harness::{DataPlane, Plane, call, gateway, sidecar},
    registrations::instance,
};

const MESH: &str = "the secret of the mesh";
const TOKENS: &str = "/api/v1alpha1/tokens";
const AUTHORITIES: &str = "/api/v1alpha1/authorities";

async fn plane() -> Plane {
    Plane::start_in(Arc::new(tempfile::tempdir().unwrap()), Some(MESH)).await
}

/// Makes a token of application app-a: its id and the token itself.
async fn make(plane: &Plane) -> (String, String) {
    let request = json!({"application": "app-a"}).to_string();
    let (status, body) = call(plane.rest().await, "POST", TOKENS, &request).await;
    assert_eq!(status, 201, "{body}");
    let made: Value = serde_json::from_str(&body).unwrap();
    let text = |pointer: &str| made.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    (text("/token/id"), text("/secret"))
}

fn in_tls(certificate: Option<&[u8]>) -> Arrived {
    Arrived { in_tls: true, certificate: certificate.map(Into::into), ..Arrived::default() }
}

async fn certify(
    plane: &Plane,
    arrived: Arrived,
    node: &str,
    join_token: &str,
) -> Result<v1::CertifyResponse, tonic::Status> {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let request = v1::CertifyRequest {
        node: node.to_owned(),
        join_token: join_token.to_owned(),
        signing_request: request.pem().unwrap(),
    };
    let mut client = DiscoveryClient::new(plane.channel_as(arrived).await);
    Ok(client.certify(request).await?.into_inner())
}

/// The certificate of data plane `n`, made of a token.
async fn certificate(plane: &Plane, join_token: &str) -> Vec<u8> {
    let made = certify(plane, in_tls(None), "n", join_token).await.unwrap();
    CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap().to_vec()
}

/// Who says something.
#[derive(Debug, Clone, Copy)]
enum Who {
    Stranger,
    MeshToken,
    Token,
    MeshCertificate,
    Certificate,
    Revoked,
    OfAnotherControlPlane,
}

const WHO: [Who; 7] = [
    Who::Stranger,
    Who::MeshToken,
    Who::Token,
    Who::MeshCertificate,
    Who::Certificate,
    Who::Revoked,
    Who::OfAnotherControlPlane,
];

impl Who {
    /// How he comes in, and the token that he shows.
    async fn comes(self, plane: &Plane) -> (Arrived, String) {
        let by = |der: Vec<u8>| (in_tls(Some(&der)), String::new());
        match self {
            Self::Stranger => (in_tls(None), String::new()),
            Self::MeshToken => (in_tls(None), MESH.to_owned()),
            Self::Token => (in_tls(None), make(plane).await.1),
            Self::MeshCertificate => by(certificate(plane, MESH).await),
            Self::Certificate => by(certificate(plane, &make(plane).await.1).await),
            Self::Revoked => {
                let (id, token) = make(plane).await;
                let der = certificate(plane, &token).await;
                let path = format!("{TOKENS}/{id}");
                assert_eq!(call(plane.rest().await, "DELETE", &path, "").await.0, 204);
                by(der)
            }
            Self::OfAnotherControlPlane => {
                let another = self::plane().await;
                by(certificate(&another, &make(&another).await.1).await)
            }
        }
    }
}

/// What is said.
#[derive(Debug, Clone, Copy)]
enum Says {
    Gateway,
    Sidecar(&'static str, &'static str),
    Register(&'static str, &'static str),
    Certify(&'static str),
}

impl Says {
    async fn answered(self, plane: &Plane, arrived: Arrived, join_token: String) -> Code {
        let follow = async |hello: v1::Hello| {
            let hello = v1::Hello { join_token: join_token.clone(), ..hello };
            let channel = plane.channel_as(arrived.clone()).await;
            DataPlane::connect_over(channel, hello).await.map(drop)
        };
        let answer = match self {
            Self::Gateway => follow(gateway("n")).await,
            Self::Sidecar(application, node) => follow(sidecar(node, application)).await,
            Self::Register(application, node) => {
                let instance = v1::Instance {
                    application: application.to_owned(),
                    service: format!("sc-{application}"),
                    namespace: "default".to_owned(),
                    ..instance(node)
                };
                let message = Some(register_request::Message::Instance(instance));
                let request = v1::RegisterRequest { message, join_token: join_token.clone() };
                let channel = plane.channel_as(arrived.clone()).await;
                // Longer than the answer takes.
                let requests = futures_util::StreamExt::chain(
                    tokio_stream::once(request),
                    tokio_stream::pending(),
                );
                let answer = DiscoveryClient::new(channel).register(requests).await;
                match answer {
                    Ok(answer) => answer.into_inner().message().await.map(drop),
                    Err(status) => Err(status),
                }
            }
            Self::Certify(node) => {
                certify(plane, arrived.clone(), node, &join_token).await.map(drop)
            }
        };
        answer.err().map_or(Code::Ok, |status| status.code())
    }
}

/// `+`: done; `p`: not permitted; `u`: not known who says it. In the order of [`WHO`].
const TABLE: &[(Says, &str)] = &[
    (Says::Gateway, "u+p+puu"),
    (Says::Sidecar("app-a", "n"), "u++++uu"),
    // Another process of n, while it takes the place of the first.
    (Says::Sidecar("app-a", "n.2"), "u++++uu"),
    (Says::Sidecar("app-a", "other"), "u++ppuu"),
    (Says::Sidecar("app-b", "n"), "u+p+puu"),
    (Says::Register("app-a", "n"), "u++++uu"),
    (Says::Register("app-a", "other"), "u++ppuu"),
    (Says::Register("app-b", "n"), "u+p+puu"),
    (Says::Certify("n"), "u++++uu"),
    (Says::Certify("n.2"), "u....uu"),
    (Says::Certify("other"), "u++ppuu"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_taken_from_whom_it_may_come() {
    for (says, expected) in TABLE {
        for (who, expected) in WHO.into_iter().zip(expected.chars()) {
            let plane = plane().await;
            let (arrived, join_token) = who.comes(&plane).await;
            let code = says.answered(&plane, arrived, join_token).await;
            let answered = match code {
                Code::Ok => '+',
                Code::PermissionDenied => 'p',
                Code::Unauthenticated => 'u',
                Code::InvalidArgument => '.',
                other => panic!("{says:?} by {who:?}: {other:?}"),
            };
            assert_eq!(answered, expected, "{says:?} by {who:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_made_in_tls_of_a_token_that_lasts() {
    let plane = plane().await;
    let (_, token) = make(&plane).await;
    let in_the_clear = certify(&plane, Arrived::default(), "n", &token).await.unwrap_err();
    assert_eq!(in_the_clear.code(), Code::FailedPrecondition, "{in_the_clear}");
    let open = Plane::start().await;
    let of_nobody = certify(&open, in_tls(None), "n", "").await.unwrap_err();
    assert_eq!(of_nobody.code(), Code::FailedPrecondition, "{of_nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_token_cuts_the_streams_of_its_certificates() {
    let plane = plane().await;
    let (id, token) = make(&plane).await;
    let der = certificate(&plane, &token).await;
    let list = || async {
        let (_, list) = call(plane.rest().await, "GET", TOKENS, "").await;
        serde_json::from_str::<Value>(&list).unwrap()[0].clone()
    };
    let told = list().await;
    assert_eq!(told["certificates"], 1);
    assert!(told["certificatesUntil"].is_string(), "{told}");
    let channel = plane.channel_as(in_tls(Some(&der))).await;
    let mut follows = DataPlane::connect_over(channel, sidecar("n", "app-a")).await.unwrap();
    follows.receive().await;
    let path = format!("{TOKENS}/{id}");
    assert_eq!(call(plane.rest().await, "DELETE", &path, "").await.0, 204);
    let ended = tokio::time::timeout(crate::harness::PATIENCE, follows.ended()).await.unwrap();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    let renewed = certify(&plane, in_tls(Some(&der)), "n", "").await.unwrap_err();
    assert!(renewed.message().contains("was revoked"), "{renewed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_join_token_of_the_mesh_ends_what_was_made_of_the_one_before() {
    let plane = plane().await;
    let der = certificate(&plane, MESH).await;
    let directory = Arc::clone(&plane.directory);
    plane.control.stop().await;
    drop(plane);
    let plane = Plane::start_in(Arc::clone(&directory), Some(MESH)).await;
    certify(&plane, in_tls(Some(&der)), "n", "").await.unwrap();
    plane.control.stop().await;
    drop(plane);
    let plane = Plane::start_in(directory, Some("another secret of the mesh")).await;
    let refused = certify(&plane, in_tls(Some(&der)), "n", "").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_stands_beside_the_one_before_and_both_last() {
    let plane = plane().await;
    let (_, token) = make(&plane).await;
    let der = certificate(&plane, &token).await;
    let (status, made) = call(plane.rest().await, "POST", AUTHORITIES, "").await;
    assert_eq!(status, 201, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let (_, next) = make(&plane).await;
    assert!(next.ends_with(made["fingerprint"].as_str().unwrap()), "{made}");
    assert!(!token.ends_with(made["fingerprint"].as_str().unwrap()), "{made}");
    let directory = Arc::clone(&plane.directory);
    plane.control.stop().await;
    drop(plane);
    let plane = Plane::start_in(directory, Some(MESH)).await;
    let (_, all) = call(plane.rest().await, "GET", AUTHORITIES, "").await;
    let all: Vec<Value> = serde_json::from_str(&all).unwrap();
    let signs: Vec<_> = all.iter().map(|it| it["signs"].as_bool().unwrap()).collect();
    assert_eq!(signs, [false, true]);
    let renewed = certify(&plane, in_tls(Some(&der)), "n", "").await.unwrap();
    assert_eq!(renewed.authorities.len(), 2);
    let der = CertificateDer::from_pem_slice(renewed.certificate.as_bytes()).unwrap();
    certify(&plane, in_tls(Some(&der)), "n", "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_renews_under_another_authority_keeps_its_streams_and_registers_anew_on_them() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let short = Duration::from_secs(4);
    let plane =
        Plane::start_with(directory, Some(MESH), |settings| settings.certificate_life = short)
            .await;
    let first = certificate(&plane, MESH).await;
    let channel = plane.channel_as(in_tls(Some(&first))).await;
    let message = |node: &str| v1::RegisterRequest {
        message: Some(register_request::Message::Instance(instance(node))),
        ..v1::RegisterRequest::default()
    };
    let (says, requests) = tokio::sync::mpsc::channel(1);
    says.send(message("n")).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let answers = DiscoveryClient::new(channel).register(requests).await.unwrap();
    let mut answers = answers.into_inner();
    let is_registered = |answer: Option<v1::RegisterResponse>| {
        matches!(answer.unwrap().message, Some(register_response::Message::Registered(_)))
    };
    assert!(is_registered(answers.message().await.unwrap()));

    assert_eq!(call(plane.rest().await, "POST", AUTHORITIES, "").await.0, 201);
    let mut newest = first.clone();
    let mut renewals = 0;
    while certify(&plane, in_tls(Some(&first)), "n", "").await.is_ok() {
        let made = certify(&plane, in_tls(Some(&newest)), "n", "").await.unwrap();
        newest = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap().to_vec();
        renewals += 1;
        tokio::time::sleep(short / 8).await;
    }
    assert!(renewals > 1, "{renewals}");
    says.send(message("n")).await.unwrap();
    assert!(is_registered(answers.message().await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_has_gone_is_put_back_or_made_and_never_replaced_by_itself() {
    let plane = plane().await;
    let (key_file, kept) =
        (plane.directory.path().join("laneway.key"), plane.directory.path().join("kept"));
    fs::rename(&key_file, &kept).unwrap();
    let (_, told) = call(plane.rest().await, "POST", AUTHORITIES, "").await;
    assert!(told.contains("has gone") && told.contains("put it back"), "{told}");
    plane.control.stop().await;
    let plane = plane.restart().await;
    let (_, told) = call(plane.rest().await, "POST", AUTHORITIES, "").await;
    assert!(told.contains("put it back; if it is lost, make another"), "{told}");
    assert!(!key_file.exists());
    fs::write(&key_file, "0f".repeat(32)).unwrap();
    let (status, told) = call(plane.rest().await, "POST", AUTHORITIES, "").await;
    assert_eq!(status, 201, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_with_sealed_keys_and_no_key_file_is_given_none() {
    let plane = plane().await;
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
    plane
        .apply(&[json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Certificate", "metadata": {"name": "shop"},
            "spec": {"certificate": certificate, "privateKey": key.serialize_pem()},
        })])
        .await
        .unwrap();
    plane.control.stop().await;
    let directory = Arc::clone(&plane.directory);
    drop(plane);
    let mut store = SqliteStore::open(&directory.path().join("laneway.db")).unwrap();
    for authority in store.load().unwrap().authorities {
        let fingerprint = authority.fingerprint;
        store.commit(&[Change::RemoveAuthority { fingerprint }]).unwrap();
    }
    drop(store);
    let key_file = directory.path().join("laneway.key");
    fs::remove_file(&key_file).unwrap();
    let plane = Plane::start_in(directory, Some(MESH)).await;
    assert!(plane.control.discovery_tls().is_none());
    assert!(!key_file.exists());
}
