//! Where instances come from: the embedded registry, static lists, Nacos. Streams of endpoint sets; knows no rules.
//!
//! A source tells whole services as they are now, never fragments, to a [`Receiver`], and [`supervise`] keeps it
//! running and says how it stands. Whoever hears it knows the old and the new state of a service, and so remembers
//! departed addresses for all sources alike.

pub mod embedded;
mod identity;
mod joined;
pub mod nacos;
mod source;
pub mod static_list;
mod supervise;

pub use embedded::{Embedded, FurtherPort, Instance, RegisterError};
pub(crate) use identity::{application_of, tag_in, tag_of};
pub use joined::Joined;
pub use source::{Change, Receiver, Rule, Standing};
pub use supervise::{Supervised, supervise};
