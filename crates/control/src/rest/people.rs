//! Signing in and out, users, tokens of the API.

use std::{net::IpAddr, sync::Arc};

use api::rest::{
    ApiTokenCreated, ApiTokenRequest, ApiTokenStatus, Finding, GrantsRequest, PasswordChange,
    SessionStatus, SignInRequest, SignedIn, UserCreated, UserRequest, UserStatus,
};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};

use super::{
    Refused,
    actions::{typed, typed_secret},
    extract::{Bytes, Path},
};
use crate::{
    Control,
    people::{
        Arrival, Caller, Entrant, Entry, PersonError, SESSION_LASTS, cookie_name, device,
        device_cookie_name, forgotten_cookie, kept_cookie,
    },
};

type Shared = State<Arc<Control>>;
type By = Extension<Caller>;

impl From<PersonError> for Refused {
    fn from(error: PersonError) -> Self {
        let detail = error.to_string();
        match error {
            PersonError::Invalid(problem) => Self::invalid(vec![Finding::unread(problem)]),
            PersonError::Wrong | PersonError::Ended(_) => Self::new(403, "not let in", detail),
            PersonError::Scoped => Self::new(403, "not allowed", detail),
            PersonError::NobodyAsked => Self::new(409, "nobody is asked", detail),
            PersonError::Slowed(_) => Self::new(429, "too many attempts", detail),
            PersonError::Unknown(_) => Self::new(404, "not found", detail),
            PersonError::Exists(_) => Self::new(409, "exists already", detail),
            PersonError::TooMany(_) => Self::new(409, "too many", detail),
            PersonError::MoreThanOwn(_) => Self::new(403, "not allowed", detail),
            PersonError::NoUser => Self::new(409, "no user", detail),
            PersonError::Rejected(rejection) => rejection.into(),
        }
    }
}

