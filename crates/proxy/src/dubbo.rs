//! Dubbo 2: one long connection that carries many requests, of which each has its lane.

mod answer;
mod calls;
mod frame;
mod hessian;
mod invocation;
mod jsonb;
mod outbox;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod request;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use calls::{Serves, WhenUnread, serve};
pub(crate) use frame::MAGIC;
pub(crate) use session::Sessions;
