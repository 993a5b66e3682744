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
            let mut lists: BTreeMap<String, StaticList> = BTreeMap::new();
            loop {
                let sources = wanted.borrow_and_update().clone();
                follow_static(&control, &mut lists, &sources);
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

/// Brings the static lists to what the objects say.
fn follow_static(
    control: &Control,
    lists: &mut BTreeMap<String, StaticList>,
    sources: &[ServiceSource],
) {
    let mut present = BTreeSet::new();
    for source in sources {
        let Some(fixed) = &source.spec.fixed else { continue };
        let name = &source.metadata.name;
        present.insert(name.clone());
        let is_new = !lists.contains_key(name);
        let list = lists.entry(name.clone()).or_default();
        let changes = list.update(name, DEFAULT_NAMESPACE, &services(name, fixed));
        tell(control, name, changes);
        if is_new {
            control.source_synced(name);
        }
    }
    // The control plane lets go of a deleted source's services by itself.
    lists.retain(|name, _| present.contains(name));
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
