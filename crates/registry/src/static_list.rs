//! Instances written down by an operator: always there, always healthy, until the list changes.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use lanes::{
    Endpoint, Problem, Service, ServiceId,
    service::{FurtherAddresses, Health, Port, Protocol},
};
use tokio::sync::watch;

use crate::{
    Change, application_of,
    source::{Ended, Sink, Source},
    tag_of,
};

/// One service of a static source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticService {
    /// The name callers use.
    pub name: String,
    /// The application behind it; `None`: as the service.
    pub application: Option<String>,
    /// What is spoken at its instances' ports.
    pub protocol: Protocol,
    /// Its instances.
    pub instances: Vec<StaticInstance>,
}

/// One instance of a static service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticInstance {
    /// Where it answers.
    pub address: SocketAddr,
    /// Where it answers as well, e.g. in the other family.
    pub further_addresses: Vec<SocketAddr>,
    /// Its tag, unchecked; empty is base.
    pub tag: String,
    /// Share of requests among its peers.
    pub weight: u32,
}

/// A list that can be edited while it is told.
#[derive(Debug)]
pub struct StaticSource {
    name: String,
    namespace: String,
    list: watch::Receiver<Vec<StaticService>>,
}

impl StaticSource {
    /// The source `name`, with everything in `namespace`, as `list` is now and will be.
    pub fn new(name: &str, namespace: &str, list: watch::Receiver<Vec<StaticService>>) -> Self {
        Self { name: name.to_owned(), namespace: namespace.to_owned(), list }
    }
}

impl Source for StaticSource {
    async fn run(&mut self, sink: &mut Sink) -> Result<(), Ended> {
        let mut told = StaticList::default();
        self.list.mark_changed();
        while self.list.changed().await.is_ok() {
            let list = self.list.borrow_and_update().clone();
            sink.changed(told.update(&self.name, &self.namespace, &list));
            sink.synced();
        }
        // Whoever could edit the list is gone, and stops this too.
        std::future::pending().await
    }
}

/// What is told of one static source, so that only differences are told.
#[derive(Debug, Default)]
struct StaticList {
    told: BTreeMap<ServiceId, (Arc<Service>, Vec<Problem>)>,
}

impl StaticList {
    /// Takes the list as it is now, and says what that changes. Of two services of one name the first stays; the
    /// second is told as a problem of it.
    fn update(&mut self, source: &str, namespace: &str, services: &[StaticService]) -> Vec<Change> {
        let mut wanted: BTreeMap<ServiceId, (Arc<Service>, Vec<Problem>)> = BTreeMap::new();
        for (index, spec) in services.iter().enumerate() {
            let at = format!("services[{index}]");
            let (service, problems) = compile(source, namespace, spec, &at);
            match wanted.entry(service.id().clone()) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert((Arc::new(service), problems));
                }
                std::collections::btree_map::Entry::Occupied(mut first) => {
                    let remedy =
                        "names are not case-sensitive; give each service a name of its own";
                    first.get_mut().1.push(Problem::new(format!("{at}.name"), &spec.name, remedy));
                }
            }
        }
        let mut changes: Vec<Change> = (self.told.keys())
            .filter(|id| !wanted.contains_key(*id))
            .map(|id| Change::gone(id.clone()))
            .collect();
        for (id, now) in &wanted {
            if self.told.get(id) != Some(now) {
                let (state, problems) = now.clone();
                changes.push(Change { service: id.clone(), state: Some(state), problems });
            }
        }
        self.told = wanted;
        changes
    }
}

