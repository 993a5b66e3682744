//! Stored objects and their changes, as the ledger writes them and the picture follows them.

use std::sync::Arc;

use api::resource::{
    AllowedRoutes, CreationOrder, Gateway, GatewaySpec, Key, Listener, NamespacesFrom, Object,
    Resource, RouteNamespaces, Set,
};

use crate::store::{Revision, StoredObject};

/// The gateway that exists while nobody has written one.
pub const DEFAULT_GATEWAY: &str = "edge";

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

/// The gateway that exists while nobody has written one: every route of every namespace may attach.
pub fn default_gateway(port: u16) -> Gateway {
    let listener = Listener {
        name: "http".to_owned(),
        hostname: None,
        port,
        protocol: "HTTP".to_owned(),
        allowed_routes: Some(AllowedRoutes {
            namespaces: Some(RouteNamespaces { from: NamespacesFrom::All }),
        }),
    };
    let spec = GatewaySpec { gateway_class_name: "laneway".to_owned(), listeners: vec![listener] };
    Resource::new(DEFAULT_GATEWAY, spec)
}

/// Keeps the default gateway in a set exactly while there is no other. Returns whether that changed the set.
pub fn provide_default_gateway(set: &mut Set, default: &Gateway) -> bool {
    let mine = |gateway: &Gateway| *gateway == *default;
    let others = set.gateways().any(|gateway| !mine(gateway));
    let there = set.gateways().any(mine);
    if others && there {
        set.remove(&default.key());
    } else if !others && !there {
        set.put(Object::Gateway(default.clone()), CreationOrder::default());
    }
    others == there
}
