//! The last good picture on disk, as the messages it came in, so that a data plane that restarts while the
//! control plane is away serves at once.
//!
//! The file: [`MAGIC`] and [`VERSION`], the CRC-32 of all that follows, then length-delimited messages: a
//! `Hello` with role and name of whose picture it is (for others on the machine also its namespace and its control plane), a `ControlMessage` with generation and digest, a `Subscribe` with what
//! had been asked for, and every `Resource`.

use std::{
    fs::{self, File},
    future,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use api::discovery::v1;
use bytes::Bytes;
use prost::Message;
use tokio::{task::JoinHandle, time::Instant};

use crate::shared_copy::SharedCopy;

/// What the file begins with.
const MAGIC: &[u8; 7] = b"LANEWAY";

/// The format's version: the byte after [`MAGIC`].
const VERSION: u8 = 3;

/// Bytes before the messages.
const HEADER_BYTES: usize = MAGIC.len() + size_of::<u8>() + size_of::<u32>();

/// How long changes gather before the picture is written: lanes toggled ten times a second then cost two writes.
const WRITE_AFTER: Duration = Duration::from_millis(500);

/// How often what stays as it is is written again while the control plane is there. Much less than it may be old to be of
/// use to others.
const REFRESH_EVERY: Duration = Duration::from_hours(1);

/// Least time between two writes. An application that starts asks for one name after the other; each would be a write.
const WRITE_PAUSE: Duration = Duration::from_millis(100);

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stored {
    /// Whose picture it is: role and name.
    pub(crate) owner: v1::Hello,
    /// Which picture it is.
    pub(crate) generation: v1::Generation,
    /// What names and addresses mean something.
    pub(crate) digest: Option<v1::Digest>,
    /// What had been asked for.
    pub(crate) subscribed: v1::Subscribe,
    /// Every resource, encoded.
    pub(crate) resources: Vec<Bytes>,
}

/// Why there is no last configuration, though there is a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("the last configuration cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the last configuration is of format {0}; this release reads {VERSION}")]
    OtherVersion(u8),
    #[error("the last configuration is that of {} {name}", .role.as_str_name())]
    OfAnother { role: v1::Role, name: String },
    #[error("the last configuration is spoilt: {0}")]
    Spoilt(&'static str),
    #[error("the last configuration is spoilt: {0}")]
    NoMessage(#[from] prost::DecodeError),
}

/// Who has written what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Own,
    /// Another data plane of the same application: the control plane does not know that this one has it.
    Others,
}

/// Keeps the file: one write at a time, and not one for every change.
pub(crate) struct Keeper {
    path: PathBuf,
    /// Role and name.
    owner: v1::Hello,
    /// Where other instances of the application on this machine find the same.
    shared: Option<SharedCopy>,
    write_at: Option<Instant>,
    written: Option<Instant>,
    /// When it is written though nothing has changed: its age says when it was last known to be right.
    refresh_at: Instant,
    writing: Option<JoinHandle<()>>,
    /// Another process writes the file.
    is_anothers: bool,
}

impl Keeper {
    pub(crate) fn new(path: PathBuf, hello: &v1::Hello, shared: Option<SharedCopy>) -> Self {
        let owner = v1::Hello { role: hello.role, name: hello.name.clone(), ..Default::default() };
        let refresh_at = Instant::now() + REFRESH_EVERY;
        Self {
            path,
            owner,
            shared,
            write_at: None,
            written: None,
            refresh_at,
            writing: None,
            is_anothers: false,
        }
    }

    /// What is kept, how long ago it was written, and by whom: by this data plane before, else by another instance on the
    /// machine. `None` where there is neither.
    pub(crate) async fn read(&self) -> Option<(Stored, Duration, Whose)> {
        let own = self.read_own().await.unwrap_or_else(|error| {
            tracing::warn!(file = %self.path.display(), "{error}; starting without it");
            None
        });
        if let Some((stored, age)) = own {
            return Some((stored, age, Whose::Own));
        }
        let shared = self.shared.as_ref()?;
        let found = self.read_shared(shared).await.unwrap_or_else(|error| {
            tracing::warn!(file = %shared.path().display(), "{error}; starting without it");
            None
        });
        let (stored, age) = found?;
        Some((stored, age, Whose::Others))
    }

    async fn read_own(&self) -> Result<Option<(Stored, Duration)>, SnapshotError> {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let written = fs::metadata(&path)?.modified()?;
            io::Result::Ok((fs::read(&path)?, written))
        });
        let (content, written) = match reading.await.map_err(io::Error::from)? {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        Ok(Some((of(&self.owner, content)?, age)))
    }

    async fn read_shared(
        &self,
        shared: &SharedCopy,
    ) -> Result<Option<(Stored, Duration)>, SnapshotError> {
        let reading = {
            let shared = shared.clone();
            tokio::task::spawn_blocking(move || shared.read())
        };
        let Some((content, age)) = reading.await.map_err(io::Error::from)?? else {
            return Ok(None);
        };
        Ok(Some((of(shared.owner(), content)?, age)))
    }

    /// Whether the file is to be written at all: not when it is another process's. What has changed since is written once
    /// it is this one's again.
    pub(crate) fn keep(&mut self, keeps: bool) {
        self.is_anothers = !keeps;
        if keeps {
            self.changed();
        }
    }

    /// There is something to write, soon.
    pub(crate) fn changed(&mut self) {
        if self.is_anothers {
            return;
        }
        self.write_at.get_or_insert_with(|| Instant::now() + WRITE_AFTER);
    }

    /// There is something to write at once: what an application has asked for is what it needs at its next start.
    pub(crate) fn changed_what_is_asked(&mut self) {
        if self.is_anothers {
            return;
        }
        let now = Instant::now();
        self.write_at = Some(self.written.map_or(now, |written| now.max(written + WRITE_PAUSE)));
    }

    /// There is nothing to write until something changes.
    pub(crate) fn is_not_due(&mut self) {
        self.write_at = None;
    }

    /// It is time to say anew that nothing has changed; the next time is later, be the file another process's.
    pub(crate) fn refresh(&mut self) {
        self.refresh_at = Instant::now() + REFRESH_EVERY;
        self.changed();
    }

    /// Returns when it is time to say anew that nothing has changed.
    pub(crate) async fn refresh_due(&self) {
        match self.is_anothers {
            true => future::pending().await,
            false => tokio::time::sleep_until(self.refresh_at).await,
        }
    }

    /// Returns when it is time to write.
    pub(crate) async fn due(&self) {
        match self.write_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => future::pending().await,
        }
    }

    /// Starts to write if there is something to write, after an earlier write has ended. Others on the machine get it only if
    /// it `is_current`: what the control plane has said to this data plane itself.
    pub(crate) async fn write<'a>(
        &mut self,
        is_current: bool,
        first: &v1::ControlMessage,
        subscribed: &v1::Subscribe,
        resources: impl Iterator<Item = &'a [u8]>,
    ) {
        if self.write_at.take().is_none() {
            return;
        }
        self.finish().await;
        let now = Instant::now();
        (self.written, self.refresh_at) = (Some(now), now + REFRESH_EVERY);
        let picture = encode(first, subscribed, resources);
        let (path, owner, shared) = (self.path.clone(), self.owner.clone(), self.shared.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = write_atomically(&path, &framed(&owner, &picture)) {
                tracing::warn!(file = %path.display(), %error, "the configuration could not be written to disk");
            }
            if let Some(shared) = shared.filter(|_| is_current) {
                shared.write(&framed(shared.owner(), &picture));
            }
        }));
    }

    /// Waits until the last write has ended.
    pub(crate) async fn finish(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
    }
}

