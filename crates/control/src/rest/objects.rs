//! Objects of one kind: list, watch, read, create, replace, change, delete.

use std::sync::Arc;

use api::{
    resource::{DEFAULT_NAMESPACE, Key, Kind, Object},
    rest::{Finding, List, Role},
};
use axum::{
    Extension, Json,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

// To utoipa a type written `Object` is one of which nothing is known.
use api::resource::Object as AnyObject;

use super::{
    Refused, access,
    extract::{Bytes, Path},
    present, present_all, watch,
};
use crate::{
    Control,
    ledger::{Done, Edit, Precondition},
    people::Caller,
};

type By = Extension<Caller>;

type Shared = State<Arc<Control>>;

/// What may follow `?` in the paths of objects.
#[derive(Debug, Default)]
pub(super) struct Options {
    watch: bool,
    resource_version: Option<String>,
}

/// The same, as it is written.
pub(super) type Written = Query<Vec<(String, String)>>;

impl Options {
    /// Of a list.
    fn of_list(written: Written) -> Result<Self, Refused> {
        let options = Self::read(written, "watch, resourceVersion")?;
        match &options.resource_version {
            Some(text) if !options.watch => {
                let detail = format!("resourceVersion: `{text}`: use it with watch, or none");
                Err(Refused::new(400, "bad query", detail))
            }
            _ => Ok(options),
        }
    }

    fn read(Query(written): Written, known: &str) -> Result<Self, Refused> {
        let mut options = Self::default();
        for (name, value) in written {
            if !known.split(", ").any(|it| it == name) {
                return Err(unknown_parameter(&name, known));
            }
            match name.as_str() {
                "watch" => options.watch = flag("watch", &value)?,
                _ => options.resource_version = Some(value),
            }
        }
        Ok(options)
    }
}

/// `?name`, `?name=true` or `?name=false`.
pub(super) fn flag(name: &str, value: &str) -> Result<bool, Refused> {
    match value {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Refused::new(400, "bad query", format!("{name}: `{value}`: use true or false"))),
    }
}

/// A number that something bears: those of no more than 63 bits, as the OpenAPI document says.
pub(super) fn number(name: &str, value: &str, of: &str) -> Result<u64, Refused> {
    let number = value.parse().ok().filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| {
        Refused::new(400, "bad query", format!("{name}: `{value}`: use the number of {of}"))
    })
}

pub(super) fn unknown_parameter(name: &str, known: &str) -> Refused {
    let known = if known.contains(',') { format!("one of {known}") } else { known.to_owned() };
    Refused::new(400, "bad query", format!("`{name}` is none of its parameters: use {known}"))
}

/// Reads a body as JSON.
pub(super) fn json_body(body: &[u8]) -> Result<Value, Refused> {
    api::read::json(body)
        .map_err(|error| Refused::new(400, "bad body", format!("write JSON: {error}")))
}

fn kind(plural: &str) -> Result<Kind, Refused> {
    Kind::from_plural(plural).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::plural).join(", ");
        Refused::new(404, "no such kind", format!("`{plural}`: use one of {known}"))
    })
}

/// Objects of a kind in all namespaces; with `watch`, one WatchEvent a line.
#[utoipa::path(
    get, path = "/api/v1alpha1/{plural}", tag = "objects",
    params(
        ("plural" = String, Path, description = "The kind: lanegroups, lanes, servicesources, backends, backendtlspolicies, certificates, gateways, httproutes, grpcroutes"),
        ("watch" = Option<bool>, Query, description = "Follow: everything there is, SYNCED, then every change"),
        ("resourceVersion" = Option<String>, Query, description = "With watch: only changes after this state"),
    ),
    responses(
        (status = 200, description = "The objects; with watch, one WatchEvent a line", content(
            (api::rest::List = "application/json"),
            (api::rest::WatchEvent = "application/x-ndjson"),
        )),
        (status = 404, description = "No such kind", body = api::rest::Problem),
        (status = 410, description = "The changes since then are no longer kept", body = api::rest::Problem),
    )
)]
pub(super) async fn list(
    State(control): Shared,
    Extension(caller): By,
    Path(plural): Path<String>,
    written: Written,
) -> Result<Response, Refused> {
    list_or_watch(&control, caller, kind(&plural)?, None, Options::of_list(written)?)
}

