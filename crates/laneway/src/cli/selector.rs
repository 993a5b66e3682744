//! `-l`: which labels are wanted: `a=1`, `a!=1`, `a`, `!a`, with commas between.

use std::{collections::BTreeMap, str::FromStr};

/// Requirements, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

impl Selector {
    /// Whether these labels are wanted.
    pub(crate) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Is(key, value) => labels.get(key) == Some(value),
            Requirement::IsNot(key, value) => labels.get(key) != Some(value),
            Requirement::Has(key) => labels.contains_key(key),
            Requirement::HasNot(key) => !labels.contains_key(key),
        })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = |text: &str| {
            let pair = |(key, value): (&str, &str)| {
                (key.trim().to_owned(), value.trim_start_matches('=').trim().to_owned())
            };
            let requirement = if let Some(both) = text.split_once("!=") {
                let (key, value) = pair(both);
                Requirement::IsNot(key, value)
            } else if let Some(both) = text.split_once('=') {
                let (key, value) = pair(both);
                Requirement::Is(key, value)
            } else if let Some(key) = text.trim().strip_prefix('!') {
                Requirement::HasNot(key.to_owned())
            } else {
                Requirement::Has(text.trim().to_owned())
            };
            let (Requirement::Is(key, _)
            | Requirement::IsNot(key, _)
            | Requirement::Has(key)
            | Requirement::HasNot(key)) = &requirement;
            let is_name = !key.is_empty() && !key.contains([' ', '!', '(', ')']);
            is_name.then_some(requirement).ok_or_else(|| {
                format!("`{text}`: write KEY=VALUE, KEY!=VALUE, KEY or !KEY, with commas between")
            })
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_requirements_must_hold() {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        for (selector, expected) in [
            ("team=a", true),
            ("team==a", true),
            ("team=b", false),
            ("team!=b", true),
            ("team", true),
            ("!team", false),
            ("!other,team=a", true),
            ("other,team=a", false),
        ] {
            assert_eq!(
                selector.parse::<Selector>().unwrap().selects(&labels),
                expected,
                "{selector}"
            );
        }
        assert!("".parse::<Selector>().is_err() && "team in (a)".parse::<Selector>().is_err());
    }
}
