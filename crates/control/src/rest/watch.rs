//! Watches: one event a line, for as long as the client listens. What is said of an object is part of it: a change of
//! its status alone is told as one of the object. While there is nothing to tell an empty line comes now and then.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use api::{
    resource::{Key, Kind, Object, Status},
    rest::{Role, WATCH_LINES, WatchEvent, WatchKind},
};
use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{sync::watch::Receiver, time::Instant};

use super::{Refused, present_all, with_status};
use crate::{
    Control,
    ledger::Gone,
    objects::ObjectChange,
    people::Caller,
    store::{Revision, StoredObject},
};

/// How long a watch says nothing. What is between drops connections that are quiet for longer, mostly after a minute and
/// without a word to either end; and a client that hears nothing for several of these knows that it is alone.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(20);

/// Begins a watch: with everything there is and `SYNCED`, or with the changes after `resource_version` and every status
/// that may read otherwise since.
pub(super) fn start(
    control: &Arc<Control>,
    kind: Kind,
    namespace: Option<String>,
    resource_version: Option<&str>,
    caller: Caller,
) -> Result<Response, Refused> {
    let watch = begin(control, kind, namespace, resource_version, caller.clone())?;
    let control = Arc::clone(control);
    // Whoever may see less from now on asks again, and is told what he may see.
    let other = Box::pin(async move { control.until_other(&caller).await });
    let body = Body::from_stream(watch.lines(QUIET_MAX).take_until(other));
    Ok(([(header::CONTENT_TYPE, WATCH_LINES)], body).into_response())
}

fn begin(
    control: &Arc<Control>,
    kind: Kind,
    namespace: Option<String>,
    resource_version: Option<&str>,
    caller: Caller,
) -> Result<Watch, Refused> {
    let mut watch = Watch {
        control: Arc::clone(control),
        kind,
        namespace,
        caller,
        changed: control.ledger().revision(),
        status_changed: control.status_changed(),
        closing: control.closing(),
        told: Revision::default(),
        status_told: 0,
        lines: VecDeque::new(),
    };
    match resource_version {
        None => watch.tell_everything(),
        Some(text) => {
            watch.told = Revision::parse(text).ok_or_else(|| {
                let remedy = "use the resourceVersion of a list, an object or an event";
                Refused::new(400, "bad query", format!("resourceVersion: `{text}`: {remedy}"))
            })?;
            watch.status_told = control.hub().status_number_at(watch.told);
            watch.tell_changes()?;
        }
    }
    Ok(watch)
}

struct Watch {
    control: Arc<Control>,
    kind: Kind,
    namespace: Option<String>,
    caller: Caller,
    changed: Receiver<Revision>,
    status_changed: Receiver<u64>,
    closing: Receiver<bool>,
    /// Everything up to this was told.
    told: Revision,
    /// Every change of a status up to this was told.
    status_told: u64,
    lines: VecDeque<Bytes>,
}

impl Watch {
    /// What there is to say; something is at the latest after so long.
    fn lines(self, quiet_max: Duration) -> impl Stream<Item = Result<Bytes, Gone>> {
        let quiet_until = Instant::now() + quiet_max;
        stream::try_unfold((self, quiet_until), move |(mut watch, quiet_until)| async move {
            loop {
                if let Some(line) = watch.lines.pop_front() {
                    return Ok(Some((line, (watch, Instant::now() + quiet_max))));
                }
                // Whatever else changes meanwhile, and is nothing to this watch.
                let is_quiet = tokio::select! {
                    changed = watch.changed.changed() => {
                        if changed.is_err() { return Ok(None) }
                        false
                    }
                    changed = watch.status_changed.changed() => {
                        if changed.is_err() { return Ok(None) }
                        false
                    }
                    _ = watch.closing.wait_for(|closing| *closing) => return Ok(None),
                    () = tokio::time::sleep_until(quiet_until) => true,
                };
                if is_quiet {
                    watch.lines.push_back(Bytes::from_static(b"\n"));
                    continue;
                }
                // One that reads too slowly for the history ends, and its client lists again.
                watch.tell_changes()?;
            }
        })
    }

    fn tell_everything(&mut self) {
        let view = self.control.ledger().view();
        let mut stored = view.list(self.kind, self.namespace.as_deref());
        let revision = view.revision();
        drop(view);
        stored.retain(|stored| self.concerns(&stored.object.key()));
        self.told = revision;
        let (objects, number) = present_all(&self.control, &stored);
        self.status_told = number;
        for (stored, object) in stored.iter().zip(objects) {
            self.push(WatchKind::Added, stored.revision, Some(object));
        }
        self.push(WatchKind::Synced, revision, None);
    }

