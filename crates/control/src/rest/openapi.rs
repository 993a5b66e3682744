//! The OpenAPI document, generated from the handlers and the types of `api`, committed as `openapi.json`.

use api::rest;
use axum::{http::header, response::IntoResponse};
use utoipa::OpenApi;

use super::{actions, audit, installation, objects, people, promotion, statistics, tap, tokens};

/// The document as committed: pretty JSON with a final line end.
pub fn openapi() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(super) async fn serve() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Laneway",
        description = "Lane groups, lanes, services, gateways and routes.",
        license(name = "Apache-2.0"),
    ),
    paths(
        objects::list,
        objects::create,
        objects::list_in,
        objects::create_in,
        objects::read,
        objects::replace,
        objects::change,
        objects::delete,
        actions::apply,
        actions::delete,
        actions::check,
        actions::explain,
        actions::status,
        installation::instances,
        installation::services,
        installation::events,
        statistics::series,
        statistics::top,
        statistics::share,
        statistics::compare,
        statistics::calls,
        statistics::verdict,
        tap::tap,
        tokens::create,
        tokens::list,
        tokens::revoke,
        people::sign_in,
        people::sign_out,
        people::session,
        people::password,
        people::users,
        people::create_user,
        people::grant,
        people::reset_password,
        people::delete_user,
        people::api_tokens,
        people::create_api_token,
        people::revoke_api_token,
        promotion::list,
        promotion::read,
        promotion::start,
        promotion::next,
        promotion::abandon,
        audit::list,
        audit::read,
        audit::undo,
    ),
    components(schemas(rest::TapEvent, rest::WatchEvent, rest::List, rest::Problem))
)]
struct Document;
