//! A certificate with its key and whom to believe, in memory and in a file of PEM that its owner alone can read.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::{discovery::v1::CertifyResponse, join::Fingerprint};
use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tempfile::NamedTempFile;
use tokio::time::Instant;

/// Why the file is there, for whoever finds it.
const HEADING: &str = "What this data plane shows its control plane, made and renewed by itself. Nobody else may read it.";

/// Which part of a life is over when a certificate is renewed, at most: a spread, so that data planes that joined together do
/// not come back together.
const RENEWED_AFTER: (f64, f64) = (0.6, 2.0 / 3.0);

/// Why a file that is there gives nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the certificate that was kept in {} {why}: name a join token to join anew with (--join-token-file), or restore the file; to connect in the clear, remove it", .file.display())]
pub(crate) struct NotRead {
    file: PathBuf,
    why: String,
}

/// What is kept.
pub(super) struct Kept {
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
    /// The newest last.
    authorities: Vec<CertificateDer<'static>>,
    made: SystemTime,
    life: Duration,
    /// By the clock that nobody sets.
    pub(super) renew_at: Instant,
    /// What of.
    pub(super) made_of: String,
    pem: String,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("made", &self.made)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// What the control plane answered; `None` when that is none of what it should be.
    pub(super) fn new(
        key: &KeyPair,
        answer: CertifyResponse,
        made_of: String,
        now: SystemTime,
    ) -> Option<Self> {
        let CertifyResponse { certificate, authorities, life_seconds } = answer;
        let made = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (key, authorities) = (key.serialize_pem(), authorities.concat());
        let text = format!(
            "# {HEADING}\n# made {made}\n# life {life_seconds}\n# of {made_of}\n{key}{certificate}{authorities}"
        );
        Self::of(text, now)
    }

    /// What a file has kept; `None` where there is none.
    pub(super) fn read(file: &Path) -> Result<Option<Self>, NotRead> {
        let not_read = |why: String| NotRead { file: file.to_owned(), why };
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(not_read(format!("cannot be read ({error})"))),
        };
        let kept = Self::of(text, SystemTime::now());
        kept.map(Some).ok_or_else(|| not_read("is spoilt".to_owned()))
    }

    fn of(text: String, now: SystemTime) -> Option<Self> {
        let said = |what: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix("# "));
            lines.find_map(|line| line.strip_prefix(what)?.strip_prefix(' ')).map(str::to_owned)
        };
        let made = UNIX_EPOCH + Duration::from_secs(said("made")?.parse().ok()?);
        let life = Duration::from_secs(u64::from(said("life")?.parse::<u32>().ok()?));
        let made_of = said("of")?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
        let all = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let mut all = all.ok()?.into_iter();
        let certificate = all.next()?;
        let authorities: Vec<_> = all.collect();
        if authorities.is_empty() {
            return None;
        }
        let (least, most) = RENEWED_AFTER;
        let after = life.mul_f64(rand::random_range(least..most));
        // One that was made in the future was made under another clock.
        let over = now.duration_since(made).unwrap_or(after);
        let renew_at = Instant::now() + after.saturating_sub(over);
        Some(Self { key, certificate, authorities, made, life, renew_at, made_of, pem: text })
    }

    /// Until when it is good, by the clock here.
    pub(super) fn ends(&self) -> SystemTime {
        self.made + self.life
    }

    /// Whom it came with, the newest last.
    pub(super) fn believed(&self) -> Vec<Fingerprint> {
        self.authorities.iter().map(|der| Fingerprint::of(der)).collect()
    }

    /// What is shown in TLS.
    pub(super) fn shown(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        (self.certificate.clone(), self.key.clone_key())
    }

    /// Writes it whole, or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        // Created with mode 0600.
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(self.pem.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::CertificateParams;

    use super::*;

    pub(in crate::credentials) fn kept(now: SystemTime) -> Kept {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
        let authorities = vec![certificate.clone()];
        let answer = CertifyResponse { certificate, authorities, life_seconds: 900 };
        Kept::new(&key, answer, "a token".to_owned(), now).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_read_again_by_its_owner_alone_and_renewed_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("certificate.pem");
        assert!(Kept::read(&path).unwrap().is_none());
        // A third of its life is over.
        let written = kept(SystemTime::now() - Duration::from_secs(300));
        written.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Kept::read(&path).unwrap().unwrap();
        assert_eq!((read.made_of.as_str(), read.ends()), ("a token", written.ends()));
        assert_eq!(read.shown(), written.shown());
        let left = read.renew_at - Instant::now();
        assert!((239..=300).contains(&left.as_secs()), "{left:?}");
        // Of a file that was cut nothing is taken.
        let text = fs::read_to_string(&path).unwrap();
        for cut in [0, text.find("-----BEGIN CERT").unwrap(), text.rfind("-----BEGIN").unwrap()] {
            fs::write(&path, &text[..cut]).unwrap();
            assert!(Kept::read(&path).is_err(), "{cut}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_made_under_another_clock_is_renewed_at_once() {
        let ahead = SystemTime::now() + Duration::from_secs(7_200);
        let text = kept(ahead).pem;
        assert_eq!(Kept::of(text, SystemTime::now()).unwrap().renew_at, Instant::now());
    }
}
