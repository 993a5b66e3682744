//! Source of truth: store, validation, REST, discovery, distribution.
