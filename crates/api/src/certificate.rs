//! Certificates and private keys as people have them, in PEM: read, judged, described. Nothing is verified here: who
//! believes whom is decided where a connection is made.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls_pki_types::pem::{PemObject, SectionKind};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

mod described;
mod key;

pub use described::{Described, Worst};
pub use key::private_key;

use key::PublicKey;

/// Certificates of one chain, or authorities of one object: more than any has.
const CERTIFICATES_MAX: usize = 100;

/// How long before its end a certificate is told to expire.
pub(crate) const EXPIRING: Duration = Duration::from_secs(21 * 24 * 60 * 60);

/// What a certificate says of itself, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whose it is, e.g. `CN=shop.example.com`.
    pub subject: String,
    /// Names and addresses it covers.
    pub names: Vec<String>,
    /// From when it is good.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
    /// SHA-256 of its DER, in hexadecimal.
    pub fingerprint: String,
}

/// How a certificate stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Good for long.
    Good,
    /// Good, and soon no more: see [`EXPIRING`].
    Expiring,
    /// Not yet good.
    NotYet,
    /// Good no more.
    Expired,
}

impl Facts {
    /// Of one certificate's DER.
    pub(crate) fn of(der: &[u8]) -> Result<Self, String> {
        let certificate = parsed(der)?;
        let of_second = |seconds: i64| match u64::try_from(seconds) {
            Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds),
            Err(_) => UNIX_EPOCH,
        };
        let validity = certificate.validity();
        let fingerprint = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            subject: certificate.subject().to_string(),
            names: names(&certificate),
            not_before: of_second(validity.not_before.timestamp()),
            not_after: of_second(validity.not_after.timestamp()),
            fingerprint,
        })
    }

    /// How it stands.
    pub(crate) fn standing(&self, now: SystemTime) -> Standing {
        if now < self.not_before {
            Standing::NotYet
        } else if now > self.not_after {
            Standing::Expired
        } else if now + EXPIRING > self.not_after {
            Standing::Expiring
        } else {
            Standing::Good
        }
    }
}

/// The certificates of a PEM text, in its order; or what would be right.
pub fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        let (kind, der) = section.map_err(|_| NO_PEM.to_owned())?;
        match kind {
            SectionKind::Certificate => found.push(der),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err("leave the private key out: it is written by itself".to_owned());
            }
            SectionKind::Csr => {
                return Err("write the certificate: this is a request for one".to_owned());
            }
            _ => return Err("write certificates alone: there is something else in it".to_owned()),
        }
    }
    match found.len() {
        0 => Err(NO_PEM.to_owned()),
        1..=CERTIFICATES_MAX => {
            found.iter().try_for_each(|der| parsed(der).map(drop))?;
            Ok(found)
        }
        many => Err(format!("write at most {CERTIFICATES_MAX}: there are {many}")),
    }
}

const NO_PEM: &str = "write PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----";

/// What is wrong with a chain: each certificate is signed by the next. The remedy.
pub fn check_chain(chain: &[Vec<u8>]) -> Result<(), String> {
    for (index, pair) in chain.windows(2).enumerate() {
        let (signed, signer) = (parsed(&pair[0])?, parsed(&pair[1])?);
        if signed.issuer().as_raw() != signer.subject().as_raw() {
            return Err(format!(
                "write the certificate first, then who signed it, and so on: number {} ({}) is signed by {}, and number {} is {}",
                index + 1,
                signed.subject(),
                signed.issuer(),
                index + 2,
                signer.subject()
            ));
        }
    }
    Ok(())
}

/// Whether a certificate's key is one that TLS is served with here; the remedy if not.
pub(crate) fn check_key_of(leaf: &[u8]) -> Result<(), String> {
    PublicKey::of(leaf).map(drop)
}

/// Whether a private key is that of a certificate.
pub fn is_of(leaf: &[u8], key: &routes::tls::PrivateKey) -> bool {
    let Ok(of_key) = PublicKey::of_private(key.der()) else { return false };
    PublicKey::of(leaf).is_ok_and(|of_leaf| of_leaf == of_key)
}

fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err("write an X.509 certificate: what is within BEGIN and END is none".to_owned()),
    }
}

/// The alternative names; of a certificate without any, its common name, which no client looks at any more.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.map(|extension| &extension.value.general_names);
    let shown = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => ip(bytes).map(|ip| ip.to_string()),
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    match alternative {
        Some(names) => names.iter().filter_map(shown).collect(),
        None => {
            let common = certificate.subject().iter_common_name();
            common.filter_map(|name| name.as_str().ok()).map(str::to_owned).collect()
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}

#[cfg(test)]
mod tests;
