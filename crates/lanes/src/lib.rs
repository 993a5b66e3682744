//! Which lane a request belongs to, and which endpoints may serve it.
//!
//! Pure: no I/O, no clock, no randomness, no async, no serde. Time, random bytes and what is ejected are
//! arguments, so that the gateway, the sidecar, `laneway explain` and the tests run the very same functions.
//!
//! Two questions are answered here, each by one function:
//! - at an entrance, [`Snapshot::enter`]: which lane of which group does this request belong to?
//! - at every hop, [`Snapshot::choose`]: which endpoint of this service may serve it?

pub mod affinity;
pub mod baggage;
pub mod choose;
pub mod condition;
pub mod context;
pub mod directory;
pub mod enter;
pub mod explain;
pub mod group;
pub mod hash;
pub mod name;
pub mod problem;
pub mod request;
pub mod service;
pub mod snapshot;

mod content;
mod lane_set;
mod predicate;
pub mod ratio;
mod reasons;
mod sharded;
mod token;
mod values;

pub use affinity::Affinity;
pub use choose::{Choice, Ejections, NoEndpoint, Outcome};
pub use context::{Context, Member};
pub use directory::{AddressLookup, Directory, Lookup, Query};
pub use enter::Entrance;
pub use explain::Explanation;
pub use group::{Group, GroupSpec, LaneSpec};
pub use name::{GroupName, Tag};
pub use problem::{Fault, Problem};
pub use request::Request;
pub use service::{EMBEDDED_SOURCE, Endpoint, Service, ServiceId};
pub use snapshot::Snapshot;
pub use token::{is_token, is_token_byte};
