//! Whatever is in a file's place, reading it comes to an end.

use std::{path::Path, sync::mpsc, thread};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// Far longer than reading takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn refused(path: &Path) -> String {
    let (tell, told) = mpsc::channel();
    let path = path.to_str().unwrap().to_owned();
    // A thread that waits for ever must not keep the test from failing.
    thread::spawn(move || tell.send(text(&path).unwrap_err().to_string()));
    told.recv_timeout(PATIENCE).expect("reading comes to an end")
}

#[test]
fn what_is_no_file_and_what_is_too_long_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for path in [&*pipe, directory.path(), Path::new("/dev/zero")] {
        assert_eq!(refused(path), "it is no file", "{}", path.display());
    }
    let file = directory.path().join("file");
    let longest = usize::try_from(FILE_BYTES_MAX).unwrap();
    fs::write(&file, "a".repeat(longest)).unwrap();
    assert_eq!(text(file.to_str().unwrap()).unwrap().len(), longest);
    fs::write(&file, "a".repeat(longest + 1)).unwrap();
    assert!(refused(&file).contains("larger than"));
}
