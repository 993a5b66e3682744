//! What a data plane joins with: a token that may name who signs for the control plane, and the names within certificates
//! that both sides must write alike.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Before the authority's fingerprint, in a token and wherever people see one.
const FINGERPRINT: &str = "sha256:";

/// What every name of a control plane ends with, in its own certificate: a data plane connects to whatever address it was
/// told, and means this one by its authority.
const CONTROL_PLANE: &str = "control-plane.laneway.internal";

/// Of a fingerprint, how many bytes are in the name that is asked for: a DNS label has 63 letters.
const NAMED_BYTES: usize = 16;

/// Before the name of a data plane, in the certificate that it shows.
const DATA_PLANE: &str = "laneway://data-plane/";

/// Bytes of a node that a certificate can name.
const NODE_BYTES_MAX: usize = 64;

/// SHA-256 of an authority's certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate's DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// As [`Display`](std::fmt::Display) writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(FINGERPRINT)?;
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The name by which a data plane asks for a control plane that this authority signed for.
    pub fn server_name(&self) -> String {
        format!("{}.{CONTROL_PLANE}", hex(&self.0[..NAMED_BYTES]))
    }

    /// Whether a name asks for this authority.
    pub fn is_asked_for(&self, server_name: &str) -> bool {
        server_name.eq_ignore_ascii_case(&self.server_name())
    }
}

/// What the certificate of a control plane is made out to, whoever it was signed by.
pub fn names_of_control_plane() -> String {
    format!("*.{CONTROL_PLANE}")
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{FINGERPRINT}{}", hex(&self.0))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A join token as it is written: `SECRET`, or `SECRET@sha256:…` with who signs for the control plane it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinToken<'a> {
    /// What is compared.
    pub secret: &'a str,
    /// Whose certificates its control plane shows.
    pub authority: Option<Fingerprint>,
}

impl<'a> JoinToken<'a> {
    /// Takes a text apart. What ends otherwise than in a fingerprint is all secret.
    pub fn read(text: &'a str) -> Self {
        let parts = text.rsplit_once('@');
        match parts.and_then(|(secret, end)| Some((secret, Fingerprint::parse(end)?))) {
            Some((secret, authority)) => Self { secret, authority: Some(authority) },
            None => Self { secret: text, authority: None },
        }
    }

    /// What is wrong with a text that means to name an authority and does not: its secret would be shown to whoever
    /// answers, and in the clear.
    pub fn misspelt_authority(text: &'a str) -> Option<&'a str> {
        let (_, end) = text.rsplit_once('@')?;
        let means_one = end.contains(':') || end.to_ascii_lowercase().starts_with("sha");
        (means_one && Fingerprint::parse(end).is_none()).then_some(end)
    }
}

/// Whose certificate it is that a data plane shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DataPlaneName {
    /// The public part of the token that it was made for.
    pub token: String,
    /// The data plane.
    pub node: String,
}

impl DataPlaneName {
    /// As it is written into a certificate.
    pub fn to_uri(&self) -> String {
        format!("{DATA_PLANE}{}/{}", self.token, self.node)
    }

    /// Whether a node is this data plane's: its own, or that of another process of it while one takes the other's place.
    pub fn is_of(&self, node: &str) -> bool {
        let rest = node.strip_prefix(self.node.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// What is read of a data plane's certificate. It says nothing of who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPlaneCertificate {
    /// Whose it is.
    pub name: DataPlaneName,
    /// Until when it is good.
    pub ends: SystemTime,
}

impl DataPlaneCertificate {
    /// Reads DER.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let name = names.value.general_names.iter().find_map(|name| {
            let GeneralName::URI(uri) = name else { return None };
            let (token, node) = uri.strip_prefix(DATA_PLANE)?.split_once('/')?;
            Some(DataPlaneName { token: token.to_owned(), node: node.to_owned() })
        })?;
        let ends = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
        Some(Self { name, ends: UNIX_EPOCH + Duration::from_secs(ends) })
    }
}

/// Whether a certificate can name a node.
pub fn can_name(node: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=NODE_BYTES_MAX).contains(&node.len()) && node.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_authority_or_is_all_secret() {
        let authority = Fingerprint::of(b"a certificate");
        let text = format!("laneway_id_secret@{authority}");
        let token = JoinToken::read(&text);
        assert_eq!(token, JoinToken { secret: "laneway_id_secret", authority: Some(authority) });
        for text in ["", "secret", "sec@ret", "secret@sha256:", "secret@sha256:zz", "s@md5:00"] {
            assert_eq!(JoinToken::read(text), JoinToken { secret: text, authority: None });
        }
        // An operator's token may have one of its own.
        let text = format!("sec@ret@{authority}");
        assert_eq!(JoinToken::read(&text).secret, "sec@ret");
        assert_eq!(JoinToken::misspelt_authority(&text), None);
        for (text, wrong) in [
            ("secret", None),
            ("sec@ret", None),
            ("s@sha256:", Some("sha256:")),
            ("s@sha256:709b", Some("sha256:709b")),
            ("s@md5:00", Some("md5:00")),
            ("s@SHA256", Some("SHA256")),
        ] {
            assert_eq!(JoinToken::misspelt_authority(text), wrong, "{text}");
        }
    }

    #[test]
    fn one_authority_is_asked_for_and_no_other() {
        let (one, other) = (Fingerprint::of(b"one"), Fingerprint::of(b"other"));
        assert!(one.is_asked_for(&one.server_name().to_uppercase()));
        assert!(!one.is_asked_for(&other.server_name()));
        assert_eq!(Fingerprint::parse(&one.to_string()), Some(one));
    }

    #[test]
    fn a_certificate_is_of_its_node_and_of_what_takes_its_place() {
        let name = DataPlaneName { token: "id".to_owned(), node: "n1".to_owned() };
        for (node, is_of) in
            [("n1", true), ("n1.7", true), ("n12", false), ("n", false), ("", false)]
        {
            assert_eq!(name.is_of(node), is_of, "{node}");
        }
        for (node, can) in
            [("0f-9_A", true), ("", false), ("a/b", false), ("a.b", false), ("ä", false)]
        {
            assert_eq!(can_name(node), can, "{node}");
        }
        assert!(!can_name(&"n".repeat(65)));
    }
}
