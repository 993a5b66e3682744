//! Filters: checks them when a table is compiled, and writes the paths and locations they ask for.

use lanes::{Problem, Request, is_token};

use crate::{
    host::check_hostname,
    path::check_path,
    spec::{FilterSpec, HeaderEdits, PathRewrite, RedirectSpec, RewriteSpec},
};

/// The filters of a rule or a backend, sorted out.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    pub(crate) request_headers: Option<HeaderEdits>,
    pub(crate) response_headers: Option<HeaderEdits>,
    pub(crate) redirect: Option<RedirectSpec>,
    pub(crate) rewrite: Option<RewriteSpec>,
}

/// Request fields no filter may touch, and why.
const REQUEST_FIELDS_RESERVED: &[(&str, &str)] = &[
    ("host", "use a URLRewrite filter with `hostname`"),
    ("baggage", "the lane context travels in it; leave it alone"),
    ("grpc-timeout", "leave it to callers: instances are told what is left of how long those wait"),
];

/// Fields that frame the message or belong to one connection; the proxy alone writes them.
const FRAMING_FIELDS: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Sorts out `filters`; each problem's field begins with `filters[N]`. `prefix_matched`: whether exactly one
/// path prefix leads here, without which no prefix can be replaced.
pub(crate) fn compile_filters(
    filters: &[FilterSpec],
    prefix_matched: bool,
    problems: &mut Vec<Problem>,
) -> Filters {
    let mut compiled = Filters::default();
    let mut seen = [false; 4];
    for (index, filter) in filters.iter().enumerate() {
        let (kind, name) = match filter {
            FilterSpec::RequestHeaders(_) => (0, "requestHeaderModifier"),
            FilterSpec::ResponseHeaders(_) => (1, "responseHeaderModifier"),
            FilterSpec::Redirect(_) => (2, "requestRedirect"),
            FilterSpec::Rewrite(_) => (3, "urlRewrite"),
        };
        let at = format!("filters[{index}].{name}");
        if std::mem::replace(&mut seen[kind], true) {
            problems.push(Problem::new(
                &at,
                name,
                "use each kind of filter once, and merge the two",
            ));
            continue;
        }
        match filter {
            FilterSpec::RequestHeaders(edits) => {
                check_edits(edits, REQUEST_FIELDS_RESERVED, &at, problems);
                compiled.request_headers = Some(edits.clone());
            }
            FilterSpec::ResponseHeaders(edits) => {
                check_edits(edits, &[], &at, problems);
                compiled.response_headers = Some(edits.clone());
            }
            FilterSpec::Redirect(redirect) => {
                check_redirect(redirect, prefix_matched, &at, problems);
                compiled.redirect = Some(redirect.clone());
            }
            FilterSpec::Rewrite(rewrite) => {
                check_target(
                    rewrite.hostname.as_deref(),
                    rewrite.path.as_ref(),
                    prefix_matched,
                    &at,
                    problems,
                );
                compiled.rewrite = Some(rewrite.clone());
            }
        }
    }
    if compiled.redirect.is_some() && compiled.rewrite.is_some() {
        problems.push(Problem::new(
            "filters",
            "urlRewrite",
            "a rule either redirects or rewrites; remove one of the two",
        ));
    }
    compiled
}

fn check_edits(
    edits: &HeaderEdits,
    reserved: &[(&str, &str)],
    at: &str,
    problems: &mut Vec<Problem>,
) {
    let fields = edits
        .set
        .iter()
        .enumerate()
        .map(|(index, (name, value))| ("set", index, name, Some(value)));
    let fields = fields.chain(
        edits
            .add
            .iter()
            .enumerate()
            .map(|(index, (name, value))| ("add", index, name, Some(value))),
    );
    let fields = fields
        .chain(edits.remove.iter().enumerate().map(|(index, name)| ("remove", index, name, None)));
    let mut names: Vec<String> = Vec::new();
    for (action, index, name, value) in fields {
        let suffix = if value.is_some() { ".name" } else { "" };
        let field = format!("{at}.{action}[{index}]{suffix}");
        let lower = name.to_ascii_lowercase();
        if !is_token(name) {
            problems.push(Problem::new(
                field,
                name,
                "use a header name: letters, digits and !#$%&'*+-.^_`|~",
            ));
        } else if FRAMING_FIELDS.contains(&lower.as_str()) {
            problems.push(Problem::new(
                field,
                name,
                "remove it: this field belongs to the connection, not to the message",
            ));
        } else if let Some((_, remedy)) = reserved.iter().find(|(reserved, _)| *reserved == lower) {
            problems.push(Problem::new(field, name, *remedy));
        } else if names.contains(&lower) {
            problems.push(Problem::new(field, name, "use one action per header name"));
        }
        if let Some(value) = value
            && !is_field_value(value)
        {
            problems.push(Problem::new(
                format!("{at}.{action}[{index}].value"),
                value,
                "use a value without control characters and without white space around it",
            ));
        }
        names.push(lower);
    }
}

