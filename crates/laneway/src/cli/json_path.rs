//! `-o jsonpath=…`: picks parts of an answer, as kubectl's template does: `{.items[*].metadata.name}`, with text and
//! `{"\n"}` between.

use std::str::FromStr;

use serde_json::Value;

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Path(Vec<Step>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    /// From the end where it is negative.
    Index(i64),
    All,
}

impl JsonPath {
    /// What it picks of a value. Several parts have a space between them.
    pub(crate) fn pick(&self, value: &Value) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Path(steps) => {
                let mut found = vec![value];
                for step in steps {
                    found = found.into_iter().flat_map(|value| step.of(value)).collect();
                }
                let shown = found.into_iter().map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                shown.collect::<Vec<_>>().join(" ")
            }
        };
        self.0.iter().map(piece).collect()
    }
}

impl Step {
    fn of<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => {
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let index = if *index < 0 { length + index } else { *index };
                usize::try_from(index).ok().and_then(|index| items.get(index)).into_iter().collect()
            }
            (Self::All, Value::Array(items)) => items.iter().collect(),
            (Self::All, Value::Object(fields)) => fields.values().collect(),
            _ => Vec::new(),
        }
    }
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains('{') {
            return Ok(Self(vec![Piece::Path(steps(text)?)]));
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (inside, after) = after.split_once('}').ok_or("close what `{` opens")?;
            pieces.push(match inside.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
                Some(text) => Piece::Text(text.replace("\\n", "\n").replace("\\t", "\t")),
                None => Piece::Path(steps(inside)?),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

fn steps(path: &str) -> Result<Vec<Step>, String> {
    let wrong = || format!("`{path}`: write .field, ['field'], [0] or [*], one after the other");
    let mut rest = path.trim().trim_start_matches('$');
    let mut steps = Vec::new();
    if !rest.starts_with(['.', '[']) && !rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = after.split_once(']').ok_or_else(wrong)?;
            let name = inside.strip_prefix('\'').and_then(|it| it.strip_suffix('\''));
            steps.push(match (inside, name) {
                ("*", _) => Step::All,
                (_, Some(name)) => Step::Field(name.to_owned()),
                (index, None) => Step::Index(index.parse().map_err(|_| wrong())?),
            });
            rest = after;
        } else {
            let after = rest.strip_prefix('.').ok_or_else(wrong)?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            match &after[..end] {
                // The whole, or `.[0]`.
                "" => {}
                "*" => steps.push(Step::All),
                name => steps.push(Step::Field(name.to_owned())),
            }
            rest = &after[end..];
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_picked_as_kubectl_picks_them() {
        let list = json!({"items": [
            {"metadata": {"name": "a", "labels": {"x.y": "1"}}, "spec": {"priority": 3}},
            {"metadata": {"name": "b"}, "spec": {"enabled": true}},
        ]});
        for (path, picked) in [
            ("{.items[*].metadata.name}", "a b"),
            (".items[0].spec", "{\"priority\":3}"),
            ("{.items[-1].metadata.name}", "b"),
            ("{.items[0].metadata.labels['x.y']}", "1"),
            ("first: {.items[0].metadata.name}{\"\\n\"}", "first: a\n"),
            ("{.items[*].spec.enabled}", "true"),
            ("{.nothing.here}", ""),
            ("{$.items[1].spec.*}", "true"),
        ] {
            assert_eq!(path.parse::<JsonPath>().unwrap().pick(&list), picked, "{path}");
        }
        for wrong in ["items", "{.items", "{.items[x]}", "{.items[}"] {
            assert!(wrong.parse::<JsonPath>().is_err(), "{wrong}");
        }
    }
}
