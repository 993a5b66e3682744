//! What a data plane decides on: whole pictures, published by whoever knows them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Table, tls::Certificate};

/// One complete picture. A request takes it once and uses it from start to end.
#[derive(Debug, Default)]
pub struct Published {
    /// Groups, services, names and addresses.
    pub lanes: lanes::Snapshot,
    /// The gateway's listeners and routes; empty in a sidecar. Shared: most changes leave it as it is.
    pub routes: Arc<Table>,
    /// By `namespace/name`: those that the gateway's listeners name, as far as they are at hand. Shared likewise.
    pub certificates: Arc<BTreeMap<String, Arc<Certificate>>>,
}