/// Objects of a kind in a namespace; with `watch`, one WatchEvent a line.
#[utoipa::path(
    get, path = "/api/v1alpha1/namespaces/{namespace}/{plural}", tag = "objects",
    params(
        ("namespace" = String, Path, description = "The namespace"),
        ("plural" = String, Path, description = "The kind"),
        ("watch" = Option<bool>, Query, description = "Follow"),
        ("resourceVersion" = Option<String>, Query, description = "With watch: only changes after this state"),
    ),
    responses(
        (status = 200, description = "The objects; with watch, one WatchEvent a line", content(
            (api::rest::List = "application/json"),
            (api::rest::WatchEvent = "application/x-ndjson"),
        )),
        (status = 404, description = "No such kind", body = api::rest::Problem),
        (status = 410, description = "The changes since then are no longer kept", body = api::rest::Problem),
    )
)]
pub(super) async fn list_in(
    State(control): Shared,
    Extension(caller): By,
    Path((namespace, plural)): Path<(String, String)>,
    written: Written,
) -> Result<Response, Refused> {
    list_or_watch(&control, caller, kind(&plural)?, Some(namespace), Options::of_list(written)?)
}

fn list_or_watch(
    control: &Arc<Control>,
    caller: Caller,
    kind: Kind,
    namespace: Option<String>,
    options: Options,
) -> Result<Response, Refused> {
    if options.watch {
        return watch::start(control, kind, namespace, options.resource_version.as_deref(), caller);
    }
    let view = control.ledger().view();
    let (revision, mut stored) = (view.revision(), view.list(kind, namespace.as_deref()));
    drop(view);
    stored.retain(|stored| caller.may(Role::Viewer, &stored.object.key().namespace));
    let (items, _) = present_all(control, &stored);
    Ok(Json(List { resource_version: revision.to_string(), items }).into_response())
}

/// One object with its status.
#[utoipa::path(
    get, path = "/api/v1alpha1/namespaces/{namespace}/{plural}/{name}", tag = "objects",
    params(
        ("namespace" = String, Path, description = "The namespace"),
        ("plural" = String, Path, description = "The kind"),
        ("name" = String, Path, description = "The name"),
    ),
    responses(
        (status = 200, description = "The object", body = AnyObject),
        (status = 404, description = "Not found", body = api::rest::Problem),
    )
)]
pub(super) async fn read(
    State(control): Shared,
    Path((namespace, plural, name)): Path<(String, String, String)>,
) -> Result<Json<Object>, Refused> {
    let key = Key::new(kind(&plural)?, namespace, name);
    let stored = control.ledger().view().get(&key).cloned();
    let object = match stored {
        Some(stored) => present(&control, &stored),
        None => {
            let provided = control.hub().provided(&key);
            provided.ok_or(crate::ledger::Rejection::NotFound(key))?
        }
    };
    Ok(Json(object))
}

/// Creates an object in the namespace it names.
#[utoipa::path(
    post, path = "/api/v1alpha1/{plural}", tag = "objects",
    params(("plural" = String, Path, description = "The kind")),
    request_body = AnyObject,
    responses(
        (status = 201, description = "Created", body = AnyObject),
        (status = 409, description = "Exists already", body = api::rest::Problem),
        (status = 422, description = "Not valid; nothing was written", body = api::rest::Problem),
    )
)]
pub(super) async fn create(
    State(control): Shared,
    Extension(caller): By,
    Path(plural): Path<String>,
    body: Bytes,
) -> Result<Response, Refused> {
    let value = json_body(&body)?;
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str);
    let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE).to_owned();
    create_object(&control, &caller, kind(&plural)?, &namespace, value).await
}

/// Creates an object.
#[utoipa::path(
    post, path = "/api/v1alpha1/namespaces/{namespace}/{plural}", tag = "objects",
    params(
        ("namespace" = String, Path, description = "The namespace"),
        ("plural" = String, Path, description = "The kind"),
    ),
    request_body = AnyObject,
    responses(
        (status = 201, description = "Created", body = AnyObject),
        (status = 409, description = "Exists already", body = api::rest::Problem),
        (status = 422, description = "Not valid; nothing was written", body = api::rest::Problem),
    )
)]
pub(super) async fn create_in(
    State(control): Shared,
    Extension(caller): By,
    Path((namespace, plural)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refused> {
    create_object(&control, &caller, kind(&plural)?, &namespace, json_body(&body)?).await
}

async fn create_object(
    control: &Control,
    caller: &Caller,
    kind: Kind,
    namespace: &str,
    value: Value,
) -> Result<Response, Refused> {
    let object = object_for(kind, namespace, None, value)?;
    let done = put(control, caller, object, Precondition::Absent).await?;
    Ok((StatusCode::CREATED, Json(only(control, &done)?)).into_response())
}

/// Writes an object whole: creates it, or replaces it if its resourceVersion, where given, is the current one.
#[utoipa::path(
    put, path = "/api/v1alpha1/namespaces/{namespace}/{plural}/{name}", tag = "objects",
    params(
        ("namespace" = String, Path, description = "The namespace"),
        ("plural" = String, Path, description = "The kind"),
        ("name" = String, Path, description = "The name"),
    ),
    request_body = AnyObject,
    responses(
        (status = 200, description = "Written", body = AnyObject),
        (status = 409, description = "Changed meanwhile", body = api::rest::Problem),
        (status = 422, description = "Not valid; nothing was written", body = api::rest::Problem),
    )
)]
pub(super) async fn replace(
    State(control): Shared,
    Extension(caller): By,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    body: Bytes,
) -> Result<Json<Object>, Refused> {
    let object = object_for(kind(&plural)?, &namespace, Some(&name), json_body(&body)?)?;
    let done = put(&control, &caller, object, Precondition::None).await?;
    Ok(Json(only(&control, &done)?))
}

