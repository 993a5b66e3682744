//! The REST API, under `/api/v1alpha1`: objects, transactions, checks, explanations, status.
//!
//! Handlers only translate: what a write may do is decided by [`crate::ledger`], what objects mean by `api`.

use std::sync::Arc;

use api::{
    read::BYTES_MAX,
    resource::{Object, Status},
    rest::{MERGE_PATCH, PREFIX},
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{Method, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};

use crate::{Control, store::StoredObject};

mod actions;
mod installation;
mod objects;
mod openapi;
mod problem;
mod statistics;
mod tokens;
mod undeclared;
mod watch;

pub use openapi::openapi;
use problem::Refused;

/// The media type of bodies.
const JSON: &str = "application/json";

impl Control {
    /// The REST API and health checks.
    pub fn rest(self: &Arc<Self>) -> Router {
        let path = |rest: &str| format!("{PREFIX}{rest}");
        Router::new()
            .route(&path("/apply"), post(actions::apply))
            .route(&path("/delete"), post(actions::delete))
            .route(&path("/check"), post(actions::check))
            .route(&path("/explain"), post(actions::explain))
            .route(&path("/status"), get(actions::status))
            .route(&path("/instances"), get(installation::instances))
            .route(&path("/services"), get(installation::services))
            .route(&path("/events"), get(installation::events))
            .route(&path("/statistics/series"), get(statistics::series))
            .route(&path("/statistics/top"), get(statistics::top))
            .route(&path("/statistics/share"), get(statistics::share))
            .route(&path("/statistics/compare"), get(statistics::compare))
            .route(&path("/statistics/calls"), get(statistics::calls))
            .route(&path("/statistics/verdict"), get(statistics::verdict))
            .route(&path("/tokens"), get(tokens::list).post(tokens::create))
            .route(&path("/tokens/{id}"), delete(tokens::revoke))
            .route(&path("/openapi.json"), get(openapi::serve))
            .route(&path("/{plural}"), get(objects::list).post(objects::create))
            .route(
                &path("/namespaces/{namespace}/{plural}"),
                get(objects::list_in).post(objects::create_in),
            )
            .route(
                &path("/namespaces/{namespace}/{plural}/{name}"),
                get(objects::read)
                    .put(objects::replace)
                    .patch(objects::change)
                    .delete(objects::delete),
            )
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(|| async { "ok\n" }))
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(no_such_path)
            .layer(DefaultBodyLimit::max(BYTES_MAX))
            .layer(middleware::from_fn(refuse_simple_requests))
            .with_state(Arc::clone(self))
    }
}

/// An object with its status as it is now.
fn present(control: &Control, stored: &StoredObject) -> Object {
    let status = control.hub().status(&stored.object.key());
    with_status(stored, Some(status))
}

/// Objects with their status as it is now, and the number of the latest change of a status.
fn present_all(control: &Control, stored: &[Arc<StoredObject>]) -> (Vec<Object>, u64) {
    let mut hub = control.hub();
    let statuses: Vec<Status> =
        stored.iter().map(|stored| hub.status(&stored.object.key())).collect();
    let number = hub.status_number();
    drop(hub);
    let both = stored.iter().zip(statuses);
    (both.map(|(stored, status)| with_status(stored, Some(status))).collect(), number)
}

fn with_status(stored: &StoredObject, status: Option<Status>) -> Object {
    let mut object = Object::clone(&stored.object);
    object.set_status(status);
    object
}

/// A page of any site may make a browser send its reader's machine a form or plain text, but not JSON: that a
/// body is JSON must therefore be said.
async fn refuse_simple_requests(request: Request, next: Next) -> Response {
    let writes = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let said = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = said.split(';').next().unwrap_or_default().trim();
    if writes && ![JSON, MERGE_PATCH].iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        let detail = format!("Content-Type: `{said}`: use {JSON}, or {MERGE_PATCH} for PATCH");
        return Refused::new(415, "unsupported media type", detail).into_response();
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|value| value.to_str().ok()?.parse().ok());
    // A body that does not say how long it is is cut off when it is too long.
    if length.is_some_and(|length| length > BYTES_MAX) {
        let detail = format!("more than {BYTES_MAX} bytes: write less at once");
        return Refused::new(413, "too large", detail).into_response();
    }
    next.run(request).await
}

async fn no_such_path(uri: Uri) -> Refused {
    let detail = format!("{}: see {PREFIX}/openapi.json for the paths there are", uri.path());
    Refused::new(404, "no such path", detail)
}

async fn method_not_allowed(method: Method, uri: Uri) -> Refused {
    Refused::new(405, "method not allowed", format!("{method} {}", uri.path()))
}
