//! Stored texts: what they are read as, and what is said of them.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod check;
mod sets;
mod stored;
