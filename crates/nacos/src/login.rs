//! Who we are: logs in where credentials are a user's, before that is over and again where the server forgot us; signs
//! each call where they are an access key's.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;
use url::form_urlencoded;

use crate::{
    Credentials, Error, Secrets, Server, Settings,
    http::{self, Question, is_unknown},
};

/// Where one logs in: servers of 3.x, then those before.
const PATHS: [&str; 2] = ["/nacos/v3/auth/user/login", "/nacos/v1/auth/login"];

/// How long a token is good whose server does not say: less than any server's default.
const UNKNOWN_LIFE: Duration = Duration::from_secs(600);

/// And at most: what says that it is good for longer is asked all the same.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an access key is used before it is read again.
const KEY_LIFE: Duration = Duration::from_secs(60);

/// And at least: who logs in before each call is soon locked out.
const LIFE_MIN: Duration = Duration::from_secs(5);

/// A token is renewed when this much of its life is over, in tenths.
const RENEWED_AFTER_TENTHS: u32 = 8;

/// How long after a renewal that failed it is tried again.
const RENEWED_AGAIN_AFTER: Duration = Duration::from_secs(20);

/// What shows who we are. Shows nothing of it to people.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// What the server gave us.
    Token(String),
    /// What each call is signed with.
    AccessKey { id: String, secret: String },
}

/// What a call is about: that is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    /// A service, or with an empty name those of a group.
    Service { group: &'a str, name: &'a str },
    /// A configuration in a namespace, which is empty where it is the public one.
    Config { tenant: &'a str, group: &'a str },
    /// Several configurations.
    Configs,
}

impl Proof {
    /// What goes with a call, as Nacos's own client signs it (`NamingResourceInjector`, `ConfigResourceInjector`).
    pub(crate) fn headers(&self, about: About<'_>, now: SystemTime) -> Vec<(&'static str, String)> {
        let (id, secret) = match self {
            Self::Token(token) => return vec![("accessToken", token.clone())],
            Self::AccessKey { id, secret } => (id.clone(), secret),
        };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let sign = |data: &str| BASE64_STANDARD.encode(hmac::sign(&key, data.as_bytes()));
        let now_ms = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
        let resource = match about {
            About::Service { group, name } => {
                let data = format!("{now_ms}@@{group}@@{name}");
                let signature = sign(&data);
                return vec![("ak", id), ("data", data), ("signature", signature)];
            }
            About::Config { tenant: "", group } => format!("{group}+"),
            About::Config { tenant, group } => format!("{tenant}+{group}+"),
            About::Configs => String::new(),
        };
        let signature = sign(&format!("{resource}{now_ms}"));
        vec![("Spas-AccessKey", id), ("Timestamp", now_ms), ("Spas-Signature", signature)]
    }

    /// What HTTP is shown, which nobody signs.
    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Self::Token(token) => Some(token),
            Self::AccessKey { .. } => None,
        }
    }
}

/// A proof, and until when it is good. Shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
struct Held {
    proof: Proof,
    renewed_at: Instant,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("renewed_at", &self.renewed_at).finish_non_exhaustive()
    }
}

/// Who we are at one server.
#[derive(Debug)]
pub(crate) struct Login {
    server: Server,
    settings: Settings,
    held: Mutex<Option<Held>>,
    /// One logs in at a time: the others take what it was given.
    turn: tokio::sync::Mutex<()>,
}

