//! A set of objects, in the order they were created.

use std::collections::HashMap;

use crate::resource::{Backend, Gateway, HttpRoute, Key, Lane, LaneGroup, Object, ServiceSource};

/// Objects in the order they were created, each name once.
#[derive(Debug, Clone, Default)]
pub struct Set {
    objects: Vec<Object>,
    by_key: HashMap<Key, usize>,
}

macro_rules! of_kind {
    ($($(#[$doc:meta])* $name:ident, $variant:ident, $resource:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> impl Iterator<Item = &$resource> {
            self.objects.iter().filter_map(|object| match object {
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
                self.by_key.insert(key, self.objects.len());
                self.objects.push(object);
                None
            }
        }
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        let at = self.by_key.remove(key)?;
        for place in self.by_key.values_mut().filter(|place| **place > at) {
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
