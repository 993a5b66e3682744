//! What every role answers about itself: health, readiness, metrics, state, log level.
//!
//! A data plane serves it on its admin address; the control plane beside its API.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use discovery::Readiness;
use serde_json::{Value, json};
use telemetry::{Metrics, logs::Logs};

use crate::{config::log_level, door::Connection};

/// What the answers are made of.
pub(crate) struct Admin {
    /// Asked by `/readyz`.
    pub(crate) readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// Looked at by `/readyz` first.
    pub(crate) stopping: Arc<AtomicBool>,
    /// Asked by `/status`.
    pub(crate) status: Box<dyn Fn() -> Value + Send + Sync>,
    /// Asked by `/metrics`.
    pub(crate) metrics: Arc<Metrics>,
    /// Changed by `PUT /log-level`.
    pub(crate) logs: Logs,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// The routes, to be served behind a [`crate::door`].
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/log-level", get(show_log_level).put(change_log_level))
        .with_state(Arc::new(admin))
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let Readiness { mut ready, stale, mut reason } = (admin.readiness)();
    if admin.stopping.load(Ordering::Relaxed) {
        (ready, reason) = (false, "it has been asked to stop".into());
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "stale": stale, "reason": reason }))).into_response()
}

async fn status(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json((admin.status)())
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let content_type = [(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)];
    (content_type, admin.metrics.render()).into_response()
}

async fn show_log_level(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(json!({ "level": admin.logs.level() }))
}

async fn change_log_level(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(Connection { peer, .. }): ConnectInfo<Connection>,
    level: String,
) -> Response {
    let refuse = |status: StatusCode, error: String| {
        (status, Json(json!({ "error": error }))).into_response()
    };
    // The admin address may be open to a scraper; what changes the process is for this machine.
    if !peer.ip().to_canonical().is_loopback() {
        let error = format!("the log level is changed from this machine only, not from {peer}");
        return refuse(StatusCode::FORBIDDEN, error);
    }
    let level = level.trim();
    if !log_level::is_level(level) {
        let error = format!("log-level: `{level}`: {}", log_level::REMEDY);
        return refuse(StatusCode::BAD_REQUEST, error);
    }
    match admin.logs.set_level(level) {
        Ok(()) => {
            tracing::info!(level, "log level changed");
            Json(json!({ "level": level })).into_response()
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, error.to_string()),
    }
}
