//! Who signs certificates of data planes: shown, and replaced.

use std::{sync::Arc, time::SystemTime};

use api::rest::AuthorityStatus;
use axum::{Extension, Json, extract::State, http::StatusCode};

use super::Refused;
use crate::{Control, RotateError, people::Caller};

type Shared = State<Arc<Control>>;

impl From<RotateError> for Refused {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::TooMany => Self::new(409, "too many", error.to_string()),
            RotateError::Make(error) => Self::new(503, "cannot be made", error.to_string()),
            RotateError::Rejected(rejection) => rejection.into(),
        }
    }
}

/// Who signs certificates of data planes, or did and is still believed; the newest last.
#[utoipa::path(
    get, path = "/api/v1alpha1/authorities", tag = "actions",
    responses((status = 200, description = "In order of creation", body = Vec<AuthorityStatus>))
)]
pub(super) async fn list(State(control): Shared) -> Json<Vec<AuthorityStatus>> {
    Json(control.authorities(SystemTime::now()))
}

/// Makes another authority, which signs from now on. The one before is believed until all that it signed has ended.
#[utoipa::path(
    post, path = "/api/v1alpha1/authorities", tag = "actions",
    responses(
        (status = 201, description = "Made", body = AuthorityStatus),
        (status = 409, description = "There are too many that are still believed", body = api::rest::Problem),
        (status = 503, description = "Cannot be made, or not stored", body = api::rest::Problem),
    )
)]
pub(super) async fn rotate(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
) -> Result<(StatusCode, Json<AuthorityStatus>), Refused> {
    let made = control.rotate_authority(caller.by(), SystemTime::now()).await?;
    Ok((StatusCode::CREATED, Json(made)))
}
