//! What one connection has told so far, and whether it is enough to be told on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use ::nacos::{Error, Names, ServiceInfo};
use tokio::time::Instant;

use super::picture::{Key, Picture};
use crate::Change;

/// How long a service that is not answered for may keep us from telling the others: when the connection is new, since
/// it was refused first; later, since it was listed.
const FIRST_WAITED: Duration = Duration::from_secs(10);
const LATER_WAITED: Duration = Duration::from_secs(2);

/// What each group was answered with.
pub(super) type Listing = Vec<(String, Result<Names, Error>)>;

/// What one connection has told so far.
pub(super) struct Followed<'s> {
    pub(super) picture: &'s mut Picture,
    /// Services that are to be asked for.
    pub(super) waiting: VecDeque<Key>,
    /// Whether all that there is was told on once.
    pub(super) has_told_all: bool,
    /// Services that were asked for, and when the server looked at what it pushed of one before it answered.
    asked: HashMap<Key, Option<i64>>,
    /// Services that are listed and that nothing is known of yet: until when nothing is told without them.
    untold: HashMap<Key, Option<Instant>>,
    is_listed: bool,
    /// What was refused or not understood of groups, and those that nobody registers in.
    odd_groups: Option<String>,
    /// The same of services.
    odd: BTreeMap<Key, String>,
}

impl<'s> Followed<'s> {
    pub(super) fn new(picture: &'s mut Picture) -> Self {
        Self {
            picture,
            waiting: VecDeque::new(),
            has_told_all: false,
            asked: HashMap::new(),
            untold: HashMap::new(),
            is_listed: false,
            odd_groups: None,
            odd: BTreeMap::new(),
        }
    }

    /// Whether time alone changes what is told.
    pub(super) fn waits(&self) -> bool {
        self.picture.waits() || !self.untold.is_empty()
    }

    /// Whether what is known may be told: a service that is told before others are known could be told as base, though
    /// one of them names its tag.
    fn may_tell(&mut self, now: Instant) -> bool {
        self.is_listed
            && !self.picture.may_not_begin(now)
            && self.untold.values().all(|until| until.is_some_and(|until| until <= now))
    }

    /// What keeps us from having told everything, where it is known.
    pub(super) fn obstacle(&self) -> Option<String> {
        let of_services = self.odd.values().next();
        if self.is_listed { of_services.cloned() } else { self.odd_groups.clone() }
    }

    /// What is to be told, if that may be now.
    pub(super) fn take_changes(&mut self, now: Instant) -> Option<Vec<Change>> {
        let may_tell = self.may_tell(now);
        self.has_told_all |= may_tell;
        may_tell.then(|| self.picture.take_changes())
    }

    /// What people should know though all is well.
    pub(super) fn remark(&self) -> Option<String> {
        let odd = || self.odd_groups.clone().or_else(|| self.odd.values().next().cloned());
        let picture = &self.picture;
        picture.keeping().or_else(odd).or_else(|| picture.held_back()).or_else(|| picture.remark())
    }

