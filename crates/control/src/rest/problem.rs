//! The one place where refusals become status codes.

use api::rest::{self, PROBLEM_JSON, Problem};
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::ledger::{Gone, Rejection};

/// Findings that one answer tells: more than anybody mends at once.
pub(super) const FINDINGS_MAX: usize = 200;

/// A refusal, as it is answered.
#[derive(Debug)]
pub(super) struct Refused(Box<Problem>);

impl Refused {
    pub(super) fn new(status: u16, title: &str, detail: impl Into<String>) -> Self {
        let (title, detail) = (title.to_owned(), detail.into());
        Self(Box::new(Problem { status, title, detail, errors: Vec::new() }))
    }

    pub(super) fn invalid(errors: Vec<rest::Finding>) -> Self {
        let mut refused = Self::new(422, "not valid", "nothing was written");
        if errors.len() > FINDINGS_MAX {
            let count = errors.len();
            refused.0.detail =
                format!("nothing was written; the first {FINDINGS_MAX} of {count} findings");
        }
        refused.with(errors)
    }

    /// With what stands in the way, field by field.
    pub(super) fn with(mut self, mut errors: Vec<rest::Finding>) -> Self {
        errors.truncate(FINDINGS_MAX);
        self.0.errors = errors;
        self
    }
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        let detail = rejection.to_string();
        match rejection {
            Rejection::NotFound(_) => Self::new(404, "not found", detail),
            Rejection::Exists(_) => Self::new(409, "exists already", detail),
            Rejection::Conflict { .. } => {
                Self::new(409, "changed meanwhile", format!("{detail}: read it again"))
            }
            Rejection::Invalid(findings) => {
                Self::invalid(findings.into_iter().map(rest::Finding::from).collect())
            }
            Rejection::Storage(_) => Self::new(503, "cannot be stored", detail),
            Rejection::Stopping => Self::new(503, "stopping", detail),
        }
    }
}

impl From<Gone> for Refused {
    fn from(gone: Gone) -> Self {
        Self::new(410, "too old", gone.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], Json(self.0)).into_response()
    }
}
