//! What is owed to those whose code is in the binary: who they are, and their licences' own words.
//!
//! MIT, BSD, ISC and the like let a binary be given on together with their text. It is taken from each package as it
//! was published; a text that several share stands there once.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{CRATES_IO, dependencies};

/// How files with what is owed begin, in small letters.
const BEGINNINGS: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// A package that is shipped with Laneway, and is not its own.
#[derive(Debug)]
struct Part {
    /// With its version.
    name: String,
    /// As its manifest names it.
    licence: String,
    /// What it asks to be given on.
    texts: Vec<String>,
}

/// Everything owed, as one text.
pub(crate) fn write(root: &Path) -> Result<String> {
    let mut parts = crates(root)?;
    parts.extend(scripts(root)?);
    Ok(render(&parts))
}

/// What is linked into the binary.
fn crates(root: &Path) -> Result<Vec<Part>> {
    let metadata = dependencies::shipped(root, "normal")?;
    let foreign = metadata
        .packages
        .iter()
        .filter(|it| it.source.as_ref().is_some_and(|source| source.repr == CRATES_IO));
    foreign
        .map(|package| {
            let folder = package.manifest_path.parent().context("a manifest is in a folder")?;
            Ok(Part {
                name: format!("{} {}", package.name, package.version),
                licence: package.license.clone().unwrap_or_default(),
                texts: texts(folder.as_std_path())?,
            })
        })
        .collect()
}

/// What is in the console's files.
fn scripts(root: &Path) -> Result<Vec<Part>> {
    let console = root.join("console");
    if !console.join("node_modules").exists() {
        // Then the binary was built without it as well.
        if console.join("dist/index.html").exists() {
            bail!(
                "console/node_modules: absent, and the console is built: run `cargo xtask console`"
            );
        }
        return Ok(Vec::new());
    }
    let lock = fs::read_to_string(console.join("package-lock.json"))?;
    let lock: Value = serde_json::from_str(&lock).context("read console/package-lock.json")?;
    let packages = lock["packages"].as_object().context("package-lock.json: no `packages`")?;
    let is_shipped = |(path, package): &(&String, &Value)| {
        !path.is_empty() && package["dev"] != true && package["optional"] != true
    };
    let mut parts = Vec::new();
    for (path, package) in packages.iter().filter(is_shipped) {
        let name = path.rsplit("node_modules/").next().unwrap_or(path);
        let word = |key: &str| package[key].as_str().unwrap_or_default();
        parts.push(Part {
            name: format!("{name} {}", word("version")),
            licence: word("license").to_owned(),
            texts: texts(&console.join(path))?,
        });
    }
    Ok(parts)
}

/// The files of a package that are to be given on, in order of their names.
fn texts(folder: &Path) -> Result<Vec<String>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        // Sources of a module may be called so, too.
        let is_text = !matches!(path.extension(), Some(it) if it == "rs" || it == "js");
        if BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) && is_text {
            match path.is_dir() {
                true => files.extend(fs::read_dir(&path)?.flatten().map(|it| it.path())),
                false => files.push(path),
            }
        }
    }
    files.sort();
    let read = |file: PathBuf| {
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        Ok(text.trim().to_owned())
    };
    files.into_iter().filter(|file| file.is_file()).map(read).collect()
}

fn render(parts: &[Part]) -> String {
    let mut by_text: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut text = "Laneway is under the Apache License 2.0. Its binary contains the following packages, each under its own licence; \
                    where several may be chosen, under any of them. Their own words are below.\n\n"
        .to_owned();
    for part in parts {
        let words = if part.texts.is_empty() { " (comes without a text of its own)" } else { "" };
        let _ = writeln!(text, "{}: {}{words}", part.name, part.licence);
        for its in &part.texts {
            by_text.entry(its).or_default().push(&part.name);
        }
    }
    let mut sorted: Vec<_> = by_text.into_iter().collect();
    sorted.sort_by(|(_, a), (_, b)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    for (words, of) in sorted {
        let _ = write!(text, "\n{}\n{}\n\n{words}\n", "=".repeat(79), of.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_several_share_stands_there_once_and_nobody_is_left_out() {
        let part = |name: &str, texts: &[&str]| Part {
            name: name.to_owned(),
            licence: "MIT".to_owned(),
            texts: texts.iter().map(|&text| text.to_owned()).collect(),
        };
        let parts = [
            part("a 1.0.0", &["shared"]),
            part("b 2.0.0", &["own", "shared"]),
            part("c 3.0.0", &[]),
        ];
        let text = render(&parts);
        assert_eq!(text.matches("\nshared\n").count(), 1, "{text}");
        assert!(text.contains("a 1.0.0, b 2.0.0\n\nshared\n"), "{text}");
        assert!(text.contains("b 2.0.0\n\nown\n"), "{text}");
        assert!(text.contains("c 3.0.0: MIT (comes without a text of its own)"), "{text}");
    }

    #[test]
    fn what_a_package_asks_to_be_given_on_is_found_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("LICENSE-MIT", "one\r\ntwo\n");
        write("NOTICE.txt", "three");
        write("licenses.rs", "fn main() {}");
        write("README.md", "four");
        fs::create_dir(folder.path().join("LICENSES")).unwrap();
        write("LICENSES/BSD", "five");
        assert_eq!(texts(folder.path()).unwrap(), ["one\ntwo", "five", "three"]);
    }
}
