//! Who changed what, and undoing it.

use std::sync::Arc;

use api::rest::{AuditEntry, FieldChange, Finding, Role, UndoRequest};
use axum::{
    Extension, Json,
    extract::{Query, State},
};

use super::{
    Refused, access,
    actions::typed,
    extract::{Bytes, Path},
    objects::{Written, number, unknown_parameter},
};
use crate::{
    Control,
    people::Caller,
    store::AuditQuery,
    undo::{NotUndone, undo as edit_that_undoes},
};

type Shared = State<Arc<Control>>;
type By = Extension<Caller>;

/// Entries of one answer, unless told and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 200;

/// The latest changes, the latest first.
#[utoipa::path(
    get, path = "/api/v1alpha1/audit", tag = "people",
    params(
        ("before" = Option<u64>, Query, description = "Only entries of lower numbers"),
        ("namespace" = Option<String>, Query, description = "Only of objects there"),
        ("about" = Option<String>, Query, description = "Only about this, as the entries say it: Lane shop/trade-gray"),
        ("limit" = Option<usize>, Query, description = "How many, 1 to 200", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "The latest first", body = Vec<AuditEntry>),
        (status = 503, description = "Cannot be read", body = api::rest::Problem),
    )
)]
pub(super) async fn list(
    State(control): Shared,
    Extension(caller): By,
    Query(written): Written,
) -> Result<Json<Vec<AuditEntry>>, Refused> {
    let mut query = AuditQuery { limit: LIMIT, ..visible_to(&caller) };
    for (name, value) in written {
        let bad =
            |remedy: &str| Refused::new(400, "bad query", format!("{name}: `{value}`: {remedy}"));
        match name.as_str() {
            "before" => query.before = Some(number(&name, &value, "an entry")?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                query.limit = limit.ok_or_else(|| bad("use 1 to 200"))?;
            }
            "namespace" => {
                access::must(&caller, Role::Viewer, &value)?;
                query.namespaces = Some(vec![value]);
            }
            "about" => query.about = Some(value),
            _ => return Err(unknown_parameter(&name, "before, namespace, about, limit")),
        }
    }
    Ok(Json(control.ledger().audit(query).await?))
}

/// What somebody may see. Who signed in, from where and who was not let in, is for those who are told of users.
fn visible_to(caller: &Caller) -> AuditQuery {
    AuditQuery {
        namespaces: caller.namespaces(),
        with_sign_ins: caller.may_everywhere(Role::Admin),
        ..AuditQuery::default()
    }
}

/// One change, with the object before and after.
#[utoipa::path(
    get, path = "/api/v1alpha1/audit/{number}", tag = "people",
    params(("number" = u64, Path, description = "As the list shows it")),
    responses(
        (status = 200, description = "The entry", body = AuditEntry),
        (status = 404, description = "No such entry", body = api::rest::Problem),
        (status = 503, description = "Cannot be read", body = api::rest::Problem),
    )
)]
pub(super) async fn read(
    State(control): Shared,
    Extension(caller): By,
    Path(number): Path<String>,
) -> Result<Json<AuditEntry>, Refused> {
    Ok(Json(entry(&control, &caller, &number).await?))
}

async fn entry(control: &Control, caller: &Caller, number: &str) -> Result<AuditEntry, Refused> {
    let none = || {
        let detail = format!("there is no entry `{number}` of the audit that you may see");
        Refused::new(404, "not found", detail)
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        let detail = format!("`{number}`: use the number of an entry, as the list shows it");
        return Err(Refused::new(400, "bad path", detail));
    }
    let query = AuditQuery {
        number: Some(
            number.parse().ok().filter(|it: &u64| i64::try_from(*it).is_ok()).ok_or_else(none)?,
        ),
        limit: 1,
        with_objects: true,
        ..visible_to(caller)
    };
    control.ledger().audit(query).await?.pop().ok_or_else(none)
}

/// Undoes a change by a new one. What others changed in the object since stays; where that is the same, nothing is done.
#[utoipa::path(
    post, path = "/api/v1alpha1/audit/{number}/undo", tag = "people",
    params(("number" = u64, Path, description = "As the list shows it")),
    request_body = UndoRequest,
    responses(
        (status = 200, description = "Undone: what changed", body = Vec<FieldChange>),
        (status = 404, description = "No such entry", body = api::rest::Problem),
        (status = 409, description = "The object changed since: what is there, and what would be", body = api::rest::Problem),
        (status = 422, description = "Not valid any more; nothing was written", body = api::rest::Problem),
        (status = 503, description = "Cannot be stored", body = api::rest::Problem),
    )
)]
pub(super) async fn undo(
    State(control): Shared,
    Extension(caller): By,
    Path(number): Path<String>,
    body: Bytes,
) -> Result<Json<Vec<FieldChange>>, Refused> {
    let UndoRequest { dry_run } = typed(&body)?;
    let entry = entry(&control, &caller, &number).await?;
    let now = entry.object.as_ref().and_then(|key| control.ledger().view().get(key).cloned());
    let edit = edit_that_undoes(&entry, now.as_deref()).map_err(|why| not_undone(&entry, why))?;
    let caller = caller.undoing(entry.number);
    let done = access::write(&control, &caller, vec![edit], dry_run).await?;
    Ok(Json(done.applied.into_iter().flat_map(|applied| applied.changes).collect()))
}

fn not_undone(entry: &AuditEntry, why: NotUndone) -> Refused {
    let refuse = |detail: String| Refused::new(409, "cannot be undone", detail);
    match why {
        NotUndone::OfNoObject => refuse(format!("{} is no object: change it anew", entry.about)),
        NotUndone::NotKept => refuse(
            "the object was too large, or is of another release: it was not kept whole".into(),
        ),
        NotUndone::AsBefore => refuse(format!("{} is as before already", entry.about)),
        NotUndone::ChangedSince(fields) => {
            let finding = |change: FieldChange| {
                let word = |value: Option<serde_json::Value>| {
                    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
                };
                let remedy = format!("it would become {}: change it by hand", word(change.after));
                let value = change.before.map(|value| value.to_string()).unwrap_or_default();
                let problem = lanes::Problem::new(change.field, value, remedy);
                Finding { object: entry.object.clone(), ..Finding::unread(problem) }
            };
            let findings = fields.into_iter().map(finding).collect();
            refuse(format!("{} changed since, in what the undo would change", entry.about))
                .with(findings)
        }
    }
}
