//! A set of objects, in the order they were created.

use std::collections::HashMap;

use crate::resource::{
    Backend, Gateway, HttpRoute, Key, Kind, Lane, LaneGroup, Object, ServiceSource,
};

/// Objects in the order they were created, each name once.
#[derive(Debug, Clone, Default)]
pub struct Set {
    objects: Vec<Object>,
    by_key: HashMap<Key, usize>,
    /// Places of the objects of each kind.
    by_kind: HashMap<Kind, Vec<usize>>,
}

macro_rules! of_kind {
    ($($(#[$doc:meta])* $name:ident, $variant:ident, $resource:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> impl Iterator<Item = &$resource> {
            let places = self.by_kind.get(&Kind::$variant).into_iter().flatten();
            places.filter_map(|&at| match &self.objects[at] {
                Object::$variant(resource) => Some(resource),
                _ => None,
            })
        }
    )*};
}

impl Set {
    /// The objects in order of creation; of two of one name the later replaces the earlier in its place.
    pub fn new(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut set = Self::default();
        for object in objects {
            set.put(object);
        }
        set
    }

    /// Adds an object as the latest, or replaces the one of its name, which keeps its place.
    pub fn put(&mut self, object: Object) -> Option<Object> {
        let key = object.key();
        match self.by_key.get(&key) {
            Some(&at) => Some(std::mem::replace(&mut self.objects[at], object)),
            None => {
                self.by_kind.entry(key.kind).or_default().push(self.objects.len());
                self.by_key.insert(key, self.objects.len());
                self.objects.push(object);
                None
            }
        }
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        let at = self.by_key.remove(key)?;
        if let Some(places) = self.by_kind.get_mut(&key.kind) {
            places.retain(|place| *place != at);
        }
        let places = self.by_key.values_mut().chain(self.by_kind.values_mut().flatten());
        for place in places.filter(|place| **place > at) {
            *place -= 1;
        }
        Some(self.objects.remove(at))
    }

    /// The object of this name.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.by_key.get(key).map(|&at| &self.objects[at])
    }

    /// Every object, in order of creation.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter()
    }

    of_kind! {
        /// Lane groups.
        lane_groups, LaneGroup, LaneGroup;
        /// Lanes.
        lanes, Lane, Lane;
        /// Sources.
        service_sources, ServiceSource, ServiceSource;
        /// Backends.
        backends, Backend, Backend;
        /// Gateways.
        gateways, Gateway, Gateway;
        /// Routes.
        http_routes, HttpRoute, HttpRoute;
    }
}
