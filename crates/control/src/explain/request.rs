//! The request to explain, as decisions read it.

use std::net::IpAddr;

use api::rest::ExplainRequest;
use lanes::{Problem, Request};
use routes::{Table, spec::ListenerSpec};

/// What proxies in front say of the client; a gateway without any drops it.
const FORWARDED: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// What an untrusted listener makes anew.
const IDS: &[&str] = &["traceparent", "tracestate", "x-request-id"];

/// A request, read from its description.
#[derive(Debug)]
pub(super) struct Explained {
    method: String,
    host: String,
    port: u16,
    path: String,
    query: String,
    peer: IpAddr,
    client: IpAddr,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Explained {
    /// Reads `http://HOST[:PORT]/PATH[?QUERY]` or `/PATH[?QUERY]`; the host may also come from a `Host` header.
    pub(super) fn read(wanted: &ExplainRequest, table: &Table) -> Result<Self, Problem> {
        let headers: Vec<(String, String)> = (wanted.headers.iter())
            .map(|field| (field.name.to_lowercase(), field.value.trim().to_owned()))
            .collect();
        let first_port = table.listeners().first().map_or(80, |listener| listener.port);
        let (authority, target) = split_url(&wanted.url)?;
        let host_header = headers.iter().find(|(name, _)| name == "host").map(|(_, host)| host);
        let host = host_header.map_or(authority, String::as_str);
        let port = split_port(authority).1.unwrap_or(first_port);
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = normal_path(if path.is_empty() { "/" } else { path })?;
        let peer = super::client_address(wanted.client_ip.as_deref())?;
        Ok(Self {
            method: wanted.method.clone(),
            host: split_port(host).0.to_lowercase(),
            port,
            path,
            query: query.to_owned(),
            peer,
            client: peer,
            headers,
        })
    }

    /// Takes the listener's word on whom to believe: its proxies in front say who the client is, and what of the
    /// client's own claims is not believed, no condition sees.
    pub(super) fn trust(&mut self, listener: &ListenerSpec) {
        self.client = self.client_behind(listener.trusted_hops);
        self.headers.retain(|(name, _)| !name.contains('_'));
        if listener.trusted_hops == 0 {
            self.headers.retain(|(name, _)| !FORWARDED.contains(&name.as_str()));
        }
        if !listener.trusted {
            self.headers.retain(|(name, _)| !IDS.contains(&name.as_str()));
            for (_, value) in self.headers.iter_mut().filter(|(name, _)| name == "baggage") {
                let is_ours = |member: &&str| !member.trim_start().starts_with("lane.");
                *value = value.split(',').filter(is_ours).collect::<Vec<_>>().join(",");
            }
            self.headers.retain(|(name, value)| name != "baggage" || !value.is_empty());
        }
    }

    /// The port the request arrives at.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Values of `baggage`.
    pub(super) fn baggage(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let of_baggage = self.headers.iter().filter(|(name, _)| name == "baggage");
        of_baggage.map(|(_, value)| value.as_bytes())
    }

    /// Each trusted proxy appended whom it heard from; what lies further left is the client's own claim.
    fn client_behind(&self, trusted_hops: u8) -> IpAddr {
        let forwarded = self.headers.iter().filter(|(name, _)| name == "x-forwarded-for");
        let said: Vec<&str> =
            forwarded.flat_map(|(_, value)| value.split(',').map(str::trim)).collect();
        let mut client = self.peer;
        for said in said.iter().rev().take(usize::from(trusted_hops)) {
            let Ok(address) = said.parse() else { break };
            client = address;
        }
        client
    }
}

impl Request for Explained {
    fn method(&self) -> &str {
        &self.method
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn client_ip(&self) -> IpAddr {
        self.client
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

/// The path as the gateway matches and forwards it; what it answers with 400 is told.
fn normal_path(path: &str) -> Result<String, Problem> {
    let mut normal = Vec::new();
    match routes::normalise(path.as_bytes(), &mut normal) {
        Ok(true) => Ok(String::from_utf8_lossy(&normal).into_owned()),
        Ok(false) => Ok(path.to_owned()),
        Err(error) => Err(Problem::new("url", path, format!("the gateway answers 400: {error}"))),
    }
}

/// Authority and the rest.
fn split_url(url: &str) -> Result<(&str, &str), Problem> {
    if url.starts_with('/') {
        return Ok(("localhost", url));
    }
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Err(Problem::new("url", url, "write http://HOST:PORT/PATH, or /PATH"));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.is_empty() {
        return Err(Problem::new("url", url, "write a host after http://"));
    }
    Ok((authority, target))
}

/// Host and port of an authority; brackets of IPv6 addresses stay.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_one_that_the_gateway_matches() {
        assert_eq!(read("/%61/b%c3%a9", &[]).path(), "/a/b%C3%A9");
        let problem = normal_path("/a/../b").unwrap_err();
        assert_eq!((problem.field.as_str(), problem.value.as_str()), ("url", "/a/../b"));
    }

    #[test]
    fn no_condition_sees_what_an_edge_does_not_believe() {
        let mut request = read(
            "/",
            &[("X-Request-Id", "1"), ("x-forwarded-for", "1.2.3.4"), ("a_b", "1"), ("kept", "1")],
        );
        request.trust(&ListenerSpec {
            name: "http".to_owned(),
            port: 80,
            hostname: None,
            trusted: false,
            trusted_hops: 0,
        });
        assert_eq!(request.headers().map(|(name, _)| name).collect::<Vec<_>>(), ["kept"]);
    }

    fn read(url: &str, headers: &[(&str, &str)]) -> Explained {
        let fields = headers.iter().map(|(name, value)| api::resource::HeaderField {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        });
        let wanted = ExplainRequest {
            gateway: "edge".to_owned(),
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: fields.collect(),
            client_ip: Some("10.0.0.9".to_owned()),
            path: Vec::new(),
        };
        Explained::read(&wanted, &Table::default()).unwrap()
    }

    #[test]
    fn urls_fall_into_their_parts() {
        let request = read("http://Shop.Example:8000/a/b?x=1#top", &[]);
        assert_eq!((request.host(), request.port()), ("shop.example", 8000));
        assert_eq!((request.path(), request.query()), ("/a/b", "x=1"));
        let request = read("/a", &[("Host", "other.example:81")]);
        assert_eq!((request.host(), request.port(), request.path()), ("other.example", 80, "/a"));
        let request = read("http://[::1]:8000", &[]);
        assert_eq!((request.host(), request.port(), request.path()), ("[::1]", 8000, "/"));
    }

    #[test]
    fn the_client_is_whom_the_trusted_proxies_name() {
        let request =
            read("/", &[("X-Forwarded-For", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3")]);
        for (hops, client) in [(0, "10.0.0.9"), (1, "3.3.3.3"), (2, "2.2.2.2"), (9, "1.1.1.1")] {
            assert_eq!(request.client_behind(hops).to_string(), client, "{hops}");
        }
    }

    #[test]
    fn an_untrusted_listener_hides_the_clients_lane_context() {
        let listener = ListenerSpec {
            name: "http".to_owned(),
            port: 80,
            hostname: None,
            trusted: false,
            trusted_hops: 0,
        };
        let mut request =
            read("/", &[("baggage", "lane.trade=gray, user=7"), ("traceparent", "x")]);
        request.trust(&listener);
        let headers: Vec<_> = request.headers().collect();
        assert_eq!(headers, [("baggage", &b" user=7"[..])]);
    }
}
