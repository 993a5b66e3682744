//! Cookies that a gateway issues to browsers that have no key of their own, so that a draw is made once for each of them
//! (semantics §5).

use std::{fmt::Write as _, net::IpAddr, sync::Arc};

use crate::{Problem, Request, is_token};

/// Seconds that browsers keep a cookie at most: 400 days (RFC 6265bis).
pub const MAX_AGE_SECONDS_MAX: u32 = 400 * 24 * 60 * 60;

/// What is right for `maxAge`.
pub const MAX_AGE_REMEDY: &str = "use 1s to 400d, e.g. 30d or 12h: browsers keep none for longer; leave it out for until the browser is closed";

/// Bytes of `Path`; browsers ignore attributes beyond it (RFC 6265bis).
const PATH_BYTES_MAX: usize = 1024;

/// Digits of an issued key: 128 bits, hexadecimal.
const DIGITS: usize = 32;

/// How a cookie is issued, as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Issue {
    /// Seconds; `None`: until the browser is closed.
    pub max_age_seconds: Option<u32>,
    /// Paths it is sent for.
    pub path: String,
    /// Hosts it is sent to, those below it included; `None`: the one that was asked, alone.
    pub domain: Option<String>,
    /// With which requests of other sites' pages it is sent.
    pub same_site: SameSite,
    /// In TLS alone; `None`: where the request came in TLS.
    pub secure: Option<bool>,
    /// Also on answers that say that everybody may keep them (`Cache-Control: public`, `s-maxage`).
    pub on_public_answers: bool,
}

/// `SameSite` of a cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// With those that lead to the site.
    #[default]
    Lax,
    /// With none.
    Strict,
    /// With all; only in TLS.
    None,
}

impl SameSite {
    /// As it is written in a cookie.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}

impl Default for Issue {
    fn default() -> Self {
        Self {
            max_age_seconds: None,
            path: "/".to_owned(),
            domain: None,
            same_site: SameSite::default(),
            secure: None,
            on_public_answers: false,
        }
    }
}

impl Issue {
    /// Everything that is wrong with it for a cookie of this name; fields relative to it.
    pub fn check(&self, cookie: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(seconds) = self.max_age_seconds
            && !(1..=MAX_AGE_SECONDS_MAX).contains(&seconds)
        {
            problems.push(Problem::new("maxAge", format!("{seconds}s"), MAX_AGE_REMEDY));
        }
        let is_of_path = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b';';
        if !self.path.starts_with('/')
            || self.path.len() > PATH_BYTES_MAX
            || !self.path.bytes().all(is_of_path)
        {
            let remedy = format!(
                "use a path that begins with /, of at most {PATH_BYTES_MAX} ASCII characters, none of them ;"
            );
            problems.push(Problem::new("path", &self.path, remedy));
        }
        if let Some(domain) = &self.domain
            && !is_domain(domain)
        {
            let remedy = "use a host name such as example.com, without a port and a dot before it, no address; leave it out for the host that is asked alone";
            problems.push(Problem::new("domain", domain, remedy));
        }
        self.check_secure(cookie, &mut problems);
        problems
    }

    /// Whether a browser that has the cookie would have sent it with this request. Where it would not, that there is none says
    /// nothing, and to issue one would replace what the browser has.
    pub(crate) fn is_sent_with(&self, request: &impl Request) -> bool {
        is_below(request.path(), &self.path) && self.is_sent_across(request)
    }

    /// `SameSite`, as far as the browser says where its request is from (Fetch Metadata).
    fn is_sent_across(&self, request: &impl Request) -> bool {
        let is = |name: &str, wanted: &str| {
            let mut fields = request.headers();
            let found = fields.find(|(it, _)| it.eq_ignore_ascii_case(name.as_bytes()));
            found.is_some_and(|(_, value)| value == wanted.as_bytes())
        };
        match self.same_site {
            SameSite::None => true,
            SameSite::Strict => !is("sec-fetch-site", "cross-site"),
            // What leads to the site is a page by itself, asked for safely: no frame, no form's POST.
            SameSite::Lax => {
                !is("sec-fetch-site", "cross-site")
                    || (matches!(request.method(), "GET" | "HEAD")
                        && is("sec-fetch-mode", "navigate")
                        && is("sec-fetch-dest", "document"))
            }
        }
    }