impl Login {
    pub(crate) fn new(server: &Server, settings: &Settings) -> Self {
        Self {
            server: server.clone(),
            settings: settings.clone(),
            held: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// What to show; nothing where we are nobody.
    pub(crate) async fn proof(&self) -> Result<Option<Proof>, Error> {
        let Some(secrets) = &self.settings.secrets else { return Ok(None) };
        if let Some(proof) = self.good(Instant::now()) {
            return Ok(Some(proof));
        }
        let _turn = self.turn.lock().await;
        if let Some(proof) = self.good(Instant::now()) {
            return Ok(Some(proof));
        }
        let held = match self.renewed(secrets).await {
            Ok(held) => held,
            // The one that is there is good for a while: the server says when it is not.
            Err(error) => match self.held.lock().clone() {
                Some(old) => Held { renewed_at: Instant::now() + RENEWED_AGAIN_AFTER, ..old },
                None => return Err(error),
            },
        };
        let proof = held.proof.clone();
        *self.held.lock() = Some(held);
        Ok(Some(proof))
    }

    async fn renewed(&self, secrets: &Secrets) -> Result<Held, Error> {
        match secrets().map_err(Error::Secrets)? {
            Credentials::User { name, password } => {
                log_in(&self.server, &self.settings, &name, &password).await
            }
            Credentials::AccessKey { id, secret } => Ok(Held {
                proof: Proof::AccessKey { id, secret },
                renewed_at: Instant::now() + KEY_LIFE,
            }),
        }
    }

    /// The server does not take a proof any more. Says whether another may help.
    pub(crate) fn forget(&self, refused: Option<&Proof>) -> bool {
        let mut held = self.held.lock();
        if held.as_ref().is_some_and(|held| Some(&held.proof) == refused) {
            *held = None;
        }
        self.settings.secrets.is_some()
    }

    /// What a refused caller may do.
    pub(crate) fn remedy(&self) -> &'static str {
        match self.settings.secrets {
            Some(_) => "give this user, or this access key, the right to read the namespace",
            None => "write auth: {user, password} or auth: {accessKey, secretKey} into the source",
        }
    }

    fn good(&self, now: Instant) -> Option<Proof> {
        let held = self.held.lock();
        held.as_ref().filter(|held| held.renewed_at > now).map(|held| held.proof.clone())
    }
}

async fn log_in(
    server: &Server,
    settings: &Settings,
    user: &str,
    password: &str,
) -> Result<Held, Error> {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("username", user)
        .append_pair("password", password)
        .finish();
    let mut refused = StatusCode::NOT_FOUND;
    for path in PATHS {
        let question = Question { method: &Method::POST, path, form: &form, token: None };
        let (status, body) = http::ask(server, settings, question).await?;
        if status.is_success() {
            return read(path, &body, Instant::now());
        }
        // One that is in trouble says nothing of us, and neither does one that does not know the path.
        if status.is_server_error() && !is_unknown(status) {
            return Err(Error::Ended { reason: format!("POST {path} is answered with {status}") });
        }
        if !is_unknown(status) || is_unknown(refused) {
            refused = status;
        }
    }
    Err(Error::Login { user: user.to_owned(), status: refused.as_u16() })
}

/// `{"accessToken": …, "tokenTtl": SECONDS}`, alone or as `data`.
fn read(path: &str, body: &[u8], now: Instant) -> Result<Held, Error> {
    let wrong = |reason: &str| Error::NotUnderstood {
        what: format!("POST {path}"),
        reason: reason.to_owned(),
    };
    // Nothing of the answer is shown: a token may be in it.
    let said: Value = serde_json::from_slice(body).map_err(|_| wrong("it is no JSON"))?;
    let data = said.get("data").unwrap_or(&said);
    let text = data.get("accessToken").and_then(Value::as_str);
    let text = text.or_else(|| data.as_str().map(|text| text.trim_start_matches("Bearer ")));
    let text =
        text.filter(|text| !text.is_empty()).ok_or_else(|| wrong("no accessToken is in it"))?;
    let life =
        data.get("tokenTtl").and_then(Value::as_u64).map_or(UNKNOWN_LIFE, Duration::from_secs);
    let renewed_at = now + life.clamp(LIFE_MIN, LIFE_MAX) * RENEWED_AFTER_TENTHS / 10;
    Ok(Held { proof: Proof::Token(text.to_owned()), renewed_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_read_as_every_version_writes_it() {
        let now = Instant::now();
        for (body, seconds) in [
            (
                r#"{"accessToken":"t","tokenTtl":18000,"globalAdmin":true,"username":"nacos"}"#,
                14_400,
            ),
            (r#"{"code":0,"message":"success","data":{"accessToken":"t","tokenTtl":10}}"#, 8),
            (r#"{"code":200,"data":"Bearer t"}"#, 480),
            (r#"{"accessToken":"t","tokenTtl":0}"#, 4),
        ] {
            let held = read("/x", body.as_bytes(), now).unwrap();
            assert_eq!(
                (held.proof.token(), held.renewed_at - now),
                (Some("t"), Duration::from_secs(seconds))
            );
            assert_eq!(format!("{held:?}").find("\"t\""), None);
        }
        for body in ["", "<html>", "{}", r#"{"accessToken":""}"#, r#"{"data":null}"#] {
            assert!(read("/x", body.as_bytes(), now).is_err(), "{body}");
        }
    }

    #[test]
    fn a_call_is_signed_as_nacos_reads_it() {
        let proof = Proof::AccessKey { id: "LTAI".to_owned(), secret: "secret".to_owned() };
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        // By Python's hmac.
        let signed = [
            ("ak", "LTAI".to_owned()),
            ("data", "1700000000123@@DEFAULT_GROUP@@sc-C".to_owned()),
            ("signature", "zQz7/V+nQqzaHMU9qEFdK5pE2+Y=".to_owned()),
        ];
        let service = About::Service { group: "DEFAULT_GROUP", name: "sc-C" };
        assert_eq!(proof.headers(service, now), signed);
        for (about, signature) in [
            (About::Config { tenant: "dev", group: "dubbo" }, "YB9yvIuaCFJ5er3i74HHZenOd6g="),
            (About::Config { tenant: "", group: "dubbo" }, "6xwebD0meXvfP5fOYz7WX2aPzRE="),
            (About::Configs, "wM/x5OtJkw9gpeIAD/C+ySgHcak="),
        ] {
            let signed = [
                ("Spas-AccessKey", "LTAI".to_owned()),
                ("Timestamp", "1700000000123".to_owned()),
                ("Spas-Signature", signature.to_owned()),
            ];
            assert_eq!(proof.headers(about, now), signed);
        }
        assert_eq!(proof.token(), None);
    }
}
