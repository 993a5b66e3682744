//! The one thread that changes stored objects.

use std::{sync::Arc, time::SystemTime};

use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Check, Commit, Done, OnCommit, Rejection, Request, View,
    draft::{Passed, Working},
};
use crate::{
    audit::{self, Authorship},
    objects::ObjectChange,
    store::{Change, Contents, Revision, Store, StoreError},
};

/// Requests that share one fsync. More would keep the first of them waiting for the last one's evaluation.
const BATCH_MAX: usize = 64;

pub(super) struct Writer<S> {
    store: S,
    working: Working,
    view: Arc<RwLock<View>>,
    announce: watch::Sender<Revision>,
    check: Check,
    reported: super::Reports,
    on_commit: OnCommit,
}

/// What one round makes durable, and who waits for it.
#[derive(Default)]
struct Batch {
    durable: Vec<Change>,
    objects: Vec<ObjectChange>,
    transactions: Vec<(oneshot::Sender<Result<Done, Rejection>>, Done)>,
    journalled: Vec<oneshot::Sender<Result<(), Rejection>>>,
}

impl<S: Store> Writer<S> {
    pub(super) fn new(
        store: S,
        contents: &Contents,
        view: Arc<RwLock<View>>,
        announce: watch::Sender<Revision>,
        rules: super::Rules,
    ) -> Self {
        let super::Rules { objects, keyring, check, reported, on_commit } = rules;
        let working = Working::new(objects, contents, keyring);
        view.write().set_findings(Arc::clone(&working.state().findings));
        Self { store, working, view, announce, check, reported, on_commit }
    }

    /// Works until it is told to stop, or every handle is gone.
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Request>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut round = vec![first];
            while round.len() < BATCH_MAX
                && let Ok(next) = waiting.try_recv()
            {
                round.push(next);
            }
            if let Some(stopped) = self.work(round) {
                drop(stopped.send(self.store.close()));
                return;
            }
        }
    }

    /// Does a round; says who wants to know when the store is closed.
    fn work(&mut self, round: Vec<Request>) -> Option<oneshot::Sender<Result<(), StoreError>>> {
        if self.working.entrances_report((self.reported)()) {
            self.view.write().set_findings(Arc::clone(&self.working.state().findings));
        }
        let before = self.working.state().clone();
        let mut batch = Batch::default();
        let mut stop = None;
        for request in round {
            match request {
                Request::Transact(transaction, now, reply) => {
                    let by = transaction.by.clone();
                    match self.working.evaluate(transaction, now, &mut self.check) {
                        Ok(passed) => batch.add(passed, &by, now, reply),
                        Err(rejection) => drop(reply.send(Err(rejection))),
                    }
                }
                Request::Journal(changes, reply) => {
                    batch.durable.extend(changes);
                    batch.journalled.push(reply);
                }
                // Every round begins with that.
                Request::Review(reply) => drop(reply.send(())),
                Request::Stop(reply) => stop = Some(reply),
            }
        }
        if batch.durable.is_empty() && self.view.read().unwritable().is_some() {
            // Whether that is mended shows only by trying.
            batch.durable.push(Change::ReserveGenerations { ceiling: 0 });
        }
        match self.commit(&batch.durable) {
            Ok(()) => self.publish(batch),
            Err(why) => {
                self.working.return_to(before);
                batch.fail(&why);
            }
        }
        stop
    }

    /// Makes changes durable; says why they are not.
    fn commit(&mut self, durable: &[Change]) -> Result<(), String> {
        if durable.is_empty() {
            return Ok(());
        }
        let committed = self.store.commit(durable).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the store cannot write");
            let cause = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("{error}{}", cause.unwrap_or_default())
        });
        let why = committed.as_ref().err();
        if self.view.read().unwritable() != why.map(String::as_str) {
            self.view.write().set_unwritable(why.cloned());
        }
        committed
    }

    fn publish(&mut self, batch: Batch) {
        if !batch.objects.is_empty() {
            // Distribution first: whoever sees an object's new generation sees how far that has got.
            let state = self.working.state();
            (self.on_commit)(Commit {
                changes: &batch.objects,
                objects: &state.objects,
                findings: &state.findings,
            });
            let mut view = self.view.write();
            view.apply(Arc::clone(&state.objects), &batch.objects);
            view.set_findings(Arc::clone(&state.findings));
            let revision = view.revision();
            drop(view);
            self.announce.send_replace(revision);
        }
        for (reply, done) in batch.transactions {
            drop(reply.send(Ok(done)));
        }
        for reply in batch.journalled {
            drop(reply.send(Ok(())));
        }
    }
}

impl Batch {
    fn add(
        &mut self,
        passed: Passed,
        by: &Authorship,
        now: SystemTime,
        reply: oneshot::Sender<Result<Done, Rejection>>,
    ) {
        self.durable.extend(passed.changes.iter().map(|change| audit::of_object(change, by, now)));
        self.durable.extend(passed.changes.iter().map(|change| match &change.new {
            Some(new) => Change::Put(Arc::clone(new)),
            None => Change::Delete { key: change.key.clone(), revision: change.revision },
        }));
        self.durable.extend(passed.said_anew.into_iter().map(Change::Put));
        self.objects.extend(passed.changes);
        self.transactions.push((reply, passed.done));
    }

    fn fail(self, why: &str) {
        let refused = || Rejection::Storage(why.to_owned());
        for (reply, _) in self.transactions {
            drop(reply.send(Err(refused())));
        }
        for reply in self.journalled {
            drop(reply.send(Err(refused())));
        }
    }
}
