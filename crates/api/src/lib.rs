//! Everything that crosses a process boundary: resources, REST and discovery types, their conversions to the
//! domain, thin clients. The only crate that serializes.

#![warn(missing_docs)]

pub mod certificate;
pub mod client;
pub mod convert;
pub mod discovery;
pub mod join;
mod problem;
pub mod read;
pub mod resource;
pub mod rest;
pub mod time;
pub mod validate;
pub mod write;

pub use validate::validate;
