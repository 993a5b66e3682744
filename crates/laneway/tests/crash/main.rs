//! Kill -9 at any moment loses no acknowledged write: the control plane is killed 200 times under concurrent writes.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod acknowledged;
