//! The console: what was built of `console/` into this binary, served on the API's address.
//!
//! It is the same for everybody and holds nothing: what a reader may see and change is the API's to say. Its policy
//! lets no script and no style in that is not a file of this process.

use api::rest::PREFIX;
use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

/// A file as it was built.
#[derive(Debug)]
struct File {
    path: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
}

/// Every file of the console; none where it was not built.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// The page that all addresses of the console are.
const PAGE: &str = "/index.html";

/// Files here are named by what is in them.
const ASSETS: &str = "/assets/";

/// What the process answers beside the console and the API.
const OTHERS: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/log-level"];

/// A page of the console, and what the process answers programs about itself.
const STATUS: &str = "/status";

const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What is said where the console was not built in.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Laneway</title>\
    <h1>Laneway</h1><p>This binary was built without the console. Build it with <code>cargo xtask console</code>, then \
    build the binary again; it needs Node.</p><p>The same is told and changed by <code>laneway</code> on the command line: \
    <code>laneway status</code>, <code>laneway get lanes</code>.</p></html>\n";

/// Puts the console before what a router answers.
pub(crate) fn before(router: Router) -> Router {
    router.layer(middleware::from_fn(answer))
}

async fn answer(request: Request, next: Next) -> Response {
    if !is_asked_for(request.method(), request.uri().path(), request.headers()) {
        return next.run(request).await;
    }
    let mut response = file(request.uri().path(), request.headers());
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether the console answers this: what is nobody else's, and the page that shares its address when a page is asked
/// for.
pub(crate) fn is_asked_for(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let is_api = path == "/api" || path.starts_with("/api/") || path.starts_with(PREFIX);
    if ![Method::GET, Method::HEAD].contains(method) || is_api || OTHERS.contains(&path) {
        return false;
    }
    if path == STATUS || (FILES.is_empty() && path != "/") {
        return wants_page(headers);
    }
    true
}

/// Browsers that open a page say so; programs do not.
fn wants_page(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| value.to_str().is_ok_and(|text| text.contains("text/html")))
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    let of = |path: &str| FILES.iter().find(|file| file.path == path);
    let Some(page) = of(PAGE) else {
        let kind = [(header::CONTENT_TYPE, kind(PAGE)), (header::CACHE_CONTROL, "no-cache")];
        return (kind, NOT_BUILT).into_response();
    };
    let found = match of(path) {
        Some(file) => file,
        None if path.starts_with(ASSETS) => return StatusCode::NOT_FOUND.into_response(),
        None => page,
    };
    let caching = if found.path.starts_with(ASSETS) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let common = [
        (header::CONTENT_TYPE, kind(found.path)),
        (header::CACHE_CONTROL, caching),
        (header::VARY, "accept, accept-encoding"),
    ];
    match found.gzip.filter(|_| takes_gzip(headers)) {
        Some(gzip) => (common, [(header::CONTENT_ENCODING, "gzip")], gzip).into_response(),
        None => (common, found.plain).into_response(),
    }
}

/// Whether the reader takes gzip: it names it, and not with `q=0`.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let written = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings =
        written.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse::<f32>().ok());
        is_gzip && weight != Some(0.0)
    })
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