    /// Takes the answer to a subscription.
    pub(super) fn answered(
        &mut self,
        key: Key,
        answer: Result<ServiceInfo, Error>,
        now: Instant,
    ) -> Result<(), Error> {
        // It may be listed no more.
        let Some(pushed) = self.asked_for(&key) else { return Ok(()) };
        // What was pushed meanwhile may be younger.
        let pushed = pushed.take();
        match answer {
            Ok(info) if pushed.is_some_and(|pushed| info.last_ref_time < pushed) => {}
            Ok(info) => self.told(&key, &info, now),
            // Of this one nothing is known: its last picture stays, and it is asked for again.
            Err(error) if error.is_of_one_call() => {
                self.asked.remove(&key);
                if let Some(until) = self.untold.get_mut(&key) {
                    until.get_or_insert(now + FIRST_WAITED);
                }
                self.odd.insert(key, error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes what the server tells by itself. Others may be told of that nobody asked for, or asks for any more.
    pub(super) fn pushed(&mut self, info: &ServiceInfo, now: Instant) {
        let (group, name) = info.group_and_name();
        let key = Key::new(group, name);
        // A server may set its clock back: what is pushed is younger than what was pushed before.
        if let Some(pushed) = self.asked_for(&key) {
            *pushed = Some(info.last_ref_time);
            self.told(&key, info, now);
        }
    }

    /// What was pushed of a service cannot be read: it is asked for.
    pub(super) fn unread(&mut self, key: &Key) {
        if let Some(pushed) = self.asked_for(key) {
            *pushed = None;
            self.waiting.push_back(key.clone());
        }
    }

    /// Takes note of which services there are. Of a group that was not answered for, or not wholly, none is taken away.
    pub(super) fn listed(&mut self, listing: Listing, now: Instant) -> Result<(), Error> {
        self.odd_groups = None;
        let (mut listed, mut stay) = (Vec::new(), BTreeSet::new());
        let is_refused = listing.iter().all(|(_, names)| names.is_err());
        for (group, names) in listing {
            let names = match names {
                Ok(names) => names,
                Err(error) if is_refused && matches!(error, Error::Forbidden { .. }) => {
                    return Err(error);
                }
                Err(error) => {
                    self.odd_groups = Some(error.to_string());
                    Names::default()
                }
            };
            if !names.is_whole {
                stay.extend(self.picture.of_group(&group));
            } else if names.names.is_empty() {
                let odd = format!("no service is registered in group `{group}`");
                self.odd_groups.get_or_insert(odd);
            }
            listed.extend(names.names.iter().map(|name| Key::new(&group, name)));
        }
        if is_refused {
            return Ok(());
        }
        let all = self.one_spelling_of_each(listed);
        stay.extend(all.iter().cloned());
        self.picture.listed(&stay, now);
        self.asked.retain(|key, _| stay.contains(key));
        self.untold.retain(|key, _| stay.contains(key));
        self.odd.retain(|key, _| stay.contains(key));
        for key in all {
            if self.asked_for(&key).is_none() {
                // Spelled otherwise it is another to the server.
                self.asked.remove(&key);
                self.asked.insert(key.clone(), None);
                let until = self.has_told_all.then(|| now + LATER_WAITED);
                self.untold.entry(key.clone()).or_insert(until);
                self.waiting.push_back(key);
            }
        }
        self.is_listed = true;
        Ok(())
    }

    /// To us names that differ by case are one: that which was asked for already, or the first.
    fn one_spelling_of_each(&mut self, listed: Vec<Key>) -> BTreeSet<Key> {
        let (asked, others): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|key| self.asked_for(key).is_some());
        let mut all: BTreeSet<Key> = asked.into_iter().collect();
        for key in others {
            match all.get(&key) {
                Some(same) => {
                    let odd = format!("{key} is left out: it differs from {same} by case only");
                    self.odd_groups.get_or_insert(odd);
                }
                None => {
                    all.insert(key);
                }
            }
        }
        all
    }

    /// What is noted of a service that was asked for under this very name.
    fn asked_for(&mut self, key: &Key) -> Option<&mut Option<i64>> {
        let (asked, _) = self.asked.get_key_value(key)?;
        if asked.is_spelled_as(key) { self.asked.get_mut(key) } else { None }
    }

    fn told(&mut self, key: &Key, info: &ServiceInfo, now: Instant) {
        self.untold.remove(key);
        self.odd.remove(key);
        self.picture.told(key, &info.hosts, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        joined::Joined,
        nacos::{TagCovers, joins::Joins},
    };

    fn picture() -> Picture {
        let joins = Joins::new(&Joined::default(), &[], true);
        Picture::new("registry", "public", TagCovers::Address, joins)
    }

    fn listing(names: &[&str], is_whole: bool) -> Listing {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        vec![("G".to_owned(), Ok(Names { names, is_whole }))]
    }

    /// `NAME` with an instance at each port, as the server saw it then.
    fn info(name: &str, ports: &[u16], seen: i64) -> ServiceInfo {
        let hosts: Vec<_> = (ports.iter())
            .map(|port| serde_json::json!({"ip": "10.0.0.1", "port": port}))
            .collect();
        let info = serde_json::json!({"name": name, "groupName": "G", "lastRefTime": seen, "hosts": hosts});
        serde_json::from_value(info).unwrap()
    }

    fn refused() -> Error {
        Error::Refused { what: "it".to_owned(), said: "no".to_owned(), code: 500 }
    }

    fn names(changes: Option<Vec<Change>>) -> Option<Vec<String>> {
        let shown = |change: Change| match change.state {
            Some(service) => format!("{} {}", change.service.name(), service.endpoints().len()),
            None => format!("{} gone", change.service.name()),
        };
        changes.map(|changes| changes.into_iter().map(shown).collect())
    }

    #[test]
    fn nothing_is_told_before_all_is_known_or_was_refused_for_long_enough() {
        let mut picture = picture();
        let (mut followed, now) = (Followed::new(&mut picture), Instant::now());
        followed.listed(listing(&["a", "b"], true), now).unwrap();
        followed.answered(Key::new("G", "a"), Ok(info("a", &[80], 1)), now).unwrap();
        assert_eq!(names(followed.take_changes(now + FIRST_WAITED * 9)), None);
        followed.answered(Key::new("G", "b"), Err(refused()), now).unwrap();
        assert_eq!(names(followed.take_changes(now)), None);
        assert!(followed.waits() && followed.obstacle().is_some());
        // It is asked for again, which gives it no more time.
        let later = now + FIRST_WAITED / 2;
        followed.waiting.clear();
        followed.listed(listing(&["a", "b"], true), later).unwrap();
        assert_eq!(followed.waiting, [Key::new("G", "b")]);
        assert_eq!(names(followed.take_changes(later)), None);
        let due = now + FIRST_WAITED;
        assert_eq!(names(followed.take_changes(due)), Some(vec!["a 1".to_owned()]));
        assert!(followed.remark().unwrap().contains("no"));
        // A new name may say the tag of others: it is waited for, and not for long.
        followed.listed(listing(&["a", "b", "c"], true), due).unwrap();
        followed.pushed(&info("a", &[80, 81], 2), due);
        assert_eq!(names(followed.take_changes(due)), None);
        let told = followed.take_changes(due + LATER_WAITED);
        assert_eq!(names(told), Some(vec!["a 2".to_owned()]));
    }

    #[test]
    fn what_is_pushed_counts_whatever_the_servers_clock_says() {
        let mut picture = picture();
        let (mut followed, now, key) =
            (Followed::new(&mut picture), Instant::now(), Key::new("G", "a"));
        followed.listed(listing(&["a"], true), now).unwrap();
        followed.pushed(&info("a", &[80, 81], 9), now);
        // The answer was on its way before.
        followed.answered(key.clone(), Ok(info("a", &[80], 8)), now).unwrap();
        assert_eq!(names(followed.take_changes(now)), Some(vec!["a 2".to_owned()]));
        followed.pushed(&info("a", &[80, 81, 82], 3), now);
        assert_eq!(names(followed.take_changes(now)), Some(vec!["a 3".to_owned()]));
        // One that cannot be read is asked for, and that answer counts.
        followed.waiting.clear();
        followed.unread(&key);
        assert_eq!(followed.waiting.pop_front(), Some(key.clone()));
        followed.answered(key, Ok(info("a", &[80], 1)), now).unwrap();
        assert_eq!(names(followed.take_changes(now)), Some(vec!["a 1".to_owned()]));
    }

    #[test]
    fn a_group_that_is_refused_or_told_in_part_loses_nothing_and_names_by_case_are_one() {
        let mut picture = picture();
        let (mut followed, now) = (Followed::new(&mut picture), Instant::now());
        followed.listed(listing(&["a", "b"], true), now).unwrap();
        for name in ["a", "b"] {
            followed.answered(Key::new("G", name), Ok(info(name, &[80], 1)), now).unwrap();
        }
        followed.take_changes(now);
        let forbidden =
            || Error::Forbidden { what: "it".to_owned(), said: String::new(), remedy: "" };
        let other = || ("H".to_owned(), Ok(Names { is_whole: true, ..Names::default() }));
        for listed in [listing(&["a"], false), vec![("G".to_owned(), Err(forbidden())), other()]] {
            followed.listed(listed, now).unwrap();
            followed.picture.settle(now + Duration::from_secs(60));
            assert_eq!(names(followed.take_changes(now)), Some(Vec::new()));
        }
        // Nobody lets us in: that is no odd group.
        assert!(followed.listed(vec![("G".to_owned(), Err(forbidden()))], now).is_err());
        assert!(followed.listed(vec![("G".to_owned(), Err(refused()))], now).is_ok());

        followed.waiting.clear();
        followed.listed(listing(&["A", "a", "b"], true), now).unwrap();
        assert!(followed.waiting.is_empty() && followed.remark().unwrap().contains("case only"));
        followed.listed(listing(&["A", "b"], true), now).unwrap();
        assert!(followed.waiting.pop_front().is_some_and(|key| key.name == "A"));
    }
}
