//! Where instances come from: the embedded registry, static lists. Streams of endpoint sets; knows no rules.
//!
//! Every source is a stream of [`Event`]s: whole services as they are now, never fragments. Whoever reads it
//! knows the old and the new state of a service, and so remembers departed addresses for all sources alike.

pub mod embedded;
mod identity;
pub mod source;
pub mod static_list;

pub use embedded::{Embedded, Instance, RegisterError};
pub use identity::{APPLICATION_KEY, MSE_ENVIRONMENT_KEY, TAG_KEYS, application_of, tag_of};
pub use source::{Change, EVENTS_MAX, Event};
