//! Whole-set validation, fed by files: `fixtures/check/NAME.yaml` and what is said of it in `NAME.expected`, one
//! finding a line. A new case is a new pair of files; `UPDATE=1` writes the second.

use std::{fs, path::Path};

use api::{
    read,
    validate::{Severity, Validator},
};

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
        lines.push(format!("{severity} line {line}: {finding}"));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_stored_set_is_judged_as_written_beside_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check");
    let mut cases = 0;
    let mut validator = Validator::default();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        cases += 1;
        let said = said_of(&path, &mut validator);
        let beside = path.with_extension("expected");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&beside, &said).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        assert_eq!(said, expected, "{}", path.display());
    }
    assert!(cases >= 10, "only {cases} cases found");
}
