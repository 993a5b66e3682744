//! Which resources a verb is about, as people write it: `KIND`, `KIND,KIND`, `KIND NAME…`, `KIND/NAME…`.

use std::ffi::OsStr;

use api::{
    client::Client,
    resource::{Key, Kind},
};
use clap::{
    Arg, Args, Command,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    Misunderstood,
    server::{LaneName, find_lane},
};

/// What there is to see: kinds of objects, and what is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Objects(Kind),
    Instances,
    Services,
}

/// The first word: kinds, or one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum First {
    Sorts(Vec<Sort>),
    One(Kind, String),
}

/// Which resources.
#[derive(Debug, Clone, Args)]
pub(crate) struct Targets {
    /// The kinds, or one resource as KIND/NAME: names, plurals and short forms, in any case
    #[arg(value_name = "KIND[,KIND]|KIND/NAME", value_parser = FirstWord)]
    first: First,
    /// Names of resources, of lanes also as GROUP/TAG; after KIND/NAME more of the same
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Targets {
    /// From the same words, where they may be missing.
    pub(crate) fn new(first: First, names: Vec<String>) -> Self {
        Self { first, names }
    }

    /// The kinds of which all resources are meant; none where resources are named.
    pub(crate) fn whole(&self) -> Option<&[Sort]> {
        match &self.first {
            First::Sorts(sorts) if self.names.is_empty() => Some(sorts),
            _ => None,
        }
    }

    /// The kinds of objects that are meant.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = match &self.first {
            First::One(kind, _) => vec![*kind],
            First::Sorts(sorts) => sorts.iter().filter_map(Sort::kind).collect(),
        };
        let others = self.named().into_iter().flatten().map(|(kind, _)| kind);
        kinds.extend(others.collect::<Vec<_>>());
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// The resources that are named.
    pub(crate) async fn keys(&self, client: &Client, namespace: &str) -> anyhow::Result<Vec<Key>> {
        let mut keys = Vec::new();
        for (kind, name) in self.named()? {
            keys.push(match name.parse::<LaneName>() {
                Ok(lane) if kind == Kind::Lane => find_lane(client, &lane, namespace).await?.key(),
                _ => Key::new(kind, namespace, name),
            });
        }
        Ok(keys)
    }

    fn named(&self) -> Result<Vec<(Kind, String)>, Misunderstood> {
        let one = |word: &str| match first(word) {
            Ok(First::One(kind, name)) => Ok((kind, name)),
            _ => Err(Misunderstood(format!("`{word}`: write KIND/NAME, as the words before it"))),
        };
        let (sorts, mut named) = match &self.first {
            First::One(kind, name) => {
                let mut named = vec![(*kind, name.clone())];
                for word in &self.names {
                    named.push(one(word)?);
                }
                return Ok(named);
            }
            First::Sorts(sorts) => (sorts, Vec::new()),
        };
        if self.names.is_empty() {
            return Err(Misunderstood("name the resources, or their file with -f".to_owned()));
        }
        for sort in sorts {
            let Sort::Objects(kind) = sort else {
                let remedy = "instances and services are not named: leave the names out";
                return Err(Misunderstood(remedy.to_owned()));
            };
            named.extend(self.names.iter().map(|name| (*kind, name.clone())));
        }
        Ok(named)
    }
}

impl Sort {
    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Objects(kind) => Some(*kind),
            Self::Instances | Self::Services => None,
        }
    }
}

/// Reads the first word, and has the kinds completed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstWord;

impl TypedValueParser for FirstWord {
    type Value = First;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<First, clap::Error> {
        let word = StringValueParser::new().parse_ref(command, argument, value)?;
        first(&word).map_err(|remedy| {
            let mut error =
                clap::Error::raw(ErrorKind::InvalidValue, format_args!("`{word}`: {remedy}\n"))
                    .with_cmd(command);
            error.insert(ContextKind::InvalidValue, ContextValue::String(word.clone()));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let others = ["instances", "services", "all"].into_iter();
        Some(Box::new(
            Kind::ALL.into_iter().map(Kind::plural).chain(others).map(PossibleValue::new),
        ))
    }
}

/// Reads the first word.
fn first(word: &str) -> Result<First, String> {
    if let Some((kind, name)) = word.split_once('/') {
        return match Kind::from_word(kind) {
            Some(kind) if !name.is_empty() => Ok(First::One(kind, name.to_owned())),
            _ => Err(format!("write KIND/NAME with one of {}", names_of_kinds())),
        };
    }
    let mut sorts = Vec::new();
    for word in word.split(',') {
        match word.to_ascii_lowercase().as_str() {
            "all" => sorts.extend(Kind::ALL.map(Sort::Objects)),
            "instances" | "instance" | "inst" => sorts.push(Sort::Instances),
            "services" | "service" | "svc" => sorts.push(Sort::Services),
            _ => match Kind::from_word(word) {
                Some(kind) => sorts.push(Sort::Objects(kind)),
                None => {
                    return Err(format!("use one of {}, instances, services", names_of_kinds()));
                }
            },
        }
    }
    Ok(First::Sorts(sorts))
}

fn names_of_kinds() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named_as_kubectl_names_them() {
        let named = |first_word: &str, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let named = Targets::new(first(first_word).unwrap(), names).named();
            named.map(|all| {
                all.iter()
                    .map(|(kind, name)| format!("{kind} {name}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            })
        };
        assert_eq!(named("lane", &["a", "trade/gray"]).unwrap(), "Lane a, Lane trade/gray");
        assert_eq!(named("group,gw", &["a"]).unwrap(), "LaneGroup a, Gateway a");
        assert_eq!(named("lane/trade/gray", &[]).unwrap(), "Lane trade/gray");
        assert_eq!(named("route/a", &["Backend/b"]).unwrap(), "HTTPRoute a, Backend b");
        assert!(named("route/a", &["b"]).is_err() && named("lane", &[]).is_err());
        assert!(named("instances", &["a"]).is_err());
        assert!(first("pods").is_err() && first("pods/a").is_err() && first("lane/").is_err());
        assert_eq!(first("inst,svc").unwrap(), First::Sorts(vec![Sort::Instances, Sort::Services]));
    }
}
