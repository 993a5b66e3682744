//! Tokens of applications, as the REST API makes and shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A token to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest {
    /// The application that may be registered with it.
    pub application: String,
    /// The only tag that may, `base` for untagged; without it any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The namespace of its services; without it `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A token that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenCreated {
    /// What is known of it.
    pub token: TokenStatus,
    /// The token itself. It is told this once.
    pub secret: String,
    /// Whether the control plane asks for a join token at all; otherwise everybody may register everything.
    pub is_asked_for: bool,
}

/// The secret is for whoever asked alone.
impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("token", &self.token).finish_non_exhaustive()
    }
}

/// What is known of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// What it is revoked by; part of the token, and no secret.
    pub id: String,
    /// The namespace of its application's services.
    pub namespace: String,
    /// The application it is good for.
    pub application: String,
    /// The only tag it is good for, `base` for untagged; without it any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// When it was made.
    pub created: String,
    /// When it was last shown, to the hour after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// How many data planes have a certificate of it that is good, as far as they were seen since the control plane started.
    #[serde(default)]
    pub certificates: u32,
    /// Until when the last of these is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates_until: Option<String>,
}

/// One that signs certificates of data planes, and the one that the control plane shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityStatus {
    /// What it is known by: `sha256:` and the hash of its certificate in hexadecimal. Tokens end in it.
    pub fingerprint: String,
    /// Its certificate in PEM.
    pub certificate: String,
    /// When it was made.
    pub created: String,
    /// Whether it signs. Others are believed until what they signed has ended.
    pub signs: bool,
}
