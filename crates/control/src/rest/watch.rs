//! Watches: one event a line, for as long as the client listens.

use std::{collections::VecDeque, sync::Arc};

use api::{
    resource::Kind,
    rest::{WATCH_LINES, WatchEvent, WatchKind},
};
use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use tokio::sync::watch::Receiver;

use super::Refused;
use crate::{Control, ledger::Gone, objects::ObjectChange, store::Revision};

/// Begins a watch: with everything there is and `SYNCED`, or with the changes after `resource_version`.
pub(super) fn start(
    control: &Arc<Control>,
    kind: Kind,
    namespace: Option<String>,
    resource_version: Option<&str>,
) -> Result<Response, Refused> {
    let mut watch = Watch {
        control: Arc::clone(control),
        kind,
        namespace,
        changed: control.ledger().revision(),
        closing: control.closing(),
        told: Revision::default(),
        lines: VecDeque::new(),
    };
    match resource_version {
        None => watch.tell_everything(),
        Some(text) => {
            watch.told = Revision::parse(text).ok_or(Gone)?;
            watch.tell_changes()?;
        }
    }
    let body = Body::from_stream(watch.lines());
    Ok(([(header::CONTENT_TYPE, WATCH_LINES)], body).into_response())
}

struct Watch {
    control: Arc<Control>,
    kind: Kind,
    namespace: Option<String>,
    changed: Receiver<Revision>,
    closing: Receiver<bool>,
    /// Everything up to this was told.
    told: Revision,
    lines: VecDeque<Bytes>,
}

impl Watch {
    fn lines(self) -> impl Stream<Item = Result<Bytes, Gone>> {
        stream::try_unfold(self, |mut watch| async move {
            loop {
                if let Some(line) = watch.lines.pop_front() {
                    return Ok(Some((line, watch)));
                }
                tokio::select! {
                    changed = watch.changed.changed() => if changed.is_err() { return Ok(None) },
                    _ = watch.closing.wait_for(|closing| *closing) => return Ok(None),
                }
                // One that reads too slowly for the history ends, and its client lists again.
                watch.tell_changes()?;
            }
        })
    }

    fn tell_everything(&mut self) {
        let view = self.control.ledger().view();
        let (revision, stored) = (view.revision(), view.list(self.kind, self.namespace.as_deref()));
        drop(view);
        self.told = revision;
        let objects = self.control.present_all(&stored);
        for (stored, object) in stored.iter().zip(objects) {
            self.push(WatchKind::Added, stored.revision, Some(object));
        }
        self.push(WatchKind::Synced, revision, None);
    }

    fn tell_changes(&mut self) -> Result<(), Gone> {
        let view = self.control.ledger().view();
        let changes: Vec<ObjectChange> = (view.changes_after(self.told)?)
            .filter(|change| self.concerns(change))
            .cloned()
            .collect();
        self.told = view.revision();
        drop(view);
        for change in &changes {
            let (kind, stored) = match (&change.old, &change.new) {
                (None, Some(new)) => (WatchKind::Added, new),
                (Some(_), Some(new)) => (WatchKind::Modified, new),
                (Some(old), None) => (WatchKind::Deleted, old),
                (None, None) => continue,
            };
            let object = match kind {
                WatchKind::Deleted => stored.object.clone(),
                _ => self.control.present(stored),
            };
            self.push(kind, change.revision, Some(object));
        }
        Ok(())
    }

    fn concerns(&self, change: &ObjectChange) -> bool {
        change.key.kind == self.kind
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == change.key.namespace)
    }

    fn push(&mut self, kind: WatchKind, revision: Revision, object: Option<api::resource::Object>) {
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
