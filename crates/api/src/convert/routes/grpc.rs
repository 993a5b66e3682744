//! What a `GRPCRoute` asks of requests: calls are `POST /service/method`, so that its rules stand in the same table as those
//! of others.

use lanes::{Fault, Problem};
use routes::{
    check_expression,
    spec::{MatchSpec, PathSpec},
};

use super::named;
use crate::resource::{GrpcMethodMatch, GrpcRouteMatch, MatchType, RouteFilter, RouteFilterType};

/// Any one segment of a path.
const ANY_SEGMENT: &str = "[^/]+";

/// Characters of a service and a method together: both are one path, and a path has 1 024 at most.
const NAMES_LENGTH_MAX: usize = 1022;

/// The matches; what is wrong with one goes to `problems`. None at all is every call.
pub(super) fn matches(written: &[GrpcRouteMatch], problems: &mut Vec<Problem>) -> Vec<MatchSpec> {
    let everything = [GrpcRouteMatch::default()];
    let written = if written.is_empty() { &everything } else { written };
    let mut specs = Vec::new();
    for (index, written) in written.iter().enumerate() {
        match path(written.method.as_ref()) {
            Ok(path) => specs.push(MatchSpec {
                path,
                method: Some("POST".to_owned()),
                headers: written.headers.iter().map(named).collect(),
                query: Vec::new(),
            }),
            Err(problem) => problems.push(problem.under(&format!("matches[{index}].method"))),
        }
    }
    specs
}

/// Refuses what no call can be answered with.
pub(super) fn check_filters(filters: &[RouteFilter], problems: &mut Vec<Problem>) {
    for (index, filter) in filters.iter().enumerate() {
        let name = match filter.kind {
            RouteFilterType::RequestHeaderModifier | RouteFilterType::ResponseHeaderModifier => {
                continue;
            }
            RouteFilterType::RequestRedirect => "RequestRedirect",
            RouteFilterType::UrlRewrite => "URLRewrite",
        };
        let remedy =
            "use RequestHeaderModifier or ResponseHeaderModifier: a GRPCRoute has no other filters";
        problems.push(Problem::new(format!("filters[{index}].type"), name, remedy));
    }
}

/// The expressions for names that a match has: the field of each, what is written, and which paths it leaves to calls.
pub(crate) fn expressions(
    written: &GrpcRouteMatch,
) -> impl Iterator<Item = (&'static str, &str, String)> {
    let method = written.method.iter().filter(|it| it.kind == MatchType::RegularExpression);
    method.flat_map(|it| {
        let service = it.service.as_deref();
        let service = service.map(|it| ("service", it, expression(Some(it), None)));
        let method = it.method.as_deref().map(|it| ("method", it, expression(None, Some(it))));
        service.into_iter().chain(method)
    })
}

/// The paths of a service and a method that are written as expressions.
fn expression(service: Option<&str>, method: Option<&str>) -> String {
    let part = |part: Option<&str>| {
        part.map_or(ANY_SEGMENT.to_owned(), |expression| format!("(?:{expression})"))
    };
    format!("/{}/{}", part(service), part(method))
}

fn path(written: Option<&GrpcMethodMatch>) -> Result<PathSpec, Problem> {
    let Some(written) = written else { return Ok(PathSpec::Prefix("/".to_owned())) };
    let (service, method) = (written.service.as_deref(), written.method.as_deref());
    if service.is_none() && method.is_none() {
        let remedy = "write service, method, or both; leave all of it out to match every call";
        return Err(Problem::new("", "", remedy).of(Fault::Missing));
    }
    let both = [("service", service), ("method", method)];
    for (field, value) in both.into_iter().filter_map(|(field, it)| Some((field, it?))) {
        match written.kind {
            MatchType::Exact => check_name(field, value)?,
            MatchType::RegularExpression => {
                check_expression(value)
                    .map_err(|problem| Problem { field: field.into(), ..problem })?;
            }
        }
    }
    let length = both.into_iter().filter_map(|(_, it)| it).map(str::len).sum::<usize>();
    if length > NAMES_LENGTH_MAX {
        let remedy =
            format!("use at most {NAMES_LENGTH_MAX} characters for service and method together");
        return Err(Problem::new("", format!("{length} characters"), remedy));
    }
    Ok(match (written.kind, service, method) {
        (MatchType::Exact, Some(service), Some(method)) => {
            PathSpec::Exact(format!("/{service}/{method}"))
        }
        (MatchType::Exact, Some(service), None) => PathSpec::Prefix(format!("/{service}")),
        (MatchType::Exact, None, method) => {
            PathSpec::Regex(format!("/{ANY_SEGMENT}/{}", method.unwrap_or_default()))
        }
        (MatchType::RegularExpression, service, method) => {
            let pattern = expression(service, method);
            check_expression(&pattern)
                .map_err(|problem| Problem { field: "".into(), ..problem })?;
            PathSpec::Regex(pattern)
        }
    })
}

