//! Files of resources as people write them: one or more YAML documents (JSON is YAML), each one object.
//!
//! `apply`, `check` and the watched resources directory read files by the same functions.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// File names of a directory that are read.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A file larger than this is no list of resources: 10 000 lanes take about 5 MB.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One document: where it is, and the object it says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// The file and the line of the document's first word.
    pub(crate) place: Place,
    /// The object, not looked into.
    pub(crate) value: Value,
}

/// A line of a file; shown as `lanes.yaml:12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A file that cannot be read as YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) place: Place,
    pub(crate) reason: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

impl std::error::Error for Unreadable {}

/// The file itself, or the resource files of a directory by name. Names that begin with a dot are not read: that
/// is where editors and Kubernetes volumes keep what is not yet, or no longer, meant.
pub(crate) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let meant = path.extension().is_some_and(|is| EXTENSIONS.iter().any(|ext| is == *ext));
        if !hidden && meant && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file; its errors name it.
pub(crate) fn read(path: &Path) -> Result<Vec<Document>, Unreadable> {
    let file = path.display().to_string();
    let unreadable =
        |reason: String| Unreadable { place: Place { file: file.clone(), line: 1 }, reason };
    let bytes = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        let reason = format!("{bytes} bytes; write at most {FILE_BYTES_MAX} into one file");
        return Err(unreadable(reason));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    parse(&file, &text)
}

/// Reads the documents of a text; `file` is its name for messages.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Document>, Unreadable> {
    let mut documents = Vec::new();
    for (line, part) in split(text) {
        // Documents of nothing but comments are common at the beginning and end of files.
        let Some(first) = part.lines().position(says_something) else { continue };
        let options = serde_saphyr::options! { with_snippet: false };
        let value = serde_saphyr::from_str_with_options(part, options).map_err(|error| {
            let within = error.location().map_or(1, |location| location.line() as usize);
            let place = Place { file: file.to_owned(), line: line + within.saturating_sub(1) };
            Unreadable { place, reason: error.to_string() }
        })?;
        documents
            .push(Document { place: Place { file: file.to_owned(), line: line + first }, value });
    }
    Ok(documents)
}

/// Cuts at document markers, which stand at the beginning of a line; content is indented or is none. Each part
/// comes with the number of its first line.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.trim_start() != rest || rest.is_empty());
        if marker && at > begin {
            parts.push((begin_line, &text[begin..at]));
            (begin, begin_line) = (at, index + 1);
        }
        at += line.len();
    }
    parts.push((begin_line, &text[begin..]));
    parts
}

fn says_something(line: &str) -> bool {
    let line = line.strip_prefix("---").unwrap_or(line).trim_start();
    !line.is_empty() && !line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_and_kinds(text: &str) -> Vec<(usize, String)> {
        parse("f.yaml", text)
            .unwrap()
            .into_iter()
            .map(|document| (document.place.line, document.value["kind"].to_string()))
            .collect()
    }

    #[test]
    fn documents_know_their_lines() {
        let text = "# heading\n---\nkind: A\n---\n\n# about b\nkind: B\nspec: {text: '--- no marker'}\n--- # c\nkind: C\n---\n# the end\n";
        let expected = [(3, "\"A\""), (7, "\"B\""), (10, "\"C\"")];
        assert_eq!(
            lines_and_kinds(text),
            expected.map(|(line, kind)| (line, kind.to_owned())).to_vec()
        );
    }

    #[test]
    fn json_is_read_as_well() {
        assert_eq!(lines_and_kinds("{\"kind\": \"A\"}"), [(1, "\"A\"".to_owned())]);
    }

    #[test]
    fn a_mistake_is_named_by_its_line() {
        let unreadable = parse("f.yaml", "kind: A\n---\nkind: B\nspec: [1, 2\n").unwrap_err();
        assert!(unreadable.place.line >= 4, "{unreadable}");
        let unreadable = parse("f.yaml", "kind: A\n---\nkind: B\nkind: C\n").unwrap_err();
        assert_eq!(unreadable.place.line, 4, "{unreadable}");
    }

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
