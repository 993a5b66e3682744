//! The rules judged on the repository itself, each with one violation planted.

use super::*;

fn metadata() -> Metadata {
    shipped(&crate::root().unwrap(), "normal,build").unwrap()
}

/// Expects exactly one complaint with these words.
#[track_caller]
fn complains(complaints: &[String], expected: &str) {
    assert!(complaints.len() == 1 && complaints[0].contains(expected), "{complaints:?}");
}

#[test]
fn what_is_shipped_is_allowed() {
    assert_eq!(judge(&metadata(), &RULES), Vec::<String>::new());
}

#[test]
fn a_banned_crate_is_found() {
    let rules = Rules { banned: &[("hyper", "a test says so")], ..RULES };
    complains(&judge(&metadata(), &rules), "hyper: banned: a test says so");
}

#[test]
fn what_only_tests_and_chores_use_is_not_shipped() {
    let names: Vec<_> =
        metadata().packages.iter().map(|package| package.name.to_string()).collect();
    for name in ["laneway", "lanes", "tokio", "syn"] {
        assert!(names.iter().any(|other| other == name), "{name} is shipped");
    }
    for name in ["testkit", "proptest", "cargo_metadata", "windows-sys"] {
        assert!(names.iter().all(|other| other != name), "{name} is not shipped");
    }
}

#[test]
fn a_licence_that_is_not_allowed_is_found() {
    // Anything may be had under MIT or the like but what has only this one.
    let licences: Vec<_> =
        RULES.licences.iter().copied().filter(|(name, _)| *name != "BSL-1.0").collect();
    let rules = Rules { licences: &licences, ..RULES };
    complains(&judge(&metadata(), &rules), "xxhash-rust: its licence `BSL-1.0` is not allowed");
    let licences = [RULES.licences, &[("AGPL-3.0", "nobody's")]].concat();
    let rules = Rules { licences: &licences, ..RULES };
    complains(&judge(&metadata(), &rules), "licence AGPL-3.0: allowed, and nothing");
    let mut metadata = metadata();
    package(&mut metadata, "hyper").license = None;
    complains(&judge(&metadata, &RULES), "hyper: names no licence");
}

#[test]
fn a_second_version_and_an_exception_too_many_are_found() {
    let rules = Rules { twice: &RULES.twice[1..], ..RULES };
    complains(&judge(&metadata(), &rules), "base64: in several versions: 0.22");
    let twice = [RULES.twice, &[("hyper", "1", "a test says so")]].concat();
    let rules = Rules { twice: &twice, ..RULES };
    complains(&judge(&metadata(), &rules), "hyper 1: an exception that is no longer needed");
}

#[test]
fn another_source_and_a_version_left_open_are_found() {
    let mut elsewhere = metadata();
    let tokio = package(&mut elsewhere, "tokio").source.clone();
    let mut source = tokio.unwrap();
    source.repr = "git+https://example.org/hyper".to_owned();
    package(&mut elsewhere, "hyper").source = Some(source);
    complains(&judge(&elsewhere, &RULES), "hyper: only crates.io is a source");
    let mut open = metadata();
    let dependency = &mut package(&mut open, "hyper").dependencies[0];
    dependency.req = "*".parse().unwrap();
    complains(&judge(&open, &RULES), "hyper: takes any version of");
}

fn package<'a>(metadata: &'a mut Metadata, name: &str) -> &'a mut Package {
    metadata.packages.iter_mut().find(|package| package.name == name).unwrap()
}
