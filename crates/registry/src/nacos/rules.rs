//! Dubbo's own rules of tags and conditions, which its routers read from the configuration of the same server: what they
//! leave out no lane can have.
//!
//! Looked for are the rules of what Dubbo has registered, each by its name: a server tells no list of what it has. They
//! are listened to, and looked at again now and then.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::nacos::{Config, ConfigId, Connection, Error};
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::time::Instant;

use crate::Rule;

/// The group that Dubbo has its configurations in.
const GROUP: &str = "dubbo";

/// What follows the name of whom a rule is for.
const OF_TAGS: &str = ".tag-router";
const OF_CONDITIONS: &str = ".condition-router";

/// What Dubbo's registrations by interface begin with; the rest is what a rule of theirs is named by.
const PROVIDERS: &str = "providers:";

/// Rules that are looked for: of five thousand applications of Dubbo's. Of more nothing is known.
const LOOKED_FOR_MAX: usize = 10_000;

/// How many are asked for at once.
const ASKED_AT_ONCE: usize = 500;

/// How often they are looked at though nothing is pushed, and how long a server is left alone that refuses.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(60);

/// Where rules may be, and the application that each is for.
pub(super) type Places = BTreeMap<ConfigId, String>;

/// What a look has found: of configurations that are otherwise than before.
pub(super) type Found = Vec<(ConfigId, Option<Config>)>;

/// What is known of rules on one connection.
pub(super) struct Rules {
    places: BTreeMap<ConfigId, Place>,
    /// When they are looked at next.
    due: Instant,
    is_looking: bool,
    is_refused: bool,
}

struct Place {
    application: String,
    md5: String,
    is_rule: bool,
}

/// Notes where the rules of a registration may be.
pub(super) fn note(service: &str, dubbo: &str, application: &str, places: &mut Places) {
    let mut add = |name: &str, kind: &str| {
        if places.len() < LOOKED_FOR_MAX {
            let id = ConfigId { group: GROUP.to_owned(), data_id: format!("{name}{kind}") };
            places.entry(id).or_insert_with(|| application.to_owned());
        }
    };
    let name = if dubbo.is_empty() { service } else { dubbo };
    add(name, OF_TAGS);
    add(name, OF_CONDITIONS);
    if let Some(key) = service.strip_prefix(PROVIDERS) {
        add(key, OF_CONDITIONS);
    }
}

impl Rules {
    pub(super) fn new(now: Instant) -> Self {
        Self { places: BTreeMap::new(), due: now, is_looking: false, is_refused: false }
    }

    /// A rule is otherwise: they are looked at.
    pub(super) fn pushed(&mut self, id: &ConfigId, now: Instant) {
        if self.places.contains_key(id) {
            self.due = now;
        }
    }