async fn put(
    control: &Control,
    caller: &Caller,
    object: Object,
    precondition: Precondition,
) -> Result<Done, Refused> {
    let edits = vec![Edit::Put { object: Box::new(object), precondition }];
    access::write(control, caller, edits, false).await
}

/// Changes some fields (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1alpha1/namespaces/{namespace}/{plural}/{name}", tag = "objects",
    params(
        ("namespace" = String, Path, description = "The namespace"),
        ("plural" = String, Path, description = "The kind"),
        ("name" = String, Path, description = "The name"),
    ),
    request_body(content = Object, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "Written", body = AnyObject),
        (status = 404, description = "Not found", body = api::rest::Problem),
        (status = 409, description = "Changed meanwhile", body = api::rest::Problem),
        (status = 422, description = "Not valid; nothing was written", body = api::rest::Problem),
    )
)]
pub(super) async fn change(
    State(control): Shared,
    Extension(caller): By,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    body: Bytes,
) -> Result<Json<Object>, Refused> {
    let key = Key::new(kind(&plural)?, namespace, name);
    let edits = vec![Edit::Patch { key, patch: json_body(&body)? }];
    let done = access::write(&control, &caller, edits, false).await?;
    Ok(Json(only(&control, &done)?))
}

/// Deletes an object.
#[utoipa::path(
    delete, path = "/api/v1alpha1/namespaces/{namespace}/{plural}/{name}", tag = "objects",
    params(
        ("namespace" = String, Path, description = "The namespace"),
        ("plural" = String, Path, description = "The kind"),
        ("name" = String, Path, description = "The name"),
        ("resourceVersion" = Option<String>, Query, description = "Only if it is the current one"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "Not found", body = api::rest::Problem),
        (status = 409, description = "Changed meanwhile", body = api::rest::Problem),
        (status = 422, description = "Others need it", body = api::rest::Problem),
    )
)]
pub(super) async fn delete(
    State(control): Shared,
    Extension(caller): By,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    written: Written,
) -> Result<StatusCode, Refused> {
    let key = Key::new(kind(&plural)?, namespace, name);
    let revision = Options::read(written, "resourceVersion")?.resource_version;
    let edits = vec![Edit::Delete { key, revision, precondition: Precondition::Present }];
    access::write(&control, &caller, edits, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The one object of a transaction of one edit.
fn only(control: &Control, done: &Done) -> Result<Object, Refused> {
    let stored =
        done.objects.first().ok_or_else(|| Refused::new(500, "nothing was written", ""))?;
    Ok(present(control, stored))
}

/// Reads an object sent to a path: what the path says need not be said again, and must not be contradicted.
fn object_for(
    kind: Kind,
    namespace: &str,
    name: Option<&str>,
    mut value: Value,
) -> Result<Object, Refused> {
    let wrong = |field: &str, value: String, remedy: String| {
        Refused::invalid(vec![Finding::unread(lanes::Problem::new(field, value, remedy))])
    };
    let mut says = |field: &str, wanted: &str| -> Result<(), Refused> {
        let pointer = format!("/metadata/{field}");
        let written = value.pointer(&pointer).cloned();
        match written {
            Some(Value::String(text)) if text == wanted => Ok(()),
            None => {
                if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
                    metadata.insert(field.to_owned(), json!(wanted));
                }
                Ok(())
            }
            Some(other) => {
                let remedy = format!("write `{wanted}`, as in the path");
                let shown = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
                Err(wrong(&format!("metadata.{field}"), shown, remedy))
            }
        }
    };
    says("namespace", namespace)?;
    if let Some(name) = name {
        says("name", name)?;
    }
    let object = Object::from_value(value)
        .map_err(|problem| Refused::invalid(vec![Finding::unread(problem)]))?;
    if object.kind() != kind {
        let remedy = format!("write `{kind}`, as in the path");
        return Err(wrong("kind", object.kind().to_string(), remedy));
    }
    Ok(object)
}
