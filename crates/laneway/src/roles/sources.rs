//! Where instances come from, wired to the control plane: one supervised task per source, started and stopped as
//! ServiceSource objects come and go.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use api::{
    resource::{DEFAULT_NAMESPACE, NacosServers, ServiceSource, StaticServices},
    validate::spread::ForeignRule,
};
use control::Control;
use lanes::service::Protocol;
use registry::{
    Change, Joined, Receiver, Rule, Standing, Supervised,
    nacos::{NacosSettings, NacosSource},
    static_list::{StaticInstance, StaticService, StaticSource},
    supervise,
};
use tokio::{sync::watch, task::JoinHandle};

mod nacos;

/// Follows the ServiceSource objects.
#[derive(Debug)]
pub(crate) struct Sources {
    task: JoinHandle<()>,
}

impl Sources {
    /// Starts the sources there are, and those that will be.
    pub(crate) fn follow(control: Arc<Control>, joined: Joined) -> Self {
        let task = tokio::spawn(async move {
            let mut wanted = control.sources();
            let mut running = Running { joined, ..Running::default() };
            let receiver = |name: &str| -> Arc<dyn Receiver> { ToControl::new(name, &control) };
            loop {
                let sources = wanted.borrow_and_update().clone();
                running.update(&sources, receiver).await;
                if wanted.changed().await.is_err() {
                    return;
                }
            }
        });
        Self { task }
    }

    pub(crate) fn stop(self) {
        self.task.abort();
    }
}

/// The sources that run, by name.
#[derive(Debug, Default)]
struct Running {
    sources: BTreeMap<String, One>,
    /// What they say, for those that are joined to them.
    joined: Joined,
}

/// One object's source.
#[derive(Debug)]
struct One {
    /// Tells an object from a later one of its name: what was told of the one is forgotten with it.
    uid: Option<String>,
    feed: Feed,
    supervised: Supervised,
}

/// Where a source hears how its object is edited.
#[derive(Debug)]
enum Feed {
    Static(watch::Sender<Vec<StaticService>>),
    Nacos { written: Box<NacosServers>, settings: watch::Sender<Arc<NacosSettings>> },
}

impl Feed {
    /// Hands on what an object says now. Whether it could: an object that became another sort of source cannot.
    fn take(&mut self, source: &ServiceSource) -> bool {
        let spec = &source.spec;
        match (self, &spec.fixed, &spec.nacos) {
            (Self::Static(list), Some(fixed), _) => {
                list.send_replace(services(&source.metadata.name, fixed));
            }
            (Self::Nacos { written, settings }, None, Some(nacos)) => {
                // A connection is not ended for a label that was added.
                if **written != *nacos {
                    **written = nacos.clone();
                    settings.send_replace(Arc::new(nacos::settings(nacos)));
                }
            }
            _ => return false,
        }
        true
    }
}

impl One {
    /// Starts what an object says; none where this version has no such source.
    fn start(source: &ServiceSource, joined: &Joined, receiver: Arc<dyn Receiver>) -> Option<Self> {
        let name = source.metadata.name.as_str();
        let receiver = joined.hearing(name, receiver);
        let (feed, supervised) = match (&source.spec.fixed, &source.spec.nacos) {
            (Some(fixed), _) => {
                let (list, edited) = watch::channel(services(name, fixed));
                let told = StaticSource::new(name, DEFAULT_NAMESPACE, edited);
                (Feed::Static(list), supervise(name, told, receiver))
            }
            (None, Some(written)) => {
                let (settings, edited) = watch::channel(Arc::new(nacos::settings(written)));
                let told = NacosSource::new(name, edited, joined.clone());
                let feed = Feed::Nacos { written: Box::new(written.clone()), settings };
                (feed, supervise(name, told, receiver))
            }
            (None, None) => return None,
        };
        Some(Self { uid: source.metadata.uid.clone(), feed, supervised })
    }
}

impl Running {
    /// Takes the objects as they are now: of several of one name the oldest. The control plane lets go of a deleted
    /// source's services by itself, and hears nothing more of it: a source has ended before another takes its name.
    async fn update(
        &mut self,
        sources: &[ServiceSource],
        receiver: impl Fn(&str) -> Arc<dyn Receiver>,
    ) {
        let mut wanted = BTreeMap::new();
        for source in sources {
            wanted.entry(source.metadata.name.as_str()).or_insert(source);
        }
        let is_other = |name: &str, one: &mut One| {
            wanted
                .get(name)
                .is_none_or(|source| source.metadata.uid != one.uid || !one.feed.take(source))
        };
        let gone: Vec<(String, One)> =
            self.sources.extract_if(.., |name, one| is_other(name, one)).collect();
        for (name, one) in gone {
            one.supervised.stop().await;
            self.joined.forget(&name);
        }
        for (name, source) in wanted {
            if !self.sources.contains_key(name)
                && let Some(one) = One::start(source, &self.joined, receiver(name))
            {
                self.sources.insert(name.to_owned(), one);
            }
        }
    }
}