    /// Begins a look at these places, if it is time for one.
    pub(super) fn look(
        &mut self,
        places: Places,
        connection: &Arc<Connection>,
        now: Instant,
    ) -> Option<BoxFuture<'static, Result<Found, Error>>> {
        let known = self.places.iter().map(|(id, place)| (id, &place.application));
        let is_otherwise = !places.iter().eq(known);
        if self.is_looking || now < self.due && (self.is_refused || !is_otherwise) {
            return None;
        }
        let mut before = std::mem::take(&mut self.places);
        let place = |(id, application): (ConfigId, String)| {
            let (md5, is_rule) =
                before.remove(&id).map_or_else(Default::default, |it| (it.md5, it.is_rule));
            (id, Place { application, md5, is_rule })
        };
        self.places = places.into_iter().map(place).collect();
        self.due = now + LOOKED_AT_EVERY;
        let known = self.places.iter().map(|(id, place)| (id.clone(), place.md5.clone())).collect();
        self.is_looking = true;
        Some(look(Arc::clone(connection), known).boxed())
    }

    /// Takes what a look has found; all rules there are now.
    pub(super) fn found(
        &mut self,
        found: Result<Found, Error>,
    ) -> Result<Option<Vec<Rule>>, Error> {
        self.is_looking = false;
        let found = match found {
            Ok(found) => found,
            Err(error) if error.is_of_one_call() => {
                if !std::mem::replace(&mut self.is_refused, true) {
                    tracing::warn!(%error, "whether Dubbo's own rules contradict lanes is not known");
                }
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.is_refused = false;
        for (id, config) in found {
            if let Some(place) = self.places.get_mut(&id) {
                place.is_rule = config.as_ref().is_some_and(|it| is_in_force(&it.content));
                place.md5 = config.map(|it| it.md5).unwrap_or_default();
            }
        }
        let rules = self.places.iter().filter(|(_, place)| place.is_rule);
        let rules = rules.map(|(id, place)| Rule {
            application: place.application.clone(),
            configuration: format!("{}/{}", id.group, id.data_id),
        });
        Ok(Some(rules.collect()))
    }
}

/// Asks for what is otherwise. Each call is bounded.
async fn look(connection: Arc<Connection>, known: Vec<(ConfigId, String)>) -> Result<Found, Error> {
    let mut found = Vec::new();
    for some in known.chunks(ASKED_AT_ONCE) {
        for id in connection.listen(some).await? {
            let config = connection.config(&id).await?;
            found.push((id, config));
        }
    }
    Ok(found)
}

/// Whether a rule says something, and is not switched off by `enabled: false`.
fn is_in_force(rule: &str) -> bool {
    let is_off = |line: &str| {
        let value = line.strip_prefix("enabled:").map(|it| it.split('#').next().unwrap_or(it));
        value.is_some_and(|it| it.trim().eq_ignore_ascii_case("false"))
    };
    !rule.trim().is_empty() && !rule.lines().any(is_off)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(places: &Places) -> Vec<String> {
        places.iter().map(|(id, of)| format!("{} {of}", id.data_id)).collect()
    }

    #[test]
    fn rules_are_named_by_the_application_and_by_the_interface() {
        let mut places = Places::new();
        note("dubbo-c", "", "spring-cloud-c", &mut places);
        let by_application = ["dubbo-c.condition-router", "dubbo-c.tag-router"];
        assert_eq!(names(&places), by_application.map(|name| format!("{name} spring-cloud-c")));
        places.clear();
        note("providers:org.C:1.0:", "old-c", "old-c", &mut places);
        let by_interface =
            ["old-c.condition-router", "old-c.tag-router", "org.C:1.0:.condition-router"];
        assert_eq!(names(&places), by_interface.map(|name| format!("{name} old-c")));
    }

    #[test]
    fn a_rule_counts_until_it_is_switched_off_or_gone() {
        assert!(is_in_force("force: false\nenabled: true\ntags: []\n"));
        assert!(is_in_force("tags:\n- name: gray\n  enabled: false\n"));
        assert!(!is_in_force("enabled: false # for now\ntags: []\n"));
        assert!(!is_in_force(" \n"));

        let now = Instant::now();
        let mut rules = Rules::new(now);
        let id = ConfigId { group: GROUP.to_owned(), data_id: "c.tag-router".to_owned() };
        let place = Place { application: "c".to_owned(), md5: String::new(), is_rule: false };
        rules.places.insert(id.clone(), place);
        let config =
            |content: &str| Config { content: content.to_owned(), md5: content.to_owned() };
        let shown = |rules: Option<Vec<Rule>>| {
            rules.map(|all| {
                all.iter().map(|it| format!("{} {}", it.application, it.configuration)).collect()
            })
        };
        let found = rules.found(Ok(vec![(id.clone(), Some(config("tags: []")))])).unwrap();
        assert_eq!(shown(found), Some(vec!["c dubbo/c.tag-router".to_owned()]));
        // What cannot be asked is not gone.
        let refused = Error::Refused { what: String::new(), said: String::new(), code: 302 };
        assert_eq!(rules.found(Err(refused)).unwrap(), None);
        assert!(rules.found(Err(Error::Reset)).is_err());
        assert_eq!(
            shown(rules.found(Ok(Vec::new())).unwrap()).map(|it: Vec<String>| it.len()),
            Some(1)
        );
        let found = rules.found(Ok(vec![(id.clone(), None)])).unwrap();
        assert_eq!(found, Some(Vec::new()));
        assert_eq!(rules.places[&id].md5, "");
    }
}
