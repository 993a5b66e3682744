//! The last good picture of an application, kept once for all its instances on a machine: one that has none of its own,
//! because it has never run here, starts from it while the control plane is away.
//!
//! The directory and its files are this user's alone: what another could have written is not read.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use api::discovery::v1;
use prost::Message as _;
use rustix::{fs::OFlags, process::geteuid};

/// How old a copy may be to be of use. What it leads to may be somebody else's by then, and what stands here for so long
/// without a control plane is better started with one.
const AGE_MAX: Duration = Duration::from_hours(24);

/// How far a clock may be set back unnoticed.
const CLOCKS_DIFFER_BY: Duration = Duration::from_mins(5);

/// How the files are called: by what they are of, which is no name of a file.
const EXTENSION: &str = "snapshot";

/// Nobody but its owner reads or writes it.
const DIRECTORY_MODE: u32 = 0o700;

/// What nobody but the owner may do, of a mode.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Where the copy of one application is.
#[derive(Debug, Clone)]
pub(crate) struct SharedCopy {
    directory: PathBuf,
    path: PathBuf,
    /// Whose it is: role, name, namespace, and the control plane that it came from.
    owner: v1::Hello,
    /// That it cannot be written was told.
    is_told: Arc<AtomicBool>,
}

impl SharedCopy {
    /// The copy in `directory` of what a data plane that follows `control` is.
    pub(crate) fn new(directory: PathBuf, hello: &v1::Hello, control: &str) -> Self {
        let owner = v1::Hello {
            role: hello.role,
            name: hello.name.clone(),
            namespace: hello.namespace.clone(),
            address: meant(control),
            ..Default::default()
        };
        let number = crc32fast::hash(&owner.encode_to_vec());
        let path = directory.join(format!("{number:08x}.{EXTENSION}"));
        Self { directory, path, owner, is_told: Arc::default() }
    }

    /// Who it must be of.
    pub(crate) fn owner(&self) -> &v1::Hello {
        &self.owner
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its content and how long ago it was written; `None` where there is none, or only one that is of no use any more.
    pub(crate) fn read(&self) -> io::Result<Option<(Vec<u8>, Duration)>> {
        match fs::symlink_metadata(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            directory => own(&directory?)?,
        }
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (directory, control) = (self.directory.display(), &self.owner.address);
                tracing::info!(%directory, control, "no other instance of this application has left a copy that this control plane told, by the name or address that it has here");
                return Ok(None);
            }
            file => file?,
        };
        let metadata = file.metadata()?;
        own(&metadata)?;
        let age = age(&metadata)?;
        if age > AGE_MAX {
            return Ok(None);
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(Some((content, age)))
    }

    /// Replaces it. Where that cannot be, it is said once: nothing depends on it.
    pub(crate) fn write(&self, content: &[u8]) {
        if let Err(error) = self.replace(content)
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                directory = %self.directory.display(), %error,
                "instances of this application that are new here cannot be left a copy of the configuration"
            );
        }
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE).create(&self.directory)?;
        own(&fs::symlink_metadata(&self.directory)?)?;
        let is_new = fs::symlink_metadata(&self.path).is_err();
        // Not forced to the disk: whoever reads it sees by its checksum whether it is whole.
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(content)?;
        file.persist(&self.path)?;
        if is_new {
            self.forget_old();
        }
        Ok(())
    }

    /// Copies that are of no use to anybody any more go when another comes: there are as many as applications in a day.
    fn forget_old(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let is_copy = entry.path().extension().is_some_and(|it| it == EXTENSION);
            let is_old = || entry.metadata().and_then(|it| age(&it)).is_ok_and(|age| age > AGE_MAX);
            if is_copy && is_old() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The control plane that is meant by `host:port`, however that is spelt. Whoever has nothing yet while it is away knows no
/// more of it: what it calls itself in a picture says nothing to them, and a name may not be resolved without it.
fn meant(control: &str) -> String {
    // What `localhost` leads to.
    const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];
    let Some((host, port)) = control.rsplit_once(':') else { return control.to_lowercase() };
    let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_lowercase();
    let host = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => host,
    };
    let host = if LOOPBACK.contains(&host.as_str()) { "localhost" } else { &host };
    format!("{host}:{}", port.trim_start_matches('0'))
}

