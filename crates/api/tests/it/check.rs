//! Whole-set validation, fed by files: `fixtures/check/NAME.yaml` and what is said of it in `NAME.expected`, one
//! finding a line. A new case is a new pair of files; `UPDATE=1` writes the second.

use std::{
    fs,
    path::{Path, PathBuf},
};

use api::{
    read,
    validate::{Severity, Validator, introduced},
};
use lanes::Fault;

fn said_of(path: &Path, validator: &mut Validator) -> String {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let (found, errors) = read::text(name, &text);
    let set = api::resource::Set::new(found.iter().map(|found| found.object.clone()));
    let mut lines: Vec<String> = errors.iter().map(|error| format!("unread {error}")).collect();
    let findings = api::validate(&set);
    // One that validated other sets before says the same as a new one, the first time and the second.
    let by_new = Validator::default().validate(&set);
    assert_eq!(validator.validate(&set), by_new);
    assert_eq!(validator.validate(&set), by_new);
    for finding in findings {
        let place = found.iter().find(|found| found.object.key() == finding.object).unwrap();
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Conflict => "conflict",
            Severity::Warning => "warning",
        };
        let line = place.place_of(&finding.problem.field).line;
        let finding = api::rest::Finding::from(finding);
        lines.push(format!("{severity} ({}) line {line}: {finding}", finding.code));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn stored_sets() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let sets: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    assert!(sets.len() >= 10, "only {} cases found", sets.len());
    sets
}

/// What a write brings in hangs on the sort of fault, the field and the value; never on what people read.
#[test]
fn rewording_changes_nothing_of_what_is_refused() {
    let mut reworded_errors = 0;
    for path in stored_sets() {
        let (found, _) = read::text("a file", &fs::read_to_string(&path).unwrap());
        let found = found.into_iter().map(|found| found.object);
        let findings = api::validate(&api::resource::Set::new(found));
        let mut reworded = findings.clone();
        for finding in &mut reworded {
            finding.problem.remedy = "in other words".to_owned();
            if let Fault::TooMany(count) = finding.problem.fault {
                finding.problem.value = format!("{count} pieces");
            }
            reworded_errors += usize::from(finding.severity == Severity::Error);
        }
        assert_eq!(introduced(&findings, &reworded), [], "{}", path.display());
        assert_eq!(introduced(&reworded, &findings), [], "{}", path.display());
        for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
            let mut other = finding.clone();
            other.problem.fault = match other.problem.fault {
                Fault::Invalid => Fault::NotFound,
                Fault::TooMany(count) => Fault::TooMany(count + 1),
                _ => Fault::Invalid,
            };
            let before = std::slice::from_ref(finding);
            assert_eq!(introduced(before, &[other.clone()]), [other], "another fault is new");
        }
    }
    assert!(reworded_errors >= 50, "only {reworded_errors} errors in all sets");
}

#[test]
fn every_stored_set_is_judged_as_written_beside_it() {
    let mut validator = Validator::default();
    for path in stored_sets() {
        let said = said_of(&path, &mut validator);
        let beside = path.with_extension("expected");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&beside, &said).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        assert_eq!(said, expected, "{}", path.display());
    }
}
