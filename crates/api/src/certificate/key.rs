//! Keys: which private keys are taken, and the public key that belongs to one.

use aws_lc_rs::{
    rsa,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair,
    },
};
use routes::tls::PrivateKey;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroize as _;

/// Bits of the shortest RSA key that clients take.
const RSA_BITS_MIN: usize = 2048;

/// What would be right for a key that is not taken.
const SUPPORTED: &str = "use an RSA key of 2048 bits or more, ECDSA on P-256 or P-384, or Ed25519";

/// What a key that is locked begins with: PKCS#8, and the older form.
const ENCRYPTED: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];

/// Object identifiers of the keys that are taken, and of the curves.
const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// The private key of a PEM text; or what would be right. Nothing of the text is in that.
pub fn private_key(pem: &str) -> Result<PrivateKey, String> {
    if ENCRYPTED.iter().any(|mark| pem.contains(mark)) {
        return Err("write it decrypted (openssl pkey -in FILE -out FILE): its passphrase is known to nobody here, and it is stored encrypted".to_owned());
    }
    let mut keys = PrivateKeyDer::pem_slice_iter(pem.as_bytes());
    let no_key =
        || "write PEM, from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----".to_owned();
    let Some(Ok(mut key)) = keys.next() else { return Err(no_key()) };
    if keys.next().is_some() {
        return Err("write one private key: there are several".to_owned());
    }
    let read = PrivateKey::new(key.secret_der().to_vec());
    key.zeroize();
    PublicKey::of_private(read.der())?;
    Ok(read)
}

/// A public key: what is signed with, and its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    algorithm: &'static str,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// That of a certificate.
    pub(super) fn of(leaf: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| SUPPORTED.to_owned())?;
        let public = certificate.public_key();
        let parameters = || public.algorithm.parameters.as_ref()?.as_oid().ok();
        let curve = parameters().map(|curve| curve.to_id_string());
        let algorithm = match (public.algorithm.algorithm.to_id_string().as_str(), curve.as_deref())
        {
            (RSA, _) => RSA,
            (EC, Some(P256)) => P256,
            (EC, Some(P384)) => P384,
            (ED25519, _) => ED25519,
            _ => return Err(format!("{SUPPORTED}: the certificate's key is another")),
        };
        let is_short = match public.parsed() {
            Ok(x509_parser::public_key::PublicKey::RSA(key)) => key.key_size() < RSA_BITS_MIN,
            _ => false,
        };
        if is_short {
            return Err(format!("{SUPPORTED}: the certificate's key is shorter"));
        }
        Ok(Self { algorithm, bytes: public.subject_public_key.data.to_vec() })
    }

    /// That of a private key.
    pub(super) fn of_private(der: &[u8]) -> Result<Self, String> {
        let of = |algorithm, public: &[u8]| Self { algorithm, bytes: public.to_vec() };
        for (algorithm, curve) in
            [(P256, &ECDSA_P256_SHA256_ASN1_SIGNING), (P384, &ECDSA_P384_SHA384_ASN1_SIGNING)]
        {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve, der) {
                return Ok(of(algorithm, pair.public_key().as_ref()));
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(of(ED25519, pair.public_key().as_ref()));
        }
        // It takes none below 2048 bits.
        let pair = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der));
        let pair = pair.map_err(|_| SUPPORTED.to_owned())?;
        Ok(of(RSA, pair.public_key().as_ref()))
    }
}
