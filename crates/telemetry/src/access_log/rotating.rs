//! A file that is put aside when it has become large, and made anew when somebody else has.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::{fs::OFlags, io::Errno};

use super::AccessLogConfig;

/// Bytes gathered before they are written although more lines wait.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// How often it is looked whether the file is still the one of its name.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Whoever may read a process's other files need not know who called whom.
const MODE: u32 = 0o640;

/// What became of lines.
#[derive(Debug, Default)]
pub(super) struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
    /// Since when lines are being written.
    writing: Mutex<Option<Instant>>,
}

impl Counts {
    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// For how long lines are being written.
    pub(super) fn stalled(&self) -> Duration {
        self.writing.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Lines on their way into files. Each `write` is one line; never fails: what cannot be written is counted.
#[derive(Debug)]
pub(super) struct Rotating {
    path: Option<PathBuf>,
    file_bytes_max: u64,
    files_max: u32,
    /// None: it could not be opened anew.
    file: Option<Written>,
    gathered: Vec<u8>,
    lines: u64,
    counts: Arc<Counts>,
    /// Lines fail at the moment; it was told.
    is_failing: bool,
    /// A line was written in part.
    is_torn: bool,
}

#[derive(Debug)]
struct Written {
    file: File,
    /// It is no pipe, terminal or device: such are not put aside.
    is_regular: bool,
    bytes: u64,
    looked_at: Instant,
}

impl Rotating {
    pub(super) fn open(config: AccessLogConfig, counts: Arc<Counts>) -> io::Result<Self> {
        let AccessLogConfig { path, file_bytes_max, files_max } = config;
        let file = Written::open(path.as_deref())?;
        Ok(Self {
            path,
            file_bytes_max,
            files_max,
            file: Some(file),
            gathered: Vec::new(),
            lines: 0,
            counts,
            is_failing: false,
            is_torn: false,
        })
    }

    fn write_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let (mut gathered, lines) = (std::mem::take(&mut self.gathered), self.lines);
        *self.counts.writing.lock() = Some(Instant::now());
        let written = self.write_out(&gathered);
        *self.counts.writing.lock() = None;
        match written {
            Ok(()) => {
                self.counts.written.fetch_add(lines, Relaxed);
                self.is_failing = false;
            }
            Err(error) => {
                self.counts.failed.fetch_add(lines, Relaxed);
                if !std::mem::replace(&mut self.is_failing, true) {
                    let path = self.path.as_deref().unwrap_or(Path::new("standard output"));
                    tracing::error!(path = %path.display(), %error, "the access log cannot be written: its lines are lost until it can");
                }
            }
        }
        gathered.clear();
        (self.gathered, self.lines) = (gathered, 0);
    }

    fn write_out(&mut self, lines: &[u8]) -> io::Result<()> {
        let path = self.path.as_deref();
        let current = |written: Option<Written>, looked_at_every| match written
            .and_then(|it| it.if_it_is(path, looked_at_every))
        {
            Some(written) => Ok(written),
            None => Written::open(path),
        };
        let is_full = |it: &Written| it.is_full(lines.len(), self.file_bytes_max);
        let mut written = current(self.file.take(), LOOKED_AT_EVERY)?;
        if let Some(path) = path
            && is_full(&written)
        {
            // A process whose place this one takes may have put it aside just now.
            written = current(Some(written), Duration::ZERO)?;
            if is_full(&written) {
                drop(written);
                put_aside(path, self.files_max)?;
                written = Written::open(Some(path))?;
            }
        }
        if std::mem::take(&mut self.is_torn) {
            written.file.write_all(b"\n")?;
        }
        let before = written.bytes;
        let done = written.write(lines);
        self.is_torn = done.is_err() && written.bytes > before;
        self.file = Some(written);
        done
    }
}

impl Written {
    /// A file, or standard output: past the lock that the standard library has for it, since whoever reads it may be stuck.
    fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = match (path, path.and_then(Path::to_str)) {
            // Where these are sockets, as a supervisor may have it, nobody can open them by their names.
            (None, _) | (_, Some("/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1")) => {
                io::stdout().as_fd().try_clone_to_owned()?.into()
            }
            (_, Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2")) => {
                io::stderr().as_fd().try_clone_to_owned()?.into()
            }
            // A pipe that nobody reads is an error, and no reason to wait.
            (Some(path), _) => OpenOptions::new()
                .create(true)
                .append(true)
                .mode(MODE)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(path)
                .map_err(|error| in_words(path, error))?,
        };
        let bytes = file.metadata()?.len();
        // By its name: `/dev/stdout` is none either, wherever it leads.
        let is_regular =
            path.is_some_and(|it| fs::symlink_metadata(it).is_ok_and(|it| it.is_file()));
        Ok(Self { file, is_regular, bytes, looked_at: Instant::now() })
    }

    fn is_full(&self, more_bytes: usize, bytes_max: u64) -> bool {
        self.is_regular && self.bytes > 0 && self.bytes + more_bytes as u64 > bytes_max
    }

    /// Itself, unless its name is another file's by now, or nobody's: somebody has put it aside.
    fn if_it_is(mut self, path: Option<&Path>, looked_at_every: Duration) -> Option<Self> {
        let Some(path) = path.filter(|_| self.looked_at.elapsed() >= looked_at_every) else {
            return Some(self);
        };
        self.looked_at = Instant::now();
        let (own, named) = (self.file.metadata().ok()?, fs::metadata(path).ok()?);
        let is_it = (own.dev(), own.ino()) == (named.dev(), named.ino());
        // Another process may write there too, while one takes the place of the other.
        self.bytes = own.len();
        is_it.then_some(self)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.bytes += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What the system means where it has one word for several things.
fn in_words(path: &Path, error: io::Error) -> io::Error {
    let is =
        |kind: fn(&fs::FileType) -> bool| fs::metadata(path).is_ok_and(|it| kind(&it.file_type()));
    let words = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NXIO) if is(FileTypeExt::is_fifo) => {
            "it is a pipe that nobody reads: start whoever is to read it first"
        }
        Some(Errno::NXIO) if is(FileTypeExt::is_socket) => {
            "it is a socket, which nobody can write to as to a file"
        }
        Some(Errno::ISDIR) => "it is a directory",
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}

/// Makes room for a new file: each gets the next number, and the last goes.
fn put_aside(path: &Path, files_max: u32) -> io::Result<()> {
    let numbered = |number: u32| match number {
        0 => path.to_owned(),
        number => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        }
    };
    if files_max <= 1 {
        return fs::remove_file(path);
    }
    for number in (0..files_max - 1).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let has_no_room = self.gathered.len() + line.len() > GATHERED_BYTES_MAX
            // No file is larger than it may be for what was gathered.
            || (self.gathered.len() + line.len()) as u64 > self.file_bytes_max;
        if has_no_room {
            self.write_gathered();
        }
        self.gathered.extend_from_slice(line);
        self.lines += 1;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_gathered();
        Ok(())
    }
}