    /// What browsers refuse that is not in TLS alone, or by its name not for one host.
    fn check_secure(&self, cookie: &str, problems: &mut Vec<Problem>) {
        let (is_host, is_secure) = (has_prefix(cookie, "__Host-"), has_prefix(cookie, "__Secure-"));
        let why = match self.same_site {
            _ if is_host || is_secure => Some(format!("a cookie named {cookie}")),
            SameSite::None => Some("sameSite: none".to_owned()),
            SameSite::Lax | SameSite::Strict => None,
        };
        if let Some(why) = why
            && self.secure != Some(true)
        {
            let written = self.secure.map(|it| it.to_string()).unwrap_or_default();
            let remedy = format!("use secure: true: browsers refuse {why} without it");
            problems.push(Problem::new("secure", written, remedy));
        }
        if is_host && self.path != "/" {
            let remedy = "use /: browsers refuse a __Host- cookie of any other path";
            problems.push(Problem::new("path", &self.path, remedy));
        }
        if let Some(domain) = self.domain.as_ref().filter(|_| is_host) {
            let remedy = "remove it: browsers refuse a __Host- cookie that has one";
            problems.push(Problem::new("domain", domain, remedy));
        }
    }
}

/// Whether a path is one that a cookie of `of` is sent for (RFC 6265 §5.1.4).
fn is_below(path: &str, of: &str) -> bool {
    path.strip_prefix(of)
        .is_some_and(|rest| rest.is_empty() || of.ends_with('/') || rest.starts_with('/'))
}

/// Browsers compare these prefixes without regard to case.
fn has_prefix(cookie: &str, prefix: &str) -> bool {
    cookie.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix))
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.parse::<IpAddr>().is_err() && text.split('.').all(is_label)
}

/// A cookie that lanes of a group are drawn by, and how it is issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCookie {
    /// Its name, a token.
    pub name: String,
    /// How.
    pub issue: Issue,
}

impl IssuedCookie {
    /// The value of `Set-Cookie`. `secured`: the request came in TLS.
    pub fn set_cookie(&self, key: &str, secured: bool) -> String {
        debug_assert!(is_token(&self.name), "checked when the group was compiled");
        let Issue { max_age_seconds, path, domain, same_site, secure, on_public_answers: _ } =
            &self.issue;
        let mut text = format!("{}={key}; Path={path}", self.name);
        if let Some(seconds) = max_age_seconds {
            // Writing to a string cannot fail.
            let _ = write!(text, "; Max-Age={seconds}");
        }
        if let Some(domain) = domain {
            let _ = write!(text, "; Domain={domain}");
        }
        let _ = write!(text, "; HttpOnly; SameSite={}", same_site.name());
        if secure.unwrap_or(secured) {
            text.push_str("; Secure");
        }
        text
    }
}

/// What a client's answer has to say of how its request was placed.
#[derive(Debug, Default)]
pub struct Affinity {
    /// A cookie of the kind that is issued was looked for: the answer is another one for whom has another.
    pub is_by_cookie: bool,
    /// There was none, or an empty one, where there would be one if the browser had it.
    pub issued: Option<Box<Issued>>,
}

/// Cookies that are issued with the answer to one request.
#[derive(Debug)]
pub struct Issued {
    key: [u8; DIGITS],
    cookies: Vec<Arc<IssuedCookie>>,
}

impl Issued {
    /// The value of all of them: what a request that comes with one of them is placed by.
    pub fn key(&self) -> &str {
        std::str::from_utf8(&self.key).unwrap_or_default()
    }

    /// Which. No two of them have one name.
    pub fn cookies(&self) -> impl Iterator<Item = &IssuedCookie> {
        self.cookies.iter().map(|cookie| &**cookie)
    }
}

