//! Takes the built console into the binary, where there is one: `console/dist/site`, made by `cargo xtask console`.
//! Without it the binary builds all the same, and says on its first page how to build the console. One that was built of
//! other sources than those that are there is taken in as well, and warned of.
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
    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../console");
    let dist = console.join("dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    let site = dist.join("site");
    let mut files = Vec::new();
    if site.is_dir() {
        collect(&site, &mut files)?;
        warn_if_outdated(&console, &dist)?;
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

/// What the console is built of.
const SOURCES: [&str; 5] = ["index.html", "package-lock.json", "public", "src", "vite.config.ts"];

/// Made anew from the API's description, and of no weight in what is built.
const GENERATED: &str = "src/api/schema.d.ts";

fn warn_if_outdated(console: &Path, dist: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for source in SOURCES.map(|source| console.join(source)) {
        println!("cargo::rerun-if-changed={}", source.display());
        if source.is_dir() { collect(&source, &mut files)? } else { files.push(source) }
    }
    let name_of = |file: &PathBuf| {
        let name = file.strip_prefix(console).unwrap_or(file).to_string_lossy().into_owned();
        (!name.ends_with(".test.ts") && name != GENERATED).then_some(name)
    };
    let mut names: Vec<String> = files.iter().filter_map(name_of).collect();
    names.sort();
    let mut digest = 0xcbf2_9ce4_8422_2325;
    for name in names {
        // What is not there makes the difference, be it all of it.
        let text = fs::read(console.join(&name)).unwrap_or_default();
        let bytes = name.bytes().chain([0]).chain(text).chain([0]);
        digest = bytes.fold(digest, fnv1a);
    }
    // Written by `console/tools/finish.mjs`, which counts alike.
    let built_of = fs::read_to_string(dist.join("built-of")).unwrap_or_default();
    if built_of != format!("{digest:016x}") {
        println!(
            "cargo::warning=console/dist was built of other sources than are in console/: run `cargo xtask console`"
        );
    }
    Ok(())
}

fn fnv1a(digest: u64, byte: u8) -> u64 {
    (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
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