fn compile(
    source: &str,
    namespace: &str,
    spec: &StaticService,
    at: &str,
) -> (Service, Vec<Problem>) {
    let mut problems = Vec::new();
    let endpoints = spec.instances.iter().enumerate().map(|(index, instance)| {
        let (tag, health) = match tag_of(|_| None, &instance.tag) {
            Ok(tag) => (tag, Health::Usable),
            Err(problem) => {
                problems.push(problem.under(&format!("{at}.instances[{index}]")));
                (None, Health::InvalidTag)
            }
        };
        Endpoint {
            address: instance.address,
            application_address: None,
            further: FurtherAddresses::beside(
                (instance.address, None),
                &instance.further_addresses,
                &[],
            ),
            tag,
            weight: instance.weight,
            health,
            port: Port { protocol: spec.protocol, is_further: false },
        }
    });
    let endpoints: Vec<Endpoint> = endpoints.collect();
    let said = spec.application.as_deref().unwrap_or_default();
    let application = application_of(|_| None, said, &spec.name);
    let id = ServiceId::new(source, namespace, "", &spec.name);
    (Service::new(id, &spec.name, application, endpoints), problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, instances: &[(&str, &str)]) -> StaticService {
        let instances = instances.iter().map(|(address, tag)| StaticInstance {
            address: address.parse().unwrap(),
            further_addresses: Vec::new(),
            tag: (*tag).to_owned(),
            weight: 1,
        });
        StaticService {
            name: name.to_owned(),
            application: None,
            protocol: Protocol::Http,
            instances: instances.collect(),
        }
    }

    #[track_caller]
    fn check(changes: &[Change], expected: &[(&str, Option<&[&str]>, usize)]) {
        let told: Vec<_> = changes
            .iter()
            .map(|change| {
                let endpoints = change.state.as_ref().map(|service| {
                    let said = service.endpoints().iter().map(|it| {
                        format!(
                            "{} {} {:?}",
                            it.address,
                            it.tag.as_ref().map_or("-", |tag| tag.as_str()),
                            it.health
                        )
                    });
                    said.collect::<Vec<_>>()
                });
                (change.service.to_string(), endpoints, change.problems.len())
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, endpoints, problems)| {
                let endpoints = endpoints
                    .map(|list| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
                ((*id).to_owned(), endpoints, *problems)
            })
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn only_differences_are_told() {
        let mut list = StaticList::default();
        let a = service("sc-A", &[("127.0.0.11:80", ""), ("127.0.0.21:80", "gray")]);
        let b = service("sc-B", &[("127.0.0.12:80", "base")]);
        let of_a: &[&str] = &["127.0.0.11:80 - Usable", "127.0.0.21:80 gray Usable"];
        let of_b: &[&str] = &["127.0.0.12:80 - Usable"];
        check(
            &list.update("fixed", "default", &[a.clone(), b.clone()]),
            &[("fixed/default//sc-a", Some(of_a), 0), ("fixed/default//sc-b", Some(of_b), 0)],
        );
        check(&list.update("fixed", "default", &[a.clone(), b]), &[]);
        check(&list.update("fixed", "default", &[a]), &[("fixed/default//sc-b", None, 0)]);
        check(&list.update("fixed", "default", &[]), &[("fixed/default//sc-a", None, 0)]);
    }

    #[test]
    fn an_instance_listed_with_several_addresses_is_one() {
        let mut list = StaticList::default();
        let mut both = service("a", &[("10.0.0.1:80", "gray")]);
        both.instances[0].further_addresses = vec!["[fd00::1]:80".parse().unwrap()];
        let changes = list.update("s", "n", &[both]);
        let told = changes[0].state.as_ref().unwrap();
        let [endpoint] = told.endpoints() else { panic!("{told:?}") };
        let all: Vec<String> = endpoint.addresses().map(|it| it.to_string()).collect();
        assert_eq!(all, ["10.0.0.1:80", "[fd00::1]:80"]);
        assert_eq!(list.update("s", "n", &[service("a", &[("10.0.0.1:80", "gray")])]).len(), 1);
    }

    #[test]
    fn what_is_spoken_at_a_port_is_told_and_so_is_its_change() {
        let mut list = StaticList::default();
        let read = service("dubbo", &[("10.0.0.1:20880", "")]);
        let unread = StaticService { protocol: Protocol::Tcp, ..read.clone() };
        for (written, expected) in [(read, Protocol::Http), (unread, Protocol::Tcp)] {
            let changes = list.update("s", "n", &[written]);
            let told = changes[0].state.as_ref().unwrap();
            let spoken: Vec<_> = told.endpoints().iter().map(|it| it.port.protocol).collect();
            assert_eq!(spoken, [expected]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_edited_list_is_told_while_it_runs() {
        let (edit, list) = watch::channel(vec![service("a", &[("127.0.0.1:80", "")])]);
        let (receiver, mut heard) = crate::supervise::tests::Heard::new();
        let _supervised =
            crate::supervise("fixed", StaticSource::new("fixed", "default", list), receiver);
        for expected in ["syncing", "a 1", "synced"] {
            assert_eq!(heard.recv().await.as_deref(), Some(expected));
        }
        edit.send_replace(vec![service("b", &[])]);
        assert_eq!(heard.recv().await.as_deref(), Some("a gone, b 0"));
    }

    #[test]
    fn a_bad_tag_is_unusable_and_a_second_name_is_told() {
        let mut list = StaticList::default();
        let a = service("a", &[("127.0.0.1:80", "no tag")]);
        let again = service("A", &[("127.0.0.2:80", "")]);
        check(
            &list.update("s", "n", &[a, again]),
            &[("s/n//a", Some(&["127.0.0.1:80 - InvalidTag"]), 2)],
        );
    }
}
