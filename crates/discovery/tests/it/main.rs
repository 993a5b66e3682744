//! A discovery client and a registration against a control plane that says what each test tells it to.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod client;
mod control_plane;
mod messages;
mod registration;
