//! Certificates as they are distributed: opened, or read from files, and what they say of themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::{
    certificate::{self, Described, Worst},
    resource::{Certificate as CertificateObject, CertificateFiles, Key, NOT_ITS_KEY, Object, Set},
};
use routes::tls::{Certificate, PrivateKey};
use telemetry::{
    Samples,
    names::{self, label},
};

use super::versioned::{self, Versioned};
use crate::{
    key::{ResourceKey, Topic, Touch},
    keyring::{Keyring, KeyringError},
};

/// How often the calendar is looked at: every write and acknowledgement asks, and each certificate costs a comparison.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Certificates in force.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    keyring: Option<Arc<Keyring>>,
    /// By `namespace/name`.
    entries: BTreeMap<Arc<str>, Entry>,
    /// Those that stand otherwise than when this was last asked.
    changed: BTreeSet<Key>,
    /// The calendar when it was last looked at.
    looked_at: Option<SystemTime>,
}

#[derive(Debug)]
struct Entry {
    object: Key,
    /// Where it is read from, if from files.
    files: Option<CertificateFiles>,
    /// Whether they have not been read since they were named.
    is_awaited: bool,
    /// What was loaded last.
    loaded: Option<Loaded>,
    /// Why what is written is not what was loaded last.
    problem: Option<String>,
    /// The generation of its last change.
    generation: u64,
}

#[derive(Debug)]
struct Loaded {
    wire: Versioned,
    /// It has no private key: whoever likes may read it.
    is_public: bool,
    described: Described,
    /// As it was last looked at.
    worst: Option<Worst>,
}

impl Certificates {
    /// From now on opens private keys.
    pub(super) fn set_keyring(&mut self, keyring: Arc<Keyring>) {
        self.keyring = Some(keyring);
    }

    /// Builds a certificate anew. What was loaded last stays where what is written does not load.
    pub(super) fn rebuild(&mut self, object: &Key, set: &Set, touches: &mut Vec<Touch>) {
        let name: Arc<str> = format!("{}/{}", object.namespace, object.name).into();
        let Some(Object::Certificate(certificate)) = set.get(object) else {
            if self.entries.remove(&name).is_some() {
                self.changed.insert(object.clone());
                touches.extend(Touch::both(ResourceKey::Certificate(name)));
            }
            return;
        };
        let files = certificate.spec.files.clone();
        let before = self.entries.get(&name);
        if before.is_some_and(|before| files.is_some() && before.files == files) {
            return;
        }
        let loaded = match &files {
            None => self.written(certificate),
            Some(_) => Err("its files have not been read yet".to_owned()),
        };
        let entry = self.entries.entry(name).or_insert_with(|| Entry {
            object: object.clone(),
            files: None,
            is_awaited: false,
            loaded: None,
            problem: None,
            generation: 0,
        });
        entry.is_awaited = files.is_some();
        entry.files = files;
        self.loaded(object, loaded, touches);
    }

    /// Files of a certificate were read. Those that are no longer its files do not count.
    pub(super) fn files_read(
        &mut self,
        object: &Key,
        files: &CertificateFiles,
        read: Result<Certificate, String>,
        touches: &mut Vec<Touch>,
    ) {
        let name = format!("{}/{}", object.namespace, object.name);
        let Some(entry) = self.entries.get_mut(name.as_str()) else { return };
        if entry.files.as_ref() == Some(files) {
            entry.is_awaited = false;
            self.loaded(object, read, touches);
        }
    }

    fn loaded(
        &mut self,
        object: &Key,
        read: Result<Certificate, String>,
        touches: &mut Vec<Touch>,
    ) {
        let name = format!("{}/{}", object.namespace, object.name);
        let Some((name, entry)) = self.entries.get_key_value(name.as_str()) else { return };
        let name = Arc::clone(name);
        let loaded = read.and_then(|certificate| Loaded::new(&name, &certificate, self.looked_at));
        let before = entry.loaded.as_ref().map(|loaded| (loaded.wire.version, loaded.is_public));
        let Some(entry) = self.entries.get_mut(&name) else { return };
        match loaded {
            Ok(loaded) => {
                entry.problem = None;
                let key = ResourceKey::Certificate(name);
                if before.map(|(_, is_public)| is_public) != Some(loaded.is_public) {
                    // Others may be told it than before.
                    touches.push(Touch::Share(Topic::Resource(key.clone())));
                }
                if before.map(|(version, _)| version) != Some(loaded.wire.version) {
                    touches.push(Touch::Content(key));
                }
                entry.loaded = Some(loaded);
            }
            Err(problem) if entry.problem.as_ref() == Some(&problem) => return,
            Err(problem) => entry.problem = Some(problem),
        }
        self.changed.insert(object.clone());
    }

    /// What is written in an object.
    fn written(&self, object: &CertificateObject) -> Result<Certificate, String> {
        let spec = &object.spec;
        if let Some(pem) = &spec.ca_certificates {
            return Ok(Certificate {
                authorities: certificate::certificates(pem)?,
                ..Certificate::default()
            });
        }
        let (Some(pem), Some(_)) = (&spec.certificate, &spec.private_key) else {
            return Err("there is nothing in it".to_owned());
        };
        let opened = self.private_key(object).unwrap_or(Err(KeyringError::NotOfThis));
        pair(pem, opened.map_err(|error| error.to_string())?)
    }

