//! What applications call: what any of their instances asked for. Another instance will need it too, and is told from its
//! first message, so that it need not ask when nobody answers.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use api::discovery::v1;

use crate::{
    key::{Application, ResourceKey, Topic, Touch},
    store::{self, Change},
};

/// Names and addresses kept of one application: as many as one of its instances may subscribe.
const DEPENDENCIES_MAX: usize = 8_192;

/// Applications of which something is kept: ten times a large installation.
const APPLICATIONS_MAX: usize = 10_000;

/// For how many days something is kept that nobody asks for: longer than the rarest of jobs, that of once a month,
/// stays away.
const UNUSED_DAYS_KEPT: u64 = 30;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is asked, and on which day for the last time.
type Asked = HashMap<ResourceKey, u64>;

/// What all applications call.
#[derive(Debug)]
pub(crate) struct Dependencies {
    by_application: HashMap<Application, Asked>,
    /// When this was made: since 1970, and by the other clock.
    began: (Duration, Instant),
    looked_on: u64,
    /// What the store does not know yet.
    changes: Vec<Change>,
}

impl Dependencies {
    /// None yet.
    pub(crate) fn new(now: Instant) -> Self {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            by_application: HashMap::new(),
            began: (began, now),
            looked_on: 0,
            changes: Vec::new(),
        }
    }

    /// Takes what the store knows.
    pub(crate) fn restore(&mut self, stored: &[store::Dependencies]) {
        for noted in stored {
            let application = Application {
                namespace: noted.namespace.as_str().into(),
                name: noted.application.as_str().into(),
            };
            let asked = self.by_application.entry(application).or_default();
            for key in &noted.asked {
                let told = v1::Held { key: key.clone(), ..v1::Held::default() };
                if let Some(key @ (ResourceKey::Name(_) | ResourceKey::Address(_))) =
                    ResourceKey::of(&told)
                {
                    asked.insert(key, noted.day);
                }
            }
        }
    }

    /// What an application asked for.
    pub(crate) fn of(&self, application: &Application) -> impl Iterator<Item = &ResourceKey> {
        self.by_application.get(application).into_iter().flat_map(HashMap::keys)
    }

    /// An instance asks.
    pub(crate) fn note(
        &mut self,
        application: &Application,
        keys: Vec<ResourceKey>,
        now: Instant,
        touches: &mut Vec<Touch>,
    ) {
        let day = self.day(now);
        let is_full = self.by_application.len() >= APPLICATIONS_MAX;
        if is_full && !self.by_application.contains_key(application) {
            return;
        }
        let asked = self.by_application.entry(application.clone()).or_default();
        let (mut noted, before) = (Vec::new(), asked.len());
        for key in keys {
            let is_full = asked.len() >= DEPENDENCIES_MAX;
            match asked.get_mut(&key) {
                Some(last) if *last >= day => continue,
                Some(last) => *last = day,
                None if is_full => continue,
                None => drop(asked.insert(key.clone(), day)),
            }
            noted.push(key.to_string());
        }
        if asked.len() > before {
            touches.push(Touch::Share(Topic::Dependencies(application.clone())));
        }
        if !noted.is_empty() {
            self.changes.push(Change::Depend(stored(application, noted, day)));
        }
    }

    /// An instance makes room: those that still need it have asked for it themselves.
    pub(crate) fn forget(
        &mut self,
        application: &Application,
        keys: &[ResourceKey],
        now: Instant,
        touches: &mut Vec<Touch>,
    ) {
        let day = self.day(now);
        let Some(asked) = self.by_application.get_mut(application) else { return };
        let forgotten = keys.iter().filter(|key| asked.remove(key).is_some());
        let forgotten: Vec<String> = forgotten.map(ToString::to_string).collect();
        if !forgotten.is_empty() {
            touches.push(Touch::Share(Topic::Dependencies(application.clone())));
            self.changes.push(Change::ForgetDependencies(stored(application, forgotten, day)));
        }
    }

    /// Forgets what nobody asks for any more.
    pub(crate) fn forget_unused(&mut self, now: Instant, touches: &mut Vec<Touch>) {
        let day = self.day(now);
        if std::mem::replace(&mut self.looked_on, day) == day {
            return;
        }
        for (application, asked) in &mut self.by_application {
            let unused = |last: &u64| *last + UNUSED_DAYS_KEPT < day;
            let forgotten = asked.iter().filter(|(_, last)| unused(last));
            let forgotten: Vec<String> = forgotten.map(|(key, _)| key.to_string()).collect();
            if forgotten.is_empty() {
                continue;
            }
            asked.retain(|_, last| !unused(last));
            touches.push(Touch::Share(Topic::Dependencies(application.clone())));
            self.changes.push(Change::ForgetDependencies(stored(application, forgotten, day)));
        }
        self.by_application.retain(|_, asked| !asked.is_empty());
    }

    /// What the store must be told, since this was last asked.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn day(&self, now: Instant) -> u64 {
        let (since_1970, began) = self.began;
        (since_1970 + now.saturating_duration_since(began)).as_secs() / DAY.as_secs()
    }
}

fn stored(application: &Application, asked: Vec<String>, day: u64) -> store::Dependencies {
    let Application { namespace, name } = application;
    let (namespace, application) = (namespace.to_string(), name.to_string());
    store::Dependencies { namespace, application, asked, day }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(host: &str) -> ResourceKey {
        ResourceKey::Name(host.into())
    }

    fn application() -> Application {
        Application { namespace: "default".into(), name: "a".into() }
    }

    #[test]
    fn what_is_asked_again_is_kept_and_the_rest_forgotten_after_a_month() {
        let now = Instant::now();
        let (mut dependencies, mut touches) = (Dependencies::new(now), Vec::new());
        dependencies.note(&application(), vec![name("b"), name("c")], now, &mut touches);
        assert_eq!(touches.len(), 1);
        dependencies.note(&application(), vec![name("b")], now, &mut touches);
        assert_eq!((touches.len(), dependencies.take_changes().len()), (1, 1), "nothing new");
        dependencies.note(&application(), vec![name("b")], now + 20 * DAY, &mut touches);
        dependencies.forget_unused(now + 30 * DAY, &mut touches);
        assert_eq!((touches.len(), dependencies.of(&application()).count()), (1, 2));
        dependencies.forget_unused(now + 31 * DAY, &mut touches);
        assert_eq!(dependencies.of(&application()).collect::<Vec<_>>(), [&name("b")]);
        assert_eq!((touches.len(), dependencies.take_changes().len()), (2, 2));
    }

    #[test]
    fn of_one_application_there_is_a_limit() {
        let now = Instant::now();
        let (mut dependencies, mut touches) = (Dependencies::new(now), Vec::new());
        let names = (0..=DEPENDENCIES_MAX).map(|number| name(&format!("n{number}")));
        dependencies.note(&application(), names.collect(), now, &mut touches);
        assert_eq!(dependencies.of(&application()).count(), DEPENDENCIES_MAX);
    }
}