fn age(metadata: &Metadata) -> io::Result<Duration> {
    let (now, modified) = (SystemTime::now(), metadata.modified()?);
    // Of one that comes from the future, because somebody has set the clock since, nobody knows how old it is.
    if modified > now + CLOCKS_DIFFER_BY {
        return Ok(Duration::MAX);
    }
    Ok(now.duration_since(modified).unwrap_or_default())
}

/// What somebody else could have written says nothing.
fn own(metadata: &Metadata) -> io::Result<()> {
    let (user, own) = (metadata.uid(), geteuid().as_raw());
    if user != own {
        let reason = format!("it is of user {user}, and this process of user {own}");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        let reason =
            format!("others than its owner may write it (mode {:o})", metadata.mode() & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn hello(name: &str) -> v1::Hello {
        v1::Hello { role: v1::Role::Sidecar.into(), name: name.to_owned(), ..Default::default() }
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_another_user_could_have_written_is_not_read() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/shared");
        let copy = SharedCopy::new(directory.clone(), &hello("app-a"), "127.0.0.1:7601");
        assert!(copy.read().unwrap().is_none(), "there is nothing yet");
        copy.write(b"content");
        let read = || copy.read().map(|read| read.map(|(content, _)| content));
        assert_eq!(read().unwrap().as_deref(), Some(&b"content"[..]));
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(copy.path()).unwrap().mode() & 0o777, 0o600);
        for (path, loose) in [(&directory, 0o770), (&copy.path, 0o622)] {
            let before = fs::metadata(path).unwrap().mode();
            mode(path, loose);
            let refused = read().unwrap_err().to_string();
            assert!(refused.contains("others than its owner may write it"), "{refused}");
            mode(path, before);
            assert!(read().unwrap().is_some());
        }
        // Nor is somebody led elsewhere.
        let elsewhere = parent.path().join("elsewhere");
        fs::rename(copy.path(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, copy.path()).unwrap();
        assert!(read().is_err());
    }

    #[test]
    fn one_control_plane_is_the_same_however_its_address_is_spelt() {
        for (same, other) in [
            ("localhost:7601", "127.0.0.1:7601"),
            ("LocalHost.:7601", "[::1]:7601"),
            ("[::ffff:127.0.0.1]:7601", "127.0.0.1:07601"),
            ("Control.Example.com.:7601", "control.example.com:7601"),
            ("[FD00:0::1]:7601", "[fd00::1]:7601"),
        ] {
            assert_eq!(meant(same), meant(other));
        }
        for (one, other) in [
            ("127.0.0.1:7601", "127.0.0.2:7601"),
            ("localhost:7601", "localhost:7602"),
            ("control.example.com:7601", "control.example.org:7601"),
            ("localhost.example.com:7601", "localhost:7601"),
        ] {
            assert_ne!(meant(one), meant(other));
        }
        let parent = tempfile::tempdir().unwrap();
        let copy = |control| SharedCopy::new(parent.path().join("shared"), &hello("a"), control);
        copy("127.0.0.1:7601").write(b"content");
        assert!(copy("localhost:7601").read().unwrap().is_some());
    }

    #[test]
    fn another_application_or_control_plane_has_another_and_old_ones_go() {
        let parent = tempfile::tempdir().unwrap();
        let copy = |name, control| SharedCopy::new(parent.path().to_owned(), &hello(name), control);
        mode(parent.path(), 0o700);
        let a = copy("a", "one:7601");
        a.write(b"of a");
        assert!(copy("b", "one:7601").read().unwrap().is_none());
        assert!(copy("a", "other:7601").read().unwrap().is_none());
        assert!(copy("a", "one:7601").read().unwrap().is_some());
        let now = SystemTime::now();
        for when in [now + Duration::from_hours(1), now - AGE_MAX - Duration::from_mins(1)] {
            fs::File::options().write(true).open(a.path()).unwrap().set_modified(when).unwrap();
            assert!(a.read().unwrap().is_none(), "whoever was there then may be somebody else now");
        }
        copy("b", "one:7601").write(b"of b");
        assert!(!a.path().exists());
    }
}
