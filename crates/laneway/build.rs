//! Takes the built console into the binary, where there is one: `console/dist/site`, made by `cargo xtask console`.
//! Without it the binary builds all the same, and says on its first page how to build the console.
#![allow(clippy::print_stdout, reason = "a build script tells cargo by its output")]
#![allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script where things are by variables"
)]

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../console/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    let site = dist.join("site");
    let mut files = Vec::new();
    if site.is_dir() {
        collect(&site, &mut files)?;
    }
    files.sort();
    let mut table = String::from("&[\n");
    for file in files.iter().filter(|file| !is_compressed(file)) {
        let name = file.strip_prefix(&site).unwrap_or(file).to_string_lossy().into_owned();
        let compressed = PathBuf::from(format!("{}.gz", file.display()));
        let gzip = if compressed.is_file() {
            format!("Some(include_bytes!({:?}))", compressed.display().to_string())
        } else {
            "None".to_owned()
        };
        let plain = file.display().to_string();
        let _ = writeln!(
            table,
            "File {{ path: {:?}, plain: include_bytes!({plain:?}), gzip: {gzip} }},",
            format!("/{name}")
        );
    }
    table.push(']');
    let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    fs::write(out.join("console.rs"), table)
}

fn is_compressed(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "gz")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
