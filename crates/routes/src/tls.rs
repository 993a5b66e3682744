//! TLS as data: which certificates a listener shows, whom it lets in, which instances are believed. Whoever moves bytes
//! makes something of it; here nothing is verified.

use std::fmt;

use zeroize::Zeroizing;

/// What a listener does with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsMode {
    /// It ends here.
    Terminate(ListenerTls),
    /// It goes on as it is, to where a route leads that goes by the name a client asks for.
    Passthrough,
}

impl From<ListenerTls> for TlsMode {
    fn from(tls: ListenerTls) -> Self {
        Self::Terminate(tls)
    }
}

/// What a listener ends TLS with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// `namespace/name` of its certificates, looked up in [`crate::Published::certificates`]. The first that is there is
    /// shown to clients that ask for no name.
    pub certificates: Vec<String>,
    /// Clients are asked for a certificate.
    pub clients: Option<ClientsTls>,
    /// The oldest version it speaks.
    pub minimum: TlsVersion,
}

/// Which clients are let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientsTls {
    /// `namespace/name` of the certificates whose authorities sign those of clients.
    pub authorities: Vec<String>,
    /// A client without a certificate, or with one that does not verify, is let in all the same.
    pub insecure_fallback: bool,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2.
    #[default]
    V1_2,
    /// 1.3.
    V1_3,
}

/// How instances are spoken to in TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name asked for, which their certificate must cover unless `names` says others.
    pub hostname: String,
    /// Who must have signed their certificate.
    pub authorities: Authorities,
    /// Their certificate must cover one of these; empty is `hostname`.
    pub names: Vec<String>,
}

impl UpstreamTls {
    /// `namespace/name` of the certificates whose authorities are believed.
    pub fn certificates(&self) -> &[String] {
        match &self.authorities {
            Authorities::System => &[],
            Authorities::Certificates(names) => names,
        }
    }
}

/// Who signs certificates that are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// Whoever the system believes.
    System,
    /// The authorities of these: `namespace/name`.
    Certificates(Vec<String>),
}

/// One certificate with what belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificate {
    /// DER, the leaf first; empty where there are only authorities.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's.
    pub key: Option<PrivateKey>,
    /// DER: those by whom certificates of others are verified.
    pub authorities: Vec<Vec<u8>>,
}

/// A private key, never shown, and overwritten when nobody needs it any more. Copies that this does not reach are those on
/// their way (bodies of REST, messages of discovery, and the buffers of both), and what rustls has made of it to sign with.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

impl PrivateKey {
    /// Of the DER of PKCS#8, PKCS#1 or SEC1.
    pub fn new(der: Vec<u8>) -> Self {
        Self(Zeroizing::new(der))
    }

    /// Its DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown_whatever_shows_it() {
        let key = Some(PrivateKey::new(b"secret".to_vec()));
        let shown = format!("{:?}", Certificate { key, ..Certificate::default() });
        assert_eq!(shown, "Certificate { chain: [], key: Some(PrivateKey), authorities: [] }");
    }
}
