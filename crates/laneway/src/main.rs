//! The binary: settings, roles, CLI, demo, wiring. No behaviour of its own.

fn main() {}
