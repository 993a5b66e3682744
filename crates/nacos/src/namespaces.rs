//! Namespaces by their id or their name: what people write is a name, what is asked for is an id.

use hyper::{Method, StatusCode};
use serde::Deserialize;

use crate::{
    Error, Server, Settings,
    http::{self, Question, is_unknown},
    settings::PUBLIC,
};

/// Where servers tell their namespaces: those since 2.2, then those before.
const PATHS: [&str; 2] = ["/nacos/v2/console/namespace/list", "/nacos/v1/console/namespaces"];

#[derive(Debug, Deserialize)]
struct Answer {
    data: Vec<Namespace>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Namespace {
    /// Empty is `public`.
    namespace: String,
    #[serde(default)]
    namespace_show_name: Option<String>,
}

/// The id of the namespace that is meant, which `known` remembers. A server that does not tell its namespaces, or not to
/// us, is believed to have it: what is written is its id then, unless that is known. One that is in trouble says nothing.
pub(crate) async fn id(
    server: &Server,
    settings: &Settings,
    token: Option<&str>,
    known: &mut Option<String>,
) -> Result<String, Error> {
    let asked = settings.namespace.trim();
    if asked.is_empty() || asked == PUBLIC {
        return Ok(PUBLIC.to_owned());
    }
    let mut trouble = None;
    for path in PATHS {
        let question = Question { method: &Method::GET, path, form: "", token };
        let (status, body) = http::ask(server, settings, question).await?;
        let what = format!("GET {path}");
        match (status, serde_json::from_slice(&body)) {
            (StatusCode::OK, Ok(Answer { data })) => {
                let id = among(asked, &data)?;
                *known = Some(id.clone());
                return Ok(id);
            }
            (StatusCode::OK, Err(error)) => {
                let reason = error.to_string();
                trouble = Some(Error::NotUnderstood { what, reason });
            }
            (StatusCode::FORBIDDEN, _) => {}
            (status, _) if is_unknown(status) => {}
            (status, _) => {
                let said = status.canonical_reason().unwrap_or_default().to_owned();
                trouble = Some(Error::Refused { what, said, code: status.as_u16().into() });
            }
        }
    }
    match trouble {
        Some(error) => Err(error),
        None => Ok(known.clone().unwrap_or_else(|| asked.to_owned())),
    }
}

fn among(asked: &str, there: &[Namespace]) -> Result<String, Error> {
    let by_id = there.iter().find(|it| it.namespace == asked);
    let mut by_name = there.iter().filter(|it| it.namespace_show_name.as_deref() == Some(asked));
    match by_id.or_else(|| by_name.next()) {
        Some(it) if it.namespace.is_empty() => Ok(PUBLIC.to_owned()),
        Some(it) => Ok(it.namespace.clone()),
        None => Err(Error::NoNamespace {
            asked: asked.to_owned(),
            there: there.iter().map(shown).collect(),
        }),
    }
}

fn shown(it: &Namespace) -> String {
    let name = it.namespace_show_name.as_deref().unwrap_or_default();
    match (name, it.namespace.as_str()) {
        ("", "") => PUBLIC.to_owned(),
        (name, id) if id.is_empty() || id == name => name.to_owned(),
        ("", id) => id.to_owned(),
        (name, id) => format!("{name} ({id})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_meant_by_its_id_or_by_its_name() {
        let answer: Answer = serde_json::from_str(
            r#"{"code":0,"data":[{"namespace":"","namespaceShowName":"public","quota":200,"type":0},
                {"namespace":"7f3a","namespaceShowName":"dev","quota":200,"type":2},
                {"namespace":"prod","namespaceShowName":"prod"}]}"#,
        )
        .unwrap();
        let id = |asked| among(asked, &answer.data);
        assert_eq!(id("7f3a").unwrap(), "7f3a");
        assert_eq!(id("dev").unwrap(), "7f3a");
        assert_eq!(id("prod").unwrap(), "prod");
        assert_eq!(
            id("test").unwrap_err().to_string(),
            "there is no namespace `test`; the server has public, dev (7f3a), prod"
        );
    }
}
