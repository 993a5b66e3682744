//! How many usable instances applications have, counted again only when one of theirs changes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use lanes::Tag;

use crate::picture::Services;

/// Counts of the applications that were asked for.
#[derive(Debug, Default)]
pub(super) struct Instances {
    by_application: HashMap<Arc<str>, Usable>,
}

/// Usable instances of one application, by tag.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Usable(HashMap<Option<Tag>, usize>);

impl Instances {
    /// Those of an application.
    pub(super) fn of(&mut self, application: &str, services: &Services) -> &Usable {
        if !self.by_application.contains_key(application) {
            let counted = Usable::count(application, services);
            self.by_application.insert(application.into(), counted);
        }
        &self.by_application[application]
    }

    /// Counts anew; says whether that is another count.
    pub(super) fn recount(&mut self, application: &Arc<str>, services: &Services) -> bool {
        let counted = Usable::count(application, services);
        match self.by_application.get_mut(application) {
            Some(known) if *known == counted => false,
            Some(known) => {
                *known = counted;
                true
            }
            None => {
                self.by_application.insert(Arc::clone(application), counted);
                true
            }
        }
    }

    pub(super) fn forget(&mut self, application: &str) {
        self.by_application.remove(application);
    }
}

impl Usable {
    pub(super) fn base(&self) -> usize {
        self.0.get(&None).copied().unwrap_or(0)
    }

    pub(super) fn tagged(&self, tag: &Tag) -> usize {
        // One lookup by value: tags are shared text.
        self.0.get(&Some(tag.clone())).copied().unwrap_or(0)
    }

    /// An instance counts once, however many services of the application it serves.
    fn count(application: &str, services: &Services) -> Self {
        let endpoints = services.of_application(application).flat_map(|it| it.endpoints());
        let instances: HashSet<_> = endpoints
            .filter(|endpoint| endpoint.health.takes_requests())
            .map(|endpoint| (endpoint.tag.as_ref(), endpoint.address))
            .collect();
        let mut usable = Self::default();
        for (tag, _) in instances {
            *usable.0.entry(tag.cloned()).or_default() += 1;
        }
        usable
    }
}
