//! What this data plane has asked for: bounded, remembered over restarts.

use std::collections::{HashSet, VecDeque};

use api::discovery::v1;
use lanes::Query;

/// How many names and addresses may be subscribed. An application that calls a thousand services subscribes a
/// thousand names and some thousand addresses; a scanner that connects everywhere must not make it grow further.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 8192;

/// Bytes of a name: no host has a longer one in DNS, and the control plane answers none.
const NAME_BYTES_MAX: usize = 253;

/// Names and addresses in the order they were asked.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    asked: HashSet<Query>,
    order: VecDeque<Query>,
}

impl Subscriptions {
    /// Those of a message, as far as they can be read.
    pub(crate) fn from_wire(subscribe: &v1::Subscribe) -> Self {
        let mut subscriptions = Self::default();
        for name in &subscribe.names {
            subscriptions.add(Query::Name(name.clone()));
        }
        for address in subscribe.addresses.iter().filter_map(|address| address.parse().ok()) {
            subscriptions.add(Query::Address(address));
        }
        subscriptions
    }

    /// All of them, for a new connection and for the disk.
    pub(crate) fn to_wire(&self) -> v1::Subscribe {
        subscribe(&self.order, &[])
    }

    /// Adds one, and returns how it is asked; `None` when it is there already, or can be no name.
    pub(crate) fn add(&mut self, query: Query) -> Option<Query> {
        let query = match query {
            Query::Name(name) if name.len() > NAME_BYTES_MAX => return None,
            Query::Name(name) => Query::Name(name.to_lowercase()),
            address @ Query::Address(_) => address,
        };
        if self.asked.contains(&query) {
            return None;
        }
        self.asked.insert(query.clone());
        self.order.push_back(query.clone());
        Some(query)
    }

    /// Takes out what is beyond [`SUBSCRIPTIONS_MAX`]: the oldest that mean nothing, then the oldest. Whoever
    /// still uses one of them asks again.
    pub(crate) fn forget_surplus(&mut self, is_absent: impl Fn(&Query) -> bool) -> Vec<Query> {
        let mut surplus = self.order.len().saturating_sub(SUBSCRIPTIONS_MAX);
        let mut forgotten = Vec::new();
        if surplus > 0 {
            self.order.retain(|query| {
                let forget = surplus > 0 && is_absent(query);
                if forget {
                    surplus -= 1;
                    forgotten.push(query.clone());
                }
                !forget
            });
            forgotten.extend(self.order.drain(..surplus));
        }
        for query in &forgotten {
            self.asked.remove(query);
        }
        forgotten
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}

/// The message that asks for `wanted` and gives up `forgotten`.
pub(crate) fn subscribe<'a>(
    wanted: impl IntoIterator<Item = &'a Query>,
    forgotten: &[Query],
) -> v1::Subscribe {
    let mut message = v1::Subscribe::default();
    for query in wanted {
        match query {
            Query::Name(name) => message.names.push(name.clone()),
            Query::Address(address) => message.addresses.push(address.to_string()),
        }
    }
    for query in forgotten {
        match query {
            Query::Name(name) => message.forget_names.push(name.clone()),
            Query::Address(address) => message.forget_addresses.push(address.to_string()),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Query {
        Query::Name(text.to_owned())
    }

    #[test]
    fn asking_twice_is_asking_once_in_any_case() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.add(name("sc-B")), Some(name("sc-b")));
        assert_eq!(subscriptions.add(name("SC-b")), None);
        assert_eq!(subscriptions.len(), 1);
    }

    #[test]
    fn what_can_be_no_host_is_not_asked() {
        let mut subscriptions = Subscriptions::default();
        assert!(subscriptions.add(name(&"a".repeat(NAME_BYTES_MAX))).is_some());
        assert!(subscriptions.add(name(&"a".repeat(NAME_BYTES_MAX + 1))).is_none());
    }

    #[test]
    fn they_survive_the_wire() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(name("sc-b"));
        subscriptions.add(Query::Address("10.0.0.1:80".parse().unwrap()));
        let again = Subscriptions::from_wire(&subscriptions.to_wire());
        assert_eq!(again.order, subscriptions.order);
    }

    #[test]
    fn what_means_nothing_is_forgotten_first_then_the_oldest() {
        let mut subscriptions = Subscriptions::default();
        for index in 0..SUBSCRIPTIONS_MAX + 2 {
            subscriptions.add(name(&format!("n{index}")));
        }
        let forgotten = subscriptions.forget_surplus(|query| *query == name("n5"));
        assert_eq!(forgotten, [name("n5"), name("n0")]);
        assert_eq!(subscriptions.len(), SUBSCRIPTIONS_MAX);
        assert!(subscriptions.forget_surplus(|_| true).is_empty());
        assert!(subscriptions.add(name("n0")).is_some(), "a forgotten one can be asked again");
    }
}
