//! What a data plane decides on: whole pictures, published by whoever knows them.

use std::sync::Arc;

use crate::Table;

/// One complete picture. A request takes it once and uses it from start to end.
#[derive(Debug, Default)]
pub struct Published {
    /// Groups, services, names and addresses.
    pub lanes: lanes::Snapshot,
    /// The gateway's listeners and routes; empty in a sidecar. Shared: most changes leave it as it is.
    pub routes: Arc<Table>,
}
