//! A request as decisions see it, for those who only decide.

use std::net::{IpAddr, Ipv4Addr};

use lanes::Request;

/// A request made of plain text.
#[derive(Debug, Clone)]
pub struct Call {
    /// See [`Request::method`]; likewise the others.
    pub method: String,
    /// Without a port.
    pub host: String,
    /// Without the query.
    pub path: String,
    /// Without the `?`.
    pub query: String,
    /// Who sent it.
    pub client_ip: IpAddr,
    /// In order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Names and values.
    pub claims: Vec<(String, String)>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            host: "shop.example".into(),
            path: "/".into(),
            query: String::new(),
            client_ip: Ipv4Addr::LOCALHOST.into(),
            headers: Vec::new(),
            claims: Vec::new(),
        }
    }
}

impl Request for Call {
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
        self.client_ip
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()))
    }

    fn claim(&self, name: &str) -> Option<&str> {
        self.claims.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}
