//! Objects in tables and lines, for people.

use api::resource::{Kind, Object};

use super::output;

/// Objects of one kind as a table.
pub(crate) fn table(kind: Kind, objects: &[Object], with_namespace: bool) -> String {
    let mut heading = kind.columns();
    if with_namespace {
        heading.insert(0, "NAMESPACE");
    }
    let rows: Vec<Vec<String>> = (objects.iter())
        .map(|object| {
            let mut row = object.cells();
            if with_namespace {
                row.insert(0, object.metadata().namespace.clone());
            }
            row
        })
        .collect();
    output::table(&heading, &rows)
}

/// One object in a line.
pub(crate) fn line(object: &Object) -> String {
    // Its key names it already.
    let cells = object.cells().into_iter().skip(1).filter(|cell| !cell.is_empty());
    format!("{}  {}", object.key(), cells.collect::<Vec<_>>().join("  "))
}
