//! Stored objects and their changes, as the ledger writes them and the picture follows them.

use std::{collections::BTreeMap, sync::Arc};

use api::resource::{
    AllowedRoutes, CreationOrder, Gateway, GatewaySpec, Key, Kind, Listener, NamespacesFrom,
    Object, Resource, RouteNamespaces, Set,
};

use crate::store::{Revision, StoredObject};

/// The gateway that exists while nobody has written one of Laneway's.
pub const DEFAULT_GATEWAY: &str = "edge";

/// Every object at one moment. The ledger drafts the next moment in a copy, whose objects are shared; readers and
/// the picture have the last one that was committed.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    stored: BTreeMap<Key, Arc<StoredObject>>,
    /// The same, with the default gateway while there is no other.
    set: Set,
    default_gateway: Option<Gateway>,
}

impl Objects {
    /// Stored objects, and the gateway that exists while none of them is one.
    pub fn new(
        default_gateway: Gateway,
        stored: impl IntoIterator<Item = Arc<StoredObject>>,
    ) -> Self {
        let mut objects = Self { default_gateway: Some(default_gateway), ..Self::default() };
        objects.provide_default_gateway();
        stored.into_iter().for_each(|stored| objects.put(stored));
        objects
    }

    /// One stored object.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<StoredObject>> {
        self.stored.get(key)
    }

    /// Stored objects of a kind, sorted by namespace and name.
    pub(crate) fn list(&self, kind: Kind, namespace: Option<&str>) -> Vec<Arc<StoredObject>> {
        let first = Key::new(kind, namespace.unwrap_or_default(), "");
        self.stored
            .range(first..)
            .take_while(|(key, _)| {
                key.kind == kind && namespace.is_none_or(|namespace| key.namespace == namespace)
            })
            .map(|(_, stored)| Arc::clone(stored))
            .collect()
    }

    /// Stored objects, and the default gateway while there is no other.
    pub(crate) fn set(&self) -> &Set {
        &self.set
    }

    /// The default gateway, while it is needed.
    pub(crate) fn default_gateway(&self) -> Option<&Gateway> {
        let default = self.default_gateway.as_ref()?;
        self.set.gateways().any(|gateway| gateway == default).then_some(default)
    }

    /// All of them, as changes from nothing.
    pub(crate) fn as_changes(&self) -> Vec<ObjectChange> {
        let change = |(key, stored): (&Key, &Arc<StoredObject>)| ObjectChange {
            key: key.clone(),
            revision: stored.revision,
            old: None,
            new: Some(Arc::clone(stored)),
        };
        self.stored.iter().map(change).collect()
    }

    pub(crate) fn put(&mut self, stored: Arc<StoredObject>) {
        let key = stored.object.key();
        self.set.put(Arc::clone(&stored.object), stored.created);
        let kind = key.kind;
        self.stored.insert(key, stored);
        if kind == Kind::Gateway {
            self.provide_default_gateway();
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        self.set.remove(key);
        self.stored.remove(key);
        if key.kind == Kind::Gateway {
            self.provide_default_gateway();
        }
    }

    fn provide_default_gateway(&mut self) {
        if let Some(default) = &self.default_gateway {
            provide_default_gateway(&mut self.set, default);
        }
    }
}

/// One object's change, as distribution and watches see it.
#[derive(Debug, Clone)]
pub struct ObjectChange {
    /// Which.
    pub key: Key,
    /// Which change it is.
    pub revision: Revision,
    /// As it was.
    pub old: Option<Arc<StoredObject>>,
    /// As it is.
    pub new: Option<Arc<StoredObject>>,
}

/// The gateway that exists while nobody has written one of Laneway's: every route of every namespace may attach.
pub fn default_gateway(port: u16) -> Gateway {
    let listener = Listener {
        name: "http".to_owned(),
        hostname: None,
        port,
        protocol: "HTTP".to_owned(),
        tls: None,
        allowed_routes: Some(AllowedRoutes {
            namespaces: Some(RouteNamespaces { from: NamespacesFrom::All }),
            kinds: Vec::new(),
        }),
    };
    Resource::new(DEFAULT_GATEWAY, GatewaySpec::new(vec![listener]))
}

/// Keeps the default gateway in a set exactly while there is no other. Another controller's of its name makes way.
pub fn provide_default_gateway(set: &mut Set, default: &Gateway) {
    let mine = |gateway: &Gateway| *gateway == *default;
    let others = set.laneway_gateways().any(|(gateway, _)| !mine(gateway));
    let there = set.gateways().any(mine);
    if others && there {
        set.remove(&default.key());
    } else if !others && !there {
        set.put(Object::Gateway(default.clone()), CreationOrder::default());
    }
}
