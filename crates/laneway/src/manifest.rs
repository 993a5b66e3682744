//! Files of resources as people write them: one or more YAML documents (JSON is YAML), each one object.
//!
//! `apply`, `check`, `delete` and the watched resources directory read files by the same functions.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
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
    pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut manifest = Self::default();
        for path in paths {
            if path.as_os_str() == STANDARD_INPUT {
                manifest.add(
                    "standard input",
                    &text_of(&mut io::stdin()).context("read standard input")?,
                );
                continue;
            }
            for path in files(path).with_context(|| format!("read {}", path.display()))? {
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
    let mut text = String::new();
    input.take(read::BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    ensure!(
        text.len() <= read::BYTES_MAX,
        "more than {} bytes; write less into one file",
        read::BYTES_MAX
    );
    Ok(text)
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
    }

    #[test]
    fn what_is_wrong_in_one_file_is_told_with_it_and_hides_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let lane =
            "apiVersion: laneway.io/v1alpha1\nkind: LaneGroup\nmetadata: {name: trade}\nspec: {}\n";
        fs::write(directory.path().join("a.yaml"), format!("kind: Pod\n---\n{lane}")).unwrap();
        fs::write(directory.path().join("b.yaml"), lane).unwrap();
        let manifest = Manifest::read(&[directory.path().to_owned()]).unwrap();
        assert_eq!(manifest.found.len(), 2);
        let file = directory.path().join("a.yaml");
        let place = format!("{}:1 (document 1)", file.display());
        assert_eq!(manifest.errors[0].place.to_string(), place);
        let absent = [directory.path().join("absent.yaml")];
        assert!(Manifest::read(&absent).unwrap_err().to_string().ends_with("absent.yaml"));
    }
}