fn check_redirect(
    redirect: &RedirectSpec,
    prefix_matched: bool,
    at: &str,
    problems: &mut Vec<Problem>,
) {
    if let Some(scheme) = &redirect.scheme
        && !["http", "https"].contains(&scheme.as_str())
    {
        problems.push(Problem::new(format!("{at}.scheme"), scheme, "use http or https"));
    }
    if redirect.port == Some(0) {
        problems.push(Problem::new(
            format!("{at}.port"),
            "0",
            "use a port from 1 to 65535, or leave it out",
        ));
    }
    if ![301, 302, 303, 307, 308].contains(&redirect.status) {
        problems.push(Problem::new(
            format!("{at}.statusCode"),
            redirect.status.to_string(),
            "use 301, 302, 303, 307 or 308",
        ));
    }
    check_target(
        redirect.hostname.as_deref(),
        redirect.path.as_ref(),
        prefix_matched,
        at,
        problems,
    );
}

fn check_target(
    hostname: Option<&str>,
    path: Option<&PathRewrite>,
    prefix_matched: bool,
    at: &str,
    problems: &mut Vec<Problem>,
) {
    if let Some(hostname) = hostname
        && let Err(remedy) = check_hostname(hostname)
    {
        problems.push(Problem::new(format!("{at}.hostname"), hostname, remedy));
    }
    match path {
        None => {}
        Some(PathRewrite::Full(path)) => {
            if let Err(remedy) = check_path(path) {
                problems.push(Problem::new(format!("{at}.path.replaceFullPath"), path, remedy));
            }
        }
        Some(PathRewrite::Prefix(path)) => {
            let field = format!("{at}.path.replacePrefixMatch");
            if !path.is_empty()
                && let Err(remedy) = check_path(path)
            {
                problems.push(Problem::new(&field, path, remedy));
            }
            if !prefix_matched {
                problems.push(Problem::new(
                    field,
                    path,
                    "give the rule exactly one match, with a path of type PathPrefix",
                ));
            }
        }
    }
}

fn is_field_value(text: &str) -> bool {
    text.trim() == text && text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

impl RewriteSpec {
    /// Appends the path to send (no query). `matched_bytes` is from [`crate::Found::Rule`].
    pub fn write_path(&self, path: &str, matched_bytes: usize, out: &mut Vec<u8>) {
        write_rewritten(self.path.as_ref(), path, matched_bytes, out);
    }
}

impl RedirectSpec {
    /// Appends the `Location` value. `scheme` and `port` are those of the listener.
    ///
    /// The port is the filter's, else the well-known one of the filter's scheme, else the listener's; 80 is
    /// left out after http and 443 after https. The query is kept.
    pub fn write_location(
        &self,
        scheme: &str,
        port: u16,
        request: &impl Request,
        matched_bytes: usize,
        out: &mut Vec<u8>,
    ) {
        let location_scheme = self.scheme.as_deref().unwrap_or(scheme);
        let well_known = |scheme: &str| match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let of_scheme = self.scheme.as_deref().and_then(well_known);
        let location_port = self.port.or(of_scheme).unwrap_or(port);
        out.extend_from_slice(location_scheme.as_bytes());
        out.extend_from_slice(b"://");
        out.extend_from_slice(self.hostname.as_deref().unwrap_or(request.host()).as_bytes());
        if well_known(location_scheme) != Some(location_port) {
            out.push(b':');
            write_decimal(location_port, out);
        }
        write_rewritten(self.path.as_ref(), request.path(), matched_bytes, out);
        if !request.query().is_empty() {
            out.push(b'?');
            out.extend_from_slice(request.query().as_bytes());
        }
    }
}

fn write_rewritten(
    rewrite: Option<&PathRewrite>,
    path: &str,
    matched_bytes: usize,
    out: &mut Vec<u8>,
) {
    match rewrite {
        None => out.extend_from_slice(path.as_bytes()),
        Some(PathRewrite::Full(full)) => out.extend_from_slice(full.as_bytes()),
        Some(PathRewrite::Prefix(prefix)) => {
            // Both sides are by segment: a trailing slash of the replacement is that of the rest, if any.
            let start = out.len();
            out.extend_from_slice(prefix.trim_end_matches('/').as_bytes());
            out.extend_from_slice(path.as_bytes().get(matched_bytes..).unwrap_or_default());
            if out.len() == start {
                out.push(b'/');
            }
        }
    }
}

fn write_decimal(number: u16, out: &mut Vec<u8>) {
    let digits =
        [10_000, 1000, 100, 10, 1].map(|unit| b'0' + u8::try_from(number / unit % 10).unwrap_or(0));
    let leading_zeros = digits.iter().take(4).take_while(|digit| **digit == b'0').count();
    out.extend_from_slice(&digits[leading_zeros..]);
}

#[cfg(test)]
mod tests;
