//! Which files hold resources: what `apply`, `check` and the resources directory read.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// File names of a directory that are read.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

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
}
