//! Files of resources as people write them: one or more YAML documents (JSON is YAML), each one object.
//!
//! `apply`, `check`, `delete` and the watched resources directory read files by the same functions.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, ensure};
use api::read::{self, Found, ReadError};

/// File names of a directory that are read.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The path that means standard input.
const STANDARD_INPUT: &str = "-";

/// Everything that files say.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// The objects, in the order of files and documents, with where they were written.
    pub(crate) found: Vec<Found>,
    /// What is no object.
    pub(crate) errors: Vec<ReadError>,
}

impl Manifest {
    /// Reads files, the resource files of directories, and standard input for `-`. An error is about a file that
    /// cannot be read at all; what is wrong within files is in [`Manifest::errors`].
    pub(crate) fn read(paths: &[PathBuf], recursive: bool) -> anyhow::Result<Self> {
        let mut manifest = Self::default();
        for path in paths {
            if path.as_os_str() == STANDARD_INPUT {
                manifest.add(
                    "standard input",
                    &text_of(&mut io::stdin()).context("read standard input")?,
                );
                continue;
            }
            let files = if recursive { files_beneath(path) } else { files(path) };
            for path in files.with_context(|| format!("read {}", path.display()))? {
                let text = read_file(&path).with_context(|| format!("read {}", path.display()))?;
                manifest.add(&path.display().to_string(), &text);
            }
        }
        Ok(manifest)
    }

    fn add(&mut self, file: &str, text: &str) {
        let (found, errors) = read::text(file, text);
        self.found.extend(found);
        self.errors.extend(errors);
    }
}

/// The text of a file of resources.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<String> {
    text_of(&mut fs::File::open(path)?)
}

fn text_of(input: &mut impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    input.take(read::BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() <= read::BYTES_MAX,
        "more than {} bytes; write less into one file",
        read::BYTES_MAX
    );
    String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
            return anyhow!("it is UTF-16: save it as UTF-8");
        }
        let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        anyhow!("line {line}: the byte {:#04x} is no UTF-8: save the file as UTF-8", bytes[at])
    })
}

/// The file itself, or the resource files of a directory by name. Names that begin with a dot are not read: that
/// is where editors and Kubernetes volumes keep what is not meant.
pub(crate) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let meant = path.extension().is_some_and(|is| EXTENSIONS.iter().any(|ext| is == *ext));
        if meant && !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The resource files of a directory and of all directories beneath it, each directory's own first.
fn files_beneath(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = files(path)?;
    if !path.is_dir() {
        return Ok(all);
    }
    let mut directories = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        // Links to directories are not followed: they may lead back.
        if entry.file_type()?.is_dir() && !hidden {
            directories.push(entry.path());
        }
    }
    directories.sort();
    for directory in directories {
        all.extend(files_beneath(&directory)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_its_resource_files_by_name() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yaml", "c.json", ".hidden.yaml", "notes.txt"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let names: Vec<_> = files(directory.path())
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a.yaml", "b.yml", "c.json"]);
        for name in ["more", ".git"] {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join("d.yaml"), "").unwrap();
        }
        assert_eq!(files(directory.path()).unwrap().len(), 3);
        let beneath = files_beneath(directory.path()).unwrap();
        assert_eq!(beneath.len(), 4);
        assert!(beneath[3].ends_with("more/d.yaml"));
    }

    #[test]
    fn a_file_in_another_encoding_is_told_with_its_line() {
        let read = |mut bytes: &[u8]| text_of(&mut bytes).unwrap_err().to_string();
        let latin = read(b"kind: Lane\nname: caf\xe9\n");
        assert_eq!(latin, "line 2: the byte 0xe9 is no UTF-8: save the file as UTF-8");
        assert_eq!(read(b"\xff\xfek\0"), "it is UTF-16: save it as UTF-8");
    }

    #[test]
    fn what_is_wrong_in_one_file_is_told_with_it_and_hides_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let lane =
            "apiVersion: laneway.io/v1alpha1\nkind: LaneGroup\nmetadata: {name: trade}\nspec: {}\n";
        fs::write(directory.path().join("a.yaml"), format!("kind: Pod\n---\n{lane}")).unwrap();
        fs::write(directory.path().join("b.yaml"), lane).unwrap();
        let manifest = Manifest::read(&[directory.path().to_owned()], false).unwrap();
        assert_eq!(manifest.found.len(), 2);
        let file = directory.path().join("a.yaml");
        let place = format!("{}:1 (document 1)", file.display());
        assert_eq!(manifest.errors[0].place.to_string(), place);
        let absent = [directory.path().join("absent.yaml")];
        assert!(Manifest::read(&absent, false).unwrap_err().to_string().ends_with("absent.yaml"));
    }
}
