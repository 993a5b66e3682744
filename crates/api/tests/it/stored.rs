//! Formats that were ever released are read forever: `fixtures/v1.yaml` has every field of every kind, and
//! `v1.expected.json` what it means. Neither is ever changed; a new field comes with a new pair of files.

use std::fs;

use api::{
    read,
    resource::{Kind, Object},
    write,
};

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn objects() -> Vec<Object> {
    let (found, errors) = read::text("v1.yaml", &fixture("v1.yaml"));
    assert_eq!(errors, []);
    found.into_iter().map(|found| found.object).collect()
}

#[test]
fn version_one_means_what_it_meant() {
    let meant = write::json_of(&objects()) + "\n";
    let path = format!("{}/tests/fixtures/v1.expected.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() && !std::path::Path::new(&path).exists() {
        fs::write(&path, &meant).unwrap();
    }
    assert_eq!(meant, fixture("v1.expected.json"));
}

#[test]
fn every_kind_is_stored() {
    let objects = objects();
    for kind in Kind::ALL {
        assert!(objects.iter().any(|object| object.kind() == kind), "no {kind} in v1.yaml");
    }
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let objects = objects();
    for text in [write::yaml(&objects), write::json_of(&objects)] {
        let (found, errors) = read::text("written", &text);
        assert_eq!(errors, [], "{text}");
        let read: Vec<Object> = found.into_iter().map(|found| found.object).collect();
        assert_eq!(read, objects, "{text}");
        assert!(!text.contains("null"), "{text}");
    }
}

#[test]
fn version_one_is_valid() {
    assert_eq!(api::validate(&api::validate::Set::new(objects())), []);
}
