//! A client of Nacos's naming: connects, logs in, lists services and follows them, and reads configurations.
//!
//! Nacos speaks gRPC with one envelope for everything ([`message`]), in which JSON travels: calls of ours, and a stream on
//! which the server tells changes and asks whether we are there. Beside it stands HTTP, for logging in and for the names
//! of namespaces. [`Connection`] is all of it that a source of instances needs.
//!
//! Every call is bounded, nothing is tried again behind the caller's back, and a connection that ends says why: what that
//! means for instances is not judged here.

mod config;
mod connection;
mod dial;
mod error;
mod http;
mod login;
mod message;
mod namespaces;
mod settings;
#[cfg(test)]
mod tests;

pub use config::{Config, ConfigId};
pub use connection::{Connection, Names, Pushed, Pushes};
pub use error::Error;
pub use message::{Instance, ServiceInfo};
pub use settings::{Authorities, Credentials, Secrets, Server, Settings, TlsSettings};
