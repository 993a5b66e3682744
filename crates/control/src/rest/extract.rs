//! Parts of a request, refused in the API's own words where they cannot be had.

use std::ops::Deref;

use axum::{
    body,
    extract::{FromRequest, FromRequestParts, Path as AxumPath, Request},
    http::{StatusCode, Uri, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{BYTES_MAX, Refused};

/// What stands in the holes of a path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let held = AxumPath::from_request_parts(parts, state).await;
        held.map(|AxumPath(held)| Self(held)).map_err(|_| bad_path(&parts.uri))
    }
}

/// Holes are words: all that can be wrong with them is how they are encoded.
pub(super) fn bad_path(uri: &Uri) -> Refused {
    let detail = format!("{}: write percent-encoded UTF-8 in the path", uri.path());
    Refused::new(400, "bad path", detail)
}

/// A body, whole.
#[derive(Debug)]
pub(super) struct Bytes(body::Bytes);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<S: Send + Sync> FromRequest<S> for Bytes {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let read = body::Bytes::from_request(request, state).await;
        read.map(Self).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => Refused::new(400, "bad body", "it broke off: send all of it"),
        })
    }
}

/// Of a body that is longer than anything the API takes.
pub(super) fn too_large() -> Refused {
    Refused::new(413, "too large", format!("more than {BYTES_MAX} bytes: write less at once"))
}
