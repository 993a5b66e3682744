//! Users, sessions, tokens of the API, and the audit.

use hyper::Method;

use super::{CallError, Client, path};
use crate::rest::{
    ApiTokenCreated, ApiTokenRequest, ApiTokenStatus, AuditEntry, FieldChange, GrantsRequest,
    PREFIX, SessionStatus, SignInRequest, SignedIn, UndoRequest, UserCreated, UserRequest,
    UserStatus,
};

impl Client {
    /// Signs in.
    pub async fn sign_in(&self, request: &SignInRequest) -> Result<SignedIn, CallError> {
        self.call(Method::POST, &format!("{PREFIX}/sign-in"), Some(request)).await
    }

    /// Ends what was begun by signing in: the token that is shown is good no longer.
    pub async fn sign_out(&self) -> Result<(), CallError> {
        self.send(Method::POST, &format!("{PREFIX}/sign-out"), None::<&()>).await.map(drop)
    }

    /// Who asks, as the control plane sees it.
    pub async fn session(&self) -> Result<SessionStatus, CallError> {
        self.call(Method::GET, &format!("{PREFIX}/session"), None::<&()>).await
    }

    /// Chooses another password for whoever asks.
    pub async fn change_password(
        &self,
        change: &crate::rest::PasswordChange,
    ) -> Result<(), CallError> {
        self.send(Method::POST, &format!("{PREFIX}/password"), Some(change)).await.map(drop)
    }

    /// Every user.
    pub async fn users(&self) -> Result<Vec<UserStatus>, CallError> {
        self.call(Method::GET, &path::under("users", None), None::<&()>).await
    }

    /// Makes a user.
    pub async fn create_user(&self, request: &UserRequest) -> Result<UserCreated, CallError> {
        self.call(Method::POST, &path::under("users", None), Some(request)).await
    }

    /// Says what a user may.
    pub async fn grant(
        &self,
        user: &str,
        request: &GrantsRequest,
    ) -> Result<UserStatus, CallError> {
        let path = format!("{}/grants", path::under("users", Some(user)));
        self.call(Method::PUT, &path, Some(request)).await
    }

    /// Gives a user a new one-time password; whoever is signed in as him is signed out.
    pub async fn reset_password(&self, user: &str) -> Result<UserCreated, CallError> {
        let path = format!("{}/password", path::under("users", Some(user)));
        self.call(Method::POST, &path, None::<&()>).await
    }

    /// Removes a user, with his sessions and tokens.
    pub async fn delete_user(&self, user: &str) -> Result<(), CallError> {
        self.send(Method::DELETE, &path::under("users", Some(user)), None::<&()>).await.map(drop)
    }

    /// Tokens of the API: those of whoever asks, of everybody for an admin.
    pub async fn api_tokens(&self) -> Result<Vec<ApiTokenStatus>, CallError> {
        self.call(Method::GET, &path::under("api-tokens", None), None::<&()>).await
    }

    /// Makes a token of the API.
    pub async fn create_api_token(
        &self,
        request: &ApiTokenRequest,
    ) -> Result<ApiTokenCreated, CallError> {
        self.call(Method::POST, &path::under("api-tokens", None), Some(request)).await
    }

    /// Revokes a token of the API.
    pub async fn revoke_api_token(&self, id: &str) -> Result<(), CallError> {
        self.send(Method::DELETE, &path::under("api-tokens", Some(id)), None::<&()>).await.map(drop)
    }

    /// The latest entries of the audit, the latest first; `before` a number, those before it; of one namespace or of all.
    pub async fn audit(
        &self,
        before: Option<u64>,
        namespace: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, CallError> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        before.map(|number| query.append_pair("before", &number.to_string()));
        namespace.map(|namespace| query.append_pair("namespace", namespace));
        let path = format!("{PREFIX}/audit?{}", query.finish());
        self.call(Method::GET, &path, None::<&()>).await
    }

    /// Undoes a change by a new one: what it changes.
    pub async fn undo(
        &self,
        number: u64,
        request: &UndoRequest,
    ) -> Result<Vec<FieldChange>, CallError> {
        self.call(Method::POST, &format!("{PREFIX}/audit/{number}/undo"), Some(request)).await
    }
}
