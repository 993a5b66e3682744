//! Who we are: logs in where credentials are, before they are over and again where the server forgot us.

use std::{fmt, time::Duration};

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

/// And at least: who logs in before each call is soon locked out.
const LIFE_MIN: Duration = Duration::from_secs(5);

/// A token is renewed when this much of its life is over, in tenths.
const RENEWED_AFTER_TENTHS: u32 = 8;

/// How long after a renewal that failed it is tried again.
const RENEWED_AGAIN_AFTER: Duration = Duration::from_secs(20);

/// What the server gave us. Shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    text: String,
    renewed_at: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("renewed_at", &self.renewed_at).finish_non_exhaustive()
    }
}

/// Our token at one server.
#[derive(Debug)]
pub(crate) struct Login {
    server: Server,
    settings: Settings,
    token: Mutex<Option<Token>>,
    /// One logs in at a time: the others take what it was given.
    turn: tokio::sync::Mutex<()>,
}

impl Login {
    pub(crate) fn new(server: &Server, settings: &Settings) -> Self {
        Self {
            server: server.clone(),
            settings: settings.clone(),
            token: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// What to show; nothing where we are nobody.
    pub(crate) async fn token(&self) -> Result<Option<String>, Error> {
        let Some(secrets) = &self.settings.secrets else { return Ok(None) };
        if let Some(text) = self.good(Instant::now()) {
            return Ok(Some(text));
        }
        let _turn = self.turn.lock().await;
        if let Some(text) = self.good(Instant::now()) {
            return Ok(Some(text));
        }
        let token = match self.renewed(secrets).await {
            Ok(token) => token,
            // The one that is there is good for a while: the server says when it is not.
            Err(error) => match self.token.lock().clone() {
                Some(old) => Token { renewed_at: Instant::now() + RENEWED_AGAIN_AFTER, ..old },
                None => return Err(error),
            },
        };
        let text = token.text.clone();
        *self.token.lock() = Some(token);
        Ok(Some(text))
    }

    async fn renewed(&self, secrets: &Secrets) -> Result<Token, Error> {
        let credentials = secrets().map_err(Error::Secrets)?;
        log_in(&self.server, &self.settings, &credentials).await
    }

    /// The server does not know a token any more. Says whether another may help.
    pub(crate) fn forget(&self, refused: Option<&str>) -> bool {
        let mut token = self.token.lock();
        if token.as_ref().is_some_and(|token| Some(token.text.as_str()) == refused) {
            *token = None;
        }
        self.settings.secrets.is_some()
    }

    /// What a refused caller may do.
    pub(crate) fn remedy(&self) -> &'static str {
        match self.settings.secrets {
            Some(_) => "give this user the right to read the namespace",
            None => "write auth: {user, password} into the source",
        }
    }

    fn good(&self, now: Instant) -> Option<String> {
        let token = self.token.lock();
        token.as_ref().filter(|token| token.renewed_at > now).map(|token| token.text.clone())
    }
}

async fn log_in(
    server: &Server,
    settings: &Settings,
    credentials: &Credentials,
) -> Result<Token, Error> {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("username", &credentials.user)
        .append_pair("password", &credentials.password)
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
    Err(Error::Login { user: credentials.user.clone(), status: refused.as_u16() })
}

/// `{"accessToken": …, "tokenTtl": SECONDS}`, alone or as `data`.
fn read(path: &str, body: &[u8], now: Instant) -> Result<Token, Error> {
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
    Ok(Token { text: text.to_owned(), renewed_at })
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
            let token = read("/x", body.as_bytes(), now).unwrap();
            assert_eq!(
                (token.text.as_str(), token.renewed_at - now),
                ("t", Duration::from_secs(seconds))
            );
            assert_eq!(format!("{token:?}").find("\"t\""), None);
        }
        for body in ["", "<html>", "{}", r#"{"accessToken":""}"#, r#"{"data":null}"#] {
            assert!(read("/x", body.as_bytes(), now).is_err(), "{body}");
        }
    }
}
