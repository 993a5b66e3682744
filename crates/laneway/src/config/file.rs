//! The settings file: a flat YAML map whose keys are the names of the flags.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::SettingProblem;

/// What a settings file says, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileValues {
    /// The file's path, for messages.
    pub(crate) path: String,
    /// Values as text, whatever their YAML type.
    pub(crate) values: BTreeMap<String, String>,
}

/// A value of the file. A list or a map is no setting.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Text(String),
}

impl FileValues {
    /// Reads the file at `path`. `known` tells whether the role has a setting of that name.
    pub(crate) fn read(
        path: &str,
        role: &str,
        known: impl Fn(&str) -> bool,
    ) -> Result<Self, Vec<SettingProblem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![SettingProblem {
                key: "config".to_owned(),
                value: path.to_owned(),
                origin: String::new(),
                remedy: format!("name a file that can be read ({error})"),
            }]
        })?;
        Self::parse(path, &text, role, known)
    }

    fn parse(
        path: &str,
        text: &str,
        role: &str,
        known: impl Fn(&str) -> bool,
    ) -> Result<Self, Vec<SettingProblem>> {
        // A file of comments only is an empty map.
        let parsed: Option<BTreeMap<String, Scalar>> =
            serde_saphyr::from_str(text).map_err(|error| {
                vec![SettingProblem {
                    key: "config".to_owned(),
                    value: path.to_owned(),
                    origin: String::new(),
                    remedy: format!("write one `setting: value` per line ({error})"),
                }]
            })?;
        let mut values = BTreeMap::new();
        let mut problems = Vec::new();
        for (key, scalar) in parsed.unwrap_or_default() {
            let value = match scalar {
                Scalar::Bool(value) => value.to_string(),
                Scalar::Integer(value) => value.to_string(),
                Scalar::Text(value) => value,
            };
            if known(&key) {
                values.insert(key, value);
            } else {
                let remedy = format!(
                    "`laneway {role}` has no such setting; `laneway {role} --help` lists them, without the dashes"
                );
                problems.push(SettingProblem { key, value, origin: path.to_owned(), remedy });
            }
        }
        if problems.is_empty() { Ok(Self { path: path.to_owned(), values }) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[(&str, &str)], &str>) {
        let parsed = FileValues::parse("laneway.yaml", text, "serve", |key| {
            ["data", "threads", "capture", "api-listen"].contains(&key)
        });
        match (parsed, expected) {
            (Ok(file), Ok(values)) => {
                let values =
                    values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
                assert_eq!(file.values, values.collect());
            }
            (Err(problems), Err(words)) => {
                let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
                assert!(text.join("\n").contains(words), "{text:?} lacks {words:?}");
            }
            (parsed, expected) => panic!("{text}: got {parsed:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn values_of_any_scalar_type_are_texts() {
        check(
            "data: /tmp/d\nthreads: 2\ncapture: true\n",
            Ok(&[("data", "/tmp/d"), ("threads", "2"), ("capture", "true")]),
        );
        check("api-listen: 127.0.0.1:0", Ok(&[("api-listen", "127.0.0.1:0")]));
        check("# nothing yet\n", Ok(&[]));
        check("", Ok(&[]));
    }

    #[test]
    fn unknown_keys_are_named_with_their_value() {
        check("dta: /tmp/d", Err("dta: `/tmp/d` (from laneway.yaml): `laneway serve` has no such"));
    }

    #[test]
    fn what_is_no_map_of_scalars_is_refused() {
        check("data: [a, b]", Err("config: `laneway.yaml`: write one"));
        check("- data", Err("config: `laneway.yaml`: write one"));
        check("data: a\ndata: b", Err("duplicate"));
    }
}
