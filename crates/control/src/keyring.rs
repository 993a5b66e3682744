//! Private keys as they are stored and shown: sealed. A key file opens them; without it everything else works.
//!
//! AES-256-GCM. What is sealed belongs to one object: moved to another it does not open.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use api::resource::{Key, WrittenKey};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    digest, rand,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use lanes::{Fault, Problem};
use parking_lot::Mutex;
use routes::tls::PrivateKey;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Bytes of the key in the key file, which holds them in hexadecimal.
const KEY_BYTES: usize = 32;

/// Bytes before what is sealed.
const NONCE_BYTES: usize = 12;

/// Letters that tell one key file from another.
const NAME_LENGTH: usize = 8;

/// Opens and seals private keys.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    /// It is made when it is first needed; a file that somebody names is theirs to make.
    is_made: bool,
    key: Mutex<Option<Arc<SealingKey>>>,
    /// Whether an authority's key is sealed: then another key file is none to go on with, whatever else is sealed.
    has_authority: AtomicBool,
}

struct SealingKey {
    /// What of it is no secret.
    name: String,
    key: RandomizedNonceKey,
}

/// Why a private key is not sealed, or not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error("the key file {} is missing: put it back, or write the private key again", .0.display())]
    Missing(PathBuf),
    #[error("the key file {path} is missing, and private keys are sealed under it: put it back; if it is lost, make another (`umask 077; openssl rand -hex {KEY_BYTES} > {path}`), then write each certificate again with its key, and make another authority of data planes (`laneway ca rotate`)", path = .0.display())]
    MissingThoughUsed(PathBuf),
    #[error("the key file {} cannot be used ({source})", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the key file {} holds no key: write {KEY_BYTES} random bytes in hexadecimal, e.g. with `openssl rand -hex {KEY_BYTES}`", .0.display())]
    NoKey(PathBuf),
    #[error("the key file {path} {how} since it was read, and private keys will not open after a restart: put it back; if it is lost, restart, write each certificate again with its key, and make another authority of data planes (`laneway ca rotate`)", path = .0.display(), how = .1)]
    NotAsRead(PathBuf, &'static str),
    #[error("it is sealed under another key file than {}: put that one in place, or write the private key again", .0.display())]
    OtherFile(PathBuf),
    #[error("it was sealed for another object, or has been changed: write the private key again")]
    NotOfThis,
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKey {}", self.name)
    }
}

impl SealingKey {
    fn read(path: &Path) -> Result<Self, KeyringError> {
        let failed = |source| KeyringError::File { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeyringError::Missing(path.to_owned()));
            }
            text => Zeroizing::new(text.map_err(failed)?),
        };
        let bytes = unhex(text.trim()).ok_or_else(|| KeyringError::NoKey(path.to_owned()))?;
        let named = Zeroizing::new([b"laneway key file", &bytes[..]].concat());
        let hash = digest::digest(&digest::SHA256, &named);
        let name = hex(hash.as_ref())[..NAME_LENGTH].to_owned();
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*bytes)
            .unwrap_or_else(|_| unreachable!("a key of AES-256 has {KEY_BYTES} bytes"));
        Ok(Self { name, key })
    }
}

impl Keyring {
    /// Of a key file. `is_made`: by us, when it is first needed.
    pub fn new(path: PathBuf, is_made: bool) -> Self {
        Self { path, is_made, key: Mutex::new(None), has_authority: AtomicBool::new(false) }
    }

    /// The private key that `sealed` is, which belongs to an object.
    pub(crate) fn open(&self, object: &Key, sealed: &str) -> Result<PrivateKey, KeyringError> {
        self.open_text(belongs_to(object), sealed)
    }

    /// The private key of an authority, by its fingerprint.
    pub(crate) fn open_authority(
        &self,
        fingerprint: &str,
        sealed: &str,
    ) -> Result<PrivateKey, KeyringError> {
        self.has_authority.store(true, Ordering::Release);
        self.open_text(of_authority(fingerprint), sealed)
    }

    /// The private key of an authority as it is stored. `is_used`: others than authorities are sealed.
    pub(crate) fn seal_authority(
        &self,
        fingerprint: &str,
        key: &PrivateKey,
        is_used: bool,
    ) -> Result<String, KeyringError> {
        let sealed = self.seal_text(of_authority(fingerprint), key, is_used)?;
        self.has_authority.store(true, Ordering::Release);
        Ok(sealed)
    }