/// Signs in: answers with a cookie, or with a token where one is asked for.
#[utoipa::path(
    post, path = "/api/v1alpha1/sign-in", tag = "people",
    request_body = SignInRequest,
    responses(
        (status = 200, description = "Let in", body = SignedIn),
        (status = 403, description = "User or password is wrong", body = api::rest::Problem),
        (status = 422, description = "Not valid", body = api::rest::Problem),
        (status = 429, description = "Too many attempts: wait", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn sign_in(
    State(control): Shared,
    arrival: Option<Extension<Arrival>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let request: SignInRequest = typed_secret(&body)?;
    let wants_token = request.token_name.is_some();
    let (address, authority) = from(arrival);
    let device = device(&headers, authority.as_deref());
    let entrant = Entrant { address, authority: authority.clone(), device };
    let Entry { caller, secret, device } = match control.sign_in(request, entrant).await {
        Err(PersonError::Slowed(wait)) => {
            let mut answer = Refused::from(PersonError::Slowed(wait)).into_response();
            answer.headers_mut().insert(header::RETRY_AFTER, (wait.as_secs() + 1).into());
            return Ok(answer);
        }
        entered => entered?,
    };
    let session = caller.status();
    if wants_token {
        return Ok(Json(SignedIn { session, secret: Some(secret) }).into_response());
    }
    let session_name = cookie_name(authority.as_deref());
    let mut answer = Json(SignedIn { session, secret: None }).into_response();
    let set = answer.headers_mut();
    set.append(
        header::SET_COOKIE,
        cookie(&session_name, &headers, &secret, SESSION_LASTS.as_secs())?,
    );
    if let Some(device) = device {
        let name = device_cookie_name(authority.as_deref());
        set.append(header::SET_COOKIE, cookie(&name, &headers, &device, DEVICE_LASTS)?);
    }
    Ok(answer)
}

/// Seconds for which a browser is known to be a user's.
const DEVICE_LASTS: u64 = 365 * 24 * 3600;

fn from(arrival: Option<Extension<Arrival>>) -> (IpAddr, Option<String>) {
    match arrival {
        Some(Extension(Arrival { address, authority })) => (address, authority),
        None => (IpAddr::from([0, 0, 0, 0]), None),
    }
}

/// A cookie with a secret. That a browser asks over TLS it says of its page: what is here may be behind a proxy.
fn cookie(
    name: &str,
    headers: &HeaderMap,
    secret: &str,
    seconds: u64,
) -> Result<HeaderValue, Refused> {
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
    field(kept_cookie(name, secret, seconds, origin.starts_with(b"https://")))
}

fn field(cookie: String) -> Result<HeaderValue, Refused> {
    HeaderValue::try_from(cookie).map_err(|_| Refused::new(500, "no cookie", ""))
}

/// Signs out: what is shown is good no longer.
#[utoipa::path(
    post, path = "/api/v1alpha1/sign-out", tag = "people",
    responses(
        (status = 204, description = "Signed out"),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn sign_out(
    State(control): Shared,
    Extension(caller): By,
    arrival: Option<Extension<Arrival>>,
) -> Result<Response, Refused> {
    let (address, authority) = from(arrival);
    control.sign_out(&caller, address).await?;
    let [plain, over_tls] = forgotten_cookie(&cookie_name(authority.as_deref())).map(field);
    let forget = [(header::SET_COOKIE, plain?), (header::SET_COOKIE, over_tls?)];
    Ok((StatusCode::NO_CONTENT, AppendHeaders(forget)).into_response())
}

/// Who asks, and what he may.
#[utoipa::path(
    get, path = "/api/v1alpha1/session", tag = "people",
    responses((status = 200, description = "Who asks", body = SessionStatus))
)]
pub(super) async fn session(Extension(caller): By) -> Json<SessionStatus> {
    Json(caller.status())
}

/// Changes the password of whoever asks; where else he is signed in, that ends.
#[utoipa::path(
    post, path = "/api/v1alpha1/password", tag = "people",
    request_body = PasswordChange,
    responses(
        (status = 204, description = "Changed"),
        (status = 403, description = "The current one is wrong", body = api::rest::Problem),
        (status = 409, description = "Whoever asks is no user", body = api::rest::Problem),
        (status = 422, description = "Not valid", body = api::rest::Problem),
        (status = 429, description = "Too many attempts: wait", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn password(
    State(control): Shared,
    Extension(caller): By,
    arrival: Option<Extension<Arrival>>,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let change: PasswordChange = typed_secret(&body)?;
    control.change_password(&caller, change, from(arrival).0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Every user.
#[utoipa::path(
    get, path = "/api/v1alpha1/users", tag = "people",
    responses((status = 200, description = "By name", body = Vec<UserStatus>))
)]
pub(super) async fn users(State(control): Shared) -> Json<Vec<UserStatus>> {
    Json(control.people().users())
}

/// Makes a user with a one-time password.
#[utoipa::path(
    post, path = "/api/v1alpha1/users", tag = "people",
    request_body = UserRequest,
    responses(
        (status = 201, description = "Made; the password is told this once", body = UserCreated),
        (status = 409, description = "Exists already, or there are too many", body = api::rest::Problem),
        (status = 422, description = "Not valid; nothing was made", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn create_user(
    State(control): Shared,
    Extension(caller): By,
    body: Bytes,
) -> Result<(StatusCode, Json<UserCreated>), Refused> {
    let request: UserRequest = typed(&body)?;
    Ok((StatusCode::CREATED, Json(control.create_user(request, caller.by()).await?)))
}

/// Says what a user may from now on.
#[utoipa::path(
    put, path = "/api/v1alpha1/users/{name}/grants", tag = "people",
    params(("name" = String, Path, description = "The user")),
    request_body = GrantsRequest,
    responses(
        (status = 200, description = "Granted", body = UserStatus),
        (status = 404, description = "No such user", body = api::rest::Problem),
        (status = 422, description = "Not valid", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn grant(
    State(control): Shared,
    Extension(caller): By,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<UserStatus>, Refused> {
    let GrantsRequest { grants } = typed(&body)?;
    Ok(Json(control.grant(&name, grants, caller.by()).await?))
}

/// Gives a user a new one-time password; where he is signed in, that ends.
#[utoipa::path(
    post, path = "/api/v1alpha1/users/{name}/password", tag = "people",
    params(("name" = String, Path, description = "The user")),
    responses(
        (status = 200, description = "The password is told this once", body = UserCreated),
        (status = 404, description = "No such user", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn reset_password(
    State(control): Shared,
    Extension(caller): By,
    Path(name): Path<String>,
) -> Result<Json<UserCreated>, Refused> {
    Ok(Json(control.reset_password(&name, caller.by()).await?))
}

/// Removes a user, with his sessions and tokens.
#[utoipa::path(
    delete, path = "/api/v1alpha1/users/{name}", tag = "people",
    params(("name" = String, Path, description = "The user")),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "No such user", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn delete_user(
    State(control): Shared,
    Extension(caller): By,
    Path(name): Path<String>,
) -> Result<StatusCode, Refused> {
    control.delete_user(&name, caller.by()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tokens of the API: those of whoever asks, of everybody for an admin.
#[utoipa::path(
    get, path = "/api/v1alpha1/api-tokens", tag = "people",
    responses((status = 200, description = "In order of creation", body = Vec<ApiTokenStatus>))
)]
pub(super) async fn api_tokens(
    State(control): Shared,
    Extension(caller): By,
) -> Json<Vec<ApiTokenStatus>> {
    Json(control.api_tokens(&caller))
}

/// Makes a token of the API, good for no more than whoever asks may.
#[utoipa::path(
    post, path = "/api/v1alpha1/api-tokens", tag = "people",
    request_body = ApiTokenRequest,
    responses(
        (status = 201, description = "Made; the secret is told this once", body = ApiTokenCreated),
        (status = 403, description = "More than whoever asks may", body = api::rest::Problem),
        (status = 409, description = "There are too many", body = api::rest::Problem),
        (status = 422, description = "Not valid; nothing was made", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn create_api_token(
    State(control): Shared,
    Extension(caller): By,
    body: Bytes,
) -> Result<(StatusCode, Json<ApiTokenCreated>), Refused> {
    let request: ApiTokenRequest = typed(&body)?;
    Ok((StatusCode::CREATED, Json(control.create_api_token(&caller, request).await?)))
}

/// Revokes a token of the API.
#[utoipa::path(
    delete, path = "/api/v1alpha1/api-tokens/{id}", tag = "people",
    params(("id" = String, Path, description = "As the list shows it")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, description = "No such token of whoever asks", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn revoke_api_token(
    State(control): Shared,
    Extension(caller): By,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    control.revoke_api_token(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
