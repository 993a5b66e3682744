//! Where instances come from, wired to the control plane: one task per source, started and stopped as
//! ServiceSource objects come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::resource::{DEFAULT_NAMESPACE, ServiceSource, StaticServices};
use control::Control;
use registry::{
    Change, Event,
    static_list::{StaticInstance, StaticList, StaticService},
};
use tokio::{sync::mpsc, task::JoinHandle};

/// Follows the ServiceSource objects.
#[derive(Debug)]
pub(crate) struct Sources {
    task: JoinHandle<()>,
}

impl Sources {
    /// Starts the sources there are, and those that will be.
    pub(crate) fn follow(control: Arc<Control>) -> Self {
        let task = tokio::spawn(async move {
            let mut wanted = control.sources();
            let mut lists = StaticSources::default();
            loop {
                let sources = wanted.borrow_and_update().clone();
                for Told { source, changes, is_new } in lists.update(&sources) {
                    tell(&control, &source, changes);
                    if is_new {
                        control.source_synced(&source);
                    }
                }
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

/// What is told of every static source.
#[derive(Debug, Default)]
struct StaticSources {
    lists: BTreeMap<String, Following>,
}

/// One object, and what was told of it.
#[derive(Debug)]
struct Following {
    /// Tells an object from a later one of its name: what was told of the one is forgotten with it.
    uid: Option<String>,
    list: StaticList,
}

/// What is to be told of one source.
#[derive(Debug)]
struct Told {
    source: String,
    changes: Vec<Change>,
    is_new: bool,
}

impl StaticSources {
    /// Takes the objects as they are now. The control plane lets go of a deleted source's services by itself.
    fn update(&mut self, sources: &[ServiceSource]) -> Vec<Told> {
        let mut present = BTreeSet::new();
        let mut told = Vec::new();
        for source in sources {
            let Some(fixed) = &source.spec.fixed else { continue };
            let name = &source.metadata.name;
            let uid = &source.metadata.uid;
            present.insert(name.clone());
            let is_new = self.lists.get(name).is_none_or(|following| following.uid != *uid);
            if is_new {
                let following = Following { uid: uid.clone(), list: StaticList::default() };
                self.lists.insert(name.clone(), following);
            }
            if let Some(following) = self.lists.get_mut(name) {
                let services = services(name, fixed);
                let changes = following.list.update(name, DEFAULT_NAMESPACE, &services);
                told.push(Told { source: name.clone(), changes, is_new });
            }
        }
        self.lists.retain(|name, _| present.contains(name));
        told
    }
}

fn services(source: &str, fixed: &StaticServices) -> Vec<StaticService> {
    let instance = |written: &api::resource::StaticInstance| {
        // Checked when the object was written.
        let address = written
            .address
            .parse()
            .inspect_err(|_| {
                tracing::error!(
                    source,
                    address = written.address,
                    "no address; the instance is left out"
                );
            })
            .ok()?;
        let tag = written.tag.clone().unwrap_or_default();
        Some(StaticInstance { address, tag, weight: written.weight })
    };
    let service = |written: &api::resource::StaticService| StaticService {
        name: written.name.clone(),
        application: written.application.clone(),
        instances: written.instances.iter().filter_map(instance).collect(),
    };
    fixed.services.iter().map(service).collect()
}

/// Passes on what a source tells, until it ends.
pub(crate) async fn forward(
    control: Arc<Control>,
    source: String,
    mut events: mpsc::Receiver<Event>,
) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Changed(changes) => tell(&control, &source, changes),
            Event::Synced => control.source_synced(&source),
            Event::Stale { reason, .. } => {
                tracing::warn!(source, reason, "the source is away; its last picture stays");
            }
            Event::Fresh => tracing::info!(source, "the source is back"),
            // The journal of registrations forgets by itself who stays away.
            Event::Departed(nodes) => tracing::info!(source, ?nodes, "instances have left"),
        }
    }
}

fn tell(control: &Control, source: &str, changes: Vec<Change>) {
    for change in &changes {
        for problem in &change.problems {
            tracing::warn!(source, service = %change.service, %problem, "an instance is not usable");
        }
    }
    let changes = changes.into_iter().map(|change| (change.service, change.state)).collect();
    control.update_services(source, changes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uid: &str, services: &[&str]) -> ServiceSource {
        let services = services
            .iter()
            .map(|name| api::resource::StaticService {
                name: (*name).to_owned(),
                application: None,
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

    /// Services told as present, and as gone; and whether the source is new.
    fn told(sources: &mut StaticSources, now: &[ServiceSource]) -> Vec<(usize, usize, bool)> {
        let count = |told: &Told, present: bool| {
            told.changes.iter().filter(|change| change.state.is_some() == present).count()
        };
        let told = sources.update(now);
        told.iter().map(|told| (count(told, true), count(told, false), told.is_new)).collect()
    }

    #[test]
    fn differences_are_told_and_another_object_of_a_name_is_told_anew() {
        let mut sources = StaticSources::default();
        assert_eq!(told(&mut sources, &[source("1", &["a", "b"])]), [(2, 0, true)]);
        assert_eq!(told(&mut sources, &[source("1", &["b", "c"])]), [(1, 1, false)]);
        // Deleted and created again between two looks: the control plane has let go of what it knew.
        assert_eq!(told(&mut sources, &[source("2", &["b", "c"])]), [(2, 0, true)]);
        assert_eq!(told(&mut sources, &[]), []);
        assert_eq!(told(&mut sources, &[source("2", &["b"])]), [(1, 0, true)]);
    }
}
