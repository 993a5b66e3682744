//! Certificates in files of this host: read when they are named, and whenever they change. What was read last stays
//! while what is there does not load, e.g. while one file of two has been replaced.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    sync::Weak,
    time::{Duration, Instant},
};

use api::{
    certificate,
    resource::{CertificateFiles, Key},
};
use routes::tls::Certificate;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::{Control, hub::Hub, picture};

/// How often files are looked at: their metadata, which costs next to nothing, and works for whatever replaces them,
/// mounts of other machines and links into directories that are swapped included.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of one file: far more than any chain has.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What tells one state of a file from another; nothing of one that is not there.
type Stamp = Vec<Option<(u64, u64, i64, i64)>>;

/// What was seen of a certificate's files.
#[derive(Debug, PartialEq)]
struct Seen {
    files: CertificateFiles,
    stamp: Stamp,
    is_loaded: bool,
}

/// Reads them for as long as the control plane is there.
pub(crate) async fn follow(control: Weak<Control>) {
    let mut seen: HashMap<Key, Seen> = HashMap::new();
    loop {
        let Some(there) = control.upgrade() else { return };
        let named = named(&there.hub());
        drop(there);
        let looked = tokio::task::spawn_blocking(move || {
            let read = look(named, &mut seen);
            (seen, read)
        });
        let Ok((known, read)) = looked.await else { return };
        seen = known;
        if !read.is_empty() {
            let Some(there) = control.upgrade() else { return };
            let mut hub = there.hub();
            for (key, files, read) in read {
                if let Err(problem) = &read {
                    tracing::warn!(certificate = %key, problem, "its files do not load; what was loaded last stays");
                }
                hub.certificate_read(&key, &files, read, Instant::now());
            }
            drop(hub);
            there.nudge();
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// A certificate that is read from files.
struct Named {
    key: Key,
    files: CertificateFiles,
    /// Whether nothing has been read for it since it was written, whatever was seen of one of the same name before.
    is_awaited: bool,
}

fn named(hub: &Hub) -> Vec<Named> {
    let named = hub.picture().certificates.files().map(|(key, files, is_awaited)| Named {
        key: key.clone(),
        files: files.clone(),
        is_awaited,
    });
    named.collect()
}

type Read = (Key, CertificateFiles, Result<Certificate, String>);

/// Reads what has changed since it was seen, what did not load then, and what waits for it.
fn look(named: Vec<Named>, seen: &mut HashMap<Key, Seen>) -> Vec<Read> {
    seen.retain(|key, _| named.iter().any(|named| named.key == *key));
    let mut all = Vec::new();
    for Named { key, files, is_awaited } in named {
        let stamp = stamp(&files);
        let before = seen.get(&key);
        let is_seen = before.is_some_and(|it| it.files == files && it.stamp == stamp);
        let is_known = is_seen && !is_awaited;
        // What does not load is read again: it may have been read while it was written.
        if is_known && before.is_some_and(|it| it.is_loaded) {
            continue;
        }
        let read = read(&files);
        let is_loaded = read.is_ok();
        // The same mistake is told once.
        if is_loaded || !is_known {
            all.push((key.clone(), files.clone(), read));
        }
        seen.insert(key, Seen { files, stamp, is_loaded });
    }
    all
}

fn stamp(files: &CertificateFiles) -> Stamp {
    let paths = [&files.certificate, &files.private_key, &files.ca_certificates];
    let of = |path: &String| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    };
    paths.into_iter().flatten().map(of).collect()
}

/// What is in them; or why it does not load. Nothing of a private key is in that.
pub(crate) fn read(files: &CertificateFiles) -> Result<Certificate, String> {
    let named = |field, path: &Option<String>| {
        let path = path.as_deref().unwrap_or_default();
        let text = text(path).map_err(|error| format!("files.{field}: `{path}`: {error}"))?;
        Ok::<_, String>((path.to_owned(), text))
    };
    let at = |field, path: &str, remedy| format!("files.{field}: `{path}`: {remedy}");
    if files.ca_certificates.is_some() {
        let (path, pem) = named("caCertificates", &files.ca_certificates)?;
        let authorities = certificate::certificates(&pem);
        let authorities = authorities.map_err(|remedy| at("caCertificates", &path, remedy))?;
        return Ok(Certificate { authorities, ..Certificate::default() });
    }
    let (path, pem) = named("certificate", &files.certificate)?;
    let (path_of_key, key) = named("privateKey", &files.private_key)?;
    let key = certificate::private_key(&Zeroizing::new(key));
    let key = key.map_err(|remedy| at("privateKey", &path_of_key, remedy))?;
    picture::pair(&pem, key).map_err(|remedy| at("certificate", &path, remedy))
}

/// What is in a file, and no more than a file is to have. Neither waits for anybody: a pipe in the file's place, even one
/// that was put there just now, is not waited at, and what has no end is not read to its end.
fn text(path: &str) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let mut text = String::new();
    let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
