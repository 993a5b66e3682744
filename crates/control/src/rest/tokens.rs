//! Tokens of applications: made, listed, revoked.

use std::sync::Arc;

use api::{
    resource::DEFAULT_NAMESPACE,
    rest::{Finding, Role, TokenCreated, TokenRequest, TokenStatus},
};
use axum::{Extension, Json, extract::State, http::StatusCode};

use super::{
    Refused, access,
    actions::typed,
    extract::{Bytes, Path},
};
use crate::{Control, TokenError, people::Caller};

type Shared = State<Arc<Control>>;

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        let detail = error.to_string();
        match error {
            TokenError::Invalid(problem) => Self::invalid(vec![Finding::unread(problem)]),
            TokenError::TooMany => Self::new(409, "too many", detail),
            TokenError::Unknown { .. } => Self::new(404, "not found", detail),
            TokenError::Rejected(rejection) => rejection.into(),
        }
    }
}

/// Makes a token with which one application may be registered.
#[utoipa::path(
    post, path = "/api/v1alpha1/tokens", tag = "actions",
    request_body = TokenRequest,
    responses(
        (status = 201, description = "Made; the secret is told this once", body = TokenCreated),
        (status = 409, description = "There are too many", body = api::rest::Problem),
        (status = 422, description = "Not valid; nothing was made", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn create(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Json<TokenCreated>), Refused> {
    let request: TokenRequest = typed(&body)?;
    let namespace = request.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    access::must(&caller, Role::Admin, namespace)?;
    Ok((StatusCode::CREATED, Json(control.create_token(request, caller.by()).await?)))
}

/// Every token, without what is secret.
#[utoipa::path(
    get, path = "/api/v1alpha1/tokens", tag = "actions",
    responses((status = 200, description = "In order of creation", body = Vec<TokenStatus>))
)]
pub(super) async fn list(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
) -> Json<Vec<TokenStatus>> {
    let mut tokens = control.tokens().list();
    tokens.retain(|token| caller.may(Role::Admin, &token.namespace));
    Json(tokens)
}

/// Revokes a token: who was let in with it is shut out.
#[utoipa::path(
    delete, path = "/api/v1alpha1/tokens/{id}", tag = "actions",
    params(("id" = String, Path, description = "As the list shows it")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, description = "No such token", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn revoke(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    let token = control.tokens().list().into_iter().find(|token| token.id == id);
    if let Some(token) = token {
        access::must(&caller, Role::Admin, &token.namespace)?;
    }
    control.revoke_token(&id, caller.by()).await?;
    Ok(StatusCode::NO_CONTENT)
}
