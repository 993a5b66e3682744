//! The OpenAPI document, generated from the handlers and the types of `api`, committed as `openapi.json`.

use api::{
    resource::Kind,
    rest::{self, PREFIX, PROBLEM_JSON},
};
use axum::{http::header, response::IntoResponse};
use utoipa::{
    Modify, OpenApi, ToSchema as _,
    openapi::{
        Content, ContentBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder,
        path::{Operation, ParameterIn, PathItem},
        schema::{Schema, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    JSON, actions, audit, authorities, installation, objects, people, promotion, statistics, tap,
    tokens,
};

/// The document as committed: pretty JSON with a final line end.
pub fn openapi() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(super) async fn serve() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Laneway",
        description = "Lane groups, lanes, services, gateways and routes.",
        license(name = "Apache-2.0"),
    ),
    paths(
        objects::list,
        objects::create,
        objects::list_in,
        objects::create_in,
        objects::read,
        objects::replace,
        objects::change,
        objects::delete,
        actions::apply,
        actions::delete,
        actions::check,
        actions::explain,
        actions::status,
        installation::instances,
        installation::services,
        installation::events,
        statistics::series,
        statistics::top,
        statistics::share,
        statistics::compare,
        statistics::calls,
        statistics::verdict,
        tap::tap,
        authorities::list,
        authorities::rotate,
        tokens::create,
        tokens::list,
        tokens::revoke,
        people::sign_in,
        people::sign_out,
        people::session,
        people::password,
        people::users,
        people::create_user,
        people::grant,
        people::reset_password,
        people::delete_user,
        people::api_tokens,
        people::create_api_token,
        people::revoke_api_token,
        promotion::list,
        promotion::read,
        promotion::start,
        promotion::next,
        promotion::abandon,
        audit::list,
        audit::read,
        audit::undo,
    ),
    components(schemas(rest::TapEvent, rest::WatchEvent, rest::List, rest::Problem)),
    modifiers(&Shared)
)]
struct Document;

/// What all endpoints share, and none says by itself: how it is known who asks, and how what is asked is refused before
/// an endpoint looks at it.
struct Shared;

/// The name of the scheme by which it is known who asks.
const TOKEN: &str = "token";

/// What is answered with so many words: a status, and when.
type Answers = &'static [(&'static str, &'static str)];

/// What a namespace in a path looks like.
const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// By every endpoint.
const EVERY: Answers = &[("400", "Bad host, path, query, body or note")];

/// By those that ask who asks.
const KNOWING: Answers = &[
    ("401", "Not known who asks: sign in, or show a token of the API"),
    ("403", "Whoever asks may not"),
];

/// By those that take a body.
const WITH_BODY: Answers =
    &[("413", "More than the API takes at once"), ("415", "The body is not said to be JSON")];

/// By those that speak of a kind in their path.
const OF_KIND: Answers = &[("404", "No such kind, or not found")];

/// By those that write objects.
const WRITING: Answers = &[("422", "Not valid; nothing was written"), ("503", "Cannot be stored")];

/// By those that look into the history of traffic.
const OF_HISTORY: Answers = &[("503", "The history cannot be read")];

impl Modify for Shared {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A token of the API (`laneway api-token create`), or that of the data directory. Pages of the console show \
             the cookie that signing in has set; the control plane's own user on the same machine need show nothing.",
        ));
        if let Some(components) = &mut document.components {
            components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer.build()));
        }
        for (path, item) in &mut document.paths.paths {
            let name = path.strip_prefix(PREFIX).unwrap_or(path).to_owned();
            for (is_write, operation) in operations(item) {
                share(&name, is_write, operation);
            }
        }
    }
}

/// Those of a path, and whether each writes.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let reads = get.iter_mut().map(|operation| (false, operation));
    reads.chain([put, post, delete, patch].into_iter().flatten().map(|operation| (true, operation)))
}

fn share(path: &str, is_write: bool, operation: &mut Operation) {
    let is_of_kind = path.contains("{plural}");
    let mut answers = vec![EVERY];
    if path != "/sign-in" {
        operation.security = Some(vec![SecurityRequirement::new(TOKEN, [""; 0])]);
        answers.push(KNOWING);
    }
    if is_write {
        // Also where there should be none: that it is JSON is looked at first.
        answers.push(WITH_BODY);
    }
    if is_of_kind {
        answers.push(OF_KIND);
    }
    if is_of_kind && is_write {
        answers.push(WRITING);
    }
    if path.starts_with("/statistics/") {
        answers.push(OF_HISTORY);
    }
    for (status, description) in answers.into_iter().flatten() {
        let refusal = || {
            RefOr::T(
                ResponseBuilder::new().description(*description).content(JSON, problem()).build(),
            )
        };
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(refusal);
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            say_problem(response);
        }
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let text = ObjectBuilder::new().schema_type(Type::String);
        let schema = match (parameter.name.as_str(), &parameter.parameter_in) {
            ("plural", _) => text.enum_values(Some(Kind::ALL.map(Kind::plural))),
            ("namespace", ParameterIn::Path) => text.pattern(Some(NAMESPACE)),
            _ => continue,
        };
        parameter.schema = Some(RefOr::T(Schema::Object(schema.build())));
    }
}

fn problem() -> Content {
    let schema = Ref::from_schema_name(rest::Problem::name());
    ContentBuilder::new().schema(Some(schema)).build()
}

/// A problem has a media type of its own.
fn say_problem(response: &mut Response) {
    let is_problem =
        response.content.get(JSON).is_some_and(|content| *content == RefOr::T(problem()));
    if is_problem && let Some(content) = response.content.shift_remove(JSON) {
        response.content.insert(PROBLEM_JSON.to_owned(), content);
    }
}
