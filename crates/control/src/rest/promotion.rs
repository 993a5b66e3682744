//! Promotions of lanes: started, looked at, gone on with, abandoned.

use std::sync::Arc;

use api::rest::{Finding, PromotionNextRequest, PromotionRequest, PromotionStatus, Role};
use axum::{Extension, Json, extract::State, http::StatusCode};

use super::{
    Refused,
    actions::typed,
    extract::{Bytes, Path},
};
use crate::{
    Control,
    people::Caller,
    promotion::{PromotionError, lane_key},
};

type Shared = State<Arc<Control>>;

impl From<PromotionError> for Refused {
    fn from(error: PromotionError) -> Self {
        let detail = error.to_string();
        match error {
            PromotionError::NotFound(_) => Self::new(404, "not found", detail),
            PromotionError::Conflict(_) => Self::new(409, "not now", detail),
            PromotionError::Invalid(problem) => Self::invalid(vec![Finding::unread(problem)]),
            PromotionError::Rejected(rejection) => rejection.into(),
        }
    }
}

/// Promotions that go on, and those that have ended lately.
#[utoipa::path(
    get, path = "/api/v1alpha1/promotions", tag = "promotions",
    responses((status = 200, description = "By the lane's object; without checks, which are told of one alone", body = Vec<PromotionStatus>))
)]
pub(super) async fn list(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
) -> Json<Vec<PromotionStatus>> {
    let mut promotions = control.promotions_told();
    promotions.retain(|it| caller.may(Role::Viewer, &it.lane.namespace));
    Json(promotions)
}

/// How the promotion of a lane stands, and what must hold before its next step.
#[utoipa::path(
    get, path = "/api/v1alpha1/promotions/{namespace}/{name}", tag = "promotions",
    params(
        ("namespace" = String, Path, description = "Of the lane's object"),
        ("name" = String, Path, description = "Of the lane's object"),
    ),
    responses(
        (status = 200, description = "As it stands; of a lane that was deleted too", body = PromotionStatus),
        (status = 404, description = "The lane is not being promoted", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn read(
    State(control): Shared,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<PromotionStatus>, Refused> {
    Ok(Json(control.promotion(&lane_key(&namespace, &name)).await?))
}

/// Begins to promote a lane: notes what base is like now. Nothing is changed.
#[utoipa::path(
    post, path = "/api/v1alpha1/promotions/{namespace}/{name}", tag = "promotions",
    params(
        ("namespace" = String, Path, description = "Of the lane's object"),
        ("name" = String, Path, description = "Of the lane's object"),
    ),
    request_body = PromotionRequest,
    responses(
        (status = 201, description = "Begun", body = PromotionStatus),
        (status = 404, description = "No such lane", body = api::rest::Problem),
        (status = 409, description = "It is being promoted already, disabled, or has no instance", body = api::rest::Problem),
        (status = 422, description = "Not valid", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn start(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
    Path((namespace, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<(StatusCode, Json<PromotionStatus>), Refused> {
    let request: PromotionRequest = typed(&body)?;
    let key = lane_key(&namespace, &name);
    let status = control.start_promotion(&key, request, caller.by()).await?;
    Ok((StatusCode::CREATED, Json(status)))
}

/// Goes on to the next step where all that must hold does, or is confirmed. The step `drain` begins by pausing the lane;
/// from `remove` it is deleted.
#[utoipa::path(
    post, path = "/api/v1alpha1/promotions/{namespace}/{name}/next", tag = "promotions",
    params(
        ("namespace" = String, Path, description = "Of the lane's object"),
        ("name" = String, Path, description = "Of the lane's object"),
    ),
    request_body = PromotionNextRequest,
    responses(
        (status = 200, description = "As it stands now", body = PromotionStatus),
        (status = 404, description = "The lane is not being promoted", body = api::rest::Problem),
        (status = 409, description = "Something stands in the way, the step is another, or it has ended", body = api::rest::Problem),
        (status = 422, description = "Not valid", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn next(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
    Path((namespace, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<PromotionStatus>, Refused> {
    let request: PromotionNextRequest = typed(&body)?;
    let key = lane_key(&namespace, &name);
    Ok(Json(control.go_on_promoting(&key, request, caller.by()).await?))
}

/// Ends a promotion: a lane that it has paused is resumed, nothing else is changed.
#[utoipa::path(
    post, path = "/api/v1alpha1/promotions/{namespace}/{name}/abandon", tag = "promotions",
    params(
        ("namespace" = String, Path, description = "Of the lane's object"),
        ("name" = String, Path, description = "Of the lane's object"),
    ),
    responses(
        (status = 200, description = "Ended", body = PromotionStatus),
        (status = 404, description = "The lane is not being promoted", body = api::rest::Problem),
        (status = 409, description = "It has ended", body = api::rest::Problem),
        (status = 422, description = "The lane cannot be resumed", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn abandon(
    State(control): Shared,
    Extension(caller): Extension<Caller>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<PromotionStatus>, Refused> {
    let key = lane_key(&namespace, &name);
    Ok(Json(control.abandon_promotion(&key, caller.by()).await?))
}