impl Affinity {
    /// The key that is drawn for a request without one, the same for all groups: a browser keeps one cookie of a name.
    pub(crate) fn issue(
        &mut self,
        cookie: &Arc<IssuedCookie>,
        random: impl FnOnce() -> [u8; 16],
    ) -> [u8; DIGITS] {
        let issued = self
            .issued
            .get_or_insert_with(|| Box::new(Issued { key: digits(random()), cookies: Vec::new() }));
        // Where groups issue one name each in its way, browsers would keep the last.
        if !issued.cookies.iter().any(|it| it.name == cookie.name) {
            issued.cookies.push(Arc::clone(cookie));
        }
        issued.key
    }
}

fn digits(bytes: [u8; 16]) -> [u8; DIGITS] {
    let digit = |number: u8| b"0123456789abcdef"[usize::from(number)];
    let mut text = [0; DIGITS];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cookie: &str, change: impl FnOnce(&mut Issue), wanted: &[&str]) {
        let mut issue = Issue::default();
        change(&mut issue);
        let found: Vec<String> =
            issue.check(cookie).iter().map(|it| it.field.to_string()).collect();
        assert_eq!(found, wanted, "{cookie} {issue:?}");
    }

    #[test]
    fn what_browsers_would_refuse_is_refused() {
        check("place", |_| (), &[]);
        for seconds in [1, MAX_AGE_SECONDS_MAX] {
            check("place", |it| it.max_age_seconds = Some(seconds), &[]);
        }
        for seconds in [0, MAX_AGE_SECONDS_MAX + 1] {
            check("place", |it| it.max_age_seconds = Some(seconds), &["maxAge"]);
        }
        for path in ["/", "/shop", "/a b"] {
            check("place", |it| it.path = path.to_owned(), &[]);
        }
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for path in ["", "shop", "/a;b", "/\u{e9}", "/a\r\nb", &long] {
            check("place", |it| it.path = path.to_owned(), &["path"]);
        }
        for domain in ["example.com", "a-b.example.com", "localhost"] {
            check("place", |it| it.domain = Some(domain.to_owned()), &[]);
        }
        for domain in ["", ".example.com", "a..b", "-a.b", "a b", "10.0.0.1", "a.b:80", "a;b"] {
            check("place", |it| it.domain = Some(domain.to_owned()), &["domain"]);
        }
    }

    #[test]
    fn names_and_same_site_ask_for_tls() {
        for (secure, wanted) in
            [(None, &["secure"][..]), (Some(false), &["secure"]), (Some(true), &[])]
        {
            for name in ["__Secure-place", "__host-place"] {
                check(name, |it| it.secure = secure, wanted);
            }
            let none = |it: &mut Issue| (it.secure, it.same_site) = (secure, SameSite::None);
            check("place", none, wanted);
        }
        let host = |it: &mut Issue| {
            it.secure = Some(true);
            it.path = "/shop".to_owned();
            it.domain = Some("example.com".to_owned());
        };
        check("__Host-place", host, &["path", "domain"]);
        check("__Secure-place", host, &[]);
    }

    #[test]
    fn a_cookie_is_written_as_rfc_6265_has_it() {
        let cookie = |issue| IssuedCookie { name: "place".to_owned(), issue };
        let plain = cookie(Issue::default());
        assert_eq!(plain.set_cookie("k", false), "place=k; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(plain.set_cookie("k", true), "place=k; Path=/; HttpOnly; SameSite=Lax; Secure");
        let all = cookie(Issue {
            max_age_seconds: Some(60),
            path: "/shop".to_owned(),
            domain: Some("example.com".to_owned()),
            same_site: SameSite::Strict,
            secure: Some(false),
            on_public_answers: true,
        });
        assert_eq!(
            all.set_cookie("k", true),
            "place=k; Path=/shop; Max-Age=60; Domain=example.com; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn one_key_is_drawn_for_all_cookies_of_a_request() {
        let cookie =
            |name: &str| Arc::new(IssuedCookie { name: name.to_owned(), issue: Issue::default() });
        let mut affinity = Affinity::default();
        let first = affinity.issue(&cookie("a"), || [0xab; 16]);
        for name in ["a", "b"] {
            assert_eq!(affinity.issue(&cookie(name), || panic!("drawn again")), first);
        }
        let issued = affinity.issued.unwrap();
        assert_eq!(issued.key(), "ab".repeat(16));
        assert_eq!(issued.cookies().map(|it| &*it.name).collect::<Vec<_>>(), ["a", "b"]);
    }
}
