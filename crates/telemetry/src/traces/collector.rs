//! Where spans are sent, and how: what is said of a collector.

use std::{fmt, io, path::PathBuf, sync::Arc};

use hyper::{
    HeaderMap, Uri,
    header::{HeaderName, HeaderValue},
};
use percent_encoding::percent_decode_str;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Headers that may be said.
const HEADERS_MAX: usize = 32;

/// Bytes of all of them, as they are said.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// Headers that are the protocols' own.
const NOT_TO_BE_SAID: [&str; 6] =
    ["connection", "content-length", "content-type", "host", "te", "transfer-encoding"];

/// What is spoken with a collector; both are OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Messages are posted in HTTP/1.1.
    HttpProtobuf,
    /// Calls in HTTP/2.
    Grpc,
}

impl Protocol {
    /// By the names that OpenTelemetry has for them.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "http/protobuf" => Some(Self::HttpProtobuf),
            "grpc" => Some(Self::Grpc),
            _ => None,
        }
    }
}

/// A collector, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Where it is.
    pub endpoint: Endpoint,
    /// A file with authorities, in PEM, that are believed beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// What it is shown with every message.
    pub headers: Headers,
}

impl Collector {
    /// TLS towards it; none where it is reached in the clear. Reads the authorities.
    ///
    /// # Errors
    /// When the file of authorities cannot be read, or has none; or nobody is believed at all.
    pub fn tls(&self) -> io::Result<Option<Arc<ClientConfig>>> {
        if !self.endpoint.is_secure() {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &self.ca_file {
            let before = roots.len();
            for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
                let certificate = certificate.map_err(io::Error::other)?;
                roots.add(certificate).map_err(io::Error::other)?;
            }
            if roots.len() == before {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it"));
            }
        }
        if roots.is_empty() {
            let nobody = "the system has no authorities (install ca-certificates)";
            return Err(io::Error::new(io::ErrorKind::NotFound, nobody));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = match self.endpoint.protocol {
            Protocol::HttpProtobuf => vec![b"http/1.1".to_vec()],
            Protocol::Grpc => vec![b"h2".to_vec()],
        };
        Ok(Some(Arc::new(config)))
    }
}

/// A URL to which spans are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(super) uri: Uri,
    pub(super) protocol: Protocol,
}

/// Why spans cannot be sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// It is not where a collector is.
    #[error(
        "name the URL of a collector that takes OTLP, e.g. http://127.0.0.1:4318 or https://collector.example: no user, query or fragment in it"
    )]
    Url,
    /// A path, where there is none.
    #[error(
        "name the URL of a collector without a path, e.g. http://127.0.0.1:4317: gRPC has none"
    )]
    Path,
}

impl Endpoint {
    /// From the base URL of a collector; for HTTP `/v1/traces` is appended, as OpenTelemetry says.
    pub fn of(base: &str, protocol: Protocol) -> Result<Self, BadEndpoint> {
        let base = base.trim_end_matches('/');
        let url = match protocol {
            Protocol::HttpProtobuf => format!("{base}/v1/traces"),
            Protocol::Grpc => base.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| BadEndpoint::Url)?;
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_web || !has_host || has_user || uri.query().is_some() || base.contains('#') {
            return Err(BadEndpoint::Url);
        }
        if protocol == Protocol::Grpc && uri.path() != "/" {
            return Err(BadEndpoint::Path);
        }
        Ok(Self { uri, protocol })
    }

    /// It is reached in TLS.
    pub fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Its host without brackets, and its port.
    pub(super) fn place(&self) -> (&str, u16) {
        let host = self.uri.host().unwrap_or_default();
        let port = self.uri.port_u16().unwrap_or(if self.is_secure() { 443 } else { 80 });
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

/// Headers that a collector is shown. They may be secrets: nobody else is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub(super) HeaderMap);

/// Why something is no list of headers. It says nothing of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why} (the header in place {place})")]
pub struct BadHeaders {
    place: usize,
    why: &'static str,
}

impl Headers {
    /// As OpenTelemetry has it: `name=value`, several with commas or on lines of their own; values may be percent-encoded.
    ///
    /// # Errors
    /// With the place of the first that is none.
    pub fn parse(text: &str) -> Result<Self, BadHeaders> {
        let mut headers = HeaderMap::new();
        let all = text.split([',', '\n']).map(str::trim).filter(|header| !header.is_empty());
        for (place, header) in (1..).zip(all) {
            let bad = |why| BadHeaders { place, why };
            let (name, value) = header
                .split_once('=')
                .ok_or(bad("write name=value, several with commas or on lines of their own"))?;
            let name = HeaderName::try_from(name.trim())
                .map_err(|_| bad("a header's name is of letters, digits and -"))?;
            if NOT_TO_BE_SAID.contains(&name.as_str()) || name.as_str().starts_with("grpc-") {
                return Err(bad("this header is the protocol's own, and cannot be set"));
            }
            let value = percent_decode_str(value.trim()).collect::<Vec<u8>>();
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| bad("a header's value has no control characters"))?;
            value.set_sensitive(true);
            if place > HEADERS_MAX || text.len() > HEADERS_BYTES_MAX {
                return Err(bad("write at most 32 headers, of 16 KiB together"));
            }
            headers.append(name, value);
        }
        Ok(Self(headers))
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} headers", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_named_by_its_url() {
        use Protocol::{Grpc, HttpProtobuf as Http};
        for (base, protocol, place) in [
            ("http://c:4318", Http, Ok(("c", 4318))),
            ("https://[::1]/otlp/", Http, Ok(("::1", 443))),
            ("http://c:4317/", Grpc, Ok(("c", 4317))),
            ("https://c", Grpc, Ok(("c", 443))),
            ("https://c/path", Grpc, Err(BadEndpoint::Path)),
            ("c:4318", Http, Err(BadEndpoint::Url)),
            ("ftp://c", Http, Err(BadEndpoint::Url)),
            ("http://", Grpc, Err(BadEndpoint::Url)),
            ("http://user:secret@c", Grpc, Err(BadEndpoint::Url)),
            ("http://c/?x", Http, Err(BadEndpoint::Url)),
            ("http://c/#x", Http, Err(BadEndpoint::Url)),
        ] {
            let endpoint = Endpoint::of(base, protocol);
            assert_eq!(endpoint.as_ref().map(Endpoint::place), place.as_ref().copied(), "{base}");
        }
    }

    #[test]
    fn headers_are_read_and_never_shown() {
        let headers = Headers::parse("Authorization=Bearer%20s3=cr3t , x-team = a\n\nx-team=b\n");
        let headers = headers.unwrap();
        assert_eq!(headers.0["authorization"], "Bearer s3=cr3t");
        assert_eq!(headers.0.get_all("x-team").iter().count(), 2);
        assert_eq!(format!("{headers:?}"), "3 headers");
        assert!(!format!("{:?}", headers.0).contains("s3"));
        assert!(Headers::parse(" \n").unwrap().is_empty());
        for (bad, place) in [
            ("s3cr3t", 1),
            ("a=1,s3 cr3t=2", 2),
            ("a=1,b=s3cr3t%0A", 2),
            ("host=s3cr3t", 1),
            ("grpc-timeout=1s", 1),
            (&*"s3cr3t=1,".repeat(33), 33),
        ] {
            let error = Headers::parse(bad).unwrap_err();
            assert_eq!(error.place, place, "{bad}");
            assert!(!error.to_string().contains("s3"), "{error}");
        }
    }
}