    fn open_text(&self, bound: Aad<String>, sealed: &str) -> Result<PrivateKey, KeyringError> {
        let key = self.key()?;
        let (name, sealed) = sealed.split_once(':').ok_or(KeyringError::NotOfThis)?;
        if name != key.name {
            return Err(KeyringError::OtherFile(self.path.clone()));
        }
        let bytes = BASE64_STANDARD.decode(sealed).map_err(|_| KeyringError::NotOfThis)?;
        // It is opened where it lies.
        let mut bytes = Zeroizing::new(bytes);
        let (nonce, sealed) =
            bytes.split_at_mut_checked(NONCE_BYTES).ok_or(KeyringError::NotOfThis)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyringError::NotOfThis)?;
        let opened = key.key.open_in_place(nonce, bound, sealed);
        Ok(PrivateKey::new(opened.map_err(|_| KeyringError::NotOfThis)?.to_vec()))
    }

    /// A private key as it is stored. What is sealed already, and opens, stays as it is; so does `live`, as what the
    /// object has it now, if it is the same key. `is_used`: others are sealed, beside authorities.
    pub(crate) fn sealed(
        &self,
        object: &Key,
        written: &WrittenKey,
        live: Option<&WrittenKey>,
        is_used: bool,
    ) -> Result<WrittenKey, Problem> {
        let told = |remedy: String| Problem::new("spec.privateKey", "", remedy);
        if live == Some(written) {
            return Ok(written.clone());
        }
        if let Some(sealed) = written.sealed() {
            self.open(object, sealed).map_err(|error| told(error.to_string()))?;
            return Ok(written.clone());
        }
        let key = api::certificate::private_key(written.text()).map_err(told)?;
        let same = live.filter(|live| {
            let opened = live.sealed().map(|sealed| self.open(object, sealed));
            opened.is_some_and(|opened| opened.is_ok_and(|live| live == key))
        });
        if let Some(live) = same {
            return Ok(live.clone());
        }
        let sealed = self.seal(object, &key, is_used);
        sealed.map_err(|error| told(error.to_string()).of(Fault::Missing))
    }

    fn seal(
        &self,
        object: &Key,
        private_key: &PrivateKey,
        is_used: bool,
    ) -> Result<WrittenKey, KeyringError> {
        let sealed = self.seal_text(belongs_to(object), private_key, is_used)?;
        Ok(WrittenKey::seal(&sealed))
    }

    fn seal_text(
        &self,
        bound: Aad<String>,
        private_key: &PrivateKey,
        is_used: bool,
    ) -> Result<String, KeyringError> {
        let is_used = is_used || self.has_authority.load(Ordering::Acquire);
        match self.stays() {
            // Nothing is lost with the one that was read.
            Err(_) if !is_used => *self.key.lock() = None,
            stays => stays?,
        }
        let key = match self.key() {
            Err(KeyringError::Missing(path)) if is_used => {
                return Err(KeyringError::MissingThoughUsed(path));
            }
            Err(KeyringError::Missing(_)) if self.is_made => {
                self.make()?;
                self.key()?
            }
            key => key?,
        };
        let mut bytes = private_key.der().to_vec();
        // Else they are moved when they grow, and stay where they were.
        bytes.reserve_exact(AES_256_GCM.tag_len());
        let nonce = (key.key.seal_in_place_append_tag(bound, &mut bytes))
            .unwrap_or_else(|_| unreachable!("a private key is shorter than what can be sealed"));
        let sealed = BASE64_STANDARD.encode([nonce.as_ref().as_slice(), &bytes].concat());
        Ok(format!("{}:{sealed}", key.name))
    }

    /// Read when it is first needed, and again until it is there.
    fn key(&self) -> Result<Arc<SealingKey>, KeyringError> {
        let mut known = self.key.lock();
        if let Some(key) = &*known {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(SealingKey::read(&self.path)?);
        if fs::metadata(&self.path).is_ok_and(|it| it.permissions().mode() & 0o077 != 0) {
            tracing::warn!(file = %self.path.display(), "others can read the key file: chmod 600");
        }
        *known = Some(Arc::clone(&key));
        Ok(key)
    }

    /// That the key file is still what was read of it: what is sealed now would not open after a restart otherwise.
    pub(crate) fn stays(&self) -> Result<(), KeyringError> {
        let Some(known) = self.key.lock().clone() else { return Ok(()) };
        match SealingKey::read(&self.path) {
            Ok(there) if there.name == known.name => Ok(()),
            Ok(_) => Err(KeyringError::NotAsRead(self.path.clone(), "has become another")),
            Err(KeyringError::Missing(path)) => Err(KeyringError::NotAsRead(path, "has gone")),
            Err(error) => Err(error),
        }
    }

    /// Makes the key file. It is on the disk before anything is sealed under it.
    fn make(&self) -> Result<(), KeyringError> {
        let failed = |source| KeyringError::File { path: self.path.clone(), source };
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(&mut *bytes).map_err(|_| failed(io::Error::other("no random numbers")))?;
        let text = Zeroizing::new(hex(&*bytes));
        put_whole(&self.path, |file| writeln!(file, "{}", *text)).map_err(failed)?;
        tracing::info!(file = %self.path.display(), "a key file was made: a backup is of no use for private keys without it");
        Ok(())
    }
}

/// Puts a file where there is none, which nobody but its owner reads: whole or, after a crash or on a full disk, not at
/// all.
fn put_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    // Created with mode 0600.
    let mut file = NamedTempFile::new_in(directory)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    File::open(directory)?.sync_all()
}

/// What a sealed key is bound to.
fn belongs_to(object: &Key) -> Aad<String> {
    Aad::from(format!("{}/{}/{}", object.kind, object.namespace, object.name))
}

/// What the sealed key of an authority is bound to: no object has such a kind.
fn of_authority(fingerprint: &str) -> Aad<String> {
    Aad::from(format!("authority/{fingerprint}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
