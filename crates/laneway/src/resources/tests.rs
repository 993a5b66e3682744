//! What a directory's files come to: edits, and what is remembered of them.

use super::*;

fn file(name: &str, groups: &[&str]) -> ReadFile {
    let text: String = groups
        .iter()
        .map(|group| {
            format!(
                "---\napiVersion: laneway.io/v1alpha1\nkind: LaneGroup\nmetadata: {{name: {group}}}\nspec: {{entrances: [{{gateway: edge}}], applications: [a]}}\n"
            )
        })
        .collect();
    let (found, errors) = read::text(name, &text);
    ReadFile { name: name.to_owned(), found, errors }
}

fn bad(name: &str) -> ReadFile {
    let (found, errors) = read::text(name, "kind: [");
    ReadFile { name: name.to_owned(), found, errors }
}

fn key(name: &str) -> Key {
    Key::new(api::resource::Kind::LaneGroup, "default", name)
}

fn owned(files: &[(&str, &[&str])]) -> Owned {
    files
        .iter()
        .map(|(file, names)| ((*file).to_owned(), names.iter().map(|name| key(name)).collect()))
        .collect()
}

/// Edits as `+name` and `-name`.
fn edits(changes: &Changes) -> Vec<String> {
    changes
        .edits
        .iter()
        .map(|edit| match edit {
            Edit::Put { object, .. } => format!("+{}", object.key().name),
            Edit::Apply { manifest, .. } => format!("+{}", manifest.key().name),
            Edit::Delete { key, .. } => format!("-{}", key.name),
            Edit::Patch { key, .. } => format!("?{}", key.name),
        })
        .collect()
}

#[track_caller]
fn check(
    files: &[ReadFile],
    before: &[(&str, &[&str])],
    left_out: &[&str],
    expected_edits: &[&str],
    after: &[(&str, &[&str])],
) {
    let left_out = left_out.iter().map(|name| (*name).to_owned()).collect();
    let changes = Changes::new(files, &owned(before), &left_out);
    assert_eq!(edits(&changes), expected_edits);
    assert_eq!(changes.owned, owned(after));
}

#[test]
fn what_is_in_files_is_put_and_what_has_left_them_is_deleted() {
    let files = [file("a", &["one"]), file("b", &["two"])];
    check(&files, &[], &[], &["+one", "+two"], &[("a", &["one"]), ("b", &["two"])]);
    let before: &[(&str, &[&str])] = &[("a", &["one", "old"]), ("gone", &["three"])];
    let after: &[(&str, &[&str])] = &[("a", &["one"]), ("b", &["two"])];
    check(&files, before, &[], &["+one", "+two", "-old", "-three"], after);
}

#[test]
fn an_object_that_moves_to_another_file_is_not_deleted() {
    let before: &[(&str, &[&str])] = &[("a", &["one"])];
    check(&[file("b", &["one"])], before, &[], &["+one"], &[("b", &["one"])]);
}

#[test]
fn a_bad_file_keeps_its_objects_and_others_count() {
    let before: &[(&str, &[&str])] = &[("a", &["one"]), ("b", &["old"])];
    let after: &[(&str, &[&str])] = &[("a", &["one"]), ("b", &["two"])];
    check(&[bad("a"), file("b", &["two"])], before, &[], &["+two", "-old"], after);
}

#[test]
fn a_file_that_is_left_out_keeps_its_objects_also_when_it_is_gone() {
    let before: &[(&str, &[&str])] = &[("a", &["one"]), ("gone", &["three"])];
    let after: &[(&str, &[&str])] = &[("a", &["one"]), ("b", &["two"]), ("gone", &["three"])];
    let files = [file("a", &["one", "new"]), file("b", &["two"])];
    check(&files, before, &["a", "gone"], &["+two"], after);
}

#[test]
fn the_first_file_that_says_an_object_counts() {
    let files = [file("a", &["one"]), file("b", &["two", "one"])];
    assert!(said_twice(&files).into_keys().eq(["b".to_owned()]));
}

#[test]
fn a_finding_is_blamed_on_the_file_that_says_its_object_or_said_it() {
    let files = [file("a", &["one"])];
    let before = owned(&[("gone", &["three"])]);
    let about = |name: &str| Finding {
        object: key(name),
        problem: lanes::Problem::new("", "", ""),
        severity: api::validate::Severity::Error,
    };
    assert_eq!(blamed(&files, &before, &about("one")), ["a"]);
    assert_eq!(blamed(&files, &before, &about("three")), ["gone"]);
    assert_eq!(blamed(&files, &before, &about("other")), [""; 0]);
}