    /// The private key of an object that has one, sealed.
    pub(crate) fn private_key(
        &self,
        object: &CertificateObject,
    ) -> Option<Result<PrivateKey, KeyringError>> {
        let sealed = object.spec.private_key.as_ref()?.sealed()?;
        Some(self.keyring.as_ref()?.open(&object.key(), sealed))
    }

    /// Whether it is time to look at the calendar, and at what waits for its key file.
    pub(super) fn is_due(&mut self, now: SystemTime) -> bool {
        let since = self.looked_at.map(|looked_at| now.duration_since(looked_at));
        // A clock that was put back is looked at anew.
        let is_due = !since.is_some_and(|since| since.is_ok_and(|since| since < LOOK_INTERVAL));
        if is_due {
            self.looked_at = Some(now);
        }
        is_due
    }

    /// Certificates whose private keys did not open: the key file may be there by now.
    pub(super) fn unopened(&self) -> Vec<Key> {
        let waiting = |entry: &&Entry| entry.problem.is_some() && entry.files.is_none();
        self.entries.values().filter(waiting).map(|entry| entry.object.clone()).collect()
    }

    /// Looks at the calendar.
    pub(super) fn look_at_calendar(&mut self, now: SystemTime) {
        for entry in self.entries.values_mut() {
            let Some(loaded) = &mut entry.loaded else { continue };
            let worst = loaded.described.worst(now);
            if worst != loaded.worst {
                loaded.worst = worst;
                self.changed.insert(entry.object.clone());
            }
        }
    }

    /// Those that stand otherwise since this was last asked.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }

    /// Notes in which generation certificates changed last.
    pub(super) fn note_generation(&mut self, touches: &[Touch], generation: u64) {
        for touch in touches {
            if let Touch::Content(ResourceKey::Certificate(name)) = touch
                && let Some(entry) = self.entries.get_mut(name)
            {
                entry.generation = generation;
            }
        }
    }

    /// The generation of a certificate's last change.
    pub(crate) fn generation(&self, name: &str) -> u64 {
        self.entries.get(name).map_or(0, |entry| entry.generation)
    }

    /// A certificate as it is distributed.
    pub(crate) fn wire(&self, name: &str) -> Option<&Versioned> {
        Some(&self.entries.get(name)?.loaded.as_ref()?.wire)
    }

    /// Whether a certificate is there, and whoever likes may read it: authorities alone.
    pub(super) fn is_public(&self, name: &str) -> bool {
        let loaded = self.entries.get(name).and_then(|entry| entry.loaded.as_ref());
        loaded.is_some_and(|loaded| loaded.is_public)
    }

    /// Whether a certificate is written of which nothing has been loaded.
    pub(super) fn is_not_loaded(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.loaded.is_none())
    }

    /// Why what is written is not what is distributed.
    pub(crate) fn problem(&self, name: &str) -> Option<&str> {
        self.entries.get(name)?.problem.as_deref()
    }

    /// What a certificate says of itself that was loaded, and those that sign it, or its authorities; and which of them
    /// stands worst.
    pub(crate) fn described(&self, name: &str) -> Option<(&Described, Option<Worst>)> {
        let loaded = self.entries.get(name)?.loaded.as_ref()?;
        Some((&loaded.described, loaded.worst))
    }

    /// Every certificate: its object, and `namespace/name`.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.entries.iter().map(|(name, entry)| (&entry.object, &**name))
    }

    /// When each expires.
    pub(crate) fn measure(&self, samples: &mut Samples) {
        for entry in self.entries.values() {
            let until = entry.loaded.as_ref().and_then(|loaded| loaded.described.good_until());
            let until = until.and_then(|until| until.duration_since(UNIX_EPOCH).ok());
            let labels = [
                (label::NAMESPACE, entry.object.namespace.as_str()),
                (label::CERTIFICATE, entry.object.name.as_str()),
            ];
            if let Some(until) = until {
                samples.add(names::CERTIFICATE_EXPIRY, &labels, until.as_secs_f64());
            }
        }
    }

    /// Those that are read from files, and whether they have not been read since they were named.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Key, &CertificateFiles, bool)> {
        self.entries
            .values()
            .filter_map(|entry| Some((&entry.object, entry.files.as_ref()?, entry.is_awaited)))
    }
}

impl Loaded {
    fn new(name: &str, certificate: &Certificate, now: Option<SystemTime>) -> Result<Self, String> {
        let described = Described::of(certificate)?;
        let worst = now.and_then(|now| described.worst(now));
        let is_public = certificate.key.is_none();
        Ok(Self { wire: versioned::certificate(name, certificate), is_public, described, worst })
    }
}

/// A certificate with its key; or what would be right.
pub(crate) fn pair(pem: &str, key: PrivateKey) -> Result<Certificate, String> {
    let chain = certificate::certificates(pem)?;
    certificate::check_chain(&chain)?;
    match certificate::is_of(&chain[0], &key) {
        true => Ok(Certificate { chain, key: Some(key), authorities: Vec::new() }),
        false => Err(NOT_ITS_KEY.to_owned()),
    }
}
