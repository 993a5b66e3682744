//! A data plane's side of discovery: what it is told becomes a picture it can decide on, and its application's
//! instance becomes known to others.
//!
//! - [`Client`] connects, applies, publishes, and only then acknowledges. While the control plane is away nothing
//!   is evicted; a data plane that restarts meanwhile begins with its copy on disk ([`snapshot`]).
//! - [`Registration`] keeps one instance registered for as long as its application answers.
//! - [`Credentials`] are what both show, and whom they believe: a join token, then a certificate that is renewed.
//! - `traffic` tells what its proxy counted; [`Client::taps`] says whose requests somebody watches, for as long as that is so.
//! - [`State`] and [`Standing`](registration::Standing) say how both stand, for readiness, status and metrics.
//!
//! It does not know who decides on its pictures: a [`routes::Published`] goes out by one channel, what is asked
//! comes in by another as [`lanes::Query`].

pub mod picture;
pub mod registration;
pub mod snapshot;

mod client;
mod connection;
mod credentials;
mod dial;
mod shared_copy;
mod state;
mod subscriptions;
mod traffic;

pub use client::{Client, Identity};
pub use credentials::{Credentials, Joining};
pub use registration::{Registrant, Registration};
pub use state::{Readiness, State};
pub use traffic::{outcome_on_wire, role_on_wire};
