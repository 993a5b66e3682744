//! `Certificate`, as written: a certificate with its private key, or authorities that sign those of others.

use std::{fmt, path::Path};

use lanes::{Fault, Problem};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::{Describe, Metadata, Status};
use crate::certificate;

/// What a private key begins with that a control plane has sealed.
const SEALED: &str = "sealed:";

/// One of: `certificate` with `privateKey`, `caCertificates`, `files`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateSpec {
    /// PEM: the certificate, then who signed it, and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// PEM when it is written; what is read is `sealed:…`, which means the same key where it is written back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub private_key: Option<WrittenKey>,
    /// PEM: those by whom certificates of clients, or of instances, are verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
    /// The same in files of the control plane's host, read whenever they change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<CertificateFiles>,
}

/// Paths of PEM files on the control plane's host: `certificate` with `privateKey`, or `caCertificates`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate, then who signed it, and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    /// Those by whom certificates of others are verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
}

/// A private key as written, or sealed. Whatever shows it shows nothing, and it is overwritten when it goes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WrittenKey(String);

impl WrittenKey {
    /// Of PEM, or of what [`WrittenKey::sealed`] gave.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Of what a control plane sealed.
    pub fn seal(sealed: &str) -> Self {
        Self(format!("{SEALED}{sealed}"))
    }

    /// What a control plane sealed; none of a key as written.
    pub fn sealed(&self) -> Option<&str> {
        self.0.strip_prefix(SEALED)
    }

    /// The text, to be sealed or written on.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Drop for WrittenKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for WrittenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrittenKey")
    }
}

impl Describe for CertificateSpec {
    const IS_DISTRIBUTED: bool = true;
    const COLUMNS: &'static [&'static str] = &["NAMES", "NOT AFTER"];

    fn cells(&self, _: &Metadata, status: Option<&Status>) -> Vec<String> {
        let told = status.and_then(|status| status.certificate.as_ref());
        let (names, not_after) = match told {
            Some(told) => (told.names.join(","), told.not_after.clone()),
            None => (String::new(), String::new()),
        };
        vec![names, not_after]
    }

    fn problems(&self, _: &Metadata) -> Vec<Problem> {
        let mut problems = self.shape();
        if problems.is_empty() {
            problems.extend(self.files.iter().flat_map(CertificateFiles::problems));
            problems.extend(self.contents());
        }
        problems
    }
}

impl CertificateSpec {
    /// Whether a listener can be served with it.
    pub(crate) fn has_key(&self) -> bool {
        self.private_key.is_some()
            || self.files.as_ref().is_some_and(|files| files.private_key.is_some())
    }

    /// Whether certificates of others can be verified by it.
    pub(crate) fn has_authorities(&self) -> bool {
        self.ca_certificates.is_some()
            || self.files.as_ref().is_some_and(|files| files.ca_certificates.is_some())
    }

    /// What is wrong with which fields there are.
    fn shape(&self) -> Vec<Problem> {
        let pair = self.certificate.is_some() || self.private_key.is_some();
        let given = [pair, self.ca_certificates.is_some(), self.files.is_some()];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let remedy = "write one of: certificate with privateKey, caCertificates, files";
            return vec![Problem::new("spec", "", remedy).of(Fault::Missing)];
        }
        let mut problems = Vec::new();
        pair_is_whole(
            "spec",
            self.certificate.is_some(),
            self.private_key.is_some(),
            &mut problems,
        );
        problems
    }

    /// What is wrong with what is in them.
    fn contents(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut tell = |field: &str, remedy: String| {
            problems.push(Problem::new(format!("spec.{field}"), "", remedy));
        };
        if let Some(pem) = &self.ca_certificates
            && let Err(remedy) = certificate::certificates(pem)
        {
            tell("caCertificates", remedy);
        }
        let (Some(pem), Some(key)) = (&self.certificate, &self.private_key) else {
            return problems;
        };
        let chain = certificate::certificates(pem).and_then(|chain| {
            certificate::check_chain(&chain)?;
            certificate::check_key_of(&chain[0])?;
            Ok(chain)
        });
        let key = match key.sealed() {
            // Only who sealed it can say more.
            Some(_) => None,
            None => Some(certificate::private_key(key.text())),
        };
        match (chain, key) {
            (Ok(chain), Some(Ok(key))) if !certificate::is_of(&chain[0], &key) => {
                tell("privateKey", NOT_ITS_KEY.to_owned());
            }
            (chain, key) => {
                chain.err().into_iter().for_each(|remedy| tell("certificate", remedy));
                key.and_then(Result::err).into_iter().for_each(|remedy| tell("privateKey", remedy));
            }
        }
        problems
    }
}

/// What would be right for a key of another certificate.
pub const NOT_ITS_KEY: &str =
    "write the key of this certificate: it is another's (is the certificate first in its file?)";

impl CertificateFiles {
    /// Each path with its field.
    fn paths(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("certificate", &self.certificate),
            ("privateKey", &self.private_key),
            ("caCertificates", &self.ca_certificates),
        ];
        all.into_iter().filter_map(|(field, path)| Some((field, path.as_deref()?)))
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let pair = self.certificate.is_some() || self.private_key.is_some();
        if pair == self.ca_certificates.is_some() {
            let remedy = "write one of: certificate with privateKey, caCertificates";
            return vec![Problem::new("spec.files", "", remedy).of(Fault::Missing)];
        }
        let (certificate, key) = (self.certificate.is_some(), self.private_key.is_some());
        pair_is_whole("spec.files", certificate, key, &mut problems);
        for (field, path) in self.paths().filter(|(_, path)| !Path::new(path).is_absolute()) {
            let remedy = "write an absolute path of the control plane's host";
            problems.push(Problem::new(format!("spec.files.{field}"), path, remedy));
        }
        problems
    }
}

/// That a certificate has its key beside it, and a key its certificate.
fn pair_is_whole(at: &str, certificate: bool, key: bool, problems: &mut Vec<Problem>) {
    let missing = match (certificate, key) {
        (true, false) => "privateKey",
        (false, true) => "certificate",
        _ => return,
    };
    let problem = Problem::new(format!("{at}.{missing}"), "", "is missing: write it");
    problems.push(problem.of(Fault::Missing));
}
