//! Filters of an `HTTPRoute`: the field that `type` names, and no other.

use lanes::{Fault, Problem};
use routes::spec::{FilterSpec, HeaderEdits, PathRewrite, RedirectSpec, RewriteSpec};

use crate::resource::{
    HeaderField, HeaderModifier, PathModifier, PathModifierType, RouteFilter, RouteFilterType,
};

/// The filters; what is wrong with one goes to `problems`.
pub(super) fn specs(written: &[RouteFilter], problems: &mut Vec<Problem>) -> Vec<FilterSpec> {
    let mut specs = Vec::new();
    for (index, filter) in written.iter().enumerate() {
        match filter_spec(filter) {
            Ok(spec) => specs.push(spec),
            Err(problem) => problems.push(problem.under(&format!("filters[{index}]"))),
        }
    }
    specs
}

fn filter_spec(written: &RouteFilter) -> Result<FilterSpec, Problem> {
    let present = [
        ("requestHeaderModifier", written.request_header_modifier.is_some()),
        ("responseHeaderModifier", written.response_header_modifier.is_some()),
        ("requestRedirect", written.request_redirect.is_some()),
        ("urlRewrite", written.url_rewrite.is_some()),
    ];
    let (own, spec) = match written.kind {
        RouteFilterType::RequestHeaderModifier => (
            "requestHeaderModifier",
            written
                .request_header_modifier
                .as_ref()
                .map(|edits| FilterSpec::RequestHeaders(header_edits(edits))),
        ),
        RouteFilterType::ResponseHeaderModifier => (
            "responseHeaderModifier",
            written
                .response_header_modifier
                .as_ref()
                .map(|edits| FilterSpec::ResponseHeaders(header_edits(edits))),
        ),
        RouteFilterType::RequestRedirect => ("requestRedirect", redirect(written)?),
        RouteFilterType::UrlRewrite => ("urlRewrite", rewrite(written)?),
    };
    if let Some((other, _)) = present.into_iter().find(|(name, present)| *present && *name != own) {
        return Err(Problem::new(other, "", format!("remove it: type names {own}")));
    }
    spec.ok_or_else(|| {
        Problem::new(own, "", "is missing: write what type names").of(Fault::Missing)
    })
}

fn redirect(written: &RouteFilter) -> Result<Option<FilterSpec>, Problem> {
    let Some(redirect) = &written.request_redirect else { return Ok(None) };
    Ok(Some(FilterSpec::Redirect(RedirectSpec {
        scheme: redirect.scheme.clone(),
        hostname: redirect.hostname.clone(),
        path: path(redirect.path.as_ref())
            .map_err(|problem| problem.under("requestRedirect.path"))?,
        port: redirect.port,
        status: redirect.status_code,
    })))
}

fn rewrite(written: &RouteFilter) -> Result<Option<FilterSpec>, Problem> {
    let Some(rewrite) = &written.url_rewrite else { return Ok(None) };
    Ok(Some(FilterSpec::Rewrite(RewriteSpec {
        hostname: rewrite.hostname.clone(),
        path: path(rewrite.path.as_ref()).map_err(|problem| problem.under("urlRewrite.path"))?,
    })))
}

fn path(written: Option<&PathModifier>) -> Result<Option<PathRewrite>, Problem> {
    let Some(written) = written else { return Ok(None) };
    let (own, wanted, other, unwanted) = match written.kind {
        PathModifierType::ReplaceFullPath => (
            "replaceFullPath",
            written.replace_full_path.clone().map(PathRewrite::Full),
            "replacePrefixMatch",
            &written.replace_prefix_match,
        ),
        PathModifierType::ReplacePrefixMatch => (
            "replacePrefixMatch",
            written.replace_prefix_match.clone().map(PathRewrite::Prefix),
            "replaceFullPath",
            &written.replace_full_path,
        ),
    };
    if let Some(value) = unwanted {
        return Err(Problem::new(other, value, format!("remove it: type names {own}")));
    }
    match wanted {
        Some(rewrite) => Ok(Some(rewrite)),
        None => Err(Problem::new(own, "", "is missing: write what type names").of(Fault::Missing)),
    }
}

fn header_edits(written: &HeaderModifier) -> HeaderEdits {
    let fields = |fields: &[HeaderField]| {
        fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
    };
    HeaderEdits {
        set: fields(&written.set),
        add: fields(&written.add),
        remove: written.remove.clone(),
    }
}
