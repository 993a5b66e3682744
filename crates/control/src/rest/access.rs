//! Who may ask what: every endpoint names what it takes, and is asked nothing before that is looked at.
//!
//! What an endpoint takes stands beside it in [`super::endpoints`]; there is no endpoint without. Where it depends on what
//! is asked (whose object is written), the handler asks [`must`] for each namespace; all objects are written by [`write`].

use std::borrow::Cow;

use api::{
    resource::{Kind, Object},
    rest::{EVERYWHERE, NOTE, NOTE_CHARACTERS_MAX, Role},
    validate::no_namespace,
};
use axum::{
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::{HeaderMap, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Refused, extract::bad_path};
use crate::{
    Control,
    ledger::{Done, Edit, Transaction},
    people::{Caller, says_which_page_asks},
};

/// What an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// To be known: also with a one-time password.
    Known,
    /// A role in any namespace: it tells of the installation, of objects only those that may be seen.
    Somewhere(Role),
    /// A role in any namespace, and in those of what is asked, which the handler looks at.
    Each(Role),
    /// A role in the namespace of the path.
    InPath(Role),
    /// A role in all namespaces.
    Everywhere(Role),
}

/// Looks at who asks.
pub(super) async fn judge(
    State(need): State<Need>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let Ok(params) = params else { return bad_path(request.uri()).into_response() };
    let namespace = params.iter().find(|(name, _)| *name == "namespace").map(|(_, value)| value);
    let caller = request.extensions_mut().remove::<Caller>();
    match admit(need, caller, namespace, request.method(), request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(caller)) => {
            // That there is nothing in what cannot be a namespace would be true, and help nobody.
            if let Some(problem) = namespace.and_then(no_namespace) {
                return Refused::new(400, "bad path", problem.to_string()).into_response();
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

fn admit(
    need: Need,
    caller: Option<Caller>,
    namespace: Option<&str>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Refused> {
    if need == Need::Nothing {
        return Ok(caller);
    }
    let caller = caller.ok_or_else(|| {
        Refused::new(401, "not known who asks", "sign in, or show a token of the API")
    })?;
    check_origin(&caller, method, headers)?;
    if caller.must_change_password() && need != Need::Known {
        let detail =
            "you signed in with a one-time password: choose another first (POST /password)";
        return Err(Refused::new(403, "password must be changed", detail));
    }
    match need {
        Need::Nothing | Need::Known => {}
        Need::Somewhere(role) | Need::Each(role) => {
            if !caller.may_somewhere(role) {
                return Err(refused(&caller, role, None));
            }
        }
        Need::InPath(role) => must(&caller, role, namespace.unwrap_or(EVERYWHERE))?,
        Need::Everywhere(role) => must(&caller, role, EVERYWHERE)?,
    }
    let note = note(headers)?;
    Ok(Some(caller.noting(note)))
}

/// A browser sends its cookie whoever wrote the page; and says with every change which page it was.
fn check_origin(caller: &Caller, method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
    if caller.is_session() && !says_which_page_asks(method, headers) {
        let detail = "Origin: whoever shows a session's cookie says which page asks";
        return Err(Refused::new(403, "no origin", detail));
    }
    Ok(())
}

/// Why something is changed, as the request says.
fn note(headers: &HeaderMap) -> Result<String, Refused> {
    let Some(written) = headers.get(NOTE) else { return Ok(String::new()) };
    let wrong = |why: &str| Refused::new(400, "bad note", format!("{NOTE}: {why}"));
    let text = percent_decoded(written.as_bytes());
    let text = String::from_utf8(text).map_err(|_| wrong("write percent-encoded UTF-8"))?;
    if text.chars().count() > NOTE_CHARACTERS_MAX {
        return Err(wrong(&format!("write at most {NOTE_CHARACTERS_MAX} characters")));
    }
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    Ok(text.chars().map(plain).collect::<String>().trim().to_owned())
}

fn percent_decoded(written: &[u8]) -> Vec<u8> {
    let digit = |at: usize| char::from(*written.get(at)?).to_digit(16);
    let (mut decoded, mut at) = (Vec::with_capacity(written.len()), 0);
    while let Some(byte) = written.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

/// That somebody has a role in a namespace.
pub(super) fn must(caller: &Caller, role: Role, namespace: &str) -> Result<(), Refused> {
    if caller.may(role, namespace) { Ok(()) } else { Err(refused(caller, role, Some(namespace))) }
}

fn refused(caller: &Caller, role: Role, namespace: Option<&str>) -> Refused {
    let place: Cow<'_, str> = match namespace {
        None => "in some namespace".into(),
        Some(EVERYWHERE) => "everywhere".into(),
        Some(namespace) => format!("in namespace {namespace}").into(),
    };
    let has: Vec<String> = caller.grants().iter().map(ToString::to_string).collect();
    let has = if has.is_empty() { "nothing".to_owned() } else { has.join(", ") };
    let author = &caller.by().author;
    let detail = format!("it takes {role} {place}; {author} is {has}: ask an admin");
    Refused::new(403, "not allowed", detail)
}

/// That somebody has a role where these edits are, and more where they concern all of the installation.
pub(super) fn may_edit(caller: &Caller, edits: &[Edit], role: Role) -> Result<(), Refused> {
    for key in edits.iter().map(Edit::key) {
        must(caller, role, &key.namespace)?;
    }
    if role > Role::Viewer && edits.iter().any(concerns_the_machine) {
        must(caller, Role::Admin, EVERYWHERE)?;
    }
    Ok(())
}

/// A source is the installation's by its name, and has files read and addresses called for it; a certificate may name files of
/// the control plane's machine.
fn concerns_the_machine(edit: &Edit) -> bool {
    let names_files =
        |object: &Object| matches!(object, Object::Certificate(it) if it.spec.files.is_some());
    match edit {
        edit if edit.key().kind == Kind::ServiceSource => true,
        Edit::Put { object, .. } => names_files(object),
        Edit::Apply { manifest, .. } => names_files(manifest.object()),
        Edit::Patch { key, patch } => {
            key.kind == Kind::Certificate && patch.pointer("/spec/files").is_some()
        }
        Edit::Delete { .. } => false,
    }
}

/// Writes objects for somebody: the one way by which the API does.
pub(super) async fn write(
    control: &Control,
    caller: &Caller,
    edits: Vec<Edit>,
    dry_run: bool,
) -> Result<Done, Refused> {
    may_edit(caller, &edits, if dry_run { Role::Viewer } else { Role::Operator })?;
    let by = caller.by().clone();
    Ok(control.transact(Transaction { edits, dry_run, by }).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_meant() {
        let read = |written: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(NOTE, written.parse().unwrap());
            note(&headers)
        };
        assert_eq!(read("").unwrap(), "");
        assert_eq!(read("why not 100%").unwrap(), "why not 100%");
        assert_eq!(read("%e7%81%b0%E5%BA%A6%20%0a%1b[31m").unwrap(), "灰度   [31m");
        assert!(read("%ff").is_err());
        assert!(read(&"x".repeat(NOTE_CHARACTERS_MAX)).is_ok());
        assert!(read(&"x".repeat(NOTE_CHARACTERS_MAX + 1)).is_err());
    }

    #[test]
    fn a_note_of_the_client_arrives_as_it_was_written() {
        let percent =
            |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
        let text = "回滚: 100% \"of\" it";
        assert_eq!(percent_decoded(percent(text).as_bytes()), text.as_bytes());
    }
}