/// Names as a file of services can have them: nothing in them means something else in a path, or in an expression but the
/// dot of a package.
fn check_name(field: &str, name: &str) -> Result<(), Problem> {
    let is_part = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && part.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    };
    let is_right = match field {
        "service" => name.split('.').all(is_part),
        _ => is_part(name),
    };
    if is_right {
        return Ok(());
    }
    let remedy = match field {
        "service" => {
            "use the service's name with its package, e.g. shop.v1.Orders: letters, digits, `_` and `.`, or type: RegularExpression"
        }
        _ => {
            "use the method's name alone, e.g. GetOrder: letters, digits and `_`, or type: RegularExpression"
        }
    };
    Err(Problem::new(field, name, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: MatchType, service: Option<&str>, method: Option<&str>) -> String {
        let owned = |it: Option<&str>| it.map(str::to_owned);
        let written = GrpcMethodMatch { kind, service: owned(service), method: owned(method) };
        match path(Some(&written)) {
            Ok(PathSpec::Exact(path)) => format!("exactly {path}"),
            Ok(PathSpec::Prefix(path)) => format!("below {path}"),
            Ok(PathSpec::Regex(path)) => format!("like {path}"),
            Err(problem) => format!("wrong {}", problem.field),
        }
    }

    #[test]
    fn services_and_methods_are_paths() {
        use MatchType::{Exact, RegularExpression};
        let long = "a".repeat(1023);
        for (kind, service, method, expected) in [
            (Exact, Some("shop.v1.Orders"), Some("Get"), "exactly /shop.v1.Orders/Get"),
            (Exact, Some("Orders"), None, "below /Orders"),
            (Exact, None, Some("Get_2"), "like /[^/]+/Get_2"),
            (RegularExpression, Some("shop\\..*"), None, "like /(?:shop\\..*)/[^/]+"),
            (RegularExpression, None, Some("Get|Put"), "like /[^/]+/(?:Get|Put)"),
            (RegularExpression, Some("a|b"), Some("c|d"), "like /(?:a|b)/(?:c|d)"),
            (Exact, None, None, "wrong "),
            (Exact, Some(""), None, "wrong service"),
            (Exact, Some("a/b"), None, "wrong service"),
            (Exact, Some("a..b"), None, "wrong service"),
            (Exact, Some("/a"), Some("b"), "wrong service"),
            (Exact, Some("1a"), Some("b"), "wrong service"),
            (Exact, Some("a%41"), None, "wrong service"),
            (Exact, Some("a"), Some("b.c"), "wrong method"),
            (Exact, Some("a"), Some(""), "wrong method"),
            (Exact, Some("a"), Some("*"), "wrong method"),
            (Exact, Some("Sérvice"), None, "wrong service"),
            (Exact, Some(&long), None, "wrong "),
            (RegularExpression, Some("("), None, "wrong service"),
            (RegularExpression, Some("a"), Some(")|(?:b"), "wrong method"),
            (RegularExpression, Some("a"), Some(""), "wrong method"),
        ] {
            assert_eq!(said(kind, service, method), expected, "{service:?} {method:?}");
        }
    }
}
