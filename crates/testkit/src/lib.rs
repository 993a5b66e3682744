//! Fakes and sandboxes shared by tests. Never a normal dependency.