    fn tell_changes(&mut self) -> Result<(), Gone> {
        let view = self.control.ledger().view();
        let changes: Vec<ObjectChange> = (view.changes_after(self.told)?)
            .filter(|change| self.concerns(&change.key))
            .cloned()
            .collect();
        self.told = view.revision();
        drop(view);
        let mut hub = self.control.hub();
        // A state that is past by now is told without a status.
        let statuses: Vec<Option<Status>> =
            (changes.iter()).map(|change| hub.status_of(&change.new.as_ref()?.object)).collect();
        // Of objects that stayed as they are something else may be to be said.
        let told: HashSet<&Key> = changes.iter().map(|change| &change.key).collect();
        let others: Vec<Key> = (hub.status_changes(self.status_told))
            .filter(|key| self.concerns(key) && !told.contains(key))
            .cloned()
            .collect();
        self.status_told = hub.status_number();
        drop(hub);
        for (change, status) in changes.iter().zip(statuses) {
            let (kind, object) = match (&change.old, &change.new) {
                (None, Some(new)) => (WatchKind::Added, with_status(new, status)),
                (Some(_), Some(new)) => (WatchKind::Modified, with_status(new, status)),
                (Some(old), None) => (WatchKind::Deleted, Object::clone(&old.object)),
                (None, None) => continue,
            };
            self.push(kind, change.revision, Some(object));
        }
        self.tell_statuses(&others);
        Ok(())
    }

    fn tell_statuses(&mut self, keys: &[Key]) {
        let view = self.control.ledger().view();
        let stored: Vec<Arc<StoredObject>> =
            keys.iter().filter_map(|key| view.get(key).cloned()).collect();
        drop(view);
        let mut hub = self.control.hub();
        // One that changed meanwhile is told with its change.
        let still = |stored: Arc<StoredObject>| {
            let status = hub.status_of(&stored.object)?;
            (stored.revision <= self.told).then_some((stored, status))
        };
        let still: Vec<_> = stored.into_iter().filter_map(still).collect();
        drop(hub);
        for (stored, status) in still {
            self.push(WatchKind::Modified, self.told, Some(with_status(&stored, Some(status))));
        }
    }

    fn concerns(&self, key: &Key) -> bool {
        key.kind == self.kind
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
            && self.caller.may(Role::Viewer, &key.namespace)
    }

    fn push(&mut self, kind: WatchKind, revision: Revision, object: Option<Object>) {
        let event = WatchEvent { kind, resource_version: revision.to_string(), object };
        match serde_json::to_vec(&event) {
            Ok(mut line) => {
                line.push(b'\n');
                self.lines.push_back(line.into());
            }
            Err(error) => tracing::error!(%error, "an object cannot be written as JSON"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::{Settings, Whose};

    #[tokio::test]
    async fn a_watch_that_has_nothing_to_tell_says_so_whatever_else_changes() {
        let directory = tempfile::tempdir().unwrap();
        let control = Control::open(Settings {
            database: directory.path().join("laneway.db"),
            gateway_port: 8000,
            join_token: None,
            key_file: None,
            prometheus: None,
            own_listeners: Vec::new(),
            certificate_life: Duration::from_secs(600),
            whose: |_, _| Whose::Ours,
        });
        let control = control.await.unwrap();
        let watch = begin(&control, Kind::Lane, None, None, Caller::anybody()).unwrap();
        let quiet_max = Duration::from_millis(100);
        let mut lines = pin!(watch.lines(quiet_max));
        // Before the line comes that the silence after it is counted from: this thread may be late.
        let mut began = Instant::now();
        let synced = lines.next().await.unwrap().unwrap();
        assert!(synced.starts_with(b"{"), "{synced:?}");
        for _ in 0..2 {
            let mut changes = 0;
            let (said, asked) = loop {
                let asked = Instant::now();
                match tokio::time::timeout(quiet_max / 5, lines.next()).await {
                    Ok(said) => break (said.unwrap().unwrap(), asked),
                    Err(_) => control.status_changes.send_modify(|number| *number += 1),
                }
                changes += 1;
                assert!(changes < 100, "nothing was said");
            };
            assert_eq!(said, "\n");
            assert!(began.elapsed() >= quiet_max / 2, "too soon: {:?}", began.elapsed());
            began = asked;
        }
    }
}
