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

/// A value of the file. A map is no setting, and a list one that may be said several times.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<Scalar>),
}

/// What a role knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Unknown,
    Once,
    /// It may be said several times, and be a list.
    SeveralTimes,
}

impl Scalar {
    /// As it would stand in the environment; `None`: a list within a list.
    fn text(self) -> Option<String> {
        Some(match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Text(value) => value,
            Self::List(_) => return None,
        })
    }
}

impl FileValues {
    /// Reads the file at `path`. `known` tells whether the role has a setting of that name.
    pub(crate) fn read(
        path: &str,
        role: &str,
        known: impl Fn(&str) -> Known,
    ) -> Result<Self, Vec<SettingProblem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![SettingProblem {
                key: "config".to_owned(),
                value: path.to_owned(),
                origin: String::new(),
                remedy: format!("name a file that can be read ({error})"),
                may_pass: false,
            }]
        })?;
        Self::parse(path, &text, role, known)
    }

    fn parse(
        path: &str,
        text: &str,
        role: &str,
        known: impl Fn(&str) -> Known,
    ) -> Result<Self, Vec<SettingProblem>> {
        // A file of comments only is an empty map.
        let parsed: Option<BTreeMap<String, Scalar>> =
            serde_saphyr::from_str(text).map_err(|error| {
                vec![SettingProblem {
                    key: "config".to_owned(),
                    value: path.to_owned(),
                    origin: String::new(),
                    remedy: format!("write one `setting: value` per line ({error})"),
                    may_pass: false,
                }]
            })?;
        let mut values = BTreeMap::new();
        let mut problems = Vec::new();
        for (key, scalar) in parsed.unwrap_or_default() {
            let (known, is_list) = (known(&key), matches!(scalar, Scalar::List(_)));
            let texts: Option<Vec<String>> = match scalar {
                Scalar::List(list) => list.into_iter().map(Scalar::text).collect(),
                single => single.text().map(|text| vec![text]),
            };
            let remedy = match (known, &texts) {
                (Known::Unknown, _) => format!(
                    "`laneway {role}` has no such setting; `laneway {role} --help` lists them, without the dashes"
                ),
                (Known::Once, _) if is_list => "write one value: it is no list".to_owned(),
                (_, None) => "write a list of values, without lists in it".to_owned(),
                (_, Some(texts)) => {
                    values.insert(key, texts.join(" "));
                    continue;
                }
            };
            let value = texts.unwrap_or_default().join(" ");
            problems.push(SettingProblem {
                key,
                value,
                origin: path.to_owned(),
                remedy,
                may_pass: false,
            });
        }
        if problems.is_empty() { Ok(Self { path: path.to_owned(), values }) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[(&str, &str)], &str>) {
        let parsed = FileValues::parse("laneway.yaml", text, "serve", |key| match key {
            "data" | "threads" | "capture" | "api-listen" => Known::Once,
            "advertise" => Known::SeveralTimes,
            _ => Known::Unknown,
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
        check(
            "advertise:\n- 10.0.0.5:1\n- '[fd00::5]:1'",
            Ok(&[("advertise", "10.0.0.5:1 [fd00::5]:1")]),
        );
        check("advertise: 10.0.0.5:1", Ok(&[("advertise", "10.0.0.5:1")]));
        check("# nothing yet\n", Ok(&[]));
        check("", Ok(&[]));
    }

    #[test]
    fn unknown_keys_are_named_with_their_value() {
        check("dta: /tmp/d", Err("dta: `/tmp/d` (from laneway.yaml): `laneway serve` has no such"));
    }

    #[test]
    fn what_is_no_map_of_scalars_is_refused() {
        check("data: [a, b]", Err("data: `a b` (from laneway.yaml): write one value"));
        check("data: {a: b}", Err("config: `laneway.yaml`: write one"));
        check("advertise: [[a]]", Err("write a list of values"));
        check("- data", Err("config: `laneway.yaml`: write one"));
        check("data: a\ndata: b", Err("duplicate"));
    }
}
