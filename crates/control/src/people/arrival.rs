//! What a request shows of whoever asks: a token in its `Authorization`, or a session in a cookie.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, header};

/// Where a request came from, and whom it was for. Whoever lets a request in says so in its extensions.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The address of the other end: that of a proxy where one is between.
    pub address: IpAddr,
    /// The host and port the request was for, in lower case.
    pub authority: Option<String>,
}

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'h> {
    /// A token, which whoever wrote the request put there.
    Bearer(&'h str),
    /// A cookie, which a browser puts there by itself.
    Cookie(&'h str),
}

/// What a request for `authority` shows. A token counts before a cookie.
pub fn shown_by<'h>(headers: &'h HeaderMap, authority: Option<&str>) -> Option<Shown<'h>> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        let bearer = text.split_at_checked("bearer ".len());
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer "));
        // Whoever means to show something and shows nothing good is not taken for whom his cookie names.
        return Some(Shown::Bearer(bearer.map_or("", |(_, token)| token.trim())));
    }
    cookie(headers, &cookie_name(authority)).map(Shown::Cookie)
}

/// Whether a browser that changes something says which page asks; it sends its cookie whoever wrote the page.
pub fn says_which_page_asks(method: &Method, headers: &HeaderMap) -> bool {
    let is_said = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    is_said || [Method::GET, Method::HEAD].contains(method)
}

/// What the browser shows of itself, if somebody signed in there before.
pub(crate) fn device(headers: &HeaderMap, authority: Option<&str>) -> Option<String> {
    cookie(headers, &device_cookie_name(authority)).map(str::to_owned)
}

/// Stands before the name of a cookie that was set over TLS: browsers take one from this very host over TLS alone, so that
/// neither another port nor whoever is on the way puts another in its place.
const OF_HOST: &str = "__Host-";

/// A cookie; the one that was set over TLS where there are both.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = || headers.get_all(header::COOKIE).iter();
    let pairs = || cookies().filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(';'));
    let of = |is_over_tls: bool| {
        pairs().find_map(|pair| {
            let (written, value) = pair.trim().split_once('=')?;
            let written = if is_over_tls { written.strip_prefix(OF_HOST) } else { Some(written) };
            (written == Some(name) && !value.is_empty()).then_some(value)
        })
    };
    of(true).or_else(|| of(false))
}

/// A cookie as a browser is told to keep it: scripts do not see it, and no other site's page has it sent.
pub(crate) fn kept_cookie(name: &str, value: &str, seconds: u64, is_over_tls: bool) -> String {
    let (before, after) = if is_over_tls { (OF_HOST, "; Secure") } else { ("", "") };
    format!("{before}{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{after}")
}

/// A cookie as a browser is told to forget it, whichever way it was set.
pub fn forgotten_cookie(name: &str) -> [String; 2] {
    [false, true].map(|is_over_tls| kept_cookie(name, "", 0, is_over_tls))
}

/// The name of the cookie by which a browser is known to be a user's.
pub(crate) fn device_cookie_name(authority: Option<&str>) -> String {
    cookie_name(authority).replace("session", "device")
}

/// The name of the cookie with a session. Cookies are of a host and not of a port: that of another control plane on the
/// same host has another name.
pub fn cookie_name(authority: Option<&str>) -> String {
    let port = authority.and_then(|it| it.rsplit_once(':')).map(|(_, port)| port);
    match port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(port) => format!("laneway_session_{port}"),
        None => "laneway_session".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_before_a_cookie_and_a_cookie_is_one_of_this_port() {
        let shown = |fields: &[(header::HeaderName, &str)], authority: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, value.parse().unwrap());
            }
            format!("{:?}", shown_by(&headers, Some(authority)))
        };
        let cookie = (header::COOKIE, "a=b; laneway_session_7600=s1; laneway_session=s2");
        let bearer = (header::AUTHORIZATION, "bEaReR  t ");
        assert_eq!(shown(std::slice::from_ref(&cookie), "localhost:7600"), "Some(Cookie(\"s1\"))");
        assert_eq!(shown(std::slice::from_ref(&cookie), "laneway.example"), "Some(Cookie(\"s2\"))");
        assert_eq!(shown(std::slice::from_ref(&cookie), "localhost:7700"), "None");
        assert_eq!(shown(&[cookie.clone(), bearer], "localhost:7600"), "Some(Bearer(\"t\"))");
        let basic = (header::AUTHORIZATION, "Basic dDp0");
        assert_eq!(shown(&[cookie, basic], "localhost:7600"), "Some(Bearer(\"\"))");
        assert_eq!(shown(&[], "localhost:7600"), "None");
        // What another port of the host has set does not stand for what was set over TLS.
        let both =
            "laneway_session=tossed; __Host-laneway_session=s3; __Host-laneway_session_7600=";
        let both = (header::COOKIE, both);
        assert_eq!(shown(std::slice::from_ref(&both), "laneway.example"), "Some(Cookie(\"s3\"))");
        assert_eq!(shown(&[both], "localhost:7600"), "None");
        assert_eq!(cookie_name(Some("[::1]")), "laneway_session");
    }
}
