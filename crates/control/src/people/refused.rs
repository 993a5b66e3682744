//! Sign-ins that were refused, as the audit tells them: the first of an address at an account at once, those that follow
//! within the same while together. Whoever guesses a thousand times a minute makes two entries of it.

use std::{collections::BTreeMap, net::IpAddr, time::SystemTime};

use api::rest::{Action, AuthorKind};

use crate::{
    audit::{self, Authorship, changed},
    store::Change,
};

/// Addresses and accounts that are told apart in one while; of all others one number is told.
const TOLD_APART_MAX: usize = 16;

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attempted {
    /// To sign in as this user; none: as one whom there is not. What was written is not told: it may be a password.
    SignIn(Option<String>),
    /// To change the password of this user, who had signed in.
    PasswordChange(String),
}

impl Attempted {
    fn about(&self) -> String {
        match self {
            Self::SignIn(Some(user)) => format!("sign-in as {user}"),
            Self::SignIn(None) => "sign-in as nobody there is".to_owned(),
            Self::PasswordChange(user) => format!("password of {user}"),
        }
    }
}

/// How often, since the last entry.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    wrong: u64,
    /// Not even looked at: too many before.
    slowed: u64,
}

impl Count {
    fn add(&mut self, was_slowed: bool) {
        if was_slowed {
            self.slowed += 1;
        } else {
            self.wrong += 1;
        }
    }

    fn is_none(self) -> bool {
        self.wrong + self.slowed == 0
    }
}

/// What was refused in this while.
#[derive(Debug, Default)]
pub(super) struct RefusedSignIns {
    apart: BTreeMap<(Attempted, IpAddr), Count>,
    others: Count,
}

impl RefusedSignIns {
    /// Counts one; the entry of the first.
    pub(super) fn add(
        &mut self,
        what: Attempted,
        address: IpAddr,
        was_slowed: bool,
        now: SystemTime,
    ) -> Option<Change> {
        let key = (what, address);
        if let Some(count) = self.apart.get_mut(&key) {
            count.add(was_slowed);
            return None;
        }
        if self.apart.len() >= TOLD_APART_MAX {
            self.others.add(was_slowed);
            return None;
        }
        let mut first = Count::default();
        first.add(was_slowed);
        let told = entry(key.0.about(), Some(address), first, now);
        self.apart.insert(key, Count::default());
        Some(told)
    }

    /// Ends a while: entries of what no entry has told.
    pub(super) fn take(&mut self, now: SystemTime) -> Vec<Change> {
        let Self { apart, others } = std::mem::take(self);
        let of_key = |((what, address), count): ((Attempted, IpAddr), Count)| {
            (!count.is_none()).then(|| entry(what.about(), Some(address), count, now))
        };
        let mut told: Vec<Change> = apart.into_iter().filter_map(of_key).collect();
        if !others.is_none() {
            told.push(entry("sign-ins of others".to_owned(), None, others, now));
        }
        told
    }
}

fn entry(about: String, address: Option<IpAddr>, count: Count, now: SystemTime) -> Change {
    let mut changes = Vec::new();
    changes.extend(address.map(|it| changed("address", None, Some(it.to_string().into()))));
    let counted = [("attempts", count.wrong), ("attemptsSlowedDown", count.slowed)];
    let counted = counted.into_iter().filter(|(_, count)| *count > 0);
    changes.extend(counted.map(|(field, count)| changed(field, None, Some(count.into()))));
    let by = Authorship::of(AuthorKind::Anybody, "anybody");
    audit::of_sign_in(None, about, Action::Refused, changes, &by, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(changes: impl IntoIterator<Item = Change>) -> Vec<String> {
        let told = changes.into_iter().map(|change| {
            let Change::AuditSignIn { entry, user: None } = change else { panic!("{change:?}") };
            let fields: Vec<String> = entry.changes.iter().map(ToString::to_string).collect();
            format!("{}: {}", entry.about, fields.join(", "))
        });
        told.collect()
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_in_one_entry() {
        let mut refused = RefusedSignIns::default();
        let now = SystemTime::UNIX_EPOCH;
        let add = |refused: &mut RefusedSignIns, user: Option<&str>, last, was_slowed| {
            let what = Attempted::SignIn(user.map(str::to_owned));
            told(refused.add(what, IpAddr::from([10, 0, 0, last]), was_slowed, now))
        };
        let first = add(&mut refused, Some("alice"), 1, false);
        assert_eq!(
            first,
            ["sign-in as alice: address: (default) -> 10.0.0.1, attempts: (default) -> 1"]
        );
        for was_slowed in [false, false, true] {
            assert!(add(&mut refused, Some("alice"), 1, was_slowed).is_empty());
        }
        let other = add(&mut refused, None, 2, false);
        assert_eq!(other.len(), 1, "another is told apart: {other:?}");
        let rest = told(refused.take(now));
        assert_eq!(
            rest,
            [
                "sign-in as alice: address: (default) -> 10.0.0.1, attempts: (default) -> 2, attemptsSlowedDown: (default) -> 1"
            ]
        );
        assert!(refused.take(now).is_empty());

        // Whoever comes from everywhere is one number.
        let counted = (0..=255).map(|last| add(&mut refused, Some("alice"), last, false).len());
        assert_eq!(counted.sum::<usize>(), TOLD_APART_MAX);
        let rest = told(refused.take(now));
        assert_eq!(rest, ["sign-ins of others: attempts: (default) -> 240"]);
    }
}
