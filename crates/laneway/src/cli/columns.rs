//! Objects in tables and lines, for people.

use api::resource::{Kind, Lane, Object, Status};

use super::output;

/// Objects of one kind as a table. `is_wide`: with what is rarely asked for.
pub(crate) fn table(
    kind: Kind,
    objects: &[&Object],
    with_namespace: bool,
    is_wide: bool,
) -> String {
    let mut heading = kind.columns();
    if with_namespace {
        heading.insert(0, "NAMESPACE");
    }
    if is_wide {
        heading.extend(["CREATED", "LABELS", "WHY"]);
    }
    let rows: Vec<Vec<String>> = (objects.iter())
        .map(|object| {
            let mut row = object.cells();
            let metadata = object.metadata();
            if with_namespace {
                row.insert(0, metadata.namespace.clone());
            }
            if is_wide {
                let labels = metadata.labels.iter().map(|(key, value)| format!("{key}={value}"));
                row.push(metadata.creation_timestamp.clone().unwrap_or_default());
                row.push(labels.collect::<Vec<_>>().join(","));
                row.push(object.status().map(why).unwrap_or_default());
            }
            row
        })
        .collect();
    output::table(&heading, &rows)
}

/// One object in a line, with how it stands.
pub(crate) fn line(object: &Object) -> String {
    // Its key names it already.
    let cells = object.cells().into_iter().skip(1).filter(|cell| !cell.is_empty());
    let mut line = format!("{}  {}", object.key(), cells.collect::<Vec<_>>().join("  "));
    let Some(status) = object.status() else { return line };
    if !status.matched.is_empty() {
        let matched = status.matched.iter();
        let counts = matched.map(|it| format!("{} {}/{}", it.application, it.tagged, it.base));
        line.push_str(&format!("  [in lane/base: {}]", counts.collect::<Vec<_>>().join(", ")));
    }
    let why = why(status);
    if !why.is_empty() {
        line.push_str(&format!("  {why}"));
    }
    line
}

/// What keeps an object from being as it should be.
pub(crate) fn why(status: &Status) -> String {
    let bad = status.conditions.iter().filter(|it| it.is_bad());
    bad.map(|it| it.message.clone()).collect::<Vec<_>>().join("; ")
}

/// Whether a lane has instances of any application.
pub(crate) fn has_instances(lane: &Lane) -> bool {
    let status = lane.status.as_ref();
    status.is_none_or(|status| status.matched.iter().any(|matched| matched.tagged > 0))
}