/// Replaces a file so that whoever reads it, after a crash too, finds the old content or the new. Only its owner
/// can read it: state names every service and may hold secrets of sources.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    // Created with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

/// Writes what is kept of a picture. `resources` are encoded already: they are kept that way.
fn encode<'a>(
    first: &v1::ControlMessage,
    subscribed: &v1::Subscribe,
    resources: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut content = first.encode_length_delimited_to_vec();
    content.extend(subscribed.encode_length_delimited_to_vec());
    for resource in resources {
        // Never fails: a vector grows.
        let _ = prost::encode_length_delimiter(resource.len(), &mut content);
        content.extend_from_slice(resource);
    }
    content
}

/// Writes the file's content.
fn framed(owner: &v1::Hello, picture: &[u8]) -> Vec<u8> {
    let mut content = [MAGIC.as_slice(), &[VERSION], &[0; size_of::<u32>()]].concat();
    content.extend(owner.encode_length_delimited_to_vec());
    content.extend_from_slice(picture);
    let checksum = crc32fast::hash(&content[HEADER_BYTES..]);
    content[HEADER_BYTES - size_of::<u32>()..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    content
}

/// Reads the file's content, which must be of that owner.
fn of(owner: &v1::Hello, content: Vec<u8>) -> Result<Stored, SnapshotError> {
    let stored = decode(content.into())?;
    if stored.owner != *owner {
        let (role, name) = (stored.owner.role(), stored.owner.name);
        return Err(SnapshotError::OfAnother { role, name });
    }
    Ok(stored)
}

/// Reads the file's content.
fn decode(content: Bytes) -> Result<Stored, SnapshotError> {
    let spoilt = SnapshotError::Spoilt;
    let rest = content.strip_prefix(MAGIC).ok_or(spoilt("it begins as no such file does"))?;
    let (version, rest) = rest.split_first().ok_or(spoilt("it is cut short"))?;
    if *version != VERSION {
        return Err(SnapshotError::OtherVersion(*version));
    }
    let (checksum, messages) = rest.split_first_chunk().ok_or(spoilt("it is cut short"))?;
    if u32::from_le_bytes(*checksum) != crc32fast::hash(messages) {
        return Err(spoilt("its checksum does not fit its content"));
    }
    let mut messages = content.slice(HEADER_BYTES..);
    let owner = v1::Hello::decode_length_delimited(&mut messages)?;
    let first = v1::ControlMessage::decode_length_delimited(&mut messages)?;
    let subscribed = v1::Subscribe::decode_length_delimited(&mut messages)?;
    let mut resources = Vec::new();
    while !messages.is_empty() {
        let length = prost::decode_length_delimiter(&mut messages)?;
        if length > messages.len() {
            return Err(spoilt("it is cut short"));
        }
        resources.push(messages.split_to(length));
    }
    let v1::ControlMessage { generation, digest, .. } = first;
    Ok(Stored { owner, generation: generation.unwrap_or_default(), digest, subscribed, resources })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn stored() -> Stored {
        let resource = |name: &str| v1::Resource {
            key: format!("name/{name}"),
            version: 7,
            body: Some(v1::resource::Body::Name(v1::NameAnswer {
                name: name.to_owned(),
                ..Default::default()
            })),
        };
        let resource = |name: &str| Bytes::from(resource(name).encode_to_vec());
        let owner = v1::Hello {
            role: v1::Role::Sidecar.into(),
            name: "app-a".into(),
            ..Default::default()
        };
        Stored {
            owner,
            generation: v1::Generation { epoch: "e".into(), number: 3 },
            digest: Some(v1::Digest { whole: true, added: vec![7, 9], removed: Vec::new() }),
            subscribed: v1::Subscribe { names: vec!["sc-b".into()], ..Default::default() },
            resources: vec![resource("sc-b"), resource("sc-c")],
        }
    }

    fn first_of(stored: &Stored) -> v1::ControlMessage {
        v1::ControlMessage {
            generation: Some(stored.generation.clone()),
            digest: stored.digest.clone(),
            ..Default::default()
        }
    }

    fn written() -> Vec<u8> {
        let stored = stored();
        let resources = stored.resources.iter().map(|it| &**it);
        framed(&stored.owner, &encode(&first_of(&stored), &stored.subscribed, resources))
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(decode(written().into()).unwrap(), stored());
    }

    #[tokio::test]
    async fn the_picture_of_another_role_or_name_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("snapshot");
        write_atomically(&path, &written()).unwrap();
        let own = stored().owner;
        let keeper = |own: &v1::Hello| Keeper::new(path.clone(), own, None);
        assert!(keeper(&own).read_own().await.unwrap().is_some());
        let gateway = v1::Hello { role: v1::Role::Gateway.into(), ..own.clone() };
        let other = v1::Hello { name: "app-b".into(), ..own };
        for other in [gateway, other] {
            let refused = keeper(&other).read_own().await.unwrap_err().to_string();
            assert_eq!(refused, "the last configuration is that of ROLE_SIDECAR app-a");
        }
    }

    #[test]
    fn what_stays_as_it_is_is_written_hourly_by_whoever_keeps_it() {
        for keeps in [true, false] {
            let mut keeper = Keeper::new("snapshot".into(), &stored().owner, None);
            keeper.keep(keeps);
            keeper.is_not_due();
            keeper.refresh_at = Instant::now();
            keeper.refresh();
            assert_eq!(keeper.write_at.is_some(), keeps);
            assert!(keeper.refresh_at > Instant::now() + REFRESH_EVERY / 2, "not again at once");
        }
    }

    #[tokio::test]
    async fn whoever_has_none_of_its_own_reads_what_another_was_told_last() {
        let parent = tempfile::tempdir().unwrap();
        let (stored, own) = (stored(), stored().owner);
        let keeper = |node: &str, hello: &v1::Hello| {
            let shared = SharedCopy::new(parent.path().join("shared"), hello, "127.0.0.1:7601");
            Keeper::new(parent.path().join(node), hello, Some(shared))
        };
        let mut first = keeper("one", &own);
        first.changed();
        let resources = stored.resources.iter().map(|it| &**it);
        first.write(false, &first_of(&stored), &stored.subscribed, resources.clone()).await;
        first.finish().await;
        assert!(keeper("other", &own).read().await.is_none(), "nobody has said so to it itself");
        first.changed();
        first.write(true, &first_of(&stored), &stored.subscribed, resources).await;
        first.finish().await;
        let (read, _, whose) = keeper("other", &own).read().await.unwrap();
        assert_eq!(whose, Whose::Others);
        let of_other = Stored { owner: stored.owner.clone(), ..read };
        assert_eq!(of_other, stored);
        for other in [
            v1::Hello { name: "app-b".into(), ..own.clone() },
            v1::Hello { role: v1::Role::Gateway.into(), ..own.clone() },
            v1::Hello { namespace: "other".into(), ..own.clone() },
        ] {
            assert!(keeper("other", &other).read().await.is_none(), "{other:?}");
        }
        // One's own comes first, unless it cannot be read.
        write_atomically(&parent.path().join("one"), b"spoilt").unwrap();
        assert!(keeper("one", &own).read().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_is_written_at_once_and_not_all_the_time() {
        let parent = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(parent.path().join("snapshot"), &stored().owner, None);
        let began = Instant::now();
        keeper.changed();
        keeper.changed_what_is_asked();
        keeper.due().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let stored = stored();
        keeper.write(true, &first_of(&stored), &stored.subscribed, std::iter::empty()).await;
        keeper.changed_what_is_asked();
        keeper.due().await;
        assert!(began.elapsed() >= WRITE_PAUSE && began.elapsed() < WRITE_AFTER);
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let mut older = written();
        older[MAGIC.len()] = 1;
        let refused = decode(older.into()).unwrap_err().to_string();
        assert_eq!(refused, "the last configuration is of format 1; this release reads 3");
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let whole = written();
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            assert!(decode(changed.into()).is_err(), "byte {index} changed");
            assert!(decode(Bytes::copy_from_slice(&whole[..index])).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn what_is_written_is_whole_and_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("snapshot");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
