//! The request to explain, taken apart as a client would send it.

use std::net::IpAddr;

use api::rest::ExplainRequest;
use lanes::Problem;
use routes::{
    Table,
    entrance::{self, TextHead, Unreadable},
};

/// The client, where nobody says who it is.
const CLIENT: &str = "127.0.0.1";

/// Where a client that is told a path alone sends it.
const HOST: &str = "localhost";

/// A request before the gateway has read it.
#[derive(Debug)]
pub(super) struct Arriving<'w> {
    /// As the gateway's codec hands it on.
    pub(super) head: TextHead<'w>,
    /// The port it arrives at.
    pub(super) port: u16,
    /// Who sends it.
    pub(super) peer: IpAddr,
}

impl<'w> Arriving<'w> {
    /// Reads `http://HOST[:PORT]/PATH[?QUERY]` or `/PATH[?QUERY]`; the host may also come from a `Host` header. What
    /// the gateway refuses is told as it would.
    pub(super) fn read(wanted: &'w ExplainRequest, table: &Table) -> Result<Self, Problem> {
        let text = wanted.client_ip.as_deref().unwrap_or(CLIENT);
        let peer = text
            .parse()
            .map_err(|_| Problem::new("clientIp", text, "write an IP address without port"))?;
        let (authority, target) = split_url(&wanted.url)?;
        let port = entrance::port(authority.as_bytes())
            .or_else(|| table.listeners().first().map(|listener| listener.port))
            .unwrap_or(80);
        let target = match wanted.method.as_str() {
            // Where the way through goes, as clients write it.
            "CONNECT" if target == "/" && !wanted.url.ends_with('/') => authority,
            _ => target,
        };
        let names_host = wanted.headers.iter().any(|field| field.name.eq_ignore_ascii_case("host"));
        let host = (!names_host).then_some(("host", authority));
        let fields = wanted.headers.iter().map(|field| (field.name.as_str(), field.value.as_str()));
        let mut head =
            TextHead::read(&wanted.method, target, fields.chain(host)).map_err(|why| {
                let (field, value) = match why {
                    Unreadable::Method | Unreadable::Connect => {
                        ("method".to_owned(), wanted.method.as_str())
                    }
                    Unreadable::TooLarge | Unreadable::TooManyFields => {
                        ("headers".to_owned(), "all")
                    }
                    Unreadable::ContentLength | Unreadable::TwoFramings => {
                        ("headers".to_owned(), "content-length")
                    }
                    Unreadable::TransferEncoding | Unreadable::NotChunkedLast => {
                        ("headers".to_owned(), "transfer-encoding")
                    }
                    Unreadable::Expect => ("headers".to_owned(), "expect"),
                    Unreadable::Connection => ("headers".to_owned(), "connection"),
                    Unreadable::Host if names_host => ("headers".to_owned(), "host"),
                    Unreadable::FieldName(at) => {
                        (format!("headers[{at}].name"), wanted.headers[at].name.as_str())
                    }
                    Unreadable::FieldValue(at) => {
                        (format!("headers[{at}].value"), wanted.headers[at].value.as_str())
                    }
                    Unreadable::Host
                    | Unreadable::Target
                    | Unreadable::TargetTooLong
                    | Unreadable::Path(_) => ("url".to_owned(), wanted.url.as_str()),
                };
                let remedy = format!("the gateway answers {}: {why}", why.status());
                Problem::new(field, value, remedy)
            })?;
        entrance::drop_underscored(&mut head);
        entrance::drop_hop_by_hop(&mut head);
        Ok(Self { head, port, peer })
    }
}

/// Authority and target. A client keeps the fragment to itself, and the credentials for a field of their own.
fn split_url(url: &str) -> Result<(&str, &str), Problem> {
    let url_sent = url.split('#').next().unwrap_or_default();
    if url_sent.starts_with('/') {
        return Ok((HOST, url_sent));
    }
    let is_http = |scheme: &str| ["http", "https"].iter().any(|it| scheme.eq_ignore_ascii_case(it));
    let parts = url_sent.split_once("://").filter(|(scheme, _)| is_http(scheme));
    let Some((_, rest)) = parts else {
        return Err(Problem::new("url", url, "write http://HOST:PORT/PATH, or /PATH"));
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
    let target = if target.is_empty() { "/" } else { target };
    if authority.is_empty() {
        return Err(Problem::new("url", url, "write a host after http://"));
    }
    Ok((authority, target))
}

#[cfg(test)]
mod tests {
    use routes::entrance::{Fields, Head, Name};

    use super::*;

    fn wanted(url: &str, headers: &[(&str, &str)]) -> ExplainRequest {
        let fields = headers.iter().map(|(name, value)| api::resource::HeaderField {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        });
        ExplainRequest {
            gateway: "edge".to_owned(),
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: fields.collect(),
            client_ip: Some("10.0.0.9".to_owned()),
            path: Vec::new(),
        }
    }

    #[track_caller]
    fn check(url: &str, headers: &[(&str, &str)], expected: (&str, u16, &str, &str)) {
        let wanted = wanted(url, headers);
        let Arriving { head, port, .. } = Arriving::read(&wanted, &Table::default()).unwrap();
        assert_eq!((head.host(), port, head.path(), head.query()), expected, "{url}");
        assert_eq!(head.values(Name::Host).count(), 1, "{url}");
    }

    #[test]
    fn urls_fall_into_their_parts() {
        check("http://Shop.Example:8000/a/b?x=1#top", &[], ("shop.example", 8000, "/a/b", "x=1"));
        check("http://shop.example", &[], ("shop.example", 80, "/", ""));
        check("HTTP://shop.example/a", &[], ("shop.example", 80, "/a", ""));
        check("https://user:p@ss@shop.example:81/a@b", &[], ("shop.example", 81, "/a@b", ""));
        check("/a", &[("Host", "other.example:81")], ("other.example", 80, "/a", ""));
        check("http://shop.example?x=1", &[], ("shop.example", 80, "/", "x=1"));
        check("http://[::1]:8000", &[], ("[::1]", 8000, "/", ""));
        check("/%61/b%c3%a9", &[], ("localhost", 80, "/a/b%C3%A9", ""));
    }

    #[test]
    fn what_the_gateway_refuses_is_told() {
        for (url, headers, field, value) in [
            ("/a/../b", &[][..], "url", "/a/../b"),
            ("http://a b/", &[], "url", "http://a b/"),
            ("/", &[("Host", "a/b")], "headers", "host"),
            ("/", &[("Host", "a"), ("host", "a")], "headers", "host"),
            ("/", &[("a b", "")], "headers[0].name", "a b"),
            ("/", &[("a", "\n")], "headers[0].value", "\n"),
            ("/", &[("content-length", "+1")], "headers", "content-length"),
            ("/", &[("content-length", "1"), ("content-length", "2")], "headers", "content-length"),
            (
                "/",
                &[("content-length", "1"), ("transfer-encoding", "chunked")],
                "headers",
                "content-length",
            ),
            ("/", &[("transfer-encoding", "gzip")], "headers", "transfer-encoding"),
            ("/", &[("a", "1"); 100], "headers", "all"),
        ] {
            let wanted = wanted(url, headers);
            let problem = Arriving::read(&wanted, &Table::default()).unwrap_err();
            assert_eq!((problem.field.as_str(), problem.value.as_str()), (field, value));
        }
    }
}
