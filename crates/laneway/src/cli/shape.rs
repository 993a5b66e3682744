//! How resources are shown: tables, names, documents, parts of them.

use std::{fmt, str::FromStr};

use api::{
    resource::{Kind, Object},
    write,
};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::{columns, json_path::JsonPath, output};

/// How resources are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Table,
    Wide,
    Name,
    Yaml,
    Json,
    JsonPath(JsonPath),
}

/// How the answer is wanted.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shown {
    /// How the answer looks: table, wide, name, yaml, json, or jsonpath=TEMPLATE as kubectl has it
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    pub(crate) shape: Shape,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "table" => Self::Table,
            "wide" => Self::Wide,
            "name" => Self::Name,
            "yaml" => Self::Yaml,
            "json" => Self::Json,
            _ => match text.strip_prefix("jsonpath=") {
                Some(template) => Self::JsonPath(template.parse()?),
                None => return Err("use table, wide, name, yaml, json or jsonpath=…".to_owned()),
            },
        })
    }
}

impl Shape {
    /// Whether it is a table, for people.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Shows objects that were named: one is itself, several are a list.
    pub(crate) fn show_named(&self, objects: &[Object]) {
        match (self, objects) {
            (Self::Json, [one]) => output::line(write::json_of(one)),
            (Self::JsonPath(path), [one]) => output::line(path.pick(&one.to_value())),
            _ => self.show(objects, false),
        }
    }

    /// Shows objects, each kind with its own columns.
    pub(crate) fn show(&self, objects: &[Object], with_namespace: bool) {
        match self {
            Self::Yaml => output::text(&write::yaml(objects)),
            Self::Json => output::line(write::json_of(&list(objects))),
            Self::JsonPath(path) => output::line(path.pick(&list(objects))),
            Self::Name => objects.iter().for_each(|object| output::line(name(object))),
            Self::Table | Self::Wide => {
                let of_kind = |kind: &Kind| -> Vec<&Object> {
                    objects.iter().filter(|object| object.kind() == *kind).collect()
                };
                let kinds = Kind::ALL.iter().filter(|kind| !of_kind(kind).is_empty());
                let is_wide = *self == Self::Wide;
                let tables: Vec<String> = kinds
                    .map(|kind| columns::table(*kind, &of_kind(kind), with_namespace, is_wide))
                    .collect();
                output::text(&tables.join("\n"));
            }
        }
    }

    /// Shows what is no object: rows for people, plain data for programs.
    pub(crate) fn show_data<T: Serialize>(
        &self,
        all: &[T],
        heading: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) {
        match self {
            Self::Yaml => output::text(&write::yaml_of(&json!({"items": all}))),
            Self::Json => output::line(write::json_of(&json!({"items": all}))),
            Self::JsonPath(path) => output::line(path.pick(&json!({"items": all}))),
            Self::Name => all.iter().for_each(|one| output::line(row(one).swap_remove(0))),
            Self::Table | Self::Wide => {
                let rows: Vec<Vec<String>> = all.iter().map(row).collect();
                output::text(&output::table(heading, &rows));
            }
        }
    }
}

/// A list as kubectl prints it; `apply` takes it too.
fn list(objects: &[Object]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": objects})
}

/// `lane/trade-gray`, which every verb takes.
fn name(object: &Object) -> impl fmt::Display {
    format!("{}/{}", object.kind().name().to_lowercase(), object.metadata().name)
}
