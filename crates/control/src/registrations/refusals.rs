//! Who was refused lately, and why: a sidecar that goes on trying is told of in status for as long as it does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use api::discovery::v1::Instance;

/// How long a refusal is told of after the last attempt: several of a sidecar's pauses between two attempts.
const KEPT: Duration = Duration::from_secs(30);

/// Refusals kept at once: for people, and a bound for a client gone wild.
const REFUSALS_MAX: usize = 100;

/// A registration that is refused at present.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// What wanted to register.
    pub(crate) instance: Instance,
    /// Why it may not.
    pub(crate) reason: String,
    /// Since when.
    pub(crate) since: Instant,
    last: Instant,
}

/// All of them, by node and process.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<(String, String), Refusal>);

impl Refusals {
    /// Notes that an instance was refused; says whether that is news.
    pub(crate) fn add(&mut self, instance: &Instance, reason: &str, now: Instant) -> bool {
        self.0.retain(|_, refusal| now < refusal.last + KEPT);
        let (key, is_full) = (key(instance), self.0.len() >= REFUSALS_MAX);
        match self.0.get_mut(&key) {
            Some(known) if known.reason == reason => {
                known.last = now;
                false
            }
            None if is_full => false,
            _ => {
                let (instance, reason) = (instance.clone(), reason.to_owned());
                self.0.insert(key, Refusal { instance, reason, since: now, last: now });
                true
            }
        }
    }

    /// It has been registered.
    pub(super) fn remove(&mut self, instance: &Instance) {
        self.0.remove(&key(instance));
    }

    /// Those of the last half minute.
    pub(crate) fn present(&self, now: Instant) -> impl Iterator<Item = &Refusal> {
        self.0.values().filter(move |refusal| now < refusal.last + KEPT)
    }
}

fn key(instance: &Instance) -> (String, String) {
    (instance.node.clone(), instance.process.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_news_once_and_told_of_while_it_is_tried_again() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        let instance = Instance { node: "n".into(), ..Default::default() };
        assert!(refusals.add(&instance, "taken", start));
        assert!(!refusals.add(&instance, "taken", start + KEPT / 2));
        assert!(refusals.add(&instance, "taken otherwise", start + KEPT / 2));
        assert_eq!(refusals.present(start + KEPT).count(), 1);
        assert_eq!(refusals.present(start + 2 * KEPT).count(), 0);
        refusals.remove(&instance);
        assert_eq!(refusals.present(start).count(), 0);
        for number in 0..2 * REFUSALS_MAX {
            let node = number.to_string();
            refusals.add(&Instance { node, ..Default::default() }, "taken", start);
        }
        assert_eq!(refusals.present(start).count(), REFUSALS_MAX);
    }
}
