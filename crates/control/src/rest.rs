//! The REST API, under `/api/v1alpha1`: objects, transactions, checks, explanations, status.
//!
//! Handlers only translate: what a write may do is decided by [`crate::ledger`], what objects mean by `api`.

use std::sync::Arc;

use api::{
    read::BYTES_MAX,
    resource::{Object, Status},
    rest::{MERGE_PATCH, PREFIX, Role},
};
use axum::{
    Router,
    body::HttpBody as _,
    extract::{DefaultBodyLimit, Request},
    http::{Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post, put},
};

use crate::{Control, store::StoredObject};

mod access;
mod actions;
mod audit;
mod authorities;
mod extract;
mod installation;
mod objects;
mod openapi;
mod people;
mod problem;
mod promotion;
mod statistics;
mod tap;
mod tokens;
mod undeclared;
mod watch;

use access::Need;
pub use openapi::openapi;
use problem::Refused;

/// The methods of all paths together, as `OPTIONS *` asks for them.
const METHODS: &str = "GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS";

/// The media type of bodies.
const JSON: &str = "application/json";

/// One path of the API, for some methods, and what it takes to be answered.
struct Endpoint {
    path: String,
    need: Need,
    handler: MethodRouter<Arc<Control>>,
}

/// Every endpoint under the prefix. What it takes stands beside it, so that none is without.
fn endpoints() -> Vec<Endpoint> {
    use Need::{Each, Everywhere, InPath, Known, Nothing, Somewhere};
    use Role::{Admin, Operator, Viewer};
    let of = |path: &str, need: Need, handler| Endpoint {
        path: format!("{PREFIX}{path}"),
        need,
        handler,
    };
    let objects = "/namespaces/{namespace}/{plural}";
    let object = "/namespaces/{namespace}/{plural}/{name}";
    vec![
        of("/openapi.json", Nothing, get(openapi::serve)),
        of("/sign-in", Nothing, post(people::sign_in)),
        of("/sign-out", Known, post(people::sign_out)),
        of("/session", Known, get(people::session)),
        of("/password", Known, post(people::password)),
        // A dry run changes nothing: what is written takes more, by what it is.
        of("/apply", Each(Viewer), post(actions::apply)),
        of("/delete", Each(Viewer), post(actions::delete)),
        of("/check", Each(Viewer), post(actions::check)),
        of("/explain", Somewhere(Viewer), post(actions::explain)),
        of("/status", Somewhere(Viewer), get(actions::status)),
        of("/instances", Somewhere(Viewer), get(installation::instances)),
        of("/services", Somewhere(Viewer), get(installation::services)),
        of("/events", Somewhere(Viewer), get(installation::events)),
        of("/statistics/series", Somewhere(Viewer), get(statistics::series)),
        of("/statistics/top", Somewhere(Viewer), get(statistics::top)),
        of("/statistics/share", Somewhere(Viewer), get(statistics::share)),
        of("/statistics/compare", Somewhere(Viewer), get(statistics::compare)),
        of("/statistics/calls", Somewhere(Viewer), get(statistics::calls)),
        of("/statistics/verdict", Somewhere(Viewer), get(statistics::verdict)),
        // It shows what others do: more than to look.
        of("/tap", Each(Operator), get(tap::tap)),
        of("/tokens", Each(Admin), get(tokens::list).post(tokens::create)),
        of("/tokens/{id}", Each(Admin), delete(tokens::revoke)),
        // No secret: who joins is to know it.
        of("/authorities", Somewhere(Viewer), get(authorities::list)),
        of("/authorities", Everywhere(Admin), post(authorities::rotate)),
        of("/users", Everywhere(Admin), get(people::users).post(people::create_user)),
        of("/users/{name}", Everywhere(Admin), delete(people::delete_user)),
        of("/users/{name}/grants", Everywhere(Admin), put(people::grant)),
        of("/users/{name}/password", Everywhere(Admin), post(people::reset_password)),
        of("/api-tokens", Each(Viewer), get(people::api_tokens).post(people::create_api_token)),
        of("/api-tokens/{id}", Each(Viewer), delete(people::revoke_api_token)),
        of("/promotions", Each(Viewer), get(promotion::list)),
        of("/promotions/{namespace}/{name}", InPath(Viewer), get(promotion::read)),
        of("/promotions/{namespace}/{name}", InPath(Operator), post(promotion::start)),
        of("/promotions/{namespace}/{name}/next", InPath(Operator), post(promotion::next)),
        of("/promotions/{namespace}/{name}/abandon", InPath(Operator), post(promotion::abandon)),
        of("/audit", Each(Viewer), get(audit::list)),
        of("/audit/{number}", Each(Viewer), get(audit::read)),
        of("/audit/{number}/undo", Each(Viewer), post(audit::undo)),
        of("/{plural}", Each(Viewer), get(objects::list)),
        of("/{plural}", Each(Operator), post(objects::create)),
        of(objects, InPath(Viewer), get(objects::list_in)),
        of(objects, InPath(Operator), post(objects::create_in)),
        of(object, InPath(Viewer), get(objects::read)),
        of(
            object,
            InPath(Operator),
            put(objects::replace).patch(objects::change).delete(objects::delete),
        ),
    ]
}

impl Control {
    /// The REST API and health checks. Whoever serves it puts a [`crate::Caller`] into the extensions of a request
    /// whose sender it knows, and a [`crate::Arrival`] into those of all.
    pub fn rest(self: &Arc<Self>) -> Router {
        let mut router = Router::new();
        for Endpoint { path, need, handler } in endpoints() {
            let judged = middleware::from_fn_with_state(need, access::judge);
            router = router.route(&path, handler.route_layer(judged));
        }
        router
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
    // Of nothing there is no kind; pages of other origins are stopped by what they say of themselves (`Origin`).
    let says_nothing = content_type.is_none() && request.body().is_end_stream();
    if writes
        && !says_nothing
        && ![JSON, MERGE_PATCH].iter().any(|known| media_type.eq_ignore_ascii_case(known))
    {
        let detail = format!("Content-Type: `{said}`: use {JSON}, or {MERGE_PATCH} for PATCH");
        return Refused::new(415, "unsupported media type", detail).into_response();
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|value| value.to_str().ok()?.parse().ok());
    // A body that does not say how long it is is cut off when it is too long.
    if length.is_some_and(|length| length > BYTES_MAX) {
        return extract::too_large().into_response();
    }
    next.run(request).await
}

async fn no_such_path(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS && uri.path() == "*" {
        return (StatusCode::NO_CONTENT, [(header::ALLOW, METHODS)]).into_response();
    }
    let detail = format!("{}: see {PREFIX}/openapi.json for the paths there are", uri.path());
    Refused::new(404, "no such path", detail).into_response()
}

async fn method_not_allowed(method: Method, uri: Uri) -> Refused {
    let detail = format!("{method} {}: use one that `Allow` names", uri.path());
    Refused::new(405, "method not allowed", detail)
}