fn services(source: &str, fixed: &StaticServices) -> Vec<StaticService> {
    let instance = |written: &api::resource::StaticInstance| {
        let address = address(source, &written.address)?;
        let further = written.addresses.iter().filter_map(|text| self::address(source, text));
        let tag = written.tag.clone().unwrap_or_default();
        let (further_addresses, weight) = (further.collect(), written.weight);
        Some(StaticInstance { address, further_addresses, tag, weight })
    };
    let service = |written: &api::resource::StaticService| StaticService {
        name: written.name.clone(),
        application: written.application.clone(),
        // Checked when the object was written.
        protocol: Protocol::parse(&written.protocol).unwrap_or_default(),
        instances: written.instances.iter().filter_map(instance).collect(),
    };
    fixed.services.iter().map(service).collect()
}

/// In the one spelling that is compared: an IPv4 address may be written as an IPv6 one.
fn address(source: &str, text: &str) -> Option<SocketAddr> {
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(SocketAddr::new(address.ip().to_canonical(), address.port())),
        // Checked when the object was written.
        Err(_) => {
            tracing::error!(source, address = text, "no address; it is left out");
            None
        }
    }
}

/// Tells the control plane what a source tells.
pub(super) struct ToControl {
    source: String,
    control: Arc<Control>,
}

impl ToControl {
    pub(super) fn new(source: &str, control: &Arc<Control>) -> Arc<Self> {
        Arc::new(Self { source: source.to_owned(), control: Arc::clone(control) })
    }
}

impl Receiver for ToControl {
    fn changed(&self, changes: Vec<Change>) {
        let changes = changes.into_iter().map(|change| (change.service, change.state)).collect();
        self.control.update_services(&self.source, changes);
    }

    fn stands(&self, standing: &Standing) {
        let standing = match standing.clone() {
            Standing::Syncing { problem } => control::Standing::Syncing { problem },
            Standing::Synced => control::Standing::Synced,
            Standing::SyncedBut { problem } => control::Standing::SyncedBut { problem },
            Standing::Stale { since, problem } => control::Standing::Stale { since, problem },
        };
        self.control.source_stands(&self.source, standing);
    }

    fn ruled(&self, rules: &[Rule]) {
        let told = rules.iter().map(|Rule { application, configuration }| ForeignRule {
            application: application.clone(),
            configuration: configuration.clone(),
        });
        self.control.source_ruled(&self.source, told.collect());
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    /// Hears which services are told, and how the source stands.
    struct Heard(mpsc::UnboundedSender<String>);

    impl Receiver for Heard {
        fn changed(&self, changes: Vec<Change>) {
            let words = changes.iter().map(|change| {
                let sign = if change.state.is_some() { '+' } else { '-' };
                format!("{sign}{}", change.service.name())
            });
            let _ = self.0.send(words.collect::<Vec<_>>().join(" "));
        }

        fn stands(&self, standing: &Standing) {
            let _ = self.0.send(format!("{standing:?}"));
        }

        fn ruled(&self, rules: &[Rule]) {
            let _ = self.0.send(format!("{rules:?}"));
        }
    }

    fn source(uid: &str, services: &[&str]) -> ServiceSource {
        let services = services
            .iter()
            .map(|name| api::resource::StaticService {
                name: (*name).to_owned(),
                application: None,
                protocol: "http".to_owned(),
                instances: Vec::new(),
            })
            .collect();
        let spec = api::resource::ServiceSourceSpec {
            fixed: Some(StaticServices { services }),
            ..Default::default()
        };
        let mut source = ServiceSource::new("fixed", spec);
        source.metadata.uid = Some(uid.to_owned());
        source
    }

    #[tokio::test]
    async fn differences_are_told_and_another_object_of_a_name_is_told_anew() {
        let (sender, mut heard) = mpsc::unbounded_channel();
        let receiver = |_: &str| -> Arc<dyn Receiver> { Arc::new(Heard(sender.clone())) };
        let mut running = Running::default();
        let begins = "Syncing { problem: None }";
        // Deleted and created again between two looks: the control plane has let go of what it knew.
        let steps: [(&[ServiceSource], &[&str]); 5] = [
            (&[source("1", &["a", "b"])], &[begins, "+a +b", "Synced"]),
            (&[source("1", &["b", "c"])], &["-a +c"]),
            (&[source("2", &["b", "c"])], &[begins, "+b +c", "Synced"]),
            (&[], &[]),
            (&[source("2", &["b"]), source("3", &["x"])], &[begins, "+b", "Synced"]),
        ];
        for (sources, expected) in steps {
            running.update(sources, receiver).await;
            for expected in expected {
                assert_eq!(heard.recv().await.as_deref(), Some(*expected));
            }
        }
        running.update(&[], receiver).await;
        drop(sender);
        assert!(running.sources.is_empty() && heard.try_recv().is_err());
    }
}
